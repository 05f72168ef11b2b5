"""Every line of a policy at work: what it changes, shown by a rollout."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, VerdictGiven, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import MaintenanceWindow, OnDrift, Policy, Step, Supersede, Unsure
from ctrlplane_stream.model.verdicts import (
    OUR_JUDGE,
    GatePolicy,
    Harm,
    Metric,
    OnUnprovable,
    OutsideJudge,
    Verdict,
    VerdictStatus,
)
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from tests.scenario.shop import SHOP, held, phase, reasons, shop, until, weights

ONE_STEP = replace(QUICK, steps=(Step(10, 10, 60), Step(100, 10, 60)))


def climbing(policy: Policy) -> Loop:
    """A shop whose cart is under this policy, with cart #2 at its first weight."""
    loop = shop()
    entries = [service(name, policy if name == "cart" else QUICK) for name in (*SHOP, "island")]
    loop.give(CatalogApplied(catalog(*entries), "h2", "ada"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    return loop


def say(loop: Loop, judge: str, status: VerdictStatus, step: int | None = None, **more: object) -> None:
    """A judge speaks about the step of cart #2; the bake comes after the last of them."""
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    verdict = Verdict(
        judge=judge,
        environment="production",
        rollout=rollout.id,
        step=rollout.step if step is None else step,
        **{"attempt": rollout.judged_attempt, "status": status, "reason": "so it says", **more},  # type: ignore[arg-type]
    )
    loop.give(VerdictGiven(verdict))


def approved_at_once(step: Step) -> Loop:
    """Cart #2 at this step, of which our judge is unsure and another, who may approve, says PASS after the first window."""
    approving = GatePolicy(outside=(OutsideJudge("business", may_approve=True),))
    loop = climbing(replace(QUICK, steps=(step, Step(100, 10, 60)), gate=approving))
    loop.judge.unsure.add("cart")
    loop.run(20)
    say(loop, "business", VerdictStatus.PASS)
    return loop


def test_a_step_is_left_as_soon_as_the_evidence_suffices_and_not_when_a_timer_rings() -> None:
    loop = climbing(replace(QUICK, steps=(Step(10, 0, 3000, 3), Step(100, 0, 3000, 3))))
    loop.run(41)
    assert weights(loop, "cart") == {"#2": 100}


def test_min_seconds_keep_a_proven_step() -> None:
    loop = climbing(replace(QUICK, steps=(Step(10, 200, 300), Step(100, 10, 300))))
    loop.run(190)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.run(30)
    assert weights(loop, "cart") == {"#2": 100}


def test_min_windows_keep_a_proven_step() -> None:
    loop = climbing(replace(QUICK, steps=(Step(10, 0, 300, 9), Step(100, 0, 300))))
    loop.run(85)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.run(30)
    assert weights(loop, "cart") == {"#2": 100}


def test_a_step_that_asks_for_approval_waits_for_somebody_and_the_next_does_not() -> None:
    loop = climbing(replace(QUICK, steps=(Step(10, 0, 300, approval=True), Step(50, 0, 300), Step(100, 0, 300))))
    loop.run(100)
    assert held(loop, "cart/2") == ["approval"]
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_bake_needs_its_windows_besides_its_time() -> None:
    loop = climbing(replace(QUICK, bake_seconds=0, bake_windows=12))
    until(loop, "cart/2", Phase.BAKING)
    loop.run(100)
    assert phase(loop, "cart/2") is Phase.BAKING
    loop.run(40)
    assert phase(loop, "cart/2") is not Phase.BAKING


def test_a_bake_that_proves_nothing_is_marked_unproven() -> None:
    loop = climbing(QUICK)
    until(loop, "cart/2", Phase.BAKING)
    loop.judge.unsure.add("cart")
    until(loop, "cart/2", Phase.COMPLETED)
    assert "→ draining, unproven: no harm shown" in reasons(loop)


def test_a_bake_that_proves_nothing_is_held_where_the_policy_holds() -> None:
    loop = climbing(replace(QUICK, on_unprovable=Unsure.HOLD))
    until(loop, "cart/2", Phase.BAKING)
    loop.judge.unsure.add("cart")
    loop.run(380)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.BAKING, ["unprovable"])
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        (replace(QUICK, on_unprovable=Unsure.ABORT), Phase.BAKING),
        (replace(QUICK, on_unprovable=Unsure.HOLD, on_unprovable_bake=Unsure.SOAK), Phase.COMPLETED),
        (replace(QUICK, on_unprovable_bake=Unsure.ABORT), Phase.REVERTED),
    ],
)
def test_a_bake_without_proof_reverts_a_healthy_version_only_where_the_policy_says_so_of_bakes(policy: Policy, ends: Phase) -> None:
    loop = climbing(policy)
    until(loop, "cart/2", Phase.BAKING)
    loop.judge.unsure.add("cart")
    loop.run(500)
    assert phase(loop, "cart/2") is ends
    assert held(loop, "cart/2") == (["unprovable"] if ends is Phase.BAKING else [])


