"""A catalog that is too large for one record, and comes in parts."""

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import EnvironmentCatalog, ServiceInEnvironment
from ctrlplane_stream.model.facts import CatalogApplied
from ctrlplane_stream.simulation.loop import Loop, catalog, service
from tests.scenario.shop import SHOP, reasons, shop, until


def _give_in_parts(loop: Loop, *services: ServiceInEnvironment) -> None:
    """The catalog of these services, each in a fact of its own."""
    whole = catalog(*services)
    for entry in whole.services[:-1]:
        loop.give(CatalogApplied(EnvironmentCatalog(whole.environment, (entry,)), "h2", "ada", more=True))
    last = EnvironmentCatalog(whole.environment, whole.services[-1:], whole.promote_from, whole.promotes_to)
    loop.give(CatalogApplied(last, "h2", "ada", names=tuple(s.service for s in whole.services)))


def test_parts_of_a_catalog_come_to_what_the_whole_does() -> None:
    entries = [service(name, configuration={"limit": "5"} if name in ("cart", "pay") else {}) for name in SHOP]
    apart, at_once = shop(), shop()
    _give_in_parts(apart, *entries)
    at_once.give(CatalogApplied(catalog(*entries), "h2", "ada"))
    for loop in (apart, at_once):
        until(loop, "cart/2", Phase.COMPLETED)
        until(loop, "pay/2", Phase.COMPLETED)
    kinds = ("catalog", "service/", "gone/", "version/")
    found = [{key: entry for key, entry in loop.driver.state.entries() if key.startswith(kinds)} for loop in (apart, at_once)]
    assert found[0] == found[1]


def test_nothing_leaves_a_catalog_before_its_last_part_came() -> None:
    loop = shop()
    loop.give(CatalogApplied(EnvironmentCatalog("production", (service("cart"),)), "h2", "ada", more=True))
    assert "is no longer in the catalog" not in reasons(loop)
    loop.push("island", 2)
    until(loop, "island/2", Phase.COMPLETED)
    loop.give(CatalogApplied(EnvironmentCatalog("production", (service("pay"),)), "h2", "ada", names=("cart", "pay")))
    assert "island is no longer in the catalog" in reasons(loop)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)


def test_what_moves_together_is_one_set_in_whichever_part_it_comes() -> None:
    loop = Loop.of(catalog(service("cart", moves_together="g"), service("pay", moves_together="g"), service("stock")))
    for name in ("cart", "pay", "stock"):
        loop.push(name, 1)
    until(loop, "cart/1", Phase.COMPLETED)
    both = tuple(service(name, moves_together="g", configuration={"limit": "5"}) for name in ("cart", "pay"))
    loop.give(CatalogApplied(EnvironmentCatalog("production", both), "h2", "ada", more=True))
    loop.give(CatalogApplied(catalog(service("stock")), "h2", "ada", names=("cart", "pay", "stock")))
    found = loop.driver.rollout("production/cart/2")
    assert found is not None
    assert [u.service for u in found.units] == ["cart", "pay"]
    until(loop, "cart/2", Phase.COMPLETED)
