"""Rollouts that another tool makes: seen in the traffic, judged, advised on, and never commanded."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.entities import Rollout, Word
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import EnvironmentCatalog
from ctrlplane_stream.model.facts import CatalogApplied, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import Mode, OnDrift, Policy
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import SHOP, phase, reasons, release_waiting, shop, until, weights

ADVISED = replace(QUICK, mode=Mode.ADVISE)


def beside(policy: Policy = ADVISED) -> Loop:
    """Another tool moves ``cart``, which serves v1; we move ``front``, which calls it, and ``pay``, which it calls."""
    loop = Loop.of(_catalog(policy))
    for name in ("front", "pay"):
        loop.push(name, 1)
    loop.moves("cart", v1=1000)
    loop.run(150)
    loop.edges("front>cart", "cart>pay")
    return loop


def _catalog(policy: Policy) -> EnvironmentCatalog:
    return catalog(service("cart", policy), service("front"), service("pay"))


def advised(loop: Loop, id_: str) -> Rollout:
    """The rollout, which must be one that another tool makes."""
    found = loop.driver.rollout(f"production/{id_}")
    assert found is not None, loop.driver.transcript()
    assert found.advice is not None
    return found


def word(loop: Loop, id_: str) -> Word:
    """What is advised now."""
    advice = advised(loop, id_).advice
    assert advice is not None
    return advice.word


def test_nothing_is_advised_while_one_version_serves() -> None:
    loop = beside()
    assert [r.id for r in loop.driver.rollouts] == ["production/front/1", "production/pay/1"]


def test_a_new_version_in_the_traffic_makes_a_set_that_is_judged_and_commands_nothing() -> None:
    loop = beside()
    before = len(loop.driver.commands)
    loop.moves("cart", v1=950, v2=50)
    loop.run(40)
    found = loop.driver.version_set("production/cart/v2")
    assert found is not None
    assert {g.guard.service: g.guard.role.value for g in found.guards if g.guard.service} == {
        "cart": "changed",
        "front": "caller",
        "pay": "callee",
    }
    asked = loop.driver.assignments[-1].assignment
    assert (asked.advised, asked.weight, [(c.candidate, c.stable) for c in asked.changed]) == (True, 0.05, [("v2", "v1")])
    assert len(loop.driver.commands) == before


def test_a_healthy_version_is_advised_on_at_each_share_until_it_keeps_everything() -> None:
    loop = beside()
    judged = []
    for share in (100, 500, 1000):
        loop.moves("cart", v1=1000 - share, v2=share)
        loop.run(70)
        judged.append((loop.driver.assignments[-1].assignment.weight, word(loop, "cart/v2")))
    assert judged == [(0.1, Word.ADVANCE), (0.5, Word.ADVANCE), (1.0, Word.ADVANCE)]
    until(loop, "cart/v2", Phase.COMPLETED)
    assert [n.event for n in loop.driver.notices][-4:] == ["advice-advance", "advice-advance", "advice-advance", "advice-ended"]
    assert all(c.target.service != "cart" for c in loop.driver.commands)


def test_a_version_that_harms_is_advised_to_be_aborted_until_it_is_gone() -> None:
    loop = beside()
    loop.judge.faulty.add(("cart", "v2"))
    loop.moves("cart", v1=900, v2=100)
    loop.run(70)
    told = next(n for n in loop.driver.notices if n.event == "advice-abort")
    assert "we would abort at 10%: gates: errors of cart v2" in told.text
    assert told.weights == {"cart": {"v1": 90, "v2": 10}}
    loop.moves("cart", v1=500, v2=500)
    loop.run(60)
    assert word(loop, "cart/v2") is Word.ABORT
    loop.moves("cart", v1=1000, v2=0)
    until(loop, "cart/v2", Phase.REVERTED)
    assert "takes no requests any more, as was advised" in loop.driver.notices[-1].text


def test_a_version_that_takes_everything_at_once_is_judged_against_the_past() -> None:
    loop = beside()
    loop.moves("cart", v2=1000)
    loop.run(30)
    assert loop.driver.assignments[-1].assignment.baking
    until(loop, "cart/v2", Phase.COMPLETED)


def test_the_next_version_is_compared_with_the_one_that_was_kept() -> None:
    loop = beside()
    loop.moves("cart", v2=1000)
    loop.run(30)
    until(loop, "cart/v2", Phase.COMPLETED)
    loop.moves("cart", v2=900, v3=100)
    loop.run(30)
    assert advised(loop, "cart/v3").units[0].stable == "v2"


def test_a_stray_request_of_an_old_version_is_no_rollout() -> None:
    loop = beside()
    loop.moves("cart", v1=1000, v0=2)
    loop.run(100)
    assert loop.driver.rollout("production/cart/v0") is None


def test_shares_that_scatter_by_chance_are_one_step() -> None:
    loop = beside()
    for extra in range(12):
        loop.moves("cart", v1=95, v2=3 + extra % 5)
        loop.run(10)
    assert len([a for a in loop.driver.assignments if a.assignment.advised]) == 1


def test_a_harm_at_full_share_that_nobody_heeds_is_told_once_and_ends_at_the_deadline() -> None:
    loop = beside()
    loop.judge.faulty.add(("cart", "v2"))
    loop.moves("cart", v2=1000)
    loop.run(30)
    until(loop, "cart/v2", Phase.COMPLETED, 1200)
    assert "against the advice" in loop.driver.notices[-1].text
    assert [n.event for n in loop.driver.notices].count("advice-abort") == 1


def test_an_abort_of_what_another_tool_moves_is_advice_and_never_refused() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    loop.say(Say.ABORT, rollout="production/cart/v2")
    loop.run(10)
    assert word(loop, "cart/v2") is Word.ABORT
    assert "another tool moves it, which is advised to abort" in reasons(loop)


def test_a_pause_and_a_freeze_are_advice_to_wait() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(70)
    assert word(loop, "cart/v2") is Word.ADVANCE
    loop.say(Say.FREEZE, service="cart")
    loop.run(10)
    assert word(loop, "cart/v2") is Word.WAIT
    loop.say(Say.UNFREEZE, service="cart")
    loop.say(Say.PAUSE, rollout="production/cart/v2")
    loop.run(10)
    assert word(loop, "cart/v2") is Word.WAIT


def test_force_and_promote_are_advice_to_go_on() -> None:
    loop = beside()
    loop.judge.unsure.add("cart")
    loop.moves("cart", v1=900, v2=100)
    loop.run(70)
    assert word(loop, "cart/v2") is Word.WAIT
    loop.say(Say.PROMOTE, rollout="production/cart/v2")
    loop.run(10)
    assert word(loop, "cart/v2") is Word.ADVANCE


def test_promote_force_and_skip_do_not_claim_to_move_what_another_tool_moves() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    loop.push("front", 2)
    loop.say(Say.PAUSE, rollout="production/front/2")
    for verb in (Say.PROMOTE, Say.FORCE, Say.SKIP):
        theirs = loop.say(verb, rollout="production/cart/v2")
        assert theirs is not None
        assert "production/cart/v2: another tool moves it, only our advice on it changes" in theirs.reasons[0].text
    both = loop.say(Say.PROMOTE)
    assert both is not None
    assert "production/front/2 promoted by one step; production/cart/v2: another tool moves it" in both.reasons[0].text


def test_nothing_that_moves_a_service_is_accepted_where_another_tool_moves_it() -> None:
    loop = beside()
    loop.push("cart", 1)
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    loop.moves("cart", v1=1000, v2=0)
    loop.run(60)
    for verb, more in ((Say.RETRY, {"rollout": "production/cart/v2"}), (Say.REVERT, {"service": "cart", "version": "#1"})):
        decision = loop.say(verb, **more)
        assert decision is not None
        assert decision.disposition == "ignored"
    assert all(c.target.service != "cart" for c in loop.driver.commands)


def test_our_rollout_of_a_neighbour_waits_until_the_other_tool_has_all_traffic_there() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    loop.push("pay", 2)
    loop.run(30)
    assert phase(loop, "pay/2") is Phase.QUEUED
    loop.moves("cart", v2=1000)
    until(loop, "pay/2", Phase.COMPLETED)
    assert weights(loop, "pay") == {"#2": 100}


def test_a_rollout_that_another_tool_leaves_standing_gives_up_its_place_before_ours() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.COMPLETED, 1500)
    assert phase(loop, "cart/v2") is Phase.ADVISING


def test_blindness_is_advice_to_wait() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(70)
    loop.judge.telemetry.late = True
    loop.run(30)
    assert word(loop, "cart/v2") is Word.WAIT
    assert "telemetry is late" in (advised(loop, "cart/v2").advice.text)  # type: ignore[union-attr]


def test_advice_ends_where_the_catalog_asks_for_none_any_more() -> None:
    loop = beside()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    loop.give(CatalogApplied(_catalog(QUICK), "h2", "ada"))
    assert phase(loop, "cart/v2") is Phase.DISMISSED


def _handed_over(policy: Policy) -> Loop:
    """Cart #2 serves beside nothing, #1 is parked, and from now on another tool moves cart."""
    loop = shop(policy=policy)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    _hand_over(loop, replace(policy, mode=Mode.ADVISE))
    return loop


