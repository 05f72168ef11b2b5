"""The actuator keeps the contract of the port: nothing but a world to play in has to be written."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from upstreams import Upstreams, watch

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.model.identity import Artifact, Target


class UpstreamsWorld:
    """Files in a folder, a clock that the clauses turn, and beside the files what honours leases."""

    by_hand = None
    lease_seconds = 5.0
    sees_instances = False

    def __init__(self, folder: Path) -> None:
        self._folder, self._now = folder, 1_000.0
        self.actuator = Upstreams(folder, lambda: self._now)

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return Artifact(service, f"registry.example/{service}", f"sha256:{number:064x}")

    async def weights_in_the_world(self, target: Target) -> dict[str, int]:
        """As the balancer reads them."""
        (path,) = self._folder.glob("*.json")
        return json.loads(path.read_text())["weights"]

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds
        await asyncio.sleep(0.01)

    async def kill(self, target: Target, label: str) -> None:
        """There are no instances to be seen."""

    async def restart(self) -> None:
        self.actuator = Upstreams(self._folder, lambda: self._now)


class TestUpstreams(ActuatorContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        with TemporaryDirectory() as folder:
            world = UpstreamsWorld(Path(folder))
            watching = asyncio.create_task(watch(world.actuator, every_seconds=0.005))
            yield world
            watching.cancel()
