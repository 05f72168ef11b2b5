"""What gives way to a newer set: queued sets are withdrawn, running ones go back where their policy says so, and what they still wanted to
move moves along; nothing is forgotten.

All is decided before anything gives way, so that a set which is refused leaves everything as it was.
"""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import FORWARD, QUEUED, Event
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.decision.wanted import unwanted
from ctrlplane_stream.model.facts import ReleaseOrder
from ctrlplane_stream.model.policy import Supersede


def gives_way(draft: Draft, rollout: e.Rollout, members: dict[str, str]) -> bool:
    """Whether a queued rollout is withdrawn for newer versions of what it would move. A revert is not: a person wants that one."""
    if rollout.phase is not QUEUED or rollout.is_revert or all(u.service not in members for u in rollout.units):
        return False
    return draft.version_set(rollout.id).policy.supersede is not Supersede.FINISH


def starts_over(draft: Draft, rollout: e.Rollout, members: dict[str, str]) -> bool:
    """Whether a running rollout goes back for newer versions of what it moves, by its policy. A revert does not."""
    if rollout.phase not in FORWARD or rollout.is_revert or all(u.service not in members for u in rollout.units):
        return False
    return draft.version_set(rollout.id).policy.supersede is Supersede.RESTART


def _is_superseded(draft: Draft, rollout: e.Rollout, members: dict[str, str]) -> bool:
    return gives_way(draft, rollout, members) or starts_over(draft, rollout, members)


def _superseded(draft: Draft, members: dict[str, str], cause: str) -> list[e.Rollout]:
    """The rollouts whose other members move along with the new ones, in order of arrival; a revert takes nothing forward with it."""
    if cause == "revert":
        return []
    return [r for r in draft.rollouts() if _is_superseded(draft, r, members)]


def with_withdrawn(draft: Draft, members: dict[str, str], cause: str) -> dict[str, str]:
    """The members, with those that superseded rollouts still wanted to move, and may."""
    merged = dict(members)
    for rollout in _superseded(draft, members, cause):
        for unit in rollout.units:
            if unwanted(draft, unit.service, unit.candidate, rollout.cause) is None:
                merged.setdefault(unit.service, unit.candidate)
    return merged


def as_declared(
    draft: Draft, members: dict[str, str], cause: str, release: str | None, order: ReleaseOrder
) -> tuple[str | None, ReleaseOrder]:
    """The name and the order of the set: its own, or where it declares none those of the first superseded release, which goes on in it."""
    sets = [draft.version_set(r.id) for r in _superseded(draft, members, cause)] if release is None else []
    known = next((found for found in sets if found.release is not None), None)
    if known is None:
        return release, order
    return known.release, known.order if order is ReleaseOrder.CALLEES_FIRST else order


def is_extended(draft: Draft, queued: e.Rollout, wanted: dict[str, str], members: dict[str, str], cause: str) -> bool:
    """Whether a queued rollout goes on under its own id with other ``members``, rather than being the very same."""
    return cause != "revert" and gives_way(draft, queued, wanted) and {u.service: u.candidate for u in queued.units} != members


def _why(ours: list[str], members: dict[str, str], cause: str) -> str:
    newer = ", ".join(f"{name} {members[name]}" for name in ours)
    return f"{newer} is returned to; control retry reruns this" if cause == "revert" else f"{e.SUPERSEDED}{newer}"


def _say_what_stays_behind(draft: Draft, rollout: e.Rollout, members: dict[str, str]) -> None:
    for unit in rollout.units:
        if unit.service not in members and (why := unwanted(draft, unit.service, unit.candidate, rollout.cause)) is not None:
            draft.because("stays-behind", f"{unit.service} {unit.candidate} does not move on: {why}", rollout.id)


def make_way(draft: Draft, members: dict[str, str], cause: str, id_: str) -> None:
    """Withdraw what the new set makes pointless, but for the one whose id it takes over, and stop what does not finish before it."""
    for rollout in draft.rollouts():
        ours = [u.service for u in rollout.units if u.service in members]
        if not ours or rollout.advice is not None:
            continue
        newer = _why(ours, members, cause)
        superseded = _is_superseded(draft, rollout, members)
        if superseded:
            _say_what_stays_behind(draft, rollout, members)
        if rollout.id == id_:
            draft.because("superseded", f"{id_}, still queued, is changed: {newer}", id_)
        elif superseded or (cause == "revert" and rollout.phase in (QUEUED, *FORWARD)):
            move(draft, rollout, Event.STOP, newer)
