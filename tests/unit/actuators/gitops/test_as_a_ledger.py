"""A repository keeps the rules of the ledger: whatever is done to it, it answers as the dry run's memory does."""

import random
from pathlib import Path

import pytest

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.world import Cursor, TargetObserved, TargetWanted
from tests.unit.actuators.gitops.scene import TARGET, Scene, command, run, version, wanted

_STEPS = 12


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_commands_and_hands_ends_as_in_the_dry_run(tmp_path: Path, seed: int) -> None:
    """Weights of 0 and 100 only, in any order and epoch, stale and repeated ones, people in between, restarts on a clone or none."""
    chance, scene, dry = random.Random(seed), Scene(tmp_path), DryRun(clock=lambda: 1_000.0)
    for step in range(_STEPS):
        if chance.random() < 0.2:
            scene.fresh()
        deed = chance.choice(["command"] * 5 + ["edit", "release", "break glass"])
        edited = [run(each.observe(TARGET)).edited for each in (scene.actuator, dry)]
        if deed == "command":
            cursor, named = Cursor(chance.randint(1, 2), chance.randint(1, 2 * _STEPS)), chance.random() < 0.5
            want = _wanted(chance)
            said = [
                run(each.apply(_command(want, cursor, words if named else None), cursor)).status
                for each, words in zip((scene.actuator, dry), edited, strict=True)
            ]
        else:
            weights = chance.choice([{"#1": 100, "#2": 0}, {"#1": 0, "#2": 100}, {"#1": 100}, {"#9": 100}])
            said = [_by_hand(each, deed, weights) for each in (scene.actuator, dry)]
        here, there = (_gist(run(each.observe(TARGET))) for each in (scene.actuator, dry))
        assert (said[0], here) == (said[1], there), f"seed {seed}, step {step}: {deed}"


def _wanted(chance: random.Random) -> TargetWanted:
    stable, serving = chance.choice([1, 2]), chance.choice([1, 2, 3])
    numbers = sorted({1, 2, serving} - ({3 - stable} if serving == stable and chance.random() < 0.3 else set()))
    return wanted(*(version(number, 100 if number == serving else 0) for number in numbers), stable=f"#{stable}")


def _command(want: TargetWanted, cursor: Cursor, over_edit: str | None) -> Command:
    return command(want, cursor.sequence, Verb.SHIFT, over_edit=over_edit)


def _by_hand(actuator: GitOps | DryRun, deed: str, weights: dict[str, int]) -> str:
    try:
        match deed:
            case "edit":
                run(actuator.edit(TARGET, weights, "bob", "why"))
            case "release":
                run(actuator.release(TARGET))
            case _:
                run(actuator.break_glass(TARGET, "bob", "why"))
    except HandRefused:
        return "refused"
    return "done"


def _gist(seen: TargetObserved) -> tuple[object, ...]:
    weights = {each.label: each.weight for each in seen.versions}
    return seen.cursor, weights, seen.edited is not None, seen.break_glass is not None, seen.lease_expired
