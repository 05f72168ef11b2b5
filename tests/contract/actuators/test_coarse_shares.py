"""A world whose weights are shares of a few instances keeps the contract, however many they are, and one that breaks a rule is found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from ctrlplane_stream.actuators.contract import ActuatorContract, World
from ctrlplane_stream.actuators.kubernetes.behind_service import grain
from ctrlplane_stream.actuators.ledger import fallback
from ctrlplane_stream.actuators.shifting import consumer_shares, reached_weights
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved
from tests.contract.actuators.test_dry_run import DryWorld, Scripted

_CLAUSES = [name for name in dir(ActuatorContract) if name.startswith("test_")]


class ByInstances(Scripted):
    """A dry run whose weights are shares of ``instances``."""

    instances = 3

    def _observed(self, target: Target) -> TargetObserved:
        seen = super()._observed(target)
        weights = self.shown(target, {version.label: version.weight for version in seen.versions})
        versions = tuple(msgspec.structs.replace(each, weight=weights[each.label]) for each in seen.versions)
        return msgspec.structs.replace(seen, versions=versions, granularity=grain(self.instances))

    def shown(self, target: Target, weights: dict[str, int]) -> dict[str, int]:
        wanted = self._ledgers[target].wanted if target in self._ledgers else None
        return reached_weights(consumer_shares(weights, wanted.stable if wanted is not None else None, self.instances))


class _ByInstancesWorld(DryWorld):
    def __init__(self, folder: Path, actuator: type[Scripted], instances: int) -> None:
        super().__init__(folder, type("Counted", (actuator,), {"instances": instances}))
        self.granularity = 100 / instances


def held(actuator: type[Scripted], instances: int) -> ActuatorContract:
    """The clauses over a world of so many instances."""

    class Held(ActuatorContract):
        @asynccontextmanager
        async def open_world(self) -> AsyncIterator[World]:
            with TemporaryDirectory() as folder:
                yield _ByInstancesWorld(Path(folder), actuator, instances)

    return Held()


@pytest.mark.parametrize("clause", _CLAUSES)
@pytest.mark.parametrize("instances", [1, 2, 3, 7, 10, 13, 128])
def test_so_many_instances_keep_the_contract(instances: int, clause: str) -> None:
    """Whether or not one of them is a whole percent of the traffic."""
    getattr(held(ByInstances, instances), clause)()


@pytest.mark.parametrize("said", [33, 34])
def test_a_share_may_be_declared_in_whole_percent(said: int) -> None:
    """Of three instances it is 33 or 34, and the rest of each weight is the last one's."""

    class Declared(_ByInstancesWorld):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder, ByInstances, 3)
            self.granularity = said

    class Held(ActuatorContract):
        @asynccontextmanager
        async def open_world(self) -> AsyncIterator[World]:
            with TemporaryDirectory() as folder:
                yield Declared(Path(folder))

    for clause in ("test_weight_moves_to_what_is_ready", "test_a_hand_edit_stands_until_an_operator_says_otherwise"):
        getattr(Held(), clause)()


class RoundsUp(ByInstances):
    """A candidate gets the instance of which it was given a part."""

    def shown(self, target: Target, weights: dict[str, int]) -> dict[str, int]:
        candidate = ceil(weights.get("#2", 0) * self.instances / 100)
        return reached_weights({**dict.fromkeys(weights, 0), "#1": self.instances - candidate, "#2": candidate} if weights else {})


class ShowsTheWish(ByInstances):
    """What was wanted is told, whatever the instances amount to."""

    def shown(self, target: Target, weights: dict[str, int]) -> dict[str, int]:
        return weights


class OneTooMany(ByInstances):
    """A candidate with a weight has one instance more than that is."""

    def shown(self, target: Target, weights: dict[str, int]) -> dict[str, int]:
        more = min(100, weights.get("#2", 0) + 100 // self.instances)
        return super().shown(target, {**weights, "#1": 100 - more, "#2": more} if 0 < weights.get("#2", 0) < 100 else weights)


class SaysNothing(ByInstances):
    """It is as fine as a route."""

    def _observed(self, target: Target) -> TargetObserved:
        return msgspec.structs.replace(super()._observed(target), granularity=1)


class SaysFewer(ByInstances):
    """Thirds are said to be halves, of which a third is too far."""

    def _observed(self, target: Target) -> TargetObserved:
        return msgspec.structs.replace(super()._observed(target), granularity=50)


class MovesWhatDied(ByInstances):
    """A version of which nothing is ready loses its weight for good."""

    def unready(self, target: Target, label: str, ready: int = 0) -> None:
        super().unready(target, label, ready)
        ledger = self._ledgers[target]
        self._keep(target, msgspec.structs.replace(ledger, goal=fallback(ledger), weights=fallback(ledger)))


class NeverExpires(ByInstances):
    """A lease is of a day."""

    async def apply(self, command: Command, cursor: Cursor):
        lease = 86_400.0 if command.wanted.lease_seconds else None
        wanted = msgspec.structs.replace(command.wanted, lease_seconds=lease)
        return await super().apply(msgspec.structs.replace(command, wanted=wanted), cursor)


@pytest.mark.parametrize(
    ("wrong", "instances", "clause"),
    [
        *[(RoundsUp, instances, "test_weight_moves_to_what_is_ready") for instances in (1, 2, 3, 7, 10)],
        *[(ShowsTheWish, instances, "test_weight_moves_to_what_is_ready") for instances in (1, 2, 3, 7, 10)],
        *[(OneTooMany, instances, "test_weight_moves_to_what_is_ready") for instances in (3, 7, 10)],
        *[(OneTooMany, instances, "test_the_same_command_twice_counts_once") for instances in (2, 3, 7, 10)],
        *[(SaysNothing, instances, "test_how_coarse_its_shares_are_the_world_says") for instances in (1, 2, 3, 7, 10, 128)],
        (SaysFewer, 3, "test_how_coarse_its_shares_are_the_world_says"),
        *[(MovesWhatDied, instances, "test_a_killed_instance_comes_back") for instances in (1, 2, 3, 7, 10)],
        *[(NeverExpires, instances, "test_a_lease_that_nobody_renews_ends_on_stable") for instances in (2, 3, 7, 10)],
        *[(NeverExpires, instances, "test_a_lease_is_of_the_weights_in_force_and_not_of_the_wish") for instances in (2, 3, 7, 10)],
    ],
)
def test_a_coarse_world_that_breaks_a_rule_is_found(wrong: type[ByInstances], instances: int, clause: str) -> None:
    """By the clause that is about it."""
    with pytest.raises(AssertionError):
        getattr(held(wrong, instances), clause)()
