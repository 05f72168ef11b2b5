"""How long what is still to be done may take once all is well: the measure of promise 11.

Side by side every phase is bounded by the policy, and all that a run has left fits into ``BASE_SECONDS``. An exchange in place takes as
long as its instances, one after another, and rollouts of one service come one after another too: that is counted, not guessed.
"""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.simulation.world import INSTANCES

BASE_SECONDS = 1500
"""For everything that runs side by side."""


def exchange_seconds(version_set: e.VersionSet, start_seconds: float) -> float:
    """What the exchanges of one rollout may take: each instance starts and is judged on the way there, and starts on the way back."""
    judged = max(step.max_seconds for step in version_set.policy.steps)
    each = (start_seconds + judged) + start_seconds
    return len(version_set.in_place) * INSTANCES * each


class Patience:
    """Adds up what is to be done, rollout by rollout as they are met."""

    def __init__(self, start_seconds: float) -> None:
        self._start_seconds = start_seconds
        self._each: dict[str, float] = {}

    def meets(self, rollout: e.Rollout, state: State) -> None:
        """Count a rollout that is not over; once, however often it is met."""
        version_set = state.find(f"set/{rollout.id}", e.VersionSet)
        if version_set is not None:
            self._each[rollout.id] = exchange_seconds(version_set, self._start_seconds)

    @property
    def seconds(self) -> float:
        """How long all that was met may take together, one after another."""
        return BASE_SECONDS + sum(self._each.values())
