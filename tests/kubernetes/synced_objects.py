"""Objects that somebody syncs from a repository and of which a part is ours: routes whose weights move, Deployments that are adopted."""

import asyncio
from collections.abc import Mapping

from ctrlplane_stream.actuators.gitops.guarding import Safety, guard
from ctrlplane_stream.actuators.gitops.live import documents_live, owned_at
from ctrlplane_stream.actuators.gitops.owned import Owned
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.weights import backends, replicas
from ctrlplane_stream.actuators.port import Actuator
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.control_plane.scene import adopting, command, routed_place, settled, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity


def target_of(name: str) -> Target:
    """The target whose service is called like the object."""
    return Target("production", name)


def place_of(namespace: str, name: str, *, adopted: bool) -> Place:
    """Where it lives: one Pod, and a route of its own."""
    place = routed_place(namespace, name, replicas=1)
    return adopting(place, name) if adopted else place


async def move(actuator: Actuator, admin: Cluster, place: Place, name: str) -> None:
    """A candidate at 25%; what was adopted gives everything away and is parked."""
    one, two, target = version(name, 1, 100), version(name, 2, 0), target_of(name)
    if place.adopt is None:
        await actuator.apply(*command(target, 1, one, two))
        await settled(actuator, target, {"#1": 100, "#2": 0})
        await actuator.apply(*command(target, 2, version(name, 1, 75), version(name, 2, 25), lease=3600.0))
        await settled(actuator, target, {"#1": 75, "#2": 25})
        return
    while not await _is_whole(admin, place.namespace, place.adopt):
        await asyncio.sleep(0.05)
    await actuator.apply(*command(target, 1, one, verb=Verb.ADOPT))
    await settled(actuator, target, {"#1": 100})
    parked = version(name, 1, 0, Capacity.PARKED)
    await actuator.apply(*command(target, 2, version(name, 1, 0), version(name, 2, 100)))
    await settled(actuator, target, {"#1": 0, "#2": 100})
    await actuator.apply(*command(target, 3, parked, version(name, 2, 100), stable="#2", verb=Verb.PARK))
    await settled(actuator, target, {"#1": 0, "#2": 100})


async def all_ours(admin: Cluster, places: Mapping[str, Place]) -> dict[Owned, object]:
    """What is ours of each object of these places, as it is there."""
    return {part: await _part(admin, part) for place in places.values() for part in owned_at(place)}


async def said(lab: Lab, part: Owned) -> Safety:
    """What doctor says of it by what is in the cluster."""
    async with lab.admin() as admin:
        (found,) = guard(part, await documents_live(admin, [part]), live=True)
    return found.safety


async def _part(admin: Cluster, part: Owned) -> object:
    if part.rule is not None:
        route = await admin.get(Kind.HTTP_ROUTE, part.namespace, part.name)
        return None if route is None else backends(route, part.rule)
    return replicas(await admin.get(Kind.DEPLOYMENT, part.namespace, part.name))


async def _is_whole(admin: Cluster, namespace: str, name: str) -> bool:
    deployment = await admin.get(Kind.DEPLOYMENT, namespace, name)
    return deployment is not None and replicas(deployment) == (deployment.get("status") or {}).get("readyReplicas")
