"""What operators say, and what the machine makes of it."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.engine import minimal_abort
from ctrlplane_stream.decision.entities import FreezeEntry, Index, TargetEntry
from ctrlplane_stream.decision.overrides import OVERRIDES_KEPT
from ctrlplane_stream.decision.phases import ADOPTION, ENDED, Phase
from ctrlplane_stream.decision.promoting import BAKED_KEPT
from ctrlplane_stream.decision.versioning import VERSIONS_KEPT
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, OverrideRequested, WorldCause
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.policy import MaintenanceWindow, Step, Supersede
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, catalog, service
from ctrlplane_stream.simulation.world import INSTANCES, Sickness
from ctrlplane_stream.testing import Driver
from tests.scenario.shop import SHOP, held, old_version_being_parked, phase, reasons, release_waiting, shop, until, weights


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


@pytest.mark.parametrize("policy", [{}, {"in_place": True}, {"surge_percent": 50}], ids=str)
@pytest.mark.parametrize("unsafe", [False, True])
def test_an_abort_while_the_old_version_is_parked_asks_for_its_capacity_again(unsafe: bool, policy: dict[str, object]) -> None:
    loop = old_version_being_parked(**policy)
    loop.say(Say.ABORT, rollout="production/cart/2", unsafe=unsafe)
    until(loop, "cart/2", Phase.REVERTED)
    old = loop.world.target("cart").versions["#1"]
    assert (old.weight, old.instances) == (100, INSTANCES)


@pytest.mark.parametrize(("unsafe", "verb", "weight"), [(False, Verb.PREPARE, 0), (True, Verb.SHIFT, 100)])
def test_an_abort_in_a_parked_environment_sends_no_traffic_to_a_version_without_capacity(unsafe: bool, verb: Verb, weight: int) -> None:
    loop = old_version_being_parked()
    override = OverrideRequested("o", Say.ABORT, "ada", "because", rollout="production/cart/2", unsafe=unsafe)
    (command,) = minimal_abort(loop.driver.state, override)
    old = next(v for v in command.wanted.versions if v.label == "#1")
    assert (command.verb, old.capacity, old.weight) == (verb, Capacity.FULL, weight)


def test_an_abort_just_after_a_parking_that_nobody_has_seen_yet_sends_no_traffic_before_the_old_version_is_seen_again() -> None:
    loop = old_version_being_parked()
    loop.world.mute.add("cart")
    loop.run(25)
    loop.actuation_seconds, loop.world.start_seconds = 0.5, 20
    assert (loop.world.target("cart").versions["#1"].instances, loop.driver.target("cart").seen("#1").ready) == (0, 4)  # type: ignore[union-attr]
    loop.say(Say.ABORT, rollout="production/cart/2")
    loop.world.mute.clear()
    loop.run(15)
    assert (loop.driver.commands[-1].verb, weights(loop, "cart")) == (Verb.PREPARE, {"#2": 100})
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}


@pytest.mark.parametrize("unsafe", [False, True])
def test_an_abort_of_two_waves_parks_no_old_version_whose_wave_has_not_fallen_yet(unsafe: bool) -> None:
    """What the callee was told last has failed, and would be said again while its caller is still on its way back."""
    loop = shop()
    for name in ("cart", "front"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.world.broken.add("cart")
    while Verb.PARK not in [command.verb for command in loop.driver.commands if command.target.service == "cart"]:
        loop.run(1)
    loop.run(5)
    loop.world.broken.clear()
    loop.world.start_seconds, loop.actuation_seconds = 60, 20
    loop.say(Say.ABORT, rollout="production/cart/2", unsafe=unsafe)
    until(loop, "cart/2", Phase.REVERTED)
    assert [weights(loop, name) for name in ("cart", "front")] == [{"#1": 100}, {"#1": 100}]
    told = [command.verb for command in loop.driver.commands if command.target.service == "cart"]
    assert told[told.index(Verb.PARK) + 1] in (Verb.PREPARE, Verb.SHIFT)


def test_an_abort_in_a_parked_environment_leaves_a_first_version_that_has_baked() -> None:
    loop = shop(running=False)
    loop.actuation_seconds = 5
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.DRAINING)
    assert minimal_abort(loop.driver.state, OverrideRequested("o", Say.ABORT, "ada", "because")) == ()


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


def test_a_pin_keeps_what_waits_from_beginning_and_says_what_goes_on() -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.run(5)
    loop.push("cart", 2)
    assert phase(loop, "cart/2") is Phase.QUEUED
    loop.say(Say.PIN, service="cart")
    goes_on = loop.say(Say.PIN, service="pay")
    assert goes_on is not None
    assert "production/pay/2 is under way with #2 and goes on, unless somebody aborts it" in goes_on.reasons[0].text
    until(loop, "pay/2", Phase.COMPLETED)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.REVERTED, {"#1": 100})
    assert "cart is pinned to #1 by ada; control retry reruns this after unpin" in reasons(loop)
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


def test_a_retry_is_not_stopped_by_what_was_seen_of_the_attempt_before() -> None:
    loop = shop()
    loop.world.sick["cart", "#2"] = Sickness.CRASHES
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.world.sick.clear()
    loop.say(Say.RETRY, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_revert_returns_to_an_earlier_version_make_before_break() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_revert_to_what_never_baked_is_refused_since_it_would_take_all_traffic_at_once() -> None:
    loop = shop()
    loop.push("cart", 2)
    loop.run(5)
    loop.push("cart", 3)
    decision = loop.say(Say.REVERT, service="cart", version="#3")
    assert phase(loop, "cart/3") is Phase.QUEUED
    assert decision is not None
    assert "`control retry production:cart --version '#3' --why …` rolls it out step by step" in decision.reasons[-1].text
    until(loop, "cart/3", Phase.COMPLETED)


def test_a_queued_revert_to_what_an_abort_returns_to_already_ends_and_moves_nothing() -> None:
    """It queues where the version that it returns to was left by a release of several: that goes back whole or not at all."""
    loop = shop()
    for name in ("cart", "front"):
        loop.push(name, 2, release="r1", release_size=2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.actuation_seconds = 5
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.say(Say.ABORT, rollout="production/cart/2")
    until(loop, "cart/2", Phase.REVERTED)
    assert (phase(loop, "cart/1"), weights(loop, "cart")) == (Phase.REVERTED, {"#1": 100})
    assert "cart #1 is stable already" in reasons(loop)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_revert_takes_no_new_version_along() -> None:
    """The release that gives way to it is withdrawn whole, and tried again whole when somebody says so."""
    loop = release_waiting()
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "front")) == ({"#1": 100}, {"#1": 100})
    loop.say(Say.RETRY, rollout="production/cart/3")
    until(loop, "cart/3", Phase.COMPLETED)
    assert (weights(loop, "cart"), weights(loop, "front")) == ({"#3": 100}, {"#2": 100})


def test_a_revert_that_fails_is_held_and_never_itself_reverted() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#1"))
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.run(120)
    assert held(loop, "cart/1") == ["revert-fails"]
    assert "failed, and only skip or force goes on: errors of cart #1" in (loop.driver.rollout("production/cart/1").waiting_for or "")  # type: ignore[union-attr]


def test_a_revert_that_fails_is_held_again_as_soon_as_it_is_resumed_and_goes_on_by_skip() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.judge.faulty.add(("cart", "#1"))
    loop.say(Say.REVERT, service="cart", version="#1")
    loop.run(120)
    loop.say(Say.RESUME, rollout="production/cart/1")
    loop.run(30)
    assert (phase(loop, "cart/1"), held(loop, "cart/1")) == (Phase.VERIFYING, ["revert-fails"])
    loop.say(Say.SKIP, rollout="production/cart/1")
    until(loop, "cart/1", Phase.BAKING)


def test_resume_says_what_it_does_not_lift() -> None:
    loop = shop()
    loop.push("pay", 2)
    until(loop, "pay/2", Phase.VERIFYING)
    loop.say(Say.FREEZE)
    loop.run(30)
    loop.say(Say.RESUME, rollout="production/pay/2")
    assert "production/pay/2 is held still, which resume does not lift: all of production is frozen by ada" in reasons(loop)
    assert held(loop, "pay/2") == ["frozen"]


def test_an_override_is_carried_out_once_per_id() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    fact = OverrideRequested("x1", Say.SKIP, "ada", "because", rollout="production/cart/2")
    loop.give(fact)
    loop.give(fact)
    assert "was answered before" in reasons(loop)


def test_revert_without_a_version_goes_to_the_last_one_that_was_good_and_never_to_one_that_was_reverted() -> None:
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}
    decision = loop.say(Say.REVERT, service="cart")
    assert decision is not None
    assert "has no version before its stable one" in decision.reasons[0].text


def test_revert_to_any_earlier_version_works_also_when_it_was_deleted_long_ago() -> None:
    loop = shop()
    for number in (2, 3):
        loop.push("cart", number)
        until(loop, f"cart/{number}", Phase.COMPLETED)
    loop.run(1000)
    assert loop.driver.target("cart").wanted("#1") is None
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/1", Phase.PREPARING)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_revert_goes_to_any_earlier_version_that_baked_and_retry_to_those_that_were_left_for_it() -> None:
    """A target counts the last that baked; of older ones their version tells. What baked after the one returned to was left for it."""
    loop = shop()
    newest = BAKED_KEPT + 6
    for number in range(2, newest + 1):
        loop.push("cart", number)
        until(loop, f"cart/{number}", Phase.COMPLETED)
    assert "#3" not in loop.driver.target("cart").baked
    loop.say(Say.REVERT, service="cart", version="#3")
    until(loop, "cart/3", Phase.PREPARING)
    until(loop, "cart/3", Phase.COMPLETED)
    assert (weights(loop, "cart"), loop.driver.target("cart").baked) == ({"#3": 100}, ("#1", "#2", "#3"))
    for left in ("#5", f"#{newest}"):
        decision = loop.say(Say.REVERT, service="cart", version=left)
        assert decision is not None
        assert f"`control retry production:cart --version '{left}' --why …` rolls it out" in decision.reasons[-1].text
    loop.say(Say.RETRY, service="cart", version="#5")
    until(loop, "cart/5", Phase.PREPARING)
    until(loop, "cart/5", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/3", Phase.PREPARING)
    until(loop, "cart/3", Phase.COMPLETED)
    assert loop.driver.target("cart").baked == ("#1", "#2", "#3")


def test_a_version_of_which_too_much_is_forgotten_to_return_to_it_is_pushed_again_and_retried() -> None:
    """That it has this number stays known, what it is made from does not: the refusal says what to type."""
    loop = shop()
    for number in range(2, VERSIONS_KEPT + 4):
        loop.push("cart", number)
    decision = loop.say(Say.REVERT, service="cart", version="#3")
    assert decision is not None
    assert "push its artifact again, and then `control retry production:cart --version '#3' --why …`" in decision.reasons[-1].text
    until(loop, f"cart/{VERSIONS_KEPT + 3}", Phase.COMPLETED)
    loop.push("cart", 3)
    loop.say(Say.RETRY, service="cart", version="#3")
    until(loop, "cart/3", Phase.COMPLETED)


@pytest.mark.parametrize("verb", list(Say))
def test_every_verb_is_idempotent_by_its_id_and_says_who_and_why(verb: Say) -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    fact = OverrideRequested("x1", verb, "ada", "because it must be", service="cart", version="#1" if verb is Say.PIN else None)
    first = loop.give(fact)
    assert first is not None
    assert any("by ada (because it must be)" in reason.text for reason in first.reasons)
    before = [entry for entry in loop.driver.state.entries() if entry[0] != "clock"]
    again = loop.give(fact)
    assert again is not None
    assert (again.disposition, list(again.outputs)) == ("ignored", [])
    assert [entry for entry in loop.driver.state.entries() if entry[0] != "clock"] == before


@pytest.mark.parametrize("at", [p for p in Phase if p not in (*ENDED, *ADOPTION, Phase.ADVISING)])
@pytest.mark.parametrize("verb", [Say.ABORT, Say.PAUSE, Say.FREEZE])
def test_abort_pause_and_freeze_are_refused_in_no_phase(verb: Say, at: Phase) -> None:
    loop = shop()
    loop.push("pay", 2)
    loop.push("cart", 2)
    id_ = "cart/2" if at is Phase.QUEUED else "pay/2"
    if at is Phase.ABORTING:
        until(loop, id_, Phase.VERIFYING)
        loop.world.broken.add("pay")
        loop.say(Say.ABORT, rollout=f"production/{id_}")
    until(loop, id_, at)
    decision = loop.say(verb, rollout=f"production/{id_}")
    assert decision is not None
    assert decision.disposition == "applied"


@pytest.mark.parametrize(("scope", "moved"), [({"service": "cart"}, ["cart"]), ({}, ["cart", "island"])])
def test_an_abort_reaches_a_service_or_the_whole_environment(scope: dict[str, str], moved: list[str]) -> None:
    loop = shop()
    for name in ("cart", "island"):
        loop.push(name, 2)
        until(loop, f"{name}/2", Phase.VERIFYING)
    loop.say(Say.ABORT, **scope)
    assert [name for name in ("cart", "island") if phase(loop, f"{name}/2") is Phase.ABORTING] == moved


def test_promote_all_goes_through_every_step_that_has_no_failure() -> None:
    loop = shop(policy=replace(QUICK, auto_promote=False, steps=(Step(10, 0, 300), Step(50, 0, 300), Step(100, 0, 300))))
    loop.say(Say.PROMOTE, all_steps=True)
    loop.run(60)
    loop.judge.unsure.add("cart")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PROMOTE, rollout="production/cart/2", all_steps=True)
    until(loop, "cart/2", Phase.COMPLETED)


def test_force_skips_no_readiness_and_force_with_unsafe_does() -> None:
    loop = shop()
    loop.world.sick["cart", "#2"] = Sickness.NEVER_READY
    loop.push("cart", 2)
    loop.run(2)
    loop.say(Say.FORCE, rollout="production/cart/2")
    loop.run(20)
    assert weights(loop, "cart") == {"#1": 100}
    loop.say(Say.FORCE, rollout="production/cart/2", unsafe=True)
    loop.run(20)
    assert weights(loop, "cart")["#2"] > 0


def test_what_was_forced_unsafe_goes_back_as_carefully_as_anything_else() -> None:
    loop = shop(policy=replace(QUICK, supersede=Supersede.RESTART))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FORCE, rollout="production/cart/2", unsafe=True)
    until(loop, "cart/2", Phase.BAKING)
    loop.world.target("cart").versions["#1"].lost = True
    loop.tell_world("cart", WorldCause.READINESS)
    loop.run(1)
    loop.push("cart", 3)
    loop.run(20)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.ABORTING, {"#2": 100})
    loop.world.target("cart").versions["#1"].lost = False
    loop.tell_world("cart", WorldCause.READINESS)
    loop.run(5)
    assert (phase(loop, "cart/2"), weights(loop, "cart")) == (Phase.DRAINING, {"#1": 100})
    until(loop, "cart/3", Phase.COMPLETED)


def test_a_forced_rollout_whose_candidate_is_never_ready_again_is_held_with_a_deadline() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FORCE, rollout="production/cart/2")
    loop.world.target("cart").versions["#2"].lost = True
    loop.tell_world("cart", WorldCause.READINESS, "instances went away")
    loop.run(500)
    assert (phase(loop, "cart/2"), held(loop, "cart/2")) == (Phase.SHIFTING, ["stuck"])
    assert "#2 10% (0/4 ready)" in loop.driver.notices[-1].text
    until(loop, "cart/2", Phase.REVERTED, 1000)


def test_a_freeze_of_one_service_leaves_the_others_alone_and_an_unfreeze_lifts_its_own_scope_only() -> None:
    loop = shop()
    loop.say(Say.FREEZE, service="cart")
    loop.say(Say.FREEZE)
    loop.say(Say.UNFREEZE)
    loop.push("cart", 2)
    loop.push("island", 2)
    loop.run(20)
    assert (phase(loop, "cart/2"), phase(loop, "island/2")) == (Phase.QUEUED, Phase.VERIFYING)
    assert "cart is frozen by ada until somebody unfreezes it: because" in (loop.driver.rollout("production/cart/2").waiting_for or "")  # type: ignore[union-attr]


def test_a_pin_may_name_an_earlier_version_and_keeps_it_from_being_deleted() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    pinned = loop.say(Say.PIN, service="cart", version="#1")
    assert pinned is not None
    assert "takes no pushes and keeps #1; it serves #2 as before" in pinned.reasons[0].text
    loop.run(1000)
    assert "#1" in loop.world.target("cart").versions


def test_what_cannot_be_done_is_refused_with_what_is_missing() -> None:
    loop = shop()
    for verb, more, words in (
        (Say.PIN, {}, "pin needs a service"),
        (Say.UNPIN, {}, "unpin needs a service"),
        (Say.REVERT, {}, "revert needs a service"),
        (Say.REVERT, {"service": "cart", "version": "#9"}, "has no version #9"),
        (Say.RETRY, {}, "retry needs a service, or a rollout that was reverted"),
        (Say.RETRY, {"service": "cart"}, "cart serves #1 already"),
        (Say.RETRY, {"service": "cart", "version": "#9"}, "has no version #9"),
        (Say.RETRY, {"rollout": "production/cart/1"}, "production/cart/1 is completed, and tried again is only what was reverted"),
        (Say.PROMOTE, {}, "nothing in production is under way"),
        (Say.PROMOTE, {"rollout": "production/cart/9"}, "there is no rollout production/cart/9"),
    ):
        decision = loop.say(verb, **more)
        assert decision is not None
        assert (decision.disposition, decision.reasons[0].code) == ("ignored", "override-refused")
        assert words in decision.reasons[0].text


@pytest.mark.parametrize("verb", [Say.PAUSE, Say.RESUME, Say.ABORT, Say.PROMOTE, Say.FORCE, Say.SKIP])
def test_every_verb_says_of_an_ended_rollout_that_it_has_ended_and_that_nothing_was_done(verb: Say) -> None:
    """The same words of each, and a code that says it changed nothing; a repetition of it is told the same."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    said, again = (loop.hear(OverrideRequested("once", verb, "ada", "because", rollout="production/cart/2")) for _ in range(2))
    assert said is not None
    assert again is not None
    assert said.reasons[0].code in ("override-refused", "override-idle")
    assert "production/cart/2 has ended (completed)" in said.reasons[0].text
    assert again.reasons[0].code == "override-repeated-in-vain"


