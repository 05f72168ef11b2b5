"""What moves together, in which order, and who watches."""

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import ReleaseOrder
from ctrlplane_stream.model.identity import EdgeKind
from tests.scenario.shop import reasons, shop, until


def test_a_release_moves_callees_first_and_reverts_callers_first() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.REVERTED)
    moved = [c for c in loop.driver.commands if c.verb is Verb.SHIFT and c.rollout == "production/cart/2"]
    up = [c.target.service for c in moved if c.wanted.weight("#2")]
    down = [c.target.service for c in moved if not c.wanted.weight("#2")]
    assert up == ["pay", "pay", "pay", "cart"]
    assert down == ["cart", "pay"]


def test_a_removal_moves_callers_first() -> None:
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2, order=ReleaseOrder.CALLERS_FIRST)
    until(loop, "cart/2", Phase.COMPLETED)
    moved = [c.target.service for c in loop.driver.commands if c.verb is Verb.SHIFT and c.rollout == "production/cart/2"]
    assert moved[0] == "cart"


def test_a_release_is_not_decided_before_it_is_whole() -> None:
    loop = shop()
    loop.push("cart", 2, release="r1", release_size=2)
    loop.run(60)
    assert loop.driver.rollout("production/cart/2") is None
    loop.push("pay", 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_changed_cycle_is_refused_unless_its_versions_get_on() -> None:
    loop = shop()
    loop.edges("pay>cart")
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    assert loop.driver.rollout("production/cart/2") is None
    assert "declare in_cycle_compatible" in reasons(loop)


def test_a_message_edge_makes_the_consumer_a_guard_and_nobody_else() -> None:
    loop = shop()
    loop.edges("cart>island", kind=EdgeKind.MESSAGE)
    loop.push("cart", 2)
    found = loop.driver.version_set("production/cart/2")
    assert found is not None
    assert {g.guard.service: g.guard.role.value for g in found.guards if g.guard.service} == {
        "cart": "changed",
        "front": "caller",
        "pay": "callee",
        "island": "consumer",
    }
