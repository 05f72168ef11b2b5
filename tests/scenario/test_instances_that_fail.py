"""Versions whose instances fail by themselves, whatever any judge says: also after their bake, and also where none is left to say so."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.simulation.loop import QUICK, Loop
from ctrlplane_stream.simulation.world import Sickness
from tests.scenario.shop import old_version_being_parked, phase, reasons, shop, until, weights

LONG_DRAIN = replace(QUICK, drain_seconds=90, drain_limit_seconds=180)
"""A drain that lasts longer than the bake, so that it is not over with that."""


def fails(loop: Loop, how: str) -> None:
    """The new version of cart fails in this way, and the world says so."""
    version = loop.world.target("cart").versions["#2"]
    if how == "crashes":
        version.failure = "CrashLoopBackOff"
    elif how == "is not ready any more":
        version.lost = True
    elif how == "has no instance any more":
        version.instances = 0
    loop.tell_world("cart", WorldCause.READINESS, how)


@pytest.mark.parametrize("how", ["crashes", "is not ready any more", "has no instance any more"])
@pytest.mark.parametrize("at", [Phase.VERIFYING, Phase.BAKING, Phase.DRAINING])
def test_a_version_under_weight_that_fails_by_itself_is_reverted_also_after_its_bake(at: Phase, how: str) -> None:
    loop = shop(policy=LONG_DRAIN)
    loop.push("cart", 2)
    until(loop, "cart/2", at)
    loop.run(2)
    fails(loop, how)
    loop.run(2)
    assert weights(loop, "cart") == {"#1": 100}
    until(loop, "cart/2", Phase.REVERTED)
    target = loop.driver.target("cart")
    assert (target.stable, target.last_known_good.label if target.last_known_good else None) == ("#1", "#1")
    assert "cart #2 fails: " in (loop.driver.rollout("production/cart/2").stopped_because or "")  # type: ignore[union-attr]
    assert [declared.verdict.step for declared in loop.driver.declared][-1] == {Phase.VERIFYING: 0}.get(at, 3)
    assert loop.driver.notices[-1].event == "reverted"


def test_a_version_that_fails_while_its_old_one_is_being_parked_goes_back_once_that_is_ready_again() -> None:
    loop = old_version_being_parked()
    fails(loop, "crashes")
    loop.run(1)
    assert phase(loop, "cart/2") is Phase.ABORTING
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_first_version_that_fails_after_its_bake_stays_since_there_is_nothing_to_go_back_to() -> None:
    loop = shop(running=False)
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.BAKING)
    loop.world.mute.add("cart")
    until(loop, "cart/1", Phase.DRAINING)
    loop.world.target("cart").versions["#1"].failure = "CrashLoopBackOff"
    loop.world.mute.clear()
    loop.tell_world("cart", WorldCause.READINESS, "crashes")
    loop.run(60)
    assert (phase(loop, "cart/1"), weights(loop, "cart")) == (Phase.COMPLETED, {"#1": 100})


def test_a_forced_version_that_fails_after_its_bake_stays_until_somebody_aborts() -> None:
    loop = shop(policy=LONG_DRAIN)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FORCE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.DRAINING)
    fails(loop, "crashes")
    loop.run(10)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.DRAINING, {"#2": 100})
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)


@pytest.mark.parametrize("recovers", [True, False])
def test_an_old_version_is_kept_while_the_new_one_is_not_ready_whole_but_no_longer_than_the_drain_limit(recovers: bool) -> None:
    loop = shop(policy=LONG_DRAIN)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    version = loop.world.target("cart").versions["#2"]
    version.ready_at_ms, version.fresh = loop.now_ms + 60_000 if recovers else 2**62, 1
    loop.tell_world("cart", WorldCause.READINESS, "an instance went away")
    begun_ms = loop.now_ms
    loop.run(55)
    assert (phase(loop, "cart/2"), loop.world.target("cart").versions["#1"].instances) == (Phase.DRAINING, 4)
    assert "kept, since of #2 3 of 4 instances are ready" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.COMPLETED)
    parked = next(c for c in loop.driver.commands if c.verb is Verb.PARK)
    assert parked.target.service == "cart"
    seconds = (loop.now_ms - begun_ms) / 1000
    assert (seconds < 90) is recovers, reasons(loop)


@pytest.mark.parametrize("sickness", [Sickness.NEVER_READY, Sickness.CRASHES])
def test_people_are_told_of_what_went_back_before_it_had_any_weight(sickness: Sickness) -> None:
    loop = shop(policy=replace(QUICK, ready_timeout_seconds=60))
    loop.world.sick["cart", "#2"] = sickness
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert loop.driver.notices[-1].event == "reverted"
    assert loop.driver.notices[-1].text.startswith("production/cart/2 was reverted: ")
