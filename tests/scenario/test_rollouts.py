"""The incidents of the field as scenarios: what happens, and what the machine must make of it.

Each runs on the in-memory loop, in which every invariant is checked after every fact; a failure prints its transcript.
"""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.commands import Announce, Command, Verb
from ctrlplane_stream.model.facts import BuildChanged, CatalogApplied, OverrideRequested, ReleaseOrder, TimePassed, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.identity import EdgeKind, ServiceKind
from ctrlplane_stream.model.policy import MaintenanceWindow, Mode, Step, Supersede, Unsure
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service
from ctrlplane_stream.simulation.world import Sickness

SHOP = ("cart", "front", "pay", "stock")
EDGES = ("front>cart", "cart>pay", "front>stock")


def shop(*, running: bool = True, policy: object = QUICK, **more: object) -> Loop:
    """A shop of four services; ``running``: each has a first version that has baked."""
    loop = Loop.of(catalog(*[service(name, policy, **more) for name in SHOP], service("island", policy)))  # type: ignore[arg-type]
    if running:
        for name in (*SHOP, "island"):
            loop.push(name, 1)
        loop.run(150)
        loop.edges(*EDGES)
    return loop


def phase(loop: Loop, id_: str) -> Phase:
    """Where a rollout is."""
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None, loop.driver.transcript()
    return rollout.phase


def held(loop: Loop, id_: str) -> list[str]:
    """The codes of what holds a rollout."""
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None
    return [hold.code for hold in rollout.holds]


def weights(loop: Loop, name: str) -> dict[str, int]:
    """What the world serves."""
    return {label: v.weight for label, v in loop.world.target(name).versions.items() if v.weight}


def reasons(loop: Loop) -> str:
    """All sentences."""
    return "\n".join(reason.text for reason in loop.driver.reasons)


def until(loop: Loop, id_: str, wanted: Phase, limit: float = 900) -> None:
    """Run until a rollout is in a phase."""
    for _ in range(int(limit)):
        if phase(loop, id_) is wanted:
            return
        loop.run(1)
    raise AssertionError(f"{id_} never was {wanted}\n{loop.driver.transcript()}")


def test_the_first_version_ever_goes_to_full_weight_when_ready_and_becomes_last_known_good() -> None:
    loop = shop(running=False)
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.driver.target("cart").last_known_good.label == "#1"  # type: ignore[union-attr]


def test_a_first_version_that_fails_is_held_at_weight_zero_and_says_so() -> None:
    loop = shop(running=False)
    loop.judge.faulty.add(("cart", "#1"))
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.REVERTED)
    assert weights(loop, "cart") == {}
    assert "no last known good" in loop.driver.notices[-1].text


def test_a_good_release_climbs_every_step_bakes_and_parks_the_old_version() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    shifts = [
        c.wanted.weight("#2") for c in loop.driver.commands if c.verb is Verb.SHIFT and c.target.service == "cart" and c.wanted.weight("#2")
    ]
    assert shifts == [10, 50, 100]
    assert loop.driver.target("cart").stable == "#2"


def test_a_release_with_errors_is_reverted_at_its_first_step() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}
    assert max(c.wanted.weight("#2") for c in loop.driver.commands) == 10


def test_a_version_that_crashes_never_takes_weight() -> None:
    loop = shop()
    loop.world.sick["cart", "#2"] = Sickness.CRASHES
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert max(c.wanted.weight("#2") for c in loop.driver.commands) == 0


def test_a_version_that_never_becomes_ready_fails_after_its_timeout() -> None:
    loop = shop()
    loop.world.sick["cart", "#2"] = Sickness.NEVER_READY
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert "not ready after" in (loop.driver.rollout("production/cart/2").stopped_because or "")  # type: ignore[union-attr]


def test_a_candidate_that_loses_readiness_under_weight_fails_without_telemetry() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    loop.world.target("cart").versions["#2"].lost = True
    loop.tell_world("cart", WorldCause.READINESS)
    until(loop, "cart/2", Phase.REVERTED, 200)


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


