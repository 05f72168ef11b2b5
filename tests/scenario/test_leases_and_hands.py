"""Leases, edits by hand, broken glass and drift."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeReported, WorldCause, WorldChanged
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.policy import OnDrift, Policy, Step, Unsure
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, digest, service
from tests.scenario.shop import held, old_version_being_parked, parked_beside_stable, phase, reasons, shop, until, weights


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


def at_the_last_step(policy: Policy) -> Loop:
    """Cart #2 at half of the traffic is told to take all of it, and half of its instances are made anew just then."""
    loop = shop(policy=policy)
    loop.push("cart", 2)
    while not any(command.wanted.weight("#2") == 100 for command in loop.driver.commands):
        loop.actuation_seconds = 2
        loop.run(1)
    candidate = loop.world.target("cart").versions["#2"]
    candidate.fresh, candidate.ready_at_ms = 2, loop.now_ms + 70_000
    loop.run(4)
    assert weights(loop, "cart") == {"#1": 50, "#2": 50}
    return loop


def test_a_last_step_that_is_not_in_force_when_the_engine_goes_down_ends_on_stable() -> None:
    loop = at_the_last_step(QUICK)
    loop.world.target("cart").versions["#2"].ready_at_ms = 2**62
    loop.engine_down = True
    loop.run(200)
    assert weights(loop, "cart") == {"#1": 100}
    loop.engine_down = False
    until(loop, "cart/2", Phase.REVERTED)


def test_a_last_step_that_came_into_force_while_the_engine_was_down_stays_and_goes_on() -> None:
    loop = at_the_last_step(QUICK)
    loop.engine_down = True
    loop.run(200)
    assert weights(loop, "cart") == {"#2": 100}
    loop.engine_down = False
    until(loop, "cart/2", Phase.COMPLETED)
    assert "the lease on cart" not in reasons(loop)


def test_the_lease_of_a_last_step_is_renewed_for_as_long_as_it_waits_for_instances() -> None:
    loop = at_the_last_step(replace(QUICK, lease_seconds=30, lost_actuator_seconds=100))
    until(loop, "cart/2", Phase.COMPLETED)
    assert "the lease on cart" not in reasons(loop)


def test_a_rollout_whose_lease_expired_waits_at_weight_0_for_a_person_whatever_telemetry_says() -> None:
    loop = shop(policy=replace(QUICK, on_lease_expired=Unsure.HOLD))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.engine_down = True
    loop.run(200)
    loop.engine_down = False
    loop.run(300)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.PREPARING, ["lease-expired"], {"#1": 100})
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_leases_are_renewed_while_a_rollout_is_held() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    loop.run(300)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    assert any(c.verb is Verb.RENEW for c in loop.driver.commands)


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


@pytest.mark.parametrize("at", [Phase.VERIFYING, Phase.BAKING])
def test_what_was_seen_while_a_target_was_edited_by_hand_is_no_evidence(at: Phase) -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", at)
    wanted = weights(loop, "cart")
    loop.world.edit("cart", {"#1": 70, "#2": 30}, "weight 30")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 30")
    loop.run(100)
    before = loop.driver.rollout("production/cart/2")
    loop.actuation_seconds = 5
    loop.say(Say.RESUME, rollout="production/cart/2")
    loop.run(4)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (at, {"#1": 70, "#2": 30})
    assert "cart shows another weight than is watched" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]
    loop.run(2)
    after = loop.driver.rollout("production/cart/2")
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (at, wanted)
    assert after.judged_attempt == before.judged_attempt + 1  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.COMPLETED)


def test_whoever_resumes_over_an_edit_has_the_weights_told_again_though_a_renewal_was_under_way() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE)
    loop.actuation_seconds = 10
    while loop.driver.commands[-1].verb is not Verb.RENEW:
        loop.run(1)
    loop.world.edit("cart", {"#1": 70, "#2": 30}, "weight 30")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 30")
    loop.run(20)
    loop.say(Say.RESUME)
    loop.run(11)
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_target_that_is_edited_by_hand_at_rest_is_told_to_people_once_and_resumed_with_the_whole_environment() -> None:
    loop = shop(policy=replace(QUICK, on_drift=OnDrift.RESTORE))
    loop.world.edit("cart", {"#1": 78}, "weight 78")
    for _ in range(2):
        loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 78")
        loop.run(5)
    told = [n for n in loop.driver.notices if n.event == "hand-edit"]
    assert [n.next_command for n in told] == ["ctrlplane-stream control resume production:cart --why REASON"]
    commands = len(loop.driver.commands)
    stray(loop)
    assert (weights(loop, "cart"), len(loop.driver.commands)) == ({"#1": 40}, commands)
    loop.say(Say.RESUME)
    loop.run(5)
    assert weights(loop, "cart") == {"#1": 100}
    assert "cart told again what is wanted" in reasons(loop)


