"""What an adoption does: a version that runs already is told to be taken over as it is, and nothing is moved or restarted for it.

It is stable at once, since it serves whatever we think of it, and last known good when the world shows it as ours. Giving up means
that nothing is wanted of the target any more; a world that had taken it over by then says so, and it stays adopted. What
was not taken over is never scaled, parked or deleted by us.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import holds
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.notices import notify
from ctrlplane_stream.decision.phases import Event
from ctrlplane_stream.decision.promoting import mark_good
from ctrlplane_stream.decision.targets import is_shown, was_refused, with_version, without_version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.world import Capacity

Answer = tuple[Event, str] | str
"""An event with its reason, or a sentence that says what is waited for."""


def take_over(draft: Draft, rollout: e.Rollout, because: str) -> None:
    """Want the running version as it is, with all traffic, and have the target told to take it over."""
    for unit in rollout.units:
        target = with_version(draft.target(unit.service), e.LiveVersion(unit.candidate, Capacity.FULL, 100))
        draft.put_target(replace(target, stable=unit.candidate, rollout=rollout.id))
        draft.tell(unit.service, Telling(Verb.ADOPT, because, rollout.id))


def leave(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """Want nothing of what was to be adopted."""
    for unit in rollout.units:
        target = without_version(draft.target(unit.service), unit.candidate)
        draft.put_target(replace(target, stable=None))
        draft.tell(unit.service, Telling(Verb.LEAVE, because, rollout.id))
    return replace(rollout, stopped_because=because, holds=())


def taken_before(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """Want it again: it was taken over before anybody could say that it should not."""
    take_over(draft, rollout, because)
    return replace(rollout, stopped_because=None)


def adopted(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """Remember what was taken over as good, though nobody judged it."""
    for unit in rollout.units:
        mark_good(draft, rollout, unit)
        text = f"{unit.service} {unit.candidate} is the last known good from here on: it was adopted as it runs, and is unjudged"
        draft.because("last-known-good", text, rollout.id)
    return replace(rollout, holds=(), promoted=True, ended_ms=draft.clock.now_ms)


def left(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """Tell people that what runs there is still not ours."""
    ended = replace(rollout, holds=(), ended_ms=draft.clock.now_ms)
    names = ", ".join(f"{unit.service} {unit.candidate}" for unit in rollout.units)
    text = f"{names} was not adopted: {rollout.stopped_because}. What runs there was not touched"
    notify(draft, ended, "not-adopted", text, "")
    return ended


def await_adoption(draft: Draft, rollout: e.Rollout) -> Answer:
    """The rule of ``adopting``: over when every target shows what was to be taken over, given up when nobody ends a hold."""
    if (over := holds.expired(draft, rollout)) is not None:
        return Event.STOP, f"nobody ended the hold for {over.code} before its deadline: {over.text}"
    for unit in rollout.units:
        if unit.service in draft.telling or not is_shown(draft, draft.target(unit.service)):
            return f"waits for {unit.service} to show what runs there as {unit.candidate}"
    return Event.ADOPTED, "the world shows it, as it ran"


def await_answer(draft: Draft, rollout: e.Rollout) -> Answer:
    """The rule of ``leaving``: only the world knows whether it had taken it over."""
    for unit in rollout.units:
        target = draft.target(unit.service)
        if unit.service in draft.telling or not (target.in_flight is None or was_refused(target)):
            return f"waits for {unit.service} to say whether it had taken {unit.candidate} over"
        if target.in_flight is not None:
            # What it does not have it lets go without a word; that it was seen is not asked, since looks may be lost where answers are not.
            return Event.TAKEN, f"{unit.service} had taken {unit.candidate} over before it was given up, and nothing would be better undone"
    return Event.LEFT, rollout.stopped_because or "given up"
