"""Rollouts beside each other: what runs in parallel, what waits, and what a newer version does to an older one."""

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import Supersede
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import phase, shop, until, weights


def test_two_unrelated_releases_run_side_by_side() -> None:
    loop = shop()
    loop.push("cart", 2)
    loop.push("island", 2)
    loop.run(20)
    assert phase(loop, "cart/2") is not Phase.QUEUED
    assert phase(loop, "island/2") is not Phase.QUEUED
    until(loop, "cart/2", Phase.COMPLETED)
    until(loop, "island/2", Phase.COMPLETED)


def test_two_connected_releases_are_serialised_until_the_first_is_verified_at_full_weight() -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.push("cart", 2)
    loop.run(20)
    assert phase(loop, "cart/2") is Phase.QUEUED
    assert "cart -call-> pay joins them" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.PREPARING)
    assert phase(loop, "pay/2") in (Phase.BAKING, Phase.DRAINING, Phase.COMPLETED)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_newer_version_queues_behind_the_running_one_and_only_the_latest_is_kept() -> None:
    loop = shop()
    for number in (2, 3, 4):
        loop.push("cart", number)
    assert [phase(loop, f"cart/{n}") for n in (2, 3, 4)] == [Phase.PREPARING, Phase.REVERTED, Phase.QUEUED]
    until(loop, "cart/4", Phase.COMPLETED)
    assert phase(loop, "cart/2") is Phase.COMPLETED


def test_a_newer_version_restarts_the_running_one_where_the_policy_says_so() -> None:
    loop = shop(policy=replace(QUICK, supersede=Supersede.RESTART))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.push("cart", 3)
    assert phase(loop, "cart/2") is Phase.ABORTING
    until(loop, "cart/3", Phase.COMPLETED)


def test_a_hub_does_not_hold_up_its_callers() -> None:
    names = [f"c{i:02}" for i in range(25)]
    loop = Loop.of(catalog(*[service(n) for n in (*names, "hub")]))
    for name in (*names[:1], "hub"):
        loop.push(name, 1)
    loop.run(150)
    loop.edges(*[f"{name}>hub" for name in names])
    loop.push("hub", 2)
    loop.push(names[0], 2)
    loop.run(20)
    assert phase(loop, "c00/2") is not Phase.QUEUED


def test_a_queued_rollout_that_is_dropped_takes_nothing_from_the_one_that_moved_the_same_version() -> None:
    loop = shop(policy=replace(QUICK, supersede=Supersede.FINISH))
    loop.say(Say.FREEZE)
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    loop.say(Say.REVERT, service="pay", version="#2")
    loop.say(Say.UNFREEZE)
    until(loop, "cart/2", Phase.COMPLETED)
    until(loop, "pay/2", Phase.REVERTED)
    assert weights(loop, "pay") == {"#2": 100}
