"""A few plans of the fault sweep; `SWEEP=kubernetes make sweep` plays as many as one likes."""

import asyncio

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.local.control_plane.scene import route, routed_place
from ctrlplane_stream.local.control_plane.sweep.history import Moment, Replay
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan
from ctrlplane_stream.local.control_plane.sweep.sweeping import Sweep

# A rollout takes 46 writes. 19 and 27 are patches that steer, to 25% and to 50%: a sleeper there wakes when the abort is on its
# way, and only the `test` of what it last saw keeps it from raising the candidate again.
PLANS = [
    Plan(0, Fault.KILLED_BEFORE, 3, at_write=True, length=1, promotes=True),
    Plan(1, Fault.KILLED_BEFORE, 21, at_write=True, length=1, promotes=False),
    Plan(2, Fault.KILLED_BEFORE, 33, at_write=True, length=1, promotes=False),
    Plan(3, Fault.KILLED_AFTER, 2, at_write=True, length=1, promotes=False),
    Plan(4, Fault.KILLED_AFTER, 22, at_write=True, length=1, promotes=True),
    Plan(5, Fault.LOST_ANSWER, 21, at_write=True, length=1, promotes=False),
    Plan(6, Fault.THROTTLED, 17, at_write=True, length=3, promotes=True),
    Plan(7, Fault.CONFLICT, 20, at_write=True, length=1, promotes=False),
    Plan(8, Fault.STALE_READS, 90, at_write=False, length=3, promotes=False),
    Plan(9, Fault.ZOMBIE, 19, at_write=True, length=3, promotes=False),
    Plan(10, Fault.ZOMBIE, 27, at_write=True, length=2, promotes=False),
    Plan(11, Fault.LEASE_EXPIRED, 160, at_write=False, length=1, promotes=True),
    Plan(12, Fault.RESTART, 120, at_write=False, length=1, promotes=False),
    Plan(13, Fault.MISSED_EVENTS, 60, at_write=False, length=2, promotes=True),
    Plan(14, Fault.MISSED_EVENTS, 75, at_write=False, length=1, promotes=False),
]


def test_whatever_strikes_between_two_api_calls_the_rollout_ends_where_it_would_have(lab, capsys):
    """Each plan ends as the undisturbed run does, and no moment of it breaks invariants 1 to 4."""
    results = asyncio.run(Sweep(lab).play_these(PLANS, at_once=3))
    with capsys.disabled():
        print(f"\n{len(results)} plans, {sum(result.struck for result in results)} faults struck")
    assert [(result.plan, result.problems) for result in results if result.problems] == []
    assert all(result.struck for result in results)


def test_the_observer_sees_a_weight_that_rises_to_nothing(lab):
    """The judge of the sweep is no rubber stamp: weight for a version without ready Pods is a breach of invariant 1."""
    place = routed_place("anywhere", "shop/cart")
    steered = route("shop-cart", ["main"])
    steered["spec"]["rules"][0]["backendRefs"] = [{"name": "shop-cart-v1", "weight": 60}, {"name": "shop-cart-v2", "weight": 30}]
    found = Replay(place).step(Moment(1, Kind.HTTP_ROUTE, steered, gone=False))
    assert [said.split(":")[0] for said in found] == ["1", "1", "1"]
