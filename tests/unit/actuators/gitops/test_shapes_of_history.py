"""Repositories as people leave them: merged crosswise, rebased, with submodules and links, or empty."""

import os
from pathlib import Path

import pytest

from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.world import Cursor
from tests.contract.actuators.git_repositories import git
from tests.unit.actuators.gitops.scene import FILE, TEXT, Scene, digest, version, wanted, weights_of


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
