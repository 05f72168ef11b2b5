"""Rollouts beside each other: what runs in parallel, what waits, and what a newer version does to an older one."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.entities import VersionSet
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import CatalogApplied, ReleaseOrder, VerdictGiven
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import Supersede
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Comparison, Culprit, GuardRole, Metric, MetricEvidence, Verdict, VerdictStatus
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import SHOP, held, phase, reasons, shop, until, weights


def hub_and_callers() -> Loop:
    """A hub that 25 services call, of which ``c00`` runs, as the hub does."""
    callers = [f"c{i:02}" for i in range(25)]
    loop = Loop.of(catalog(*[service(name) for name in (*callers, "hub")]))
    for name in ("c00", "hub"):
        loop.push(name, 1)
    loop.run(150)
    loop.edges(*[f"{name}>hub" for name in callers])
    return loop


def two_under_one_caller() -> Loop:
    """``cart`` and then ``stock`` under way, neither in the other's way: ``front`` calls both."""
    loop = shop()
    for name in ("cart", "stock"):
        loop.push(name, 2)
        until(loop, f"{name}/2", Phase.VERIFYING)
    return loop


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


@pytest.mark.parametrize(("newer", "id_"), [("cart", "cart/3"), ("front", "front/3")])
def test_a_release_that_starts_over_for_a_newer_version_of_one_member_takes_the_others_along(newer: str, id_: str) -> None:
    """Also where the release that goes back has the id that the new set would have."""
    loop = shop(policy=replace(QUICK, supersede=Supersede.RESTART))
    for name in ("cart", "front"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.push(newer, 3)
    until(loop, "cart/2", Phase.REVERTED)
    until(loop, id_, Phase.COMPLETED)
    served = {name: weights(loop, name) for name in ("cart", "front")}
    assert served == {"cart": {"#2": 100}, "front": {"#2": 100}} | {newer: {"#3": 100}}
    assert [n.next_command for n in loop.driver.notices if n.event == "reverted"] == ["ctrlplane-stream rollout production/cart/2"]


def test_a_hub_does_not_hold_up_its_callers() -> None:
    loop = hub_and_callers()
    loop.push("hub", 2)
    loop.push("c00", 2)
    loop.run(20)
    assert phase(loop, "c00/2") is not Phase.QUEUED


def test_an_old_one_in_the_queue_is_overtaken_by_younger_ones_until_it_has_waited_long() -> None:
    loop = shop()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/pay/2")
    loop.push("cart", 2)
    queued_ms = loop.now_ms
    loop.push("front", 2)
    loop.run(20)
    assert (phase(loop, "cart/2"), phase(loop, "front/2")) == (Phase.QUEUED, Phase.VERIFYING)
    until(loop, "front/2", Phase.COMPLETED)
    while loop.now_ms < queued_ms + 610_000:
        loop.run(1)
    loop.push("front", 3)
    loop.run(20)
    assert "waits until production/cart/2 is verified at 100" in (loop.driver.rollout("production/front/3").waiting_for or "")  # type: ignore[union-attr]
    loop.say(Say.RESUME)
    for id_ in ("pay/2", "cart/2", "front/3"):
        until(loop, id_, Phase.COMPLETED)


def test_a_harm_on_a_shared_guard_that_nobody_is_blamed_for_stops_both_and_reverts_the_last_to_step() -> None:
    loop = two_under_one_caller()
    give_shared_failure(loop, "cart/2", culprit=None)
    assert (phase(loop, "stock/2"), held(loop, "cart/2")) == (Phase.ABORTING, ["beside"])
    until(loop, "stock/2", Phase.REVERTED)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_harm_on_a_shared_guard_reverts_the_one_that_exposure_blames() -> None:
    loop = two_under_one_caller()
    give_shared_failure(loop, "stock/2", culprit=Culprit("cart", "#2", Metric.ERROR_RATIO))
    assert phase(loop, "stock/2") is not Phase.ABORTING or phase(loop, "cart/2") is Phase.ABORTING
    until(loop, "cart/2", Phase.REVERTED)
    until(loop, "stock/2", Phase.COMPLETED)


def test_a_harm_on_a_shared_guard_waits_for_one_that_goes_back_already() -> None:
    """Which may be the whole of it: the healthy one, which stepped last, went back besides."""
    loop = two_under_one_caller()
    loop.say(Say.ABORT, rollout="production/cart/2")
    give_shared_failure(loop, "stock/2", culprit=None)
    assert (phase(loop, "cart/2"), held(loop, "stock/2")) == (Phase.ABORTING, ["beside"])
    until(loop, "cart/2", Phase.REVERTED)
    until(loop, "stock/2", Phase.COMPLETED)


def test_what_waits_to_return_to_what_serves_is_not_beside_what_fails() -> None:
    """Its candidate has weight, since it serves, and is nobody's risk."""
    loop = shop()
    entries = [service(name) for name in (*SHOP, "island")]
    changed = [replace(s, configuration={"limit": "5"}) if s.service == "cart" else s for s in entries]
    loop.give(CatalogApplied(catalog(*changed), "h2", "ada"))
    until(loop, "cart/2", Phase.VERIFYING)
    loop.give(CatalogApplied(catalog(*entries), "h3", "ada"))
    give_shared_failure(loop, "cart/2", None)
    waits = loop.driver.rollout("production/cart/1")
    assert waits is not None
    assert (phase(loop, "cart/2"), waits.phase, waits.beside) == (Phase.ABORTING, Phase.QUEUED, None)


def test_a_verdict_that_names_another_environment_is_not_heard_though_it_names_a_rollout_of_this_one() -> None:
    loop = two_under_one_caller()
    give_shared_failure(loop, "cart/2", None, environment="staging")
    assert loop.driver.reasons[-1].text.endswith("it names environment staging, and this is production")
    assert (phase(loop, "cart/2"), phase(loop, "stock/2")) == (Phase.VERIFYING, Phase.VERIFYING)


def give_shared_failure(loop: Loop, id_: str, culprit: Culprit | None, environment: str = "production") -> None:
    """The judge fails a rollout on its caller front, which watches both."""
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None
    harmed = MetricEvidence(
        name=Metric.ERROR_RATIO, guard="front", role=GuardRole.CALLER, comparison=Comparison.BASELINE, status=VerdictStatus.FAIL
    )
    verdict = Verdict(
        judge=OUR_JUDGE,
        environment=environment,
        rollout=rollout.id,
        step=rollout.step,
        attempt=rollout.judged_attempt,
        status=VerdictStatus.FAIL,
        reason="front breaks",
        metrics=(harmed,),
        culprit=culprit,
    )
    loop.give(VerdictGiven(verdict))


def test_at_a_hub_the_pair_of_candidates_is_an_arm_of_its_own() -> None:
    loop = hub_and_callers()
    loop.push("hub", 2)
    until(loop, "hub/2", Phase.VERIFYING)
    loop.push("c00", 2)
    until(loop, "c00/2", Phase.VERIFYING)
    asked = [a.assignment for a in loop.driver.assignments if a.assignment.rollout == "production/c00/2"]
    assert [(c.service, c.version) for c in asked[-1].concurrent] == [("hub", "#2")]


def test_a_newer_version_waits_for_the_running_one_to_finish_and_none_is_dropped_where_the_policy_finishes() -> None:
    loop = shop(policy=replace(QUICK, supersede=Supersede.FINISH))
    for number in (2, 3, 4):
        loop.push("cart", number)
    for number in (2, 3, 4):
        until(loop, f"cart/{number}", Phase.COMPLETED, 1500)


def test_a_newer_version_of_one_member_of_a_queued_release_moves_with_the_others() -> None:
    """The queued set goes on under its own id, which its first member gave it, and what it moved is not forgotten."""
    loop = shop()
    loop.push("cart", 2)
    loop.run(5)
    for name, number in (("cart", 3), ("pay", 2)):
        loop.push(name, number, release="r1", release_size=2)
    loop.say(Say.PAUSE, rollout="production/cart/3")
    loop.push("pay", 3)
    assert held(loop, "cart/3") == ["pause"]
    loop.say(Say.RESUME, rollout="production/cart/3")
    until(loop, "cart/3", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#3": 100}, {"#3": 100})


def test_a_superseded_release_goes_on_in_its_order_and_under_its_name() -> None:
    """Or the callee that a removal takes away would go first, and the environment after this one would get the members one by one."""
    loop = shop()
    loop.push("cart", 2)
    loop.run(5)
    for name, number in (("cart", 3), ("front", 2)):
        loop.push(name, number, release="r1", release_size=2, order=ReleaseOrder.CALLERS_FIRST)
    loop.push("front", 3)
    version_set = loop.driver.state.find("set/production/cart/3", VersionSet)
    assert version_set is not None
    assert (version_set.release, version_set.order) == ("r1", ReleaseOrder.CALLERS_FIRST)
    until(loop, "cart/3", Phase.COMPLETED)


def test_a_release_of_which_one_member_serves_already_moves_the_others() -> None:
    loop = shop()
    for name in ("cart", "front"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    loop.say(Say.RETRY, service="front")
    assert "production/front/2 is tried again; not so cart #2, moved together with it before: retry by service" in reasons(loop)
    until(loop, "front/2", Phase.COMPLETED)
    loop.say(Say.RETRY, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert "production/cart/2 goes on without front #2, stable already" in reasons(loop)
    assert (weights(loop, "cart"), weights(loop, "front")) == ({"#2": 100}, {"#2": 100})


def test_a_set_that_is_refused_takes_nothing_from_the_queue() -> None:
    """A queued release and a newer version that would close a cycle of versions which do not get on."""
    loop = shop()
    loop.edges("pay>cart")
    loop.push("cart", 2)
    loop.run(5)
    loop.push("pay", 2)
    loop.push("cart", 3, release="r1", release_size=2)
    loop.push("pay", 3, release="r1", release_size=2)
    assert "call each other and change together" in reasons(loop)
    until(loop, "pay/2", Phase.COMPLETED)


def test_who_waits_looks_again_where_the_other_was_queued_anew_behind_it() -> None:
    """A release that had aged was waited for, and took a place anew with another configuration: each waited for the other for ever."""
    patient = replace(QUICK, hold_deadline_seconds=86_400.0)

    def configured(**of_b: str) -> CatalogApplied:
        return CatalogApplied(
            catalog(*(service(n, patient, configuration=of_b if n == "b" else {}) for n in "abc")), f"h{len(of_b)}", "ada"
        )

    loop = Loop.of(configured().catalog)
    loop.edges("a>b", "b>c")
    for name in "abc":
        loop.push(name, 1)
    loop.run(600)
    loop.push("a", 2)
    loop.run(15)
    loop.say(Say.PAUSE, rollout="production/a/2")
    for name in "ab":
        loop.push(name, 3, release="r1", release_size=2)
    loop.run(700)
    loop.push("c", 2)
    loop.run(5)
    assert "waits until production/a/3" in loop.driver.rollout("production/c/2").waiting_for  # type: ignore[union-attr]
    loop.give(configured(limit="5"))
    loop.run(700)
    loop.say(Say.RESUME, rollout="production/a/2")
    until(loop, "a/3", Phase.COMPLETED)
    assert phase(loop, "c/2") is Phase.COMPLETED