def test_an_outside_judge_may_approve_a_bake_that_could_not_be_proven() -> None:
    loop = climbing(replace(QUICK, on_unprovable=Unsure.HOLD, gate=GatePolicy(outside=(OutsideJudge("business", may_approve=True),))))
    until(loop, "cart/2", Phase.BAKING)
    loop.judge.unsure.add("cart")
    loop.run(20)
    say(loop, "business", VerdictStatus.PASS, step=3)
    until(loop, "cart/2", Phase.DRAINING)


def test_the_old_version_is_parked_after_the_drain_time_and_deleted_after_the_retention() -> None:
    loop = climbing(replace(QUICK, drain_seconds=0, retention_seconds=200))
    until(loop, "cart/2", Phase.DRAINING)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.run(150)
    assert "#1" in loop.world.target("cart").versions
    loop.run(120)
    assert [c.verb for c in loop.driver.commands if c.target.service == "cart"][-1] is Verb.DELETE
    assert "#1" not in loop.world.target("cart").versions


def test_real_traffic_at_weight_zero_keeps_an_old_version_beyond_the_limit() -> None:
    loop = climbing(replace(QUICK, drain_seconds=20, drain_limit_seconds=100))
    loop.moves("cart", **{"#1": 300, "#2": 700})
    until(loop, "cart/2", Phase.DRAINING)
    loop.run(300)
    assert phase(loop, "cart/2") is Phase.DRAINING
    assert "still meets requests at weight 0: 300 of 1000 in the last 10 s" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]


def test_an_old_version_that_is_still_parked_is_back_without_being_built_again() -> None:
    loop = climbing(replace(QUICK, retention_seconds=100_000))
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED)
    assert not any(c.verb is Verb.DELETE for c in loop.driver.commands)


def harms(loop: Loop, failed: float, expected: float = 0.0, service: str = "cart", attempt: int | None = None) -> None:
    """Our judge tells, in what it watches now, how many requests that touched the candidate failed."""
    more = {} if attempt is None else {"attempt": attempt}
    harm = (Harm(service, failed, expected, expected),)
    say(loop, OUR_JUDGE, VerdictStatus.INCONCLUSIVE, harm=harm, windows_judged=1, **more)


def goes_on(loop: Loop) -> None:
    """The step passes, and the next one is watched."""
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    say(loop, OUR_JUDGE, VerdictStatus.PASS, harm=rollout.harm, windows_judged=9)
    while loop.driver.rollout("production/cart/2").judged_attempt == rollout.judged_attempt:  # type: ignore[union-attr]
        loop.run(1)
    assert phase(loop, "cart/2") is Phase.VERIFYING


def test_an_exposure_budget_aborts_whatever_the_statistics_say() -> None:
    loop = climbing(replace(QUICK, exposure_budget_requests=20))
    harms(loop, 20)
    assert phase(loop, "cart/2") is Phase.VERIFYING
    harms(loop, 23)
    assert phase(loop, "cart/2") is Phase.ABORTING
    assert "cart has harmed 21 requests at least, more than the budget of 20" in reasons(loop)