def test_what_finds_nothing_to_do_says_so_and_changes_nothing() -> None:
    """Neither refused nor as if it had been done: nothing was pinned, frozen or held, and the version serves already."""
    loop = shop()
    for verb, more, words in (
        (Say.UNPIN, {"service": "cart"}, "nothing to do: cart is not pinned"),
        (Say.UNFREEZE, {}, "nothing to do: no freeze is on production itself"),
        (Say.FREEZE, {"expires_ms": 1000}, "nothing to do: this was to end at 1970-01-01 00:00 UTC, and it is 20"),
        (Say.RESUME, {}, "nothing to do: nothing in production is under way"),
        (Say.ABORT, {"rollout": "production/cart/9"}, "nothing to do: there is no rollout production/cart/9"),
        (Say.REVERT, {"service": "cart", "version": "#1"}, "nothing to do: cart serves #1 already"),
    ):
        before = loop.driver.state.find("target/cart", TargetEntry)
        decision = loop.say(verb, **more)
        assert decision is not None
        assert decision.reasons[0].code == "override-idle"
        assert words in decision.reasons[0].text
        assert loop.driver.state.find("target/cart", TargetEntry) == before


def test_what_was_done_is_told_as_done_when_it_is_repeated() -> None:
    """By its id: a command that was sent twice ends well twice."""
    loop = shop()
    codes = [said.reasons[0].code for _ in range(2) if (said := loop.hear(OverrideRequested("once", Say.FREEZE, "ada", "because")))]
    assert codes == ["override:freeze", "override-repeated"]


