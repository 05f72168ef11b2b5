"""The rollout that every plan plays, and where it ends: two scripts, one that promotes and one that aborts."""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.memory import read_memory
from ctrlplane_stream.actuators.kubernetes.names import memory_name
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest, annotation, name_of
from ctrlplane_stream.actuators.kubernetes.placement import Place
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.local.control_plane.scene import command, version
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, WantedVersion

LEASE_SECONDS = 60.0
_COLLECTED_SECONDS = 60.0
Assigned = tuple[Command, Cursor]
Make = Callable[..., WantedVersion]


def script(target: Target, *, promotes: bool) -> tuple[Assigned, ...]:
    """The commands, in their order; their sequences leave room for one between any two."""
    one, two = _versions(target.service)
    begin = (
        command(target, 10, one(100), verb=Verb.PREPARE),
        command(target, 20, one(100), two(0), verb=Verb.PREPARE),
        command(target, 30, one(75), two(25), lease=LEASE_SECONDS),
        command(target, 40, one(75), two(25), lease=LEASE_SECONDS, verb=Verb.RENEW),
        command(target, 50, one(50), two(50), lease=LEASE_SECONDS),
    )
    if promotes:
        return (
            *begin,
            command(target, 60, one(0), two(100)),
            command(target, 70, one(0, Capacity.PARKED), two(100), verb=Verb.PARK, stable="#2"),
            command(target, 80, two(100), verb=Verb.DELETE, stable="#2"),
        )
    return (
        *begin,
        command(target, 60, one(100), two(0)),
        command(target, 70, one(100), two(0, Capacity.PARKED), verb=Verb.PARK),
        command(target, 80, one(100), verb=Verb.DELETE),
    )


def retreat(target: Target, sequence: int) -> Assigned:
    """The command by which the engine agrees with stable after a lease ran out."""
    one, two = _versions(target.service)
    return command(target, sequence, one(100), two(0))


async def ending(cluster: Cluster, place: Place, target: Target) -> Manifest:
    """Everything that the end of a run is compared by: objects, weights, cursor; no times, uids or revisions.

    Waits until what deleted Deployments owned was collected. Raises TimeoutError.
    """
    namespace, chosen = place.namespace, selector(place)
    async with asyncio.timeout(_COLLECTED_SECONDS):
        while True:
            deployments, _ = await cluster.select(Kind.DEPLOYMENT, namespace, chosen)
            services, _ = await cluster.select(Kind.SERVICE, namespace, chosen)
            config_maps, _ = await cluster.select(Kind.CONFIG_MAP, namespace, chosen)
            if not any(_is_orphan(each, deployments) for each in (*services, *config_maps)):
                break
            await asyncio.sleep(0.1)
    memory = read_memory(next(each for each in config_maps if name_of(each) == memory_name(place.slug)), target)
    assert place.route is not None
    route = await cluster.get(Kind.HTTP_ROUTE, namespace, place.route.name)
    assert route is not None
    return {
        "deployments": {name_of(each): [each["spec"]["replicas"], each["spec"]["template"]] for each in deployments},
        "services": {name_of(each): each["spec"]["selector"] for each in services},
        "config maps": sorted(name_of(each) for each in config_maps),
        "weights": backends(route, place.route.rule),
        "rule": {key: value for key, value in route["spec"]["rules"][0].items() if key != "backendRefs"},
        "cursor": msgspec.to_builtins(memory.ledger.cursor),
        "goal": memory.ledger.goal,
        "pauses": [memory.ledger.edited, memory.ledger.broken_glass, memory.ledger.lease_expired, memory.accepted],
        "stamps": len({annotation(each, "ctrlplane-stream.dev/stamp") for each in deployments}),
    }


def _versions(service: str) -> tuple[Make, Make]:
    return partial(version, service, 1), partial(version, service, 2)


def _is_orphan(manifest: Manifest, deployments: tuple[Manifest, ...]) -> bool:
    there = {each["metadata"]["uid"] for each in deployments}
    return any(owner["uid"] not in there for owner in manifest["metadata"].get("ownerReferences") or [])
