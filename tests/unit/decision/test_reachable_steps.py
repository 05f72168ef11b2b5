"""Steps of what takes weight by instances."""

import pytest

from ctrlplane_stream.decision.composing import reachable
from ctrlplane_stream.model.policy import Policy


@pytest.mark.parametrize(
    ("instances", "weights"), [(4, [25, 50, 100]), (1, [100]), (2, [50, 100]), (20, [5, 25, 50, 100]), (0, [5, 25, 50, 100])]
)
def test_steps_round_down_to_what_instances_can_show(instances: int, weights: list[int]) -> None:
    """A step that would be no instance is left out, and full weight is always there."""
    assert [step.weight for step in reachable(Policy().steps, instances)] == weights