def test_one_id_may_say_several_things_each_of_which_is_known_when_it_is_repeated() -> None:
    """As whoever takes ids from tickets does it: no abort is taken for the pause before it, nor for that of another service."""
    loop = shop()
    for name in ("cart", "island"):
        loop.push(name, 2)
    until(loop, "cart/2", Phase.VERIFYING)
    said = [
        OverrideRequested("CHG-7", verb, "ada", "because", service=name) for verb in (Say.PAUSE, Say.ABORT) for name in ("cart", "island")
    ]
    for _ in range(2):
        codes = [decision.reasons[0].code for each in said if (decision := loop.hear(each))]
    assert codes == ["override-repeated"] * 4
    until(loop, "island/2", Phase.REVERTED)
    until(loop, "cart/2", Phase.REVERTED)


def test_freezes_of_two_scopes_by_one_id_are_two() -> None:
    loop = shop()
    for name in ("cart", "pay"):
        loop.hear(OverrideRequested("CHG-7", Say.FREEZE, "ada", "because", service=name))
    loop.say(Say.UNFREEZE, service="cart")
    for name in ("cart", "pay"):
        loop.push(name, 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert phase(loop, "pay/2") is Phase.QUEUED


def test_a_revert_that_is_said_twice_is_told_as_done() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    said = [decision.reasons[0] for _ in range(2) if (decision := loop.say(Say.REVERT, service="cart"))]
    assert [each.code for each in said[1:]] == ["override:revert"]
    assert "cart returns to #1 already: production/cart/1 (" in said[1].text
    until(loop, "cart/1", Phase.COMPLETED)


def test_a_revert_while_a_newer_version_climbs_stops_that_one_first() -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.say(Say.REVERT, service="cart", version="#1")
    until(loop, "cart/3", Phase.REVERTED)
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}


