"""What `ctrlplane-stream rollout` says of an adoption, which has no steps, no guards and nobody who judges it."""

import pytest

from ctrlplane_stream.commands.rollouts import Explanation, Why, next_command, words
from ctrlplane_stream.decision.entities import VersionSet
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.simulation.loop import Loop, artifact, catalog, digest, service

ID = "production/cart/1"


def explained(*, runs: int, abort: bool = False) -> list[str]:
    """The lines about an adoption of the first image, where the n-th runs."""
    loop = Loop.of(catalog(service("cart")))
    loop.world.running = {"cart": digest(runs)}
    loop.say(OverrideVerb.ADOPT, service="cart", image=artifact("cart", 1).image, digest=digest(1))
    loop.run(5)
    if abort:
        loop.say(OverrideVerb.ABORT, service="cart")
        loop.run(5)
    rollout = loop.driver.rollout(ID)
    assert rollout is not None
    chosen = loop.driver.state.find(f"set/{ID}", VersionSet)
    reasons = tuple(Why(0, 0, loop.driver.now_ms, r.code, r.text) for r in loop.driver.reasons if r.rollout == ID)
    return words(Explanation(rollout, chosen, reasons, None, next_command(rollout)))


def test_an_adoption_says_what_was_taken_over_by_whom_and_that_nobody_judged_it() -> None:
    lines = explained(runs=1)
    assert lines[0] == f"{ID} is completed"
    assert any("taken over as it runs, since ada says so: because" in line and "nobody judges it" in line for line in lines)
    assert not any("watched" in line for line in lines)


@pytest.mark.parametrize(
    ("abort", "phase", "command"),
    [
        (False, Phase.ADOPTING, f"ctrlplane-stream control abort {ID} --why REASON"),
        (True, Phase.REVERTED, "ctrlplane-stream control adopt production:cart --artifact IMAGE@DIGEST --why REASON"),
    ],
)
def test_one_that_the_world_refuses_says_why_and_what_to_type(abort: bool, phase: Phase, command: str) -> None:
    lines = explained(runs=2, abort=abort)
    assert lines[0] == f"{ID} is {phase}"
    assert any("nothing to adopt" in line for line in lines)
    assert lines[-1] == f"next: {command}"
