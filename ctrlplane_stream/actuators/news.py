"""What of an observation is worth telling, and by what cause: a pure comparison with what was told last."""

import msgspec

from ctrlplane_stream.actuators.wanted import retreats
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import Cursor, ObservedVersion, TargetObserved, TargetWanted


class News(msgspec.Struct, frozen=True):
    """A change worth a fact: its weightiest cause, a sentence, and the last command that the target took and has forgotten, by sequence."""

    cause: WorldCause
    detail: str
    forgotten: int | None = None


def news(told: TargetObserved | None, seen: TargetObserved, wanted: TargetWanted, latest: Cursor) -> News | None:
    """What changed since ``told`` (None: nothing was told since we started), or None where nothing did.

    ``wanted`` is what the latest command says, and ``latest`` its cursor, whether or not the target has taken it.

    Whatever else changed travels in the observation itself; a person's hand outranks the lease, the lease outranks
    drift, and drift outranks readiness.
    """
    new = _by_hand(told, seen) or _by_lease(told, seen) or _by_drift(told, seen, wanted, latest) or _by_readiness(told, seen, wanted)
    return msgspec.structs.replace(new, forgotten=_forgotten(told, seen)) if new is not None else None


def _forgotten(told: TargetObserved | None, seen: TargetObserved) -> int | None:
    """The sequence of the command that the target was told to have taken, where it knows of an older one only, or of none."""
    if told is None or told.cursor is None or (seen.cursor is not None and told.cursor <= seen.cursor):
        return None
    return told.cursor.sequence


def told_by_outcome(told: TargetObserved | None, seen: TargetObserved) -> TargetObserved | None:
    """What counts as told after an outcome carried ``seen``: all of it but for hands, leases and what was forgotten, until told."""
    if told is None:
        return None
    return msgspec.structs.replace(
        seen,
        cursor=told.cursor if _forgotten(told, seen) is not None else seen.cursor,
        edited=seen.edited and told.edited,
        break_glass=seen.break_glass and told.break_glass,
        lease_expired=seen.lease_expired and told.lease_expired,
    )


def told_by_fact(new: News | None, told: TargetObserved | None, seen: TargetObserved) -> TargetObserved:
    """What counts as told after the fact of ``new`` carried ``seen``: who edits what somebody else aborted is told next."""
    if new is None or new.cause is not WorldCause.BREAK_GLASS:
        return seen
    return msgspec.structs.replace(seen, edited=seen.edited and told and told.edited)


def at_rest(seen: TargetObserved | None, wanted: TargetWanted) -> bool:
    """Whether nothing is on its way and nobody is being tried out: the target may be looked at less often."""
    if seen is None or not retreats(wanted) or seen.not_in_force is not None:
        return False
    reached = all((version := seen.version(want.label)) is not None and version.weight == want.weight for want in wanted.versions)
    return reached and all(version.ready >= version.instances and version.failure is None for version in seen.versions)


def _by_hand(told: TargetObserved | None, seen: TargetObserved) -> News | None:
    if seen.break_glass is not None and (told is None or told.break_glass != seen.break_glass):
        return News(WorldCause.BREAK_GLASS, f"aborted on the target itself: {seen.break_glass}")
    if seen.edited is not None and (told is None or told.edited != seen.edited):
        return News(WorldCause.HAND_EDIT, f"edited by hand: {seen.edited}")
    return None


def _by_lease(told: TargetObserved | None, seen: TargetObserved) -> News | None:
    if seen.lease_expired and (told is None or not told.lease_expired):
        return News(WorldCause.LEASE_EXPIRED, "nobody renewed the lease in time: the target goes to its stable version")
    return None


def _by_drift(told: TargetObserved | None, seen: TargetObserved, wanted: TargetWanted, latest: Cursor) -> News | None:
    """What the target does on a command of ours is none, be it one before the latest: it had taken that, and the answer did not arrive."""
    if told is None:
        return None
    if told.edited is not None and seen.edited is None:
        return News(WorldCause.DRIFT, "the hand edit was released on the target")
    if told.cursor != seen.cursor:
        went_on = seen.cursor is not None and (told.cursor is None or told.cursor < seen.cursor) and seen.cursor <= latest
        if _forgotten(told, seen) is not None:
            return News(WorldCause.DRIFT, "the target knows its last command no longer: somebody brought back an older state of it")
        return None if went_on else News(WorldCause.DRIFT, "the target took a command that is not the last one known here")
    if _digests(told) != _digests(seen):
        return News(WorldCause.DRIFT, f"versions are now {', '.join(sorted(_digests(seen))) or 'none'}")
    if wanted.in_place and any(version.ready < version.instances for version in seen.versions):
        return None  # Weights in place are shares of what is ready, and that is readiness.
    if seen.cursor is not None and seen.cursor < latest:
        return None  # They follow an earlier command, since it has not taken, or has refused, the latest.
    strayed = [
        f"{after.label} went from {before.weight} to {after.weight} instead of {wanted.weight(after.label)}"
        for after in seen.versions
        if (before := told.version(after.label)) is not None
        and not min(before.weight, wanted.weight(after.label)) <= after.weight <= max(before.weight, wanted.weight(after.label))
    ]
    return News(WorldCause.DRIFT, "; ".join(strayed)) if strayed else None


def _by_readiness(told: TargetObserved | None, seen: TargetObserved, wanted: TargetWanted) -> News | None:
    heard = told is not None and told.not_in_force == seen.not_in_force
    if heard and told is not None and _but_for_runs(told, wanted) == _but_for_runs(seen, wanted):
        return None
    parts = [f"{v.label} {v.ready}/{v.instances} ready at {v.weight}%{f' ({v.failure})' if v.failure else ''}" for v in seen.versions]
    ignored = f"; not in force: {seen.not_in_force}" if seen.not_in_force is not None else ""
    return News(WorldCause.READINESS, (", ".join(parts) or "nothing runs") + ignored)


def _but_for_runs(seen: TargetObserved, wanted: TargetWanted) -> tuple[ObservedVersion, ...]:
    """The versions, without the runs of a stable job that nothing is decided on: a fact for each would say nothing."""
    if wanted.kind is not ServiceKind.JOB or not retreats(wanted):
        return seen.versions
    return tuple(msgspec.structs.replace(v, runs=0, running=0) if v.label == wanted.stable else v for v in seen.versions)


def _digests(seen: TargetObserved) -> dict[str, str]:
    return {version.label: version.digest for version in seen.versions}
