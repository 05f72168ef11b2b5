"""The judge of the fault sweep is no rubber stamp: each invariant, broken in a history made by hand, is named."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.manifests import owner_labels, workload
from ctrlplane_stream.actuators.kubernetes.memory import Memory, memory_manifest
from ctrlplane_stream.actuators.kubernetes.objects import LABEL, Kind
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.local.control_plane.scene import command, route, running, version
from ctrlplane_stream.local.control_plane.sweep.moments import Moment
from ctrlplane_stream.local.control_plane.sweep.replay import Replay
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.model.identity import Target

SERVICE = "shop/cart"
TARGET = Target("sweep", SERVICE)
ROUTED, SHARED = Way.ROUTE, Way.SERVICE


class Told:
    """A history being told, moment by moment; ``found`` is what was broken, by number of the invariant."""

    def __init__(self, way: Way) -> None:
        self.found: list[str] = []
        self.place = way.place("anywhere", SERVICE)
        self._way = way
        self._replay = Replay(self.place)

    def pods(self, number: int, replicas: int, ready: int | None = None) -> "Told":
        """A version's Deployment with so many Pods, all of them ready unless said otherwise."""
        made = workload(self.place, TARGET, version(SERVICE, number, 0))
        made["spec"]["replicas"], made["status"] = replicas, {"readyReplicas": replicas if ready is None else ready}
        return self._tell(Kind.DEPLOYMENT, made)

    def owned(self, colour: str = "red", *, adopted: bool = True, gone: bool = False) -> "Told":
        """The Deployment that is its owner's, with a Pod template that says so; ``adopted`` as the first version."""
        made = running()
        made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "COLOUR", "value": colour}]
        made["status"] = {"readyReplicas": 2}
        if adopted:
            made["metadata"]["labels"] |= owner_labels(self.place, "#1")
            made["metadata"]["annotations"] = {LABEL: "#1"}
        return self._tell(Kind.DEPLOYMENT, made, gone=gone)

    def steered(self, one: int, two: int) -> "Told":
        """The route with these weights."""
        made = route("shop-cart", ["main"])
        made["spec"]["rules"][0]["backendRefs"] = [{"name": "shop-cart-v1", "weight": one}, {"name": "shop-cart-v2", "weight": two}]
        return self._tell(Kind.HTTP_ROUTE, made)

    def remembered(self, sequence: int, one: int, two: int, **more) -> "Told":
        """The memory of a command for these weights; by shares of Pods they were reached."""
        given, cursor = command(TARGET, sequence, version(SERVICE, 1, one), version(SERVICE, 2, two), kind=self._way.kind)
        weights = {"#1": one, "#2": two}
        ledger = msgspec.structs.replace(Ledger(given.wanted, cursor, weights, weights), **more)
        return self._tell(Kind.CONFIG_MAP, memory_manifest(Memory(TARGET, self.place, ledger), None))

    def _tell(self, kind: Kind, made: dict, *, gone: bool = False) -> "Told":
        self.found += [said.split(":")[0] for said in self._replay.step(Moment(len(self.found), kind, made, gone))]
        return self


def at_half(way: Way) -> Told:
    """A rollout at 50%, in order until here."""
    told = Told(way).remembered(10, 0, 0)
    if way is SHARED:
        return told.pods(1, 2).pods(2, 2).remembered(20, 50, 50)
    return told.pods(1, 2).pods(2, 2).remembered(20, 50, 50).steered(50, 50)


def test_a_rollout_in_order_breaks_nothing():
    told = at_half(ROUTED).remembered(30, 100, 0).steered(100, 0).pods(2, 0)
    assert told.found == []
    assert at_half(SHARED).remembered(30, 100, 0).pods(1, 4).pods(2, 0).found == []


@pytest.mark.parametrize(("one", "two"), [(60, 30), (100, 50), (0, 50)])
def test_weights_that_do_not_sum_to_100_break_the_first(one, two):
    assert "1" in at_half(ROUTED).steered(one, two).found


def test_weight_for_what_is_not_ready_breaks_the_first():
    assert Told(ROUTED).remembered(10, 0, 100).pods(1, 2).pods(2, 2, ready=0).steered(0, 100).found == ["1"]
    assert at_half(ROUTED).pods(2, 2, ready=1).steered(40, 60).found == ["1"]
    assert at_half(SHARED).remembered(30, 25, 75).found == ["1"]


def test_a_stable_version_that_loses_pods_breaks_the_second():
    assert at_half(ROUTED).pods(1, 1).found == ["2"]


def test_a_candidate_that_gains_on_the_way_back_breaks_the_third():
    assert at_half(ROUTED).remembered(30, 100, 0).steered(100, 0).steered(75, 25).found == ["3"]
    assert at_half(ROUTED).remembered(20, 50, 50, lease_expired=True).steered(100, 0).steered(75, 25).found == ["3"]
    assert at_half(SHARED).remembered(30, 100, 0).pods(2, 3).found == ["3"]


def test_pods_that_go_before_the_weight_break_the_fourth():
    assert at_half(ROUTED).pods(2, 0).found == ["4"]
    assert at_half(SHARED).pods(2, 1).found == ["4"]


def test_a_cursor_that_goes_back_is_told():
    assert at_half(ROUTED).remembered(15, 75, 25).found == ["cursor"]


def test_what_was_adopted_takes_all_the_traffic_under_its_own_name():
    assert Told(Way.ADOPTED).owned(adopted=False).owned().remembered(10, 100, 0).steered(100, 0).found == []
    assert Told(Way.ADOPTED).owned(adopted=False).remembered(10, 100, 0).steered(100, 0).found == ["1"]


def test_what_was_adopted_and_gets_other_pods_or_goes_away_is_told():
    assert Told(Way.ADOPTED).owned(adopted=False).owned("blue").found == ["adopted"]
    assert Told(Way.ADOPTED).owned().owned(adopted=False, gone=True).found == ["adopted"]