def test_a_pause_keeps_a_queued_rollout_in_the_queue_until_it_is_resumed_or_its_deadline_comes() -> None:
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=400))
    loop.push("pay", 2)
    for number in (2, 3):
        loop.push("cart", number)
        loop.say(Say.PAUSE, rollout=f"production/cart/{number}")
    until(loop, "pay/2", Phase.COMPLETED)
    loop.run(30)
    assert (phase(loop, "cart/3"), held(loop, "cart/3")) == (Phase.QUEUED, ["pause"])
    assert "paused by ada" in (loop.driver.rollout("production/cart/3").waiting_for or "")  # type: ignore[union-attr]
    until(loop, "cart/3", Phase.REVERTED, 400)
    loop.push("cart", 4)
    loop.say(Say.PAUSE, rollout="production/cart/4")
    loop.say(Say.RESUME, rollout="production/cart/4")
    until(loop, "cart/4", Phase.COMPLETED)


def test_an_abort_that_asks_a_parked_version_back_asks_again_where_its_actuator_failed_once() -> None:
    loop = old_version_being_parked()
    loop.say(Say.ABORT, service="cart")
    loop.run(5)
    loop.world.broken.add("cart")
    loop.run(60)
    loop.world.broken.discard("cart")
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart")["#1"] == 100


