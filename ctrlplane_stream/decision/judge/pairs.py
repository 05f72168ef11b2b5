"""Who is compared with whom: the two arms of a guard in one window, by role and comparison."""

from collections.abc import Iterable
from typing import NamedTuple

from ctrlplane_stream.decision.judge.arms import ArmWindow, Side, calls_arm, edges_between, exposure_arm, version_arm
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.model.verdicts import Assignment, Change, Comparison, Guard, GuardRole
from ctrlplane_stream.model.windows import Exposure

UNMATCHED = "no exposure rows of the stable version: compared with requests that may never need the service, with wider margins"


class Pair(NamedTuple):
    """The candidate's arm and the stable one; where the past is the other side, ``stable`` is None and ``past`` names its services."""

    candidate: ArmWindow
    stable: ArmWindow | None
    past: tuple[str, ...] = ()
    note: str | None = None


def pair_of(guard: Guard, comparison: Comparison, assignment: Assignment, rows: Rows, change: Change | None) -> Pair:
    """The arms of a guard in this window; both empty where nothing was seen. ``change`` is the guard's own, if it changes."""
    if comparison is Comparison.EXPOSURE:
        return _by_exposure(rows, assignment.changed, guard.service or None)
    if comparison is Comparison.BASELINE:
        return _with_past(guard, assignment, rows, change)
    return _by_version(guard, assignment, rows, change)


def _by_exposure(rows: Rows, changes: Iterable[Change], entry: str | None) -> Pair:
    """Requests that stand for the candidate against those that stand for stable; or, where that is not watched, against the unexposed.

    Each stands for the version of one of its calls, drawn whoever answered: of identical versions each has its weight of every kind of
    request, of those with many calls and of those that fail and are tried again too. Those that only may have touched the candidate are in
    neither arm: lost calls count those.
    """
    candidate, stable, unexposed = ArmWindow(), ArmWindow(), ArmWindow()
    for change in changes:
        _pour(exposure_arm(rows, change.service, change.candidate, Exposure.EXPOSED, entry), candidate)
        _pour(exposure_arm(rows, change.service, change.candidate, Exposure.UNEXPOSED, entry), unexposed)
        if change.stable is not None:
            _pour(exposure_arm(rows, change.service, change.stable, Exposure.EXPOSED, entry), stable)
    return Pair(candidate, stable) if stable.requests else Pair(candidate, unexposed, note=UNMATCHED)


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
        stable_arm = version_arm(rows, own.service, own.stable) if own.stable is not None else ArmWindow()
        return Pair(version_arm(rows, own.service, own.candidate), stable_arm)
    candidate, stable = ArmWindow(), ArmWindow()
    for change in assignment.changed:
        for arm, version in ((candidate, change.candidate), (stable, change.stable)):
            if version is not None:
                _pour(_arm_of_version(guard, change.service, version, rows), arm)
    return Pair(candidate, stable)


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


def _pour(source: ArmWindow, into: ArmWindow) -> None:
    """Add one arm to another in place."""
    into.requests += source.requests
    into.errors += source.errors
    into.estimated += source.estimated
    into.estimated_errors += source.estimated_errors
    for key, (seen, estimated) in source.calls.items():
        before = into.calls.get(key, (0.0, 0.0))
        into.calls[key] = (before[0] + seen, before[1] + estimated)
    for mine, theirs in ((into.requests_by_edge, source.requests_by_edge), (into.errors_by_edge, source.errors_by_edge)):
        for key, value in theirs.items():
            mine[key] = mine.get(key, 0.0) + value
    into.latency.sketches.extend(source.latency.sketches)
    into.gap.sketches.extend(source.gap.sketches)
