"""One question, one more window: the arms become counts, the counts become evidence. Everything chosen comes from earlier windows."""

import math

import msgspec

from ctrlplane_stream.decision.judge.arms import ArmWindow
from ctrlplane_stream.decision.judge.baseline import QUANTILES, Totals
from ctrlplane_stream.decision.judge.histograms import Histogram
from ctrlplane_stream.decision.judge.pairs import Pair
from ctrlplane_stream.decision.judge.questions import MAX_EDGES
from ctrlplane_stream.decision.judge.state import Bounds, CheckState, Counts, EdgeTotals, Quality, name_of_edge
from ctrlplane_stream.decision.judge.tails import tail_of
from ctrlplane_stream.decision.stats.betting import Sample
from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect, residual_of_rate, residual_of_share, residual_of_shares
from ctrlplane_stream.decision.stats.harm import Evidence, Past, weigh, weigh_against, weigh_low_rate, weigh_rate
from ctrlplane_stream.decision.stats.intervals import lower_rate, lower_share, upper_rate, upper_share
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.sketch import bucket_index
from ctrlplane_stream.model.verdicts import GatePolicy, Metric

_PRIOR_CAP = 2000.0
"""The past weighs no more than this many requests in the guess of stable's share."""


_WINDOWS_TO_TELL = 20.0
"""Windows of the past from which its scatter tells whether calls are sampled with their requests."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What a check needs besides its own state: the policy, its part of the error budget, the past, latencies so far, sampling."""

    policy: GatePolicy
    alpha: float
    past: Totals
    scatter: Dispersion
    known: tuple[Histogram, Histogram]
    known_gap: tuple[Histogram, Histogram]
    quality: Quality
    widened: bool = False
    proof: bool = True

    @property
    def factor(self) -> float:
        """How much wider the margins are: comparisons with the past, or with requests that do not match."""
        return self.policy.baseline_margin_factor if self.widened else 1.0


def check_errors(state: CheckState, pair: Pair, frame: Frame) -> CheckState:
    """Failed requests among all."""
    candidate = _failures(pair.candidate, frame.quality)
    margin = frame.policy.error_margin * frame.factor
    if pair.stable is None:
        state = _bounded(state, _past_failures(frame), margin, frame)
        return _one_arm(state, candidate, frame)
    stable = _failures(pair.stable, frame.quality)
    return _two_arms(state, candidate, stable, margin, _capped(_past_failures(frame)), frame, edges=_blamed(state, pair))


def check_tail(state: CheckState, pair: Pair, frame: Frame, metric: Metric) -> CheckState:
    """Latencies above the point where slow begins. The point is chosen anew whenever the number of windows has doubled."""
    alone = pair.stable is None
    if state.tail is None or (not alone and state.windows & (state.windows - 1) == 0):
        state = _choose_tail(state, frame, metric, alone=alone)
    tail = state.tail
    if tail is None:
        return state
    gap = metric is Metric.NETWORK_GAP
    candidate = _slow(pair.candidate, tail.candidate, gap)
    if pair.stable is None:
        return _one_arm(state, candidate, frame)
    return _two_arms(state, candidate, _slow(pair.stable, tail.stable, gap), 0.0, tail.known, frame, tail.expected)


def _choose_tail(state: CheckState, frame: Frame, metric: Metric, alone: bool) -> CheckState:
    known = frame.known[0].plus(frame.known[1])
    policy, factor = frame.policy, frame.factor
    tail = tail_of(known, QUANTILES[metric], policy.latency_margin * factor, policy.latency_slack_ms * 1000.0 * factor)
    if tail is None or not alone:
        return msgspec.structs.replace(state, tail=tail)
    shrink = design_effect(frame.scatter)
    total, slow = known.total / shrink, known.above(tail.stable) / shrink
    low, high = lower_share(slow, total, policy.false_pass / 2), upper_share(slow, total, frame.alpha / 2)
    return msgspec.structs.replace(state, tail=tail, bounds=Bounds(low, tail.expected, high))


def check_lost(state: CheckState, lost: float, called: float, weight: float, frame: Frame) -> CheckState:
    """Failed calls that no server answered, above the rate before the step: of the candidate's own share of the calls."""
    past = Counts(frame.past.lost, frame.past.called)
    state = _bounded(state, past, frame.policy.lost_margin * min(1.0, weight), frame)
    return _one_arm(state, Counts(lost, called), frame)