def _hand_over(loop: Loop, policy: Policy) -> None:
    loop.give(CatalogApplied(catalog(*[service(name, policy if name == "cart" else QUICK) for name in (*SHOP, "island")]), "h2", "ada"))


@pytest.mark.parametrize("answer", list(OnDrift))
def test_what_was_handed_over_to_another_tool_is_neither_restored_nor_cleaned_up(answer: OnDrift) -> None:
    policy = replace(QUICK, on_drift=answer)
    loop = _handed_over(policy)
    told = len(loop.driver.commands)
    loop.world.edit("cart", {"#1": 30, "#2": 70}, "")
    loop.tell_world("cart", WorldCause.DRIFT, "weights moved")
    loop.run(800)
    assert "cart is left as it is, since another tool moves it (mode advise)" in reasons(loop)
    assert (len(loop.driver.commands), weights(loop, "cart")) == (told, {"#1": 30, "#2": 70})
    _hand_over(loop, policy)
    assert ("restored after drift: another tool moved it meanwhile" in [c.because for c in loop.driver.commands[told:]]) == (
        answer is OnDrift.RESTORE
    )
    assert (loop.driver.target("cart").strayed is not None) == (answer is OnDrift.HOLD)


def test_a_hand_that_lets_go_of_what_was_handed_over_moves_nothing() -> None:
    loop = _handed_over(QUICK)
    told = len(loop.driver.commands)
    loop.world.edit("cart", {"#1": 30, "#2": 70}, "weight 30")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 30")
    loop.run(20)
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "released")
    loop.run(1)
    assert "cart was released by whoever edited it by hand" in reasons(loop)
    assert (len(loop.driver.commands), weights(loop, "cart")) == (told, {"#1": 30, "#2": 70})


