"""What stable does beside the candidate, and what a comparison with the past must therefore not hold against the candidate.

A stable version that breaks shows as a rise over the past at its callers and among the lost calls, candidate or not: since some minutes
before its hotfix was pushed, or in the middle of a step. Whose doing it is shows side by side. Where the candidate would fare as stable
does and its callers would be no worse than they were but for that, the rise is stable's: it is *pre-existing*, and neither fails a step
nor stands in its way. That denies a FAIL and never makes one, so that no level is spent.

Lost calls have no version. But calls come by weight, so that those which are answered tell who loses the others: a candidate that loses
calls answers fewer than its weight brings it, and one that dies answers none. No network does that to one version alone.
"""

import math

from ctrlplane_stream.decision.judge.baseline import lost_calls
from ctrlplane_stream.decision.judge.questions import ERRORS, VERSIONS, alone, change_of
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.sampling import kept_by_past, sampled_as
from ctrlplane_stream.decision.judge.state import Answered, CheckState, Counts, StepState, edge_named, past_of
from ctrlplane_stream.model.identity import UNKNOWN_VERSION
from ctrlplane_stream.model.sums import in_order
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole, Metric

_NEW = CheckState()
_NONE = Counts()
_NOBODY = Answered()
_SURE = 2.0
"""Standard deviations by which the answered calls must tell whose the lost ones are."""

_ROUTED = 0.05
"""By what part of its odds a route may give the candidate more than its weight, which must not hide calls that it loses."""


def answered_after(known: Answered, change: Change, rows: Rows, state: StepState) -> Answered:
    """With one more window in which more calls were lost than ever before the rollout; others tell nothing of who loses them."""
    lost, called = lost_calls(rows, change.service)
    if not lost or lost <= _lost_before(state, change.service) * called:
        return known
    return known.plus(answered_in(change, rows))


def answered_in(change: Change, rows: Rows, caller_version: str | None = None) -> Answered:
    """Who answered the calls to a changed service in a window; of one version's callers, if given."""
    candidate = stable = missing = total = seen = 0.0
    for key in rows.incoming.get(change.service, ()):
        for row in rows.edges[key]:
            if caller_version not in (None, row.caller_version):
                continue
            if row.callee_version == UNKNOWN_VERSION:
                missing, total, seen = missing + row.estimated_errors, total + row.estimated_errors, seen + row.errors
                continue
            total, seen = total + row.estimated_calls, seen + row.calls
            if row.callee_version == change.candidate:
                candidate += row.estimated_calls
            elif row.callee_version == change.stable:
                stable += row.estimated_calls
    return Answered(candidate, stable, missing, total, seen)


def gone_in(service: str, state: StepState, assignment: Assignment, rows: Rows, callers: str | None) -> bool:
    """Whether a changed service's candidate is gone by what became of the calls of this window, or of all that lost some."""
    change = change_of(assignment, service)
    if change is None:
        return False
    now = answered_in(change, rows, callers)
    if not now.lost:
        return False
    weight = 1.0 if state.apart or alone(assignment, service) else assignment.weight
    return _is_gone(now, weight) or _is_gone(_answered(service, state).plus(now), weight)


def is_gone(service: str, state: StepState, assignment: Assignment) -> bool:
    """Whether a candidate that has a stable version beside it is gone, by all windows that lost calls."""
    return not (state.apart or alone(assignment, service)) and _is_gone(_answered(service, state), assignment.weight)


def _is_gone(known: Answered, weight: float) -> bool:
    """Whether a candidate surely answers less than half of the calls that its weight brings it, and those that it does not answer are the
    lost ones. A ``weight`` of 1 is that of one with nothing beside it, which all calls are due to."""
    if known.seen <= 0:
        return False
    if weight < 1.0:
        due, calls, share = known.stable * weight / (1.0 - weight), known.candidate + known.stable, weight / (2.0 - weight)
    else:
        due, calls, share = known.total, known.total, 0.5
    chance = _SURE * math.sqrt(share * (1.0 - share) * calls * max(1.0, known.total / known.seen))
    return known.candidate + chance <= share * calls and known.lost >= (due - known.candidate) / 2


def loses_beside(change: Change, state: StepState, assignment: Assignment) -> float:
    """How many calls of this step were lost by stable, beyond those that were lost before; 0 where they may be the candidate's.

    Of the answered calls the candidate must have at least its weight, so that it loses no more than stable does, and of all calls so many
    that most of the lost ones cannot have been its own.
    """
    known = _answered(change.service, state)
    if state.apart or known.seen <= 0 or alone(assignment, change.service):
        return 0.0
    weight, excess = assignment.weight, known.lost - _lost_before(state, change.service) * known.total
    chance = _SURE * math.sqrt(weight * (1.0 - weight) * known.total * max(1.0, known.total / known.seen))
    surplus = _ROUTED * weight * (1.0 - weight) * known.total
    most_are_not_its_own = known.candidate >= weight * known.total - excess / 2 + surplus + chance
    as_many_as_stable = known.candidate + chance >= weight * (known.candidate + known.stable)
    return excess if most_are_not_its_own and as_many_as_stable else 0.0


def explains(guard: Guard, metric: Metric, margin: float, accused: CheckState, state: StepState, assignment: Assignment) -> bool:
    """Whether stable beside the candidate explains that a guard's metric, ``accused`` against its past, became worse than it was."""
    if metric is Metric.LOST_CALLS:
        return any(change.service == guard.service and loses_beside(change, state, assignment) > 0 for change in assignment.changed)
    if guard.role is not GuardRole.CALLER or accused.stable.total <= 0 or accused.candidate.total <= 0:
        return False
    before, now = accused.stable, accused.candidate
    usual = before.events / before.total * now.total
    # Of calls another one comes of one that failed, so that there are no more of those than failed.
    allowed = margin * (usual if metric is Metric.CALLS_PER_REQUEST else now.total)
    explained = in_order(_failed_beside(change, guard.service, state, assignment) for change in assignment.changed)
    return now.events - usual - explained <= min(allowed, explained)


def _failed_beside(change: Change, caller: str, state: StepState, assignment: Assignment) -> float:
    """How many more of a caller's calls than before would have failed if the candidate failed as stable does, and none were lost but
    those that stable loses. All of the service's callers count for one that calls it through others."""
    lost = loses_beside(change, state, assignment)
    check = state.checks.get(f"{GuardRole.CHANGED}|{change.service}|{VERSIONS}|{ERRORS}", _NEW)
    if check.stable.total <= 0 or check.candidate.total <= 0:
        return lost
    past = past_of(state, (change.service,))
    service = sampled_as((change.service,), state, state.sampling)
    kept = kept_by_past(f"{GuardRole.CHANGED}|{change.service}|{VERSIONS}", past, state, service)
    usual = kept.failed(past.errors, past.requests, past.estimated, _NONE)
    if usual.total <= 0:
        return lost
    risen = max(0.0, check.stable.events / check.stable.total - usual.events / usual.total)
    calls = {name: ours + theirs for name, (_, ours, _, theirs) in check.edges.items()}
    by_caller = in_order(requests for name, requests in calls.items() if edge_named(name).caller == caller)
    part = by_caller / in_order(calls.values()) if by_caller else 1.0
    return lost + risen * (check.candidate.total + check.stable.total) * part


def _answered(service: str, state: StepState) -> Answered:
    return state.seen[service].answered if service in state.seen else _NOBODY


def _lost_before(state: StepState, service: str) -> float:
    past = past_of(state, (service,))
    return past.lost / past.called if past.called else 0.0
