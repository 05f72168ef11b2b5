"""The observer of a sweep's namespace goes on whatever a server that was just started answers its watches."""

import asyncio
from collections import Counter

import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, Reply
from ctrlplane_stream.local.control_plane.sweep.history import History


class JustStarted:
    """Refuses each watch once, as a server may whose caches are being filled (429), and breaks the next off within a line."""

    def __init__(self) -> None:
        self.watches: Counter[str] = Counter()

    async def send(self, request):
        return Reply(200, msgspec.json.encode({"items": [], "metadata": {"resourceVersion": "1"}}))

    async def lines(self, request):
        self.watches[request.path] += 1
        if self.watches[request.path] == 1:
            raise ApiRefused("refused to let us watch: storage is (re)initializing")
        yield b""
        if self.watches[request.path] == 2:
            yield b'{"type": "ADDED", "obj'
        metadata = {"name": "cart", "resourceVersion": "2"}
        yield msgspec.json.encode({"type": "ADDED", "object": {"metadata": metadata}})
        await asyncio.Event().wait()

    async def close(self):
        pass


def test_a_watch_that_is_refused_or_broken_off_is_begun_again():
    server = JustStarted()

    async def run() -> None:
        async with asyncio.timeout(30.0), History(Cluster(server), Place("shop", "shop-cart")) as history:
            while len(history.moments) < 1 or set(server.watches.values()) != {3}:
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert len(server.watches) == 3
