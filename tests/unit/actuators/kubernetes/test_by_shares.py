"""By shares of Pods, decided on one sight: what is told is what runs, and what stands by is in nobody's way."""

import pytest

from ctrlplane_stream.actuators.kubernetes.due import due, has_arrived
from ctrlplane_stream.actuators.kubernetes.health import counted
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import DIGEST, LABEL, REPLICAS, ROLE, STAMP, VERSION
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Make, Remember, Remove, Scale
from ctrlplane_stream.actuators.kubernetes.weights import as_seen
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, TargetWanted, WantedVersion

TARGET = Target("staging", "shop/mailer")
FULL = 4
BACK, NOW = {"#1": 100, "#2": 0}, {"#1": 0, "#2": 100}


def deployment(number, replicas, there=None, *, ready=None, terminating=0, standby=False, labels=None, name=None):
    """A version's Deployment that is to have so many Pods, and whose status tells of those that are ``there``."""
    there = replicas if there is None else there
    annotations = {STAMP: "7", LABEL: f"#{number}", REPLICAS: str(replicas), DIGEST: f"sha256:{number}"}
    own = {ROLE: "standby" if standby else "serving", VERSION: f"v{number}"}
    return {
        "metadata": {
            "name": name or f"shop-mailer-v{number}" + ("-standby" if standby else ""),
            "generation": 1,
            "labels": own,
            "annotations": annotations,
        },
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {**own, **(labels or {})}}}},
        "status": {
            "observedGeneration": 1,
            "replicas": there,
            "readyReplicas": there if ready is None else ready,
            "terminatingReplicas": terminating,
        },
    }


def pods(number, count, *, going=False, phase="Running", ready=("Ready", "ContainersReady")):
    """Pods of a version that serve, by their labels."""
    when = {"deletionTimestamp": "2026-11-28T00:00:00Z"} if going else {}
    conditions = [{"type": each, "status": str(each in ready)} for each in ("Ready", "ContainersReady")]
    status = {"phase": phase, "conditions": conditions}
    return ({"metadata": {"labels": {VERSION: f"v{number}", ROLE: "serving"}, **when}, "status": status},) * count


def sight(goal, weights, *there, listed=(), adopted=None, hidden=(), capacity=Capacity.FULL):
    """A consumer's target, of which #1 is stable and both versions are whole."""
    place = Place("shop", "shop-mailer", full=FULL)
    versions = tuple(WantedVersion(f"#{n}", Artifact("shop/mailer", "m", f"sha256:{n}"), {}, capacity, goal[f"#{n}"]) for n in (1, 2))
    ledger = Ledger(wanted=TargetWanted(TARGET, ServiceKind.CONSUMER, versions, "#1"), goal=goal, weights=weights)
    memory = Memory(TARGET, place, ledger=ledger, made=("#1", "#2"), adopted=adopted or {}, hidden=hidden)
    return Sight(TARGET, place, memory, "7", {each["metadata"]["name"]: each for each in there}, {}, tuple(listed), None)


@pytest.mark.parametrize(
    ("leaving", "listed"),
    [
        (deployment(2, 0, 2), ()),
        (deployment(2, 0, 0), pods(2, 2)),
        (deployment(2, 0, 0), pods(2, 2, going=True)),
        (deployment(2, 0, 0), pods(2, 2, going=True, ready=("ContainersReady",))),
    ],
    ids=["by its status", "as they are listed", "on their way out", "of a node that is cut off"],
)
def test_a_weight_is_told_for_as_long_as_its_pods_are_there(leaving, listed):
    """Its Deployment was told to have none, and nobody does that: no controller, or a node that is cut off."""
    there = sight(BACK, BACK, deployment(1, 4, 2), leaving, listed=listed)
    assert as_seen(there) == {"#1": 50, "#2": 50}
    assert not has_arrived(there)
    assert counted(there, "#2").instances == 2


def test_a_weight_is_told_while_pods_of_what_was_adopted_are_on_their_way_out():
    """They bear no label of ours, so that its Deployment's status alone tells of them."""
    leaving = deployment(1, 0, 0, terminating=2, name="mailer")
    there = sight(NOW, NOW, leaving, deployment(2, 4, 2), adopted={"#1": "mailer"})
    assert as_seen(there) == {"#1": 50, "#2": 50}