def test_a_target_that_is_handed_back_on_itself_needs_no_resume() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.edit("cart", {"#1": 60, "#2": 40}, "weight 40 by hand")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 40 by hand")
    loop.run(30)
    assert held(loop, "cart/2") == ["hand-edit"]
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.run(3)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == ([], {"#1": 90, "#2": 10})
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_break_glass_abort_ends_the_rollout() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    break_glass(loop)
    until(loop, "cart/2", Phase.REVERTED)


def break_glass(loop: Loop, *, reported: bool = True) -> None:
    """Ada aborts on cart itself, and unless the report is lost the engine hears of it."""
    assert loop.world.break_glass("cart", "by ada")
    if reported:
        loop.tell_world("cart", WorldCause.BREAK_GLASS, "by ada")


@pytest.mark.parametrize("at", [Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.DRAINING])
@pytest.mark.parametrize("in_place", [False, True])
def test_broken_glass_that_was_not_reported_ends_the_rollout_at_the_next_command_that_is_refused_for_it(at: Phase, in_place: bool) -> None:
    loop = shop(policy=replace(QUICK, in_place=in_place))
    loop.push("cart", 2)
    until(loop, "cart/2", at)
    break_glass(loop, reported=False)
    loop.run(5)
    loop.tell_world("cart", WorldCause.READINESS)
    until(loop, "cart/2", Phase.REVERTED)
    assert "somebody aborted on cart itself: by ada" in reasons(loop)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_parking_that_was_on_its_way_when_glass_was_broken_is_refused(in_place: bool) -> None:
    loop = old_version_being_parked(in_place=in_place)
    break_glass(loop)
    until(loop, "cart/2", Phase.REVERTED)
    assert (weights(loop, "cart"), loop.driver.target("cart").stable) == ({"#1": 100}, "#1")


@pytest.mark.parametrize("in_place", [False, True])
def test_broken_glass_takes_nothing_from_what_its_target_falls_back_to(in_place: bool) -> None:
    """The old version is parked on the target, and nobody has heard that yet: all traffic stays where it is."""
    loop = old_version_being_parked(in_place=in_place)
    loop.world.mute.add("cart")
    loop.run(25)
    assert loop.world.target("cart").stable == "#2"
    break_glass(loop)
    loop.world.mute.clear()
    until(loop, "cart/2", Phase.COMPLETED)
    assert (weights(loop, "cart"), loop.world.target("cart").broken_glass) == ({"#2": 100}, None)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("reported", [False, True])
def test_an_abort_that_meets_broken_glass_goes_back_once_the_target_was_told_to_stay_where_that_left_it(
    reported: bool, unsafe: bool, in_place: bool
) -> None:
    """Its old version was parked and it fell back to the new one, so it refuses to raise the old one again."""
    loop = old_version_being_parked(in_place=in_place)
    loop.world.mute.add("cart")
    loop.run(25)
    loop.say(Say.ABORT, service="cart", unsafe=unsafe)
    break_glass(loop, reported=reported)
    loop.world.mute.clear()
    loop.actuation_seconds = 0.5
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_baked_version_whose_target_went_back_when_the_lease_on_a_hands_weights_ran_out_is_reverted(in_place: bool) -> None:
    """The target takes nothing that raises the version again before it was told that it has no weight."""
    loop = old_version_being_parked(in_place=in_place)
    loop.world.broken.add("cart")
    loop.world.edit("cart", {"#1": 65, "#2": 35}, "weight 35")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 35")
    loop.run(20)
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.run(60)
    assert weights(loop, "cart") == {"#1": 100}
    loop.world.broken.clear()
    until(loop, "cart/2", Phase.REVERTED)
    assert (weights(loop, "cart"), loop.driver.target("cart").stable) == ({"#1": 100}, "#1")


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


