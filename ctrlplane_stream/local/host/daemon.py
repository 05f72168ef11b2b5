"""Run a host until SIGTERM, SIGINT or SIGHUP: one process, one event loop, loopback only."""

import asyncio
import fcntl
from collections.abc import Callable
from typing import IO

import uvloop
from aiohttp import web

from ctrlplane_stream.ending import ending_signals
from ctrlplane_stream.local.host.api import HostApi
from ctrlplane_stream.local.host.host import Host
from ctrlplane_stream.local.host.settings import HostSettings


class FolderTaken(RuntimeError):
    """Another host runs on the same folder."""


def run(settings: HostSettings, announce: Callable[[int], None]) -> None:
    """Serve until told to stop; ``announce`` is given the port once it answers. Raises FolderTaken, LedgerUnreadable, OSError."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    with (settings.folder / "lock").open("w") as lock:
        _lock(lock)
        uvloop.run(_serve(settings, announce))


def _lock(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderTaken(f"another host runs on {lock.name}: stop it, or give --folder") from None


async def _serve(settings: HostSettings, announce: Callable[[int], None]) -> None:
    stopped = asyncio.Event()
    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    host = Host(settings)
    runner = web.AppRunner(HostApi(host).application(), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await host.start()
        site = web.TCPSite(runner, "127.0.0.1", settings.port)
        await site.start()
        announce(runner.addresses[0][1])
        await stopped.wait()
    finally:
        await runner.cleanup()
        await host.stop()