def test_an_exposure_budget_is_spent_by_all_steps_together() -> None:
    """A judge counts each step anew, and what was harmed before it was harmed all the same."""
    loop = climbing(replace(QUICK, exposure_budget_requests=20))
    harms(loop, 15)
    goes_on(loop)
    harms(loop, 5)
    assert phase(loop, "cart/2") is Phase.VERIFYING
    harms(loop, 8)
    assert phase(loop, "cart/2") is Phase.ABORTING
    assert "23 that touched it failed, of which 0 would have failed anyhow" in reasons(loop)


def test_an_exposure_budget_is_spent_by_all_climbs_together() -> None:
    loop = climbing(replace(QUICK, exposure_budget_requests=20, blind_limit_seconds=60))
    harms(loop, 15)
    loop.judge.telemetry.cut = True
    until(loop, "cart/2", Phase.PREPARING, 300)
    loop.judge.telemetry.cut = False
    until(loop, "cart/2", Phase.VERIFYING, 300)
    harms(loop, 8)
    assert phase(loop, "cart/2") is Phase.ABORTING


def test_what_would_have_failed_anyhow_spends_no_exposure_budget() -> None:
    """A shop in which one request in a hundred fails whoever serves it: every release was aborted for that."""
    loop = climbing(replace(QUICK, exposure_budget_requests=20))
    harms(loop, 3_000, expected=2_900)
    assert phase(loop, "cart/2") is Phase.VERIFYING
    harms(loop, 3_500, expected=2_900)
    assert phase(loop, "cart/2") is Phase.ABORTING
    assert "3500 that touched it failed, of which 2900 would have failed anyhow" in reasons(loop)


def test_what_is_told_of_harm_once_more_or_late_counts_once() -> None:
    loop = climbing(replace(QUICK, exposure_budget_requests=20))
    for failed in (12, 12, 3, 12, 14):
        harms(loop, failed)
    goes_on(loop)
    harms(loop, 15, attempt=1)
    harms(loop, 4)
    assert phase(loop, "cart/2") is Phase.VERIFYING
    harms(loop, 9)
    assert phase(loop, "cart/2") is Phase.ABORTING


def test_harm_is_counted_where_there_is_a_budget_for_it_whatever_the_gate_asks_for() -> None:
    gate = GatePolicy(metrics=(Metric.LATENCY_P99,), proof=(Metric.LATENCY_P99,))
    assert climbing(replace(QUICK, gate=gate, exposure_budget_requests=20)).driver.assignments[-1].assignment.counts_harm
    assert not climbing(replace(QUICK, gate=gate)).driver.assignments[-1].assignment.counts_harm


@pytest.mark.parametrize(
    ("answer", "ends"), [(Unsure.HOLD, Phase.VERIFYING), (Unsure.SOAK, Phase.COMPLETED), (Unsure.ABORT, Phase.REVERTED)]
)
def test_no_data_is_held_soaked_or_aborted_on(answer: Unsure, ends: Phase) -> None:
    loop = climbing(replace(ONE_STEP, on_no_data=answer))
    loop.judge.silent.add("cart")
    loop.run(250)
    assert phase(loop, "cart/2") is ends


@pytest.mark.parametrize(
    ("answer", "ends"), [(Unsure.HOLD, Phase.VERIFYING), (Unsure.SOAK, Phase.COMPLETED), (Unsure.ABORT, Phase.REVERTED)]
)
def test_what_cannot_be_proven_is_held_soaked_or_aborted_on(answer: Unsure, ends: Phase) -> None:
    loop = climbing(replace(ONE_STEP, on_unprovable=answer))
    loop.judge.unsure.add("cart")
    loop.run(250)
    assert phase(loop, "cart/2") is ends


