"""The process actuator keeps the contract, on a real host with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.actuators.host_api import target_path
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.local.processes import ChildProcess, accepts, free_port
from ctrlplane_stream.model.identity import Artifact, Target

TINY = f"{sys.executable} -I -S {Path(__file__).with_name('tiny_service.py')}"
_FIRST_DIGIT = {Behaviour.WELL: "a", Behaviour.NEVER_READY: "1", Behaviour.CRASHES: "2"}


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

    def start(self) -> None:
        command = [sys.executable, "-m", "ctrlplane_stream", "host", "--port", str(self._port), "--folder", str(self._folder / "state")]
        self._process = ChildProcess("host", [*command, "--program", TINY, *self._options], log=self._folder / "host.log")
        self._process.wait_ready(lambda: accepts(self._port), 20.0)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()


class ProcessWorld:
    """The actuator over a host."""

    lease_seconds = 2.0

    def __init__(self, host: HostChild, actuator: ProcessHost) -> None:
        self._host = host
        self.actuator = self.by_hand = actuator

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return Artifact(service, "registry.example/tiny", f"sha256:{_FIRST_DIGIT[behaviour]}{number:063x}")

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def kill(self, target: Target, label: str) -> None:
        for pid in await pids(self._host.url, target, label):
            os.kill(pid, signal.SIGKILL)

    async def restart(self) -> None:
        self._host.kill()
        self._host.start()


async def pids(url: str, target: Target, label: str) -> list[int]:
    """Process ids of a version's instances."""
    async with aiohttp.ClientSession() as session, session.get(url + target_path(target, "pids")) as response:
        return (await response.json())[label]


class TestProcess(ActuatorContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def host(cls, tmp_path_factory):
        cls.host_child = HostChild(tmp_path_factory.mktemp("host"))
        yield
        cls.host_child.stop()

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with ProcessHost(self.host_child.url) as actuator:
            yield ProcessWorld(self.host_child, actuator)
