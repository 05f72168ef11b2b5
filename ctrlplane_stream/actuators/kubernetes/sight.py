"""Everything of one target at one moment, from the API itself or from watches.

The order of reading is a guarantee: the memory comes last. Who writes an object tests that it still is as it was read,
and whoever changes the memory stamps the objects afterwards; so nobody can act on a memory that was overtaken (see
``hands``).
"""

import asyncio
from typing import Protocol

import msgspec

from ctrlplane_stream.actuators.kubernetes.manifests import STANDBY, selector
from ctrlplane_stream.actuators.kubernetes.memory import Memory, read_memory
from ctrlplane_stream.actuators.kubernetes.names import memory_name, standby_name, version_name
from ctrlplane_stream.actuators.kubernetes.objects import LABEL, ROLE, Kind, Manifest, annotation, label, name_of, revision_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.sources import place_of
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import WantedVersion

_OWNED = (Kind.CONFIG_MAP, Kind.DISRUPTION_BUDGET, Kind.AUTOSCALER)
"""What a version owns and says itself that it does."""


class Reader(Protocol):
    """What can be read: the API, or watches that keep a copy."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object, or None where there is none."""
        ...

    async def select(self, kind: Kind, namespace: str, selector: str = "") -> tuple[tuple[Manifest, ...], str]:
        """The objects that a label selector chooses, and the revision of the list."""
        ...


class NotHeld(LookupError):
    """A reader that keeps copies has not heard yet of what was written, or keeps none of this kind.

    That is where a target's memory names a way that the placement file no longer has.
    """


class Sight(msgspec.Struct, frozen=True):
    """What was seen. ``revision`` is the memory's; ``workloads`` (Deployments, or of a job CronJobs) and ``services``
    are ours by name, and ``runs`` Jobs that our CronJobs made. ``owned``: ours by kind (``ConfigMap``) and name, of the
    kinds that were looked at. ``chosen``: Pods that the Service of a version chooses, of those that take the place of what was adopted."""

    target: Target
    place: Place
    memory: Memory | None
    revision: str | None
    workloads: dict[str, Manifest]
    services: dict[str, Manifest]
    pods: tuple[Manifest, ...]
    route: Manifest | None
    runs: tuple[Manifest, ...] = ()
    owned: dict[str, dict[str, Manifest]] = {}
    chosen: dict[str, tuple[Manifest, ...]] = {}

    @property
    def routed(self) -> bool:
        """Whether weights go by a route, and not by replicas."""
        kind = self.memory.ledger.wanted.kind if self.memory is not None and self.memory.ledger.wanted is not None else ServiceKind.ROUTED
        return self.place.route is not None and kind is ServiceKind.ROUTED

    @property
    def autoscalers(self) -> dict[str, Manifest]:
        """Those of our versions, by name."""
        return self.owned.get(Kind.AUTOSCALER.manifest_kind, {})

    @property
    def listed(self) -> tuple[WantedVersion, ...]:
        """The versions of the last command."""
        wanted = self.memory.ledger.wanted if self.memory is not None else None
        return wanted.versions if wanted is not None else ()

    @property
    def full(self) -> int:
        """Pods that carry the whole traffic."""
        return self.place.full or 1

    def place_of(self, version: str) -> Place:
        """The place as the version is made there."""
        return place_of(self.memory, self.place, version)

    def name(self, version: str) -> str:
        """The name of the version's serving Deployment."""
        adopted = self.memory.adopted if self.memory is not None else {}
        return adopted.get(version) or version_name(self.place.slug, version)

    def serving(self, version: str) -> Manifest | None:
        """The version's Deployment that takes traffic or work, or its CronJob; None where there is none."""
        return self.workloads.get(self.name(version))

    def standing_by(self, version: str) -> Manifest | None:
        """The version's Deployment that only proves that it starts, or None where there is none."""
        return self.workloads.get(standby_name(self.place.slug, version))

    def labels(self) -> tuple[str, ...]:
        """Labels of all versions of which something is there or wanted, each once, the wanted ones first."""
        found = [version.label for version in self.listed]
        found += [annotation(each, LABEL) or "" for each in self.workloads.values() if label(each, ROLE) != STANDBY]
        return tuple(dict.fromkeys(each for each in found if each))


