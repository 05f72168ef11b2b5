"""What moves together, in which order, and who watches."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, OverrideVerb, ReleaseOrder, WorldCause
from ctrlplane_stream.model.identity import EdgeKind, ServiceKind
from ctrlplane_stream.model.policy import Mode, Supersede
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import SHOP, phase, reasons, shop, until, weights


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


def test_every_command_of_a_rollout_says_the_whole_set() -> None:
    """What moves, from which version to which, and what is watched with its version: for whoever reads the world and not our log."""
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.COMPLETED)
    said = {c.version_set for c in loop.driver.commands if c.rollout == "production/cart/2" and c.verb is Verb.SHIFT}
    assert said == {"pay #2 instead of #1, cart #2 instead of #1; watched: front #1"}


def reach(loop: Loop, id_: str) -> list[tuple[int, int, int, float]]:
    """What each step of a set can touch: wave, weight, services, share of the traffic."""
    found = loop.driver.version_set(f"production/{id_}")
    assert found is not None
    return [(b.wave, b.weight, b.services, b.traffic_share) for b in found.blast_radius]


def test_a_step_can_touch_all_traffic_of_earlier_waves_its_weight_of_its_own_and_nothing_of_later_ones() -> None:
    """Each of the four services has a quarter of the traffic."""
    loop = shop()
    for name in ("front", "stock"):
        loop.push(name, 2, release="r1", release_size=2)
    climb = [(0, 10, 2, 0.025), (0, 50, 2, 0.125), (0, 100, 2, 0.25)]
    assert reach(loop, "front/2") == [*climb, (1, 10, 3, 0.275), (1, 50, 3, 0.375), (1, 100, 3, 0.5)]


def test_only_steps_that_are_taken_can_touch_anything() -> None:
    """A first version has one, a consumer those that its instances can show, and what changes in place one for each instance."""
    loop = Loop.of(catalog(service("cart", kind=ServiceKind.CONSUMER), service("pay", replace(QUICK, in_place=True))))
    for name in ("cart", "pay"):
        loop.push(name, 1)
        assert [weight for _, weight, _, _ in reach(loop, f"{name}/1")] == [100]
    loop.run(150)
    for name in ("cart", "pay"):
        loop.push(name, 2)
        until(loop, f"{name}/2", Phase.COMPLETED)
        taken = loop.driver.rollout(f"production/{name}/2")
        assert taken is not None
        assert [weight for _, weight, _, _ in reach(loop, f"{name}/2")] == [step.weight for step in taken.steps]
    loop.say(OverrideVerb.REVERT, service="cart", version="#1")
    assert [weight for _, weight, _, _ in reach(loop, "cart/1")] == [100]


def test_a_removal_moves_callers_first() -> None:
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2, order=ReleaseOrder.CALLERS_FIRST)
    until(loop, "cart/2", Phase.COMPLETED)
    moved = [c.target.service for c in loop.driver.commands if c.verb is Verb.SHIFT and c.rollout == "production/cart/2"]
    assert moved[0] == "cart"
    assert "in waves, callers first: cart then pay" in reasons(loop)


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
    loop.give(CatalogApplied(catalog(*[service(name, in_cycle_compatible=True) for name in SHOP]), "h2", "ada"))
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.COMPLETED)


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


def test_every_guard_is_explained_by_its_path_and_calls_and_every_neighbour_that_is_left_out_by_a_reason() -> None:
    loop = shop()
    loop.edges("pay>bank", "island>front")
    loop.push("cart", 2)
    found = loop.driver.version_set("production/cart/2")
    assert found is not None
    why = {g.guard.service: g.why for g in found.guards}
    assert why["front"] == "calls it: front -call-> cart (1000 calls, 10/s)"
    assert why["island"] == "calls it in 2 hops: island -call-> front (1000 calls, 10/s)"
    assert why["pay"] == "is used by it: cart -call-> pay (1000 calls, 10/s)"
    assert {left.service for left in found.left_out} == {"bank", "stock"}
    assert all(left.why for left in found.left_out)


def test_a_release_that_never_becomes_whole_is_dropped_and_said_so() -> None:
    loop = shop()
    loop.push("cart", 2, release="r1", release_size=2)
    loop.run(3700)
    text = "release r1 is dropped: only 1 of 2 services came (cart #2); push it again whole"
    assert text in reasons(loop)
    told = [(n.event, n.text, n.next_command) for n in loop.driver.notices]
    assert told[-1] == ("release-dropped", text, "ctrlplane-stream artifact push IMAGE@DIGEST --release r1 --release-size 2")
    assert weights(loop, "cart") == {"#1": 100}
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#2": 100}, {"#2": 100})


def test_a_release_of_which_something_is_pinned_says_so_at_once_and_is_retried_whole_after_unpin() -> None:
    """All of it came: it neither waits for the rest nor is dropped as if that lacked, and it does not begin without what is kept."""
    loop = shop()
    loop.say(OverrideVerb.PIN, service="cart")
    for _ in range(2):
        for name in ("pay", "cart"):
            loop.push(name, 2, release="r1", release_size=2)
    kept = "not begun: cart is pinned to #1 by ada; control retry reruns this after unpin"
    assert [r.stopped_because for r in loop.driver.rollouts if r.id == "production/cart/2"] == [kept]
    again = "`ctrlplane-stream control retry production/cart/2 --why REASON` tries it again"
    assert loop.driver.reasons[-1].text == f"release r1 is ignored: all that came of it came before; {again}"
    loop.run(3700)
    assert "release-dropped" not in {n.event for n in loop.driver.notices}
    loop.say(OverrideVerb.UNPIN, service="cart")
    loop.say(OverrideVerb.RETRY, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#2": 100}, {"#2": 100})


def test_a_release_of_which_another_tool_moves_something_is_refused_at_once() -> None:
    """Not after an hour for what did not come; whoever releases the rest alone has it rolled out."""
    watched = service("cart", replace(QUICK, mode=Mode.ADVISE))
    loop = Loop.of(catalog(watched, service("pay")))
    for _ in range(2):
        for name in ("pay", "cart"):
            loop.push(name, 1, release="r1", release_size=2)
        assert loop.driver.reasons[-1].text == "refused: cart is only advised on (mode advise): another tool moves it"
    loop.push("pay", 1)
    until(loop, "pay/1", Phase.COMPLETED)


def grouped(*names: str) -> list[ServiceInEnvironment]:
    return [service(name, moves_together="till") for name in names]


def test_what_a_group_has_collected_is_rolled_out_though_the_catalog_dissolves_the_group_meanwhile() -> None:
    """It was dropped as a release that is not whole, which nobody had declared."""
    loop = Loop.of(catalog(*grouped("cart", "pay")))
    for name in ("cart", "pay"):
        loop.push(name, 1)
    until(loop, "cart/1", Phase.COMPLETED)
    loop.push("cart", 2)
    loop.give(CatalogApplied(catalog(service("cart"), service("pay")), "h2", "ada"))
    loop.run(60)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_group_goes_on_without_a_member_that_leaves_the_catalog_while_it_collects_and_people_are_told() -> None:
    """All that had come was refused with it, and nobody heard of that."""
    loop = Loop.of(catalog(*grouped("cart", "pay", "mail")))
    for name in ("cart", "pay", "mail"):
        loop.push(name, 1)
    until(loop, "cart/1", Phase.COMPLETED)
    for name in ("cart", "pay"):
        loop.push(name, 2)
    loop.give(CatalogApplied(catalog(*grouped("pay", "mail")), "h2", "ada"))
    loop.run(60)
    until(loop, "pay/2", Phase.COMPLETED)
    told = [(n.event, n.text, n.next_command) for n in loop.driver.notices]
    gone = "the catalog of production does not have cart; control retry reruns this once the catalog has it rolled out by us again"
    text = f"release group till goes on without cart #2: {gone}"
    assert ("release-incomplete", text, "ctrlplane-stream control retry production:cart --why REASON") in told
    assert weights(loop, "cart") == {"#1": 100}


def test_a_release_of_which_something_leaves_the_catalog_before_it_begins_is_dropped_and_said_so() -> None:
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1")
    loop.give(CatalogApplied(catalog(*[service(name) for name in SHOP if name != "cart"]), "h2", "ada"))
    loop.run(60)
    told = [(n.event, n.text, n.next_command) for n in loop.driver.notices]
    text = "release r1 is dropped: the catalog of production does not have cart"
    assert told[-1] == ("release-dropped", text, "ctrlplane-stream artifact push IMAGE@DIGEST --release r1")
    loop.push("pay", 2, release="r1")
    loop.run(60)
    until(loop, "pay/2", Phase.COMPLETED)


@pytest.mark.parametrize("group", [None, "till"])
def test_what_waits_is_not_begun_once_the_catalog_takes_its_repository_no_more(group: str | None) -> None:
    """Frozen, and its repository withdrawn, as one does with what was poisoned: it began once it was thawed, and nobody was told."""
    pay = service("pay", moves_together=group)
    loop = Loop.of(catalog(service("cart", moves_together=group), pay))
    for name in ("cart", "pay"):
        loop.push(name, 1)
    loop.run(300)
    loop.say(OverrideVerb.FREEZE)
    loop.push("cart", 2)
    loop.give(CatalogApplied(catalog(service("cart", moves_together=group, images=("clean/cart",)), pay), "h2", "ada"))
    loop.say(OverrideVerb.UNFREEZE)
    loop.run(120)
    assert weights(loop, "cart") == {"#1": 100}
    told = "cart takes images from clean/cart, not from registry.example/cart; control retry reruns this all the same"
    assert any(told in n.text for n in loop.driver.notices)


@pytest.mark.parametrize("supersede", Supersede)
def test_a_release_goes_on_without_what_climbs_already(supersede: Supersede) -> None:
    """What climbs comes by itself; the rest was ignored with it, as if it were the same rollout."""
    loop = shop(policy=replace(QUICK, supersede=supersede))
    loop.push("cart", 2)
    loop.run(20)
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    assert "release r1 goes on without cart #2, which production/cart/2 moves already" in reasons(loop)
    until(loop, "cart/2", Phase.COMPLETED)
    until(loop, "pay/2", Phase.COMPLETED)


def test_a_release_waits_for_what_goes_back_just_then_and_moves_it_with_the_rest() -> None:
    """It was ignored whole, as if it were the rollout that goes back."""
    loop = shop()
    loop.push("cart", 2)
    loop.run(25)
    loop.actuation_seconds = 10
    loop.say(OverrideVerb.ABORT)
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    assert phase(loop, "cart/2") is Phase.ABORTING
    until(loop, "pay/2", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#2": 100}, {"#2": 100})


def test_a_declared_removal_is_retried_and_offered_onward_in_its_order_and_under_its_name() -> None:
    loop = Loop.of(catalog(service("cart"), service("pay"), environment="staging", promotes_to=("production",)))
    for name in ("cart", "pay"):
        loop.push(name, 1, release="r1", release_size=2, order=ReleaseOrder.CALLERS_FIRST)
    loop.run(5)
    loop.say(OverrideVerb.ABORT)
    loop.run(60)
    loop.say(OverrideVerb.RETRY, rollout="staging/cart/1")
    loop.run(200)
    assert [(a.artifact.service, a.release, a.order) for a in loop.driver.announcements] == [
        ("cart", "r1", ReleaseOrder.CALLERS_FIRST),
        ("pay", "r1", ReleaseOrder.CALLERS_FIRST),
    ]


def test_a_group_that_moves_together_is_one_set() -> None:
    loop = Loop.of(catalog(service("cart", moves_together="g"), service("pay", moves_together="g")))
    loop.push("cart", 1)
    loop.push("pay", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    assert [u.service for u in loop.driver.rollouts[0].units] == ["cart", "pay"]


def test_a_declared_release_is_waited_for_whatever_its_name() -> None:
    """Also one that is called as what moves together is collected by."""
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="group payments v5", release_size=3)
    loop.run(60)
    assert loop.driver.rollout("production/cart/2") is None
    loop.push("stock", 2, release="group payments v5", release_size=3)
    loop.run(5)
    assert phase(loop, "cart/2") is not Phase.QUEUED


def test_a_declared_cycle_climbs_as_one_wave() -> None:
    loop = shop(in_cycle_compatible=True)
    loop.edges("pay>cart")
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    found = loop.driver.version_set("production/cart/2")
    assert found is not None
    assert {u.wave for u in found.changed} == {0}
    until(loop, "cart/2", Phase.COMPLETED)


def _neighbours_in_turn(loop: Loop) -> None:
    """pay #2, cart #2 and pay #3 bake one after another: cart #2 has served beside both."""
    for name, number in (("pay", 2), ("cart", 2), ("pay", 3)):
        loop.push(name, number)
        until(loop, f"{name}/{number}", Phase.COMPLETED)


