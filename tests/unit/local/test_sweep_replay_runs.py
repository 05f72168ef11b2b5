"""The judge of jobs in the fault sweep is no rubber stamp: each thing that holds of them, broken in a history made by hand, is named."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.manifests import workload
from ctrlplane_stream.actuators.kubernetes.memory import Memory, memory_manifest
from ctrlplane_stream.actuators.kubernetes.objects import RUNS, Kind
from ctrlplane_stream.actuators.kubernetes.runs import Told as Counted
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.local.control_plane.scene import command, run_of, version
from ctrlplane_stream.local.control_plane.sweep.moments import Moment
from ctrlplane_stream.local.control_plane.sweep.replay_runs import RunsReplay
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity

SERVICE = "shop/cart"
TARGET = Target("sweep", SERVICE)
PARKED = Capacity.PARKED


class Told:
    """A history of a job being told, moment by moment; ``found`` is what was broken, by number of the invariant or its name."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.place = Way.JOB.place("anywhere", SERVICE)
        self._replay = RunsReplay(self.place)

    def may_run(self, number: int, *, yes: bool = True, counted: int = 0, gone: bool = False) -> "Told":
        """A version's CronJob, which may run or is suspended, with so many runs counted."""
        return self._tell(Kind.CRON_JOB, self._cron_job(number, yes, counted), gone=gone)

    def run(self, number: int, end: str | None = None, *, gone: bool = False) -> "Told":
        """A version's Job: under way, or ended by that condition."""
        made = run_of(self._cron_job(number, yes=True), f"shop-cart-v{number}-0")
        made["status"] = {"conditions": [{"type": end, "status": "True"}] if end is not None else []}
        return self._tell(Kind.JOB, made, gone=gone)

    def remembered(self, sequence: int, one: int | Capacity, two: int | Capacity | None, weights: tuple[int, int], **more) -> "Told":
        """The memory of a command for these weights of #1 and #2 (None: not listed), and those that were reached."""
        listed = [
            version(SERVICE, number, 0 if isinstance(each, Capacity) else each, each if isinstance(each, Capacity) else Capacity.FULL)
            for number, each in ((1, one), (2, two))
            if each is not None
        ]
        given, cursor = command(TARGET, sequence, *listed, kind=ServiceKind.JOB)
        goal = {each.label: each.weight for each in listed}
        ledger = msgspec.structs.replace(Ledger(given.wanted, cursor, goal, {"#1": weights[0], "#2": weights[1]}), **more)
        return self._tell(Kind.CONFIG_MAP, memory_manifest(Memory(TARGET, self.place, ledger), None))

    def _cron_job(self, number: int, yes: bool, counted: int = 0) -> dict:
        made = workload(self.place, TARGET, version(SERVICE, number, 0))
        made["metadata"] |= {"namespace": "anywhere", "uid": f"uid-{number}"}
        made["spec"]["suspend"] = not yes
        made["metadata"]["annotations"][RUNS] = msgspec.json.encode(Counted(counted)).decode()
        return made

    def _tell(self, kind: Kind, made: dict, *, gone: bool = False) -> "Told":
        self.found += [said.split(":")[0] for said in self._replay.step(Moment(len(self.found), kind, made, gone))]
        return self


def begun() -> Told:
    """Two versions of which the first runs, in order until here."""
    told = Told().remembered(10, 100, 0, (0, 0)).may_run(1, yes=False).may_run(2, yes=False)
    return told.remembered(10, 100, 0, (100, 0)).may_run(1)


def handed_over() -> Told:
    """The second runs, and one of its runs is under way."""
    told = begun().run(1).remembered(20, 0, 100, (100, 0)).may_run(1, yes=False).remembered(20, 0, 100, (0, 100))
    return told.run(1, "Complete").may_run(1, yes=False, counted=1).may_run(2).run(2)


def test_a_rollout_in_order_breaks_nothing():
    told = handed_over().remembered(30, 100, 0, (0, 100)).may_run(2, yes=False).remembered(30, 100, 0, (100, 0))
    told.run(2, "Failed").may_run(1, counted=1).run(2, gone=True)
    assert told.remembered(40, 100, None, (100, 0)).may_run(2, yes=False, gone=True).found == []


def test_a_run_is_ended_with_its_version_and_breaks_nothing():
    aborted = handed_over().remembered(30, 100, PARKED, (0, 100)).may_run(2, yes=False).run(2, gone=True)
    assert aborted.remembered(30, 100, PARKED, (100, 0)).may_run(1, counted=1).found == []


def test_two_versions_that_may_run_break_the_first():
    assert begun().remembered(20, 0, 100, (100, 0)).may_run(2).found == ["1"]


def test_a_version_that_begins_while_a_run_of_another_is_under_way_breaks_the_first():
    told = begun().run(1).remembered(20, 0, 100, (100, 0)).may_run(1, yes=False).remembered(20, 0, 100, (0, 100))
    assert told.may_run(2).found == ["1"]


def test_a_version_that_begins_and_was_not_given_the_runs_breaks_the_first_or_on_the_way_back_the_third():
    assert Told().remembered(10, 75, 25, (0, 0)).may_run(2).found == ["1"]
    back = handed_over().remembered(30, 100, 0, (0, 100)).may_run(2, yes=False).run(2, "Complete").remembered(30, 100, 0, (100, 0))
    assert back.may_run(2).found == ["3"]
    expired = Told().remembered(10, 0, 100, (0, 0), lease_expired=True, goal={"#1": 100, "#2": 0})
    assert expired.may_run(2).found == ["3"]


@pytest.mark.parametrize("weights", [(0, 100), (50, 25)])
def test_a_weight_that_is_told_before_the_other_version_is_suspended_or_is_no_whole_breaks_the_first(weights):
    assert set(begun().remembered(20, 0, 100, weights).found) == {"1"}


def test_a_version_that_is_deleted_while_it_may_run_breaks_the_fourth():
    assert begun().may_run(1, gone=True).found == ["4"]
    assert begun().may_run(1, yes=False).may_run(1, yes=False, gone=True).found == []


def test_a_run_that_an_abort_ends_is_lost_and_told():
    assert handed_over().remembered(30, 100, 0, (0, 100)).run(2, gone=True).found == ["runs"]


def test_a_run_that_counts_twice_or_before_it_ended_well_is_told_as_is_a_count_that_falls():
    assert handed_over().may_run(2, counted=1).found == ["runs"]
    assert handed_over().run(2, "Complete").may_run(2, counted=1).may_run(2, counted=2).found == ["runs"]
    assert handed_over().run(2, "Failed").may_run(2, counted=1).found == ["runs"]
    assert handed_over().run(2, "Complete").may_run(2, counted=1).may_run(2, counted=0).found == ["runs"]


def test_a_cursor_that_goes_back_is_told():
    assert handed_over().remembered(15, 0, 100, (0, 100)).found == ["cursor"]