@pytest.mark.parametrize(("known", "in_place"), [(True, False), (True, True), (False, False)])
def test_what_was_given_traffic_by_a_hand_while_it_is_being_parked_is_parked_once_it_has_drained_anew(known: bool, in_place: bool) -> None:
    """Known: the hand said so, as an edit; else nobody knows whose it was, and the cluster fails to park meanwhile."""
    loop = old_version_being_parked(in_place=in_place)
    if known:
        loop.world.target("cart").versions["#1"].instances = 4
        loop.world.edit("cart", {"#1": 25, "#2": 75}, "weight 25")
        loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 25")
    else:
        loop.world.broken.add("cart")
        loop.world.target("cart").versions["#1"].instances = 4
        loop.world.stray("cart", {"#1": 25, "#2": 75})
        loop.tell_world("cart", WorldCause.DRIFT, "weights of unknown hand")
    told = len(loop.driver.commands)
    loop.run(100)
    assert (phase(loop, "cart/2"), len(loop.driver.commands)) == (Phase.DRAINING, told)
    loop.actuation_seconds = 0.5
    loop.world.broken.clear()
    resumed_ms = loop.now_ms
    loop.say(Say.RESUME, service="cart")
    assert loop.driver.commands[-1].verb is Verb.SHIFT
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.driver.commands[-1].verb is Verb.PARK
    assert (weights(loop, "cart"), loop.now_ms - resumed_ms > QUICK.drain_seconds * 1000) == ({"#2": 100}, True)


def test_whoever_resumes_over_an_edit_by_another_rollout_of_its_service_has_nothing_parked_that_takes_requests() -> None:
    """What queues for cart is resumed; what parks cart's old version stays held for the edit."""
    loop = old_version_being_parked()
    loop.push("cart", 3)
    loop.world.edit("cart", {"#1": 25, "#2": 75}, "weight 25")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 25")
    loop.run(30)
    loop.say(Say.RESUME, rollout="production/cart/3")
    assert loop.driver.commands[-1].verb is Verb.SHIFT
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/3", Phase.COMPLETED)


def told_edit(loop: Loop, weight: int) -> None:
    """Somebody gives cart #2 that weight by hand, and says so."""
    loop.world.edit("cart", {"#1": 100 - weight, "#2": weight}, f"weight {weight}")
    loop.tell_world("cart", WorldCause.HAND_EDIT, f"weight {weight}")


def test_an_edit_that_comes_while_what_goes_over_another_is_under_way_stands_though_that_is_shown_then() -> None:
    """It asks for hardly anything of what is exchanged by whole instances, so the target shows what was commanded."""
    loop = shop(policy=replace(QUICK, in_place=True))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    told_edit(loop, 100)
    loop.run(100)
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.run(1)
    told_edit(loop, 1)
    loop.run(100)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.DRAINING, ["hand-edit"], {"#1": 100})
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)


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


def at_rest(answer: OnDrift) -> Loop:
    """A shop whose cart, at rest, has lost 60% of its traffic to nobody knows what."""
    loop = shop(policy=replace(QUICK, on_drift=answer))
    stray(loop)
    return loop


def stray(loop: Loop) -> None:
    """Cart's stable version loses traffic, by nobody's known hand."""
    loop.world.stray("cart", {"#1": 40})
    loop.tell_world("cart", WorldCause.DRIFT, "#1 went from 100 to 40")
    loop.run(5)


def test_a_target_that_drifts_at_rest_is_reported_and_left_until_somebody_resumes() -> None:
    loop = at_rest(OnDrift.HOLD)
    told = loop.driver.notices[-1]
    assert (told.event, told.next_command) == ("drift", "ctrlplane-stream control resume production:cart --why REASON")
    loop.push("cart", 2)
    loop.run(60)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.QUEUED, {"#1": 40})
    assert "is not as it was left" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]
    loop.say(Say.RESUME, service="cart")
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_target_that_drifts_at_rest_is_restored_once_an_hour_where_the_policy_says_so() -> None:
    loop = at_rest(OnDrift.RESTORE)
    assert weights(loop, "cart") == {"#1": 100}
    stray(loop)
    assert weights(loop, "cart") == {"#1": 40}
    assert loop.driver.notices[-1].event == "drift"


def retagged(loop: Loop, cause: WorldCause = WorldCause.DRIFT) -> None:
    """What runs as cart's stable version is another artifact than was numbered so, with all its weight."""
    loop.world.target("cart").versions["#1"].digest = digest(99)
    loop.tell_world("cart", cause, "versions are now #1")
    loop.run(5)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("cause", [WorldCause.DRIFT, WorldCause.READINESS, WorldCause.BREAK_GLASS, WorldCause.LEASE_EXPIRED])