@pytest.mark.parametrize(("others", "frozen"), [(OVERRIDES_KEPT - 1, ()), (OVERRIDES_KEPT, ("freeze//K",))])
def test_an_id_is_remembered_as_long_as_the_documents_say(others: int, frozen: tuple[str, ...]) -> None:
    """Somebody who says it again after so many others means it again: no state can hold every id for ever."""
    driver = Driver()
    driver.pipe(OverrideRequested("K", Say.FREEZE, "ada", "a reason"))
    driver.pipe(OverrideRequested("L", Say.UNFREEZE, "ada", "a reason"))
    for number in range(others - 1):
        driver.pipe(OverrideRequested(f"x{number}", Say.RESUME, "ada", "a reason"))
    driver.pipe(OverrideRequested("K", Say.FREEZE, "ada", "a reason"))
    index = driver.state.find("index", Index)
    assert index is not None
    assert index.freezes == frozen


@pytest.mark.parametrize("by", ["pause", "hand-edit"])
def test_force_passes_gates_and_not_what_people_hold(by: str) -> None:
    """A step forward over a colleague's pause, or over weights that somebody set by hand, is not what a gate keeps from."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    if by == "pause":
        loop.say(Say.PAUSE, rollout="production/cart/2")
    else:
        loop.world.edit("cart", {"#1": 60, "#2": 40}, "bob: 40% for a look")
        loop.tell_world("cart", WorldCause.HAND_EDIT, "bob")
    loop.run(3)
    assert by in held(loop, "cart/2")
    loop.say(Say.FORCE, rollout="production/cart/2")
    loop.run(5)
    assert by in held(loop, "cart/2")
    assert "production/cart/2 is held still, which force does not lift" in reasons(loop)
    loop.say(Say.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("verb", [Say.PROMOTE, Say.SKIP])
def test_a_word_about_gates_says_what_holds_the_rollout_all_the_same(verb: Say) -> None:
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.PAUSE, rollout="production/cart/2")
    loop.say(verb, rollout="production/cart/2")
    assert f"production/cart/2 is held still, which {verb} does not lift: paused by ada" in reasons(loop)


def test_what_is_frozen_stays_at_its_weight_beyond_every_deadline_and_goes_on_when_it_is_over() -> None:
    """A freeze has an end of its own: nobody has forgotten it."""
    loop = shop(policy=replace(QUICK, hold_deadline_seconds=120))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FREEZE, expires_ms=loop.now_ms + 600_000)
    loop.run(590)
    assert (weights(loop, "cart"), held(loop, "cart/2")) == ({"#1": 90, "#2": 10}, ["frozen"])
    assert len([n for n in loop.driver.notices if n.event == "held"]) > 3
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_version_that_was_pinned_once_is_deleted_after_its_retention_as_any_other() -> None:
    loop = shop(policy=replace(QUICK, retention_seconds=100))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.PIN, service="cart", version="#1")
    loop.run(300)
    assert "#1" in loop.world.target("cart").versions
    loop.say(Say.UNPIN, service="cart")
    loop.run(300)
    assert list(loop.world.target("cart").versions) == ["#2"]


@pytest.mark.parametrize("supersede", list(Supersede))
def test_a_retry_of_an_older_version_does_not_take_the_place_of_a_newer_one_that_waits(supersede: Supersede) -> None:
    """Said of the service it was refused; said of the rollout that had brought it the newest version left the queue for good."""
    loop = shop(policy=replace(QUICK, supersede=supersede))
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.VERIFYING)
    loop.actuation_seconds = 10
    loop.push("cart", 4)
    loop.say(Say.RETRY, rollout="production/cart/2")
    moving = "cart is moved by production/cart/3 and production/cart/4: tried again is only what nothing moves"
    assert f"refused: {moving}" in reasons(loop)
    until(loop, "cart/4", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#4": 100}


@pytest.mark.parametrize("expires_ms", [9_999_999_999_999_999, 1_800_000_000_000_000_000, 10**25])
def test_a_freeze_until_a_time_that_is_no_date_lasts_until_somebody_unfreezes_it(expires_ms: int) -> None:
    """Microseconds for milliseconds, or a number for never: no decision could be made while it lasted."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.say(Say.FREEZE, expires_ms=expires_ms)
    assert f"production is frozen, until somebody unfreezes it: {expires_ms} ms is a time after the year 9999" in reasons(loop)
    loop.push("pay", 2)
    loop.run(120)
    assert (phase(loop, "cart/2"), phase(loop, "pay/2"), held(loop, "cart/2")) == (Phase.VERIFYING, Phase.QUEUED, ["frozen"])
    loop.say(Say.UNFREEZE)
    until(loop, "cart/2", Phase.COMPLETED)


