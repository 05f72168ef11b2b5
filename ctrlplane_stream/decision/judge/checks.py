"""One question, one more window: the arms become counts, the counts become evidence. Everything chosen comes from earlier windows."""

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.judge.arms import ArmWindow
from ctrlplane_stream.decision.judge.baseline import QUANTILES, Totals
from ctrlplane_stream.decision.judge.evidence import next_check, weigh_two_arms, weigh_two_sided
from ctrlplane_stream.decision.judge.histograms import NOTHING, Histogram
from ctrlplane_stream.decision.judge.pairs import Pair
from ctrlplane_stream.decision.judge.past_shares import known_by, restaked, weigh_against_past, weigh_as_events
from ctrlplane_stream.decision.judge.questions import MAX_EDGES, log_threshold
from ctrlplane_stream.decision.judge.sampling import Kept
from ctrlplane_stream.decision.judge.state import Bounds, CheckState, Counts, EdgeTotals, Tail, name_of_edge
from ctrlplane_stream.decision.judge.tails import tail_of
from ctrlplane_stream.decision.stats.betting import Thinned
from ctrlplane_stream.decision.stats.dispersion import UNSCATTERED, Dispersion, design_effect, residual_of_share
from ctrlplane_stream.decision.stats.harm import (
    COST_OF_MIXING,
    Evidence,
    Past,
    at_most,
    clipped,
    log_harm,
    no_safer,
    released,
    weigh_against,
)
from ctrlplane_stream.decision.stats.intervals import lower_share, upper_share
from ctrlplane_stream.model.sketch import bucket_index
from ctrlplane_stream.model.verdicts import Comparison, GatePolicy, Metric

_NONE = Counts()

_PRIOR_CAP = 2000.0
"""The past weighs no more than this many requests in the guess of stable's share."""


_THINNED = 2.0
"""A success must stand for so many times as many as a failure does to be weighed as thinned: less is a matter of how that was estimated."""
_GUESSED = 10.0
"""Kept successes that the weight is worth as a guess of the proportion of requests."""
WINDOWS_OF_SLOWNESS = 2
"""In how many windows slowness is found side by side, at the least."""
_BEYOND = 5.0
"""Nats: what the mixture of four bets and the choice of two sides cost, and some that a quiet window does not take at once."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What the checks of a guard need besides their own states: the policy, a question's part of the error budget, the past, latencies so
    far, sampling, the candidate's weight. How much each metric scattered before the step, and whether its proof is asked for, is a matter
    of each.

    ``theirs`` is how the spans of stable are kept beside it, if not as its own, and ``before`` how those of the past were; latencies are
    ``comparable`` unless outcomes decide otherwise about which are kept of either. ``instead`` is how all are kept where it may be by one
    sampler after all.
    """

    policy: GatePolicy
    alpha: float
    past: Totals
    known: tuple[Histogram, Histogram]
    known_gap: tuple[Histogram, Histogram]
    kept: Kept
    widened: bool = False
    weight: float = 0.0
    theirs: Kept | None = None
    before: Kept | None = None
    comparable: bool = True
    instead: Kept | None = None

    @property
    def factor(self) -> float:
        """How much wider the margins are: those of comparisons with the past are."""
        return self.policy.baseline_margin_factor if self.widened else 1.0


def check_errors(state: CheckState, pair: Pair, frame: Frame, scatter: Dispersion, proof: bool) -> CheckState:
    """Failed requests among all; where it is not known yet whether one sampler keeps both arms or each has its own, as the one of both ways
    to count them that says less."""
    if frame.instead is None:
        return _check_errors(state, pair, frame, scatter, proof)
    alike = replace(frame, kept=frame.instead, theirs=None, before=None, instead=None)
    one, other = _check_errors(state, pair, frame, scatter, proof), _check_errors(state, pair, alike, scatter, proof)
    said, more = (one, other) if log_harm(one.evidence) <= log_harm(other.evidence) else (other, one)
    return replace(said, evidence=no_safer(said.evidence, more.evidence))


def _check_errors(state: CheckState, pair: Pair, frame: Frame, scatter: Dispersion, proof: bool) -> CheckState:
    candidate = _failures(pair.candidate, frame.kept, state.candidate)
    margin = frame.policy.error_margin * frame.factor
    if pair.stable is None:
        state = known_by(state, _past_failures(frame), margin, (frame.alpha, frame.policy.false_pass), scatter)
        return weigh_as_events(state, candidate, frame.alpha, scatter, proof, late=True)
    stable = _failures(pair.stable, frame.theirs or frame.kept, state.stable)
    known, edges = _capped(_past_failures(frame)), _blamed(state, pair)
    thinned = _thinned(state, pair.candidate, pair.stable, frame)
    if candidate.total > 0 and stable.total > 0:
        state = replace(state, evidence=released(state.evidence, state.windows))
    return weigh_two_arms(state, candidate, stable, margin, known, scatter, None, proof, edges, thinned)


