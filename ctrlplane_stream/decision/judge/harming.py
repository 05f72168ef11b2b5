"""How many requests a candidate harmed: those that touched it, or may have, and failed, beyond those that would have failed anyhow.

Beside a stable version as many of them would have failed as of those that stand for that in the same step. A request that calls the service
often touches the candidate more often than others, and so does one that fails and is tried again: only those that stand for one of both are
alike but for the version, so that these are compared, and of all that touched the candidate as large a part is harmed as of its own. Once
the candidate has all traffic: as many as of those that stood for stable in the steps before; where there were none (a first version, a
single step), as many as all failures at the entry points are no more than they were before the rollout, so that what never touches the
candidate counts neither when it fails as ever nor when it fails more. Of lost calls, which may have been the candidate's: as many as were
lost before. Where none of this is known nothing is counted; of a first version everything is, since nothing of it could fail before. Of
that one the requests to the service itself are looked at: nothing is to be told apart, and a new environment would have each trace looked
at for each of its services.
"""

from collections.abc import Iterable

from msgspec.structs import astuple

from ctrlplane_stream.decision.judge.arms import ArmWindow, exposure_arm, version_arm
from ctrlplane_stream.decision.judge.baseline import Totals, lost_calls
from ctrlplane_stream.decision.judge.questions import alone
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.sampling import Keeping, Kept, keeping, kept_by_candidate, sampled_as
from ctrlplane_stream.decision.judge.state import Counts, Sampling, StepState, Touched, past_of, scatter_of
from ctrlplane_stream.decision.stats.dispersion import design_effect, of_two_arms, residual_of_share, residual_of_shares
from ctrlplane_stream.model.verdicts import Assignment, Change, Harm, Metric
from ctrlplane_stream.model.windows import Exposure

_NONE = Counts()
_NO_PAST = Totals()
_NOT_YET = Touched()
_TWICE = 2.0
"""The last step and the bake go by the same past."""
_LARGEST = 100.0
"""Stable's failures are no doing of the candidate's: one window in which it failed so much more is known as what it was."""


def touched_after(
    state: StepState, assignment: Assignment, rows: Rows, sampling: dict[str, Sampling], sampled: dict[str, Sampling]
) -> dict[str, Touched]:
    """What is known of the requests that touched each changed service, after one more window; ``sampled`` takes how they are kept."""
    entering = sampled_as(assignment.entry_points, state, sampling)
    arms = [version_arm(rows, entry, None) for entry in assignment.entry_points]
    after = dict(state.touched)
    for change in assignment.changed:
        both = _touching(change, rows)
        kept = keeping(_arms(change), both, _NO_PAST, state, entering, sampled).settled()
        after[change.service] = _after(state.touched.get(change.service, _NOT_YET), change, rows, both, kept, entering, arms)
    return after


def _arms(change: Change) -> str:
    return f"touched|{change.service}"


def _touching(change: Change, rows: Rows) -> tuple[ArmWindow, ArmWindow | None]:
    """The requests of a window that stand for the candidate, and those that stand for stable."""
    if change.stable is None:
        return version_arm(rows, change.service, change.candidate), None
    candidate, stable = (
        exposure_arm(rows, change.service, version, Exposure.EXPOSED, None) for version in (change.candidate, change.stable)
    )
    return candidate, stable


def _after(
    known: Touched,
    change: Change,
    rows: Rows,
    both: tuple[ArmWindow, ArmWindow | None],
    kept: Keeping,
    entering: Kept,
    entries: Iterable[ArmWindow],
) -> Touched:
    lost, called = lost_calls(rows, change.service)
    ours, theirs, elsewhere = _counted(both[0], kept.ours, known.candidate), _NONE, _NONE
    if both[1] is not None:
        theirs = _counted(both[1], kept.theirs, known.stable)
        beside = exposure_arm(rows, change.service, change.candidate, Exposure.EXPOSED, None, elsewhere=True)
        elsewhere = _counted(beside, kept.ours, known.elsewhere)
        lost = exposure_arm(rows, change.service, change.candidate, Exposure.POSSIBLE, None).errors
    entered = known.entered
    for arm in entries:
        more = _counted(arm, entering, known.entered)
        entered = entered.plus(more.events, more.total)
    window, before = astuple(ours), astuple(known.candidate)
    if theirs.total > 0:
        residual = residual_of_shares(window, astuple(theirs), before, astuple(known.stable))
    else:
        residual = residual_of_share(*window, *before)
    return Touched(
        known.candidate.plus(ours.events, ours.total),
        known.stable.plus(theirs.events, theirs.total),
        known.before,
        known.possible.plus(lost, called),
        entered,
        known.scatter.after(residual),
        known.unsteady.after(residual_of_share(*astuple(theirs), *astuple(known.stable)), _LARGEST),
        known.elsewhere.plus(elsewhere.events, elsewhere.total),
    )


