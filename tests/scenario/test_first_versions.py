"""The first versions of a service, and services that nobody knows yet."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.policy import OnDrift, Unsure
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import held, phase, reasons, shop, until, weights


def test_the_first_version_ever_goes_to_full_weight_when_ready_and_becomes_last_known_good() -> None:
    loop = shop(running=False)
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.driver.target("cart").last_known_good.label == "#1"  # type: ignore[union-attr]


def test_first_versions_step_together_but_not_in_the_window_in_which_another_release_does() -> None:
    """A new environment is not started one service a window; what is served already is not harmed by two at once."""
    loop = Loop.of(catalog(*[service(name) for name in ("cart", "island", "pay")]))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    for name, number in (("cart", 2), ("island", 1), ("pay", 1)):
        loop.push(name, number)
    loop.run(30)
    stepped = {}
    for id_ in ("cart/2", "island/1", "pay/1"):
        rollout = loop.driver.rollout(f"production/{id_}")
        assert rollout is not None
        stepped[id_] = next(passage.at_ms for passage in rollout.timeline if passage.phase is Phase.SHIFTING) // 10_000
    assert stepped["cart/2"] < stepped["island/1"] == stepped["pay/1"]


def test_a_first_version_that_fails_is_held_at_weight_zero_and_says_so() -> None:
    loop = shop(running=False)
    loop.judge.faulty.add(("cart", "#1"))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.REVERTED)
    assert weights(loop, "cart") == {}
    assert "no last known good" in loop.driver.notices[-1].text


def test_a_first_version_that_baked_is_what_its_target_falls_back_to() -> None:
    loop = Loop.of(catalog(service("cart")))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    assert loop.world.target("cart").stable == "#1"


def test_an_abort_takes_nothing_from_a_first_version_that_has_baked() -> None:
    """It only waits for the world to show it as stable; there is nothing to go back to, and it serves."""
    loop = Loop.of(catalog(service("cart")))
    loop.actuation_seconds = 3
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.DRAINING)
    decision = loop.say(Say.ABORT)
    assert decision is not None
    assert "there is nothing to go back to" in decision.reasons[-1].text
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_broken_glass_empties_a_first_version_only_where_its_target_does_not_know_it_as_stable_yet(known: bool, in_place: bool) -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, in_place=in_place))))
    loop.actuation_seconds = 3
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.DRAINING)
    if known:
        loop.world.mute.add("cart")
        loop.run(5)
        loop.world.mute.clear()
    assert loop.world.target("cart").stable == ("#1" if known else None)
    assert loop.world.break_glass("cart", "by ada")
    loop.tell_world("cart", WorldCause.BREAK_GLASS, "by ada")
    until(loop, "cart/1", Phase.COMPLETED if known else Phase.REVERTED)
    assert weights(loop, "cart") == ({"#1": 100} if known else {})
    if not known:
        assert "no last known good" in loop.driver.notices[-1].text
        loop.say(Say.RETRY, service="cart")
        until(loop, "cart/1", Phase.COMPLETED)


def test_a_lease_on_a_hands_weights_empties_a_first_version_that_its_target_does_not_know_as_stable_yet() -> None:
    """It went to stable, which is nothing, and takes nothing that raises the version before it was told that this has no weight."""
    loop = Loop.of(catalog(service("cart")))
    loop.judge.faulty.add(("cart", "#1"))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.REVERTED)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    loop.actuation_seconds = 3
    until(loop, "cart/2", Phase.DRAINING)
    loop.world.broken.add("cart")
    loop.world.edit("cart", {"#1": 15, "#2": 85}, "weight 15")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 15")
    loop.run(5)
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.run(60)
    assert (weights(loop, "cart"), phase(loop, "cart/2")) == ({}, Phase.ABORTING)
    loop.world.broken.clear()
    until(loop, "cart/2", Phase.REVERTED)
    loop.say(Say.RETRY, service="cart")
    until(loop, "cart/2", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#2": 100}


def test_a_service_never_seen_waits_for_a_person_where_the_policy_says_hold() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, on_unknown_service=Unsure.HOLD))))
    loop.push("cart", 1)
    loop.run(30)
    assert held(loop, "cart/1") == ["approval"]
    loop.say(Say.PROMOTE, rollout="production/cart/1")
    until(loop, "cart/1", Phase.COMPLETED)


def test_a_service_never_seen_is_not_begun_where_the_policy_says_abort_until_somebody_says_retry() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, on_unknown_service=Unsure.ABORT))))
    loop.push("cart", 1)
    loop.run(5)
    assert (phase(loop, "cart/1"), weights(loop, "cart")) == (Phase.REVERTED, {})
    assert "not begun: cart was never seen in a trace" in reasons(loop)
    loop.say(Say.RETRY, rollout="production/cart/1")
    until(loop, "cart/1", Phase.COMPLETED)


def test_a_service_never_seen_is_not_begun_either_where_its_release_gave_way_to_it() -> None:
    """Its set cannot move on as a whole, since the other is pinned: the newer version is taken up alone, and refused at once."""
    loop = Loop.of(catalog(service("cart", QUICK), service("mail", replace(QUICK, on_unknown_service=Unsure.ABORT))))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    loop.push("cart", 2)
    for name in ("cart", "mail"):
        loop.push(name, 3, release="r1", release_size=2)
    loop.say(Say.PIN, service="cart", version="#1")
    loop.push("mail", 4)
    assert (phase(loop, "cart/3"), phase(loop, "mail/2")) == (Phase.REVERTED, Phase.REVERTED)
    assert "not begun: mail was never seen in a trace" in reasons(loop)


def test_first_versions_in_waves_all_go_when_glass_is_broken_on_one_that_did_not_know_of_its_bake() -> None:
    """The turn of the first wave comes when the glass is whole again: what was stable for a moment is taken back all the same."""
    loop = Loop.of(catalog(service("cart", QUICK), service("pay", QUICK)))
    loop.edges("cart>pay")
    for name in ("cart", "pay"):
        loop.push(name, 1, release="r1", release_size=2)
    loop.run(2)
    loop.actuation_seconds = 4
    until(loop, "cart/1", Phase.DRAINING)
    loop.world.break_glass("cart", "by ada")
    loop.tell_world("cart", WorldCause.BREAK_GLASS, "by ada")
    until(loop, "cart/1", Phase.REVERTED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({}, {})


def gone_back_from(**policy: object) -> Loop:
    """A first version that failed and is parked, for two minutes."""
    loop = shop(running=False, policy=replace(QUICK, retention_seconds=120, **policy))
    loop.judge.faulty.add(("cart", "#1"))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.REVERTED)
    loop.judge.faulty.clear()
    return loop


@pytest.mark.parametrize("on_drift", OnDrift)
@pytest.mark.parametrize("said", [True, False])
def test_what_was_gone_back_from_and_is_put_into_service_all_the_same_serves_until_somebody_says_resume(
    said: bool, on_drift: OnDrift
) -> None:
    """By a hand that says so and releases its edit, or by one that says nothing: there is no stable version that would serve instead."""
    loop = gone_back_from(on_drift=on_drift)
    loop.world.edit("cart", {"#1": 100}, "weight 100")
    if said:
        loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 100")
        loop.run(30)
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "#1 went from 0 to 100")
    loop.run(300)
    assert loop.world.target("cart").versions["#1"].weight == 100
    assert "cart is not as it was left" in loop.driver.notices[-1].text
    loop.push("cart", 2)
    loop.run(30)
    assert held(loop, "cart/2") == ["drift"]
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.world.target("cart").versions["#2"].weight == 100
    loop.run(300)
    assert "#1" not in loop.world.target("cart").versions


def test_what_takes_requests_is_not_deleted_while_an_earlier_deletion_is_under_way() -> None:
    loop = gone_back_from()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.world.mute.add("cart")
    while loop.driver.commands[-1].verb is not Verb.DELETE:
        loop.run(1)
    loop.world.edit("cart", {"#2": 100}, "weight 100")
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.READINESS, "looked at")
    loop.run(300)
    assert "cart #2 has drained again, and is parked" in reasons(loop)


@pytest.mark.parametrize("why", ["blind", "paused", "frozen"])
def test_a_first_version_that_serves_is_taken_out_of_service_by_no_deadline_and_people_are_told_again(why: str) -> None:
    """There is nothing to go back to: its service would be down."""
    loop = shop(running=False, policy=replace(QUICK, hold_deadline_seconds=120))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.VERIFYING)
    if why == "blind":
        loop.judge.telemetry.cut = True
    else:
        loop.say(Say.PAUSE if why == "paused" else Say.FREEZE, service="cart")
    loop.run(900)
    assert weights(loop, "cart") == {"#1": 100}
    assert len([n for n in loop.driver.notices if n.event == "held"]) > 3


def test_a_first_version_that_is_held_past_its_deadline_gives_up_its_place_though_it_stays() -> None:
    loop = shop(running=False, policy=replace(QUICK, hold_deadline_seconds=120))
    loop.edges("cart>pay")
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.VERIFYING)
    loop.say(Say.PAUSE, service="cart")
    loop.push("pay", 1)
    loop.run(60)
    assert phase(loop, "pay/1") is Phase.QUEUED
    until(loop, "pay/1", Phase.COMPLETED)
    assert phase(loop, "cart/1") is Phase.VERIFYING