def test_a_step_of_which_too_few_windows_were_judged_is_not_soaked_through_however_late_telemetry_is() -> None:
    loop = climbing(replace(QUICK, steps=(Step(50, 0, 60, 3), Step(100, 0, 60, 3)), on_unprovable=Unsure.SOAK))
    loop.judge.telemetry.cut = True
    for _ in range(12):
        say(loop, OUR_JUDGE, VerdictStatus.INCONCLUSIVE, windows_judged=2)
        loop.run(10)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, ["no-data"], {"#1": 50, "#2": 50})
    say(loop, OUR_JUDGE, VerdictStatus.INCONCLUSIVE, windows_judged=3)
    loop.run(5)
    assert weights(loop, "cart") == {"#2": 100}


@pytest.mark.parametrize(
    ("answer", "told"), [(Unsure.HOLD, OnUnprovable.HOLD), (Unsure.SOAK, OnUnprovable.SOAK), (Unsure.ABORT, OnUnprovable.HOLD)]
)
def test_the_judge_passes_nothing_unproven_where_the_policy_does_not_soak(answer: Unsure, told: OnUnprovable) -> None:
    loop = climbing(replace(ONE_STEP, on_unprovable=answer))
    assert loop.driver.assignments[-1].assignment.policy.on_unprovable is told


def test_a_gate_that_wants_an_approval_is_not_soaked_through() -> None:
    loop = climbing(replace(ONE_STEP, gate=GatePolicy(on_unprovable=OnUnprovable.APPROVAL)))
    loop.judge.unsure.add("cart")
    loop.run(100)
    assert held(loop, "cart/2") == ["unprovable"]


def test_an_outside_judge_may_veto() -> None:
    loop = climbing(replace(QUICK, gate=GatePolicy(outside=(OutsideJudge("business"),))))
    say(loop, "business", VerdictStatus.FAIL)
    assert phase(loop, "cart/2") is Phase.ABORTING


def test_an_outside_judge_without_a_veto_stops_nothing() -> None:
    loop = climbing(replace(QUICK, gate=GatePolicy(outside=(OutsideJudge("business", may_veto=False),))))
    say(loop, "business", VerdictStatus.FAIL)
    loop.run(40)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, {"#1": 50, "#2": 50})
    assert "business, step 1: " in reasons(loop)


def test_a_required_judge_that_never_passes_a_step_holds_it_with_a_deadline_and_may_be_skipped() -> None:
    loop = climbing(replace(ONE_STEP, gate=GatePolicy(outside=(OutsideJudge("business", may_veto=False, required=True),))))
    say(loop, "business", VerdictStatus.FAIL)
    loop.run(100)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.VERIFYING, ["unjudged"])
    assert loop.driver.notices[-1].next_command.startswith("ctrlplane-stream control skip production/cart/2")
    assert "and the policy requires it; it says FAIL: " in loop.driver.notices[-1].text
    loop.say(Say.SKIP, rollout="production/cart/2")
    loop.run(10)
    assert weights(loop, "cart") == {"#2": 100}


def test_an_outside_judge_that_is_required_is_waited_for() -> None:
    loop = climbing(replace(QUICK, gate=GatePolicy(outside=(OutsideJudge("business", required=True),))))
    loop.run(100)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    say(loop, "business", VerdictStatus.PASS)
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}


def test_an_outside_judge_may_approve_what_could_not_be_proven() -> None:
    loop = climbing(replace(QUICK, gate=GatePolicy(outside=(OutsideJudge("business", may_approve=True),))))
    loop.judge.unsure.add("cart")
    loop.run(40)
    say(loop, "business", VerdictStatus.PASS)
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}


def test_an_outside_judge_may_approve_what_is_in_doubt() -> None:
    loop = climbing(replace(QUICK, gate=GatePolicy(outside=(OutsideJudge("business", may_approve=True),))))
    loop.judge.doubted.add("cart")
    loop.run(350)
    (hold,) = loop.driver.rollout("production/cart/2").holds  # type: ignore[union-attr]
    assert (hold.code, hold.text.endswith("; business may approve it")) == ("doubted", True)
    say(loop, "business", VerdictStatus.PASS)
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}