def test_what_never_was_ready_has_no_weight_while_it_goes():
    """Its Pods were made for a weight that was never given, and the lease ran out, or somebody aborted."""
    there = sight(BACK, BACK, deployment(1, 4), deployment(2, 4, ready=0), listed=pods(2, 4, ready=()))
    assert as_seen(there) == BACK
    assert not has_arrived(there)


ENDED = [(), pods(2, 1, phase="Failed"), pods(2, 1, phase="Succeeded"), pods(2, 1, going=True, ready=())]


@pytest.mark.parametrize("listed", ENDED, ids=["none", "failed", "ended", "unready"])
def test_a_weight_has_moved_once_no_pod_of_it_works(listed):
    """What ended by itself is there only to be read."""
    there = sight(BACK, BACK, deployment(1, 4), deployment(2, 0), listed=listed)
    assert as_seen(there) == BACK
    assert has_arrived(there)


def test_a_pod_that_is_replaced_is_no_weight_that_strayed():
    """A node that is emptied under a partial weight has its Pods go as others come: nothing was given away."""
    half = {"#1": 50, "#2": 50}
    there = sight(half, half, deployment(1, 2), deployment(2, 2), listed=(*pods(1, 2), *pods(2, 2), *pods(2, 1, going=True)))
    assert as_seen(there) == half


def test_what_stands_by_gives_its_room_to_the_pods_that_are_to_serve():
    """A full quota has room for one Pod of stable then, which suffices to go back."""
    standby = deployment(1, 1, standby=True)
    begun = sight(BACK, NOW, deployment(1, 0), standby, deployment(2, 4))
    assert due(begun, now=0.0) == (Scale("shop-mailer-v1", 4),)
    refused = sight(BACK, NOW, deployment(1, 4, 0), standby, deployment(2, 4))
    assert due(refused, now=0.0) == (Remove("shop-mailer-v1-standby"),)
    came = sight(BACK, NOW, deployment(1, 4, 1), deployment(2, 4))
    assert any(isinstance(step, Remember) for step in due(came, now=0.0))


@pytest.mark.parametrize(("hidden", "exposed"), [(("app",), False), (("app", "tier"), False), (("tier",), True), ((), False)])
def test_what_stands_by_is_made_anew_once_the_service_would_choose_it(hidden, exposed):
    """It was hidden from a Service that chose by ``app``, whose owner has it choose otherwise since."""
    standby = deployment(2, 1, standby=True, labels={"app": "standby", "tier": "x"})
    there = sight(BACK, BACK, deployment(1, 4), deployment(2, 0), standby, hidden=hidden)
    assert due(there, now=0.0) == ((Remove("shop-mailer-v2-standby"),) if exposed else ())
    without = sight(BACK, BACK, deployment(1, 4), deployment(2, 0), hidden=hidden)
    assert [step.standby for step in due(without, now=0.0) if isinstance(step, Make)] == [True]


def test_what_was_adopted_counts_as_ready_until_its_pods_are_to_come():
    """None of it stands by, since it may know nothing of that: returning to it begins with its weight, which waits for all of its Pods."""
    adopted, other = {"#1": "mailer"}, deployment(2, 4)
    kept = sight(NOW, NOW, deployment(1, 0, name="mailer"), other, adopted=adopted)
    assert counted(kept, "#1") == Counted(1, 1)
    assert due(kept, now=0.0) == ()
    parked = sight(NOW, NOW, deployment(1, 0, name="mailer"), other, adopted=adopted, capacity=Capacity.PARKED)
    assert counted(parked, "#1") == Counted()
    wanted = sight(BACK, NOW, deployment(1, 0, name="mailer"), other, adopted=adopted)
    assert counted(wanted, "#1") == Counted()
    assert due(wanted, now=0.0) == (Scale("mailer", 4),)
    assert counted(sight(NOW, NOW, other, adopted=adopted), "#1") == Counted()
    ours = sight(NOW, NOW, deployment(1, 0), other)
    assert counted(ours, "#1") == Counted()