def test_versions_of_which_one_baked_while_the_other_served_are_no_strangers() -> None:
    loop = shop()
    _neighbours_in_turn(loop)
    loop.judge.faulty.add(("cart", "#3"))
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.REVERTED)
    assert "never seen together" not in reasons(loop)


def test_a_person_who_returns_to_a_version_hears_beside_whom_it_never_served() -> None:
    loop = shop()
    _neighbours_in_turn(loop)
    loop.say(OverrideVerb.REVERT, service="cart", version="#1")
    assert "cart #1 returns to serve beside pay #3: never seen together" in reasons(loop)
    assert "beside front" not in reasons(loop)
    until(loop, "cart/1", Phase.COMPLETED)
    heard = len(loop.driver.reasons)
    loop.say(OverrideVerb.REVERT, service="pay", version="#2")
    until(loop, "pay/2", Phase.COMPLETED)
    assert not [reason for reason in loop.driver.reasons[heard:] if reason.code == "strangers"]


def test_strangers_are_named_where_a_version_that_failed_after_its_bake_leaves_what_baked_beside_it() -> None:
    """cart #2 falls while cart #1 is kept; pay #2 has baked since, and cart #1 has not served beside that."""
    loop = shop(policy=replace(QUICK, drain_seconds=400, drain_limit_seconds=500))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.DRAINING)
    loop.world.target("cart").versions["#2"].failure = "CrashLoopBackOff"
    loop.tell_world("cart", WorldCause.READINESS, "crashes")
    until(loop, "cart/2", Phase.REVERTED)
    assert [reason.text for reason in loop.driver.reasons if reason.code == "strangers"] == [
        "cart #1 returns to serve beside pay #2: never seen together"
    ]


