"""Repositories as people leave them: merged crosswise, rebased, with submodules and links, or empty."""

import os
from pathlib import Path

import pytest

from ctrlplane_stream.actuators.gitops import actuator
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.world import Cursor
from tests.contract.actuators.git_repositories import git
from tests.unit.actuators.gitops.scene import FILE, TARGET, TEXT, Scene, digest, run, version, wanted, weights_of


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def crosswise(scene: Scene, *options: str) -> None:
    """What ``git pull`` makes of a commit of Alice's on an older head: the branch goes on over hers, and ours came in from the side."""
    git(scene.bare.tree, "fetch", "-q", "origin", "main")
    git(scene.bare.tree, "merge", "-q", "--no-ff", "-m", "Merge branch 'main' of origin", *options, "origin/main")
    git(scene.bare.tree, "push", "-q", "origin", "main")
    assert "Ctrlplane" not in git(scene.bare.path, "log", "--first-parent", "-2", "--format=%B", "main")


def alone(scene: Scene, files: dict[str, str]) -> None:
    """A commit of Alice's that she does not push yet."""
    scene.bare.pull()
    for name, text in files.items():
        (scene.bare.tree / name).write_text(text)
    git(scene.bare.tree, "add", "-A")
    git(scene.bare.tree, "commit", "-q", "-m", "Hers")


def test_a_commit_of_ours_that_comes_in_by_a_merge_from_the_side_is_still_what_is_remembered(scene: Scene) -> None:
    scene.stable_and_candidate()
    alone(scene, {"other": "x"})
    scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    crosswise(scene)
    for _ in range(2):
        seen = scene.observe()
        assert (seen.cursor, weights_of(seen), seen.edited) == (Cursor(1, 3), {"#1": 0, "#2": 100}, None)
        scene.fresh()
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 2).status is OutcomeStatus.REFUSED
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 4).status is OutcomeStatus.APPLIED


def test_a_merge_that_prefers_anothers_value_of_our_field_is_that_persons_edit(scene: Scene) -> None:
    scene.stable_and_candidate()
    alone(scene, {FILE: TEXT.replace("sha256:old", "sha256:hers")})
    scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    crosswise(scene, "-X", "ours")
    edited = scene.observe().edited or ""
    assert "Alice at" in edited
    assert f"is sha256:hers instead of {digest(2)}" in edited
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 4).status is OutcomeStatus.REFUSED
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 5, over_edit=edited).status is OutcomeStatus.APPLIED
    assert digest(1) in scene.bare.text(FILE)


def test_our_commits_that_somebody_rebased_and_forced_say_what_they_said(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.stable_and_candidate()
    scene.bare.pull()
    first = git(scene.bare.tree, "rev-list", "--max-parents=0", "HEAD").strip()
    git(scene.bare.tree, "checkout", "-q", "-b", "tidy", first)
    (scene.bare.tree / "other").write_text("x")
    git(scene.bare.tree, "add", "-A")
    git(scene.bare.tree, "commit", "-q", "-m", "Hers")
    git(scene.bare.tree, "rebase", "-q", "--keep-empty", "--onto", "tidy", first, "main")
    git(scene.bare.tree, "push", "-q", "--force", "origin", "main")
    seen = scene.observe()
    assert (seen.cursor, weights_of(seen), seen.edited) == (Cursor(1, 2), {"#1": 100, "#2": 0}, None)
    assert "was rewritten" in caplog.text


def test_submodules_links_and_modes_are_left_as_they_are(scene: Scene) -> None:
    scene.bare.pull()
    tree = scene.bare.tree
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    os.symlink(FILE, tree / "link.yaml")
    git(tree, "update-index", "--add", "--cacheinfo", f"160000,{scene.bare.head()},overlays/vendored")
    git(tree, "add", "run.sh", "link.yaml")
    git(tree, "commit", "-q", "-m", "All kinds")
    git(tree, "push", "-q", "origin", "main")
    before = git(scene.bare.path, "ls-tree", "-r", "main").splitlines()
    assert scene.apply(wanted(version(1, 100)), 1, Verb.PREPARE).status is OutcomeStatus.APPLIED
    after = git(scene.bare.path, "ls-tree", "-r", "main").splitlines()
    assert [line for line in before if FILE not in line] == [line for line in after if FILE not in line]
    assert {line.split()[0] for line in after} == {"100644", "100755", "120000", "160000"}
    git(scene.bare.path, "fsck", "--strict", "--no-dangling")


def test_a_file_that_lies_beyond_a_link_by_now_is_named_in_words_and_its_target_is_looked_at(scene: Scene) -> None:
    """Somebody moves the folder and leaves a link where it was, which Git follows for nobody."""
    scene.stable_and_candidate()
    scene.bare.pull()
    folder = scene.bare.tree / FILE.partition("/")[0]
    folder.rename(scene.bare.tree / "moved")
    os.symlink("moved", folder)
    git(scene.bare.tree, "add", "-A")
    git(scene.bare.tree, "commit", "-q", "-m", "Moved")
    git(scene.bare.tree, "push", "-q", "origin", "main")
    assert scene.observe().edited is not None
    outcome = scene.apply(wanted(version(1, 100), version(2, 0)), 9, over_edit=scene.observe().edited)
    assert (outcome.status, "lies beyond what is no folder" in outcome.reason) == (OutcomeStatus.REFUSED, True)


def test_a_repository_without_a_commit_says_what_is_missing(scene: Scene) -> None:
    git(scene.bare.path, "update-ref", "-d", "refs/heads/main")
    scene.fresh()
    with pytest.raises(WorldUnreachable, match="has no branch main: make it"):
        scene.observe()


@pytest.mark.parametrize("anew", [False, True], ids=["as it goes on", "read from the beginning"])
def test_what_somebody_picked_with_an_old_message_of_ours_or_wrote_like_one_is_not_what_is_remembered(scene: Scene, anew: bool) -> None:
    """A cherry-pick or a squash takes the message along, trailers and all: the cursor would go back, and what came since be forgotten."""
    scene.apply(wanted(version(1, 100)), 1, Verb.PREPARE)
    old = git(scene.bare.path, "log", "-1", "--format=%B", "main")
    scene.apply(wanted(version(1, 100), version(2, 0)), 2, Verb.PREPARE)
    scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    before = scene.observe()
    scene.bare.push({"other": "x"}, old)
    scene.bare.push({"other": "y"}, "Tidy\n\nCtrlplane-Target: production:shop/cart\nCtrlplane-Memory: {broken")
    if anew:
        scene.fresh()
    assert scene.observe() == before
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 2).status is OutcomeStatus.REFUSED
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 4).status is OutcomeStatus.APPLIED