def check_calls(state: CheckState, pair: Pair, edge: EdgeKey, frame: Frame, missing: bool) -> CheckState:
    """Calls per request along one edge: too many (retries, loops), or too few where a dependency that is ``missing`` counts."""
    if pair.stable is not None:
        return _race(state, pair.candidate, pair.stable, edge, frame)
    before = frame.past.calls.get(name_of_edge(edge), 0.0)
    if frame.past.estimated <= 0 or before <= 0:
        return state
    each = _calls_each(edge, pair.candidate)
    calls, requests = _made(edge, pair.candidate) / each, _estimated(pair.candidate) / each
    noise = _counting_noise(state, edge, frame, pair.candidate)
    shrink = each * design_effect(frame.scatter) * noise
    known = before / shrink, frame.past.estimated / shrink, frame.alpha / 2
    ratio = 1.0 + frame.policy.calls_margin * frame.factor
    effect = design_effect(state.scatter, frame.scatter) * noise
    past = Past(state.candidate.events, state.candidate.total)
    evidence = weigh_rate(state.evidence, calls, requests, past, upper_rate(*known) * ratio, effect)
    residual = _quieted(residual_of_rate(calls, requests, state.candidate.events, state.candidate.total), noise)
    after = _next(state, evidence, Counts(calls, requests), None, residual, effect, Counts(before, frame.past.estimated))
    least = lower_rate(*known) / ratio
    if not missing or least <= 0:
        return after
    return msgspec.structs.replace(after, opposite=weigh_low_rate(state.opposite or Evidence(), calls, requests, past, least, effect))


def _race(state: CheckState, ours: ArmWindow, theirs: ArmWindow, edge: EdgeKey, frame: Frame) -> CheckState:
    """The next call is the candidate's with a share that its requests fix, whatever the common rate does (an inhomogeneous Poisson
    race)."""
    each = _calls_each(edge, ours, theirs)
    x, y = _made(edge, ours) / each, _made(edge, theirs) / each
    m, n = _estimated(ours) / each, _estimated(theirs) / each
    if m <= 0 or n <= 0:
        return state
    ratio = 1.0 + frame.policy.calls_margin
    noise = _counting_noise(state, edge, frame, ours, theirs)
    effect = design_effect(state.scatter, frame.scatter) * noise
    most, least = m * ratio / (m * ratio + n), m / (m + n * ratio)
    past = _raced(state.candidate, state.stable, m, n)
    up = weigh_against(state.evidence, x, x + y, past, most, effect)
    missing = Past(past.candidate_total - past.candidate_events, past.candidate_total)
    down = weigh_against(state.opposite or Evidence(), y, x + y, missing, 1 - least, effect)
    residual = _quieted(_race_residual(state, x, m, y, n), noise)
    return _next(state, up, Counts(x, m), Counts(y, n), residual, effect, opposite=down)


def _race_residual(state: CheckState, x: float, m: float, y: float, n: float) -> float | None:
    """The standardised change of the difference of two rates against earlier windows."""
    c, s = state.candidate, state.stable
    if min(c.total, s.total) <= 0:
        return None
    ours, theirs = (c.events + x + 0.5) / (c.total + m), (s.events + y + 0.5) / (s.total + n)
    variance = ours * (1 / m + 1 / c.total) + theirs * (1 / n + 1 / s.total)
    return (x / m - y / n - (c.events / c.total - s.events / s.total)) / math.sqrt(variance)


def _calls_each(edge: EdgeKey, *arms: ArmWindow) -> float:
    """How many calls one seen call stands for, in all arms together."""
    seen = sum(arm.calls.get(edge, (0.0, 0.0))[0] for arm in arms)
    estimated = sum(arm.calls.get(edge, (0.0, 0.0))[1] for arm in arms)
    return max(1.0, estimated / seen) if seen else max(1.0, *(_estimated(arm) / arm.requests for arm in arms if arm.requests), 1.0)


def _made(edge: EdgeKey, arm: ArmWindow) -> float:
    """The calls that an arm made along an edge, as many as those seen stand for: kept errors stand for themselves, the rest for more."""
    seen, estimated = arm.calls.get(edge, (0.0, 0.0))
    return max(seen, estimated)


def _counting_noise(state: CheckState, edge: EdgeKey, frame: Frame, *arms: ArmWindow) -> float:
    """How much the sampled count of requests adds to the variance of calls per request, as known before the window; 1 where all are seen.

    Where spans are sampled one by one, the count of requests scatters as the count of calls does: 1 + calls per request. Where whole
    traces are kept, the calls of a kept request are all there, and nothing is added. Which of the two it is the past shows by its scatter.
    """
    if all(arm.estimated <= arm.requests for arm in arms):
        return 1.0
    past = frame.past
    before = past.calls.get(name_of_edge(edge), 0.0) / past.estimated if past.estimated else 1.0
    calls = max(counts.events / counts.total if counts.total else before for counts in (state.candidate, state.stable)[: len(arms)])
    return 1.0 + calls * _sampled_apart(frame)


