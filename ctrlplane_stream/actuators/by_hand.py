"""What a person can do to a target without the engine: the verbs beside the port, for worlds that offer them."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import TargetObserved


class HandRefused(Exception):
    """The target cannot do that; the text says why and what would work."""


@runtime_checkable
class ByHand(Protocol):
    """A world that people can steer directly. Each returns the target right after; HandRefused, WorldUnreachable."""

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """Set weights in percent, summing to 100: an operator's pause, which no command goes over unasked."""
        ...

    async def release(self, target: Target) -> TargetObserved:
        """Hand an edited target back to the engine with the weights that it has."""
        ...

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """All traffic to the stable version, now."""
        ...