def test_another_artifact_under_a_label_at_rest_is_told_to_people_once_and_put_back_by_whoever_resumes(
    cause: WorldCause, in_place: bool
) -> None:
    loop = shop(policy=replace(QUICK, in_place=in_place))
    for _ in range(2):
        retagged(loop, cause)
    told = [n for n in loop.driver.notices if n.event == "drift"]
    assert [n.next_command for n in told] == ["ctrlplane-stream control resume production:cart --why REASON"]
    assert f"#1 runs {digest(99)} instead of {digest(1)}" in told[0].text
    loop.push("cart", 2)
    loop.run(30)
    assert phase(loop, "cart/2") is Phase.QUEUED
    loop.say(Say.RESUME, service="cart")
    loop.run(3)
    assert loop.world.target("cart").versions["#1"].digest == digest(1)
    until(loop, "cart/2", Phase.COMPLETED)


def test_another_artifact_that_came_while_a_hand_had_the_target_is_put_back_once_that_is_released() -> None:
    loop = shop()
    loop.world.edit("cart", {"#1": 100}, "by ada")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "by ada")
    retagged(loop, WorldCause.READINESS)
    assert loop.world.target("cart").versions["#1"].digest == digest(99)
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.run(3)
    assert loop.world.target("cart").versions["#1"].digest == digest(1)


def test_another_artifact_at_rest_is_told_where_only_the_late_answer_to_an_old_command_shows_it() -> None:
    loop = shop()
    old = next(c for c in loop.driver.commands if c.target.service == "cart")
    loop.world.target("cart").versions["#1"].digest = digest(99)
    loop.give(loop.world.apply(old, loop.now_ms))
    assert f"#1 runs {digest(99)} instead of {digest(1)}" in loop.driver.notices[-1].text


def test_another_artifact_at_rest_is_put_back_once_an_hour_where_the_policy_says_so() -> None:
    loop = shop(policy=replace(QUICK, on_drift=OnDrift.RESTORE))
    retagged(loop)
    assert (loop.world.target("cart").versions["#1"].digest, loop.driver.commands[-1].verb) == (digest(1), Verb.SHIFT)
    retagged(loop)
    assert loop.world.target("cart").versions["#1"].digest == digest(99)
    assert loop.driver.notices[-1].event == "drift"


def test_another_artifact_that_does_not_go_though_its_actuator_says_so_is_told_again() -> None:
    loop = shop()
    retagged(loop)
    apply = loop.world.apply

    def keeping(command: Command, now_ms: int) -> OutcomeReported:
        outcome = apply(command, now_ms)
        loop.world.target("cart").versions["#1"].digest = digest(99)
        return replace(outcome, observed=loop.world.observe("cart", now_ms))

    loop.world.apply = keeping  # type: ignore[method-assign]
    loop.say(Say.RESUME, service="cart")
    loop.run(120)
    assert [n.event for n in loop.driver.notices].count("drift") == 2
    assert loop.driver.target("cart").strayed is not None


def test_whoever_resumes_a_rollout_over_another_artifact_has_what_was_numbered_put_back() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.target("cart").versions["#1"].digest = digest(99)
    loop.tell_world("cart", WorldCause.DRIFT, "versions are now #1, #2")
    loop.run(5)
    assert held(loop, "cart/2") == ["drift"]
    loop.say(Say.RESUME, rollout="production/cart/2")
    loop.run(3)
    assert (held(loop, "cart/2"), loop.world.target("cart").versions["#1"].digest) == ([], digest(1))
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("restores", [False, True])
def test_an_older_state_that_somebody_brings_back_is_told_and_answered_as_any_drift(*, restores: bool) -> None:
    """A backup of the cluster, or a push over the last commit: the target knows its last command no longer, and that is no old news."""
    loop = shop(policy=replace(QUICK, on_drift=OnDrift.RESTORE if restores else OnDrift.HOLD))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    forgotten = loop.world.bring_back("cart")
    assert forgotten is not None
    seen = loop.world.observe("cart", loop.now_ms)
    loop.give(WorldChanged(Target("production", "cart"), WorldCause.DRIFT, seen, "an older state"))
    assert "ignored: what was seen of cart is older than what is known" in reasons(loop)
    loop.give(WorldChanged(Target("production", "cart"), WorldCause.DRIFT, seen, "an older state", forgotten.sequence))
    assert loop.driver.target("cart").observed == seen.versions
    loop.run(5)
    if restores:
        assert (weights(loop, "cart"), held(loop, "cart/2")) == ({"#1": 90, "#2": 10}, [])
    else:
        assert (weights(loop, "cart"), held(loop, "cart/2")) == ({"#1": 100}, ["drift"])
        loop.say(Say.RESUME, service="cart")
        loop.run(5)
        assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    loop.give(WorldChanged(Target("production", "cart"), WorldCause.DRIFT, seen, "late", forgotten.sequence))
    assert weights(loop, "cart") == {"#1": 90, "#2": 10}
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_target_that_returns_by_itself_has_not_strayed_any_more() -> None:
    loop = at_rest(OnDrift.HOLD)
    loop.world.target("cart").versions["#1"].weight = 100
    loop.tell_world("cart", WorldCause.DRIFT, "#1 went from 40 to 100")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_target_at_rest_that_cannot_be_restored_is_reported() -> None:
    loop = shop(policy=replace(QUICK, on_drift=OnDrift.RESTORE))
    loop.world.broken.add("cart")
    stray(loop)
    assert "could not be restored (the cluster does not answer)" in loop.driver.notices[-1].text


