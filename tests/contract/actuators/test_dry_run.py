"""The dry-run actuator keeps the contract, and one that breaks a rule is found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from ctrlplane_stream.actuators.by_hand import HandRefused
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

    def __init__(self, folder: Path, actuator: type[Scripted] = Scripted) -> None:
        self._now = 1_000.0
        self._folder = folder
        self._class = actuator
        self._killed: list[tuple[Target, str]] = []
        self.restarted()

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
        self.restarted()

    def restarted(self) -> None:
        self.by_hand = self.actuator = self._class(full=4, clock=lambda: self._now, folder=self._folder)


class TestDryRun(ActuatorContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        with TemporaryDirectory() as folder:
            yield DryWorld(Path(folder))


class GlassWaits(Scripted):
    """Broken glass goes to stable once that is ready."""

    async def break_glass(self, target, who, why):
        weights = self._now(target).weights
        await super().break_glass(target, who, why)
        self._keep(target, msgspec.structs.replace(self._ledgers[target], weights=weights))
        return self._observed(target)


class GlassHeedsEdits(Scripted):
    """Glass is not broken over what somebody set by hand."""

    async def break_glass(self, target, who, why):
        if self._now(target).edited is not None:
            raise HandRefused("edited by hand")
        return await super().break_glass(target, who, why)


class TakesNearlyThatEdit(Scripted):
    """A command goes over an edit whose words begin like those that it names."""

    async def apply(self, command, cursor):
        edited = self._now(command.target).edited
        if edited and command.over_edit and command.over_edit[:5] == edited[:5]:
            command = msgspec.structs.replace(command, over_edit=edited)
        return await super().apply(command, cursor)


class SideBySide(Scripted):
    """What is to change in place changes as everything does."""

    async def apply(self, command, cursor):
        wanted = msgspec.structs.replace(command.wanted, in_place=False, surplus_percent=0)
        return await super().apply(msgspec.structs.replace(command, wanted=wanted), cursor)


@pytest.mark.parametrize(
    ("wrong", "clause"),
    [
        (GlassWaits, "test_broken_glass_waits_for_nothing"),
        (GlassHeedsEdits, "test_broken_glass_goes_over_an_edit"),
        (TakesNearlyThatEdit, "test_a_hand_edit_stands_until_an_operator_says_otherwise"),
        (SideBySide, "test_what_changes_in_place_has_no_more_instances_than_it_had"),
        (Scripted, "test_a_lease_ends_with_nobody_looking"),
    ],
)
def test_an_actuator_that_breaks_a_rule_is_found_by_its_clause(tmp_path: Path, wrong: type[Scripted], clause: str) -> None:
    """The last breaks none of its own, but where its memory is taken for the world: that changes when somebody looks, and not before."""

    class World(DryWorld):
        async def weights_in_the_world(self, target: Target) -> dict[str, int]:
            return self.actuator._ledgers[target].weights

    class Held(ActuatorContract):
        @asynccontextmanager
        async def open_world(self) -> AsyncIterator[World]:
            yield World(tmp_path, wrong)

    with pytest.raises((AssertionError, HandRefused)):
        getattr(Held(), clause)()
