"""The actuator keeps the contract of the port: nothing but a world to play in has to be written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from upstreams import Upstreams

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.model.identity import Artifact, Target


class UpstreamsWorld:
    """Files in a folder, and a clock that the clauses turn."""

    by_hand = None
    lease_seconds = 5.0
    sees_instances = False

    def __init__(self, folder: Path) -> None:
        self._folder, self._now = folder, 1_000.0
        self.actuator = Upstreams(folder, lambda: self._now)

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return Artifact(service, f"registry.example/{service}", f"sha256:{number:064x}")

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds

    async def kill(self, target: Target, label: str) -> None:
        """There are no instances to be seen."""

    async def restart(self) -> None:
        self.actuator = Upstreams(self._folder, lambda: self._now)


class TestUpstreams(ActuatorContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        with TemporaryDirectory() as folder:
            yield UpstreamsWorld(Path(folder))
