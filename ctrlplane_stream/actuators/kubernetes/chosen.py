"""What chooses the Pods of a version by their labels: the shared Service must, and no autoscaler of somebody else's may."""

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import SERVICE, Kind, Manifest, label, name_of
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
