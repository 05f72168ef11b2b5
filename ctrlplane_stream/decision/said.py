"""What an override is about, and how it is answered: the same words for every verb."""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.model.facts import OverrideRequested

Answered = tuple[bool, str]
"""Whether it counts as applied, and the sentence that says how; it begins with one of the next two where nothing was changed."""

REFUSED, IDLE = "refused: ", "nothing to do: "
"""What the sentence begins with where it could not be done, and where there was nothing there to do it with: kept with the override,
it says the same to whoever repeats it. abort, pause and freeze are never refused, and find nothing to do at times."""


def in_scope(draft: Draft, fact: OverrideRequested) -> list[e.Rollout]:
    """The rollouts that have not ended and that the override is about, in order of arrival."""
    return [
        r
        for r in draft.rollouts()
        if (fact.rollout is None or r.id == fact.rollout) and (fact.service is None or any(u.service == fact.service for u in r.units))
    ]


def known_as(fact: OverrideRequested) -> str:
    """What an override is known by: its id with its verb and scope, since whoever takes ids from tickets says several things by one."""
    return f"{fact.verb}/{fact.rollout or fact.service or ''}/{fact.id}"


def scope_of(draft: Draft, fact: OverrideRequested) -> str:
    """What the override is about, by the name that was said of it."""
    return fact.rollout or fact.service or draft.environment


def absent(draft: Draft, fact: OverrideRequested) -> str:
    """Why nothing in the scope is under way: the same words for every verb."""
    if fact.rollout is None:
        return f"nothing in {scope_of(draft, fact)} is under way"
    ended = draft.rollout(fact.rollout)
    return f"{ended.id} has ended ({ended.phase})" if ended is not None else f"there is no rollout {fact.rollout}"


def noted(rollout: e.Rollout, fact: OverrideRequested) -> e.Rollout:
    """The rollout with the override among the last that were said of it."""
    return replace(rollout, overrides=(*rollout.overrides, fact.id)[-20:])
