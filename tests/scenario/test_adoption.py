"""What ran before us is taken over as it is, and what an abort, a refusal or a failed release means for it then."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.phases import ADOPTION, Phase
from ctrlplane_stream.model.commands import JudgeAssigned, Verb
from ctrlplane_stream.model.facts import OverrideVerb as Say
from ctrlplane_stream.model.facts import WorldCause
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import OnDrift, Supersede
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, Loop, artifact, catalog, digest, service
from tests.scenario.shop import held, phase, reasons, until, weights

RUNNING = 90
"""The number of the image that runs before us."""


def running(policy: object = QUICK, kind: ServiceKind = ServiceKind.ROUTED) -> Loop:
    """A service that runs without us, and a catalog that knows it."""
    loop = Loop.of(catalog(service("cart", policy, kind)))  # type: ignore[arg-type]
    loop.world.running = {"cart": digest(RUNNING)}
    return loop


def adopt(loop: Loop, number: int = RUNNING, **more: object) -> str:
    """Say that the n-th image is to be adopted; the last sentence about it."""
    what = artifact("cart", number)
    decision = loop.say(Say.ADOPT, **{"service": "cart", "image": what.image, "digest": what.digest, **more})
    assert decision is not None
    return decision.reasons[-1].text


def adopted(policy: object = QUICK) -> Loop:
    """A service whose running version was adopted."""
    loop = running(policy)
    adopt(loop)
    until(loop, "cart/1", Phase.COMPLETED)
    return loop


def verbs(loop: Loop) -> list[Verb]:
    """What the target was told, in order."""
    return [command.verb for command in loop.driver.commands]


def test_what_runs_becomes_version_one_stable_and_last_known_good_and_nobody_judges_it() -> None:
    loop = running()
    adopt(loop)
    assert loop.driver.target("cart").stable == "#1"
    until(loop, "cart/1", Phase.COMPLETED)
    target = loop.driver.target("cart")
    assert (target.last_known_good.label, target.baked) == ("#1", ("#1",))  # type: ignore[union-attr]
    assert verbs(loop) == [Verb.ADOPT]
    assert weights(loop, "cart") == {"#1": 100}
    assert not any(isinstance(output, JudgeAssigned) for output in loop.driver.outputs)
    assert "unjudged" in reasons(loop)


def test_it_is_version_one_once_however_often_it_is_said() -> None:
    loop = adopted()
    assert "has #1 here already" in adopt(loop)
    assert "has #1 here already" in adopt(loop, 91)
    loop.push("cart", RUNNING)
    assert "already version #1" in reasons(loop)
    assert verbs(loop) == [Verb.ADOPT]


def test_the_next_release_climbs_beside_it_and_a_failed_one_goes_back_to_it() -> None:
    loop = adopted()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.world.harmed == []


def test_it_is_judged_and_drained_by_the_label_that_its_telemetry_carries() -> None:
    loop = adopted()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    asked = [output.assignment.changed[0] for output in loop.driver.outputs if isinstance(output, JudgeAssigned)]
    assert {(change.candidate, change.stable) for change in asked} == {("#2", digest(RUNNING))}
    until(loop, "cart/2", Phase.COMPLETED)
    assert loop.driver.target("cart").wanted("#1").capacity is Capacity.PARKED  # type: ignore[union-attr]


def test_telemetry_may_tell_it_by_a_label_that_the_operator_names() -> None:
    loop = running()
    adopt(loop, version="2024.1")
    until(loop, "cart/1", Phase.COMPLETED)
    assert loop.driver.commands[0].wanted.versions[0].told_as == "2024.1"


def test_it_can_be_returned_to_like_any_version_that_baked() -> None:
    loop = adopted()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.say(Say.REVERT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.world.harmed == []


def test_a_refused_adoption_is_held_with_the_reason_and_goes_on_once_the_world_can() -> None:
    loop = running()
    loop.world.running = {}
    adopt(loop)
    loop.run(40)
    assert held(loop, "cart/1") == ["stuck"]
    assert "nothing to adopt: nothing runs there" in loop.driver.notices[-1].text
    assert "control abort" in loop.driver.notices[-1].next_command
    loop.world.running = {"cart": digest(RUNNING)}
    until(loop, "cart/1", Phase.COMPLETED)


def test_a_refused_adoption_that_is_given_up_leaves_everything_as_it_was_and_another_may_be_tried() -> None:
    loop = running()
    adopt(loop, 91)
    loop.run(5)
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/1", Phase.REVERTED)
    target = loop.driver.target("cart")
    assert (target.stable, target.live, target.last_known_good) == (None, (), None)
    assert "What runs there was not touched" in loop.driver.notices[-1].text
    assert verbs(loop)[-1] is Verb.LEAVE
    adopt(loop)
    until(loop, "cart/2", Phase.COMPLETED)
    assert weights(loop, "cart") == {"#2": 100}


def test_a_refused_adoption_that_nobody_ends_is_given_up_at_its_deadline() -> None:
    loop = running(replace(QUICK, hold_deadline_seconds=60))
    adopt(loop, 91)
    until(loop, "cart/1", Phase.REVERTED)
    assert "before its deadline" in reasons(loop)


def test_an_abort_that_comes_too_late_finds_it_adopted_and_takes_nothing_from_it() -> None:
    loop = running()
    loop.actuation_seconds = 5
    adopt(loop)
    loop.run(3)
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED)
    assert "nothing would be better undone" in reasons(loop)
    assert weights(loop, "cart") == {"#1": 100}
    assert loop.world.harmed == []


def test_an_abort_of_what_was_adopted_and_never_seen_finds_it_adopted_too() -> None:
    loop = running()
    loop.world.mute.add("cart")
    adopt(loop)
    loop.run(60)
    loop.say(Say.ABORT, service="cart")
    loop.run(30)
    assert loop.driver.target("cart").stable == "#1"
    loop.world.mute.clear()
    until(loop, "cart/1", Phase.COMPLETED)
    assert loop.world.harmed == []


def test_an_edit_that_somebody_aborted_over_is_not_asked_about_again_where_the_adoption_stands_all_the_same() -> None:
    loop = running()
    loop.actuation_seconds = 5
    adopt(loop)
    loop.run(3)
    loop.say(Say.ABORT, service="cart")
    loop.run(3)
    loop.world.edit("cart", {"#1": 100}, "weight 100")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 100")
    until(loop, "cart/1", Phase.ADOPTING)
    loop.run(20)
    assert (phase(loop, "cart/1"), held(loop, "cart/1")) == (Phase.ADOPTING, ["hand-edit"])
    loop.say(Say.ABORT, service="cart")
    until(loop, "cart/1", Phase.COMPLETED, 60)
    assert loop.world.target("cart").edited is None


def test_what_strays_while_an_adoption_is_given_up_is_restored_by_leaving_it_again_and_not_by_a_shift() -> None:
    loop = running(replace(QUICK, on_drift=OnDrift.RESTORE))
    loop.actuation_seconds = 30
    adopt(loop)
    loop.run(2)
    loop.say(Say.ABORT, service="cart")
    loop.tell_world("cart", WorldCause.DRIFT, "the hand edit was released on the target")
    assert verbs(loop)[-1] is Verb.LEAVE
    loop.run(120)
    assert loop.world.harmed == []


@pytest.mark.parametrize("kind", list(ServiceKind))
def test_what_was_adopted_and_is_being_parked_is_not_stopped_once_somebody_broke_the_glass(kind: ServiceKind) -> None:
    loop = running(QUICK, kind)
    adopt(loop)
    until(loop, "cart/1", Phase.COMPLETED)
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.actuation_seconds = 20
    while verbs(loop)[-1] is not Verb.PARK:
        loop.run(1)
    assert loop.world.break_glass("cart", "by ada")
    loop.tell_world("cart", WorldCause.BREAK_GLASS, "by ada")
    until(loop, "cart/2", Phase.REVERTED)
    assert (weights(loop, "cart"), loop.world.harmed) == ({"#1": 100}, [])


def test_a_push_waits_until_it_is_known_whether_what_runs_is_adopted() -> None:
    loop = running(replace(QUICK, supersede=Supersede.RESTART))
    loop.actuation_seconds = 5
    adopt(loop)
    loop.push("cart", 2)
    assert "moves cart too" in str(loop.driver.rollout("production/cart/2").waiting_for)  # type: ignore[union-attr]
    until(loop, "cart/2", Phase.COMPLETED)
    rollout = loop.driver.rollout("production/cart/2")
    assert rollout is not None
    assert rollout.units[0].stable == "#1"


def test_nothing_that_passes_over_a_gate_changes_an_adoption() -> None:
    loop = running()
    adopt(loop, 91)
    loop.run(5)
    for verb in (Say.PROMOTE, Say.FORCE, Say.SKIP):
        decision = loop.say(verb, service="cart")
        assert decision is not None
        assert "refused" in decision.reasons[-1].text
    assert verbs(loop) == [Verb.ADOPT]


@pytest.mark.parametrize("at", ADOPTION)
@pytest.mark.parametrize("verb", [Say.ABORT, Say.PAUSE, Say.FREEZE])
def test_abort_pause_and_freeze_are_not_refused_of_an_adoption_either(verb: Say, at: Phase) -> None:
    loop = running()
    adopt(loop, 91)
    loop.run(5)
    if at is Phase.LEAVING:
        loop.world.broken.add("cart")
        loop.say(Say.ABORT, service="cart")
    until(loop, "cart/1", at)
    decision = loop.say(verb, service="cart")
    assert decision is not None
    assert decision.disposition == "applied"


def test_only_a_service_of_the_catalog_and_an_image_that_it_allows_are_adopted() -> None:
    loop = running()
    assert "needs a service" in adopt(loop, service=None)
    assert "has no service mystery" in adopt(loop, service="mystery")
    assert "takes images from" in adopt(loop, image="registry.example/mystery")
    loop.push("cart", 2)
    assert "under way" in adopt(loop)
    assert Verb.ADOPT not in verbs(loop)


def test_an_adopted_version_is_not_announced_to_the_next_environment() -> None:
    """Nothing baked here: whoever promotes from this environment relies on that."""
    loop = Loop.of(catalog(service("cart"), promotes_to=("live",)))
    loop.world.running = {"cart": digest(RUNNING)}
    offered: list[object] = []
    loop.announced = offered.append
    adopt(loop)
    until(loop, "cart/1", Phase.COMPLETED)
    assert offered == []


def test_what_was_adopted_and_a_hand_had_serve_beyond_its_retention_is_parked_before_it_is_left_to_its_owner() -> None:
    loop = adopted(replace(QUICK, retention_seconds=60))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.world.edit("cart", {"#1": 48, "#2": 52}, "weight 48")
    loop.tell_world("cart", WorldCause.HAND_EDIT, "weight 48")
    loop.run(100)
    loop.say(Say.RESUME, service="cart")
    loop.run(120)
    assert (verbs(loop)[-3:], loop.world.harmed) == ([Verb.SHIFT, Verb.PARK, Verb.DELETE], [])
    assert list(loop.world.target("cart").versions) == ["#2"]
