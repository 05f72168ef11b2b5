"""Weights follow readiness, as laws over all weights and instance counts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.shifting import consumer_shares, instances_wanted, move, reached_weights, ready_percent
from ctrlplane_stream.model.world import Capacity
from tests.unit.actuators.making import wanted

percent = st.integers(0, 100)
few = st.integers(1, 8)
counts = st.dictionaries(st.sampled_from(["#1", "#2", "#3"]), st.integers(0, 8))


def at(candidate: int, goal: int, capacity: Capacity = Capacity.FULL) -> Ledger:
    """A target whose candidate #2 has a weight and is to have another."""
    want = wanted(v1=100 - goal, v2=goal)
    versions = (want.versions[0], msgspec.structs.replace(want.versions[1], capacity=capacity))
    return Ledger(
        msgspec.structs.replace(want, versions=versions), None, {"#1": 100 - goal, "#2": goal}, {"#1": 100 - candidate, "#2": candidate}
    )


@given(percent, percent, few, st.integers(0, 8))
def test_a_candidates_weight_never_rises_above_its_ready_capacity(now, goal, full, ready):
    """Invariant 1, for every pair of weights and every number of ready instances."""
    moved = move(at(now, goal), {"#1": full, "#2": ready}, full)
    assert moved.weights["#2"] <= max(now, ready_percent(ready, full))


@given(percent, percent, few, counts)
def test_weights_move_in_one_go_or_not_at_all(now, goal, full, ready):
    """There is no weight in force that nobody asked for."""
    ledger = at(now, goal)
    assert move(ledger, ready, full).weights in (ledger.weights, ledger.goal)


@given(percent, st.integers(1, 8), few)
def test_the_way_back_needs_one_ready_stable_instance(now, ready, full):
    """An abort is not held up by a stable version that lost some of its instances."""
    assert move(at(now, 0), {"#1": ready}, full).weights == {"#1": 100, "#2": 0}


@given(percent, st.integers(0, 8))
def test_no_weight_goes_to_a_stable_version_that_is_gone(now, ready):
    """With nothing of stable ready, whatever serves goes on serving."""
    ledger = at(now, 0)
    expected = {"#1": 100, "#2": 0} if now == 0 else ledger.weights
    assert move(ledger, {"#1": 0, "#2": ready}, 1).weights == expected


@given(percent, percent, few, st.sampled_from(Capacity))
def test_what_has_weight_keeps_instances_for_it(now, goal, full, capacity):
    """Invariant 4: however a version's capacity is named, its weight is carried, in force or to come."""
    instances = instances_wanted(at(now, goal, capacity), full)["#2"]
    assert ready_percent(instances, full) >= max(now, goal)
    assert instances <= full


def test_a_weighted_candidate_has_one_instance_at_weight_0():
    assert instances_wanted(at(0, 0, Capacity.WEIGHTED), 4) == {"#1": 4, "#2": 1}
    assert instances_wanted(at(0, 26, Capacity.WEIGHTED), 4) == {"#1": 4, "#2": 2}
    assert instances_wanted(at(0, 0, Capacity.PARKED), 4) == {"#1": 4, "#2": 0}


@given(percent, st.integers(1, 20))
def test_a_consumers_candidate_never_gets_more_than_its_weight(weight, total):
    """Shares are whole instances, add up, and round in favour of stable."""
    shares = consumer_shares({"#1": 100 - weight, "#2": weight}, "#1", total)
    assert sum(shares.values()) == total
    if weight < 100:
        assert shares["#2"] * 100 <= weight * total
    else:
        assert shares["#2"] == total


def test_a_consumer_without_weights_has_no_shares():
    assert consumer_shares({"#1": 0}, None, 4) == {"#1": 0}
    assert consumer_shares({}, None, 4) == {}


@given(counts)
def test_reached_weights_sum_to_100_or_nothing(polling):
    assert sum(reached_weights(polling).values()) == (100 if any(polling.values()) else 0)


@pytest.mark.parametrize("total", [3, 100, 101, 128, 1000])
def test_one_instance_of_however_many_is_some_weight_and_not_all_of_it(total):
    """Where a percent is more than one of them: what is told at 0% is taken for drained, and is parked."""
    assert reached_weights({"#1": total - 1, "#2": 1})["#2"] == max(1, 100 // total)
    assert reached_weights({"#1": 1, "#2": total - 1, "#3": 0}) == {"#1": max(1, 100 // total), "#2": 100 - max(1, 100 // total), "#3": 0}
