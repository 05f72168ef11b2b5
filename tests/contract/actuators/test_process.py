"""The process actuator keeps the contract, on a real host with real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.actuators.ledger_file import LedgerFolder
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from tests.contract.actuators.host_child import HostChild, pids

_FIRST_DIGIT = {Behaviour.WELL: "a", Behaviour.NEVER_READY: "1", Behaviour.CRASHES: "2"}


class ProcessWorld:
    """The actuator over a host."""

    lease_seconds = 2.0

    def __init__(self, host: HostChild, actuator: ProcessHost) -> None:
        self._host = host
        self.actuator = self.by_hand = actuator

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return Artifact(service, "registry.example/tiny", f"sha256:{_FIRST_DIGIT[behaviour]}{number:063x}")

    async def weights_in_the_world(self, target: Target) -> dict[str, int]:
        """As the host keeps them in its folder."""
        return LedgerFolder(self._host.ledgers).load()[target].weights

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def kill(self, target: Target, label: str) -> None:
        for pid in await pids(self._host.url, target, label):
            os.kill(pid, signal.SIGKILL)

    async def restart(self) -> None:
        self._host.kill()
        self._host.start()


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


class ConsumersWorld(ProcessWorld):
    """Shares of three instances that take work by themselves."""

    granularity = 100 / 3
    kind = ServiceKind.CONSUMER


class TestConsumersOfThree(ActuatorContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def host(cls, tmp_path_factory):
        cls.host_child = HostChild(tmp_path_factory.mktemp("host"), "--consumer-instances", "3")
        yield
        cls.host_child.stop()

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with ProcessHost(self.host_child.url) as actuator:
            yield ConsumersWorld(self.host_child, actuator)
