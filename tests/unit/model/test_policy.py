"""What a policy may not say, each with the remedy."""

import msgspec
import pytest
from msgspec.structs import replace

from ctrlplane_stream.model.policy import MaintenanceWindow, Policy, Step, Unsure, doubts, problems
from ctrlplane_stream.model.strictest import strictest
from ctrlplane_stream.model.verdicts import GatePolicy


def test_the_default_policy_has_no_problem() -> None:
    assert not list(problems(Policy()))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Policy(steps=()), "steps must end with weight 100"),
        (Policy(steps=(Step(5), Step(50))), "steps must end with weight 100"),
        (Policy(steps=(Step(50), Step(5), Step(100))), "must rise"),
        (Policy(steps=(Step(100, min_seconds=9, max_seconds=1),)), "min_seconds is above max_seconds"),
        (Policy(steps=(Step(110),)), "step 110: weight must lie in 1..100"),
        (Policy(bake_seconds=-1), "bake_seconds must not be negative"),
        (Policy(drain_seconds=60, drain_limit_seconds=30), "drain_limit_seconds must be at least drain_seconds"),
        (Policy(surge_percent=0), "make room, or set in_place"),
        (Policy(maintenance=(MaintenanceWindow((7,), 0, 60),)), "weekdays lie in 0..6"),
        (Policy(maintenance=(MaintenanceWindow((0,), 1320, 120),)), "split what crosses midnight"),
    ],
)
def test_what_is_wrong_is_said(wrong: Policy, said: str) -> None:
    assert any(said in problem for _, problem in problems(wrong))


def test_what_changes_in_place_needs_no_room_for_a_second_fleet() -> None:
    assert not list(problems(replace(Policy(in_place=True), surge_percent=0)))
    assert not list(problems(Policy(surge_percent=25)))


def test_there_is_a_surplus_only_where_there_is_room_for_less_than_a_second_fleet() -> None:
    assert [p.surplus_percent for p in (Policy(), Policy(surge_percent=25), Policy(surge_percent=25, in_place=True))] == [0, 25, 0]


def test_what_no_traffic_could_prove_is_doubted_and_allowed() -> None:
    hasty = Policy(steps=(Step(100, 0, 20),), on_unprovable=Unsure.HOLD, bake_seconds=5)
    assert not list(problems(hasty))
    assert [text.split(":")[0] for text in doubts(hasty)] == ["step 100 can never be proven", "the bake can never be proven"]
    assert doubts(Policy()) == ()


def test_a_lease_that_may_run_out_before_it_is_renewed_is_doubted() -> None:
    """The engine looks every 5 s and renews when a third is over; a lease of 3 s took every release back."""
    assert not list(problems(Policy(lease_seconds=3)))
    assert ["before it is renewed" in text for text in doubts(Policy(lease_seconds=3))] == [True]
    assert doubts(Policy(lease_seconds=15)) == ()


def test_a_set_gives_instances_the_longest_time_to_warm_up_and_nobody_writes_what_nobody_said() -> None:
    """Builds that do not know the field refuse what has it."""
    plain, slow, quick = (Policy(gate=gate) for gate in (GatePolicy(), GatePolicy(warm_up_windows=3), GatePolicy(warm_up_windows=0)))
    assert [strictest(first, others).gate.warm_up for first, others in ((plain, (slow,)), (slow, (quick,)), (quick, (plain,)))] == [3, 3, 1]
    assert b"warm_up" not in msgspec.json.encode(strictest(plain, (quick,)))
    assert msgspec.json.decode(msgspec.json.encode(slow), type=Policy).gate.warm_up == 3
