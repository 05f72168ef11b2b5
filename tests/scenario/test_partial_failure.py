"""Actuators that break, lie or lose their answers; engines that restart; clocks that jump."""

import pytest

from ctrlplane_stream.decision.entities import Clock
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import BuildChanged, EdgesFaded, TimePassed, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.simulation.loop import Loop
from tests.scenario.shop import held, phase, reasons, shop, until, weights


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


def test_on_the_way_down_a_callee_keeps_its_new_version_until_every_caller_has_left_its_own() -> None:
    loop = shop()
    loop.edges("island>pay")
    for name in ("pay", "cart", "island"):
        loop.push(name, 2, release="r1", release_size=3)
    id_ = next(r.id for r in loop.driver.rollouts if len(r.units) == 3).removeprefix("production/")
    until(loop, id_, Phase.BAKING)
    loop.world.broken.add("cart")
    loop.say(Say.ABORT, rollout=f"production/{id_}")
    loop.run(20)
    assert [weights(loop, name) for name in ("cart", "island", "pay")] == [{"#2": 100}, {"#1": 100}, {"#2": 100}]
    told = loop.driver.notices[-1].text
    assert "cart wanted #1 100%, #2 0%; seen #1 0% (4/4 ready), #2 100% (4/4 ready): failed: the cluster does not answer" in told
    assert told.endswith("; until then stay as they are: pay #2 100%")
    loop.world.broken.clear()
    until(loop, id_, Phase.REVERTED)
    assert [weights(loop, name) for name in ("cart", "island", "pay")] == [{"#1": 100}] * 3


def test_where_an_abort_waits_for_stable_to_start_what_keeps_it_is_told_in_the_words_of_the_world() -> None:
    """As a quota that has become full, while the command counts as taken: that nothing showed says nothing of what to do."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.world.liars.add("cart")
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(2)
    loop.world.target("cart").versions["#1"].failure = "FailedCreate: exceeded quota: pods"
    loop.tell_world("cart", WorldCause.READINESS, "#1 0/4 ready")
    loop.run(330)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.ABORTING, ["stuck"])
    assert "seen #1 0% (0/4 ready: FailedCreate: exceeded quota: pods), #2 100% (4/4 ready)" in loop.driver.notices[-1].text
    loop.world.target("cart").versions["#1"].failure = None
    loop.world.liars.clear()
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


@pytest.mark.parametrize(
    ("at", "ends"), [(Phase.PREPARING, Phase.COMPLETED), (Phase.VERIFYING, Phase.REVERTED), (Phase.BAKING, Phase.COMPLETED)]
)
def test_one_record_of_a_time_far_ahead_stops_nothing_for_longer_than_the_next_two(at: Phase, ends: Phase) -> None:
    """A partial weight goes back, since its lease may have run out; no freeze ends by it, and the next version is rolled out as ever."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", at)
    loop.say(Say.FREEZE, service="pay", expires_ms=loop.now_ms + 3_600_000)
    loop.push("pay", 2)
    loop.driver.pipe(TimePassed(), at_ms=loop.now_ms + 3 * 86_400_000)
    until(loop, "cart/2", ends)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.COMPLETED)
    assert phase(loop, "pay/2") is Phase.QUEUED
    until(loop, "pay/2", Phase.COMPLETED, limit=4000)


def test_time_goes_on_by_one_record_after_an_outage_and_back_by_none() -> None:
    """What comes first after three days is right; a single record of yesterday is not."""
    loop = shop()
    loop.say(Say.FREEZE, expires_ms=loop.now_ms + 3_600_000)
    loop.push("cart", 2)
    later_ms = loop.now_ms + 3 * 86_400_000
    for behind_ms in (0, 86_400_000, 0):
        loop.driver.pipe(TimePassed(), at_ms=later_ms - behind_ms)
        clock = loop.driver.state.find("clock", Clock)
        assert clock is not None
        assert clock.now_ms == later_ms
    assert phase(loop, "cart/2") is Phase.PREPARING


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


NOT_ACCEPTED = "HTTPRoute cart is not accepted by Gateway edge: NotAllowedByListeners"


def gateway_says(loop: Loop, words: str | None) -> None:
    """What the gateway of cart says of its weights from now on: None that it goes by them."""
    loop.world.not_in_force = {} if words is None else {"cart": words}
    loop.tell_world("cart", WorldCause.READINESS, f"not in force: {words}" if words else "all ready")


def test_a_weight_that_the_gateway_says_is_not_in_force_is_not_believed_and_its_words_are_said() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.SHIFTING)
    gateway_says(loop, NOT_ACCEPTED)
    loop.run(20)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.SHIFTING, [])
    assert (loop.driver.rollout("production/cart/2").waiting_for or "").endswith(NOT_ACCEPTED)  # type: ignore[union-attr]
    loop.run(90)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.SHIFTING, ["stuck"])
    assert NOT_ACCEPTED in loop.driver.rollout("production/cart/2").holds[0].text  # type: ignore[union-attr]
    gateway_says(loop, None)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_step_is_not_left_on_what_was_seen_while_the_gateway_went_by_other_weights_than_were_confirmed() -> None:
    """A weight that was in force when the step began, and is written still: told again, then held for, and judged anew."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    gateway_says(loop, NOT_ACCEPTED)
    loop.run(60)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.VERIFYING, ["stuck"])
    assert NOT_ACCEPTED in loop.driver.rollout("production/cart/2").holds[0].text  # type: ignore[union-attr]
    attempt = loop.driver.rollout("production/cart/2").judged_attempt  # type: ignore[union-attr]
    gateway_says(loop, None)
    loop.run(1)
    assert loop.driver.rollout("production/cart/2").judged_attempt == attempt + 1  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_version_is_not_drained_while_the_gateway_says_that_its_weight_of_0_is_not_in_force() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    gateway_says(loop, NOT_ACCEPTED)
    loop.run(200)
    assert (held(loop, "cart/2"), loop.world.target("cart").versions["#1"].instances) == (["stuck"], 4)
    gateway_says(loop, None)
    until(loop, "cart/2", Phase.COMPLETED)


def test_weights_at_rest_that_the_gateway_says_are_not_in_force_are_told_to_people_and_no_rollout_begins_on_them() -> None:
    loop = shop()
    gateway_says(loop, NOT_ACCEPTED)
    loop.run(5)
    assert f"cart is not as it was left: not in force: {NOT_ACCEPTED}" in reasons(loop)
    loop.push("cart", 2)
    loop.run(20)
    assert phase(loop, "cart/2") is Phase.QUEUED
    gateway_says(loop, None)
    until(loop, "cart/2", Phase.COMPLETED)