def test_a_target_at_rest_that_is_said_to_be_restored_and_is_not_is_reported() -> None:
    loop = shop(policy=replace(QUICK, on_drift=OnDrift.RESTORE))
    loop.world.liars.add("cart")
    stray(loop)
    loop.run(90)
    told = loop.driver.notices[-1]
    assert (told.event, weights(loop, "cart")) == ("drift", {"#1": 40})
    assert "could not be restored (its actuator says that it is applied, which did not show for" in told.text
    loop.world.liars.clear()
    loop.say(Say.RESUME, service="cart")
    loop.run(5)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_target_that_an_edit_was_released_on_and_that_does_not_return_is_reported() -> None:
    loop = shop()
    loop.world.edit("cart", {"#1": 78}, "weight 78")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 78")
    loop.world.broken.add("cart")
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.run(5)
    assert "could not be restored (the cluster does not answer)" in loop.driver.notices[-1].text


def test_whoever_resumes_over_a_drift_hears_of_an_edit_that_was_never_reported_and_resumes_over_that_too() -> None:
    loop = shop()
    loop.world.edit("cart", {"#1": 65}, "weight 65")
    stray(loop)
    loop.say(Say.RESUME, service="cart")
    loop.run(5)
    told = loop.driver.notices[-1]
    assert (told.event, weights(loop, "cart")) == ("hand-edit", {"#1": 40})
    assert "cart was edited by hand (weight 65)" in told.text
    loop.say(Say.RESUME, service="cart")
    loop.run(5)
    assert weights(loop, "cart") == {"#1": 100}


def test_nothing_is_deleted_from_a_target_that_strayed_since_that_would_restore_it() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.world.stray("cart", {"#2": 40})
    loop.tell_world("cart", WorldCause.DRIFT, "#2 went from 100 to 40")
    loop.run(700)
    assert weights(loop, "cart") == {"#2": 40}
    loop.say(Say.RESUME, service="cart")
    loop.run(40)
    assert (weights(loop, "cart"), sorted(loop.world.target("cart").versions)) == ({"#2": 100}, ["#2"])


