"""The judge: a step's state and a closed window give the next state and a verdict. A pure fold, so that a verdict can be derived again.

`begin` freezes the past of everything that is watched, `judge_window` folds one window, `verdict_of` says what a state means. The order
of judgement: harm proven by any guard; then silence and blindness; then whether arrivals follow the weight; then the minimum; then proof,
unless a comparison with the past speaks loudly against it, which takes more windows; then what the policy says where proof is out of reach.

What is INCONCLUSIVE or NO_DATA is *doubtful* where more is missing than traffic: evidence speaks for harm, or cannot be weighed.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.advance import advance, known_of
from ctrlplane_stream.decision.judge.baseline import Baseline, ServicePast
from ctrlplane_stream.decision.judge.beside import loses_beside
from ctrlplane_stream.decision.judge.blame import among, culprit_of, edges_of, worst
from ctrlplane_stream.decision.judge.checks import admissible_arrivals
from ctrlplane_stream.decision.judge.findings import doubted, findings
from ctrlplane_stream.decision.judge.harming import carried_on, harm_of
from ctrlplane_stream.decision.judge.new_calls import NewCall, failing, new_calls
from ctrlplane_stream.decision.judge.outlook import Outlook, last, outlooks, slowest
from ctrlplane_stream.decision.judge.questions import groups, is_side_by_side, needed
from ctrlplane_stream.decision.judge.rows import ClosedWindow
from ctrlplane_stream.decision.judge.sampling import otherwise_kept
from ctrlplane_stream.decision.judge.sentences import (
    fails_anew,
    harm,
    harm_beside,
    not_begun,
    one_version,
    otherwise_sampled,
    overdue,
    passed,
    pipeline_late,
    silent_candidate,
    silent_service,
    soaked,
    soaking,
    suspicious,
    unexplained,
    unprovable,
    waiting,
    wrong_ratio,
)
from ctrlplane_stream.decision.judge.state import CheckState, Sampling, Seen, StepState
from ctrlplane_stream.decision.judge.witnesses import carried_pasts, witnesses
from ctrlplane_stream.decision.stats.harm import carried
from ctrlplane_stream.model.verdicts import (
    OUR_JUDGE,
    Assignment,
    Comparison,
    Coverage,
    Culprit,
    GuardRole,
    Metric,
    MetricEvidence,
    NoDataCause,
    OnUnprovable,
    Verdict,
    VerdictStatus,
)

_CARRIED = 1 / 3
"""What of a bet's capital a step takes over from the one before: harm that shows only at more weight is found 0.4 nats of ten later."""

_UNEXPLAINED = 3.0
"""By how many standard deviations more calls must be lost than the margin allows before a step without a past is not passed for them."""

_OVERDUE = 3.0
"""A proof that is expected in a third of the time and is not had at its end was withheld by the candidate, not by the traffic."""


def begin(assignment: Assignment, baseline: Baseline) -> StepState:
    """The state of a first step before its first window: the past of all that is watched, and of a few witnesses."""
    watched = (
        [change.service for change in assignment.changed] + [guard.service for guard in assignment.guards] + [*assignment.entry_points]
    )
    references: dict[str, ServicePast] = {service: baseline.of(service).frozen() for service in watched if service}
    references |= witnesses(assignment, baseline)
    return StepState(assignment.rollout, assignment.step, assignment.attempt, references)


def follow(before: StepState, assignment: Assignment, baseline: Baseline) -> StepState:
    """The state of a step that comes after another of its rollout, before its first window.

    The past stays that of before the rollout. What spoke for harm side by side stays in part, if this is the next step of the same climb:
    the capital of a bet is against "no harm in any window since the climb began", and each step has its own part of alpha to be
    crossed. Comparisons with the past begin anew: the minute in which a machine was slow belongs to the step that it fell into.
    """
    fresh = begin(assignment, baseline)
    references = carried_pasts(fresh.references, before.references)
    climbs = assignment.attempt == before.attempt + 1 and assignment.step > before.step
    known = before.checks if climbs else {}
    checks = {key: _suspected(was) for key, was in known.items() if was.windows and is_side_by_side(key)}
    sampling = {service: Sampling(kept.errors, kept.estimated_errors) for service, kept in before.sampling.items()}
    return replace(
        fresh,
        references=references,
        checks=checks,
        sampling=sampling,
        touched=carried_on(before.touched),
        kept=before.kept if climbs else {},
    )


