"""A real repository beside a cluster's side that is played by the dry run: who goes first, who waits, and for what."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.actuators.gitops.placement import Field, Weights, Writes
from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved, TargetWanted
from tests.unit.actuators.gitops.scene import DIGEST, FILE, TARGET, TEXT, Scene, command, digest, version, wanted, weights_of

VERSIONS = Field(FILE, Locator("versions"), Writes.VERSIONS)


class Beside:
    """Both sides of a target at #1, with #2 ready."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene(folder, DIGEST, VERSIONS, text=TEXT + "versions: none\n", weights=Weights.CLUSTER)
        self.cluster = DryRun()
        self.both = WithCluster(self.scene.actuator, self.cluster)

    async def apply(self, want: TargetWanted, sequence: int, verb: Verb = Verb.SHIFT, **more: str) -> Outcome:
        outcome = await self.both.apply(command(want, sequence, verb, **more), Cursor(1, sequence))
        await self.both.settled(TARGET)
        return outcome

    def another_worker(self) -> None:
        """What starts knows of the repository only what it asks it."""
        self.scene.fresh()
        self.both = WithCluster(self.scene.actuator, self.cluster)

    async def begin(self) -> None:
        await self.apply(wanted(version(1, 100)), 1, Verb.PREPARE)
        await self.apply(wanted(version(1, 100), version(2, 0)), 2, Verb.PREPARE)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Beside], Awaitable[None]]], None]:
    def played(clause: Callable[[Beside], Awaitable[None]]) -> None:
        async def through() -> None:
            beside = Beside(tmp_path)
            await beside.begin()
            await clause(beside)
            await beside.both.close()

        asyncio.run(through())

    return played


def test_commits_declare_versions_and_stable_while_weights_go_to_the_cluster(play) -> None:
    """Steps make no commits; the promotion does."""

    async def clause(beside: Beside) -> None:
        declared = len(beside.scene.bare.log())
        assert beside.scene.bare.log()[0] == "shop/cart in production: prepare, #1 goes on, with other versions declared beside it"
        for sequence, weight in ((3, 10), (4, 50), (5, 100)):
            outcome = await beside.apply(wanted(version(1, 100 - weight), version(2, weight)), sequence)
            assert outcome.status is OutcomeStatus.APPLIED
            assert weights_of(await beside.both.observe(TARGET)) == {"#1": 100 - weight, "#2": weight}
        assert len(beside.scene.bare.log()) == declared
        assert f"versions: #1={digest(1)} #2={digest(2)}\n".replace(": #", ': "#').replace("\n", '"\n') in beside.scene.bare.text(FILE)
        await beside.apply(wanted(version(1, 0), version(2, 100), stable="#2"), 6)
        assert f'digest: "{digest(2)}"' in beside.scene.bare.text(FILE)
        assert beside.scene.bare.log()[0] == "shop/cart in production: #2 instead of #1"

    play(clause)


def test_an_abort_does_not_wait_for_the_repository_and_is_declared_when_it_is_back(play) -> None:
    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 50), version(2, 50)), 3)
        away = beside.scene.bare.path.rename(beside.scene.bare.path.with_name("away.git"))
        outcome = await beside.apply(wanted(version(1, 100), stable="#1"), 4)
        assert outcome.status is OutcomeStatus.REFUSED  # #2 still has weight: make before break holds here too
        outcome = await beside.apply(wanted(version(1, 100), version(2, 0)), 5)
        assert (outcome.status, weights_of(await beside.both.observe(TARGET))) == (OutcomeStatus.APPLIED, {"#1": 100, "#2": 0})
        assert (await beside.apply(wanted(version(1, 100)), 6, Verb.DELETE)).status is OutcomeStatus.APPLIED
        away.rename(beside.scene.bare.path)
        await beside.both.settled(TARGET)
        assert f'versions: "#1={digest(1)}"' in beside.scene.bare.text(FILE)

    play(clause)


