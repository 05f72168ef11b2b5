"""How long what is still to be done may take once all is well: the measure of promise 11.

Every phase of a rollout is bounded by its policy, and few rollouts fit into ``BASE_SECONDS`` whatever they wait for. But rollouts of one
service come one after another, each as slow as its instances start, and so does an exchange in place, instance by instance: that is
counted, not guessed.
"""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.simulation.world import INSTANCES

BASE_SECONDS = 1500
"""For everything that runs side by side, and for holds that wait for a person."""


def climb_seconds(version_set: e.VersionSet, start_seconds: float) -> float:
    """What the climb of one rollout may take: every step's weight waits for an instance and is then judged; then it bakes and drains."""
    policy = version_set.policy
    climb = start_seconds + sum(start_seconds + step.max_seconds for step in policy.steps)
    return climb + policy.bake_seconds + policy.drain_limit_seconds


def exchange_seconds(version_set: e.VersionSet, start_seconds: float) -> float:
    """What the exchanges of one rollout may take: each instance starts and is judged on the way there, and starts on the way back."""
    judged = max(step.max_seconds for step in version_set.policy.steps)
    each = (start_seconds + judged) + start_seconds
    return len(version_set.in_place) * INSTANCES * each


class Patience:
    """Adds up what is to be done, rollout by rollout as they are met."""

    def __init__(self, start_seconds: float) -> None:
        self._start_seconds = start_seconds
        self._sets: dict[str, e.VersionSet] = {}

    def meets(self, rollout: e.Rollout, state: State) -> None:
        """Count a rollout that is not over; once, however often it is met."""
        version_set = state.find(f"set/{rollout.id}", e.VersionSet)
        if version_set is not None:
            self._sets[rollout.id] = version_set

    @property
    def seconds(self) -> float:
        """How long all that was met may take together, one after another."""
        climbs = sum(climb_seconds(each, self._start_seconds) for each in self._sets.values())
        exchanges = sum(exchange_seconds(each, self._start_seconds) for each in self._sets.values())
        return max(BASE_SECONDS, climbs) + exchanges