def test_versions_that_bake_at_once_remember_each_other_as_neighbours() -> None:
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.COMPLETED)
    good = [loop.driver.target(name).last_known_good for name in ("cart", "pay")]
    assert [each.neighbours for each in good if each is not None] == [{"front": "#1", "pay": "#2"}, {"cart": "#2"}]


@pytest.mark.parametrize("names", [("cart", "pay"), ("pay", "cart")])
def test_a_release_of_which_one_member_did_not_change_moves_the_others(names: tuple[str, str]) -> None:
    """A build that is reproducible pushes what serves."""
    loop = shop()
    for name in names:
        loop.push(name, 1 if name == "cart" else 2, release="r1", release_size=2)
    assert "cart #1, which serves, needs no rollout in release r1" in reasons(loop)
    until(loop, "pay/2", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#1": 100}, {"#2": 100})


def test_a_release_does_not_bring_back_a_member_that_served_and_was_gone_back_from_since() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.push("cart", 2, release="r1", release_size=2)
    loop.say(OverrideVerb.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED)
    loop.push("pay", 2, release="r1", release_size=2)
    until(loop, "pay/2", Phase.COMPLETED)
    loop.run(300)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_release_of_which_all_that_came_serves_is_told_to_nobody() -> None:
    """One build of a release that is complete was run once more: nobody waits for the rest of it."""
    loop = shop()
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.push("cart", 2, release="r1", release_size=2)
    loop.run(3700)
    assert reasons(loop).endswith("release r1 is ignored: all that came of it came before")
    assert loop.driver.notices == []


def test_what_serves_is_not_offered_again_after_a_release_was_dropped_that_had_it() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=3)
    loop.run(3700)
    assert "release r1 is dropped: only 2 of 3 services came (cart #2 and pay #2); push it again whole" in reasons(loop)
    loop.push("cart", 2)
    assert loop.driver.reasons[-1].text.endswith("is already version #2, which serves")
    assert phase(loop, "cart/2") is Phase.COMPLETED
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.COMPLETED)


