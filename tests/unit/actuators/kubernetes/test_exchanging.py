"""What is written next where versions are exchanged in place, decided on one sight."""

import pytest

from ctrlplane_stream.actuators.kubernetes.due import due
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import DIGEST, LABEL, REPLICAS, ROLE, STAMP, VERSION
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Scale
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, TargetWanted, WantedVersion

TARGET = Target("staging", "shop/cart")
PODS = 4


def deployment(number, replicas, ready):
    return {
        "metadata": {
            "name": f"shop-cart-v{number}",
            "generation": 1,
            "labels": {ROLE: "serving"},
            "annotations": {STAMP: "7", LABEL: f"#{number}", REPLICAS: str(replicas), DIGEST: f"sha256:{number}"},
        },
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": ready},
    }


def pod(*, ready):
    return {"metadata": {"labels": {VERSION: "v1", ROLE: "serving"}}, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def half_way(pods, ready, surplus):
    """#2, of which nothing runs yet, is to have half; #1's Deployment tells of so many ready Pods."""
    place = Place("shop", "shop-cart", full=PODS)
    versions = tuple(WantedVersion(f"#{n}", Artifact("shop/cart", "shop/cart", f"sha256:{n}"), {}, Capacity.FULL, 50) for n in (1, 2))
    wanted = TargetWanted(TARGET, ServiceKind.ROUTED, versions, "#1", in_place=True, surplus_percent=surplus)
    ledger = Ledger(wanted=wanted, goal={"#1": 50, "#2": 50}, weights={"#1": 100, "#2": 0})
    there = {each["metadata"]["name"]: each for each in (deployment(1, PODS, ready), deployment(2, 0, 0))}
    services = {name: {"metadata": {"name": name}} for name in there}
    memory = Memory(TARGET, place, ledger=ledger, made=("#1", "#2"))
    return Sight(TARGET, place, memory, "7", there, services, tuple(pods), None)


@pytest.mark.parametrize("surplus", [0, 50])
def test_a_status_that_does_not_tell_of_a_ready_pod_yet_is_waited_for(surplus):
    """What has to go and is not ready goes first: by a status of a moment ago that would be one that serves."""
    lagging = half_way([pod(ready=True)] * 4, 3, surplus)
    assert not [step for step in due(lagging, now=0.0) if isinstance(step, Scale)]
    told = half_way([pod(ready=True)] * 3 + [pod(ready=False)], 3, surplus)
    assert Scale("shop-cart-v1", 3) in due(told, now=0.0)
