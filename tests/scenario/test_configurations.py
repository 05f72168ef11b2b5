"""What a changed configuration moves, and what becomes of one that is taken back."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.entities import VersionEntry
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import CatalogApplied, OverrideVerb
from ctrlplane_stream.model.policy import Mode, Policy, Supersede
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, digest, service
from tests.scenario.shop import SHOP, old_version_being_parked, phase, reasons, shop, until, weights


def _configure(loop: Loop, policy: Policy = QUICK, **configuration: str) -> None:
    """The catalog says so of cart."""
    entries = [service(name, policy, configuration=configuration if name == "cart" else {}) for name in (*SHOP, "island")]
    loop.give(CatalogApplied(catalog(*entries), f"h-{configuration}", "ada"))


def test_a_configuration_change_is_a_version_of_the_same_artifact() -> None:
    loop = shop()
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.COMPLETED)
    wanted = loop.driver.commands[-1].wanted.versions
    assert {v.artifact.digest for v in wanted} == {wanted[0].artifact.digest}
    assert loop.driver.rollout("production/cart/2").cause == "configuration"  # type: ignore[union-attr]


def test_a_changed_template_is_a_version_of_the_same_artifact_and_each_version_keeps_its_own() -> None:
    loop, old, new = shop(), "cart.yaml@sha256:" + "1" * 64, "cart.yaml@sha256:" + "2" * 64
    for number, template in ((2, old), (3, new)):
        loop.give(CatalogApplied(catalog(*(service(name, template=template) for name in (*SHOP, "island"))), f"h{number}", "ada"))
        until(loop, f"cart/{number}", Phase.BAKING)
    assert {v.label: v.template for v in loop.driver.commands[-1].wanted.versions} == {"#1": None, "#2": old, "#3": new}
    assert "cart: the template changed" in reasons(loop)


def test_what_changed_besides_the_image_is_named() -> None:
    loop = shop()
    _configure(loop, limit="5")
    assert "cart: the configuration changed" in reasons(loop)
    both = (service(name, template="cart.yaml@sha256:" + "1" * 64) for name in (*SHOP, "island"))
    loop.give(CatalogApplied(catalog(*both), "h", "ada"))
    assert "cart: the configuration and the template changed" in reasons(loop)


def test_going_back_to_an_earlier_configuration_rolls_the_earlier_version_out_again() -> None:
    loop = shop()
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.COMPLETED)
    _configure(loop)
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("supersede", list(Supersede))
def test_a_configuration_that_is_taken_back_while_it_climbs_does_not_stay(supersede: Supersede) -> None:
    """What is wanted again is stable: it comes back after what climbs, unless that starts over and is gone with it."""
    policy = replace(QUICK, supersede=supersede)
    loop = shop(policy=policy)
    _configure(loop, policy, limit="5")
    until(loop, "cart/2", Phase.VERIFYING)
    _configure(loop, policy)
    loop.run(600)
    assert (weights(loop, "cart"), loop.driver.target("cart").stable) == ({"#1": 100}, "#1")
    assert phase(loop, "cart/2") is (Phase.REVERTED if supersede is Supersede.RESTART else Phase.COMPLETED)


@pytest.mark.parametrize("supersede", list(Supersede))
def test_a_configuration_that_is_taken_back_while_it_waits_never_moves_and_nor_does_what_serves(supersede: Supersede) -> None:
    policy = replace(QUICK, supersede=supersede)
    loop = shop(policy=policy)
    loop.push("pay", 2)
    loop.run(5)
    _configure(loop, policy, limit="5")
    _configure(loop, policy)
    assert (phase(loop, "cart/2"), phase(loop, "cart/1")) == (Phase.REVERTED, Phase.COMPLETED)
    assert "superseded by cart #1" in reasons(loop)
    loop.run(300)
    assert all(version.label == "#1" for version in loop.driver.target("cart").live)


@pytest.mark.parametrize("supersede", [Supersede.FINISH, Supersede.QUEUE_LATEST])
def test_a_configuration_that_is_taken_back_behind_the_climb_of_what_is_wanted_is_let_go(supersede: Supersede) -> None:
    policy = replace(QUICK, supersede=supersede)
    loop = shop(policy=policy)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    _configure(loop, policy, limit="5")
    _configure(loop, policy)
    assert "cart #2 is on its way: production/cart/2 (verifying)" in reasons(loop)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.run(300)
    assert (weights(loop, "cart"), phase(loop, "cart/3")) == ({"#2": 100}, Phase.REVERTED)


def test_a_configuration_that_is_taken_back_while_what_is_wanted_starts_over_for_it_climbs_again() -> None:
    """The rollout of what is wanted is just going back, so that another one is to bring it."""
    policy = replace(QUICK, supersede=Supersede.RESTART)
    loop = shop(policy=policy)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.actuation_seconds = 20
    _configure(loop, policy, limit="5")
    _configure(loop, policy)
    assert (phase(loop, "cart/2"), phase(loop, "cart/3")) == (Phase.ABORTING, Phase.REVERTED)
    until(loop, "cart/2-again", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#2": 100}


def test_a_configuration_that_failed_is_not_tried_again_by_a_catalog_that_says_nothing_new_of_it() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.REVERTED)
    _configure(loop, limit="5")
    loop.run(60)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.REVERTED, {"#1": 100})
    assert "`ctrlplane-stream control retry production:cart --version '#2' --why REASON` tries it again" in reasons(loop)
    loop.judge.faulty.clear()
    _configure(loop)
    _configure(loop, limit="5")  # somebody says so anew
    until(loop, "cart/2", Phase.COMPLETED)


def test_what_a_person_went_back_from_is_not_brought_back_by_a_catalog_that_says_nothing_new_of_it() -> None:
    loop = shop()
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(OverrideVerb.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.COMPLETED)
    _configure(loop, limit="5")
    loop.run(300)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_configuration_that_is_taken_back_while_we_only_advise_is_gone_once_we_roll_out_again() -> None:
    loop = shop()
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.COMPLETED)
    _configure(loop, replace(QUICK, mode=Mode.ADVISE))
    loop.run(60)
    assert weights(loop, "cart") == {"#2": 100}
    _configure(loop)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_what_waits_as_its_service_leaves_the_catalog_does_not_begin() -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.run(5)
    loop.push("cart", 2)
    entries = [service(name) for name in (*SHOP, "island")]
    loop.give(CatalogApplied(catalog(*[s for s in entries if s.service != "cart"]), "h2", "ada"))
    until(loop, "cart/2", Phase.REVERTED)
    assert "the catalog of production does not have cart; control retry reruns this" in reasons(loop)
    loop.say(OverrideVerb.RETRY, service="cart", version="#2")
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.REVERTED, {"#1": 100})
    loop.give(CatalogApplied(catalog(*entries), "h3", "ada"))
    loop.say(OverrideVerb.RETRY, service="cart", version="#2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_configuration_that_did_not_begin_since_its_service_had_left_the_catalog_comes_back_with_it() -> None:
    """Nobody went back from it: nothing was found of it, and no person said so."""
    loop = shop()
    loop.push("pay", 2)
    loop.run(5)
    _configure(loop, limit="5")
    entries = [service(name, configuration={"limit": "5"} if name == "cart" else {}) for name in (*SHOP, "island")]
    loop.give(CatalogApplied(catalog(*[s for s in entries if s.service != "cart"]), "h3", "ada"))
    until(loop, "cart/2", Phase.REVERTED)
    loop.give(CatalogApplied(catalog(*entries), "h4", "ada"))
    until(loop, "cart/2", Phase.COMPLETED)


def test_what_is_under_way_as_its_service_leaves_the_catalog_comes_to_its_end_by_the_same_actuator() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.SHIFTING)
    loop.give(CatalogApplied(catalog(*[service(name) for name in (*SHOP, "island") if name != "cart"]), "h2", "ada"))
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}
    assert {command.wanted.actuator for command in loop.driver.commands} == {"dry-run"}


def test_a_service_of_which_something_is_there_stays_with_the_actuator_that_has_it() -> None:
    """Another one would be told that a version has all traffic, of which it has nothing yet."""
    loop = shop()
    wanted = replace(QUICK, bake_seconds=1)
    moved = [replace(service(name, wanted, configuration={"limit": "5"} if name == "cart" else {}), actuator="process") for name in SHOP]
    loop.give(CatalogApplied(catalog(*moved), "h2", "ada"))
    assert "cart stays with dry-run, which has #1 of it and process has not" in reasons(loop)
    until(loop, "cart/2", Phase.COMPLETED)
    assert {command.wanted.actuator for command in loop.driver.commands} == {"dry-run"}
    assert loop.driver.state.find("service/cart", ServiceInEnvironment).policy == wanted  # type: ignore[union-attr]


def test_an_actuator_that_was_named_wrongly_is_another_one_as_soon_as_a_catalog_says_so() -> None:
    loop = Loop.of(catalog(replace(service("cart"), actuator="kubernets")))
    loop.world.mute.add("cart")
    loop.push("cart", 1)
    loop.give(CatalogApplied(catalog(replace(service("cart"), actuator="kubernetes")), "h2", "ada"))
    loop.say(OverrideVerb.RETRY, service="cart", version="#1")
    loop.run(400)
    assert loop.driver.commands[-1].wanted.actuator == "kubernetes"


def test_configurations_of_what_moves_together_are_one_set_that_goes_back_whole() -> None:
    def configured(limit: str) -> CatalogApplied:
        entries = [service(name, moves_together="g", configuration={"limit": limit}) for name in ("cart", "pay")]
        return CatalogApplied(catalog(*entries, service("stock")), f"h-{limit}", "ada")

    loop = Loop.of(catalog(service("cart"), service("pay"), service("stock")))
    loop.give(configured("1"))
    for name in ("cart", "pay"):
        loop.push(name, 1)
    until(loop, "cart/1", Phase.COMPLETED)
    loop.edges("cart>pay")
    loop.judge.faulty.add(("cart", "#2"))
    loop.give(configured("2"))
    assert [(u.service, u.wave) for u in loop.driver.rollout("production/cart/2").units] == [("pay", 0), ("cart", 1)]  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.REVERTED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#1": 100}, {"#1": 100})


@pytest.mark.parametrize("supersede", [Supersede.FINISH, Supersede.QUEUE_LATEST])
@pytest.mark.parametrize("aborted", [False, True])
def test_a_configuration_that_came_while_a_version_climbed_which_goes_back_is_rolled_out_with_what_serves(
    supersede: Supersede, aborted: bool
) -> None:
    """It was numbered on what climbed. To begin that would bring what was just gone back from to users again, by nobody's word."""
    policy = replace(QUICK, supersede=supersede)
    loop = shop(policy=policy)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    _configure(loop, policy, limit="5")
    assert phase(loop, "cart/3") is Phase.QUEUED
    if aborted:
        loop.say(OverrideVerb.ABORT, rollout="production/cart/2")
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/2", Phase.REVERTED)
    assert phase(loop, "cart/3") is Phase.REVERTED
    assert "production/cart/2 goes back from the artifact of cart #3; control retry reruns this" in reasons(loop)
    until(loop, "cart/4", Phase.COMPLETED)
    version = loop.driver.state.find("version/cart/#4", VersionEntry)
    assert version is not None
    assert (version.artifact.digest, version.configuration) == (digest(1), {"limit": "5"})
    assert not any("#3" in {v.label for v in command.wanted.versions} for command in loop.driver.commands)


