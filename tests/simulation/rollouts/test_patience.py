"""What takes long for a reason is waited for; what never ends is not."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision import rollout
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import WorldCause, WorldChanged
from ctrlplane_stream.model.policy import Fleet, Step, Supersede
from ctrlplane_stream.simulation.drawing.systems import SWIFT
from ctrlplane_stream.simulation.loop import service
from ctrlplane_stream.simulation.patience import BASE_SECONDS
from ctrlplane_stream.simulation.plans import Act, Deed, Plan
from ctrlplane_stream.simulation.play import Play

_ONE_BY_ONE = service("s0", replace(SWIFT, in_place=True, supersede=Supersede.FINISH))
_PUSHES = tuple(Act(number, Deed.PUSH, "s0", number, "good") for number in range(1, 9))
QUEUE = Plan(seed=1, services=(_ONE_BY_ONE,), edges=(), acts=_PUSHES, start=35.0)
"""Seven rollouts of one service wait for each other, four instances each, exchanged one by one in 35 s."""


def test_a_queue_of_exchanges_in_place_ends_though_it_takes_longer_than_anything_side_by_side() -> None:
    play = Play(QUEUE)
    began = play.loop.now_ms
    outcome = play.run()
    assert (outcome.broken, outcome.completed) == ((), 8)
    assert (play.loop.now_ms - began) / 1000 > BASE_SECONDS


def test_a_queue_of_slow_climbs_ends_though_it_takes_longer_than_anything_side_by_side() -> None:
    slow = replace(SWIFT, steps=(Step(10, 5, 60, 1), Step(50, 5, 60, 2), Step(100, 5, 60, 1)), supersede=Supersede.FINISH)
    entry = service("s0", replace(slow, candidate_fleet=Fleet.BY_WEIGHT))
    pushes = tuple(Act(number, Deed.PUSH, "s0", number, "good") for number in range(1, 12))
    play = Play(Plan(seed=1, services=(entry,), edges=(), acts=pushes, start=35.0))
    began = play.loop.now_ms
    outcome = play.run()
    assert (outcome.broken, outcome.completed) == ((), 11)
    assert (play.loop.now_ms - began) / 1000 > BASE_SECONDS + play.plan.chaos


def test_whoever_resumed_over_a_drift_is_waited_for_to_resume_over_an_edit_that_was_never_reported() -> None:
    acts = (
        Act(1, Deed.PUSH, "s0", 1, "good"),
        Act(120, Deed.EDIT, "s0", 65),
        Act(130, Deed.STRAY_AT_REST, "s0", 13),
    )
    play = Play(Plan(seed=1, services=(service("s0", SWIFT),), edges=(), acts=acts))
    play.loop.deliver = lambda fact: [] if isinstance(fact, WorldChanged) and fact.cause is WorldCause.HAND_EDIT else [(0.0, fact)]
    assert play.run().broken == ()
    assert play.loop.world.target("s0").versions["#1"].weight == 100


def test_a_queue_that_never_ends_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rollout.__dict__, "RULES", {**rollout.RULES, Phase.SHIFTING: lambda draft, r: "for ever"})
    assert Play(QUEUE).run().broken[0].startswith("invariant 11: not over after")
