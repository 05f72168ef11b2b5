"""Targets that are no longer as they were left, by nobody's known hand: reported or said again, as the policy chooses.

What changed a target may know why it did, and two controllers that write over each other harm more than a weight that strayed: so the
default is to say so and to wait, and what is restored is restored once, since a second drift within the hour is somebody's will.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.notices import notify_of_target
from ctrlplane_stream.decision.phases import ENDED
from ctrlplane_stream.decision.retiring import delete_again, deletes, is_given_up
from ctrlplane_stream.decision.stuck import silence
from ctrlplane_stream.decision.targets import as_it_is, exchanges, impostor, is_as_left, is_astray, is_shown, tell_again
from ctrlplane_stream.model.policy import OnDrift, Policy

CONTESTED_MS = 3_600_000
"""A drift so soon after one that was restored is not restored: somebody else goes on writing."""


def moving(draft: Draft, service: str) -> e.Rollout | None:
    """The rollout that moves the service, or None."""
    rollout = draft.mover(draft.target(service))
    return rollout if rollout is not None and rollout.phase not in ENDED else None


def drifted(draft: Draft, service: str, detail: str) -> None:
    """Answer a drift as the policy says: of the rollout that moves the target, or of the service at rest."""
    rollout = moving(draft, service)
    target = draft.target(service)
    if rollout is None and draft.is_advised(service):
        draft.because("left", f"{service} is left as it is, since another tool moves it (mode advise): {detail}")
        return
    restores = _policy(draft, service, rollout).on_drift is OnDrift.RESTORE and target.strayed is None and not _contested(draft, target)
    restores = restores and (rollout is not None or target.stable is not None)  # or all that serves would be taken out of service
    if restores and target.edited is not None:
        draft.because("left", f"{service} is left as it is, since somebody edited it by hand: resume restores both", target.rollout)
    elif restores:
        draft.put_target(replace(target, restored_ms=draft.clock.now_ms))
        draft.tell(service, Telling(as_it_is(draft, target), f"restored after drift: {detail}", target.rollout))
    elif not is_as_left(draft, target):
        stray(draft, service, impostor(draft, target) or detail)


def stray(draft: Draft, service: str, detail: str) -> None:
    """Remember that a target strayed, and tell people once: of one that a rollout moves by its hold."""
    target = draft.target(service)
    draft.put_target(replace(target, strayed=detail))
    if target.strayed is None and moving(draft, service) is None:
        text = f"{service} is not as it was left: {detail}. resume restores it, and no rollout of it starts before"
        draft.because("strayed", text)
        notify_of_target(draft, service, "drift", text, "resume")


def returned(draft: Draft, service: str) -> None:
    """Look at a target that another tool moved until now: what it was left as then is a drift."""
    if strays(draft, draft.target(service)):
        drifted(draft, service, "another tool moved it meanwhile")


def strays(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether a target at rest, whose last command was shown once, shows something else, which nobody has reported as drift."""
    if target.rollout is not None or target.in_flight is not None or (target.stable is None and not target.live):
        return False
    if target.strayed is not None or target.edited is not None:
        return False
    if impostor(draft, target) is not None:
        return True
    return is_astray(draft, target) if exchanges(draft, target) else not is_shown(draft, target)


def resume(draft: Draft, service: str, because: str) -> bool:
    """Say again what is wanted of a target that strayed at rest, was not told to delete any more, or runs under a label what was never
    numbered so; whether there was anything to say."""
    target = draft.target(service)
    if target.strayed is None and not is_given_up(target) and impostor(draft, target) is None:
        return False
    draft.put_target(replace(target, strayed=None, restored_ms=draft.clock.now_ms))
    tell_again(draft, draft.target(service), because)
    return True


def unrestored(draft: Draft, service: str, why: str) -> None:
    """A target at rest was told again, and does not do it: people are told, since no rollout watches it."""
    target = draft.target(service)
    if deletes(target):
        return  # what is only not deleted yet serves nobody: it is told again, and no rollout waits for it
    if service in draft.index.awaited and target.rollout is None and target.edited is None and not is_as_left(draft, target):
        stray(draft, service, f"it could not be restored ({why})")


def watch_at_rest(draft: Draft) -> None:
    """Look at every target that was told something at rest: what neither shows it in time nor says why not could not be restored."""
    awaited = draft.index.awaited
    still = tuple(service for service in awaited if _is_awaited(draft.target(service)))
    for service in still:
        target = draft.target(service)
        if draft.is_advised(service):
            continue
        why = silence(draft, target, _policy(draft, service, None))
        if deletes(target):
            delete_again(draft, target, why)
        elif why is not None:
            unrestored(draft, service, why)
    still = tuple(service for service in still if _is_awaited(draft.target(service)))
    if still != awaited:
        draft.put("index", replace(draft.index, awaited=still))


def _is_awaited(target: e.TargetEntry) -> bool:
    """Not once a rollout watches it, or people have it in their hands or were told."""
    if target.rollout is not None or target.in_flight is None or is_given_up(target):
        return False
    return target.edited is None and target.strayed is None


def _policy(draft: Draft, service: str, rollout: e.Rollout | None) -> Policy:
    if rollout is not None:
        return draft.version_set(rollout.id).policy
    return draft.policy(service)


def _contested(draft: Draft, target: e.TargetEntry) -> bool:
    return target.restored_ms is not None and draft.clock.now_ms - target.restored_ms < CONTESTED_MS
