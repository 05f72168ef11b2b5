"""Climbing: what opens a step, what keeps it shut, and what ends it."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.policy import Step, Unsure
from ctrlplane_stream.model.verdicts import INSTANCES, Culprit, VerdictStatus
from ctrlplane_stream.simulation.loop import QUICK
from ctrlplane_stream.simulation.world import Sickness
from tests.scenario.shop import held, phase, reasons, shop, until, weights


def test_a_good_release_climbs_every_step_bakes_and_parks_the_old_version() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    shifts = [
        c.wanted.weight("#2") for c in loop.driver.commands if c.verb is Verb.SHIFT and c.target.service == "cart" and c.wanted.weight("#2")
    ]
    assert shifts == [10, 50, 100]
    assert loop.driver.target("cart").stable == "#2"


def test_a_release_with_errors_is_reverted_at_its_first_step() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}
    assert max(c.wanted.weight("#2") for c in loop.driver.commands) == 10


def test_a_version_that_crashes_never_takes_weight() -> None:
    loop = shop()
    loop.world.sick["cart", "#2"] = Sickness.CRASHES
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert max(c.wanted.weight("#2") for c in loop.driver.commands) == 0


def test_a_version_that_never_becomes_ready_fails_after_its_timeout() -> None:
    loop = shop()
    loop.world.sick["cart", "#2"] = Sickness.NEVER_READY
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert "not ready after" in (loop.driver.rollout("production/cart/2").stopped_because or "")  # type: ignore[union-attr]


def test_a_candidate_that_loses_readiness_under_weight_fails_without_telemetry() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    loop.world.target("cart").versions["#2"].lost = True
    loop.tell_world("cart", WorldCause.READINESS)
    until(loop, "cart/2", Phase.REVERTED, 200)


@pytest.mark.parametrize(("crashes", "step"), [(True, 0), (False, 1)])
def test_instances_that_fail_say_so_where_judges_do(crashes: bool, step: int) -> None:
    """Once, of the step that it was, with the version that carries the harm and no metric; heard as a fact it changes nothing more."""
    loop = shop()
    if crashes:
        loop.world.sick["cart", "#2"] = Sickness.CRASHES
    loop.push("cart", 2)
    if not crashes:
        while (climbing := loop.driver.rollout("production/cart/2")) is None or climbing.step < step:
            loop.run(1)
        loop.world.target("cart").versions["#2"].lost = True
        loop.tell_world("cart", WorldCause.READINESS)
    until(loop, "cart/2", Phase.REVERTED, 200)
    (said,) = (declared.verdict for declared in loop.driver.declared)
    assert (said.judge, said.status, said.step, said.window, said.metrics) == (INSTANCES, VerdictStatus.FAIL, step, None, ())
    assert said.culprit == Culprit("cart", "#2")
    assert said.reason == loop.driver.rollout("production/cart/2").stopped_because  # type: ignore[union-attr]
    assert f"ignored: {INSTANCES} on production/cart/2: it is " in reasons(loop)


def test_an_unprovable_step_is_left_unproven_and_marked_where_the_policy_soaks() -> None:
    loop = shop(policy=replace(QUICK, steps=(Step(10, 10, 60), Step(100, 10, 60))))
    loop.judge.unsure.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.driver.rollout("production/cart/2").unproven == (0, 1, 2)  # type: ignore[union-attr]


@pytest.mark.parametrize("answer", [Unsure.SOAK, Unsure.HOLD])
def test_a_step_in_doubt_is_held_and_nothing_soaks_through_it(answer: Unsure) -> None:
    """It is not traffic that is missing: evidence speaks for harm, and more of it settles that, or a person."""
    loop = shop(policy=replace(QUICK, on_unprovable=answer))
    loop.judge.doubted.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(QUICK.steps[0].max_seconds - 30)
    assert held(loop, "cart/2") == []
    loop.run(400)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == (["doubted"], {"#1": 90, "#2": 10})
    (notice,) = loop.driver.notices
    assert "not for want of traffic: neither harm nor its absence is shown" in notice.text
    assert notice.next_command == "ctrlplane-stream control promote production/cart/2 --why REASON"
    loop.judge.doubted.clear()
    until(loop, "cart/2", Phase.COMPLETED)


def test_whoever_knows_better_promotes_a_step_in_doubt_and_only_that() -> None:
    loop = shop()
    loop.judge.doubted.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(60)
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    loop.run(QUICK.steps[0].max_seconds + 30)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == (["doubted"], {"#1": 50, "#2": 50})


def test_a_bake_in_doubt_keeps_the_old_version_until_harm_is_proven() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.judge.doubted.add("cart")
    loop.run(2 * QUICK.bake_seconds)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.BAKING, [])
    assert "waits for its doubt to be settled" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_bake_whose_doubt_stays_is_prolonged_by_a_step_and_then_held_for_a_person() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.judge.doubted.add("cart")
    loop.run(QUICK.bake_seconds + QUICK.steps[-1].max_seconds - 20)
    assert held(loop, "cart/2") == []
    loop.run(40)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.BAKING, ["doubted"])
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_doubt_that_nobody_settles_is_reverted_at_its_deadline() -> None:
    loop = shop()
    loop.judge.doubted.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(QUICK.steps[0].max_seconds + QUICK.hold_deadline_seconds + 100)
    assert phase(loop, "cart/2") is Phase.REVERTED


def test_approval_gates_wait_for_a_person() -> None:
    loop = shop(policy=replace(QUICK, auto_promote=False))
    loop.say(Say.PROMOTE, all_steps=True)
    loop.run(100)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(120)
    assert held(loop, "cart/2") == ["approval"]
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}


def test_a_promote_passes_no_failure() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#1"))
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.run(60)
    loop.say(Say.RESUME, rollout="production/cart/1")
    loop.say(Say.PROMOTE, rollout="production/cart/1", all_steps=True)
    loop.run(60)
    assert phase(loop, "cart/1") is Phase.VERIFYING


def test_a_hold_past_its_deadline_is_reverted_and_gives_up_its_place() -> None:
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=100.0))
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/pay/2")
    loop.push("cart", 2)
    until(loop, "pay/2", Phase.REVERTED)
    until(loop, "cart/2", Phase.COMPLETED)


def test_every_command_names_its_reason_and_no_ended_rollout_is_left_moving() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert all(isinstance(c, Command) and c.because for c in loop.driver.commands)
    assert all(r.phase in ENDED for r in loop.driver.rollouts)


def test_arrivals_that_contradict_the_weight_hold_a_step_and_nothing_soaks_through_it() -> None:
    """The policy soaks what cannot be proven; but a weight that does not reach the traffic has proven nothing at all, however long."""
    loop = shop()
    loop.judge.bypassed.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(int(3 * QUICK.steps[0].max_seconds - QUICK.hold_deadline_seconds / 2))
    assert held(loop, "cart/2") == ["contradicted"]
    assert "arrivals do not follow the weight" in reasons(loop)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.judge.bypassed.clear()
    until(loop, "cart/2", Phase.COMPLETED)


def test_whoever_knows_better_promotes_a_step_that_arrivals_contradict() -> None:
    loop = shop()
    loop.judge.bypassed.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(60)
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    loop.run(30)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}