def test_a_pause_holds_in_place_and_resume_goes_on() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    loop.run(120)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, ["pause"], {"#1": 90, "#2": 10})
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("at", [Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.DRAINING])
def test_an_abort_in_any_phase_ends_on_the_old_version(at: Phase) -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", at)
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.driver.target("cart").last_known_good.label == "#1"  # type: ignore[union-attr]


@pytest.mark.parametrize("at", [Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.DRAINING])
def test_a_restart_in_any_phase_changes_nothing(at: Phase) -> None:
    calm, restarted = shop(), shop()
    for loop in (calm, restarted):
        loop.push("cart", 2)
        until(loop, "cart/2", at)
    restarted.driver.restart()
    for loop in (calm, restarted):
        until(loop, "cart/2", Phase.COMPLETED)
    assert calm.driver.outputs == restarted.driver.outputs


def test_an_abort_of_a_queued_rollout_ends_it_without_a_command() -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.push("cart", 2)
    loop.say(Say.ABORT, rollout="production/cart/2")
    assert phase(loop, "cart/2") is Phase.REVERTED
    assert all(c.target.service != "cart" or not c.wanted.weight("#2") for c in loop.driver.commands)


def test_force_passes_the_gates_and_says_so() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FORCE, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert any(n.event == "forced" for n in loop.driver.notices)


def test_skip_passes_one_gate_only() -> None:
    loop = shop()
    loop.judge.unsure.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.SKIP, rollout="production/cart/2")
    loop.run(25)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.VERIFYING, {"#1": 50, "#2": 50})


def test_approval_gates_wait_for_a_person() -> None:
    loop = shop(policy=replace(QUICK, auto_promote=False))
    loop.say(Say.PROMOTE, all_steps=True)
    loop.run(100)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.run(120)
    assert held(loop, "cart/2") == ["approval"]
    loop.say(Say.PROMOTE, rollout="production/cart/2")
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}


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


def test_a_consumer_takes_weight_by_its_instances() -> None:
    loop = shop(kind=ServiceKind.CONSUMER)
    loop.push("stock", 2)
    until(loop, "stock/2", Phase.COMPLETED)
    assert weights(loop, "stock") == {"#2": 100}


@pytest.mark.parametrize("answer", [Unsure.ABORT, Unsure.HOLD])
def test_an_engine_that_is_down_for_longer_than_the_lease_ends_on_stable(answer: Unsure) -> None:
    loop = shop(policy=replace(QUICK, on_lease_expired=answer))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.engine_down = True
    loop.run(200)
    assert weights(loop, "cart") == {"#1": 100}
    loop.engine_down = False
    if answer is Unsure.ABORT:
        until(loop, "cart/2", Phase.REVERTED)
        assert weights(loop, "cart") == {"#1": 100}
    else:
        until(loop, "cart/2", Phase.PREPARING, 60)
    assert any(n.event == "lease-expired" for n in loop.driver.notices)


def test_leases_are_renewed_while_a_rollout_is_held() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    loop.run(300)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    assert any(c.verb is Verb.RENEW for c in loop.driver.commands)


def test_silence_of_the_service_holds_with_its_reason() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.silent.add("cart")
    loop.run(60)
    assert held(loop, "cart/2") == ["no-data"]
    loop.judge.silent.clear()
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_late_pipeline_holds_then_returns_the_candidate_to_weight_zero_and_goes_on_when_it_flows() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.late = True
    loop.run(20)
    assert "blind" in held(loop, "cart/2")
    loop.run(120)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.PREPARING, {"#1": 100})
    loop.judge.telemetry.late = False
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_judge_that_stands_still_is_blindness_too() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    loop.run(180)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.PREPARING, ["blind"])