def _with_something_to_delete() -> Loop:
    """A shop whose cart #1 is past its retention, and whose cluster does not answer for cart."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.run(500)
    loop.world.broken.add("cart")
    while all(c.verb is not Verb.DELETE for c in loop.driver.commands):
        loop.run(5)
    return loop


def test_a_deletion_that_fails_is_tried_again() -> None:
    loop = _with_something_to_delete()
    loop.run(10)
    loop.world.broken.clear()
    loop.run(60)
    assert sorted(loop.world.target("cart").versions) == ["#2"]
    assert [n.event for n in loop.driver.notices if n.event in ("drift", "not-deleted")] == []


def test_a_deletion_that_fails_for_long_is_told_to_people_and_holds_up_nobody() -> None:
    loop = _with_something_to_delete()
    loop.run(1200)
    told = loop.driver.notices[-1]
    assert (told.event, told.next_command) == ("not-deleted", "ctrlplane-stream control resume production:cart --why REASON")
    assert "could not be deleted (failed: the cluster does not answer)" in told.text
    assert sum(c.verb is Verb.DELETE for c in loop.driver.commands) == 5
    assert loop.driver.wake_at_ms is None
    loop.world.broken.clear()
    loop.say(Say.RESUME, service="cart")
    loop.run(5)
    assert sorted(loop.world.target("cart").versions) == ["#2"]


def test_a_rollout_that_gave_way_in_the_queue_does_not_write_over_what_strayed() -> None:
    loop = shop(policy=replace(QUICK, on_drift=OnDrift.RESTORE))
    loop.world.broken.add("cart")
    stray(loop)
    loop.world.broken.clear()
    loop.run(40)
    commands = len(loop.driver.commands)
    for number in (2, 3):
        loop.push("cart", number)
    assert (phase(loop, "cart/2"), phase(loop, "cart/3")) == (Phase.REVERTED, Phase.QUEUED)
    assert (len(loop.driver.commands), weights(loop, "cart")) == (commands, {"#1": 40})


def test_whoever_hands_back_an_edit_does_not_answer_a_drift_besides() -> None:
    loop = shop()
    loop.world.edit("cart", {"#1": 78}, "weight 78")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 78")
    stray(loop)
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.run(5)
    assert weights(loop, "cart") == {"#1": 40}
    loop.say(Say.RESUME, service="cart")
    loop.run(5)
    assert weights(loop, "cart") == {"#1": 100}


def edited(loop: Loop, **found: int) -> None:
    """Bob gives cart's versions other weights by hand, and it is reported."""
    loop.world.edit("cart", {f"#{label[1:]}": weight for label, weight in found.items()}, "weight 40 by bob")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 40 by bob")


def blind_at_weight_0() -> Loop:
    """A shop whose cart #2 went back to weight 0, since nothing is seen of it, and is edited by hand there."""
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=120))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.judge.telemetry.cut = True
    until(loop, "cart/2", Phase.PREPARING)
    edited(loop, v1=60, v2=40)
    loop.run(5)
    return loop


def test_what_stops_at_weight_0_over_an_edit_by_hand_is_held_for_it_and_tells_people_again_at_every_deadline() -> None:
    loop = blind_at_weight_0()
    until(loop, "cart/2", Phase.ABORTING)
    known = len(loop.driver.notices)
    loop.run(400)
    assert (phase(loop, "cart/2"), held(loop, "cart/2"), weights(loop, "cart")) == (Phase.ABORTING, ["hand-edit"], {"#1": 60, "#2": 40})
    told = loop.driver.notices[known:]
    assert len(told) == 3
    assert told[-1].text == "production/cart/2 is held still: cart was edited by hand: weight 40 by bob. resume goes back over it"
    assert told[-1].next_command == "ctrlplane-stream control resume production/cart/2 --why REASON"
    assert told[-1].deadline_ms is not None
    assert told[-1].deadline_ms > loop.now_ms
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("hand", ["edit", "drift"])
def test_what_waits_in_the_queue_for_a_person_who_looks_at_a_target_is_held_and_gives_up_its_place(hand: str) -> None:
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=120))
    if hand == "edit":
        edited(loop, v1=100)
    else:
        stray(loop)
    loop.run(1)
    loop.push("cart", 2)
    loop.run(10)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.QUEUED, ["hand-edit" if hand == "edit" else "drift"])
    assert loop.driver.notices[-1].next_command == "ctrlplane-stream control resume production/cart/2 --why REASON"
    loop.run(120)
    assert phase(loop, "cart/2") is Phase.REVERTED


LONG_STEP = replace(QUICK, steps=(Step(10, 300, 600), Step(100, 10, 300)), lease_seconds=60)


def drifted_under_weight(policy: Policy = LONG_STEP) -> Loop:
    """A shop whose cart #2 was given 80% by nobody's known hand."""
    loop = shop(policy=policy)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.stray("cart", {"#1": 20, "#2": 80})
    loop.tell_world("cart", WorldCause.DRIFT, "80 of unknown hand")
    return loop


def test_a_lease_is_renewed_by_the_weights_that_drifted_until_somebody_has_looked_at_them() -> None:
    loop = drifted_under_weight()
    known = len(loop.driver.commands)
    loop.run(240)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == (["drift"], {"#1": 20, "#2": 80})
    assert {c.verb for c in loop.driver.commands[known:]} == {Verb.RENEW}
    loop.say(Say.RESUME, rollout="production/cart/2")
    loop.run(5)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == ([], {"#1": 90, "#2": 10})