def _thinned(state: CheckState, candidate: ArmWindow, stable: ArmWindow, frame: Frame) -> Thinned | None:
    """How many successes a kept one stands for, if not as many as what a kept failure does; and in which proportion requests come, by the
    weight and by what came so far in the step."""
    odds, guessed = frame.weight / (1.0 - frame.weight), _GUESSED
    if frame.theirs is None or frame.theirs is frame.kept:
        ours = theirs = frame.kept.each_success((candidate, stable)) or frame.kept.each_success((frame.past,)) or 1.0
    else:
        ours = frame.kept.each_success((candidate,)) or 1.0
        theirs = frame.theirs.each_success((stable,)) or (frame.before or frame.theirs).each_success((frame.past,)) or 1.0
        odds *= (frame.theirs.each or 1.0) / (frame.kept.each or 1.0)
    if max(ours, theirs) < _THINNED:
        return None
    guessed *= max(ours, theirs)
    return Thinned(ours, theirs, (state.candidate.total + guessed * odds) / (state.stable.total + guessed))


def check_tail(state: CheckState, pair: Pair, frame: Frame, metric: Metric, scatter: Dispersion, proof: bool) -> CheckState:
    """Latencies above the point where slow begins. The point is chosen anew whenever the number of windows has doubled.

    Side by side no window is worth more than its part of a finding: an instance that pauses (a collection, an emptied cache, the one
    machine that the candidate is on) is slow for all requests of a moment at once, and that is one event.

    Bets on harm are staked from the first window on only: machines are slow for some minutes now and then, and of a late beginning one
    such time would be enough.
    """
    if not frame.comparable:
        return state
    gap = metric is Metric.NETWORK_GAP
    if state.tail is None:
        state = _choose_tail(state, frame, metric, scatter, alone=pair.stable is None)
    tail = state.tail
    if tail is None:
        return state
    candidate = _slow(pair.candidate, tail.candidate, gap, tail.part)
    if pair.stable is None:
        return weigh_as_events(state, candidate, frame.alpha, scatter, proof, late=False)
    stable = _slow(pair.stable, tail.stable, gap, tail.part)
    after = weigh_two_arms(state, candidate, stable, 0.0, tail.known, scatter, _expected(tail, state.stable), proof, None, None)
    most = (log_threshold(Comparison.VERSIONS, frame.alpha) + COST_OF_MIXING) / WINDOWS_OF_SLOWNESS
    after = replace(after, evidence=at_most(state.evidence, after.evidence, most))
    if after.windows & (after.windows - 1):
        return after
    return _choose_tail(after, frame, metric, scatter, alone=False, lately=(pair.stable.gap if gap else pair.stable.latency).histogram())


def _expected(tail: Tail, stable: Counts) -> float:
    """The candidate's share of slow latencies if it does no harm: as small a part of what stable's is by now as it was of what was known,
    where a slow machine may have made both larger."""
    known = tail.known
    if known.events <= 0:
        return tail.expected
    by_now = (known.events + stable.events) / (known.total + stable.total)
    return tail.expected * by_now / (known.events / known.total)


def _choose_tail(
    state: CheckState, frame: Frame, metric: Metric, scatter: Dispersion, alone: bool, lately: Histogram = NOTHING
) -> CheckState:
    before, so_far = frame.known_gap if metric is Metric.NETWORK_GAP else frame.known
    known = before.plus(so_far).plus(lately)
    policy, factor = frame.policy, frame.factor
    tail = tail_of(known, QUANTILES[metric], policy.latency_margin * factor, policy.latency_slack_ms * 1000.0 * factor, lately)
    if tail is None or not alone:
        return msgspec.structs.replace(state, tail=tail)
    shrink = design_effect(scatter)
    total, slow = known.total / shrink, known.slow(tail.stable, tail.part) / shrink
    low, high = lower_share(slow, total, policy.false_pass / 2), upper_share(slow, total, frame.alpha / 2)
    return msgspec.structs.replace(state, tail=tail, bounds=Bounds(low, tail.expected, high))