def _suspected(before: CheckState) -> CheckState:
    """A check that knows nothing but a part of what spoke for harm."""
    opposite = None if before.opposite is None else carried(before.opposite, _CARRIED)
    return CheckState(carried(before.evidence, _CARRIED), opposite)


def judge_window(state: StepState, assignment: Assignment, closed: ClosedWindow) -> tuple[StepState, Verdict]:
    """The state and the verdict after a closed window. A window judged before changes neither; one from before the weight only waits."""
    after = advance(state, assignment, closed)
    return after, verdict_of(after, assignment)


def late_verdict(state: StepState, assignment: Assignment, lag_seconds: float) -> Verdict:
    """What to say when windows do not close at all: the pipeline is late by so many seconds."""
    return _verdict(
        state,
        assignment,
        VerdictStatus.NO_DATA,
        pipeline_late(lag_seconds),
        no_data=NoDataCause.PIPELINE_LATE,
        coverage=_coverage(state, lag_seconds),
    )


def verdict_of(
    state: StepState, assignment: Assignment, beside: Mapping[str, tuple[MetricEvidence, ...]] = MappingProxyType({})
) -> Verdict:
    """What a state means: the same state and assignment give the same verdict, byte for byte.

    ``beside`` is the evidence of other rollouts in the same window, by rollout, where it was looked at: whom a before/after harm belongs
    to is said by that.
    """
    if state.windows == 0:
        return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, not_begun(assignment))
    found = findings(state, assignment)
    fail = worst(found)
    if fail is not None:
        culprit = culprit_of(fail, found, assignment, edges_of(state))
        blamed = among(culprit, found, assignment, beside) if beside else culprit
        why = harm(fail, culprit) if blamed == culprit else harm_beside(fail, culprit, blamed)
        return _verdict(state, assignment, VerdictStatus.FAIL, why, metrics=found, culprit=blamed)
    return _silence(state, assignment, found) or _mismatch(state, assignment, found) or _progress(state, assignment, found)


def _silence(state: StepState, assignment: Assignment, found: tuple[MetricEvidence, ...]) -> Verdict | None:
    for change in needed(assignment):
        seen = state.seen.get(change.service, Seen())
        if seen.empty_windows >= assignment.policy.silent_windows:
            if state.lag_seconds > assignment.window_seconds:
                reason, cause = pipeline_late(state.lag_seconds), NoDataCause.PIPELINE_LATE
            else:
                reason, cause = silent_service(change, seen.empty_windows), NoDataCause.SILENT_SERVICE
            doubt = _speaks_against(state, assignment, found)
            return _verdict(state, assignment, VerdictStatus.NO_DATA, reason, metrics=found, no_data=cause, doubtful=doubt)
        if seen.is_unsent and seen.candidate > 0:
            return _verdict(
                state,
                assignment,
                VerdictStatus.NO_DATA,
                silent_candidate(change, seen),
                metrics=found,
                no_data=NoDataCause.SILENT_SERVICE,
                doubtful=_speaks_against(state, assignment, found),
            )
        if seen.is_unsent:
            return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, one_version(change, seen), metrics=found, contradicted=True)
    return None


def _mismatch(state: StepState, assignment: Assignment, found: tuple[MetricEvidence, ...]) -> Verdict | None:
    for evidence in found:
        contradicts = evidence.name is Metric.SAMPLE_RATIO and evidence.e_value >= evidence.threshold
        if contradicts and not _lost_elsewhere(evidence, state, assignment):
            reason = wrong_ratio(evidence, assignment.weight)
            return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, reason, metrics=found, contradicted=True)
    return None


