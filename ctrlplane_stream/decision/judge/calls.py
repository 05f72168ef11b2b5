"""Calls per request along an edge, one more window: too many (retries, loops), too few, and what sampling does to the counts."""

import math

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.arms import ArmWindow
from ctrlplane_stream.decision.judge.baseline import Totals
from ctrlplane_stream.decision.judge.checks import Frame, estimated_requests
from ctrlplane_stream.decision.judge.evidence import next_check, quieted, weigh_race
from ctrlplane_stream.decision.judge.pairs import Pair
from ctrlplane_stream.decision.judge.past_shares import WINDOWS_OF_HARM
from ctrlplane_stream.decision.judge.questions import MAX_EDGES, log_threshold
from ctrlplane_stream.decision.judge.state import CheckState, Counts, name_of_edge
from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect, residual_of_rate
from ctrlplane_stream.decision.stats.harm import (
    COST_OF_MIXING,
    COST_OF_PATIENCE,
    Evidence,
    Past,
    at_most,
    released,
    weigh_low_rate,
    weigh_rate,
)
from ctrlplane_stream.decision.stats.intervals import lower_rate, upper_rate
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.verdicts import Comparison

_WINDOWS_TO_TELL = 20.0
"""Windows of the past from which its scatter tells whether calls are sampled with their requests."""

_UNLIKE = 2.0
"""By such a factor two arms' calls are kept by other rates."""

_SURELY, _SAFE = 3.0, 2.0
"""By how many standard errors the past must scatter more than calls one by one, so that they are taken to come together, and by how many
more than it shows they are then taken to."""
_TWO_SIDED = math.log(2.0)
_NONE = (0.0, 0.0)


def check_calls(state: CheckState, pair: Pair, edge: EdgeKey, frame: Frame, scatter: Dispersion, missing: bool) -> CheckState:
    """Calls per request along one edge: too many (retries, loops), or too few where a dependency that is ``missing`` counts.
    An edge has its own part of the question's error budget."""
    if pair.stable is not None:
        return _race(state, pair.candidate, pair.stable, edge, frame, scatter)
    before = frame.past.calls.get(name_of_edge(edge), 0.0)
    if frame.past.estimated <= 0 or before <= 0:
        return state
    each = _calls_each(edge, pair.candidate)
    calls, requests = _made(edge, pair.candidate) / each, estimated_requests(pair.candidate) / each
    noise, scatter = _noise(state, edge, frame.past, scatter, pair.candidate)
    shrink = each * design_effect(scatter) * noise
    known = before / shrink, frame.past.estimated / shrink, frame.alpha / MAX_EDGES / 2
    ratio = 1.0 + frame.policy.calls_margin * frame.factor
    effect = design_effect(state.scatter, scatter) * noise
    past = Past(state.candidate.events, state.candidate.total)
    most = _most_of_a_window(frame, Comparison.BASELINE)
    staked = released(state.evidence, state.windows)
    evidence = at_most(staked, weigh_rate(staked, calls, requests, past, upper_rate(*known) * ratio, effect), most)
    residual = quieted(residual_of_rate(calls, requests, state.candidate.events, state.candidate.total), noise)
    after = next_check(state, evidence, Counts(calls, requests), None, residual, effect, Counts(before, frame.past.estimated))
    least = lower_rate(*known) / ratio
    if not missing or least <= 0:
        return after
    fewer = _fewer(state)
    return replace(after, opposite=at_most(fewer, weigh_low_rate(fewer, calls, requests, past, least, effect), most))


def _race(state: CheckState, ours: ArmWindow, theirs: ArmWindow, edge: EdgeKey, frame: Frame, scatter: Dispersion) -> CheckState:
    """The next call is the candidate's with a share that its requests fix, whatever the common rate does (an inhomogeneous Poisson
    race)."""
    each = _calls_each(edge, ours, theirs)
    x, y = _made(edge, ours) / each, _made(edge, theirs) / each
    m, n = estimated_requests(ours) / each, estimated_requests(theirs) / each
    if m <= 0 or n <= 0:
        return state
    noise, scatter = _noise(state, edge, frame.past, scatter, ours, theirs)
    fewer, staked = _fewer(state), released(state.evidence, state.windows)
    state = replace(state, evidence=staked, opposite=fewer)
    after = weigh_race(state, Counts(x, m), Counts(y, n), 1.0 + frame.policy.calls_margin, noise, scatter)
    most = _most_of_a_window(frame, Comparison.VERSIONS)
    evidence, opposite = at_most(staked, after.evidence, most), at_most(fewer, after.opposite or fewer, most)
    return after if evidence is after.evidence and opposite is after.opposite else replace(after, evidence=evidence, opposite=opposite)


