"""Services that do not take weight by routed traffic."""

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import CatalogApplied, OverrideVerb
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Mode
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import reasons, shop, until, weights


def test_a_consumer_takes_weight_by_its_instances() -> None:
    loop = shop(kind=ServiceKind.CONSUMER)
    loop.push("stock", 2)
    until(loop, "stock/2", Phase.COMPLETED)
    assert weights(loop, "stock") == {"#2": 100}


def test_where_a_world_moves_all_or_nothing_the_steps_round_down_to_that_and_say_so() -> None:
    loop = Loop.of(catalog(service("cart", QUICK)))
    loop.world.granularity = 100
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert {v.weight for c in loop.driver.commands for v in c.wanted.versions} == {0, 100}
    assert "of the steps 10%, 50%, 100% its world can show 100%" in reasons(loop)


def test_a_policy_that_only_advises_commands_nothing() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, mode=Mode.ADVISE))))
    loop.push("cart", 1)
    loop.run(30)
    assert loop.driver.commands == []


def test_what_leaves_the_catalog_under_way_is_told_by_its_kind_to_the_end() -> None:
    loop = Loop.of(catalog(service("worker", kind=ServiceKind.CONSUMER), service("other")))
    for number, phase in ((1, Phase.COMPLETED), (2, Phase.VERIFYING)):
        loop.push("worker", number)
        until(loop, f"worker/{number}", phase)
    loop.give(CatalogApplied(catalog(service("other")), "h2", "tests"))
    loop.say(OverrideVerb.ABORT)
    until(loop, "worker/2", Phase.REVERTED)
    assert {command.wanted.kind for command in loop.driver.commands} == {ServiceKind.CONSUMER}


def test_a_service_that_has_versions_keeps_its_kind_whatever_a_catalog_says() -> None:
    """Its versions would be told by the one kind and drained by the other."""
    loop = Loop.of(catalog(service("worker", kind=ServiceKind.JOB)))
    loop.push("worker", 1)
    until(loop, "worker/1", Phase.BAKING)
    for number, entries in ((2, [service("worker")]), (3, []), (4, [service("worker")])):
        loop.give(CatalogApplied(catalog(*entries), f"h{number}", "ada"))
    assert "worker keeps its kind and its template: it has versions of kind job, which cannot become routed" in reasons(loop)
    until(loop, "worker/1", Phase.COMPLETED)
    loop.push("worker", 2)
    until(loop, "worker/2", Phase.COMPLETED)
    assert {command.wanted.kind for command in loop.driver.commands} == {ServiceKind.JOB}


def test_a_service_without_a_version_becomes_of_another_kind() -> None:
    loop = Loop.of(catalog(service("worker", kind=ServiceKind.JOB)))
    loop.give(CatalogApplied(catalog(service("worker", kind=ServiceKind.CONSUMER)), "h2", "ada"))
    loop.push("worker", 1)
    until(loop, "worker/1", Phase.COMPLETED)
    assert {command.wanted.kind for command in loop.driver.commands} == {ServiceKind.CONSUMER}