def test_a_producer_of_messages_to_what_changes_is_left_out_with_a_reason() -> None:
    loop = shop()
    loop.edges("island>cart", kind=EdgeKind.MESSAGE)
    loop.push("cart", 2)
    found = loop.driver.version_set("production/cart/2")
    assert found is not None
    left = {one.service: one.why for one in found.left_out}
    assert left["island"] == "sends messages to cart (changed): it waits for no answer, so nothing comes back to it"


def test_a_member_that_was_gone_back_from_moves_again_with_what_is_new_in_a_release() -> None:
    """Its build is reproducible, so a release that is pushed again whole, with another member mended, has the artifact that it had."""
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.REVERTED)
    for name, number in (("pay", 2), ("cart", 3)):
        loop.push(name, number, release="r2", release_size=2)
    until(loop, "cart/3", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#3": 100}, {"#2": 100})


@pytest.mark.parametrize("whole", [True, False])
def test_a_release_of_which_all_came_before_moves_nothing_and_is_told_to_nobody(whole: bool) -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    for name in ("cart", "pay"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.REVERTED)
    told = len(loop.driver.notices)
    for name in ("cart", "pay") if whole else ("pay",):
        loop.push(name, 2, release="r1", release_size=2)
    loop.run(4000)
    assert (phase(loop, "cart/2"), len(loop.driver.notices)) == (Phase.REVERTED, told)
    assert "release r1 is ignored: all" in reasons(loop)