def _most_of_a_window(frame: Frame, comparison: Comparison) -> float:
    """What one window is worth to a finding, in nats: one request may make thousands of calls, whichever version it comes to, and is one
    event however many they are."""
    wanted = log_threshold(comparison, frame.alpha / MAX_EDGES) + _TWO_SIDED
    return (wanted + COST_OF_MIXING + COST_OF_PATIENCE) / WINDOWS_OF_HARM


def _fewer(state: CheckState) -> Evidence:
    """The evidence of too few calls, with what is staked from the next window on."""
    return released(Evidence(), 0) if state.opposite is None else released(state.opposite, state.windows)


def _calls_each(edge: EdgeKey, *arms: ArmWindow) -> float:
    """How many calls one seen call stands for, in all arms together; in that which keeps fewer, where their rates are quite other ones."""
    seen = estimated = most = 0.0
    least = math.inf
    for arm in arms:
        made = arm.calls.get(edge, _NONE)
        seen, estimated = seen + made[0], estimated + made[1]
        if made[0]:
            most, least = max(most, made[1] / made[0]), min(least, made[1] / made[0])
    if most > _UNLIKE * least:
        return max(1.0, most)
    return max(1.0, estimated / seen) if seen else max(1.0, *(estimated_requests(arm) / arm.requests for arm in arms if arm.requests), 1.0)


def _made(edge: EdgeKey, arm: ArmWindow) -> float:
    """The calls that an arm made along an edge, as many as those seen stand for: kept errors stand for themselves, the rest for more."""
    seen, estimated = arm.calls.get(edge, _NONE)
    return max(seen, estimated)


def _noise(state: CheckState, edge: EdgeKey, past: Totals, scatter: Dispersion, *arms: ArmWindow) -> tuple[float, Dispersion]:
    """How much more than calls that come one by one the counts scatter, as known before the window; and the scatter of the past in units of
    that.

    The calls of one request come together. Where requests make unlike numbers of them (lists, exports, one query for each item), their
    sum scatters as much more as the mean squared number is of the mean one, which the past shows: all of it, some standard errors on the
    safe side, where it is surely more than calls one by one.
    """
    counted = _counting_noise(state, edge, past, scatter, *arms)
    if not scatter.windows:
        return counted, scatter
    squares, error = scatter.squares / scatter.windows, math.sqrt(2.0 / scatter.windows)
    if squares <= 1.0 + _SURELY * error:
        return counted, scatter
    unit = 1.0 + _calls_before(edge, past) if past.estimated > past.requests else 1.0
    bunched = max(1.0, squares * (1.0 + _SAFE * error) * unit / counted)
    by, root = unit / (bunched * counted), math.sqrt(unit / (bunched * counted))
    return bunched * counted, Dispersion(scatter.squares * by, scatter.products * by, scatter.windows, scatter.last * root)


def _calls_before(edge: EdgeKey, past: Totals) -> float:
    return past.calls.get(name_of_edge(edge), 0.0) / past.estimated if past.estimated else 0.0


def _counting_noise(state: CheckState, edge: EdgeKey, past: Totals, scatter: Dispersion, *arms: ArmWindow) -> float:
    """How much the sampled count of requests adds to the variance of calls per request, as known before the window; 1 where all are seen.

    Where spans are sampled one by one, the count of requests scatters as the count of calls does: 1 + calls per request. Where whole
    traces are kept, the calls of a kept request are all there, and nothing is added. Which of the two it is the past shows by its scatter.
    """
    for arm in arms:
        if arm.estimated > arm.requests:
            break
    else:
        return 1.0
    before = _calls_before(edge, past) if past.estimated else 1.0
    calls = max(counts.events / counts.total if counts.total else before for counts in (state.candidate, state.stable)[: len(arms)])
    return 1.0 + calls * _sampled_apart(_calls_before(edge, past), scatter)


def _sampled_apart(each: float, scatter: Dispersion) -> float:
    """From 0 (calls are kept with their requests) to 1 (apart from them, or nothing is known), one standard error on the safe side.

    ``each`` is how many calls a request made before. The past's residuals are in units of what sampling apart would explain; what it does
    explain is read from their mean square.
    """
    if each <= 0.0 or scatter.windows < _WINDOWS_TO_TELL:
        return 1.0
    squares = scatter.squares / scatter.windows * (1.0 + math.sqrt(2.0 / scatter.windows))
    return min(1.0, max(0.0, (squares * (1.0 + each) - 1.0) / each))
