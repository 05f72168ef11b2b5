"""Steps of what takes weight by instances."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.actuators.kubernetes.behind_service import grain
from ctrlplane_stream.actuators.shifting import consumer_shares, reached_weights
from ctrlplane_stream.decision.composing import one_by_one, reachable
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.entities import LiveVersion, TargetEntry
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.decision.targets import is_confirmed
from ctrlplane_stream.model.policy import Policy, Step
from ctrlplane_stream.model.world import Capacity, ObservedVersion

NO_CATALOG = Draft.as_of(State.empty("production"))
"""Of which every service takes weight by its route."""


@pytest.mark.parametrize(
    ("instances", "weights"), [(4, [25, 50, 100]), (1, [100]), (2, [50, 100]), (20, [5, 25, 50, 100]), (0, [5, 25, 50, 100])]
)
def test_steps_round_down_to_what_instances_can_show(instances: int, weights: list[int]) -> None:
    """A step that would be no instance is left out, and full weight is always there."""
    assert [step.weight for step in reachable(Policy().steps, instances)] == weights


def test_what_cannot_be_shown_leaves_its_rules_to_the_step_that_is_shown() -> None:
    """A person's word was asked of nobody where a step rounds down to nothing, or to another."""
    steps = (Step(5, 10, 60, 1, approval=True), Step(50, 20, 90, 2), Step(60, 30, 80, 3, approval=True), Step(100, 40, 100, 4))
    assert reachable(steps, 2) == (Step(50, 30, 90, 3, approval=True), Step(100, 40, 100, 4))
    assert reachable(steps, 1) == (Step(100, 40, 100, 4, approval=True),)
    assert one_by_one(steps, 2) == (Step(50, 30, 90, 3, approval=True), Step(100, 40, 100, 4))
    first, *_ = one_by_one(steps, 10)
    assert first == Step(10, 20, 90, 2, approval=True)


@pytest.mark.parametrize("instances", range(1, 120))
def test_a_step_is_reached_by_the_instances_that_it_was_rounded_to(instances: int) -> None:
    """An actuator rounds a weight down to whole instances: of three a step of 33% would be none, and wait for ever."""
    for step in reachable(Policy().steps, instances):
        shares = consumer_shares({"#1": 100 - step.weight, "#2": step.weight}, "#1", instances)
        assert shares["#2"] > 0
        assert reachable((step,), instances) == (step,)


@pytest.mark.parametrize("instances", [*range(1, 120), 250, 1000])
@pytest.mark.parametrize("weight", [1, 5, 25, 50])
def test_a_consumer_shows_every_step_that_its_instances_leave(instances: int, weight: int) -> None:
    """Near what was asked for; and no step but the last shows none or all, also where one instance is less than a percent."""
    for step in reachable((replace(Policy().steps[0], weight=weight), Policy().steps[-1]), instances):
        shown = reached_weights(consumer_shares({"#1": 100 - step.weight, "#2": step.weight}, "#1", instances))["#2"]
        assert abs(shown - step.weight) <= 1
        assert (shown in (0, 100)) == (step.weight == 100)


@pytest.mark.parametrize("pods", range(1, 120))
def test_a_routed_service_without_a_gateway_shows_every_step_that_its_granularity_leaves(pods: int) -> None:
    """Its weights are shares of Pods: near what was asked for, and a candidate with a step has a Pod."""
    target = TargetEntry("cart", live=(), observed_sequence=1, commanded_sequence=1, granularity=grain(pods))
    for step in reachable(Policy().steps, 100 // grain(pods)):
        wanted = {"#1": 100 - step.weight, "#2": step.weight}
        shown = reached_weights(consumer_shares(wanted, "#1", pods))
        live = tuple(LiveVersion(label, Capacity.FULL, weight) for label, weight in wanted.items())
        seen = tuple(ObservedVersion(label, "sha256:0", pods, pods, weight) for label, weight in shown.items())
        assert is_confirmed(NO_CATALOG, replace(target, live=live, observed=seen)), (wanted, shown)
        unmoved = tuple(replace(each, weight=100 if each.label == "#1" else 0) for each in seen)
        assert not is_confirmed(NO_CATALOG, replace(target, live=live, observed=unmoved))
