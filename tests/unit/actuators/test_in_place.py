"""How a target changes in place: laws of the pure rules, and the dry-run world that goes by them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.actuators.in_place import next_sizes, reached, shares, with_vacancy
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetWanted, WantedVersion

CART = Target("demo", "shop/cart")
weights = st.integers(0, 100)
totals = st.integers(1, 12)


def _wanted(old: int, new: int) -> TargetWanted:
    versions = tuple(
        WantedVersion(label, Artifact("shop/cart", "registry.example/cart", f"sha256:{number:064x}"), {}, Capacity.FULL, weight)
        for number, (label, weight) in enumerate((("#1", old), ("#2", new)))
    )
    partial = 0 < new < 100
    return TargetWanted(CART, ServiceKind.ROUTED, versions, "#1", 60.0 if partial else None, in_place=True)


@given(weights, totals)
def test_shares_add_up_to_the_instances_that_there_are(new: int, total: int) -> None:
    """Whatever the weight, and to none where nothing is to serve."""
    goal = {"#1": 100 - new, "#2": new}
    assert sum(shares(goal, _wanted(100 - new, new), total).values()) == total
    assert shares({"#1": 0, "#2": 0}, _wanted(0, 0), total) == {"#1": 0, "#2": 0}


@given(weights, weights, totals, st.data())
def test_a_change_in_place_ends_at_its_shares_and_never_takes_two_or_adds_one(old: int, new: int, total: int, data: st.DataObject) -> None:
    """From any shares to any others, instances becoming ready when they like: at most one is missing, never one too many."""
    have = shares({"#1": 100 - old, "#2": old}, _wanted(100 - old, old), total)
    want = shares({"#1": 100 - new, "#2": new}, _wanted(100 - new, new), total)
    ready = dict(have)
    for number in range(24 * total + 8):
        counted = {label: Counted(have[label], ready[label]) for label in have}
        after = next_sizes(want, counted, leaving=False)
        assert sum(abs(after[label] - have[label]) for label in have) <= 1
        assert total - 1 <= sum(after.values()) <= total
        assert sum(ready.values()) >= total - 1
        ready = {label: min(ready[label], after[label]) for label in have}
        have = after
        if number % 8 == 0 or data.draw(st.booleans()):
            ready = dict(have)
    assert have == want


@given(weights, weights, totals, st.integers(1, 4), st.data())
def test_an_exchange_in_portions_is_never_beyond_its_surplus_and_never_below_its_size(
    old: int, new: int, total: int, room: int, data: st.DataObject
) -> None:
    """From any shares to any others, instances becoming ready when they like: all that are needed are ready at any moment."""
    have = shares({"#1": 100 - old, "#2": old}, _wanted(100 - old, old), total)
    want = shares({"#1": 100 - new, "#2": new}, _wanted(100 - new, new), total)
    ready = dict(have)
    for number in range(24 * total + 8):
        counted = {label: Counted(have[label], ready[label]) for label in have}
        after = next_sizes(want, counted, leaving=False, surplus=room)
        assert total <= sum(after.values()) <= total + room
        ready = {label: min(ready[label], after[label]) for label in have}
        assert sum(ready.values()) >= total
        have = after
        if number % 8 == 0 or data.draw(st.booleans()):
            ready = dict(have)
    assert have == want


@given(weights, totals)
def test_what_is_not_ready_goes_first_and_nothing_else_goes_meanwhile(new: int, total: int) -> None:
    """An instance of the version that has too many and is not ready is the one that is taken; else everybody waits."""
    counted = {"#1": Counted(max(0, total - 1), max(0, total - 1)), "#2": Counted(1, 0)}
    assert next_sizes({"#1": total, "#2": 0}, counted, leaving=False)["#2"] == 0
    assert next_sizes({"#1": 0, "#2": total}, counted, leaving=False)["#1"] == max(0, total - 1)
    assert next_sizes({"#1": total, "#2": 0}, counted, leaving=True) == {"#1": max(0, total - 1), "#2": 1}


@given(st.integers(0, 6), st.integers(0, 6))
def test_weights_are_shares_of_what_is_ready(old: int, new: int) -> None:
    """They sum to 100, stay where nobody is ready, and are 0 where nobody is to serve."""
    counted, goal = {"#1": Counted(6, old), "#2": Counted(6, new)}, {"#1": 50, "#2": 50}
    found = reached(counted, "#1", {"#1": 70, "#2": 30}, goal)
    assert sum(found.values()) == 100
    assert (old + new > 0) or found == {"#1": 70, "#2": 30}
    assert reached(counted, "#1", found, {"#1": 0, "#2": 0}) == {"#1": 0, "#2": 0}


@pytest.mark.parametrize("total", [2, 3, 100, 199, 200, 201, 256, 1000])
@pytest.mark.parametrize("stable", ["#1", "#2", None])
def test_one_instance_of_however_many_is_some_weight_and_not_all_of_it(total: int, stable: str | None) -> None:
    """Where half a percent is more than one of them: what is told at 0% is taken for drained, and at 100% nothing else is waited for."""
    goal = {"#1": 50, "#2": 50}
    few = reached({"#1": Counted(total, total - 1), "#2": Counted(1, 1)}, stable, goal, goal)
    many = reached({"#1": Counted(1, 1), "#2": Counted(total, total - 1)}, stable, goal, goal)
    assert few["#2"] == many["#1"] >= 1
    assert abs(few["#2"] - 100 / total) <= 1
    assert sum(few.values()) == sum(many.values()) == 100
    three = reached({"#1": Counted(1, 1), "#2": Counted(total, total), "#3": Counted(1, 1)}, stable, goal, goal)
    assert min(three.values()) >= 1
    assert sum(three.values()) == 100


def test_the_instance_that_is_being_exchanged_is_seen_as_one_that_is_not_ready() -> None:
    seen = with_vacancy({"#1": 2, "#2": 2}, {"#1": Counted(2, 2), "#2": Counted(1, 1)})
    assert seen == {"#1": Counted(2, 2), "#2": Counted(2, 1)}


def test_the_dry_run_exchanges_one_by_one_and_stops_at_the_first_that_is_not_ready() -> None:
    """Weights follow what is ready."""

    async def play() -> None:
        world = DryRun(full=4)

        async def want(sequence: int, old: int, new: int) -> dict[str, str]:
            command = Command(f"c{sequence}", Verb.SHIFT, CART, sequence, _wanted(old, new), "test")
            outcome = await world.apply(command, Cursor(1, sequence))
            assert outcome.status is OutcomeStatus.APPLIED
            seen = await world.observe(CART)
            return {v.label: f"{v.ready}/{v.instances}@{v.weight}" for v in seen.versions}

        assert await want(1, 100, 0) == {"#1": "4/4@100", "#2": "0/0@0"}
        assert await want(2, 75, 25) == {"#1": "3/3@75", "#2": "1/1@25"}
        world.unready(CART, "#2", 1)
        assert await want(3, 0, 100) == {"#1": "2/2@67", "#2": "1/2@33"}
        assert await want(4, 100, 0) == {"#1": "4/4@100", "#2": "0/0@0"}

    asyncio.run(play())


def test_a_target_may_begin_to_change_in_place_with_two_fleets_running() -> None:
    """A policy that changes its mind takes the surplus away one by one."""
    counted = {"#1": Counted(4, 4), "#2": Counted(4, 4)}
    assert next_sizes({"#1": 4, "#2": 0}, counted, leaving=False) == {"#1": 4, "#2": 3}
