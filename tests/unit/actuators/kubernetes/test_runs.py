"""Runs of a job: counted once each, whoever looks and however often, and the next version begins when none of another's is under way."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.by_runs import run_steps
from ctrlplane_stream.actuators.kubernetes.manifests import owner_labels, workload
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import RUNS
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.runs import Told, counted_runs, to_tell, told
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Count, End, Remember, Scale
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.local.control_plane.scene import job_template, version
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, TargetWanted

TARGET = Target("staging", "shop/report")
PLACE = Place("shop", "shop-report", job_template(), full=1)


def job(number: int, uid: str, end: str | None = None, minute: int = 0):
    """A run of version ``#number``; ``end`` is the condition by which it is over."""
    at = f"2026-01-01T00:{minute:02}:00Z"
    said = [] if end is None else [{"type": end, "status": "True", "reason": "Why", "message": "words", "lastTransitionTime": at}]
    metadata = {"name": f"shop-report-v{number}-{uid}", "uid": uid, "labels": owner_labels(PLACE, f"#{number}"), "creationTimestamp": at}
    return {"metadata": metadata, "status": {"conditions": said}}


def sight(*jobs, one: int = 100, two: int | Capacity = 0, runs: tuple[int, ...] = (1,), before: Told | None = None, weights=None) -> Sight:
    """Two versions with these goals, of which those in ``runs`` are not suspended."""
    capacity = two if isinstance(two, Capacity) else Capacity.FULL
    versions = (version(TARGET.service, 1, one), version(TARGET.service, 2, two if isinstance(two, int) else 0, capacity))
    cron_jobs = {}
    for number, each in enumerate(versions, 1):
        made = workload(PLACE, TARGET, each)
        made["spec"]["suspend"] = number not in runs
        if before is not None:
            made["metadata"]["annotations"][RUNS] = msgspec.json.encode(before).decode()
        cron_jobs[made["metadata"]["name"]] = made
    goal = {each.label: each.weight for each in versions}
    ledger = Ledger(wanted=TargetWanted(TARGET, ServiceKind.JOB, versions, "#1"), goal=goal, weights=weights or goal)
    memory = Memory(TARGET, PLACE, ledger, made=("#1", "#2"))
    return Sight(TARGET, PLACE, memory, "7", cron_jobs, (), (), None, runs=jobs)


def steps(seen: Sight):
    """Weight, what comes first, what comes last."""
    assert seen.memory is not None
    return run_steps(seen)


def test_a_run_that_ended_is_counted_once_and_its_job_may_then_go():
    seen = sight(job(1, "a", "Complete"), job(1, "b", "Complete", 1), job(2, "c", "Complete"), job(1, "d"))
    one = seen.listed[0]
    first = to_tell(seen, one, Told())
    assert first == Told(2, ("a", "b"))
    assert to_tell(seen, one, first) == first
    assert to_tell(sight(job(1, "b", "Complete", 1)), one, first) == first
    assert to_tell(sight(job(1, "b", "Complete", 1), job(1, "e", "Complete", 2)), one, first) == Told(3, ("b", "e"))


@pytest.mark.parametrize(("last", "told_of"), [("Complete", None), ("Failed", "a run failed, shop-report-v1-z: Why: words")])
def test_what_the_last_run_came_to_is_what_is_told_whatever_order_they_are_listed_in(last, told_of):
    other = "Failed" if last == "Complete" else "Complete"
    jobs = [job(1, "z", last, 9), job(1, "a", other, 3)]
    for order in (jobs, jobs[::-1]):
        assert to_tell(sight(*order), sight().listed[0], Told(failure="before")).failure == told_of


def test_a_failure_outlives_its_job_and_ends_with_parking():
    seen = sight(two=Capacity.PARKED)
    failed = Told(1, ("a",), "a run failed")
    assert to_tell(seen, seen.listed[0], failed) == failed
    assert to_tell(seen, seen.listed[1], failed) == Told(1, ("a",))


def test_what_is_told_is_what_was_written_and_never_what_may_be_gone_tomorrow():
    seen = sight(job(1, "a", "Complete"), job(1, "b"), before=Told(4))
    counted = counted_runs(seen, seen.listed[0])
    assert (counted.runs, counted.running, counted.instances, counted.ready) == (4, 1, 1, 1)
    assert steps(seen)[1] == (Count("shop-report-v1", Told(5, ("a",))),)


def test_an_annotation_that_nobody_can_read_counts_from_nothing():
    made = workload(PLACE, TARGET, version(TARGET.service, 1, 0))
    made["metadata"]["annotations"][RUNS] = "{"
    assert told(made) == Told()


def test_the_others_are_suspended_before_the_weight_is_remembered_and_the_version_that_gains_begins_last():
    moving = sight(one=0, two=100, runs=(1,), weights={"#1": 100, "#2": 0})
    assert steps(moving) == ((), (Scale("shop-report-v1", 0),), ())
    suspended = sight(one=0, two=100, runs=(), weights={"#1": 100, "#2": 0})
    weights, first, last = steps(suspended)
    assert [step.memory.ledger.weights for step in weights if isinstance(step, Remember)] == [{"#1": 0, "#2": 100}]
    assert (first, last) == ((), (Scale("shop-report-v2", 1),))
    assert steps(sight(one=0, two=100, runs=(2,))) == ((), (), ())


def test_no_version_begins_while_a_run_of_another_is_under_way_even_of_one_that_is_gone():
    assert steps(sight(job(1, "a"), one=0, two=100, runs=()))[2] == ()
    assert steps(sight(job(3, "a"), one=0, two=100, runs=()))[2] == ()
    assert steps(sight(job(2, "a"), one=0, two=100, runs=()))[2] == (Scale("shop-report-v2", 1),)


def test_only_the_runs_of_a_parked_version_are_ended():
    assert steps(sight(job(2, "a"), two=Capacity.PARKED, runs=()))[2] == (End("shop-report-v2-a"),)
    assert steps(sight(job(2, "a"), two=0, runs=()))[2] == ()
