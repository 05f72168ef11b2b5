"""Actuators that break, lie or lose their answers; engines that restart; clocks that jump."""

import pytest

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import BuildChanged, EdgesFaded, TimePassed
from ctrlplane_stream.model.facts import OverrideVerb as Say
from tests.scenario.shop import phase, shop, until, weights


@pytest.mark.parametrize("at", [Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.DRAINING])
def test_a_restart_in_any_phase_changes_nothing(at: Phase) -> None:
    calm, restarted = shop(), shop()
    for loop in (calm, restarted):
        loop.push("cart", 2)
        until(loop, "cart/2", at)
    restarted.driver.restart()
    for loop in (calm, restarted):
        until(loop, "cart/2", Phase.COMPLETED)
    assert calm.driver.outputs == restarted.driver.outputs


def test_a_broken_actuator_holds_with_the_exact_list_and_goes_on_when_it_is_mended() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.broken.add("cart")
    loop.judge.faulty.add(("cart", "#2"))
    loop.run(40)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    assert rollout.phase is Phase.ABORTING
    assert "cart wanted #1 100%, #2 0%; seen #1 90%" in rollout.stuck[0]
    loop.world.broken.clear()
    until(loop, "cart/2", Phase.REVERTED)


def test_an_actuator_that_says_applied_and_is_not_is_not_believed() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.SHIFTING)
    loop.world.liars.add("cart")
    loop.run(30)
    assert phase(loop, "cart/2") is Phase.SHIFTING
    loop.world.liars.clear()
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_lost_outcome_is_found_by_telling_again() -> None:
    loop = shop()
    loop.push("cart", 2)
    loop.deliver = lambda fact: []
    loop.run(5)
    loop.deliver = lambda fact: [(0.0, fact)]
    until(loop, "cart/2", Phase.COMPLETED)


def test_commands_that_are_carried_out_twice_and_answered_late_change_nothing() -> None:
    loop = shop()
    loop.actuate = lambda: [0.5, 7.0]
    loop.deliver = lambda fact: [(0.0, fact), (9.0, fact)]
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    asked = [c.wanted.weight("#2") for c in loop.driver.commands if c.verb is Verb.SHIFT and c.target.service == "cart"]
    assert [weight for weight in asked if weight] == [10, 50, 100]


def test_where_one_target_of_a_set_cannot_act_all_go_back_or_the_set_is_held_with_what_is_where() -> None:
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(130)
    assert (weights(loop, "pay"), phase(loop, "cart/2")) == ({"#2": 100}, Phase.VERIFYING)
    loop.world.broken.add("pay")
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(120)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    assert (weights(loop, "cart"), weights(loop, "pay"), rollout.phase) == ({"#1": 100}, {"#2": 100}, Phase.ABORTING)
    assert [text.split(" ")[0] for text in rollout.stuck] == ["pay"]
    assert "seen #1 0% (4/4 ready), #2 100% (4/4 ready)" in rollout.stuck[0]
    loop.world.broken.clear()
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "pay") == {"#1": 100}


def test_a_clock_that_jumps_ends_neither_bake_nor_drain() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.driver.pipe(TimePassed(), at_ms=loop.now_ms + 86_400_000)
    assert phase(loop, "cart/2") is Phase.DRAINING


def test_a_change_of_build_is_on_the_record() -> None:
    loop = shop()
    loop.give(BuildChanged("b2", "b1"))
    assert "build b2 decides" in loop.driver.reasons[-1].text


def test_a_flood_of_facts_does_not_put_off_what_waits_for_time() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    for _ in range(500):
        loop.give(EdgesFaded(1, ()))
        loop.run(0.4)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    assert any(c.verb is Verb.RENEW for c in loop.driver.commands)
