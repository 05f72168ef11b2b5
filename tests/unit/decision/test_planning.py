"""A plan says what would happen and changes nothing."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.planning import BakeProof, in_words, plan, plan_push
from ctrlplane_stream.model.facts import CatalogApplied, OverrideVerb
from ctrlplane_stream.model.policy import Mode, Step, Unsure
from ctrlplane_stream.model.verdicts import GatePolicy, OnUnprovable
from ctrlplane_stream.simulation.loop import QUICK, Loop, artifact, catalog, service


def _shop() -> Loop:
    loop = Loop.of(catalog(service("front"), service("cart"), service("pay")))
    for name in ("front", "cart", "pay"):
        loop.push(name, 1)
    loop.run(150)
    loop.edges("front>cart", "cart>pay")
    return loop


def test_a_plan_names_the_set_its_steps_and_their_length_and_leaves_the_state_alone() -> None:
    loop = _shop()
    before = list(loop.driver.state.entries())
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    assert planned.rollout == "production/cart/2"
    assert planned.waits_for is None
    assert [step.weight for step in planned.steps] == [10, 50, 100]
    assert {g.guard.service for g in planned.version_set.guards} == {"cart", "front", "pay", ""}  # type: ignore[union-attr]
    assert list(loop.driver.state.entries()) == before


def test_a_plan_says_its_times_as_people_do() -> None:
    """Nobody reads 2581 s as the 43 minutes that they are."""
    loop = _shop()
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    step = replace(planned.steps[0], min_seconds=2.5, max_seconds=3600.0, proof_seconds=2581.0, provable=False)
    proof = BakeProof(9000.0, 3600.0, Unsure.SOAK)
    lines = in_words(replace(planned, steps=(step,), bake_seconds=600.0, bake_proof=proof))
    assert "2.5 s to 60 min; proof would take about 43 min at " in lines[-2]
    assert "it bakes for 10 min (this traffic proves it only in about 2.5 h, it has 60 min for that" in lines[-1]


def test_what_is_planned_is_what_is_then_decided() -> None:
    loop = _shop()
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    loop.push("cart", 2)
    assert loop.driver.version_set("production/cart/2") == planned.version_set


def test_a_plan_says_what_it_would_wait_for() -> None:
    loop = _shop()
    loop.push("pay", 2)
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    assert "waits until production/pay/2 is verified at 100" in (planned.waits_for or "")
    assert any("after this" in line for line in in_words(planned))


@pytest.mark.parametrize("policy", [{"auto_promote": False}, {"steps": (Step(10, 10, 300, approval=True), Step(100, 10, 300))}])
def test_a_plan_says_which_steps_wait_for_a_person(policy: dict[str, object]) -> None:
    """Whoever read how long each step lasts looked for it at 50% when nobody had been asked yet."""
    loop = _shop()
    loop.give(CatalogApplied(catalog(service("front"), service("cart", replace(QUICK, **policy)), service("pay")), "h2", "ada"))
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    assert [step.approval for step in planned.steps] == ([True] * 3 if "auto_promote" in policy else [True, False])
    said = [line for line in in_words(planned) if "left only once somebody promotes it" in line]
    assert len(said) == sum(step.approval for step in planned.steps)
    loop.push("cart", 2)
    loop.run(200)
    assert [hold.code for hold in loop.driver.rollout("production/cart/2").holds] == ["approval"]  # type: ignore[union-attr]


def test_a_plan_says_that_what_nobody_knows_waits_for_a_person() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, on_unknown_service=Unsure.HOLD))))
    planned = plan(loop.driver.state, (artifact("cart", 1),))
    said = "cart was never seen in a trace, so nobody knows who depends on it; the policy wants somebody to promote it"
    assert planned.approval == said
    assert f"  held before it has any weight: {said}" in in_words(planned)
    loop.push("cart", 1)
    loop.run(30)
    assert [hold.text for hold in loop.driver.rollout("production/cart/1").holds] == [said]  # type: ignore[union-attr]


def test_steps_that_this_traffic_cannot_prove_are_said_beforehand() -> None:
    loop = Loop.of(catalog(service("cart")))
    planned = plan(loop.driver.state, (artifact("cart", 1),))
    assert planned.steps[0].proof_seconds is None
    assert any("cannot prove" in line for line in in_words(planned))


@pytest.mark.parametrize(
    ("answer", "gate", "said"),
    [
        (Unsure.SOAK, GatePolicy(), "then it goes on unproven"),
        (Unsure.HOLD, GatePolicy(), "then it is held for a person"),
        (Unsure.ABORT, GatePolicy(), "then it is reverted, healthy or not"),
        (Unsure.SOAK, GatePolicy(on_unprovable=OnUnprovable.APPROVAL), "then it is held for a person"),
    ],
)
def test_a_step_that_is_too_short_for_its_proof_is_said_beforehand(answer: Unsure, gate: GatePolicy, said: str) -> None:
    """The reader had to compare the seconds, and to know what the policy says of it."""
    loop = _shop()
    policy = replace(QUICK, steps=(Step(10, 10, 40), Step(100, 10, 3600)), on_unprovable=answer, gate=gate)
    loop.give(CatalogApplied(catalog(service("front"), service("cart", policy), service("pay")), "h2", "ada"))
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    short = planned.steps[0]
    assert short.proof_seconds is not None
    assert (short.provable, short.has_seconds) == (False, 40)
    (line,) = (line for line in in_words(planned) if "1, 10%:" in line)
    assert "it has 40 s for that, and " + said in line


def test_what_is_done_with_a_step_that_has_no_traffic_is_said_beforehand() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, on_unknown_service=Unsure.HOLD, on_no_data=Unsure.ABORT))))
    lines = in_words(plan(loop.driver.state, (artifact("cart", 1),)))
    assert any("cannot prove the margin, and it is reverted" in line for line in lines)


def test_a_version_that_is_known_or_foreign_would_start_nothing() -> None:
    loop = _shop()
    assert "already" in plan(loop.driver.state, (artifact("cart", 1),)).refused[0]
    assert "has no service" in plan(loop.driver.state, (artifact("ghost", 1),)).refused[0]


@pytest.mark.parametrize(
    ("answer", "said"), [(Unsure.SOAK, "it ends unproven"), (Unsure.HOLD, "held for a person"), (Unsure.ABORT, "reverted, healthy or not")]
)
def test_a_bake_that_is_too_short_for_its_proof_is_said_beforehand(answer: Unsure, said: str) -> None:
    loop = _shop()
    policy = replace(QUICK, steps=(Step(10, 10, 60), Step(100, 10, 20)), on_unprovable_bake=answer)
    loop.give(CatalogApplied(catalog(service("front"), service("cart", policy), service("pay")), "h2", "ada"))
    planned = plan(loop.driver.state, (artifact("cart", 2),))
    assert planned.bake_proof is not None
    assert not planned.bake_proof.suffices
    assert said in in_words(planned)[-1]


def test_a_plan_refuses_what_the_policy_would_not_begin() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, on_unknown_service=Unsure.ABORT))))
    planned = plan(loop.driver.state, (artifact("cart", 1),))
    assert "cart was never seen in a trace, so nobody knows who depends on it, and the policy refuses that" in planned.refused[0]
    assert planned.version_set is None


def test_a_plan_says_that_another_tool_moves_what_is_only_advised_on() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, mode=Mode.ADVISE)), service("pay")))
    said = ("cart is only advised on (mode advise): another tool moves it",)
    assert plan(loop.driver.state, (artifact("cart", 1),)).refused == said
    assert plan(loop.driver.state, (artifact("cart", 1), artifact("pay", 1))).refused == said


def test_a_plan_says_that_what_moves_together_is_collected_first() -> None:
    loop = Loop.of(catalog(service("cart", moves_together="g"), service("pay", moves_together="g")))
    assert "release group g: 1 of 2 services so far" in (plan(loop.driver.state, (artifact("cart", 1),)).waits_for or "")
    loop.push("pay", 1)
    assert plan(loop.driver.state, (artifact("cart", 1),)).waits_for is None


def test_a_plan_moves_what_its_group_has_collected_already() -> None:
    """The id, the guards and the strictest policy are those of the whole set that the push would begin, now or without the rest."""
    loop = Loop.of(catalog(*(service(name, moves_together="g") for name in ("cart", "front", "pay"))))
    loop.push("cart", 1)
    two = plan(loop.driver.state, (artifact("pay", 1),))
    assert (two.rollout, [unit.service for unit in two.version_set.changed]) == ("production/cart/1", ["cart", "pay"])  # type: ignore[union-attr]
    assert "release group g: 2 of 3 services so far" in (two.waits_for or "")
    loop.push("pay", 1)
    whole = plan(loop.driver.state, (artifact("front", 1),))
    assert whole.waits_for is None
    loop.push("front", 1)
    assert loop.driver.version_set("production/cart/1") == whole.version_set
    assert [unit.service for unit in whole.version_set.changed] == ["cart", "front", "pay"]  # type: ignore[union-attr]


def test_a_plan_waits_for_nothing_that_its_own_push_withdraws() -> None:
    """What waits for a neighbour of a member that has left the catalog gives way at once to what does not wait for that."""
    loop = Loop.of(catalog(service("front"), service("cart"), service("pay")))
    loop.edges("front>pay")
    loop.push("front", 1)
    for name in ("cart", "pay"):
        loop.push(name, 1, release="r", release_size=2)
    loop.give(CatalogApplied(catalog(service("front"), service("cart")), "h2", "ada"))
    assert "front" in loop.driver.rollout("production/cart/1").waiting_for  # type: ignore[union-attr,operator]
    assert plan(loop.driver.state, (artifact("cart", 2),)).waits_for is None
    loop.push("cart", 2)
    assert loop.driver.rollout("production/cart/2").phase == "preparing"  # type: ignore[union-attr]


def test_an_image_of_which_two_services_come_is_planned_as_it_is_pushed_a_rollout_for_each() -> None:
    """The second may wait for the first; services that move together are one."""
    loop = _shop()
    pushed = (artifact("cart", 2), artifact("pay", 2))
    planned = plan_push(loop.driver.state, pushed)
    assert (planned.rollout, [other.rollout for other in planned.also]) == ("production/cart/2", ["production/pay/2"])
    assert "waits until production/cart/2 is verified at 100" in (planned.also[0].waits_for or "")
    assert [line.split()[0] for line in in_words(planned) if " would start" in line] == ["production/cart/2", "production/pay/2"]
    together = Loop.of(catalog(service("cart", moves_together="g"), service("pay", moves_together="g")))
    planned = plan_push(together.driver.state, pushed)
    assert ([u.service for u in planned.version_set.changed], planned.also, planned.waits_for) == (["cart", "pay"], (), None)  # type: ignore[union-attr]


def test_a_plan_of_a_release_moves_what_its_push_would_move_and_says_what_does_not() -> None:
    loop = _shop()
    planned = plan(loop.driver.state, (artifact("cart", 1), artifact("pay", 2)))
    assert (planned.rollout, planned.without) == ("production/pay/2", ("cart #1, which serves, needs no rollout in release of these",))
    loop.push("cart", 2)
    planned = plan(loop.driver.state, (artifact("cart", 2), artifact("pay", 2)))
    assert planned.without == ("release of these goes on without cart #2, which production/cart/2 moves already",)
    loop.say(OverrideVerb.PIN, service="pay")
    kept = "pay is pinned to #1 by ada; control retry reruns this after unpin"
    waits = plan(loop.driver.state, (artifact("cart", 2), artifact("pay", 2))).waits_for or ""
    assert waits.startswith("waits until production/cart/2 is verified at 100")
    assert waits.endswith(f"; then it does not begin while it is so that {kept}")
    alone = _shop()
    alone.say(OverrideVerb.PIN, service="pay")
    assert plan(alone.driver.state, (artifact("cart", 2), artifact("pay", 2))).refused == (f"not begun: {kept}",)


def test_a_version_of_a_release_that_was_dropped_would_start() -> None:
    loop = _shop()
    loop.push("cart", 2, release="r1", release_size=2)
    loop.run(3700)
    assert plan(loop.driver.state, (artifact("cart", 2),)).rollout == "production/cart/2"
