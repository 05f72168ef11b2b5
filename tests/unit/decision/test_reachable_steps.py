"""Steps of what takes weight by instances."""

import pytest

from ctrlplane_stream.actuators.shifting import consumer_shares
from ctrlplane_stream.decision.composing import reachable
from ctrlplane_stream.model.policy import Policy


@pytest.mark.parametrize(
    ("instances", "weights"), [(4, [25, 50, 100]), (1, [100]), (2, [50, 100]), (20, [5, 25, 50, 100]), (0, [5, 25, 50, 100])]
)
def test_steps_round_down_to_what_instances_can_show(instances: int, weights: list[int]) -> None:
    """A step that would be no instance is left out, and full weight is always there."""
    assert [step.weight for step in reachable(Policy().steps, instances)] == weights


@pytest.mark.parametrize("instances", range(1, 120))
def test_a_step_is_reached_by_the_instances_that_it_was_rounded_to(instances: int) -> None:
    """An actuator rounds a weight down to whole instances: of three a step of 33% would be none, and wait for ever."""
    for step in reachable(Policy().steps, instances):
        shares = consumer_shares({"#1": 100 - step.weight, "#2": step.weight}, "#1", instances)
        assert shares["#2"] > 0
        assert reachable((step,), instances) == (step,)
