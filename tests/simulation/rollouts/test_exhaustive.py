"""Every interleaving of a small system: safe on every path, and no state is a trap. The whole search is ``simulate --exhaustive``."""

import pytest

from ctrlplane_stream.decision import draining, falling, rollout
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.simulation.exhaustive import Broken, explore

PUSHES = ("push caller", "push callee")


@pytest.mark.parametrize("more", [(), ("lose",), ("say abort",), ("say pause",), ("say force",)])
def test_every_interleaving_is_safe_and_none_is_a_trap(more: tuple[str, ...]) -> None:
    """Two connected services with a new version each, verdicts either way, and one thing more that happens at any time."""
    found = explore((*PUSHES, *more))
    print(f"{more}: {found.shapes} states, {found.transitions} transitions")
    assert found.traps == ()
    assert found.shapes > 200


def test_a_core_that_parks_before_weight_zero_is_shown_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search can fail: a version that goes before its weight is seen to be 0 breaks a promise on some path."""
    monkeypatch.setattr(draining, "_undrained", lambda *args: None)
    monkeypatch.setattr(falling, "is_shown", lambda *args: True)
    with pytest.raises(Broken, match="invariant 4"):
        explore((*PUSHES, "say abort"))


def test_a_core_that_never_ends_an_abort_is_a_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search sees what is stuck for ever."""
    monkeypatch.setitem(rollout.__dict__, "RULES", {**rollout.RULES, Phase.ABORTING: lambda draft, r: "for ever"})
    assert explore((*PUSHES[:1], "say abort")).traps
