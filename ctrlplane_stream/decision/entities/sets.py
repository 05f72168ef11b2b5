"""What one decision moves and watches, explained."""

import msgspec

from ctrlplane_stream.model.facts import ReleaseOrder
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.verdicts import Guard


class GuardWhy(msgspec.Struct, frozen=True):
    """A guard, and what put it there in words: the path and the calls along it."""

    guard: Guard
    why: str
    path: tuple[str, ...] = ()


class LeftOut(msgspec.Struct, frozen=True):
    """A neighbour that is not watched, and why."""

    service: str
    why: str


class ChangedUnit(msgspec.Struct, frozen=True):
    """A service that the set moves: from which version to which, and in which wave (waves take weight one after another)."""

    service: str
    candidate: str
    stable: str | None
    wave: int = 0


class BlastRadius(msgspec.Struct, frozen=True):
    """What can be touched at a step of a wave: how many services, and which share of the environment's traffic, 0..1."""

    weight: int
    wave: int
    services: int
    of_services: int
    traffic_share: float


class VersionSet(msgspec.Struct, frozen=True):
    """What one decision moves and watches, as it was decided, with the reasons in words."""

    rollout: str
    changed: tuple[ChangedUnit, ...]
    guards: tuple[GuardWhy, ...]
    left_out: tuple[LeftOut, ...]
    left_out_more: int
    entry_points: tuple[str, ...]
    confidence: str
    """``observed``, ``thin`` (few sightings) or ``none`` (a changed service was never seen in a trace)."""
    explanation: tuple[str, ...]
    policy: Policy
    policy_of: str
    blast_radius: tuple[BlastRadius, ...] = ()
    """By wave and step, as they are taken."""
    release: str | None = None
    order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
    hub: bool = False
    kinds: dict[str, ServiceKind] = {}
    in_place: tuple[str, ...] = ()
    """Changed services whose instances are exchanged: one at a time in place, or in portions where the policy leaves some room."""
    by_weight: tuple[str, ...] = ()
    """Changed services whose candidate has instances for its weight only, and more of them before each step."""
    surplus_percent: dict[str, int] = {}
    """By how much each of those that have some room may exceed its size meanwhile."""