def test_what_is_in_doubt_is_a_failure_where_the_policy_aborts_on_what_is_not_proven() -> None:
    loop = climbing(replace(ONE_STEP, on_unprovable=Unsure.ABORT))
    loop.judge.doubted.add("cart")
    until(loop, "cart/2", Phase.REVERTED)


def test_silence_that_follows_a_doubt_is_not_soaked_through() -> None:
    loop = climbing(replace(ONE_STEP, on_no_data=Unsure.SOAK))
    loop.judge.silent.add("cart")
    loop.judge.doubted.add("cart")
    loop.run(250)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == (["doubted"], {"#1": 90, "#2": 10})


@pytest.mark.parametrize("doubtful", [{}, {"doubtful": False}])
def test_a_verdict_that_says_nothing_of_doubt_is_soaked_as_ever(doubtful: dict[str, bool]) -> None:
    """Builds before this one and judges outside do not say it."""
    loop = climbing(ONE_STEP)
    loop.judge.telemetry.cut = True
    for _ in range(7):
        say(loop, OUR_JUDGE, VerdictStatus.INCONCLUSIVE, windows_judged=5, **doubtful)
        loop.run(10)
    assert weights(loop, "cart") == {"#2": 100}


def test_an_outside_judge_approves_no_step_that_is_too_young() -> None:
    loop = approved_at_once(Step(10, 60, 300, 1))
    loop.run(35)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.run(30)
    assert weights(loop, "cart") == {"#2": 100}


def test_an_outside_judge_approves_no_step_of_which_too_few_windows_were_judged() -> None:
    loop = approved_at_once(Step(10, 0, 300, 5))
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.run(40)
    assert weights(loop, "cart") == {"#2": 100}


def test_an_outside_judge_approves_no_step_whose_arrivals_contradict_the_weight() -> None:
    loop = climbing(replace(QUICK, gate=GatePolicy(outside=(OutsideJudge("business", may_approve=True),))))
    loop.judge.unsure.add("cart")
    loop.judge.bypassed.add("cart")
    loop.run(60)
    assert held(loop, "cart/2") == ["contradicted"]
    say(loop, "business", VerdictStatus.PASS)
    loop.run(20)
    assert held(loop, "cart/2") == ["contradicted"]
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}


def test_a_judge_that_the_policy_does_not_name_has_no_say() -> None:
    loop = climbing(QUICK)
    say(loop, "somebody", VerdictStatus.FAIL)
    assert phase(loop, "cart/2") is Phase.VERIFYING
    assert "the policy gives this judge no say" in reasons(loop)


def test_telemetry_that_is_lost_for_longer_than_the_limit_sends_the_candidate_to_weight_zero() -> None:
    loop = climbing(replace(QUICK, blind_limit_seconds=100))
    loop.run(15)
    loop.judge.telemetry.late = True
    loop.run(90)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.run(40)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_service_takes_no_new_rollout_while_it_is_held_after_a_revert() -> None:
    loop = climbing(replace(QUICK, hold_after_revert_seconds=200))
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/2", Phase.REVERTED)
    loop.push("cart", 3)
    loop.run(150)
    assert phase(loop, "cart/3") is Phase.QUEUED
    assert "takes no new rollout for another" in (loop.driver.rollout("production/cart/3").waiting_for or "")  # type: ignore[union-attr]
    until(loop, "cart/3", Phase.COMPLETED)


def test_a_drift_is_restored_once_where_the_policy_says_so() -> None:
    loop = climbing(replace(QUICK, on_drift=OnDrift.RESTORE))
    world = loop.world.target("cart").versions
    world["#1"].weight, world["#2"].weight = 100, 0
    loop.tell_world("cart", WorldCause.DRIFT, "weights reset")
    loop.run(5)
    assert (weights(loop, "cart"), held(loop, "cart/2")) == ({"#1": 90, "#2": 10}, [])


