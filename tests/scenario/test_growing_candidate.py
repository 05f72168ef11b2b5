"""A candidate that has instances for its weight only: more of them are ready before each step, and none goes before it has drained."""

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Fleet
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, Loop
from ctrlplane_stream.simulation.world import INSTANCES
from tests.scenario.shop import phase, reasons, shop, until, weights

GROWING = replace(QUICK, candidate_fleet=Fleet.BY_WEIGHT)


def sizes(loop: Loop) -> dict[str, int]:
    """Instances of cart's versions that run."""
    return {label: v.instances for label, v in loop.world.target("cart").versions.items() if v.instances}


def at_weight(loop: Loop, weight: int) -> None:
    """Let cart #2 climb until the world gives it so much."""
    for _ in range(600):
        if weights(loop, "cart").get("#2") == weight:
            return
        loop.run(1)
    raise AssertionError(loop.driver.transcript())


def test_the_candidate_has_instances_for_its_weight_and_stable_all_of_its_own_until_the_candidate_has_baked() -> None:
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    seen = {}
    for weight in (10, 50, 100):
        at_weight(loop, weight)
        seen[weight] = sizes(loop)
    assert seen == {10: {"#1": INSTANCES, "#2": 1}, 50: {"#1": INSTANCES, "#2": 2}, 100: {"#1": INSTANCES, "#2": INSTANCES}}
    until(loop, "cart/2", Phase.COMPLETED)
    assert sizes(loop) == {"#2": INSTANCES}
    assert loop.driver.target("cart").wanted("#2").capacity is Capacity.FULL  # type: ignore[union-attr]


def test_a_weight_waits_for_the_instances_that_it_needs() -> None:
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    at_weight(loop, 10)
    loop.world.start_seconds = 20
    until(loop, "cart/2", Phase.SHIFTING)
    loop.run(5)
    assert (sizes(loop)["#2"], weights(loop, "cart")) == (2, {"#1": 90, "#2": 10})
    at_weight(loop, 50)


def test_harm_at_the_step_before_is_heard_while_the_instances_of_the_next_one_start() -> None:
    """A pass is not: nothing may be left out by what the step before had to say for itself."""
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    at_weight(loop, 10)
    loop.world.start_seconds = 50
    until(loop, "cart/2", Phase.SHIFTING)
    loop.run(12)
    assert "ignored: gates on production/cart/2: its next weight is on its way" in reasons(loop)
    loop.judge.faulty.add(("cart", "#2"))
    loop.run(15)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.DRAINING, {"#1": 100})
    until(loop, "cart/2", Phase.REVERTED)
    assert "production/cart/2: shifting → aborting, gates: errors of cart #2" in reasons(loop)


def test_instances_that_start_for_longer_than_a_lease_do_not_lose_it() -> None:
    loop = shop(policy=replace(GROWING, lease_seconds=30, ready_timeout_seconds=120))
    loop.world.start_seconds = 50
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED, 900)
    assert "the lease on cart" not in reasons(loop)


def test_instances_of_a_step_that_never_become_ready_are_a_fail() -> None:
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    at_weight(loop, 10)
    loop.world.start_seconds = 10_000
    until(loop, "cart/2", Phase.REVERTED, 600)
    assert "1 of 2 instances ready after" in reasons(loop)
    assert weights(loop, "cart") == {"#1": 100}


def test_on_the_way_back_the_candidate_keeps_its_instances_until_it_has_drained() -> None:
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    at_weight(loop, 50)
    loop.say(Say.ABORT, service="cart")
    loop.run(3)
    assert weights(loop, "cart") == {"#1": 100}
    assert sizes(loop)["#2"] == 2
    until(loop, "cart/2", Phase.REVERTED)
    assert sizes(loop) == {"#1": INSTANCES}


def test_one_that_comes_back_to_weight_0_keeps_what_it_had_when_it_climbs_again() -> None:
    """Fewer would be a version made smaller that may still be talked to."""
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    at_weight(loop, 50)
    loop.judge.telemetry.cut = True
    until(loop, "cart/2", Phase.PREPARING)
    loop.judge.telemetry.cut = False
    at_weight(loop, 10)
    assert sizes(loop)["#2"] == 2
    until(loop, "cart/2", Phase.COMPLETED, 600)


def test_no_step_is_taken_while_an_instance_of_the_step_before_is_not_ready() -> None:
    loop = shop(policy=GROWING)
    loop.push("cart", 2)
    at_weight(loop, 50)
    loop.world.target("cart").versions["#2"].fresh = 1
    loop.world.target("cart").versions["#2"].ready_at_ms = loop.now_ms + 10**9
    loop.tell_world("cart", WorldCause.READINESS)
    loop.run(60)
    assert weights(loop, "cart")["#2"] == 50
    assert "1 of 2 instances ready" in str(loop.driver.rollout("production/cart/2").waiting_for)  # type: ignore[union-attr]


def test_a_first_version_a_consumer_and_a_service_without_room_know_nothing_of_it() -> None:
    loop = shop(policy=GROWING, running=False)
    loop.push("cart", 1)
    loop.run(5)
    assert sizes(loop) == {"#1": INSTANCES}
    for more in ({"kind": ServiceKind.CONSUMER}, {"policy": replace(GROWING, surge_percent=50)}):
        other = shop(**{"policy": GROWING, **more})  # type: ignore[arg-type]
        other.push("cart", 2)
        until(other, "cart/2", Phase.COMPLETED, 900)
        assert all(v.capacity is not Capacity.WEIGHTED for c in other.driver.commands for v in c.wanted.versions)
    assert phase(loop, "cart/1") is not Phase.REVERTED
