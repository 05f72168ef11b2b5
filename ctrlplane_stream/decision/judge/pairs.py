"""Who is compared with whom: the two arms of a guard in one window, by role and comparison."""

from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple

from ctrlplane_stream.decision.judge.arms import ArmWindow, Side, arms_by_caller, calls_arm, edges_between, exposure_arm, version_arm
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.model.verdicts import Assignment, Change, Comparison, Guard, GuardRole
from ctrlplane_stream.model.windows import Exposure


class Pair(NamedTuple):
    """The candidate's arm and the stable one; where the past is the other side, ``stable`` is None and ``past`` names its services."""

    candidate: ArmWindow
    stable: ArmWindow | None
    past: tuple[str, ...] = ()


def pair_of(guard: Guard, comparison: Comparison, assignment: Assignment, rows: Rows, change: Change | None) -> Pair:
    """The arms of a guard in this window; both empty where nothing was seen. ``change`` is the guard's own, if it changes."""
    if comparison is Comparison.EXPOSURE:
        return _by_exposure(rows, assignment.changed, guard.service or None)
    if comparison is Comparison.BASELINE:
        return _with_past(guard, assignment, rows, change)
    return _by_version(guard, assignment, rows, change)


def _by_exposure(rows: Rows, changes: Iterable[Change], entry: str | None) -> Pair:
    """Requests that stand for the candidate against those that stand for stable.

    Each stands for the version of one of its calls, drawn whoever answered: of identical versions each has its weight of every kind of
    request, of those with many calls and of those that fail and are tried again too. Those that only may have touched the candidate are in
    neither arm: lost calls count those. Nor are those that touched neither version, also where none stands for stable: what never needs
    the service fails and takes its time for other reasons, so that such a window compares nothing.
    """
    strata = [(change, at) for change in changes for at in _entries(rows, change.service, entry)]
    candidate = [exposure_arm(rows, change.service, change.candidate, Exposure.EXPOSED, at) for change, at in strata]
    stable = [
        ArmWindow() if change.stable is None else exposure_arm(rows, change.service, change.stable, Exposure.EXPOSED, at)
        for change, at in strata
    ]
    return Pair(*_alike(candidate, stable))


def _entries(rows: Rows, service: str, entry: str | None) -> list[str]:
    return [entry] if entry is not None else sorted({row.entry for row in rows.exposures.get(service, ())})


def _alike(candidate: list[ArmWindow], stable: list[ArmWindow]) -> tuple[ArmWindow, ArmWindow]:
    """Two arms that are known by parts (of each caller, of each entry point), stable's in the candidate's proportion of them.

    Callers may bring the candidate different shares of what they ask (connections that stick, one that is not routed), and may be unlike:
    then whatever is true of them is no difference of versions. A part in which either arm has nothing is in neither. Stable's requests
    count by their weights, all together as many as their squares leave (Kish): where both have the same proportions, each as one.
    """
    parts = [(ours, theirs) for ours, theirs in zip(candidate, stable, strict=True) if ours.requests > 0 and theirs.requests > 0]
    if not parts:
        return _sum(candidate), _sum(()) if any(arm.requests for arm in candidate) else _sum(stable)
    ratios = [_meant(ours) / _meant(theirs) for ours, theirs in parts]
    scale = sum(_meant(ours) for ours, _ in parts) / sum(ratio * _meant(ours) for ratio, (ours, _) in zip(ratios, parts, strict=True))
    weights = [1.0 if len(parts) == 1 else ratio * scale for ratio in ratios]
    return _sum(ours for ours, _ in parts), _sum((theirs for _, theirs in parts), weights)


def _meant(arm: ArmWindow) -> float:
    return max(arm.requests, arm.estimated)


def _sum(arms: Iterable[ArmWindow], weights: Iterable[float] = repeat(1.0)) -> ArmWindow:
    total = ArmWindow()
    for arm, weight in zip(arms, weights, strict=False):
        _pour(arm, total, weight)
    return total


def _with_past(guard: Guard, assignment: Assignment, rows: Rows, change: Change | None) -> Pair:
    if guard.role is GuardRole.ENTRY:
        arm = ArmWindow()
        for entry in assignment.entry_points:
            _pour(version_arm(rows, entry, None), arm)
        return Pair(arm, None, assignment.entry_points)
    version = change.candidate if change is not None and guard.role is GuardRole.CHANGED else None
    return Pair(version_arm(rows, guard.service, version), None, (guard.service,))


def _by_version(guard: Guard, assignment: Assignment, rows: Rows, own: Change | None) -> Pair:
    if guard.role is GuardRole.CHANGED:
        if own is None:
            return Pair(ArmWindow(), ArmWindow())
        if own.stable is None:
            return Pair(version_arm(rows, own.service, own.candidate), ArmWindow())
        return Pair(*_by_caller(rows, own.service, own.candidate, own.stable))
    candidate, stable = ArmWindow(), ArmWindow()
    for change in assignment.changed:
        for arm, version in ((candidate, change.candidate), (stable, change.stable)):
            if version is not None:
                _pour(_arm_of_version(guard, change.service, version, rows), arm)
    return Pair(candidate, stable)


def _by_caller(rows: Rows, service: str, candidate: str, stable: str) -> tuple[ArmWindow, ArmWindow]:
    """Both versions of a service, stable's in the candidate's proportion of callers. Of the calls that they made it is not known for whom:
    there are as many to a request as over all callers."""
    ours, theirs = arms_by_caller(rows, service, (candidate, stable))
    arms = _alike(ours, theirs)
    if len(ours) > 1:
        for arm, version in zip(arms, (candidate, stable), strict=True):
            whole = version_arm(rows, service, version)
            part = arm.requests / whole.requests if whole.requests else 0.0
            arm.calls = {key: (part * seen, part * estimated) for key, (seen, estimated) in whole.calls.items()}
    return arms


def _arm_of_version(guard: Guard, changed: str, version: str, rows: Rows) -> ArmWindow:
    match guard.role:
        case GuardRole.CALLER:
            return calls_arm(rows, edges_between(rows, (guard.service,), (changed,), messages=False), callee_version=version)
        case GuardRole.CONSUMER:
            keys = edges_between(rows, (changed,), (guard.service,), messages=True)
            return calls_arm(rows, keys, caller_version=version, latency=Side.SERVER)
        case _:
            keys = edges_between(rows, (changed,), (guard.service,), messages=False)
            return calls_arm(rows, keys, caller_version=version, latency=Side.SERVER)


def _pour(source: ArmWindow, into: ArmWindow, weight: float = 1.0) -> None:
    """Add one arm to another in place, each request of it as so many."""
    into.requests += weight * source.requests
    into.errors += weight * source.errors
    into.estimated += weight * source.estimated
    into.estimated_errors += weight * source.estimated_errors
    for key, (seen, estimated) in source.calls.items():
        before = into.calls.get(key, (0.0, 0.0))
        into.calls[key] = (before[0] + weight * seen, before[1] + weight * estimated)
    for mine, theirs in ((into.requests_by_edge, source.requests_by_edge), (into.errors_by_edge, source.errors_by_edge)):
        for key, value in theirs.items():
            mine[key] = mine.get(key, 0.0) + weight * value
    for drawn, more in ((into.latency, source.latency), (into.gap, source.gap)):
        if weight == 1.0:
            drawn.sketches.extend(more.sketches)
            drawn.weighed.extend(more.weighed)
        else:
            drawn.weighed.append((weight, more))
