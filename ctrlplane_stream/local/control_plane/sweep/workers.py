"""One worker's actuator in a trial: client, watches and, beside a repository, a clone; killed, fallen asleep or well."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.actuators.port import Actuator
from ctrlplane_stream.local.control_plane.sweep.faults import FaultyTransport, Killed
from ctrlplane_stream.local.control_plane.sweep.repository import Declared

_T = TypeVar("_T")


class Dead(Exception):
    """A Killed that asyncio can carry: a task must not end with a BaseException."""


async def unless_killed(doing: Awaitable[_T]) -> _T:
    """What is awaited. Raises Dead where the actuator died of it."""
    try:
        return await doing
    except Killed as killed:
        raise Dead from killed


class Worker:
    """From construction, in a running event loop, until ``end``. It looks by watches, and writes by fresh reads, as workers do."""

    def __init__(
        self, transport: FaultyTransport, cluster: Cluster, place: Place, clock: Callable[[], float], declared: Declared | None
    ) -> None:
        self.transport = transport
        routes = {Kind.HTTP_ROUTE} if place.route is not None else set()
        runs = {Kind.CRON_JOB, Kind.JOB} if place.workload is Kind.CRON_JOB else set()
        self._copy = NamespaceCopy(cluster, place.namespace, frozenset(routes | runs))
        self._copy.start()
        made = Kubernetes(lambda _: place, lambda _: cluster, views=lambda _: self._copy if self._copy.current else None, clock=clock)
        self.actuator: Actuator = made if declared is None else declared.beside(made)

    async def lie_down(self) -> None:
        """What a dead process leaves: its watches are gone."""
        await self._copy.stop()

    async def end(self) -> None:
        """End watches and connections, and whatever is done in the background."""
        await self._copy.stop()
        if isinstance(self.actuator, WithCluster):
            await asyncio.wait_for(self.actuator.close(), 30.0)
        await self.transport.close()
