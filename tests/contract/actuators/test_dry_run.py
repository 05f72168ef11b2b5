"""The dry-run actuator keeps the contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.identity import Artifact, Target
from ctrlplane_stream.model.world import Cursor


class Scripted(DryRun):
    """A dry run whose artifacts behave as their image says."""

    async def apply(self, command: Command, cursor: Cursor):
        for version in command.wanted.versions:
            if version.artifact.image == Behaviour.NEVER_READY.value:
                self.unready(command.target, version.label)
            if version.artifact.image == Behaviour.CRASHES.value:
                self.fail(command.target, version.label, "crash loop: exit 1 three times")
        return await super().apply(command, cursor)


class DryWorld:
    """A world of memory with a clock of its own, which a restart reads back from its folder."""

    lease_seconds = 5.0

    def __init__(self, folder: Path) -> None:
        self._now = 1_000.0
        self._folder = folder
        self._killed: list[tuple[Target, str]] = []
        self.by_hand = self.actuator = Scripted(full=4, clock=lambda: self._now, folder=folder)

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return Artifact(service, behaviour.value, f"sha256:{number:064x}")

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds
        while self._killed:
            self.actuator.ready(*self._killed.pop())

    async def kill(self, target: Target, label: str) -> None:
        self.actuator.unready(target, label)
        self._killed.append((target, label))

    async def restart(self) -> None:
        self.by_hand = self.actuator = Scripted(full=4, clock=lambda: self._now, folder=self._folder)


class TestDryRun(ActuatorContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        with TemporaryDirectory() as folder:
            yield DryWorld(Path(folder))
