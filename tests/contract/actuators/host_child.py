"""A real host as a child process, whose services are tiny ones."""

import sys
from pathlib import Path

import aiohttp

from ctrlplane_stream.actuators.host_api import target_path
from ctrlplane_stream.local.processes import ChildProcess, accepts, free_port
from ctrlplane_stream.model.identity import Target

TINY = f"{sys.executable} -I -S {Path(__file__).with_name('tiny_service.py')}"


class HostChild:
    """A host as a child process on a folder that outlives it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ledgers(self) -> Path:
        """The folder of what the host remembers."""
        return self._folder / "state" / "targets"

    def start(self) -> None:
        command = [sys.executable, "-m", "ctrlplane_stream", "host", "--port", str(self._port), "--folder", str(self._folder / "state")]
        self._process = ChildProcess("host", [*command, "--program", TINY, *self._options], log=self._folder / "host.log")
        self._process.wait_ready(lambda: accepts(self._port), 20.0)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()


async def pids(url: str, target: Target, label: str) -> list[int]:
    """Process ids of a version's instances."""
    async with aiohttp.ClientSession() as session, session.get(url + target_path(target, "pids")) as response:
        return (await response.json())[label]
