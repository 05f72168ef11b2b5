"""What is past its retention: parked versions are deleted at rest, and a deletion that does not take is tried again before people are told.
None is deleted that has weight, by whosever hand.

What was parked and had to serve again, since somebody else gave it traffic, is parked anew here once it has drained.

A version that is only not deleted yet serves nobody, so no rollout waits for it: the next command to its target deletes it too.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.draining import meets_at_rest
from ctrlplane_stream.decision.notices import notify_of_target
from ctrlplane_stream.decision.stuck import RETRY_SECONDS
from ctrlplane_stream.decision.targets import has_weight, with_version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.world import PARKED

DELETIONS_TRIED = 5
"""So often a target at rest is told to delete what is past its retention, each time after twice as long."""


def retire(draft: Draft) -> None:
    """Park anew what has drained again, and delete parked versions whose retention has passed; the last known good and whatever moves are
    kept."""
    still: list[str] = []
    for service in draft.index.retiring:
        target = draft.target(service)
        at_rest = target.rollout is None and target.in_hand is None and not draft.is_advised(service)
        if at_rest and target.in_flight is None and target.standing_by:
            target = _park_anew(draft, target)
        parked = [v for v in target.live if _may_go(target, v)]
        gone = [v for v in parked if (v.parked_until_steady or 0) <= draft.clock.steady and not has_weight(target, v.label)]
        if gone and at_rest and not _parks(draft, target):  # in hands, the deletion would undo what somebody is to look at first
            labels = [v.label for v in gone]
            parked = [v for v in parked if v.label not in labels]
            draft.put_target(replace(target, live=tuple(v for v in target.live if v.label not in labels)))
            draft.tell(service, Telling(Verb.DELETE, f"the retention of {', '.join(labels)} has passed", None))
            draft.because("deleted", f"{service} {', '.join(labels)}: retention has passed")
        if parked or target.standing_by:
            still.append(service)
    if tuple(still) != draft.index.retiring:
        draft.put("index", replace(draft.index, retiring=tuple(still)))


def _park_anew(draft: Draft, target: e.TargetEntry) -> e.TargetEntry:
    """The target with what has drained again parked as before, for as long as it was to be kept then."""
    drained = [v for v in target.standing_by if meets_at_rest(draft, target.service, v.label) is None]
    if not drained:
        return target
    for live in drained:
        target = with_version(target, replace(live, capacity=PARKED))
    labels = ", ".join(v.label for v in drained)
    draft.put_target(target)
    draft.tell(target.service, Telling(Verb.PARK, f"{labels} has drained again", None))
    draft.because("parked-anew", f"{target.service} {labels} has drained again, and is parked")
    if not target.standing_by:
        draft.remove(f"arrivals/{target.service}")
    return target


def _parks(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether something is being parked yet: what was adopted is left to its owner as it is, and is to have no instance then."""
    told, flight = draft.telling.get(target.service), target.in_flight
    return (told.verb if told is not None else flight.verb if flight is not None else None) == Verb.PARK


def _may_go(target: e.TargetEntry, live: e.LiveVersion) -> bool:
    if live.capacity is not PARKED or live.label in (target.stable, target.pinned):
        return False
    return target.last_known_good is None or live.label != target.last_known_good.label


def deletes(target: e.TargetEntry) -> bool:
    """Whether the last command, which is not done yet, was a deletion."""
    return target.in_flight is not None and target.in_flight.verb == Verb.DELETE


def is_given_up(target: e.TargetEntry) -> bool:
    """Whether a deletion at rest was in vain so often that people were told, and it is not tried again by itself."""
    flight = target.in_flight
    return target.rollout is None and flight is not None and deletes(target) and flight.tries > DELETIONS_TRIED


def delete_again(draft: Draft, target: e.TargetEntry, silence: str | None) -> None:
    """Tell a target once more to delete, for what its actuator said or for its ``silence``; after the last try tell people."""
    flight = target.in_flight
    why = (flight.trouble if flight is not None else None) or silence
    if flight is None or why is None or draft.clock.steady - flight.issued_steady < RETRY_SECONDS * 1000 * 2 ** (flight.tries - 1):
        return
    last = flight.tries >= DELETIONS_TRIED
    draft.put_target(replace(target, in_flight=replace(flight, tries=flight.tries + last, trouble=why)))
    if not last:
        draft.tell(target.service, Telling(Verb.DELETE, f"try {flight.tries + 1} to delete what is past its retention: {why}", None))
        return
    text = f"{target.service}: what is past its retention could not be deleted ({why}). resume tries again, and so does its next rollout"
    draft.because("not-deleted", text)
    notify_of_target(draft, target.service, "not-deleted", text, "resume")
