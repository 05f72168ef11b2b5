"""Whole releases by commits alone: the engine decides, a real repository is the world, and what it says is all that is seen."""

from pathlib import Path

import pytest

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeReported, OverrideVerb, WorldCause
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved
from ctrlplane_stream.simulation.loop import QUICK, Loop, artifact, catalog, digest, service
from ctrlplane_stream.simulation.world import Instance, World
from tests.scenario.shop import held, reasons, until
from tests.unit.actuators.gitops.scene import FILE, TEXT, Scene, run


class GitWorld(World):
    """A world whose every answer comes from the actuator; traffic arrives where the repository says."""

    def __init__(self, scene: Scene) -> None:
        super().__init__("production")
        self._scene = scene

    def apply(self, command: Command, now_ms: int) -> OutcomeReported:
        cursor = Cursor(1, command.sequence)
        outcome = run(self._scene.actuator.apply(command, cursor))
        if outcome.observed is not None:
            self._mirror(outcome.observed)
        return OutcomeReported(command.id, command.target, cursor, outcome.status, outcome.reason, outcome.observed)

    def observe(self, service: str, now_ms: int) -> TargetObserved:
        seen = run(self._scene.actuator.observe(Target("production", service)))
        self._mirror(seen)
        return seen

    def _mirror(self, seen: TargetObserved) -> None:
        self.target(seen.target.service).versions = {v.label: Instance(v.digest, v.instances, 0, v.weight) for v in seen.versions}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def loop(scene: Scene) -> Loop:
    """The first version has baked."""
    loop = Loop.of(catalog(service("cart", QUICK)))
    loop.world = GitWorld(scene)
    loop.push("cart", 1)
    until(loop, "cart/1", Phase.COMPLETED)
    return loop


def test_a_good_release_is_switched_by_one_commit_and_baked(loop: Loop, scene: Scene) -> None:
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    assert scene.bare.text(FILE) == TEXT.replace("sha256:old", digest(2))
    assert scene.bare.log() == [
        "cart in production: park, #2 stays",
        "cart in production: #2 instead of #1",
        "cart in production: prepare, #1 stays",
        "cart in production: shift, #1 stays",
        "cart in production: #1 instead of what was there",
        "cart in production: prepare, what was there before us stays",
        "Begin",
    ]
    assert "its world can show 100%" in reasons(loop)


def test_a_bad_release_goes_back_by_a_commit(loop: Loop, scene: Scene) -> None:
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    assert scene.bare.text(FILE) == TEXT.replace("sha256:old", digest(1))
    assert "cart in production: #1 instead of #2" in scene.bare.log()


def test_a_commit_by_hand_holds_the_release_until_resume_goes_over_it(loop: Loop, scene: Scene) -> None:
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.BAKING)
    scene.bare.push({FILE: TEXT.replace("sha256:old", "sha256:hotfix")})
    loop.tell_world("cart", WorldCause.HAND_EDIT, "a commit")
    loop.run(60)
    assert "hand-edit" in held(loop, "cart/2")
    assert "sha256:hotfix" in scene.bare.text(FILE)
    loop.say(OverrideVerb.RESUME, rollout="production/cart/2")
    until(loop, "cart/2", Phase.COMPLETED)
    assert scene.bare.text(FILE) == TEXT.replace("sha256:old", digest(2))


def test_what_the_repository_says_is_adopted_without_a_change_and_a_bad_release_goes_back_to_it(tmp_path: Path) -> None:
    """Not before it is named right: the adoption is held with what the field says, and given up; then the right one is taken."""
    text = TEXT.replace("sha256:old", digest(7))
    scene, loop = Scene(tmp_path, text=text), Loop.of(catalog(service("cart", QUICK)))
    loop.world = GitWorld(scene)
    _adopt(loop, 8)
    assert f"digest is {digest(7)}" in reasons(loop)
    loop.say(OverrideVerb.ABORT, rollout="production/cart/1")
    until(loop, "cart/1", Phase.REVERTED)
    assert scene.bare.text(FILE) == text
    _adopt(loop, 7)
    until(loop, "cart/2", Phase.COMPLETED)
    assert scene.bare.text(FILE) == text
    loop.judge.faulty.add(("cart", "#3"))
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.REVERTED)
    assert scene.bare.text(FILE) == text
    assert scene.bare.log()[-4:] == [
        "cart in production: prepare, #2 stays",
        "cart in production: adopt, #2 stays",
        "cart in production: leave, what was there before us stays",
        "Begin",
    ]


def _adopt(loop: Loop, number: int) -> None:
    what = artifact("cart", number)
    loop.say(OverrideVerb.ADOPT, service="cart", image=what.image, digest=what.digest)
    loop.run(5)
