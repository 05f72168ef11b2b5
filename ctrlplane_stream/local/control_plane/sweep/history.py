"""Every moment of a namespace as an independent observer has it, and the invariants that hold at each.

Route, Deployments and memory are watched with an administrator's token. Revisions of one cluster are one sequence, so
sorting the events by revision gives what was true at every moment, across kinds. Design, "The rollout machine", 1-4.
"""

import asyncio
import contextlib
import math

import aiohttp
import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster, Expired
from ctrlplane_stream.actuators.kubernetes.memory import Memory, read_memory
from ctrlplane_stream.actuators.kubernetes.names import memory_name, version_name
from ctrlplane_stream.actuators.kubernetes.objects import LABEL, Kind, Manifest, annotation, name_of, revision_of
from ctrlplane_stream.actuators.kubernetes.placement import Place
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.actuators.wanted import retreats

_LOST = (Expired, WorldUnreachable, aiohttp.ClientError, OSError, TimeoutError)


class Moment(msgspec.Struct, frozen=True):
    """One event: the object as it is from ``revision`` on; ``gone`` where it was deleted then."""

    revision: int
    kind: Kind
    object: Manifest
    gone: bool


class History:
    """The events of a place, from ``async with`` on."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        self._cluster = cluster
        self._place = place
        self.moments: dict[tuple[int, str], Moment] = {}

    async def __aenter__(self) -> "History":
        opened = [asyncio.Event() for _ in range(3)]
        kinds = (Kind.HTTP_ROUTE, Kind.DEPLOYMENT, Kind.CONFIG_MAP)
        self._tasks = [asyncio.create_task(self._watch(kind, event)) for kind, event in zip(kinds, opened, strict=True)]
        await asyncio.gather(*(event.wait() for event in opened))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def violations(self) -> list[str]:
        """Every breach of an invariant, in its order; empty where all is well."""
        found: list[str] = []
        replay = Replay(self._place)
        for moment in sorted(self.moments.values(), key=lambda each: each.revision):
            found += [f"at revision {moment.revision}: {said}" for said in replay.step(moment)]
        return found

    async def caught_up(self) -> None:
        """Wait until what has happened by now was seen: a mark is made on the route's annotations and waited for."""
        name = self._place.route.name if self._place.route is not None else ""
        operations: list[Manifest] = [{"op": "add", "path": "/metadata/annotations/watched", "value": str(len(self.moments))}]
        mark = int(revision_of(await self._cluster.patch(Kind.HTTP_ROUTE, self._place.namespace, name, operations)))
        while not any(moment.revision >= mark and moment.kind is Kind.HTTP_ROUTE for moment in self.moments.values()):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)

    async def _watch(self, kind: Kind, opened: asyncio.Event) -> None:
        revision: str | None = None
        while True:
            try:
                if revision is None:
                    objects, revision = await self._cluster.select(kind, self._place.namespace)
                    for each in objects:
                        self._note(kind, each, gone=False)
                async for event in self._cluster.watch(kind, self._place.namespace, "", revision):
                    if event.type == "OPENED":
                        opened.set()
                        continue
                    revision = revision_of(event.object)
                    if event.type != "BOOKMARK":
                        self._note(kind, event.object, gone=event.type == "DELETED")
            except Expired:
                revision = None
            except _LOST:
                await asyncio.sleep(0.05)

    def _note(self, kind: Kind, each: Manifest, *, gone: bool) -> None:
        moment = Moment(int(revision_of(each)), kind, each, gone)
        self.moments[moment.revision, name_of(each)] = moment


class Replay:
    """The state after each moment, and what of it breaks an invariant."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._weights: dict[str, int] = {}
        self._deployments: dict[str, Manifest] = {}
        self._memory: Memory | None = None

    def step(self, moment: Moment) -> list[str]:
        """What this moment breaks."""
        match moment.kind:
            case Kind.HTTP_ROUTE:
                return self._steered(moment.object)
            case Kind.DEPLOYMENT:
                return self._scaled(moment.object, moment.gone)
            case _:
                if name_of(moment.object) == memory_name(self._place.slug) and not moment.gone:
                    with contextlib.suppress(RuntimeError):
                        self._memory = read_memory(moment.object)
                return []

    @property
    def _full(self) -> int:
        return self._place.full or 1

    def _steered(self, route: Manifest) -> list[str]:
        rule = self._place.route
        assert rule is not None
        weights = {name: weight for name, weight in (backends(route, rule.rule) or {}).items() if name != "before"}
        before, self._weights = self._weights, weights
        if not weights:
            return []
        found = [] if sum(weights.values()) in (0, 100) else [f"1: weights sum to {sum(weights.values())}: {weights}"]
        for name, weight in sorted(weights.items()):
            if weight <= before.get(name, 0):
                continue
            ready = int((self._deployments.get(name, {}).get("status") or {}).get("readyReplicas") or 0)
            if ready == 0 or (name != self._stable() and 100 * ready // self._full < weight):
                found.append(f"1: {name} rose to {weight} with {ready} of {self._full} Pods ready")
            if self._aborting() and name != self._stable():
                found.append(f"3: {name} rose from {before.get(name, 0)} to {weight} during an abort")
        return found

    def _scaled(self, deployment: Manifest, gone: bool) -> list[str]:
        name = name_of(deployment)
        if annotation(deployment, LABEL) is None:
            return []
        before = self._deployments.get(name)
        had = int(before["spec"].get("replicas", 1)) if before is not None else 0
        has = 0 if gone else int(deployment["spec"].get("replicas", 1))
        self._deployments[name] = deployment
        if gone:
            del self._deployments[name]
        if has >= had:
            return []
        weight = self._weights.get(name, 0)
        found = []
        if has < math.ceil(self._full * weight / 100):
            found.append(f"4: {name} went from {had} to {has} Pods with weight {weight}")
        if name == self._stable():
            found.append(f"2: stable {name} went from {had} to {has} Pods")
        return found

    def _stable(self) -> str | None:
        wanted = self._memory.ledger.wanted if self._memory is not None else None
        return version_name(self._place.slug, wanted.stable) if wanted is not None and wanted.stable is not None else None

    def _aborting(self) -> bool:
        ledger = self._memory.ledger if self._memory is not None else None
        return ledger is not None and ledger.wanted is not None and (ledger.lease_expired or retreats(ledger.wanted))
