"""What somebody must bring to hold an actuator against the contract: the actuator and a hold on the world behind it."""

from enum import Enum
from typing import Protocol

from ctrlplane_stream.actuators.by_hand import ByHand
from ctrlplane_stream.actuators.port import Actuator
from ctrlplane_stream.model.identity import Artifact, Target


class Behaviour(Enum):
    """How an artifact of the contract behaves when it is run."""

    WELL = "well"
    NEVER_READY = "never ready"
    CRASHES = "crashes at start"


class World(Protocol):
    """An actuator with the real thing behind it, and what the tests must be able to do to that.

    ``lease_seconds``: a lease that is short here, but longer than some calls of the port. ``by_hand`` is None where
    people have no verbs of ours; the clauses about them then pass unseen.

    A world may say more of itself: ``granularity``, the smallest share of traffic in percent that it can move (1 where it does not say;
    ``100 / 3`` where weights are shares of three instances; at 100 no weight is partial, so that the clauses about leases pass unseen),
    ``sees_instances``, False where it knows of no instances (then the clauses about what becomes ready, fails and dies do), and ``kind``,
    the kind of service that the targets are (a routed one where it does not say).

    And it may be able to do more: ``async weights_in_the_world(target)``, the percent by label that the world itself goes by, read
    without the actuator, which might move them as it is asked; and ``async run_before_us(target, artifact)``, which has that
    artifact run in the target's place as somebody runs it who knows nothing of us. Where it cannot, the clause about it passes unseen.
    """

    actuator: Actuator
    by_hand: ByHand | None
    lease_seconds: float

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        """An artifact that behaves so; another number gives another digest."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let so much of the world's time go by."""
        ...

    async def kill(self, target: Target, label: str) -> None:
        """End the running instances of a version abruptly, as a crash would."""
        ...

    async def restart(self) -> None:
        """End the world's own agent and everything that it ran, and start it again on what it remembers."""
        ...