@pytest.mark.parametrize("expires_ms", [-1, -(10**17), 0])
def test_a_freeze_that_was_to_end_before_any_date_has_nothing_to_do(expires_ms: int) -> None:
    loop = shop()
    loop.say(Say.FREEZE, expires_ms=expires_ms)
    assert "nothing to do: this was to end at " in reasons(loop)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_freeze_without_a_date_that_an_earlier_build_let_in_is_lifted_like_any_other() -> None:
    loop = shop()
    loop.say(Say.FREEZE, expires_ms=loop.now_ms + 60_000)
    (id_,) = loop.driver.state.find("index", Index).freezes  # type: ignore[union-attr]
    frozen = loop.driver.state.find(f"freeze/{id_}", FreezeEntry)
    assert frozen is not None
    loop.driver.state = loop.driver.state.with_changes({f"freeze/{id_}": replace(frozen, until_ms=10**17)})
    loop.push("cart", 2)
    loop.run(30)
    assert loop.driver.rollout("production/cart/2").waiting_for == (  # type: ignore[union-attr]
        "all of production is frozen by ada until a time after the year 9999: because"
    )
    loop.say(Say.UNFREEZE)
    until(loop, "cart/2", Phase.COMPLETED)


def test_what_is_said_on_a_topic_that_was_made_anew_is_acted_on_and_what_stood_on_the_one_before_is_known() -> None:
    """By their dates: the offsets of the new one are those of the old one."""
    loop = shop()
    for _ in range(5):
        loop.say(Say.PAUSE, service="island")
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    pushed = next((fact, moment.origin) for fact, moment in reversed(loop.driver.facts) if moment.origin is not None)
    loop.make_inputs_anew()
    decision = loop.say(Say.ABORT, service="cart")
    assert decision is not None
    codes = [reason.code for reason in decision.reasons]
    assert (codes[0], "override:abort" in codes) == ("another-log", True)
    known = loop.give(*pushed)
    assert known is not None
    assert known.reasons[0].code == "repeated"
    until(loop, "cart/2", Phase.REVERTED)
