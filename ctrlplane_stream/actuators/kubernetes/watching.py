"""Lists and watches instead of polling: a copy of what concerns us in a namespace, as fresh as the API server makes it.

One list, then events; a watch that ends or breaks goes on from the last revision seen, and one that is too old for the
server (410 Gone) begins with a list again. A copy is only shown while it is current: it was listed, its watch stands,
and it has heard of everything that we wrote ourselves of what is asked for. It serves looking alone; whoever writes reads afresh.
"""

import asyncio
import logging

import aiohttp
from tenacity import RetryCallState, wait_random_exponential

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import SERVICE, Kind, Manifest, label, name_of, revision_of
from ctrlplane_stream.actuators.kubernetes.sight import NotHeld
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, Expired
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.ending import end_tasks

log = logging.getLogger(__name__)
_LOST = (WorldUnreachable, ApiRefused, aiohttp.ClientError, OSError, TimeoutError, ValueError)


_ALWAYS = (Kind.CONFIG_MAP, Kind.DEPLOYMENT, Kind.SERVICE, Kind.POD)
_ROUTES = (Kind.HTTP_ROUTE, Kind.GRPC_ROUTE)
"""These are their owners': they carry no label of ours, so all of a namespace are watched."""


class Copy:
    """The objects of one kind in one namespace, kept up to date by ``run``. ``selector`` is a label selector."""

    def __init__(self, cluster: Cluster, kind: Kind, namespace: str, selector: str = "", *, backoff_seconds: float = 0.2) -> None:
        self.kind = kind
        self._cluster = cluster
        self._namespace = namespace
        self._selector = selector
        self._wait = wait_random_exponential(multiplier=backoff_seconds, max=10.0)
        self._objects: dict[str, Manifest] = {}
        self._by_service: dict[str | None, dict[str, Manifest]] = {}
        self._revision: str | None = None
        self._standing = False
        self._said: str | None = None
        self.changed = asyncio.Event()

    @property
    def stands(self) -> bool:
        """Whether it was listed and its watch stands."""
        return self._standing and self._revision is not None

    @property
    def current(self) -> bool:
        """Whether all of the copy may be shown: see above."""
        return self.has_heard(self._cluster.revisions.written(self.kind, self._namespace))

    def has_heard(self, revision: int) -> bool:
        """Whether the copy stands and goes as far as that revision."""
        return self._standing and self._revision is not None and int(self._revision) >= revision

    def get(self, name: str) -> Manifest | None:
        """The object of that name."""
        return self._objects.get(name)

    def of_service(self, slug: str) -> tuple[Manifest, ...]:
        """The objects that carry our label for that service, in the order of their names."""
        found = self._by_service.get(slug, {})
        return tuple(found[name] for name in sorted(found))

    def all(self) -> tuple[Manifest, ...]:
        """Every object, in the order of their names."""
        return tuple(self._objects[name] for name in sorted(self._objects))

    async def run(self) -> None:
        """Keep the copy until cancelled."""
        failures = 0
        while True:
            try:
                if self._revision is None:
                    await self._list()
                await self._watch()
                failures = 0
            except Expired as expired:
                log.info("%s in %s: listing again: %s", self.kind.manifest_kind, self._namespace, expired)
                self._standing, self._revision = False, None
            except _LOST as lost:
                failures = failures + 1 if not self._standing else 1
                self._standing = False
                self._say(lost)
                await asyncio.sleep(self._pause(failures))

    def _say(self, lost: Exception) -> None:
        """Once for each reason: what is missing for good (a right, a kind that the cluster does not have) is tried for ever."""
        level = logging.DEBUG if repr(lost) == self._said else logging.WARNING
        self._said = repr(lost)
        log.log(level, "%s in %s: watch lost, trying again: %r", self.kind.manifest_kind, self._namespace, lost)

    async def _list(self) -> None:
        objects, revision = await self._cluster.select(self.kind, self._namespace, self._selector)
        self._objects, self._by_service = {}, {}
        for each in objects:
            self._put(each)
        self._revision = revision
        self.changed.set()

    async def _watch(self) -> None:
        assert self._revision is not None
        async for event in self._cluster.watch(self.kind, self._namespace, self._selector, self._revision):
            match event.type:
                case "OPENED":
                    self._standing, self._said = True, None
                    continue
                case "ADDED" | "MODIFIED":
                    self._put(event.object)
                case "DELETED":
                    self._drop(event.object)
                case _:
                    pass
            self._revision = revision_of(event.object)
            self.changed.set()

    def _put(self, manifest: Manifest) -> None:
        self._drop(manifest)
        self._objects[name_of(manifest)] = manifest
        self._by_service.setdefault(label(manifest, SERVICE), {})[name_of(manifest)] = manifest

    def _drop(self, manifest: Manifest) -> None:
        before = self._objects.pop(name_of(manifest), None)
        if before is not None:
            self._by_service[label(before, SERVICE)].pop(name_of(manifest), None)

    def _pause(self, failures: int) -> float:
        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = failures
        return float(self._wait(state))


class NamespaceCopy:
    """Everything that concerns us in one namespace: a ``Reader`` without requests."""

    def __init__(self, cluster: Cluster, namespace: str, more: frozenset[Kind]) -> None:
        """``more``: kinds besides those that every target has."""
        kinds = (*_ALWAYS, *sorted(more, key=str))
        self._cluster, self._namespace = cluster, namespace
        self.copies = {kind: Copy(cluster, kind, namespace, "" if kind in _ROUTES else SERVICE) for kind in kinds}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def current(self) -> bool:
        """Whether it may be asked."""
        return all(copy.stands for copy in self.copies.values())

    def start(self) -> None:
        """Begin to keep it, in the running event loop."""
        self._tasks = [asyncio.create_task(copy.run()) for copy in self.copies.values()]

    async def stop(self) -> None:
        """End the watches."""
        await end_tasks(self._tasks)

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """See ``Reader``. Raises NotHeld."""
        return self._copy(kind, self._cluster.revisions.seen(kind, self._namespace, name)).get(name)

    async def select(self, kind: Kind, namespace: str, selector: str = "") -> tuple[tuple[Manifest, ...], str]:
        """See ``Reader``; only what carries our label for a service is held. Raises NotHeld."""
        key, _, service = selector.partition("=")
        if key != SERVICE:
            raise NotHeld(selector)
        return self._copy(kind, self._cluster.revisions.written_of(kind, self._namespace, service)).of_service(service), ""

    def _copy(self, kind: Kind, revision: int) -> Copy:
        if kind not in self.copies or not self.copies[kind].has_heard(revision):
            raise NotHeld(kind.manifest_kind)
        return self.copies[kind]