def test_a_fail_goes_over_a_drift() -> None:
    """Or a candidate that fails would harm, at a weight that some other controller gave it, until somebody reads a message."""
    loop = drifted_under_weight()
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/2", Phase.ABORTING)
    loop.run(2)
    assert weights(loop, "cart") == {"#1": 100}
    assert "cart goes back though it is not as it was left: 80 of unknown hand" in reasons(loop)
    until(loop, "cart/2", Phase.REVERTED)


def test_a_stop_before_any_weight_goes_over_the_weight_that_a_drift_gave() -> None:
    """It had no ready instance yet, and fails by the weight that it was given."""
    loop = shop()
    loop.world.start_seconds = 60
    loop.push("cart", 2)
    loop.run(5)
    loop.world.stray("cart", {"#1": 20, "#2": 80})
    loop.tell_world("cart", WorldCause.DRIFT, "80 of unknown hand")
    until(loop, "cart/2", Phase.REVERTED, 60)
    assert weights(loop, "cart") == {"#1": 100}
    assert "cart goes back though it is not as it was left: 80 of unknown hand" in reasons(loop)


@pytest.mark.parametrize("word", [Say.ABORT, Say.RESUME])
def test_what_drifts_again_on_the_way_back_is_left_to_a_person_who_is_told(word: Say) -> None:
    loop = drifted_under_weight()
    loop.judge.faulty.add(("cart", "#2"))
    until(loop, "cart/2", Phase.ABORTING)
    loop.run(2)
    loop.world.stray("cart", {"#1": 20, "#2": 80})
    loop.tell_world("cart", WorldCause.DRIFT, "80 again")
    loop.run(100)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == (["drift"], {"#1": 20, "#2": 80})
    assert loop.driver.notices[-1].text.endswith("is held: cart is not as it was left: 80 again. resume goes back over it")
    loop.say(word, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_target_that_drifted_and_is_as_it_was_left_again_is_held_no_longer() -> None:
    loop = drifted_under_weight()
    loop.run(30)
    loop.world.stray("cart", {"#1": 90, "#2": 10})
    loop.tell_world("cart", WorldCause.DRIFT, "80 of unknown hand is over")
    loop.run(2)
    assert (held(loop, "cart/2"), weights(loop, "cart")) == ([], {"#1": 90, "#2": 10})
    until(loop, "cart/2", Phase.COMPLETED)


def test_no_lease_is_renewed_by_a_weight_that_drifted_to_a_version_that_is_parked() -> None:
    """No command says that of a parked version, so the lease ends by itself."""
    loop = shop(policy=LONG_STEP)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.world.stray("cart", {"#1": 60, "#2": 40, "#3": 0})
    loop.tell_world("cart", WorldCause.DRIFT, "60 of unknown hand")
    known = len(loop.driver.commands)
    loop.run(100)
    assert Verb.RENEW not in {c.verb for c in loop.driver.commands[known:]}


@pytest.mark.parametrize("climbs", [False, True])
@pytest.mark.parametrize("release", [False, True])
def test_a_parked_version_that_a_hand_had_serve_is_parked_anew_once_it_has_drained(climbs: bool, release: bool) -> None:
    loop = parked_beside_stable()
    if climbs:
        loop.push("cart", 3)
        until(loop, "cart/3", Phase.VERIFYING)
    loop.world.edit("cart", {"#1": 40, "#2": 60}, "weight 40")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 40")
    loop.run(30)
    if release:
        loop.world.release("cart", loop.now_ms)
        loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    loop.say(Say.RESUME, service="cart")
    loop.run(5)
    given_back_ms, first = loop.now_ms, loop.driver.target("cart").wanted("#1")
    assert first is not None
    assert (first.capacity, first.weight) == (Capacity.FULL, 0)
    if climbs:
        until(loop, "cart/3", Phase.COMPLETED)
    while loop.driver.target("cart").wanted("#1").capacity is not Capacity.PARKED:  # type: ignore[union-attr]
        loop.run(1)
    assert loop.now_ms - given_back_ms >= (QUICK.drain_seconds - 5) * 1000
    assert "#1 has drained again, and is parked" in reasons(loop)
    loop.run(30)
    assert loop.driver.target("cart").in_flight is None
    assert loop.world.target("cart").versions["#1"].instances == 0


def test_a_parked_version_that_a_hand_had_serve_is_gone_when_it_was_to_go_anyhow() -> None:
    """Its retention passed while it served: it drains, is parked, and is deleted then."""
    loop = parked_beside_stable(retention_seconds=60)
    loop.world.edit("cart", {"#1": 40, "#2": 60}, "weight 40")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 40")
    loop.run(100)
    loop.say(Say.RESUME, service="cart")
    loop.run(120)
    assert [v.label for v in loop.driver.target("cart").live] == ["#2"]
    assert list(loop.world.target("cart").versions) == ["#2"]


def test_a_candidate_that_only_a_hand_gave_traffic_drains_before_it_goes() -> None:
    loop = shop()
    loop.push("cart", 2)
    loop.say(Say.PAUSE, service="cart")
    loop.run(10)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.PREPARING, {"#1": 100})
    loop.world.edit("cart", {"#1": 50, "#2": 50}, "weight 50")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 50")
    loop.run(60)
    loop.say(Say.ABORT, service="cart")
    loop.run(3)
    aborted_ms = loop.now_ms
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.DRAINING, {"#1": 100})
    until(loop, "cart/2", Phase.REVERTED)
    assert loop.now_ms - aborted_ms >= (QUICK.drain_seconds - 5) * 1000


