"""A few plans of the fault sweep, and planted faults of our own that it must find; `SWEEP=kubernetes make sweep` plays more plans."""

import asyncio

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes import by_route, by_runs, due, hands
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan
from ctrlplane_stream.local.control_plane.sweep.sweeping import Sweep
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.local.control_plane.sweep.writes import Spot


def memory(nth: int) -> Spot:
    """The n-th write (from 0) of the target's memory."""
    return Spot("remember in configmaps/ctrlplane-shop-cart", nth)


def steer(nth: int) -> Spot:
    """The n-th change of the route: 3 gives the candidate 25%, 5 gives it 50%, 6 moves all of it one way or the other."""
    return Spot("steer httproutes/shop-cart", nth)


def pods(number: int, nth: int) -> Spot:
    """The n-th time that a version's replicas are set."""
    return Spot(f"scale deployments/shop-cart-v{number}", nth)


# Sleepers at the route's steps to 25% and 50% wake when the abort is on its way: only the `test` of what they last saw keeps them from
# raising the candidate again.
SLEEPERS = [Plan(9, Fault.ZOMBIE, steer(3), length=3), Plan(10, Fault.ZOMBIE, steer(5), length=2)]
# The same of a job: asleep where the candidate's runs would begin, awake when stable has them again.
SLEEPER_OF_JOB = Plan(19, Fault.ZOMBIE, Spot("let run cronjobs/shop-cart-v2", 0), length=1, way=Way.JOB)
PLANS = [
    Plan(2, Fault.KILLED_BEFORE, pods(2, 1)),
    Plan(4, Fault.KILLED_AFTER, memory(5), promotes=True),
    Plan(5, Fault.LOST_ANSWER, memory(6)),
    Plan(6, Fault.THROTTLED, Spot("stamp deployments/shop-cart-v1", 0), length=3, promotes=True),
    Plan(7, Fault.CONFLICT, Spot("delete deployments/shop-cart-v2", 0)),
    Plan(8, Fault.STALE_READS, at=90, length=3, lag_seconds=0.3),
    *SLEEPERS,
    Plan(11, Fault.LEASE_EXPIRED, at=130, promotes=True),
    Plan(12, Fault.RESTART, at=120),
    Plan(13, Fault.MISSED_EVENTS, at=60, length=2, promotes=True),
    Plan(15, Fault.ZOMBIE, pods(2, 1), length=2, way=Way.SERVICE),
    Plan(16, Fault.KILLED_AFTER, Spot("make services/shop-cart-v1", 0), promotes=True, way=Way.ADOPTED),
    Plan(17, Fault.KILLED_BEFORE, steer(2), promotes=True, way=Way.EXCHANGED),
    Plan(18, Fault.KILLED_AFTER, steer(5), promotes=True, way=Way.COMMITS),
    SLEEPER_OF_JOB,
    Plan(24, Fault.KILLED_AFTER, Spot("count runs of cronjobs/shop-cart-v1", 0), way=Way.JOB),
]


def test_whatever_strikes_between_two_api_calls_the_rollout_ends_where_it_would_have(lab, capsys):
    """Each plan ends as the undisturbed run does, and no moment of it breaks invariants 1 to 4."""
    results = asyncio.run(Sweep(lab).play_these(PLANS, at_once=3))
    with capsys.disabled():
        print(f"\n{len(results)} plans, {sum(result.struck for result in results)} faults struck")
    assert [(result.plan, result.problems) for result in results if result.problems] == []
    assert [result.plan for result in results if not result.struck] == []


def test_a_product_without_its_fence_does_not_pass(lab, monkeypatch):
    """Patches that test nothing: a sleeper that wakes undoes what a later command did, and the sweep says so."""
    patch = Cluster.patch

    async def unguarded(self, kind, namespace, name, operations):
        return await patch(self, kind, namespace, name, [each for each in operations if each["op"] != "test"])

    monkeypatch.setattr(Cluster, "patch", unguarded)
    results = asyncio.run(Sweep(lab).play_these([*SLEEPERS, SLEEPER_OF_JOB], at_once=3))
    assert [bool(result.problems) for result in results] == [True, True, True], results
    assert any("during an abort" in said for said in results[0].problems), results[0].problems
    assert any("shop-cart-v2 may run" in said for said in results[2].problems), results[2].problems


def test_a_product_whose_memory_is_no_cell_of_compare_and_set_does_not_pass(lab, monkeypatch):
    """A memory that is written over whatever its revision: a sleeper at a renewal takes back the step that was commanded since."""
    monkeypatch.setattr(hands, "memory_manifest", _without_revision(hands.memory_manifest))
    (result,) = asyncio.run(Sweep(lab).play_these([Plan(20, Fault.ZOMBIE, memory(5))], at_once=1))
    assert "cursor: went back from epoch 1, sequence 50 to epoch 1, sequence 40" in str(result.problems), result


def test_a_product_that_does_not_wait_for_readiness_does_not_pass(lab, monkeypatch):
    """Weight for what is not ready: the undisturbed run breaks invariant 1 already."""
    monkeypatch.setattr(by_route, "move", lambda ledger, ready, full: msgspec.structs.replace(ledger, weights=ledger.goal))
    with pytest.raises(AssertionError, match=r"1: shop-cart-v1 rose to 100 with 0 of 2 Pods ready"):
        asyncio.run(Sweep(lab).play_these([Plan(21, Fault.NONE)], at_once=1))


def test_a_product_that_scales_down_before_the_weight_is_gone_does_not_pass(lab, monkeypatch):
    """Pods by the weight that is wanted instead of the one in force, and taken away first: the undisturbed run breaks invariant 4."""
    wanted, weighed = by_route.instances_wanted, due._weighed

    def at_once(sight, ledger, of):
        weights, more, less = weighed(sight, ledger, of)
        return (weights, more, less) if not less else (less, more, ())

    monkeypatch.setattr(by_route, "instances_wanted", lambda ledger, full: wanted(msgspec.structs.replace(ledger, weights={}), full))
    monkeypatch.setattr(due, "_weighed", at_once)
    with pytest.raises(AssertionError, match=r"4: shop-cart-v2 went from 2 to 1 Pods with weight 50"):
        asyncio.run(Sweep(lab).play_these([Plan(22, Fault.NONE, way=Way.GROWING)], at_once=1))


def test_a_product_that_lets_a_version_run_beside_a_run_of_another_does_not_pass(lab, monkeypatch):
    """Runs under way that nobody sees, neither who decides nor who writes: the undisturbed run breaks invariant 1 already."""
    monkeypatch.setattr(by_runs, "under_way", lambda sight: {})
    monkeypatch.setattr(hands, "under_way", lambda sight: {})
    with pytest.raises(AssertionError, match=r"1: shop-cart-v2 may run while shop-cart-v1-0 is under way"):
        asyncio.run(Sweep(lab).play_these([Plan(23, Fault.NONE, way=Way.JOB)], at_once=1))


def _without_revision(made):
    def manifest(memory, revision):
        found = made(memory, revision)
        found["metadata"].pop("resourceVersion", None)
        return found

    return manifest