def test_a_silent_actuator_is_named_after_the_time_that_the_policy_gives_it() -> None:
    loop = climbing(replace(QUICK, lost_actuator_seconds=30))
    loop.world.broken.add("cart")
    loop.deliver = lambda fact: [] if type(fact).__name__ == "OutcomeReported" else [(0.0, fact)]
    until(loop, "cart/2", Phase.SHIFTING)
    loop.run(40)
    assert held(loop, "cart/2") == ["stuck"]
    assert any("its actuator has not answered for" in told.text for told in loop.driver.notices)


def test_a_climb_pauses_outside_the_maintenance_windows_and_an_abort_does_not_wait_for_them() -> None:
    tuesday_2213 = MaintenanceWindow((1,), 22 * 60, 22 * 60 + 18)  # the simulated time begins on a Tuesday at 22:13:20 UTC
    loop = climbing(replace(QUICK, maintenance=(tuesday_2213,), steps=(Step(10, 200, 300), Step(100, 10, 300))))
    loop.run(250)
    assert held(loop, "cart/2") == ["maintenance"]
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)


def test_people_are_told_of_holds_and_reverts_with_weights_deadline_and_the_next_command() -> None:
    loop = climbing(QUICK)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    told = loop.driver.notices[-1]
    assert (told.event, told.weights["cart"], told.next_command) == (
        "held",
        {"#1": 90, "#2": 10},
        "ctrlplane-stream control resume production/cart/2 --why REASON",
    )
    assert told.deadline_ms == loop.now_ms + 900_000
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    told = loop.driver.notices[-1]
    assert (told.event, told.next_command) == ("reverted", "ctrlplane-stream rollout production/cart/2")
    assert "cart serves #1" in told.text


@pytest.mark.parametrize("policy", [replace(ONE_STEP, on_no_data=Unsure.ABORT), replace(ONE_STEP, on_unprovable=Unsure.ABORT)])
def test_a_policy_that_aborts_when_unsure_reverts_no_revert(policy: Policy) -> None:
    loop = climbing(policy)
    until(loop, "cart/2", Phase.COMPLETED)
    (loop.judge.silent if policy.on_no_data is Unsure.ABORT else loop.judge.unsure).add("cart")
    loop.say(Say.REVERT, service="cart")
    loop.run(300)
    assert (phase(loop, "cart/1"), held(loop, "cart/1"), weights(loop, "cart")) == (Phase.VERIFYING, ["revert-fails"], {"#1": 100})
    loop.say(Say.FORCE, rollout="production/cart/1")
    until(loop, "cart/1", Phase.COMPLETED)


@pytest.mark.parametrize("group", [None, "checkout"])
def test_what_moves_together_goes_by_the_strictest_rules_of_all(group: str | None) -> None:
    """A release, or services that always move together: each keeps what its own policy asks for."""
    quick = replace(QUICK, steps=(Step(5, 10, 300, 1), Step(100, 10, 300, 1)), drain_seconds=0)
    careful = replace(QUICK, steps=(Step(50, 10, 300, 1, approval=True), Step(100, 10, 300, 1)))
    careful = replace(careful, drain_seconds=60, drain_limit_seconds=120, bake_seconds=120)
    loop = Loop.of(catalog(service("cart", quick, moves_together=group), service("pay", careful, moves_together=group)))
    more = {} if group else {"release": "r1", "release_size": 2}
    for number in (1, 2):
        for name in ("cart", "pay"):
            loop.push(name, number, **more)  # type: ignore[arg-type]
            more |= {"release": "r2"} if more and name == "pay" else {}
        loop.run(400)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "pay")) == (Phase.VERIFYING, ["approval"], {"#1": 50, "#2": 50})
    assert "goes by the policy of cart, and in each line that of pay where it is stricter" in reasons(loop)
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.BAKING)
    baked_ms = loop.now_ms
    until(loop, "cart/2", Phase.DRAINING)
    assert loop.now_ms - baked_ms >= 115_000
    assert loop.driver.version_set("production/cart/2").policy.drain_seconds == 60