def test_what_a_protected_branch_refuses_for_now_is_declared_once_it_does_not(play) -> None:
    """The cluster has promoted #2 by then: a repository that went on naming #1 would bring that back one day."""

    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 0), version(2, 100)), 3)
        beside.scene.bare.hook("pre-receive", "echo 'frozen until Monday'; exit 1")
        outcome = await beside.apply(wanted(version(1, 0), version(2, 100), stable="#2"), 4)
        assert outcome.status is OutcomeStatus.APPLIED
        assert f'digest: "{digest(1)}"' in beside.scene.bare.text(FILE)
        beside.scene.bare.hook("pre-receive", "exit 0")
        await beside.both.settled(TARGET)
        assert f'digest: "{digest(2)}"' in beside.scene.bare.text(FILE)

    play(clause)


def test_a_new_version_is_declared_before_it_is_made(play) -> None:
    """A repository that refuses it is heard before anything runs, and one that is away is tried again by whoever asked."""

    async def clause(beside: Beside) -> None:
        third = wanted(version(1, 100), version(2, 0), version(3, 0))
        beside.scene.bare.hook("pre-receive", "echo frozen; exit 1")
        outcome = await beside.apply(third, 3, Verb.PREPARE)
        assert (outcome.status, "the repository: " in outcome.reason, "frozen" in outcome.reason) == (OutcomeStatus.REFUSED, True, True)
        beside.scene.bare.path.rename(beside.scene.bare.path.with_name("away.git"))
        with pytest.raises(WorldUnreachable):
            await beside.apply(third, 4, Verb.PREPARE)
        assert (await beside.cluster.observe(TARGET)).version("#3") is None

    play(clause)


def test_a_command_that_the_cluster_knows_as_stale_is_not_declared(play) -> None:
    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 50), version(2, 50)), 7)
        declared = beside.scene.bare.head()
        stale = await beside.apply(wanted(version(1, 100), version(2, 0), version(3, 0)), 5, Verb.PREPARE)
        assert (stale.status, beside.scene.bare.head()) == (OutcomeStatus.REFUSED, declared)

    play(clause)


def test_a_commit_by_hand_is_a_pause_that_only_the_way_back_passes(play) -> None:
    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 90), version(2, 10)), 3)
        beside.scene.bare.push({FILE: beside.scene.bare.text(FILE).replace(digest(1), "sha256:hotfix", 1)})
        await beside.both.settled(TARGET)
        edited = (await beside.both.observe(TARGET)).edited
        assert edited is not None
        assert "Alice at " in edited
        further = wanted(version(1, 50), version(2, 50))
        refused = await beside.apply(further, 4)
        assert (refused.status, refused.observed.edited if refused.observed else None) == (OutcomeStatus.REFUSED, edited)
        assert (await beside.apply(wanted(version(1, 90), version(2, 10)), 5, Verb.RENEW)).status is OutcomeStatus.APPLIED
        assert (await beside.apply(wanted(version(1, 100), version(2, 0)), 6)).status is OutcomeStatus.APPLIED
        assert "sha256:hotfix" in beside.scene.bare.text(FILE)
        assert (await beside.apply(further, 7, over_edit=edited)).status is OutcomeStatus.APPLIED
        assert ((await beside.both.observe(TARGET)).edited, "sha256:hotfix" in beside.scene.bare.text(FILE)) == (None, False)

    play(clause)


def test_peoples_verbs_go_to_the_cluster_and_release_lets_a_commit_by_hand_be(play) -> None:
    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 90), version(2, 10)), 3)
        assert weights_of(await beside.both.edit(TARGET, {"#1": 30, "#2": 70}, "bob", "")) == {"#1": 30, "#2": 70}
        assert (await beside.both.release(TARGET)).edited is None
        assert weights_of(await beside.both.break_glass(TARGET, "bob", "pages")) == {"#1": 100, "#2": 0}
        beside.scene.bare.push({FILE: beside.scene.bare.text(FILE).replace(digest(1), "sha256:hotfix", 1)})
        await beside.both.settled(TARGET)
        assert (await beside.both.release(TARGET)).edited is None
        assert "sha256:hotfix" in beside.scene.bare.text(FILE)

    play(clause)