def test_an_edit_by_hand_is_a_pause_until_somebody_resumes_over_it() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.edit("cart", {"#1": 70, "#2": 30}, "weight 30")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 30")
    loop.run(100)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == (["hand-edit"], {"#1": 70, "#2": 30})
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_break_glass_abort_ends_the_rollout() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.edit("cart", {"#1": 100}, "")
    loop.world.target("cart").edited = None
    loop.tell_world("cart", WorldCause.BREAK_GLASS, "by ada")
    until(loop, "cart/2", Phase.REVERTED)


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


def test_freezes_stop_steps_and_end_by_their_date() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FREEZE, service="cart", expires_ms=loop.now_ms + 100_000)
    loop.run(80)
    assert "frozen" in held(loop, "cart/2")
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_freeze_keeps_new_rollouts_in_the_queue() -> None:
    loop = shop()
    loop.say(Say.FREEZE)
    loop.push("cart", 2)
    loop.run(60)
    assert phase(loop, "cart/2") is Phase.QUEUED
    loop.say(Say.UNFREEZE)
    until(loop, "cart/2", Phase.COMPLETED)


def test_nothing_starts_outside_the_maintenance_windows() -> None:
    loop = shop()
    closed = MaintenanceWindow((0,), 0, 1)
    loop.give(CatalogApplied(catalog(*[service(n, replace(QUICK, maintenance=(closed,))) for n in (*SHOP, "island")]), "h2", "ada"))
    loop.push("cart", 2)
    loop.run(60)
    assert phase(loop, "cart/2") is Phase.QUEUED
    assert "maintenance" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]


def test_a_pinned_service_is_numbered_and_not_moved_until_it_is_retried() -> None:
    loop = shop()
    loop.say(Say.PIN, service="cart")
    loop.push("cart", 2)
    loop.run(20)
    assert loop.driver.rollout("production/cart/2") is None
    loop.say(Say.UNPIN, service="cart")
    loop.say(Say.RETRY, service="cart")
    until(loop, "cart/2", Phase.COMPLETED)


def test_retry_reruns_a_reverted_version_with_another_attempt() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.judge.faulty.clear()
    loop.say(Say.RETRY, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.driver.rollout("production/cart/2").attempt == 2  # type: ignore[union-attr]


def test_revert_returns_to_an_earlier_version_make_before_break() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_revert_that_fails_is_held_and_never_itself_reverted() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#1"))
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.run(120)
    assert held(loop, "cart/1") == ["revert-fails"]


def test_a_broken_actuator_holds_with_the_exact_list_and_goes_on_when_it_is_mended() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.broken.add("cart")
    loop.judge.faulty.add(("cart", "#2"))
    loop.run(40)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    assert rollout.phase is Phase.ABORTING
    assert "cart wanted #1 100%, #2 0%; seen #1 90%" in rollout.stuck[0]
    loop.world.broken.clear()
    until(loop, "cart/2", Phase.REVERTED)


def test_an_actuator_that_says_applied_and_is_not_is_not_believed() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.SHIFTING)
    loop.world.liars.add("cart")
    loop.run(30)
    assert phase(loop, "cart/2") is Phase.SHIFTING
    loop.world.liars.clear()
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_lost_outcome_is_found_by_telling_again() -> None:
    loop = shop()
    loop.push("cart", 2)
    loop.deliver = lambda fact: []
    loop.run(5)
    loop.deliver = lambda fact: [(0.0, fact)]
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_hold_past_its_deadline_is_reverted_and_gives_up_its_place() -> None:
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=100.0))
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/pay/2")
    loop.push("cart", 2)
    until(loop, "pay/2", Phase.REVERTED)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_clock_that_jumps_ends_neither_bake_nor_drain() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.driver.pipe(TimePassed(), at_ms=loop.now_ms + 86_400_000)
    assert phase(loop, "cart/2") is Phase.DRAINING


def test_a_hub_does_not_hold_up_its_callers() -> None:
    names = [f"c{i:02}" for i in range(25)]
    loop = Loop.of(catalog(*[service(n) for n in (*names, "hub")]))
    for name in (*names[:1], "hub"):
        loop.push(name, 1)
    loop.run(150)
    loop.edges(*[f"{name}>hub" for name in names])
    loop.push("hub", 2)
    loop.push(names[0], 2)
    loop.run(20)
    assert phase(loop, "c00/2") is not Phase.QUEUED