def _sampled_apart(frame: Frame) -> float:
    """From 0 (calls are kept with their requests) to 1 (apart from them, or nothing is known), one standard error on the safe side.

    The past's residuals are in units of what sampling apart would explain; what it does explain is read from their mean square.
    """
    past, scatter = frame.past, frame.scatter
    each = sum(past.calls.values()) / past.estimated if past.estimated else 0.0
    if each <= 0.0 or scatter.windows < _WINDOWS_TO_TELL:
        return 1.0
    squares = scatter.squares / scatter.windows * (1.0 + math.sqrt(2.0 / scatter.windows))
    return min(1.0, max(0.0, (squares * (1.0 + each) - 1.0) / each))


def _quieted(residual: float | None, noise: float) -> float | None:
    """A residual in units of the variance that counting alone explains, which the design effect must not count again."""
    return residual if residual is None else residual / math.sqrt(noise)


def _raced(candidate: Counts, stable: Counts, m: float, n: float) -> Past:
    """Earlier calls as if both arms had had requests in this window's proportion, so that their shares can be compared."""
    if candidate.total <= 0 or stable.total <= 0:
        return Past()
    ours, theirs = candidate.events / candidate.total * m, stable.events / stable.total * n
    calls = candidate.events + stable.events
    return Past(calls * ours / (ours + theirs), calls) if ours + theirs > 0 else Past()


def _two_arms(
    state: CheckState,
    candidate: Counts,
    stable: Counts,
    margin: float,
    prior: Counts,
    frame: Frame,
    expected: float | None = None,
    edges: dict[str, EdgeTotals] | None = None,
) -> CheckState:
    x, m, y, n = candidate.events, candidate.total, stable.events, stable.total
    if m <= 0 or n <= 0:
        return state if edges is None else msgspec.structs.replace(state, edges=edges)
    c, s = state.candidate, state.stable
    past = Past(c.events, c.total, prior.events + s.events, prior.total + s.total)
    effect = design_effect(state.scatter, frame.scatter)
    evidence = weigh(state.evidence, Sample(x, m, y, n), past, margin, effect, expected, frame.proof)
    residual = residual_of_shares((x, m), (y, n), (c.events, c.total), (s.events, s.total))
    return _next(state, evidence, candidate, stable, residual, effect, edges=edges)


def _one_arm(state: CheckState, candidate: Counts, frame: Frame) -> CheckState:
    bounds = state.bounds
    if bounds is None or candidate.total <= 0 or bounds.limit >= 1.0:
        return state
    c, effect = state.candidate, design_effect(state.scatter, frame.scatter)
    past = Past(c.events, c.total)
    proof = (bounds.floor, bounds.expected) if frame.proof else None
    evidence = weigh_against(state.evidence, candidate.events, candidate.total, past, bounds.limit, effect, proof)
    return _next(state, evidence, candidate, None, residual_of_share(candidate.events, candidate.total, c.events, c.total), effect)


def _bounded(state: CheckState, past: Counts, margin: float, frame: Frame) -> CheckState:
    """The bounds of a baseline share, once: its own uncertainty takes half of the error budget, scatter between windows shrinks the
    past."""
    if state.bounds is not None or past.total <= 0:
        return state
    shrink = design_effect(frame.scatter)
    events, total = past.events / shrink, past.total / shrink
    low, high = lower_share(events, total, frame.policy.false_pass / 2), upper_share(events, total, frame.alpha / 2)
    expected = (past.events + 0.1) / (past.total + 1.0)
    return msgspec.structs.replace(state, bounds=Bounds(low + margin, expected, high + margin), stable=past)


def _failures(arm: ArmWindow, quality: Quality) -> Counts:
    """Failed and all requests on one scale: errors as counted, requests as many as those errors stand for.

    Tail sampling keeps errors and drops successes; the total is the estimate divided by what one kept error stood for so far.
    """
    return _scaled(arm.errors, arm.requests, arm.estimated, quality)


def _past_failures(frame: Frame) -> Counts:
    return _scaled(frame.past.errors, frame.past.requests, frame.past.estimated, frame.quality)


