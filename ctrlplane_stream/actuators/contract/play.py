"""One clause being played: commands in order, patient looks, and invariant 1 checked at every one of them."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from ctrlplane_stream.actuators.contract.world import Behaviour, World
from ctrlplane_stream.actuators.port import Outcome
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved, TargetWanted, WantedVersion

_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_Seen = TypeVar("_Seen")


class Play:
    """One clause being played: a target, its next cursor, and eyes on invariant 1."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.target = Target("contract", f"shop/{name.removeprefix('test_').replace('_', '-')}")
        self.sequence = 0
        granularity: float = getattr(world, "granularity", 1)
        self.is_coarse = granularity != 1
        self.shares = round(100 / granularity)
        self.sees_instances: bool = getattr(world, "sees_instances", True)
        self.kind: ServiceKind = getattr(world, "kind", ServiceKind.ROUTED)
        self.run_before_us: Callable[[Target, Artifact], Awaitable[None]] | None = getattr(world, "run_before_us", None)
        self.weights_in_the_world: Callable[[Target], Awaitable[dict[str, int]]] | None = getattr(world, "weights_in_the_world", None)
        self._last: TargetObserved | None = None
        self._unsafe = False

    @property
    def some(self) -> int:
        """The smallest weight from 25 on that this world can show."""
        return self.at_least(25)

    def at_least(self, weight: int) -> int:
        """The smallest weight from this on that this world can show: 34, not 33, is one of three instances and not none."""
        return math.ceil(100 * math.ceil(weight * self.shares / 100) / self.shares)

    @property
    def knows_leases(self) -> bool:
        """Whether any weight here is partial, so that it may be on a lease."""
        return self.shares > 1

    def is_shown(self, weights: Mapping[str, int], candidate: int) -> bool:
        """Whether these show that #2 is to have so much and #1 the rest: as many whole shares as there are in it and no more, of which each
        side of the whole percent may be said."""
        reached = candidate * self.shares // 100 * 100 / self.shares
        either = (math.floor(reached), math.ceil(reached))
        return weights.keys() == {"#1", "#2"} and weights["#2"] in either and weights["#1"] == 100 - weights["#2"]

    def version(self, number: int, weight: int, capacity: Capacity = Capacity.FULL, behaviour: Behaviour = Behaviour.WELL) -> WantedVersion:
        """Version ``#number`` with that weight."""
        artifact = self.world.artifact(self.target.service, behaviour, number)
        return WantedVersion(f"#{number}", artifact, {"colour": f"c{number}"}, capacity, weight)

    def wanted(self, *versions: WantedVersion, stable: str | None = "#1", lease: float | None = 60.0) -> TargetWanted:
        """The target with these versions; on a lease where any weight is partial."""
        partial = any(0 < version.weight < 100 for version in versions)
        return TargetWanted(self.target, self.kind, versions, stable, lease if partial else None)

    def at(self, weight: int, lease: float | None = 60.0) -> TargetWanted:
        """The target with #2 at that weight and #1, which is stable, at the rest."""
        return self.wanted(self.version(1, 100 - weight), self.version(2, weight), lease=lease)

    async def command(
        self, wanted: TargetWanted, verb: Verb = Verb.SHIFT, cursor: Cursor | None = None, over_edit: str | None = None
    ) -> Outcome:
        """Apply this with the next cursor, or with the one given."""
        if cursor is None:
            self.sequence += 1
            cursor = Cursor(1, self.sequence)
        name = f"{self.target}/{cursor.epoch}/{cursor.sequence}"
        command = Command(name, verb, self.target, cursor.sequence, wanted, "the contract", over_edit=over_edit)
        self._unsafe = wanted.unsafe
        outcome = await self.world.actuator.apply(command, cursor)
        if outcome.observed is not None:
            self._check(outcome.observed)
        return outcome

    async def look(self) -> TargetObserved:
        """Observe, and hold what is seen against invariant 1."""
        seen = await self.world.actuator.observe(self.target)
        self._check(seen)
        return seen

    async def see(self, what: str, holds: Callable[[TargetObserved], bool]) -> TargetObserved:
        """Look until this holds; fails after a while of the world's time."""
        return await self.wait(what, holds, self.look)

    async def wait(self, what: str, holds: Callable[[_Seen], bool], look: Callable[[], Awaitable[_Seen]]) -> _Seen:
        """The same of whatever is looked at."""
        waited = 0.0
        while not holds(seen := await look()):
            assert waited < _PATIENCE_SECONDS, f"never saw that {what}; last seen: {seen}"
            await self.world.pass_time(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        return seen

    async def see_weights(self, **weights: int) -> TargetObserved:
        """Look until the weights are these, as far as this world can show them: ``v1=75, v2=25``."""
        candidate = weights["v2"]
        assert weights == {"v1": 100 - candidate, "v2": candidate}, "a clause's own weights sum to 100"
        what = f"#2 has the whole shares, of {self.shares} in all, that there are in {candidate}%, and #1 the rest"
        return await self.see(what, lambda seen: self.is_shown(weights_of(seen), candidate))

    async def stable_and_candidate(self, weight: int = 0, lease: float | None = 60.0) -> None:
        """Bring #1 to be stable and #2 to be its candidate with that weight."""
        accepted(await self.command(self.wanted(self.version(1, 100)), Verb.PREPARE))
        accepted(await self.command(self.wanted(self.version(1, 100), self.version(2, 0)), Verb.PREPARE))
        await self.see("both are ready", lambda seen: [ready_of(seen, "#1"), ready_of(seen, "#2")] == [True, True])
        await self.see_weights(v1=100, v2=0)
        if weight:
            accepted(await self.command(self.at(weight, lease)))
            await self.see_weights(v1=100 - weight, v2=weight)

    def _check(self, seen: TargetObserved) -> None:
        weights, before = weights_of(seen), weights_of(self._last) if self._last is not None else {}
        assert sum(weights.values()) in (0, 100), f"weights sum to neither 0 nor 100: {seen}"
        for version in seen.versions:
            assert version.weight >= 0, f"a weight below 0: {seen}"
            risen = not self._unsafe and version.weight > before.get(version.label, 0)
            assert not (risen and version.ready == 0 and seen.break_glass is None), f"weight rose to a version that is not ready: {seen}"
        self._last = seen


def weights_of(seen: TargetObserved) -> dict[str, int]:
    """Weights by label."""
    return {version.label: version.weight for version in seen.versions}


def ready_of(seen: TargetObserved, label: str) -> bool:
    """Whether all instances of the version are ready, and there are some."""
    version = seen.version(label)
    return version is not None and version.instances > 0 and version.ready == version.instances


def accepted(outcome: Outcome) -> None:
    """The outcome is APPLIED."""
    assert outcome.status is OutcomeStatus.APPLIED, f"not applied: {outcome}"


def refused(outcome: Outcome) -> None:
    """The outcome is REFUSED, with a reason."""
    assert outcome.status is OutcomeStatus.REFUSED, f"not refused: {outcome}"
    assert outcome.reason, "refused without a reason"
