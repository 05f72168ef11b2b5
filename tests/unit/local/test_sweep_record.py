"""A sweep in pieces: what went right is not played again, what went wrong is, and a record is of one state of the actuators."""

from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.control_plane.sweep import record as recording
from ctrlplane_stream.local.control_plane.sweep.plans import Course, Fault, Plan, gap_plans
from ctrlplane_stream.local.control_plane.sweep.record import OtherCode, Record, left, undone
from ctrlplane_stream.local.control_plane.sweep.trial import Result
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.local.control_plane.sweep.writes import Spot

SPOTS = (Spot("make a/1", 0), Spot("stamp a/1", 0), Spot("steer b/1", 0))
COURSES = {(Way.ROUTE, False): Course(Way.ROUTE, False, 60, SPOTS)}
GAPS = gap_plans(COURSES)


def result(plan: Plan, *problems: str, struck: bool = True) -> Result:
    return Result(plan, {"weights": {}}, problems, 60, SPOTS, struck)


def test_what_went_right_is_not_played_again_and_what_went_wrong_or_struck_nothing_is():
    played = [result(GAPS[0]), result(GAPS[1], "ended elsewhere"), result(GAPS[2], struck=False)]
    assert left(GAPS, played, COURSES) == [GAPS[1], GAPS[2], GAPS[3]]


def test_a_gap_is_played_once_however_its_kill_is_told_in_another_run():
    """Killed after the write that begins it is killed before the one that ends it."""
    before = [Plan(7, Fault.KILLED_BEFORE, SPOTS[1])]
    after = [Plan(9, Fault.KILLED_AFTER, SPOTS[0])]
    assert left(before, [result(after[0])], COURSES) == []
    assert left(before, [result(msgspec.structs.replace(after[0], promotes=True))], COURSES) == before


def test_a_plan_that_went_wrong_is_done_once_it_went_right_and_not_before():
    wrong = [result(GAPS[0], "the cluster did not answer"), result(GAPS[1], "first"), result(GAPS[1], "again")]
    assert [each.problems for each in undone([*wrong, result(GAPS[0])], COURSES)] == [("again",)]


def test_a_record_outlives_its_sweep_and_keeps_no_more_than_it_needs(tmp_path):
    record = Record(tmp_path / "sweep.jsonl")
    record.add(result(GAPS[0]))
    assert Record(tmp_path / "sweep.jsonl").results == record.results == [Result(GAPS[0], {}, (), 60, (), True)]


def test_a_record_of_other_actuators_is_not_gone_on_with(tmp_path, monkeypatch):
    Record(tmp_path / "sweep.jsonl")
    monkeypatch.setattr(recording, "code_of", lambda folder: "other")
    with pytest.raises(OtherCode, match="name a file that is not there"):
        Record(tmp_path / "sweep.jsonl")


def test_every_line_of_the_actuators_is_part_of_what_a_record_is_of(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("x = 1\n")
    codes = [recording.code_of(tmp_path)]
    (tmp_path / "inner" / "a.py").write_text("x = 2\n")
    codes.append(recording.code_of(tmp_path))
    (tmp_path / "b.txt").write_text("no code\n")
    assert codes[0] != codes[1] == recording.code_of(Path(tmp_path))
