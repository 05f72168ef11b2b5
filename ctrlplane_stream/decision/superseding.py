"""What gives way to a newer set: queued sets are withdrawn, and what they still wanted to move moves along; nothing is forgotten.

All is decided before anything gives way, so that a set which is refused leaves everything as it was.
"""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Event, Phase
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.model.policy import Supersede


def _gives_way(draft: Draft, rollout: e.Rollout, members: dict[str, str]) -> bool:
    """Whether a queued rollout is withdrawn for newer versions of what it would move."""
    if rollout.phase is not Phase.QUEUED or all(u.service not in members for u in rollout.units):
        return False
    return draft.version_set(rollout.id).policy.supersede is not Supersede.FINISH


def with_withdrawn(draft: Draft, members: dict[str, str], cause: str) -> dict[str, str]:
    """The members, with those that withdrawn releases still wanted to move; a revert takes nothing forward with it."""
    merged = dict(members)
    for rollout in draft.rollouts() if cause != "revert" else ():
        for unit in rollout.units if _gives_way(draft, rollout, members) else ():
            merged.setdefault(unit.service, unit.candidate)
    return merged


def is_extended(draft: Draft, queued: e.Rollout, wanted: dict[str, str], members: dict[str, str], cause: str) -> bool:
    """Whether a queued rollout goes on under its own id with other ``members``, rather than being the very same."""
    return cause != "revert" and _gives_way(draft, queued, wanted) and {u.service: u.candidate for u in queued.units} != members


def _why(ours: list[str], members: dict[str, str], cause: str) -> str:
    newer = ", ".join(f"{name} {members[name]}" for name in ours)
    return f"{newer} is returned to; control retry reruns this" if cause == "revert" else f"superseded by {newer}"


def make_way(draft: Draft, members: dict[str, str], cause: str, id_: str) -> None:
    """Withdraw what the new set makes pointless, but for the one whose id it takes over, and stop what does not finish before it."""
    for rollout in draft.rollouts():
        ours = [u.service for u in rollout.units if u.service in members]
        if not ours or rollout.advice is not None:
            continue
        newer = _why(ours, members, cause)
        if rollout.id == id_:
            draft.because("superseded", f"{id_}, still queued, is changed: {newer}", id_)
        elif rollout.phase is Phase.QUEUED:
            if _gives_way(draft, rollout, members):
                move(draft, rollout, Event.STOP, newer)
        elif draft.version_set(rollout.id).policy.supersede is Supersede.RESTART or cause == "revert":
            if rollout.phase not in (Phase.ABORTING, Phase.DRAINING):
                move(draft, rollout, Event.STOP, newer)