@pytest.mark.parametrize("group", [None, "checkout"])
def test_what_moves_together_takes_the_steps_of_all_and_leaves_each_by_the_rules_of_whoever_has_it(group: str | None) -> None:
    """A person's word between two steps of the other's was asked of nobody."""
    quick = replace(QUICK, steps=(Step(5, 10, 300, 1), Step(100, 10, 300, 1)))
    careful = replace(QUICK, steps=(Step(10, 10, 300, 1), Step(50, 60, 300, 4, approval=True), Step(100, 10, 300, 1)))
    loop = Loop.of(catalog(service("cart", quick, moves_together=group), service("pay", careful, moves_together=group)))
    for number in (1, 2):
        for name in ("cart", "pay"):
            loop.push(name, number, **({} if group else {"release": f"r{number}", "release_size": 2}))  # type: ignore[arg-type]
        loop.run(400)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "pay")) == (Phase.VERIFYING, ["approval"], {"#1": 50, "#2": 50})
    steps = loop.driver.rollout("production/cart/2").steps  # type: ignore[union-attr]
    assert steps == (Step(5, 10, 300, 1), Step(10, 10, 300, 1), Step(50, 60, 300, 4, approval=True), Step(100, 10, 300, 1))
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("exchange", [{"in_place": True}, {"surge_percent": 25}], ids=["in place", "in portions"])
def test_an_approval_at_a_step_that_the_world_cannot_show_is_asked_for_at_the_one_below(exchange: dict[str, int]) -> None:
    """Of four instances a quarter is the first to be seen, and of two steps that are as many instances the later one was left out."""
    steps = (Step(25, 0, 60, 1), Step(30, 0, 60, 1, approval=True), Step(100, 0, 60, 1))
    loop = climbing(replace(QUICK, steps=steps, **exchange))
    loop.run(200)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, ["approval"], {"#1": 75, "#2": 25})


def test_what_moves_together_waits_where_its_maintenance_windows_never_meet() -> None:
    sundays, mondays = (replace(QUICK, maintenance=(MaintenanceWindow((day,), 0, 1440),)) for day in (6, 0))
    loop = Loop.of(catalog(service("cart", sundays), service("pay", mondays)))
    for name in ("cart", "pay"):
        loop.push(name, 1, release="r1", release_size=2)
    loop.run(30)
    assert phase(loop, "cart/1") is Phase.QUEUED
    assert "no time in common, so it never begins: release them apart, or let these meet" in reasons(loop)


def test_what_a_closed_maintenance_window_keeps_is_ended_by_no_deadline() -> None:
    tuesday_2213 = MaintenanceWindow((1,), 22 * 60 + 13, 22 * 60 + 17)
    loop = climbing(replace(QUICK, maintenance=(tuesday_2213,), steps=(Step(10, 200, 300), Step(100, 10, 300)), hold_deadline_seconds=120))
    loop.run(1_500)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.VERIFYING, ["maintenance"])
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}


def test_what_queues_begins_by_the_policy_of_now_and_what_climbs_keeps_its_own() -> None:
    loop = shop()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.push("cart", 2)
    sundays = replace(QUICK, maintenance=(MaintenanceWindow((6,), 0, 1440),))
    loop.give(CatalogApplied(catalog(*[service(name, sundays) for name in (*SHOP, "island")]), "h2", "ada"))
    assert "production/cart/2, still queued, goes by the policy of cart as it is now" in reasons(loop)
    until(loop, "pay/2", Phase.COMPLETED)
    loop.run(200)
    assert phase(loop, "cart/2") is Phase.QUEUED
    assert "outside the maintenance windows" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]


def test_what_starts_over_for_a_newer_version_was_not_found_bad_so_that_waits_for_no_hold_after_a_revert() -> None:
    loop = climbing(replace(QUICK, supersede=Supersede.RESTART, hold_after_revert_seconds=3_000))
    loop.push("cart", 3)
    until(loop, "cart/2", Phase.REVERTED)
    until(loop, "cart/3", Phase.COMPLETED, 300)
