"""The rollout that every plan plays, and where it ends: two scripts, one that promotes and one that aborts."""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.memory import read_memory
from ctrlplane_stream.actuators.kubernetes.names import memory_name
from ctrlplane_stream.actuators.kubernetes.objects import PREFIX, REVISION, SERVICE, STAMP, Kind, Manifest, annotation, label, name_of
from ctrlplane_stream.actuators.kubernetes.placement import Place
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.local.control_plane.scene import command, version
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, WantedVersion

LEASE_SECONDS = 60.0
_COLLECTED_SECONDS = 60.0
Assigned = tuple[Command, Cursor]
Make = Callable[..., WantedVersion]


def script(target: Target, way: Way, *, promotes: bool) -> tuple[Assigned, ...]:
    """The commands, in their order; their sequences leave room for one between any two."""
    one, two = partial(version, target.service, 1), _candidate(target, way)
    give = partial(command, target, kind=way.kind, in_place=way.surplus_percent > 0, surplus_percent=way.surplus_percent)
    begin = (
        give(10, one(100), verb=Verb.ADOPT if way is Way.ADOPTED else Verb.PREPARE),
        give(20, one(100), two(0), verb=Verb.PREPARE),
        give(30, one(75), two(25), lease=LEASE_SECONDS),
        give(40, one(75), two(25), lease=LEASE_SECONDS, verb=Verb.RENEW),
        give(50, one(50), two(50), lease=LEASE_SECONDS),
    )
    if promotes:
        return (
            *begin,
            give(60, one(0), two(100)),
            give(70, one(0, Capacity.PARKED), two(100), verb=Verb.PARK, stable="#2"),
            give(80, two(100), verb=Verb.DELETE, stable="#2"),
        )
    return (
        *begin,
        give(60, one(100), two(0)),
        give(70, one(100), two(0, Capacity.PARKED), verb=Verb.PARK),
        give(80, one(100), verb=Verb.DELETE),
    )


def retreat(target: Target, way: Way, sequence: int) -> Assigned:
    """The command by which the engine agrees with stable after a lease ran out."""
    give = partial(command, target, kind=way.kind, in_place=way.surplus_percent > 0, surplus_percent=way.surplus_percent)
    return give(sequence, version(target.service, 1, 100), _candidate(target, way)(0))


async def ending(cluster: Cluster, place: Place, target: Target) -> Manifest:
    """Everything that the end of a run is compared by: objects, weights, cursor; no times, uids or revisions.

    Waits until what deleted Deployments owned was collected. Raises TimeoutError.
    """
    namespace, chosen = place.namespace, selector(place)
    async with asyncio.timeout(_COLLECTED_SECONDS):
        while True:
            standing, _ = await cluster.select(Kind.DEPLOYMENT, namespace)
            services, _ = await cluster.select(Kind.SERVICE, namespace, chosen)
            config_maps, _ = await cluster.select(Kind.CONFIG_MAP, namespace, chosen)
            if not any(_is_orphan(each, standing) for each in (*services, *config_maps)):
                break
            await asyncio.sleep(0.1)
    deployments = [each for each in standing if label(each, SERVICE) == place.slug]
    memory = read_memory(next(each for each in config_maps if name_of(each) == memory_name(place.slug)), target)
    return {
        "deployments": {name_of(each): [each["spec"]["replicas"], each["spec"]["template"]] for each in deployments},
        "services": {name_of(each): each["spec"]["selector"] for each in services},
        "config maps": sorted(name_of(each) for each in config_maps),
        "cursor": msgspec.to_builtins(memory.ledger.cursor),
        "goal": memory.ledger.goal,
        "pauses": [memory.ledger.edited, memory.ledger.broken_glass, memory.ledger.lease_expired, memory.accepted],
        "stamps": len({annotation(each, STAMP) for each in deployments}),
        "its owner's": [_left_to_its_owner(each) for each in standing if name_of(each) == place.adopt],
        **(await _of_route(cluster, place) if place.route is not None else {"weights": memory.ledger.weights}),
    }


async def _of_route(cluster: Cluster, place: Place) -> Manifest:
    assert place.route is not None
    route = await cluster.get(Kind.HTTP_ROUTE, place.namespace, place.route.name)
    assert route is not None
    rule = {key: value for key, value in route["spec"]["rules"][0].items() if key != "backendRefs"}
    return {"weights": backends(route, place.route.rule), "rule": rule}


def _left_to_its_owner(adopted: Manifest) -> Manifest:
    """What there is of a Deployment that ran before us: nothing of it may be another but its replicas, and what we wrote on it."""
    metadata = adopted["metadata"]
    ours = sorted(key for kind in ("labels", "annotations") for key in metadata.get(kind) or {} if key.startswith(PREFIX))
    return {"ours": ours, "revision": annotation(adopted, REVISION), "spec": adopted["spec"]}


def _candidate(target: Target, way: Way) -> Make:
    def made(weight: int, capacity: Capacity = way.capacity) -> WantedVersion:
        return version(target.service, 2, weight, capacity)

    return made


def _is_orphan(manifest: Manifest, deployments: tuple[Manifest, ...]) -> bool:
    there = {each["metadata"]["uid"] for each in deployments}
    return any(owner["uid"] not in there for owner in manifest["metadata"].get("ownerReferences") or [])
