"""Telemetry that is silent, late or gone."""

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.simulation.loop import Loop
from tests.scenario.shop import held, phase, reasons, shop, until, weights


def test_silence_of_the_service_holds_with_its_reason() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.silent.add("cart")
    loop.run(60)
    assert held(loop, "cart/2") == ["no-data"]
    loop.judge.silent.clear()
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_late_pipeline_holds_then_returns_the_candidate_to_weight_zero_and_goes_on_when_it_flows() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.late = True
    loop.run(20)
    assert "blind" in held(loop, "cart/2")
    loop.run(120)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.PREPARING, {"#1": 100})
    loop.judge.telemetry.late = False
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_judge_that_stands_still_is_blindness_too() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    loop.run(180)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.PREPARING, ["blind"])


def _cut(seconds: float) -> Loop:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    loop.run(seconds)
    return loop


def test_whoever_promotes_what_is_held_blind_is_told_what_holds_it_and_what_to_type() -> None:
    for seconds, verb in ((70, "skip"), (180, "resume")):
        loop = _cut(seconds)
        assert held(loop, "cart/2") == ["blind"]
        loop.say(OverrideVerb.PROMOTE, service="cart", all_steps=True)
        said = loop.driver.reasons[-1].text if seconds > 100 else reasons(loop)
        assert "production/cart/2 is held still, which promote does not lift: no verdict for" in said
        assert f"next: ctrlplane-stream control {verb} production/cart/2 --why REASON" in said


def test_what_went_back_unseen_climbs_past_its_first_gate_once_somebody_says_skip() -> None:
    loop = _cut(180)
    loop.say(OverrideVerb.SKIP, service="cart")
    loop.run(15)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    assert (rollout.step, weights(loop, "cart")) == (1, {"#1": 50, "#2": 50})


def test_what_went_back_unseen_too_often_says_that_it_waits_for_a_person() -> None:
    loop = _cut(0)
    for _ in range(4):
        loop.judge.telemetry.cut = True
        loop.run(120)
        loop.judge.telemetry.cut = False
        loop.run(40)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    assert (rollout.phase, held(loop, "cart/2")) == (Phase.PREPARING, ["blind"])
    assert "telemetry was lost 4 times, so it climbs again only once somebody says resume" in (rollout.waiting_for or "")
    loop.say(OverrideVerb.RESUME, service="cart")
    until(loop, "cart/2", Phase.COMPLETED)