def _lost_elsewhere(arrivals: MetricEvidence, state: StepState, assignment: Assignment) -> bool:
    """Whether calls that no server answered account for an excess of arrivals at the candidate: stable dies, the routing does as told."""
    policy, weight, seen = assignment.policy, assignment.weight, arrivals.candidate
    if arrivals.effect is None or arrivals.effect <= 1.0:
        return False
    return seen.events / (seen.total + state.coverage.lost) <= admissible_arrivals(weight, policy.sample_ratio_tolerance)[1]


def _progress(state: StepState, assignment: Assignment, found: tuple[MetricEvidence, ...]) -> Verdict:
    policy = assignment.policy
    if (otherwise := _otherwise_sampled(state, assignment)) is not None:
        return _in_doubt(state, assignment, otherwise, found)
    if (call := _failing_new_call(state, assignment)) is not None:
        return _in_doubt(state, assignment, fails_anew(call), found)
    if _loses_unexplained(state, assignment, found):
        return _in_doubt(state, assignment, unexplained(state, assignment), found)
    owed = outlooks(state, assignment)
    enough = state.watched >= policy.minimum_windows and _requests(state, assignment) >= policy.minimum_samples
    doubt = doubted(state, assignment, found)
    if enough and not owed:
        if doubt is not None and doubt.comparison is Comparison.BASELINE and doubt.missing is None:
            return _in_doubt(state, assignment, suspicious(doubt, proven=True), found)
        return _verdict(state, assignment, VerdictStatus.PASS, passed(state, assignment), metrics=found, proven=bool(policy.proof))
    if doubt is not None:
        return _in_doubt(state, assignment, suspicious(doubt, proven=False), found)
    if state.watched < policy.minimum_windows or not _out_of_reach(state, assignment, slowest(owed)):
        why, withheld = waiting(state, owed, assignment, found), enough and _withheld(owed, state.windows)
        return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, why, metrics=found, doubtful=withheld)
    return _unprovable(state, assignment, found, owed)


def _otherwise_sampled(state: StepState, assignment: Assignment) -> str | None:
    """Why latencies of a required guard cannot be compared, if it is that spans of the two sides are chosen by another rule."""
    for group in groups(assignment) if state.kept else ():
        if group.guard.required and (group.latency or group.gap):
            past = assignment.entry_points if group.guard.role is GuardRole.ENTRY else ()
            kept = otherwise_kept(group.arms, known_of(group, state, past), state)
            if kept is not None:
                return otherwise_sampled(group, *kept)
    return None


def _failing_new_call(state: StepState, assignment: Assignment) -> NewCall | None:
    """The call that only a candidate makes and that fails most surely, if any does more often than the margin allows."""
    enough = -math.log(assignment.policy.alpha)
    calls = [call for call in new_calls(state, assignment) if failing(call, enough)]
    return max(calls, key=lambda call: call.check.evidence.best_harm, default=None)


def _loses_unexplained(state: StepState, assignment: Assignment, found: tuple[MetricEvidence, ...]) -> bool:
    """Whether calls to the changed services are lost that nothing can be said of, since nobody knows how many were before the rollout. The
    candidate's part of all calls is its weight."""
    if all(e.windows for e in found if e.name is Metric.LOST_CALLS):
        return False
    if all(loses_beside(change, state, assignment) > 0 for change in assignment.changed):
        return False
    allowed = assignment.policy.lost_margin * state.coverage.calls * assignment.weight
    return state.coverage.lost > allowed + _UNEXPLAINED * math.sqrt(max(1.0, allowed))


