"""What takes long for a reason is waited for; what never ends is not."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision import rollout
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.policy import Supersede
from ctrlplane_stream.simulation.loop import service
from ctrlplane_stream.simulation.patience import BASE_SECONDS
from ctrlplane_stream.simulation.plans import SWIFT, Act, Deed, Plan
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


def test_a_queue_that_never_ends_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rollout.__dict__, "RULES", {**rollout.RULES, Phase.SHIFTING: lambda draft, r: "for ever"})
    assert Play(QUEUE).run().broken[0].startswith("invariant 11: not over after")