def _counted(arm: ArmWindow, kept: Kept, before: Counts) -> Counts:
    return kept.failed(arm.errors, arm.requests, arm.estimated, before)


def carried_on(touched: dict[str, Touched]) -> dict[str, Touched]:
    """What the next step, or the next climb, knows of the steps before."""
    return {name: Touched(before=t.before.plus(t.stable.events, t.stable.total), unsteady=t.unsteady) for name, t in touched.items()}


def harm_of(state: StepState, assignment: Assignment) -> tuple[Harm, ...]:
    """What the candidates harmed in this step, by service; a failure that was seen counts for as many as it stands for."""
    entering = sampled_as(assignment.entry_points, state, state.sampling)
    found = []
    for change in assignment.changed:
        each = kept_by_candidate(_arms(change), _NO_PAST, state, entering).each or 1.0
        known = state.touched.get(change.service, _NOT_YET)
        failed = known.candidate.events + known.elsewhere.events + known.possible.events
        expected, variance = _expected(state, assignment, change, known)
        expected = min(failed, expected)
        found.append(Harm(change.service, failed * each, expected * each, variance * each * each))
    return tuple(found)


def _expected(state: StepState, assignment: Assignment, change: Change, known: Touched) -> tuple[float, float]:
    """How many of the failed would have failed anyhow, and the variance of the harm that this leaves."""
    all_there_is = alone(assignment, change.service)
    touching = known.candidate.events + known.elsewhere.events
    failed = touching + known.possible.events
    stable = known.before if all_there_is else known.stable
    scatter = scatter_of(state, assignment.entry_points, Metric.ERROR_RATIO)
    effect = design_effect(known.scatter, of_two_arms(scatter, drifting=all_there_is))
    if all_there_is:
        effect = max(effect, design_effect(known.unsteady))
    if stable.total > 0:
        anyhow, noise = _of(stable, known.candidate.total, _TWICE if all_there_is else 1.0)
        lost, more = _lost(state, change, known)
        times = 1.0 + known.elsewhere.total / known.candidate.total if known.candidate.total > 0 else 1.0
        harmed = min(touching, times * (known.candidate.events - anyhow))
        return touching - harmed + lost, (times * times * noise + more) * effect
    past = past_of(state, assignment.entry_points)
    if not all_there_is or past.requests <= 0:
        return (0.0, 0.0) if change.stable is None else (failed, 0.0)
    kept = sampled_as(assignment.entry_points, state, state.sampling)
    expected, noise = _of(kept.failed(past.errors, past.requests, past.estimated, _NONE), known.entered.total, _TWICE)
    return failed - min(failed, max(0.0, known.entered.events - expected)), noise * effect


def _lost(state: StepState, change: Change, known: Touched) -> tuple[float, float]:
    past = past_of(state, (change.service,))
    return _of(Counts(past.lost, past.called), known.possible.total, _TWICE) if past.called > 0 else (known.possible.events, 0.0)


def _of(share: Counts, requests: float, times: float) -> tuple[float, float]:
    """So many events of that share are expected among requests, and the variance of their difference from what will be; none in n is not
    taken for never. By how much the share is wrong it is in so many steps alike."""
    p = (share.events + 1.0) / (share.total + 1.0)
    return requests * share.events / share.total, requests * p * (1.0 - p) * (1.0 + times * requests / share.total)
