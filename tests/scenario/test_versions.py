"""What is a version, and where it goes."""

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Announce
from ctrlplane_stream.model.facts import CatalogApplied
from ctrlplane_stream.simulation.loop import Loop, catalog, service
from tests.scenario.shop import SHOP, shop, until, weights


def test_a_configuration_change_is_a_version_of_the_same_artifact() -> None:
    loop = shop()
    entries = [service(name) for name in (*SHOP, "island")]
    changed = [replace(s, configuration={"limit": "5"}) if s.service == "cart" else s for s in entries]
    loop.give(CatalogApplied(catalog(*changed), "h2", "ada"))
    until(loop, "cart/2", Phase.COMPLETED)
    wanted = loop.driver.commands[-1].wanted.versions
    assert {v.artifact.digest for v in wanted} == {wanted[0].artifact.digest}
    assert loop.driver.rollout("production/cart/2").cause == "configuration"  # type: ignore[union-attr]


def test_going_back_to_an_earlier_configuration_rolls_the_earlier_version_out_again() -> None:
    loop = shop()
    entries = [service(name) for name in (*SHOP, "island")]
    changed = [replace(s, configuration={"limit": "5"}) if s.service == "cart" else s for s in entries]
    loop.give(CatalogApplied(catalog(*changed), "h2", "ada"))
    until(loop, "cart/2", Phase.COMPLETED)
    loop.give(CatalogApplied(catalog(*entries), "h3", "ada"))
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_the_same_artifact_twice_is_one_version() -> None:
    loop = shop()
    loop.push("cart", 1)
    assert "already version #1" in loop.driver.reasons[-1].text
    assert loop.driver.target("cart").newest == 1


def test_a_completed_bake_announces_the_artifact_onward() -> None:
    loop = Loop.of(catalog(service("cart"), environment="staging", promotes_to=("production",)))
    loop.push("cart", 1)
    loop.run(200)
    assert [(a.environment, a.artifact.service) for a in loop.driver.announcements] == [("production", "cart")]
    assert all(isinstance(a, Announce) for a in loop.driver.announcements)
