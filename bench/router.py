"""What the router of the process host costs: ``python -m bench.router [REQUESTS]``.

Upstream, router and callers are a process each; CPU time is the router's own, user and system, from the kernel.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import cast

import uvloop

from ctrlplane_stream.local.host.backend import Backend
from ctrlplane_stream.local.host.router import Router

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n" + b"x" * 200
_REQUEST = b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: bench\r\ntraceparent: 00-%032x-00f067aa0ba902b7-01\r\n\r\n"


class _Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


def _serve_upstream(ports: "Queue[int]") -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


def _serve_router(upstream: int, ports: "Queue[int]") -> None:
    async def serve() -> None:
        router = Router("shop/cart", response_seconds=60.0)
        await router.start()
        router.steer({"#1": 75, "#2": 25}, {"#1": [Backend(upstream)], "#2": [Backend(upstream)]})
        ports.put(router.port)
        await asyncio.Event().wait()

    uvloop.run(serve())


async def _call(port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(requests):
        writer.write(_REQUEST % (number * 7919))
        await reader.readexactly(len(_ANSWER))
    writer.close()


async def _load(port: int, callers: int, requests: int) -> float:
    """Seconds that so many requests took, from so many callers at once."""
    began = time.perf_counter()
    await asyncio.gather(*(_call(port, requests // callers) for _ in range(callers)))
    return time.perf_counter() - began


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(requests: int) -> None:
    """Print rate, added time and CPU a request, for one caller and for sixteen."""
    ports: Queue[int] = multiprocessing.Queue()
    upstream = multiprocessing.Process(target=_serve_upstream, args=(ports,), daemon=True)
    upstream.start()
    upstream_port = ports.get()
    router = multiprocessing.Process(target=_serve_router, args=(upstream_port, ports), daemon=True)
    router.start()
    port = ports.get()
    assert router.pid is not None
    for callers in (1, 16):
        before = _cpu_seconds(router.pid)
        seconds = uvloop.run(_load(port, callers, requests))
        cpu = _cpu_seconds(router.pid) - before
        direct = uvloop.run(_load(upstream_port, callers, requests))
        print(
            f"{callers:>2} callers: {requests / seconds:,.0f} requests/s through the router, {requests / direct:,.0f} without;"
            f" {cpu / requests * 1e3:.3f} ms CPU, {(seconds - direct) / requests * 1e3:.3f} ms added a request"
        )
    for process in (router, upstream):
        process.terminate()
        process.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
