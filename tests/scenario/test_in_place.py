"""What cannot run side by side: one instance at a time is drained, exchanged and judged before the next."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.composing import compose, steps_now
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.planning import plan
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, ReleaseOrder, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.simulation.loop import QUICK, Loop, artifact, catalog, service
from ctrlplane_stream.simulation.world import Sickness
from tests.scenario.shop import SHOP, held, phase, reasons, shop, until, weights

IN_PLACE = replace(QUICK, in_place=True)


def store() -> Loop:
    """A shop in which nothing can run side by side; every service has four instances of its first version."""
    return shop(policy=IN_PLACE)


def instances(loop: Loop) -> dict[str, int]:
    """Instances of cart by version, where there are any."""
    return {label: v.instances for label, v in loop.world.target("cart").versions.items() if v.instances}


def test_the_first_version_ever_starts_all_instances_at_once() -> None:
    loop = Loop.of(catalog(service("cart", IN_PLACE)))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    assert (instances(loop), weights(loop, "cart")) == ({"#1": 4}, {"#1": 100})


def test_a_release_climbs_by_one_instance_a_step_and_never_has_more_than_there_were() -> None:
    loop = store()
    loop.push("cart", 2)
    most, seen = 0, []
    for _ in range(400):
        loop.run(1)
        most = max(most, sum(instances(loop).values()))
        if not seen or seen[-1] != weights(loop, "cart"):
            seen.append(weights(loop, "cart"))
    assert phase(loop, "cart/2") is Phase.COMPLETED
    asked = [c.wanted.weight("#2") for c in loop.driver.commands if c.verb is Verb.SHIFT and c.target.service == "cart"]
    assert [weight for weight in asked if weight] == [25, 50, 75, 100]
    assert (most, instances(loop)) == (4, {"#2": 4})


def test_every_instance_is_judged_before_the_next() -> None:
    loop = store()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert max(c.wanted.weight("#2") for c in loop.driver.commands) == 25
    loop.run(20)
    assert instances(loop) == {"#1": 4}


def test_an_instance_that_crashes_is_the_only_one_that_is_lost() -> None:
    loop = store()
    loop.world.sick["cart", "#2"] = Sickness.CRASHES
    loop.push("cart", 2)
    fewest = 4
    for _ in range(120):
        loop.run(1)
        ready = sum(v.ready for v in loop.world.observe("cart", loop.now_ms).versions)
        fewest = min(fewest, ready)
    assert phase(loop, "cart/2") is Phase.REVERTED
    assert (fewest, instances(loop)) == (3, {"#1": 4})


def test_an_instance_that_never_becomes_ready_is_taken_back_after_the_timeout() -> None:
    loop = store()
    loop.world.sick["cart", "#2"] = Sickness.NEVER_READY
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert "0 of 1 instances ready after" in (loop.driver.rollout("production/cart/2").stopped_because or "")  # type: ignore[union-attr]
    loop.run(20)
    assert instances(loop) == {"#1": 4}


@pytest.mark.parametrize("at", [25, 50, 75, 100])
def test_an_abort_at_any_instance_goes_back_one_by_one(at: int) -> None:
    loop = store()
    loop.push("cart", 2)
    while weights(loop, "cart").get("#2") != at:
        loop.run(1)
    loop.say(Say.ABORT, rollout="production/cart/2")
    fewest = 4
    while phase(loop, "cart/2") is not Phase.REVERTED:
        loop.run(1)
        fewest = min(fewest, sum(v.ready for v in loop.world.observe("cart", loop.now_ms).versions))
    assert (fewest, instances(loop), weights(loop, "cart")) == (3, {"#1": 4}, {"#1": 100})


def test_no_instance_follows_while_another_is_not_ready() -> None:
    loop = store()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.target("cart").versions["#1"].lost = True
    loop.tell_world("cart", WorldCause.READINESS)
    loop.run(45)
    assert instances(loop) == {"#1": 3, "#2": 1}
    assert "and the next waits for all" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]


def test_a_pause_holds_with_the_instances_as_they_are() -> None:
    loop = store()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    loop.run(200)
    assert (held(loop, "cart/2"), instances(loop)) == (["pause"], {"#1": 3, "#2": 1})


def test_a_revert_exchanges_one_by_one_without_waiting_for_the_judge() -> None:
    loop = store()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.SHIFTING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert instances(loop) == {"#1": 4}


def test_a_lease_that_runs_out_goes_back_to_stable() -> None:
    loop = store()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.engine_down = True
    loop.run(200)
    assert instances(loop) == {"#1": 4}


def test_an_exchange_that_goes_on_slowly_is_neither_stuck_nor_told_again() -> None:
    """Each instance has the time to become ready; that is longer here than an actuator may say nothing."""
    loop = shop(policy=replace(IN_PLACE, lost_actuator_seconds=20, ready_timeout_seconds=60))
    loop.world.start_seconds = 50
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert instances(loop) == {"#1": 4}
    assert "not every target does what is wanted" not in reasons(loop)
    assert [c.because for c in loop.driver.commands if c.because.startswith("try ")] == []


def test_an_exchange_that_stands_still_is_named() -> None:
    loop = shop(policy=replace(IN_PLACE, ready_timeout_seconds=60))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.world.start_seconds = 100_000
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(90)
    assert held(loop, "cart/2") == ["stuck"]
    assert "no instance was exchanged for 6" in reasons(loop)


def test_the_lease_is_renewed_while_one_instance_takes_longer_than_it() -> None:
    loop = shop(policy=replace(IN_PLACE, lease_seconds=30, ready_timeout_seconds=90))
    loop.world.start_seconds = 80
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert instances(loop) == {"#2": 4}


def test_an_exchange_waits_for_instances_to_exchange() -> None:
    """How many there are says how many steps; a target that lost them all makes them again first."""
    loop = shop()
    loop.world.target("cart").versions["#1"].instances = 0
    loop.tell_world("cart", WorldCause.DRIFT, "instances went away")
    loop.run(1)
    loop.give(CatalogApplied(catalog(*[service(name, IN_PLACE) for name in (*SHOP, "island")]), "h2", "ada"))
    loop.push("cart", 2)
    assert phase(loop, "cart/2") is Phase.PREPARING
    assert "cart #1: no instance seen" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.COMPLETED)
    asked = [c.wanted.weight("#2") for c in loop.driver.commands if c.verb is Verb.SHIFT and c.target.service == "cart"]
    assert [weight for weight in asked if weight] == [25, 50, 75, 100]


def test_a_plan_says_the_steps_that_the_instances_make() -> None:
    planned = plan(store().driver.state, (artifact("cart", 2),))
    assert [step.weight for step in planned.steps] == [25, 50, 75, 100]


def test_the_steps_are_said_openly() -> None:
    loop = store()
    loop.push("cart", 2)
    assert "of the steps 10%, 50%, 100% one instance at a time, so 25%, 50%, 75%, 100%" in reasons(loop)


def cramped() -> Loop:
    """A shop with room for one instance beyond the four of each service."""
    return shop(policy=replace(QUICK, surge_percent=25))


def test_with_some_room_instances_are_made_before_as_many_go() -> None:
    loop = cramped()
    loop.push("cart", 2)
    most, fewest = 0, 4
    for _ in range(400):
        loop.run(1)
        most = max(most, sum(instances(loop).values()))
        fewest = min(fewest, sum(v.ready for v in loop.world.observe("cart", loop.now_ms).versions))
    assert (phase(loop, "cart/2"), instances(loop)) == (Phase.COMPLETED, {"#2": 4})
    assert (most, fewest) == (5, 4)


def test_with_some_room_the_steps_are_those_of_the_policy_as_instances_can_show_them() -> None:
    loop = cramped()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    asked = [c.wanted.weight("#2") for c in loop.driver.commands if c.verb is Verb.SHIFT and c.target.service == "cart"]
    assert [weight for weight in asked if weight] == [50, 100]
    assert "of the steps 10%, 50%, 100% its world can show 50%, 100%" in reasons(loop)


def test_with_some_room_a_fault_goes_back_in_portions_too() -> None:
    loop = cramped()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    fewest = 4
    while not loop.driver.rollout("production/cart/2") or phase(loop, "cart/2") is not Phase.REVERTED:
        loop.run(1)
        fewest = min(fewest, sum(v.ready for v in loop.world.observe("cart", loop.now_ms).versions))
    assert (fewest, instances(loop), weights(loop, "cart")) == (4, {"#1": 4}, {"#1": 100})


def test_with_some_room_a_version_that_crashes_costs_stable_nothing() -> None:
    loop = cramped()
    loop.world.sick["cart", "#2"] = Sickness.CRASHES
    loop.push("cart", 2)
    fewest = 4
    for _ in range(120):
        loop.run(1)
        fewest = min(fewest, sum(v.ready for v in loop.world.observe("cart", loop.now_ms).versions))
    assert (phase(loop, "cart/2"), fewest, instances(loop)) == (Phase.REVERTED, 4, {"#1": 4})


def test_what_a_hand_left_half_exchanged_is_exchanged_one_instance_at_a_time_all_the_same() -> None:
    """The steps are counted of all instances there are: those that are still on their way back to stable are instances, too."""
    draft = Draft.as_of(store().driver.state)
    target = draft.target("cart")
    half = replace(target.observed[0], instances=2, ready=2)
    draft.put_target(replace(target, observed=(half, replace(half, label="#2"))))
    chosen = compose(draft, "production/cart/3", {"cart": "#3"}, None, ReleaseOrder.CALLEES_FIRST)
    assert [step.weight for step in steps_now(draft, chosen, QUICK.steps)] == [25, 50, 75, 100]
