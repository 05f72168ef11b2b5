"""What operators say, and what the machine makes of it."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import CatalogApplied, OverrideRequested
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import MaintenanceWindow
from ctrlplane_stream.simulation.loop import QUICK, catalog, service
from tests.scenario.shop import SHOP, held, phase, reasons, shop, until, weights


def test_a_pause_holds_in_place_and_resume_goes_on() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    loop.run(120)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, ["pause"], {"#1": 90, "#2": 10})
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("at", [Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.DRAINING])
def test_an_abort_in_any_phase_ends_on_the_old_version(at: Phase) -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", at)
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.driver.target("cart").last_known_good.label == "#1"  # type: ignore[union-attr]


def test_an_abort_of_a_queued_rollout_ends_it_without_a_command() -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.push("cart", 2)
    loop.say(Say.ABORT, rollout="production/cart/2")
    assert phase(loop, "cart/2") is Phase.REVERTED
    assert all(c.target.service != "cart" or not c.wanted.weight("#2") for c in loop.driver.commands)


def test_force_passes_the_gates_and_says_so() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FORCE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert any(n.event == "forced" for n in loop.driver.notices)


def test_skip_passes_one_gate_only() -> None:
    loop = shop()
    loop.judge.unsure.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.SKIP, rollout="production/cart/2")
    loop.run(25)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, {"#1": 50, "#2": 50})


def test_freezes_stop_steps_and_end_by_their_date() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FREEZE, service="cart", expires_ms=loop.now_ms + 100_000)
    loop.run(80)
    assert "frozen" in held(loop, "cart/2")
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_freeze_keeps_new_rollouts_in_the_queue() -> None:
    loop = shop()
    loop.say(Say.FREEZE)
    loop.push("cart", 2)
    loop.run(60)
    assert phase(loop, "cart/2") is Phase.QUEUED
    loop.say(Say.UNFREEZE)
    until(loop, "cart/2", Phase.COMPLETED)


def test_nothing_starts_outside_the_maintenance_windows() -> None:
    loop = shop()
    closed = MaintenanceWindow((0,), 0, 1)
    loop.give(CatalogApplied(catalog(*[service(n, replace(QUICK, maintenance=(closed,))) for n in (*SHOP, "island")]), "h2", "ada"))
    loop.push("cart", 2)
    loop.run(60)
    assert phase(loop, "cart/2") is Phase.QUEUED
    assert "maintenance" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]


def test_a_pinned_service_is_numbered_and_not_moved_until_it_is_retried() -> None:
    loop = shop()
    loop.say(Say.PIN, service="cart")
    loop.push("cart", 2)
    loop.run(20)
    assert loop.driver.rollout("production/cart/2") is None
    loop.say(Say.UNPIN, service="cart")
    loop.say(Say.RETRY, service="cart")
    until(loop, "cart/2", Phase.COMPLETED)


def test_retry_reruns_a_reverted_version_with_another_attempt() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.judge.faulty.clear()
    loop.say(Say.RETRY, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.driver.rollout("production/cart/2").attempt == 2  # type: ignore[union-attr]


def test_revert_returns_to_an_earlier_version_make_before_break() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_revert_that_fails_is_held_and_never_itself_reverted() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#1"))
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.run(120)
    assert held(loop, "cart/1") == ["revert-fails"]


def test_an_override_is_carried_out_once_per_id() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    fact = OverrideRequested("x1", Say.SKIP, "ada", "because", rollout="production/cart/2")
    loop.give(fact)
    loop.give(fact)
    assert "was answered before" in reasons(loop)


def test_revert_without_a_version_goes_to_the_last_one_that_was_good_and_never_to_one_that_was_reverted() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}
    decision = loop.say(Say.REVERT, service="cart")
    assert decision is not None
    assert "has no version before its stable one" in decision.reasons[0].text


def test_revert_to_any_earlier_version_works_also_when_it_was_deleted_long_ago() -> None:
    loop = shop()
    for number in (2, 3):
        loop.push("cart", number)
        until(loop, f"cart/{number}", Phase.COMPLETED)
    loop.run(1000)
    assert loop.driver.target("cart").wanted("#1") is None
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}
