"""The actuator as a worker has it: the placement file, a client per kubeconfig context, a copy of each namespace."""

import functools
from collections.abc import Callable
from pathlib import Path

from ctrlplane_stream.actuators.kubernetes.access import find_access
from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, Placements, read_placements
from ctrlplane_stream.actuators.kubernetes.sight import Reader
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.settings import Settings

Connect = Callable[[str | None], Cluster]
"""A client for a kubeconfig context (None: the current one, or the Pod's own)."""


def connect(context: str | None) -> Cluster:
    """A client with the credentials found for a context. Raises AccessError."""
    return Cluster(HttpTransport(find_access(context)), f"the API server of {context or 'the current context'}")


def connect_later(context: str | None) -> Cluster:
    """The same for a worker, which must not wait while a program gives credentials: looked for, and AccessError raised, by each request
    until they are there."""
    return Cluster(HttpTransport(functools.partial(find_access, context)), f"the API server of {context or 'the current context'}")


class Clusters:
    """Clients and copies, each opened when a target first needs it."""

    def __init__(self, kinds: frozenset[Kind], connect: Connect = connect_later) -> None:
        self._kinds = kinds
        self._connect = connect
        self._clusters: dict[str | None, Cluster] = {}
        self._copies: dict[tuple[str | None, str], NamespaceCopy] = {}

    def cluster(self, place: Place) -> Cluster:
        """The client for a place."""
        if place.context not in self._clusters:
            self._clusters[place.context] = self._connect(place.context)
        return self._clusters[place.context]

    def view(self, place: Place) -> Reader | None:
        """The copy of the place's namespace, where it is current; begun now where there was none. Needs a running event loop."""
        key = (place.context, place.namespace)
        if key not in self._copies:
            self._copies[key] = NamespaceCopy(self.cluster(place), place.namespace, self._kinds)
            self._copies[key].start()
        copy = self._copies[key]
        return copy if copy.current else None

    async def close(self) -> None:
        """End watches and connections."""
        for copy in self._copies.values():
            await copy.stop()
        for cluster in self._clusters.values():
            await cluster.close()


class PlacedKubernetes(Kubernetes):
    """The actuator over the clusters that a placement file names. ``close`` ends its watches."""

    def __init__(self, placements: Placements, connect: Connect = connect_later) -> None:
        self._clusters = Clusters(placements.kinds(), connect)
        super().__init__(placements.place, self._clusters.cluster, views=self._clusters.view)

    async def close(self) -> None:
        """End watches and connections."""
        await self._clusters.close()


def placed_kubernetes(settings: Settings) -> PlacedKubernetes:
    """The actuator of the settings. Raises PlacementError, and AccessError when a target first needs a cluster."""
    if not settings.kubernetes_placement:
        raise PlacementError("no placement file: set CTRLPLANE_KUBERNETES_PLACEMENT to the file that says where targets live")
    return PlacedKubernetes(read_placements(Path(settings.kubernetes_placement)))
