"""What chooses the Pods of a version by their labels: the shared Service must, and no autoscaler of somebody else's may."""

from collections import Counter
from collections.abc import Collection

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.health import is_serving
from ctrlplane_stream.actuators.kubernetes.manifests import STANDBY
from ctrlplane_stream.actuators.kubernetes.objects import ROLE, SERVICE, Kind, Manifest, label, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.selectors import chooses


def pod_labels(workload: Manifest) -> dict[str, str]:
    """The labels of the Pods of a Deployment."""
    return dict(workload["spec"]["template"].get("metadata", {}).get("labels") or {})


def unserved(shared: Manifest | None, labels: dict[str, str], whose: str) -> str | None:
    """Why the shared Service would send nothing to Pods with these labels, or None; ``whose`` they are, in words. Pure.

    Such a version would be ready, be given weight Pod by Pod, and answer nobody.
    """
    if shared is None:
        return None
    selector: dict[str, str] = shared["spec"].get("selector") or {}
    if not selector:
        return f"Service {name_of(shared)} has no selector, so no Pods stand behind it: give it one"
    absent = sorted(f"{key}={value}" for key, value in selector.items() if labels.get(key) != value)
    if not absent:
        return None
    return (
        f"Service {name_of(shared)} chooses Pods by {', '.join(absent)}, which {whose} do not have, so they would never be sent a request: "
        "add it to their labels, or correct the Service"
    )


def is_exposed(standby: Manifest, hidden: Collection[str]) -> bool:
    """Whether the Pods of a Deployment that stands by do have what the shared Service chooses by, the labels ``hidden``: its owner may have
    had it choose by others since they were made. Pure."""
    labels = pod_labels(standby)
    return bool(hidden) and not any(labels.get(key) == STANDBY for key in hidden)


async def besides(cluster: Cluster, place: Place, shared: Manifest | None, adopted: Collection[str]) -> str | None:
    """Which ready Pods the shared Service chooses that are no version's, in words; None where there are none. ``adopted``: Deployments
    whose Pods are. Weights by shares of Pods would not be what requests meet. Raises ApiRefused and WorldUnreachable.
    """
    if shared is None:
        return None
    of = Counter(_maker(pod) for pod in await _behind(cluster, place, shared) if label(pod, SERVICE) != place.slug)
    others = [f"{count} of {maker}" for maker, count in sorted(of.items()) if maker.removeprefix("Deployment ") not in adopted]
    if not others:
        return None
    return (
        f"Service {name_of(shared)} chooses ready Pods of no version too ({', '.join(others)}), whose share of the requests nobody counts: "
        "adopt what runs there, or take it from behind that Service"
    )


async def exposed(cluster: Cluster, place: Place, shared: Manifest) -> str | None:
    """Which ready Pods that only stand by the shared Service chooses, in words; None where there are none. They are made anew with the next
    command, and nobody of us looks before. Raises ApiRefused and WorldUnreachable.
    """
    of = Counter(_maker(pod) for pod in await _behind(cluster, place, shared) if label(pod, ROLE) == STANDBY)
    found = ", ".join(f"{count} of {maker}" for maker, count in sorted(of.items()))
    if not found:
        return None
    return (
        f"Service {name_of(shared)} chooses Pods that only stand by ({found}), and get requests without weight: they are made anew with "
        "the next command; until then have it choose by the labels that it chose by"
    )


async def _behind(cluster: Cluster, place: Place, shared: Manifest) -> list[Manifest]:
    """The ready Pods that the shared Service chooses; none where it has no selector."""
    selector: dict[str, str] = shared["spec"].get("selector") or {}
    chosen = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return [pod for pod in (await cluster.select(Kind.POD, place.namespace, chosen))[0] if is_serving(pod)] if chosen else []


def _maker(pod: Manifest) -> str:
    """What made a Pod, as people know it: its Deployment, whose name and the hash of its template are a ReplicaSet's."""
    owner = next(iter(pod["metadata"].get("ownerReferences") or []), None)
    if owner is None:
        return f"Pod {name_of(pod)}"
    hashed = f"-{label(pod, 'pod-template-hash')}"
    is_deployed = owner["kind"] == "ReplicaSet" and str(owner["name"]).endswith(hashed)
    return f"Deployment {str(owner['name']).removesuffix(hashed)}" if is_deployed else f"{owner['kind']} {owner['name']}"


async def rival(cluster: Cluster, place: Place, labels: dict[str, str]) -> str | None:
    """Which autoscaler of somebody else's counts Pods with these labels too, in words; None where none does, or the version has none.

    Kubernetes scales nothing at all by two autoscalers that count the same Pods (``AmbiguousSelector``), and those of a Deployment
    are all that its selector chooses, whoever made them. Raises ApiRefused and WorldUnreachable.
    """
    if place.autoscaler is None:
        return None
    found, _ = await cluster.select(Kind.AUTOSCALER, place.namespace)
    for each in found:
        scaled = each["spec"]["scaleTargetRef"]
        if label(each, SERVICE) is not None or scaled.get("kind") != "Deployment":
            continue
        deployment = await cluster.get(Kind.DEPLOYMENT, place.namespace, str(scaled["name"]))
        if deployment is not None and chooses(deployment["spec"].get("selector"), labels):
            return (
                f"HorizontalPodAutoscaler {name_of(each)} counts the Pods of every version too, since Deployment {name_of(deployment)} "
                "chooses them, and of two that count the same Pods Kubernetes heeds neither (AmbiguousSelector): delete it, which leaves "
                "the Pods as many as they are, or take out of the template's Pods a label by which that Deployment chooses"
            )
    return None