@pytest.mark.parametrize("anew", [False, True], ids=["as it goes on", "read from the beginning"])
@pytest.mark.parametrize("deed", ["glass", "edit", "release"])
def test_what_a_person_did_is_not_undone_by_picking_the_commit_of_the_step_before_it(scene: Scene, deed: str, anew: bool) -> None:
    """Both have the cursor of the step. Who picks is told as who edited: the author of what was picked are we."""
    scene.stable_and_candidate()
    scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    step = scene.bare.head()
    match deed:
        case "glass":
            run(scene.actuator.break_glass(TARGET, "bob", "pages"))
        case "edit":
            run(scene.actuator.edit(TARGET, {"#1": 100, "#2": 0}, "bob", "pages"))
        case _:
            scene.bare.push({FILE: scene.bare.text(FILE).replace(digest(2), "sha256:hotfix")})
            scene.observe()
            run(scene.actuator.release(TARGET))
    before = scene.observe()
    scene.bare.pull()
    git(scene.bare.tree, "cherry-pick", "-X", "theirs", step)
    git(scene.bare.tree, "push", "-q", "origin", "main")
    if anew:
        scene.fresh()
    seen = scene.observe()
    assert (weights_of(seen), seen.break_glass) == ({"#1": 0, "#2": 100}, before.break_glass)
    assert "Alice at" in (seen.edited or "").removeprefix(f"{before.edited}; then ")
    assert scene.apply(wanted(version(1, 0), version(2, 100)), 4).status is OutcomeStatus.REFUSED
    assert scene.apply(wanted(version(1, 100), version(2, 0)), 5, over_edit=seen.edited).status is OutcomeStatus.APPLIED
    assert (scene.observe().edited, scene.observe().break_glass) == (None, None)


def test_deeds_by_hand_that_earlier_builds_did_not_number_go_by_their_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.stable_and_candidate()
    scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    monkeypatch.setattr(actuator, "numbered", lambda change, sight: change)
    run(scene.actuator.break_glass(TARGET, "bob", "pages"))
    assert "By-Hand" not in git(scene.bare.path, "log", "-1", "--format=%B", "main")
    monkeypatch.undo()
    assert scene.observe().break_glass is not None
    run(scene.actuator.edit(TARGET, {"#2": 100}, "bob", "better"))
    assert "Ctrlplane-By-Hand: 1\n" in git(scene.bare.path, "log", "-1", "--format=%B", "main")
    scene.fresh()
    assert "bob set" in (scene.observe().edited or "")


@pytest.mark.parametrize("number", ["9" * 5000, "x", "-1"])
def test_numbers_that_nobody_of_us_wrote_stop_nothing(scene: Scene, number: str) -> None:
    scene.stable_and_candidate()
    text = git(scene.bare.path, "log", "-1", "--format=%B", "main")
    scene.bare.push({"other": "x"}, text.replace("Ctrlplane-Cursor: 1.2", f"Ctrlplane-Cursor: 1.{number}"))
    scene.bare.push({"other": "y"}, text.replace("Ctrlplane-Cursor: 1.2", f"Ctrlplane-Cursor: 1.2\nCtrlplane-By-Hand: {number}"))
    assert scene.observe().cursor == Cursor(1, 2)
