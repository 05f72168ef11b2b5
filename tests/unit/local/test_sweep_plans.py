"""Which plans a sweep plays: each gap between two writes has its kill, and whatever else strikes does so at something that is there."""

import pytest

from ctrlplane_stream.local.control_plane.sweep.plans import KILLS, Course, Fault, by_turns, gap_of, gap_plans, missing_plan_of, plan_of
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.local.control_plane.sweep.writes import Spot

SPOTS = tuple(Spot(f"{what} {name}", nth) for what, name in (("make", "a/1"), ("stamp", "a/1"), ("steer", "b/1")) for nth in range(3))
COURSES = {(way, promotes): Course(way, promotes, 60, SPOTS[: 5 + promotes]) for way in Way for promotes in (False, True)}


def test_every_gap_of_every_script_has_one_kill():
    plans = gap_plans(COURSES)
    gaps = {(way, promotes, gap) for (way, promotes), course in COURSES.items() for gap in range(len(course.spots) + 1)}
    assert len(plans) == len(gaps)
    assert {(plan.way, plan.promotes, gap_of(plan, COURSES[plan.way, plan.promotes])) for plan in plans} == gaps
    assert [plan.number for plan in plans] == list(range(len(plans)))
    assert {plan.fault for plan in plans} == set(KILLS)


def test_a_sweep_that_ends_early_has_killed_from_the_beginning_to_the_end_of_every_script():
    kills = gap_plans(COURSES)
    turned = by_turns(kills)
    assert sorted(turned, key=lambda kill: kill.number) == list(kills)
    early = turned[: len(turned) // 3]
    for script, course in COURSES.items():
        mine = [kill for kill in early if (kill.way, kill.promotes) == script]
        assert {0, 3} <= {gap_of(kill, course) for kill in mine}, script
        assert {kill.fault for kill in mine} == set(KILLS), script


@pytest.mark.parametrize("ways", [tuple(Way), (Way.CONSUMER,), (Way.ROUTE, Way.ADOPTED)])
def test_other_plans_are_of_the_ways_that_were_asked_for_and_strike_within_their_scripts(ways):
    plans = [plan_of(number, COURSES, ways) for number in range(200)] + [missing_plan_of(number, COURSES, ways) for number in range(24)]
    for plan in plans:
        course = COURSES[plan.way, plan.promotes]
        assert plan.way in ways
        assert plan.spot in course.spots if plan.spot is not None else 0 <= plan.at < course.requests
    assert {(plan.way, plan.promotes) for plan in plans} == {(way, promotes) for way in ways for promotes in (False, True)}
    assert {plan.fault for plan in plans} == set(Fault) - {Fault.NONE, *KILLS}


def test_sleepers_meet_every_kind_of_write():
    struck = {plan.spot.kind for plan in (plan_of(number, COURSES) for number in range(200)) if plan.fault is Fault.ZOMBIE}
    assert struck == {spot.kind for course in COURSES.values() for spot in course.spots}