def _scaled(errors: float, requests: float, estimated: float, quality: Quality) -> Counts:
    if estimated <= requests or requests <= 0:
        return Counts(errors, requests)
    each = quality.estimated_errors / quality.errors if quality.errors >= 1 else estimated / requests
    return Counts(errors, max(errors, estimated / max(1.0, each)))


def _estimated(arm: ArmWindow) -> float:
    return max(arm.requests, arm.estimated)


def _slow(arm: ArmWindow, bucket: int, gap: bool) -> Counts:
    histogram = arm.gap if gap else arm.latency
    return Counts(histogram.above(bucket), float(histogram.total))


def _capped(counts: Counts) -> Counts:
    if counts.total <= _PRIOR_CAP:
        return counts if counts.total > 0 else Counts()
    scale = _PRIOR_CAP / counts.total
    return Counts(counts.events * scale, counts.total * scale)


def _blamed(state: CheckState, pair: Pair) -> dict[str, EdgeTotals]:
    """The totals by edge with this window's; a new edge beyond the limit is left out."""
    edges, ours, theirs = dict(state.edges), pair.candidate, pair.stable or ArmWindow()
    for key, requests in ours.requests_by_edge.items():
        name, failed = name_of_edge(key), ours.errors_by_edge.get(key, 0.0)
        stable_failed, stable_requests = theirs.errors_by_edge.get(key, 0.0), theirs.requests_by_edge.get(key, 0.0)
        before = edges.get(name)
        if before is not None:
            a, b, c, d = before
            edges[name] = (a + failed, b + requests, c + stable_failed, d + stable_requests)
        elif len(edges) < MAX_EDGES:
            edges[name] = (failed, requests, stable_failed, stable_requests)
    return edges


def _next(
    state: CheckState,
    evidence: Evidence,
    candidate: Counts,
    stable: Counts | None,
    residual: float | None,
    effect: float,
    past: Counts | None = None,
    edges: dict[str, EdgeTotals] | None = None,
    opposite: Evidence | None = None,
) -> CheckState:
    """The state with the window's evidence and counts; ``past``, ``edges`` and ``opposite`` replace what is there, if given."""
    known = past or state.stable
    if past is None and stable is not None:
        known = known.plus(stable.events, stable.total)
    return CheckState(
        evidence,
        opposite or state.opposite,
        state.scatter.after(residual),
        state.candidate.plus(candidate.events, candidate.total),
        known,
        state.windows + 1,
        state.tail,
        state.bounds,
        state.edges if edges is None else edges,
        effect,
    )


def check_limit(state: CheckState, candidate: Counts, stable: Counts, maximum: float, scatter: Dispersion) -> CheckState:
    """The candidate's share against an absolute limit; the stable arm is only counted, to tell what is pre-existing. ``scatter`` is the
    past's."""
    if candidate.total <= 0:
        return _next(state, state.evidence, candidate, stable, None, state.design_effect)
    c = state.candidate
    past = Past(c.events, c.total)
    effect = design_effect(state.scatter, scatter)
    evidence = weigh_against(state.evidence, candidate.events, candidate.total, past, maximum, effect)
    return _next(state, evidence, candidate, stable, residual_of_share(candidate.events, candidate.total, c.events, c.total), effect)


def check_arrivals(state: CheckState, candidate: float, stable: float, weight: float, tolerance: float) -> CheckState:
    """Whether requests arrive in the proportion of the weights, give or take a factor."""
    total = candidate + stable
    if total <= 0 or not 0.0 < weight < 1.0:
        return state
    most = weight * tolerance / (weight * tolerance + 1 - weight)
    least = weight / (weight + (1 - weight) * tolerance)
    c, effect = state.candidate, design_effect(state.scatter)
    up = weigh_against(state.evidence, candidate, total, Past(c.events, c.total), most, effect)
    missing = Past(c.total - c.events, c.total)
    down = weigh_against(state.opposite or Evidence(), stable, total, missing, 1 - least, effect)
    residual = residual_of_share(candidate, total, c.events, c.total)
    return _next(state, up, Counts(candidate, total), None, residual, effect, opposite=down)


def limit_counts(arm: ArmWindow, metric: Metric, maximum: float, quality: Quality) -> Counts:
    """What counts against an absolute limit: failures, or latencies above it."""
    if metric in QUANTILES:
        return _slow(arm, bucket_index(max(1.0, maximum * 1000.0)), metric is Metric.NETWORK_GAP)
    return _failures(arm, quality)


def limit_share(metric: Metric, maximum: float) -> float:
    """The share that may count against the limit: the limit itself, or what lies above the quantile."""
    return 1.0 - QUANTILES[metric] if metric in QUANTILES else maximum