def test_what_waits_as_its_service_is_handed_over_does_not_begin() -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.run(5)
    loop.push("cart", 2)
    assert phase(loop, "cart/2") is Phase.QUEUED
    _hand_over(loop, ADVISED)
    until(loop, "pay/2", Phase.COMPLETED)
    assert phase(loop, "cart/2") is Phase.REVERTED
    assert "control retry reruns this once the catalog has it rolled out by us again" in reasons(loop)
    _hand_over(loop, QUICK)
    loop.say(Say.RETRY, service="cart", version="#2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#2": 100}


def test_a_push_does_not_wait_for_what_was_released_with_it_and_is_handed_over() -> None:
    """Its release is superseded and would move along, if we still moved it: the push goes on without it."""
    loop = release_waiting()
    catalog_now = catalog(*[service(name, ADVISED if name == "front" else QUICK) for name in (*SHOP, "island")])
    loop.give(CatalogApplied(catalog_now, "h2", "ada"))
    loop.push("cart", 4)
    assert "front #2 does not move on: front is only advised on (mode advise)" in reasons(loop)
    until(loop, "cart/4", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "front")) == ({"#4": 100}, {"#1": 100})


def test_what_climbs_as_its_service_is_handed_over_comes_to_its_end() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    _hand_over(loop, ADVISED)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_restart_while_another_tool_is_at_work_changes_nothing() -> None:
    calm, restarted = beside(), beside()
    for loop in (calm, restarted):
        loop.moves("cart", v1=900, v2=100)
        loop.run(40)
    restarted.driver.restart()
    for loop in (calm, restarted):
        loop.moves("cart", v2=1000)
        loop.run(100)
    assert calm.driver.outputs == restarted.driver.outputs


def test_a_digest_as_version_label_gives_an_id_that_can_be_typed() -> None:
    loop = beside()
    loop.moves("cart", **{"v1": 900, "sha256:" + "ab" * 32: 100})
    loop.run(30)
    assert advised(loop, "cart/abababababab").units[0].candidate.startswith("sha256:")