def test_a_configuration_that_was_aborted_with_the_version_it_waited_for_is_brought_back_by_nobody() -> None:
    """An abort of all that moves a service is a word against what waits, too."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    _configure(loop, limit="5")
    loop.say(OverrideVerb.ABORT, service="cart")
    until(loop, "cart/2", Phase.REVERTED)
    assert "cart is not as the catalog has it, since #3, configured so, was gone back from" in reasons(loop)
    loop.run(300)
    assert (weights(loop, "cart"), loop.driver.rollout("production/cart/4")) == ({"#1": 100}, None)
    loop.say(OverrideVerb.RETRY, service="cart", version="#4")
    until(loop, "cart/4", Phase.COMPLETED)


def test_a_configuration_that_comes_while_what_has_baked_goes_back_is_rolled_out_with_what_it_goes_back_to() -> None:
    loop = old_version_being_parked()
    loop.say(OverrideVerb.ABORT, rollout="production/cart/2")
    assert loop.driver.target("cart").stable == "#2"  # until #1 is ready again
    _configure(loop, limit="5")
    version = loop.driver.state.find("version/cart/#3", VersionEntry)
    assert version is not None
    assert version.artifact.digest == digest(1)
    until(loop, "cart/3", Phase.COMPLETED)


def test_a_configuration_that_is_just_going_back_is_not_brought_back_by_a_catalog_that_says_it_once_more() -> None:
    loop = shop()
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.VERIFYING)
    loop.actuation_seconds = 20
    loop.say(OverrideVerb.ABORT, rollout="production/cart/2")
    entries = [service(name, configuration={"limit": "5"} if name == "cart" else {}) for name in (*SHOP, "island", "new")]
    loop.give(CatalogApplied(catalog(*entries), "another", "ada"))
    loop.run(400)
    assert (weights(loop, "cart"), loop.driver.rollout("production/cart/2-again")) == ({"#1": 100}, None)


def test_a_configuration_that_mends_another_one_which_fails_is_begun_after_that() -> None:
    """It is of the artifact that serves, of which nothing was found."""
    loop = shop()
    _configure(loop, limit="5")
    until(loop, "cart/2", Phase.VERIFYING)
    _configure(loop, limit="6")
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/3", Phase.COMPLETED)
    assert phase(loop, "cart/2") is Phase.REVERTED


def test_a_configuration_of_what_moves_together_stays_one_set_when_it_takes_up_what_serves() -> None:
    """What waits with the artifact that goes back is not begun without it; both are configured in one set after that."""

    def configured(limit: str) -> CatalogApplied:
        entries = [service(name, moves_together="g", configuration={"limit": limit}) for name in ("cart", "pay")]
        return CatalogApplied(catalog(*entries, service("stock")), f"h-{limit}", "ada")

    loop = Loop.of(configured("1").catalog)
    for name in ("cart", "pay"):
        loop.push(name, 1)
    until(loop, "cart/1", Phase.COMPLETED)
    loop.push("cart", 2)  # alone: nothing more comes of the group
    loop.run(60)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.give(configured("2"))
    assert [u.service for u in loop.driver.rollout("production/cart/3").units] == ["cart", "pay"]  # type: ignore[union-attr]
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/2", Phase.REVERTED)
    until(loop, "cart/4", Phase.COMPLETED)
    assert [(u.service, u.candidate) for u in loop.driver.rollout("production/cart/4").units] == [("cart", "#4"), ("pay", "#2")]  # type: ignore[union-attr]
