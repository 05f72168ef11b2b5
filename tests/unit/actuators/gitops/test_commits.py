"""What the actuator leaves in a real repository, and what it does when others push, hooks refuse and files are not as they were."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, Writes
from ctrlplane_stream.actuators.gitops.remote import Remote
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.world import Capacity, Cursor, TargetWanted, WantedVersion
from tests.contract.actuators.git_repositories import git
from tests.unit.actuators.gitops.scene import DIGEST, FILE, TARGET, TEXT, Scene, command, digest, run, version, wanted, weights_of


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_commit_says_who_what_and_why_and_changes_one_line(scene: Scene) -> None:
    scene.stable_and_candidate()
    scene.apply(wanted(version(1, 0), version(2, 100)), 3, why="every guard passed\n\nCtrlplane-Cursor: 9.9")
    assert scene.bare.text(FILE) == TEXT.replace("sha256:old", digest(2))
    author, subject, body = scene.bare.log("%an <%ae>%x09%s%x09%b")[0].split("\t")
    assert author == "Release engine <release@shop.example>"
    assert subject == "shop/cart in production: #2 instead of #1"
    assert "Why: every guard passed Ctrlplane-Cursor: 9.9." in body
    assert "shop/cart: #1 (stable) at 0%, #2 at 100%. Rollout: production/shop-cart/2." in body
    assert git(scene.bare.path, "log", "-1", "--format=%(trailers:key=Ctrlplane-Cursor,valueonly)", "main").strip() == "1.3"
    assert git(scene.bare.path, "diff", "--numstat", "main~1", "main").split() == ["1", "1", FILE]


def test_a_command_that_changes_no_field_is_an_empty_commit_that_keeps_the_cursor(scene: Scene) -> None:
    scene.stable_and_candidate()
    assert scene.bare.log()[0] == "shop/cart in production: prepare, #1 stays"
    scene.fresh()
    assert scene.observe().cursor == Cursor(1, 2)
    late = scene.apply(wanted(version(1, 0), version(2, 100)), 1)
    assert (late.status, "stale" in late.reason) == (OutcomeStatus.REFUSED, True)


def test_a_partial_weight_gives_the_candidate_nothing_and_says_so(scene: Scene) -> None:
    scene.stable_and_candidate()
    outcome = scene.apply(wanted(version(1, 75), version(2, 25)), 3)
    assert outcome.status is OutcomeStatus.APPLIED
    assert "a commit moves all of the traffic or none: #1 gets 100% instead of 75%, #2 gets 0% instead of 25%" in outcome.reason
    seen = scene.observe()
    assert (weights_of(seen), seen.lease_remaining_seconds, seen.granularity) == ({"#1": 100, "#2": 0}, None, 100)


def test_what_somebody_pushes_in_between_is_kept_and_the_command_is_decided_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.stable_and_candidate()
    others = iter([{"README": "theirs"}, {FILE: TEXT.replace("sha256:old", digest(1)).replace("sha256:pay", "sha256:paid")}])
    _before_each_push(monkeypatch, lambda: scene.bare.push(files) if (files := next(others, None)) else None)
    outcome = scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    assert outcome.status is OutcomeStatus.APPLIED
    assert scene.bare.log()[:3] == ["shop/cart in production: #2 instead of #1", "By hand", "By hand"]
    assert scene.bare.text("README") == "theirs"
    assert scene.bare.text(FILE) == TEXT.replace("sha256:old", digest(2)).replace("sha256:pay", "sha256:paid")


def test_a_greater_cursor_that_comes_in_between_wins(scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scene.stable_and_candidate()
    other = GitOps(lambda target: scene.place, tmp_path / "other")
    undisturbed, aborts = Remote.push, [command(wanted(version(1, 100), version(2, 0)), 9)]

    def push(remote: Remote, *arguments: object) -> None:
        if aborts:
            run(other.apply(aborts.pop(), Cursor(2, 9)))
        undisturbed(remote, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Remote, "push", push)
    outcome = scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    assert (outcome.status, outcome.reason) == (
        OutcomeStatus.REFUSED,
        "stale: the target is at epoch 2, sequence 9, the command at epoch 1, sequence 3",
    )
    assert digest(1) in scene.bare.text(FILE)


def test_a_branch_that_never_rests_is_given_up_after_some_tries(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = []
    _before_each_push(monkeypatch, lambda: pushed.append(scene.bare.push({"README": str(len(pushed))})))
    with pytest.raises(WorldUnreachable, match="keeps moving"):
        scene.apply(wanted(version(1, 100)), 1)
    assert (len(pushed), scene.bare.head()) == (8, pushed[-1])


def test_writers_that_race_lose_nothing(tmp_path: Path) -> None:
    """Three actuators with clones of their own, and a person, all at once on one branch: every commit is there, one after the other."""
    scene = Scene(tmp_path)
    actuators = [GitOps(lambda target: scene.place, tmp_path / f"racer-{number}") for number in range(3)]

    def by_hand() -> None:
        for _ in range(100):  # as often as the others are faster
            with contextlib.suppress(AssertionError):
                scene.bare.push({"README": "one"})
                return

    async def climb() -> list[OutcomeStatus]:
        hand = asyncio.create_task(asyncio.to_thread(by_hand))
        outcomes = [
            await asyncio.gather(*(each.apply(command(wanted(version(1, 100)), number), Cursor(1, number)) for each in actuators))
            for number in range(1, 5)
        ]
        await hand
        return [outcome.status for each in outcomes for outcome in each]

    assert set(run(climb())) == {OutcomeStatus.APPLIED}
    assert len([subject for subject in scene.bare.log() if subject.startswith("shop/cart")]) == 4
    assert git(scene.bare.path, "rev-list", "--merges", "main") == ""
    assert "By hand" in scene.bare.log()


def test_a_hook_that_refuses_is_an_outcome_in_its_own_words(scene: Scene) -> None:
    before = scene.bare.head()
    scene.bare.hook("pre-receive", "echo frozen until Monday; exit 1")
    outcome = scene.apply(wanted(version(1, 100)), 1)
    assert outcome.status is OutcomeStatus.REFUSED
    assert "pre-receive hook declined" in outcome.reason
    assert "frozen until Monday" in outcome.reason
    assert (scene.bare.head(), scene.observe().cursor) == (before, None)
    scene.bare.hook("pre-receive", "exit 0")
    assert scene.apply(wanted(version(1, 100)), 1).status is OutcomeStatus.APPLIED


@pytest.mark.parametrize("at", ["before the push", "after the push"])
def test_a_writer_that_is_killed_leaves_all_or_nothing(scene: Scene, tmp_path: Path, at: str) -> None:
    """The same command again, by whoever takes over, ends with one commit."""
    scene.stable_and_candidate()
    killed = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_writer.py")), str(scene.bare.path), str(tmp_path / "k"), at], check=False
    )
    assert killed.returncode == -9
    assert len(scene.bare.log()) == (3 if at == "before the push" else 4)
    scene.fresh()
    assert scene.apply(wanted(version(1, 0), version(2, 100)), 3).status is OutcomeStatus.APPLIED
    assert (len(scene.bare.log()), digest(2) in scene.bare.text(FILE)) == (4, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("images: [\n", "is no YAML that can be read"),
        ("images:\n- {name: pay, digest: x}\n", "has no images[name=cart].digest, since [name=cart] is absent: add it once"),
        ("images:\n- {name: cart, newTag: v1}\n", "since digest is absent: add it once"),
    ],
)
def test_a_file_that_cannot_be_written_safely_refuses_the_command_and_stays(tmp_path: Path, text: str, words: str) -> None:
    scene = Scene(tmp_path, text=text)
    before = scene.bare.head()
    outcome = scene.apply(wanted(version(1, 100)), 1)
    assert (outcome.status, words in outcome.reason, outcome.reason.startswith(FILE)) == (OutcomeStatus.REFUSED, True, True), outcome
    assert (scene.bare.head(), scene.bare.text(FILE)) == (before, text)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Field("nowhere.yaml", Locator("a"), Writes.DIGEST))
    assert "nowhere.yaml is not there: add it" in scene.apply(wanted(version(1, 100)), 1).reason
    (scene.bare.tree / "nowhere.yaml").write_bytes(b"a: \xff\n")
    scene.bare.push({})
    assert "nowhere.yaml is no UTF-8 text" in scene.apply(wanted(version(1, 100)), 1).reason


def test_somebody_elses_commit_on_our_field_is_a_pause_until_it_is_named(scene: Scene) -> None:
    scene.stable_and_candidate()
    mended = scene.bare.push({FILE: TEXT.replace("sha256:old", "sha256:hotfix")})
    seen = scene.observe()
    assert seen.edited is not None
    assert seen.edited.startswith("Alice at ")
    assert f"(commit {mended[:12]}): {DIGEST} is sha256:hotfix instead of {digest(1)}" in seen.edited
    scene.bare.push({"README": "another commit changes nothing of it"})
    assert scene.observe().edited == seen.edited
    back = wanted(version(1, 100), version(2, 0))
    assert scene.apply(back, 3).status is OutcomeStatus.REFUSED
    assert scene.apply(back, 3, over_edit="another").status is OutcomeStatus.REFUSED
    assert "sha256:hotfix" in scene.bare.text(FILE)
    assert scene.apply(back, 3, over_edit=seen.edited).status is OutcomeStatus.APPLIED
    assert (scene.observe().edited, digest(1) in scene.bare.text(FILE)) == (None, True)


def test_an_edit_that_is_taken_back_is_over_and_one_that_is_released_stays(scene: Scene) -> None:
    scene.stable_and_candidate()
    ours = scene.bare.text(FILE)
    scene.bare.push({FILE: TEXT.replace("sha256:old", "sha256:hotfix")})
    scene.bare.push({FILE: ours})
    assert scene.observe().edited is None
    scene.bare.push({FILE: TEXT.replace("sha256:old", "sha256:hotfix")})
    released = run(scene.actuator.release(TARGET))
    assert (released.edited, "sha256:hotfix" in scene.bare.text(FILE)) == (None, True)


def test_a_file_that_somebody_took_away_is_a_hand_edit_too(scene: Scene) -> None:
    scene.stable_and_candidate()
    scene.bare.remove(FILE)
    assert "is not there" in (scene.observe().edited or "")


def test_an_abort_writes_the_fields_that_are_there_where_the_file_of_another_is_gone(tmp_path: Path) -> None:
    """Over the edit, like any abort; what brings a version is refused until the file is back, and that writes it again."""
    fields = [Field("label.yaml", Locator(path), Writes.LABEL) for path in ("release", "shown")]
    scene = Scene(tmp_path, DIGEST, *fields)
    scene.bare.push({"label.yaml": "release: none\nshown: none\n"})
    scene.stable_and_candidate()
    scene.apply(wanted(version(1, 0), version(2, 100)), 3)
    scene.bare.remove("label.yaml")
    edited = scene.observe().edited or ""
    assert edited.count("label.yaml is not there") == 1, edited
    back = wanted(version(1, 100), version(2, 0))
    assert scene.apply(back, 4).status is OutcomeStatus.REFUSED
    assert scene.apply(back, 4, over_edit=edited).status is OutcomeStatus.APPLIED
    seen = scene.observe()
    assert (weights_of(seen), seen.edited, digest(1) in scene.bare.text(FILE)) == ({"#1": 100, "#2": 0}, None, True)
    assert scene.apply(wanted(version(1, 0), version(3, 100)), 5).status is OutcomeStatus.REFUSED
    scene.bare.push({"label.yaml": "release: none\nshown: none\n"})
    assert scene.apply(wanted(version(1, 0), version(2, 100)), 6).status is OutcomeStatus.APPLIED
    assert scene.bare.text("label.yaml") == 'release: "#2"\nshown: "#2"\n'


def test_a_history_that_somebody_rewrote_is_read_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.stable_and_candidate()
    first = git(scene.bare.path, "rev-list", "--max-parents=0", "main").strip()
    git(scene.bare.path, "update-ref", "refs/heads/main", first)
    seen = scene.observe()
    assert (seen.cursor, seen.versions) == (None, ())
    assert "was rewritten" in caplog.text
    assert scene.apply(wanted(version(1, 100)), 5).status is OutcomeStatus.APPLIED


def test_a_first_version_that_is_taken_back_leaves_what_was_there_before(scene: Scene) -> None:
    scene.apply(wanted(version(1, 0), stable=None), 1, Verb.PREPARE)
    assert (weights_of(scene.observe()), scene.bare.text(FILE)) == ({"#1": 0}, TEXT)
    scene.apply(wanted(version(1, 100), stable=None), 2)
    assert weights_of(scene.observe()) == {"#1": 100}
    scene.apply(wanted(version(1, 0), stable=None), 3)
    assert (weights_of(scene.observe()), scene.bare.text(FILE)) == ({"#1": 0}, TEXT)


def test_what_runs_already_is_adopted_as_it_is_and_anything_else_is_not(tmp_path: Path) -> None:
    scene = Scene(tmp_path, text=TEXT.replace("sha256:old", digest(1)))
    refused = scene.apply(wanted(version(2, 100), stable="#2"), 1, Verb.ADOPT)
    assert (refused.status, "which is not #2" in refused.reason) == (OutcomeStatus.REFUSED, True)
    text = scene.bare.text(FILE)
    assert scene.apply(wanted(stable=None), 2, Verb.LEAVE).status is OutcomeStatus.APPLIED
    assert scene.apply(wanted(version(1, 100)), 3, Verb.ADOPT).status is OutcomeStatus.APPLIED
    assert (weights_of(scene.observe()), scene.bare.text(FILE)) == ({"#1": 100}, text)
    late = scene.apply(wanted(stable=None), 4, Verb.LEAVE)
    assert (late.status, "still takes traffic" in late.reason, scene.bare.text(FILE)) == (OutcomeStatus.REFUSED, True, text)


def test_a_configuration_is_not_told_to_the_repository_and_must_show_in_a_field(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.apply(wanted(version(1, 100, {"password": "hunter2"})), 1)
    assert "hunter2" not in "".join(scene.bare.log("%B"))
    twin = wanted(version(1, 0, {"password": "hunter2"}), version(2, 100, {"colour": "red"}, same_as=1))
    assert "differs from #1 in its configuration or its template only" in scene.apply(twin, 2).reason
    labelled = Scene(tmp_path / "labelled", DIGEST, Field(FILE, Locator("label"), Writes.LABEL), text=TEXT + "label:\n")
    assert labelled.apply(twin, 1).status is OutcomeStatus.APPLIED
    assert 'label: "#2"\n' in labelled.bare.text(FILE)


def test_a_clone_that_was_damaged_is_fetched_anew(scene: Scene, tmp_path: Path) -> None:
    scene.stable_and_candidate()
    run(scene.actuator.close())
    (clone,) = (tmp_path / "clones-1").glob("*.git")
    for pack in clone.glob("objects/pack/*"):
        pack.write_bytes(b"garbage")
    (clone / "refs/heads/main").write_text("0" * 39 + "1\n")
    again = GitOps(lambda target: scene.place, tmp_path / "clones-1")
    assert weights_of(run(again.observe(TARGET))) == {"#1": 100, "#2": 0}


def _before_each_push(monkeypatch: pytest.MonkeyPatch, happens: object) -> None:
    """Let something happen between the look and the push, each time."""
    undisturbed = Remote.push

    def push(remote: Remote, *arguments: object) -> None:
        happens()  # type: ignore[operator]
        undisturbed(remote, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Remote, "push", push)


def parked(each: WantedVersion) -> WantedVersion:
    return msgspec.structs.replace(each, capacity=Capacity.PARKED)


@pytest.mark.parametrize(
    "refused",
    [
        wanted(version(1, 100), version(2, 0, {"colour": "red"}, same_as=1)),
        msgspec.structs.replace(wanted(version(1, 100), version(2, 0)), in_place=True),
    ],
    ids=["a twin", "in place"],
)
def test_a_release_that_is_refused_can_be_parked_and_the_next_one_goes_on(scene: Scene, refused: TargetWanted) -> None:
    """As an abort of it ends: it changes no field, so nothing that it was refused for stands in the way."""
    scene.apply(wanted(version(1, 100)), 1)
    assert scene.apply(refused, 2, Verb.PREPARE).status is OutcomeStatus.REFUSED
    first, second = refused.versions
    back = msgspec.structs.replace(refused, versions=(first, parked(second)))
    assert scene.apply(back, 3, Verb.PARK).status is OutcomeStatus.APPLIED
    assert weights_of(scene.observe()) == {"#1": 100, "#2": 0}
    assert scene.apply(wanted(version(1, 0), version(3, 100)), 4).status is OutcomeStatus.APPLIED
    assert weights_of(scene.observe()) == {"#1": 0, "#3": 100}


def test_a_first_release_whose_field_is_not_there_can_be_parked_and_the_next_one_finds_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, text="images: []\n")
    assert scene.apply(wanted(version(1, 0), stable=None), 1, Verb.PREPARE).status is OutcomeStatus.REFUSED
    assert scene.apply(wanted(parked(version(1, 0)), stable=None), 2, Verb.PARK).status is OutcomeStatus.APPLIED
    scene.bare.push({FILE: TEXT})
    assert scene.apply(wanted(version(2, 100), stable=None), 3).status is OutcomeStatus.APPLIED
    assert weights_of(scene.observe()) == {"#2": 100}
    assert scene.apply(wanted(version(2, 0), stable=None), 4).status is OutcomeStatus.APPLIED
    assert scene.bare.text(FILE) == TEXT


def test_a_file_in_git_lfs_is_refused_and_those_beside_it_stay_what_they_are(tmp_path: Path) -> None:
    """A pointer is text that tells where the content is: nothing of it is a field. Others of the repository are none of our business."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n"
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    beside = {".gitattributes": attributes, "model.bin": pointer, "overlays/production/data.bin": pointer}
    scene = Scene(tmp_path)
    scene.bare.push(beside)
    assert scene.apply(wanted(version(1, 100)), 1).status is OutcomeStatus.APPLIED
    assert digest(1) in scene.bare.text(FILE)
    assert {name: scene.bare.text(name) for name in beside} == beside
    scene.bare.push({FILE: pointer})
    refused = scene.apply(wanted(version(1, 0), version(2, 100)), 2, over_edit=scene.observe().edited)
    assert (refused.status, f"{FILE} is kept in Git LFS" in refused.reason, scene.bare.text(FILE)) == (OutcomeStatus.REFUSED, True, pointer)