def check_lost(
    state: CheckState, counts: Counts, weight: float, frame: Frame, scatter: Dispersion, proof: bool, gone: bool = False
) -> CheckState:
    """Failed calls that no server answered, among all, above the rate before the step: of the candidate's own share of the calls.

    A network loses calls of all versions for a moment, which is one event; a candidate that surely answers few of its own is ``gone``, and
    that needs no second window.
    """
    past = Counts(frame.past.lost, frame.past.called)
    margin = frame.policy.lost_margin * min(1.0, weight)
    state = known_by(state, past, margin, (frame.alpha, frame.policy.false_pass), scatter)
    if gone:
        return weigh_against_past(restaked(state, counts), counts, scatter, proof)
    return weigh_as_events(state, counts, frame.alpha, scatter, proof, late=True)


def _failures(arm: ArmWindow, kept: Kept, before: Counts) -> Counts:
    return kept.failed(arm.errors, arm.requests, arm.estimated, before)


def _past_failures(frame: Frame) -> Counts:
    return (frame.before or frame.kept).failed(frame.past.errors, frame.past.requests, frame.past.estimated, _NONE)


def estimated_requests(arm: ArmWindow) -> float:
    return max(arm.requests, arm.estimated)


def _slow(arm: ArmWindow, bucket: int, gap: bool, part: float = 1.0) -> Counts:
    histogram = arm.gap if gap else arm.latency
    return Counts(*histogram.slow(bucket, part))


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


def check_limit(state: CheckState, candidate: Counts, stable: Counts, maximum: float, scatter: Dispersion) -> CheckState:
    """The candidate's share against an absolute limit; the stable arm is only counted, to tell what is pre-existing. ``scatter`` is the
    past's."""
    if candidate.total <= 0:
        return next_check(state, state.evidence, candidate, stable, None, state.design_effect)
    c = state.candidate
    past = Past(c.events, c.total)
    effect = design_effect(state.scatter, scatter)
    evidence = weigh_against(state.evidence, candidate.events, candidate.total, past, maximum, effect)
    return next_check(state, evidence, candidate, stable, residual_of_share(candidate.events, candidate.total, c.events, c.total), effect)


def check_arrivals(state: CheckState, candidate: float, stable: float, weight: float, tolerance: float, wanted: float) -> CheckState:
    """Whether requests arrive in the proportion of the weights, give or take a factor.

    Routes may take up a weight late, and what is over holds nobody: no capital is kept much beyond the ``wanted`` nats that tell
    of one, so that arrivals which follow by now outweigh it about as soon as it was seen.
    """
    total = candidate + stable
    if total <= 0 or not 0.0 < weight < 1.0:
        return state
    least, most = admissible_arrivals(weight, tolerance)
    after = weigh_two_sided(state, Counts(candidate, total), stable, most, least, UNSCATTERED)
    kept = wanted + _BEYOND
    return replace(after, evidence=clipped(after.evidence, kept), opposite=clipped(after.opposite or Evidence(), kept))


def arrived(candidate: ArmWindow, stable: ArmWindow) -> tuple[float, float]:
    """The requests that came to either version: those seen; or, where one's spans are kept far more seldom than the other's, those that
    they stand for, in units of what one of the former does."""
    ours, theirs = (max(1.0, arm.estimated / arm.requests) if arm.requests else 1.0 for arm in (candidate, stable))
    each = max(ours, theirs)
    if each <= _THINNED * min(ours, theirs):
        return candidate.requests, stable.requests
    return estimated_requests(candidate) / each, estimated_requests(stable) / each


def admissible_arrivals(weight: float, tolerance: float) -> tuple[float, float]:
    """The least and the largest share of requests that a weight inside (0, 1) may bring, where arrivals may be off it by a factor."""
    return weight / (weight + (1 - weight) * tolerance), weight * tolerance / (weight * tolerance + 1 - weight)


def limit_counts(arm: ArmWindow, metric: Metric, maximum: float, kept: Kept, before: Counts) -> Counts:
    """What counts against an absolute limit: failures, or latencies above it. ``before`` is what was counted of the arm in this step."""
    if metric in QUANTILES:
        return _slow(arm, bucket_index(max(1.0, maximum * 1000.0)), metric is Metric.NETWORK_GAP)
    return _failures(arm, kept, before)


def limit_share(metric: Metric, maximum: float) -> float:
    """The share that may count against the limit: the limit itself, or what lies above the quantile."""
    return 1.0 - QUANTILES[metric] if metric in QUANTILES else maximum