def _unprovable(state: StepState, assignment: Assignment, found: tuple[MetricEvidence, ...], owed: tuple[Outlook, ...]) -> Verdict:
    policy = assignment.policy
    if policy.on_unprovable is not OnUnprovable.SOAK:
        why, withheld = unprovable(state, owed, assignment), _withheld(owed, policy.maximum_windows)
        return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, why, metrics=found, doubtful=withheld)
    if state.watched < policy.soak_windows or _requests(state, assignment) < 1:
        return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, soaking(state, owed, assignment), metrics=found)
    late = last(owed)
    if late is not None and all(_is_overdue(outlook, policy.maximum_windows) for outlook in owed):
        withheld = _withheld(owed, policy.maximum_windows)
        return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, overdue(state, late, withheld), metrics=found, doubtful=withheld)
    return _verdict(state, assignment, VerdictStatus.PASS, soaked(state, owed, assignment), metrics=found)


def _is_overdue(outlook: Outlook, windows: int) -> bool:
    """Whether a candidate that does no harm would have been proven in so many windows."""
    return outlook.windows * _OVERDUE <= windows


def _withheld(owed: tuple[Outlook, ...], windows: int) -> bool:
    """Whether it is the candidate that withholds a proof, not the traffic: a doubt where the step may take no more windows. Side by side
    only: a slow minute ruins a proof against the past as well, and identical versions were held for it."""
    beside = [outlook for outlook in owed if outlook.question.comparison is not Comparison.BASELINE]
    return any(outlook.withheld or _is_overdue(outlook, windows) for outlook in beside)


def _speaks_against(state: StepState, assignment: Assignment, found: tuple[MetricEvidence, ...]) -> bool:
    """Whether what was seen before nothing was seen any more is no reason to go on."""
    return (
        doubted(state, assignment, found) is not None
        or _failing_new_call(state, assignment) is not None
        or _otherwise_sampled(state, assignment) is not None
        or _loses_unexplained(state, assignment, found)
    )


def _out_of_reach(state: StepState, assignment: Assignment, outlook: Outlook | None) -> bool:
    """Whether neither the proofs nor the minimum of requests will come within the windows allowed, at the rate so far."""
    allowed = assignment.policy.maximum_windows
    if state.windows >= allowed or (outlook is not None and outlook.windows > allowed):
        return True
    return _requests(state, assignment) / max(1, state.sent) * allowed < assignment.policy.minimum_samples


def _requests(state: StepState, assignment: Assignment) -> float:
    return min((state.seen[change.service].candidate for change in needed(assignment) if change.service in state.seen), default=0.0)


def _coverage(state: StepState, lag_seconds: float) -> Coverage:
    q = state.coverage
    return Coverage(
        observed=q.observed / q.estimated if q.estimated else 1.0,
        late=q.late / q.rows if q.rows else 0.0,
        dropped=q.dropped / (q.rows + q.dropped) if q.dropped else 0.0,
        unknown=q.unknown / q.calls if q.calls else 0.0,
        lag_seconds=lag_seconds,
    )


def _in_doubt(state: StepState, assignment: Assignment, why: str, found: tuple[MetricEvidence, ...]) -> Verdict:
    """What more traffic alone does not settle."""
    return _verdict(state, assignment, VerdictStatus.INCONCLUSIVE, why, metrics=found, doubtful=True)


def _verdict(
    state: StepState,
    assignment: Assignment,
    status: VerdictStatus,
    reason: str,
    *,
    metrics: tuple[MetricEvidence, ...] = (),
    proven: bool = False,
    culprit: Culprit | None = None,
    no_data: NoDataCause | None = None,
    contradicted: bool = False,
    doubtful: bool = False,
    coverage: Coverage | None = None,
) -> Verdict:
    return Verdict(
        judge=OUR_JUDGE,
        environment=assignment.environment,
        rollout=assignment.rollout,
        step=assignment.step,
        attempt=assignment.attempt,
        status=status,
        reason=reason,
        window=state.last_window if state.last_window >= 0 else None,
        windows_judged=state.watched,
        proven=proven,
        metrics=metrics,
        culprit=culprit,
        no_data=no_data,
        contradicted=contradicted,
        doubtful=doubtful,
        coverage=coverage or _coverage(state, state.lag_seconds),
        harm=harm_of(state, assignment) if assignment.counts_harm and state.windows else (),
    )