def test_an_edit_that_was_released_before_its_target_is_looked_at_again_is_over() -> None:
    """Whoever starts to look says what the target is like, and not that an edit was released meanwhile."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    edited(loop, v1=60, v2=40)
    loop.run(5)
    assert held(loop, "cart/2") == ["hand-edit"]
    loop.world.edit("cart", {"#1": 90, "#2": 10}, "as it was")
    loop.world.release("cart", loop.now_ms)
    loop.tell_world("cart", WorldCause.READINESS, "#1 4/4 ready at 90%")
    loop.run(1)
    assert held(loop, "cart/2") == []
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("kind", [ServiceKind.ROUTED, ServiceKind.JOB])
def test_what_a_hand_gave_weight_as_it_was_to_be_deleted_loses_that_and_goes(kind: ServiceKind) -> None:
    """Nobody heard of the hand before the deletion, which the target refuses; nothing else would be taken either."""
    loop = Loop.of(catalog(service("cart", replace(QUICK, retention_seconds=60), kind)))
    for number in (1, 2):
        loop.push("cart", number)
        until(loop, f"cart/{number}", Phase.COMPLETED)
    loop.world.edit("cart", {"#1": 40, "#2": 60}, "weight 40")
    loop.run(90)
    assert loop.driver.commands[-1].verb is Verb.DELETE
    assert "still takes traffic and is not listed" in reasons(loop)
    loop.world.release("cart", loop.now_ms)
    loop.say(Say.RESUME, service="cart")
    loop.run(120)
    assert [(label, version.weight) for label, version in loop.world.target("cart").versions.items()] == [("#2", 100)]
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.COMPLETED)


@pytest.mark.parametrize("manner", [{"in_place": True}, {"surge_percent": 25}])
def test_what_is_exchanged_and_strayed_at_rest_is_noticed_by_whatever_look_at_it(manner: dict[str, object]) -> None:
    loop = shop(policy=replace(QUICK, **manner))  # type: ignore[arg-type]
    loop.world.target("cart").versions["#1"].weight = 60
    loop.tell_world("cart", WorldCause.READINESS, "looked at")
    loop.run(1)
    assert "cart is not as it was left" in loop.driver.notices[-1].text


@pytest.mark.parametrize("cause", [WorldCause.HAND_EDIT, WorldCause.LEASE_EXPIRED, WorldCause.BREAK_GLASS])
def test_what_people_did_is_not_acted_on_again_when_it_is_told_once_more_after_a_command_was_taken(cause: WorldCause) -> None:
    loop = shop(policy=replace(QUICK, on_lease_expired=Unsure.HOLD))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.world.edit("cart", {"#1": 80, "#2": 20}, "weight 20")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 20")
    loop.run(1)
    seen = loop.world.observe("cart", loop.now_ms)
    told = replace(seen, lease_expired=cause is WorldCause.LEASE_EXPIRED, break_glass="by ada" if cause is WorldCause.BREAK_GLASS else None)
    loop.say(Say.RESUME, rollout="production/cart/2")
    loop.run(5)
    loop.give(WorldChanged(Target("production", "cart"), cause, told, "told once more"))
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.VERIFYING, [])
    until(loop, "cart/2", Phase.COMPLETED)
