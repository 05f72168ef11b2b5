"""The services, policies and calls of a system, drawn."""

import random

import msgspec

from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.identity import EdgeKind, ServiceKind
from ctrlplane_stream.model.policy import Fleet, MaintenanceWindow, OnDrift, Policy, Step, Supersede, Unsure
from ctrlplane_stream.model.verdicts import GatePolicy, OutsideJudge
from ctrlplane_stream.simulation.loop import service
from ctrlplane_stream.testing import START_MS

SWIFT = Policy(
    steps=(Step(20, 5, 60, 1), Step(100, 5, 60, 1)),
    bake_seconds=35,
    bake_windows=3,
    ready_timeout_seconds=40,
    drain_seconds=10,
    drain_limit_seconds=60,
    retention_seconds=60,
    blind_limit_seconds=40,
    lost_actuator_seconds=30,
    lease_seconds=45,
    hold_deadline_seconds=240,
)
"""Times so short that a whole rollout takes a minute; nothing else differs from the default."""


ELSEWHERE = "other"
"""The service that another tool moves, in systems that have one."""


OUTSIDE_JUDGE = "canary-tool"


_EVERY_DAY = tuple(range(7))


_MIDDAY = START_MS // 60_000 % 1440


def policy_of(rng: random.Random) -> Policy:
    """A policy with everything drawn that may differ from service to service."""
    judge = OutsideJudge(OUTSIDE_JUDGE, rng.random() < 0.7, rng.random() < 0.5, rng.random() < 0.5)
    closed = MaintenanceWindow(_EVERY_DAY, _MIDDAY + 2, _MIDDAY + 60)
    return msgspec.structs.replace(
        SWIFT,
        supersede=rng.choice(list(Supersede)),
        on_no_data=rng.choice(list(Unsure)),
        on_unprovable=rng.choice(list(Unsure)),
        on_unknown_service=rng.choice((Unsure.SOAK, Unsure.SOAK, Unsure.HOLD)),
        on_lease_expired=rng.choice((Unsure.ABORT, Unsure.HOLD)),
        on_drift=rng.choice(list(OnDrift)),
        auto_promote=rng.random() < 0.9,
        steps=rng.choice((SWIFT.steps, (Step(10, 5, 60, 1), Step(50, 5, 60, 2, rng.random() < 0.2), Step(100, 5, 60, 1)))),
        gate=GatePolicy(outside=(judge,)) if rng.random() < 0.15 else SWIFT.gate,
        maintenance=(closed,) if rng.random() < 0.05 else (),
        hold_after_revert_seconds=rng.choice((0.0, 0.0, 0.0, 30.0)),
        in_place=rng.random() < 0.03,
        drain_seconds=rng.choice((10.0, 10.0, 10.0, 50.0)),  # shorter than the bake, and longer
    )


MANNERS = ("in place", "surge", "fleet", "group", "kind", "actuator")
"""What of a service a catalog may say otherwise besides policy and configuration; the last two in vain where something of it is there."""


def in_another_manner(rng: random.Random, entry: ServiceInEnvironment, manner: str) -> ServiceInEnvironment:
    """The service in another manner."""
    policy = entry.policy
    match manner:
        case "in place":
            policy = msgspec.structs.replace(policy, in_place=not policy.in_place)
        case "surge":
            policy = msgspec.structs.replace(policy, surge_percent=rng.choice((25, 50, 60, 100)))
        case "fleet":
            policy = msgspec.structs.replace(policy, candidate_fleet=rng.choice((Fleet.BY_WEIGHT, Fleet.WHOLE)))
        case "group":
            return msgspec.structs.replace(entry, moves_together=rng.choice(("g", None)))
        case "kind":
            return msgspec.structs.replace(entry, kind=rng.choice([kind for kind in ServiceKind if kind is not entry.kind]))
        case _:
            return msgspec.structs.replace(entry, actuator="another")
    return msgspec.structs.replace(entry, policy=policy)


def drawn_service(rng: random.Random, name: str, names: list[str]) -> ServiceInEnvironment:
    kind = rng.choice((ServiceKind.ROUTED, ServiceKind.ROUTED, ServiceKind.ROUTED, ServiceKind.CONSUMER))
    return service(
        name,
        policy_of(rng),
        ServiceKind.JOB if rng.random() < 0.03 else kind,
        in_cycle_compatible=rng.random() < 0.7,
        moves_together="g" if rng.random() < 0.1 and len(names) > 2 else None,
    )


def _in_place(rng: random.Random, s: ServiceInEnvironment) -> ServiceInEnvironment:
    lease = rng.choice((SWIFT.lease_seconds, SWIFT.lease_seconds, 25.0))
    return msgspec.structs.replace(s, policy=msgspec.structs.replace(s.policy, in_place=True, lease_seconds=lease))


def some_in_place(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """One service in six changes in place, a third of those with a lease shorter than an instance may take to become ready."""
    return tuple(_in_place(rng, s) if rng.random() < 1 / 6 else s for s in services)


def of_other_ways(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """What came to be known later, drawn by itself: one in four answers for a bake by itself, one in six has room for
    a portion only, one in eight is a job."""
    found = []
    for entry in services:
        answer = rng.choice(list(Unsure)) if rng.random() < 0.25 else msgspec.UNSET
        surge = rng.choice((25, 50, 60)) if rng.random() < 1 / 6 else 100
        policy = msgspec.structs.replace(entry.policy, on_unprovable_bake=answer, surge_percent=surge)
        kind = ServiceKind.JOB if rng.random() < 1 / 8 else entry.kind
        found.append(msgspec.structs.replace(entry, policy=policy, kind=kind))
    return tuple(found)


def by_weight(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """The candidates of one service in six have instances for their weight only."""
    fleets = [Fleet.BY_WEIGHT if rng.random() < 1 / 6 else msgspec.UNSET for _ in services]
    return tuple(
        msgspec.structs.replace(s, policy=msgspec.structs.replace(s.policy, candidate_fleet=fleet))
        for s, fleet in zip(services, fleets, strict=True)
    )


def starting_over(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """Half of the services start over for newer versions, most of them, and answer a drift in one of the ways."""
    found = []
    for s in services:
        supersede = rng.choice((Supersede.RESTART, Supersede.RESTART, Supersede.QUEUE_LATEST))
        policy = msgspec.structs.replace(s.policy, supersede=supersede, on_drift=rng.choice(list(OnDrift)))
        found.append(msgspec.structs.replace(s, policy=policy) if rng.random() < 0.5 else s)
    return tuple(found)


def edges_of(rng: random.Random, names: list[str]) -> tuple[tuple[str, str, EdgeKind], ...]:
    found = []
    for i, caller in enumerate(names):
        for callee in names[i + 1 :]:
            if rng.random() < 0.4:
                found.append((caller, callee, EdgeKind.CALL if rng.random() < 0.8 else EdgeKind.MESSAGE))
    if len(names) > 2 and rng.random() < 0.15:
        found.append((names[-1], names[0], EdgeKind.CALL))
    return tuple(found)