def test_who_goes_over_an_edit_on_the_cluster_and_one_in_the_repository_goes_over_both(play) -> None:
    """Both are told under one name; the name of either alone is refused."""

    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 90), version(2, 10)), 3)
        beside.scene.bare.push({FILE: beside.scene.bare.text(FILE).replace(digest(1), "sha256:hotfix", 1)})
        await beside.both.settled(TARGET)
        committed = (await beside.both.observe(TARGET)).edited
        edited = (await beside.both.edit(TARGET, {"#1": 30, "#2": 70}, "bob", "")).edited
        assert edited is not None
        assert ("bob set" in edited, f"; in the repository: {committed}" in edited) == (True, True)
        further = wanted(version(1, 50), version(2, 50))
        for number, one in enumerate((str(committed), edited.partition(";")[0])):
            assert (await beside.apply(further, 4 + number, over_edit=one)).status is OutcomeStatus.REFUSED
        assert (await beside.apply(further, 6, over_edit=edited)).status is OutcomeStatus.APPLIED
        assert ((await beside.both.observe(TARGET)).edited, "sha256:hotfix" in beside.scene.bare.text(FILE)) == (None, False)

    play(clause)


def test_what_a_repository_refused_is_parked_without_it(play) -> None:
    """As an abort of it ends: nothing is made, so nothing has to be declared first."""

    async def clause(beside: Beside) -> None:
        third = wanted(version(1, 100), version(2, 0), version(3, 0))
        beside.scene.bare.hook("pre-receive", "echo frozen; exit 1")
        assert (await beside.apply(third, 3, Verb.PREPARE)).status is OutcomeStatus.REFUSED
        *others, last = third.versions
        back = msgspec.structs.replace(third, versions=(*others, msgspec.structs.replace(last, capacity=Capacity.PARKED)))
        assert (await beside.apply(back, 4, Verb.PARK)).status is OutcomeStatus.APPLIED

    play(clause)


@pytest.mark.parametrize("observed", [False, True], ids=["command first", "observed first"])
def test_a_commit_by_hand_from_before_a_worker_started_stops_its_first_step(play, observed: bool) -> None:
    """An observation without the edit would tell the engine that it was released."""

    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 90), version(2, 10)), 3)
        beside.scene.bare.push({FILE: beside.scene.bare.text(FILE).replace(digest(1), "sha256:hotfix", 1)})
        beside.another_worker()
        if observed:
            assert "Alice at " in ((await beside.both.observe(TARGET)).edited or "")
        outcome = await beside.both.apply(command(wanted(version(1, 50), version(2, 50)), 4), Cursor(1, 4))
        assert outcome.status is OutcomeStatus.REFUSED
        assert outcome.observed is not None
        assert "Alice at " in (outcome.observed.edited or "")
        assert weights_of(await beside.both.observe(TARGET)) == {"#1": 90, "#2": 10}

    play(clause)


def test_a_worker_that_starts_while_the_repository_is_away_goes_on_without_it(play) -> None:
    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 90), version(2, 10)), 3)
        beside.scene.bare.path.rename(beside.scene.bare.path.with_name("away.git"))
        beside.another_worker()
        assert (await beside.both.observe(TARGET)).edited is None
        assert (await beside.apply(wanted(version(1, 50), version(2, 50)), 4)).status is OutcomeStatus.APPLIED

    play(clause)


def test_neither_a_renewal_nor_an_abort_over_both_edits_waits_for_the_first_look(play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def clause(beside: Beside) -> None:
        await beside.apply(wanted(version(1, 90), version(2, 10)), 3)
        beside.scene.bare.push({FILE: beside.scene.bare.text(FILE).replace(digest(1), "sha256:hotfix", 1)})
        await beside.both.settled(TARGET)
        edited = (await beside.both.edit(TARGET, {"#1": 30, "#2": 70}, "bob", "")).edited
        beside.another_worker()

        async def silent(*_: object) -> TargetObserved:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(beside.scene.actuator, "observe", silent)
        monkeypatch.setattr(beside.scene.actuator, "apply", silent)
        async with asyncio.timeout(5):
            renewal = command(wanted(version(1, 90), version(2, 10)), 4, Verb.RENEW)
            assert (await beside.both.apply(renewal, Cursor(1, 4))).status is OutcomeStatus.REFUSED  # by the cluster, which was edited
            abort = command(wanted(version(1, 100), version(2, 0)), 5, over_edit=edited)
            assert (await beside.both.apply(abort, Cursor(1, 5))).status is OutcomeStatus.APPLIED
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await beside.both.apply(command(wanted(version(1, 50), version(2, 50)), 6), Cursor(1, 6))

    play(clause)
