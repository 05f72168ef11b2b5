"""What is written next, decided on one sight: no weight to Pods that are on their way out."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.due import due
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import DIGEST, LABEL, REPLICAS, ROLE, STAMP
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Complete, Make, Remember, Steer
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, TargetWanted, WantedVersion

TARGET = Target("staging", "shop/cart")
FULL = 4
BACK, NOW = {"#1": 100, "#2": 0}, {"#1": 0, "#2": 100}


def deployment(number, *, replicas, ready, generation=5, seen=5):
    """A version's serving Deployment; ``seen`` is the generation that its controller has looked at."""
    return {
        "metadata": {
            "name": f"shop-cart-v{number}",
            "generation": generation,
            "labels": {ROLE: "serving"},
            "annotations": {STAMP: "7", LABEL: f"#{number}", REPLICAS: str(replicas), DIGEST: f"sha256:{number}"},
        },
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": seen, "readyReplicas": ready},
    }


def on_the_way_back(stable, route=None):
    """A target that is to go back to #1, while #2 has all the traffic; ``stable`` is #1's Deployment."""
    place = Place("shop", "shop-cart", full=FULL, route=route)
    versions = tuple(
        WantedVersion(f"#{n}", Artifact("shop/cart", "shop/cart", f"sha256:{n}"), {}, Capacity.FULL, BACK[f"#{n}"]) for n in (1, 2)
    )
    ledger = Ledger(wanted=TargetWanted(TARGET, ServiceKind.ROUTED, versions, "#1"), goal=BACK, weights=NOW)
    record = msgspec.json.encode({"weights": {"shop-cart-v1": 0, "shop-cart-v2": 100}, "stamp": "7"}).decode()
    backends = [{"name": f"shop-cart-v{n}", "port": 80, "weight": NOW[f"#{n}"]} for n in (1, 2)]
    rule = {"name": "cart", "backendRefs": backends}
    steered = {"metadata": {"annotations": {"ctrlplane-stream.dev/shop-cart": record}}, "spec": {"rules": [rule]}}
    deployments = {d["metadata"]["name"]: d for d in (stable, deployment(2, replicas=FULL, ready=FULL))}
    return Sight(
        target=TARGET,
        place=place,
        memory=Memory(TARGET, place, ledger=ledger, made=("#1", "#2")),
        revision="7",
        workloads=deployments,
        services={name: {"metadata": {"name": name}} for name in deployments},
        pods=(),
        route=steered if route else None,
    )


ALL = deployment(1, replicas=FULL, ready=FULL)
ONE = deployment(1, replicas=FULL, ready=1)
NONE = deployment(1, replicas=FULL, ready=0)
GOING = deployment(1, replicas=0, ready=FULL)
NOT_LOOKED_AT = deployment(1, replicas=FULL, ready=FULL, generation=6)


@pytest.mark.parametrize("route", [None, Route("shop", "cart")], ids=["by replicas", "by route"])
@pytest.mark.parametrize(
    ("stable", "moves"), [(ALL, True), (ONE, True), (NONE, False), (GOING, False)], ids=["all", "one", "none", "going"]
)
def test_weight_comes_back_to_pods_that_are_ready_and_stay(stable, moves, route):
    """Stable needs one of them; a status that tells of Pods that are being taken away is none."""
    assert _moves(stable, route) is moves


@pytest.mark.parametrize(("route", "moves"), [(None, False), (Route("shop", "cart"), True)], ids=["by replicas", "by route"])
def test_only_what_moves_by_replicas_waits_for_the_controller_of_deployments(route, moves):
    """Its Pods may be those that a scale before took away; a route can be turned while that controller is dead, and an abort is."""
    assert _moves(NOT_LOOKED_AT, route) is moves


def test_what_has_weight_keeps_its_share_of_the_rule_while_its_objects_are_made_again():
    """Left out of the rule, it would leave its share to the others: an abort would begin with more traffic to the candidate."""
    there = on_the_way_back(NONE, Route("shop", "cart"))
    assert there.memory is not None
    steps = due(msgspec.structs.replace(there, memory=msgspec.structs.replace(there.memory, made=("#1",))), now=0.0)
    assert any(isinstance(step, (Make, Complete)) for step in steps)
    assert all("shop-cart-v2" in step.weights for step in steps if isinstance(step, Steer))


@pytest.mark.parametrize("service", [True, False], ids=["with its Service", "without"])
def test_weight_comes_back_to_what_its_service_chooses_though_the_version_is_not_whole(service):
    """Its Pods do without a ConfigMap that was taken away and cannot be made again, and not without their Service."""
    there = on_the_way_back(ALL, Route("shop", "cart"))
    assert there.memory is not None
    services = there.services if service else {"shop-cart-v2": there.services["shop-cart-v2"]}
    there = msgspec.structs.replace(there, services=services, memory=msgspec.structs.replace(there.memory, made=("#2",)))
    assert any(isinstance(step, Steer) and step.weights.get("shop-cart-v1") == 100 for step in due(there, now=0.0)) is service


def _moves(stable, route):
    steps = due(on_the_way_back(stable, route), now=0.0)
    return any(isinstance(step, (Steer if route else Remember)) for step in steps)
