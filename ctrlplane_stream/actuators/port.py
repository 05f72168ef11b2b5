"""The port between the engine's words and any world: two verbs, level-triggered, idempotent by cursor.

An actuator keeps the cursor of the last command in the target itself, by compare-and-set. It refuses a command
whose cursor is not greater, refuses to override an edit made by hand, and honours the lease on its own: when nobody
renews, the target goes to its stable version without us.
"""

from typing import Protocol

import msgspec

from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved


class Outcome(msgspec.Struct, frozen=True):
    """How one ``apply`` ended. ``observed`` is the target right after, where it could be seen."""

    status: OutcomeStatus
    reason: str
    observed: TargetObserved | None = None


class WorldUnreachable(Exception):
    """The world could not be asked or told; the caller may try again. The message says what to check."""


class Actuator(Protocol):
    """One kind of world. Safe to call again with the same arguments at any time, from any process."""

    name: str

    async def observe(self, target: Target) -> TargetObserved:
        """What the target looks like now; an empty observation where there is nothing of it. WorldUnreachable on failure."""
        ...

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """Bring the target towards ``command.wanted`` and return once the world has taken it.

        Taken is not ready: readiness is seen by ``observe``. WorldUnreachable where it is not known what happened.
        """
        ...
