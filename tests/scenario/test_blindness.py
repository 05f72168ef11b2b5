"""Telemetry that is silent, late or gone."""

from ctrlplane_stream.decision.phases import Phase
from tests.scenario.shop import held, phase, shop, until, weights


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
