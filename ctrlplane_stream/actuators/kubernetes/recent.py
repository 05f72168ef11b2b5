"""The API read at once: lists as the server's own cache has them, never older than what was seen or written here before.

A list without a revision must be the newest there is, for which the server first asks its store and then waits to hear of it: up to
0.1 s, twice in every command. To decide what to write, a list may be a moment old: each write tests that its object is as it was
read, and the memory, by name and so always the newest, is read last (see ``sight``). What must not be concluded from such a list is
that something is gone; whoever would asks the ``Cluster`` itself.
"""

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest


class Recent:
    """A ``Reader`` over a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """See ``Reader``: the newest."""
        return await self._cluster.get(kind, namespace, name)

    async def select(self, kind: Kind, namespace: str, selector: str = "") -> tuple[tuple[Manifest, ...], str]:
        """See ``Reader``: see above."""
        return await self._cluster.select(kind, namespace, selector, since=self._cluster.revisions.known(kind, namespace))