async def read_sight(reader: Reader, target: Target, place: Place) -> Sight:
    """The target as it is. Where its memory names another place than ``place``, that one is looked at.

    Raises WorldUnreachable and MemoryUnreadable.
    """
    sight = await _read(reader, target, place)
    if sight.memory is not None and _looks_elsewhere(sight.memory, place):
        sight = await _read(reader, target, sight.memory.place, scaled=sight.memory.scaled)
    if sight.memory is None:
        return sight
    return msgspec.structs.replace(sight, place=sight.memory.place, chosen=await _chosen(reader, sight, sight.memory))


async def _read(reader: Reader, target: Target, place: Place, *, scaled: bool = False) -> Sight:
    lists = {kind: asyncio.ensure_future(_listed(reader, kind, place)) for kind in _kinds(place, scaled=scaled)}
    steering = asyncio.ensure_future(_route(reader, place))
    try:
        await asyncio.gather(steering, *lists.values())
    except BaseException:
        await end_tasks([steering, *lists.values()])  # they would ask on, with a client that is closed by then
        raise
    there = {kind: each.result() for kind, each in lists.items()}
    found = await reader.get(Kind.CONFIG_MAP, place.namespace, memory_name(place.slug))
    return Sight(
        target=target,
        place=place,
        memory=None if found is None else read_memory(found, target),
        revision=None if found is None else revision_of(found),
        workloads=_by_name(there[place.workload]),
        services=_by_name(there[Kind.SERVICE]),
        pods=there[Kind.POD],
        route=steering.result(),
        runs=there.get(Kind.JOB, ()),
        owned={kind.manifest_kind: _by_name(there[kind]) for kind in _OWNED if kind in there},
    )


def _kinds(place: Place, *, scaled: bool) -> tuple[Kind, ...]:
    """What is listed; without a request for what no template brings (``scaled``: a version's own may bring an autoscaler)."""
    brought = {Kind.DISRUPTION_BUDGET: place.brings(Kind.DISRUPTION_BUDGET), Kind.AUTOSCALER: scaled or place.brings(Kind.AUTOSCALER)}
    may_be = tuple(kind for kind, is_there in brought.items() if is_there)
    runs = (Kind.JOB,) if place.workload is Kind.CRON_JOB else ()
    return (place.workload, Kind.SERVICE, Kind.POD, Kind.CONFIG_MAP, *may_be, *runs)


async def _listed(reader: Reader, kind: Kind, place: Place) -> tuple[Manifest, ...]:
    """Ours of that kind."""
    found, _ = await reader.select(kind, place.namespace, selector(place))
    return found


async def _chosen(reader: Reader, sight: Sight, memory: Memory) -> dict[str, tuple[Manifest, ...]]:
    """What serves by a route until what is made anew does: it is its owner's, so no label of ours is on these Pods."""
    found = {}
    for version in sorted(memory.replaced) if memory.place.route is not None else ():
        service = sight.services.get(version_name(memory.place.slug, version))
        chosen = ",".join(f"{key}={value}" for key, value in sorted((service["spec"].get("selector") or {}).items())) if service else ""
        found[version] = (await reader.select(Kind.POD, memory.place.namespace, chosen))[0] if chosen else ()
    return found


def _by_name(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    return {name_of(each): each for each in manifests}


async def _route(reader: Reader, place: Place) -> Manifest | None:
    if place.route is None:
        return None
    return await reader.get(place.route.api, place.namespace, place.route.name)


def _looks_elsewhere(memory: Memory, place: Place) -> bool:
    """Whether something of the target is where its place in the file does not have us look."""
    moved = (memory.place.route, memory.place.workload) != (place.route, place.workload)
    return moved or (memory.scaled and place.autoscaler is None)
