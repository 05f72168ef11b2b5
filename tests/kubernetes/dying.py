"""A client that dies at a chosen write."""

from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Reply, Request
from ctrlplane_stream.local.control_plane.sweep.faults import Killed


class Dying(HttpTransport):
    """Whoever uses it is dead after so many writes: before the next one, or before it hears of the last."""

    def __init__(self, access, writes: int, *, hears: bool) -> None:
        super().__init__(access)
        self._left = writes
        self._hears = hears

    async def send(self, request: Request) -> Reply:
        """See ``Transport``."""
        writes = request.method != "GET"
        if writes and self._left == 0:
            raise Killed
        self._left -= writes
        reply = await super().send(request)
        if writes and self._left == 0 and not self._hears:
            raise Killed
        return reply