def test_a_completed_bake_announces_the_artifact_onward() -> None:
    loop = Loop.of(catalog(service("cart"), environment="staging", promotes_to=("production",)))
    loop.push("cart", 1)
    loop.run(200)
    assert [(a.environment, a.artifact.service) for a in loop.driver.announcements] == [("production", "cart")]
    assert all(isinstance(a, Announce) for a in loop.driver.announcements)


def test_the_same_artifact_twice_is_one_version() -> None:
    loop = shop()
    loop.push("cart", 1)
    assert "already version #1" in loop.driver.reasons[-1].text
    assert loop.driver.target("cart").newest == 1


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


def test_a_service_never_seen_waits_for_a_person_where_the_policy_says_hold() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, on_unknown_service=Unsure.HOLD))))
    loop.push("cart", 1)
    loop.run(30)
    assert held(loop, "cart/1") == ["approval"]
    loop.say(Say.PROMOTE, rollout="production/cart/1")
    until(loop, "cart/1", Phase.COMPLETED)


def test_a_policy_that_only_advises_commands_nothing() -> None:
    loop = Loop.of(catalog(service("cart", replace(QUICK, mode=Mode.ADVISE))))
    loop.push("cart", 1)
    loop.run(30)
    assert loop.driver.commands == []


def test_an_override_is_carried_out_once_per_id() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    fact = OverrideRequested("x1", Say.SKIP, "ada", "because", rollout="production/cart/2")
    loop.give(fact)
    loop.give(fact)
    assert "was answered before" in reasons(loop)


def test_an_unprovable_step_is_left_unproven_and_marked_where_the_policy_soaks() -> None:
    loop = shop(policy=replace(QUICK, steps=(Step(10, 10, 60), Step(100, 10, 60))))
    loop.judge.unsure.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.driver.rollout("production/cart/2").unproven == (0, 1)  # type: ignore[union-attr]


def test_a_change_of_build_is_on_the_record() -> None:
    loop = shop()
    loop.give(BuildChanged("b2", "b1"))
    assert "build b2 decides" in loop.driver.reasons[-1].text


def test_every_command_names_its_reason_and_no_ended_rollout_is_left_moving() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert all(isinstance(c, Command) and c.because for c in loop.driver.commands)
    assert all(r.phase in ENDED for r in loop.driver.rollouts)


def test_an_edit_by_hand_while_a_candidate_drains_is_gone_over_by_an_abort() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.world.edit("cart", {"#1": 96, "#2": 4}, "weight 4")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 4")
    loop.run(60)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.DRAINING, {"#1": 96, "#2": 4})
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_target_that_strays_after_its_weight_was_confirmed_is_told_again_when_somebody_resumes() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.target("cart").versions["#2"].weight = 0
    loop.world.target("cart").versions["#1"].weight = 100
    loop.tell_world("cart", WorldCause.DRIFT, "weights reset")
    loop.run(30)
    assert "drift" in held(loop, "cart/2")
    loop.say(Say.RESUME, rollout="production/cart/2")
    loop.run(5)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}


@pytest.mark.parametrize("entry", [service("cart", replace(QUICK, in_place=True)), service("cart", kind=ServiceKind.JOB)])
def test_what_cannot_be_rolled_out_by_weights_is_refused_and_not_run_side_by_side(entry: ServiceInEnvironment) -> None:
    loop = Loop.of(catalog(entry))
    loop.push("cart", 1)
    loop.run(30)
    assert loop.driver.commands == []
    assert "not carried out yet" in reasons(loop)


def test_a_promote_passes_no_failure() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#1"))
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.run(60)
    loop.say(Say.RESUME, rollout="production/cart/1")
    loop.say(Say.PROMOTE, rollout="production/cart/1", all_steps=True)
    loop.run(60)
    assert phase(loop, "cart/1") is Phase.VERIFYING
