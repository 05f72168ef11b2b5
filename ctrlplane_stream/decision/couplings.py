"""What one rollout means to another: the second table of the machine, relation by standing.

``relation`` says what the changed services of two rollouts have to do with each other, ``standing`` how far the other one is. Whether a
queued rollout waits for the other is then looked up. A shared guard couples rollouts that run: see ``hearing.py``.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import version_sets as vs
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.graph import Graph
from ctrlplane_stream.decision.phases import ADOPTION, Phase
from ctrlplane_stream.model.identity import EdgeKey


class Relation(StrEnum):
    """What the services that two rollouts change have to do with each other."""

    SAME_SERVICE = "moves the same service"
    JOINED = "joined by an edge"
    HUB = "joined at a hub"
    """So many call one of them that waiting would hold up everybody: the pair of candidates is judged as an arm of its own."""
    APART = "no edge between them"


APART: Final = Relation.APART
"""What most of them have to do with each other, under a name of its own, for the reason that ``phases.py`` gives."""


class Standing(StrEnum):
    """How far the other rollout is."""

    WAITING = "queued"
    CLIMBING = "climbing"
    """Preparing, shifting or verifying, or a revert that waits for its service: nobody begins before that; another tool's, while it moves
    shares."""
    RETURNING = "going back"
    VERIFIED = "verified at 100"
    """Baking, draining the old versions, or being adopted, which moves nothing; a revert that has all traffic; another tool's that has
    it, or has stood still for longer than a hold may."""


class Wait(StrEnum):
    """Whether the queued one waits."""

    ALWAYS = "waits"
    BEHIND = "waits if it came later"
    BEHIND_AGED = "waits if it came later and the other has aged"
    NEVER = "goes"


COUPLINGS = MappingProxyType(
    {
        Relation.SAME_SERVICE: MappingProxyType(
            {
                Standing.WAITING: Wait.BEHIND,
                Standing.CLIMBING: Wait.ALWAYS,
                Standing.RETURNING: Wait.ALWAYS,
                Standing.VERIFIED: Wait.ALWAYS,
            }
        ),
        Relation.JOINED: MappingProxyType(
            {
                Standing.WAITING: Wait.BEHIND_AGED,
                Standing.CLIMBING: Wait.ALWAYS,
                Standing.RETURNING: Wait.ALWAYS,
                Standing.VERIFIED: Wait.NEVER,
            }
        ),
        Relation.HUB: MappingProxyType(dict.fromkeys(Standing, Wait.NEVER)),
        Relation.APART: MappingProxyType(dict.fromkeys(Standing, Wait.NEVER)),
    }
)
"""Relation and standing of the other to what a queued rollout does."""


def relation(graph: Graph, services: tuple[str, ...], near: Mapping[str, EdgeKey], other: e.Rollout) -> tuple[Relation, str]:
    """What changed ``services``, whose neighbours are ``near``, have to do with those of the other rollout, and the service or edge that
    says so."""
    joined = False
    for unit in other.units:  # a loop, since each that queues asks it of every other
        if unit.service in services:
            return Relation.SAME_SERVICE, unit.service
        joined = joined or unit.service in near
    if not joined:
        return APART, ""
    theirs = [unit.service for unit in other.units]
    edge = next(edge for name, edge in near.items() if name in theirs)
    hub = any(vs.is_hub(graph, name) for name in (*services, *theirs))
    return (Relation.HUB if hub else Relation.JOINED), str(edge)


def standing(draft: Draft, other: e.Rollout) -> Standing:
    """How far the other rollout, which has not ended, is."""
    if other.phase is Phase.QUEUED:
        return Standing.CLIMBING if other.is_revert else Standing.WAITING
    if other.bakes or other.phase in ADOPTION or _stands_still(draft, other):
        return Standing.VERIFIED
    if other.phase is Phase.VERIFYING and (other.is_kept or _gave_up_its_place(draft, other)):
        return Standing.VERIFIED
    if other.phase in (Phase.ABORTING, Phase.DRAINING):
        return Standing.VERIFIED if other.phase is Phase.DRAINING and other.promoted else Standing.RETURNING
    return Standing.CLIMBING


def _gave_up_its_place(draft: Draft, other: e.Rollout) -> bool:
    """Whether first versions have been held for longer than a hold is kept: they serve, and nothing else ends what waits for them."""
    if not other.holds or not other.only_first_versions:
        return False
    limit = draft.version_set(other.id).policy.hold_deadline_seconds * 1000
    return any(draft.clock.steady - hold.since_steady >= limit for hold in other.holds)


def _stands_still(draft: Draft, other: e.Rollout) -> bool:
    """Whether another tool has left its rollout at one share for longer than a hold of ours would be kept."""
    if other.advice is None:
        return False
    limit = draft.version_set(other.id).policy.hold_deadline_seconds * 1000
    return draft.clock.steady - (other.confirmed_steady or 0) > limit
