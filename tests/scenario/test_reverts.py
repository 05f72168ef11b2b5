"""A revert goes first: what a person returns to waits for nothing but what moves the service, and says what it waits for."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import CatalogApplied, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import MaintenanceWindow, Supersede, Unsure
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import SHOP, held, phase, reasons, shop, until, weights


def _with_two_good_versions(**policy: object) -> Loop:
    loop = shop(policy=replace(QUICK, **policy))  # type: ignore[arg-type]
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    return loop


def test_a_revert_passes_a_freeze_and_names_it() -> None:
    loop = _with_two_good_versions()
    loop.say(Say.FREEZE)
    loop.say(Say.REVERT, service="cart")
    assert "cart returns to #1: production/cart/1; all of production is frozen by ada until somebody unfreezes it" in reasons(loop)
    until(loop, "cart/1", Phase.COMPLETED, 120)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_revert_waits_for_no_maintenance_window() -> None:
    loop = _with_two_good_versions()
    closed = MaintenanceWindow((0,), 0, 1)
    loop.give(CatalogApplied(catalog(*[service(n, replace(QUICK, maintenance=(closed,))) for n in (*SHOP, "island")]), "h2", "ada"))
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED, 120)


def test_a_revert_does_not_wait_until_the_time_after_a_revert_is_over() -> None:
    loop = _with_two_good_versions(hold_after_revert_seconds=3_000)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/3", Phase.REVERTED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED, 120)


@pytest.mark.parametrize("word", [Say.FORCE, Say.RETRY])
def test_a_persons_word_ends_the_time_after_a_revert(word: Say) -> None:
    loop = _with_two_good_versions(hold_after_revert_seconds=3_000)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/3", Phase.REVERTED)
    loop.push("cart", 4)
    loop.run(60)
    assert phase(loop, "cart/4") is Phase.QUEUED
    assert "unless somebody forces it" in (loop.driver.rollout("production/cart/4").waiting_for or "")  # type: ignore[union-attr]
    if word is Say.FORCE:
        loop.say(Say.FORCE, rollout="production/cart/4")
    else:
        loop.say(Say.ABORT, rollout="production/cart/4")
        loop.run(5)
        loop.say(Say.RETRY, rollout="production/cart/4")
    until(loop, "cart/4", Phase.PREPARING, 60)


def test_what_climbs_next_to_a_revert_stands_still_until_that_has_all_traffic() -> None:
    loop = _with_two_good_versions()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.say(Say.REVERT, service="cart")
    loop.run(3)
    assert held(loop, "pay/2") == ["lets-pass"]
    before = weights(loop, "pay")
    until(loop, "cart/1", Phase.VERIFYING, 120)
    assert weights(loop, "pay") == before
    loop.run(1)
    assert held(loop, "pay/2") == []
    until(loop, "pay/2", Phase.COMPLETED)


def test_a_neighbour_that_is_paused_does_not_keep_a_revert() -> None:
    loop = _with_two_good_versions()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/pay/2")
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED, 120)
    assert held(loop, "pay/2") == ["pause"]


def test_two_reverts_next_to_each_other_go_side_by_side() -> None:
    loop = _with_two_good_versions()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    loop.say(Say.REVERT, service="pay")
    until(loop, "cart/1", Phase.COMPLETED, 120)
    until(loop, "pay/1", Phase.COMPLETED, 30)


@pytest.mark.parametrize("supersede", list(Supersede))
def test_a_revert_withdraws_what_waits_and_stops_what_climbs_whatever_the_policy_says_of_superseding(supersede: Supersede) -> None:
    loop = _with_two_good_versions(supersede=supersede)
    for number in (3, 4):
        loop.push("cart", number)
        loop.run(15)
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.COMPLETED)
    loop.run(200)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("at", [Phase.QUEUED, Phase.VERIFYING])
def test_a_push_does_not_put_an_end_to_a_revert(at: Phase) -> None:
    loop = _with_two_good_versions(supersede=Supersede.RESTART)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.actuation_seconds = 5
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", at)
    loop.push("cart", 4)
    until(loop, "cart/1", Phase.COMPLETED)
    until(loop, "cart/4", Phase.COMPLETED)


def test_what_queues_next_to_a_revert_that_waits_for_its_service_does_not_begin_before_it() -> None:
    loop = _with_two_good_versions()
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.push("pay", 2)
    loop.actuation_seconds = 5
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.PREPARING)
    assert phase(loop, "pay/2") is Phase.QUEUED
    until(loop, "pay/2", Phase.COMPLETED)


def test_a_revert_to_what_still_drains_stops_the_rollout_that_left_it() -> None:
    loop = shop(policy=replace(QUICK, drain_seconds=120, drain_limit_seconds=300))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    decision = loop.say(Say.REVERT, service="cart")
    assert decision is not None
    assert "cart returns to #1: production/cart/2, in which that still drains, goes back" in decision.reasons[-1].text
    loop.run(10)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_revert_over_an_edit_by_hand_says_what_it_waits_for() -> None:
    loop = _with_two_good_versions()
    loop.world.edit("cart", {"#1": 60, "#2": 40}, "bob: 60% for a look")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "bob")
    loop.run(1)
    loop.say(Say.REVERT, service="cart")
    assert "cart returns to #1: production/cart/1, once this is over: cart was edited by hand" in reasons(loop)
    loop.say(Say.RESUME, service="cart")
    until(loop, "cart/1", Phase.COMPLETED, 120)


def test_what_is_said_of_a_rollout_that_queues_names_what_it_waits_for_all_the_same() -> None:
    loop = shop()
    loop.say(Say.FREEZE)
    loop.push("cart", 2)
    loop.say(Say.FORCE, rollout="production/cart/2")
    assert "production/cart/2 waits still: all of production is frozen by ada" in reasons(loop)


def test_a_version_without_one_ready_instance_is_not_kept_though_it_was_forced_and_unsafe() -> None:
    """Its word sends it traffic; it makes it no last known good, for which the old one would be given up and others promoted to."""
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=600))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FORCE, rollout="production/cart/2", unsafe=True)
    until(loop, "cart/2", Phase.BAKING)
    loop.world.target("cart").versions["#2"].lost = True
    loop.tell_world("cart", WorldCause.READINESS, "instances went away")
    loop.run(200)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.BAKING, ["not-ready"])
    assert "cart #2 has no ready instance, and the old one stays until it has" in loop.driver.notices[-1].text
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("why", ["blind", "silent", "paused"])
def test_a_revert_that_has_all_traffic_is_taken_back_by_no_time_and_people_are_told_again(why: str) -> None:
    """It would go back to what somebody found bad."""
    loop = _with_two_good_versions(hold_deadline_seconds=120, on_no_data=Unsure.HOLD)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.VERIFYING, 60)
    if why == "blind":
        loop.judge.telemetry.cut = True
    elif why == "silent":
        loop.judge.silent.add("cart")
    else:
        loop.say(Say.PAUSE, rollout="production/cart/1")
    known = len(loop.driver.notices)
    loop.run(900)
    assert weights(loop, "cart") == {"#1": 100}
    assert len(held(loop, "cart/1")) == 1
    assert len([n for n in loop.driver.notices[known:] if n.event == "held"]) > 3


def test_a_revert_of_which_no_instance_is_left_goes_back() -> None:
    loop = _with_two_good_versions()
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.VERIFYING, 60)
    loop.world.target("cart").versions["#1"].failure = "crashes"
    loop.tell_world("cart", WorldCause.READINESS, "its instances crash")
    until(loop, "cart/1", Phase.REVERTED, 120)
    assert weights(loop, "cart") == {"#2": 100}
