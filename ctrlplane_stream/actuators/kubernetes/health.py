"""Instances of a version as the cluster counts them, and why they fail, in the cluster's own words. Pure."""

from ctrlplane_stream.actuators.kubernetes.manifests import SERVING, STANDBY
from ctrlplane_stream.actuators.kubernetes.names import version_name, version_slug
from ctrlplane_stream.actuators.kubernetes.objects import ROLE, VERSION, Kind, Manifest, label
from ctrlplane_stream.actuators.kubernetes.runs import WILL_NOT_START, counted_runs
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.weights import in_force, replicas, too_many
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.world import Capacity

_FAILING = ("CrashLoopBackOff", *WILL_NOT_START, "RunContainerError")
"""Reasons for which a container waits that waiting does not mend; an image that is merely being pulled is none."""

_ROOM = "raise the quota of the namespace, or have the candidate take less room"


def ready(deployment: Manifest | None) -> int:
    """Ready Pods; 0 where the Deployment is not there or its controller has not looked at it yet."""
    if deployment is None:
        return 0
    return int((deployment.get("status") or {}).get("readyReplicas") or 0)


def staying(deployment: Manifest | None) -> int:
    """Ready Pods, but for those that are on their way out because it is to have fewer."""
    return min(ready(deployment), replicas(deployment))


def settled(deployment: Manifest | None) -> int:
    """Those, once the controller has seen the latest scale: scaled down and up again within a moment, a Deployment tells of Pods that it
    is losing. Our own stamps count as such a change, too, so this takes a controller that lives."""
    if deployment is None or int((deployment.get("status") or {}).get("observedGeneration") or 0) < deployment["metadata"]["generation"]:
        return 0
    return staying(deployment)


def carrying(sight: Sight, version: str) -> int:
    """Those that a version's Service chooses, whatever its controller does: an abort must not wait for that. Where ours take the place of
    what was adopted, that one's."""
    if version_name(sight.place.slug, version) not in sight.services:
        return 0
    if version in sight.chosen:
        return sum(map(is_serving, sight.chosen[version]))
    return staying(sight.serving(version))


def ready_pods(sight: Sight, version: str) -> int:
    """The same by the Pods that are listed and stay; of an adopted Deployment, whose Pods have no label of ours, 0."""
    return sum(map(is_serving, _pods(sight, version, SERVING)))


def is_serving(pod: Manifest) -> bool:
    """Whether a Pod is ready, and not on its way out: whether a Service that chooses it leads to it."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in (pod.get("status") or {}).get("conditions") or [])


def counted(sight: Sight, version: str) -> Counted:
    """Instances of a listed version: of the Deployment that serves, else of the one that stands by; of a job its runs.

    Where weights are shares of Pods, nothing stands by of what was adopted: it was never made not to work. While it is to have no weight
    it counts as ready, one of one, and its weight waits for its Pods.
    """
    if sight.place.workload is Kind.CRON_JOB:
        return next((counted_runs(sight, each) for each in sight.listed if each.label == version), Counted())
    deployment = sight.serving(version)
    if sight.routed or replicas(deployment):
        return _counted(sight, version, deployment, SERVING)
    if (remaining := too_many(sight).get(version)) is not None:
        return Counted(remaining, min(remaining, ready(deployment)))
    if (standby := sight.standing_by(version)) is not None:
        return _counted(sight, version, standby, STANDBY)
    return Counted(1, 1) if _rests(sight, version) else Counted()


def _counted(sight: Sight, version: str, deployment: Manifest | None, role: str) -> Counted:
    wanted = replicas(deployment)
    if deployment is None or wanted == 0:
        return Counted()
    serves = role == SERVING and in_force(sight).get(version, 0) > 0
    failure = _failure(deployment, _pods(sight, version, role), serves=serves)
    return Counted(wanted, min(wanted, ready(deployment)), _with_room(failure, routed=sight.routed))


def _rests(sight: Sight, version: str) -> bool:
    """Whether a version that was adopted, and is not parked, is to run nothing by itself: each of its Pods would have a share."""
    memory, deployment = sight.memory, sight.serving(version)
    if memory is None or deployment is None or version not in memory.adopted or deployment["metadata"].get("deletionTimestamp"):
        return False
    ledger = memory.ledger
    exchanged = ledger.wanted is not None and ledger.wanted.in_place
    kept = any(each.label == version and each.capacity is not Capacity.PARKED for each in sight.listed)
    return kept and not exchanged and not ledger.goal.get(version) and not ledger.weights.get(version)


def _pods(sight: Sight, version: str, role: str) -> list[Manifest]:
    wanted = version_slug(version)
    return [pod for pod in sight.pods if label(pod, VERSION) == wanted and label(pod, ROLE) == role]


def _failure(deployment: Manifest, pods: list[Manifest], *, serves: bool) -> str | None:
    waiting = next((said for pod in pods if (said := _of_pod(pod)) is not None), None)
    return waiting or _of_deployment(deployment, serves=serves)


def _with_room(failure: str | None, *, routed: bool) -> str | None:
    """A failure with what to do where a quota is full; by shares of Pods a candidate never has more than its weight."""
    if failure is None or "exceeded quota" not in failure:
        return failure
    return f"{failure}; {_ROOM} ({'`candidate_fleet: by-weight`, or `surge_percent`' if routed else '`surge_percent`'})"


def _of_pod(pod: Manifest) -> str | None:
    if pod["metadata"].get("deletionTimestamp"):
        return None
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = (container.get("state") or {}).get("waiting") or {}
        if state.get("reason") in _FAILING:
            restarts = f" after {container['restartCount']} restarts" if container.get("restartCount") else ""
            return f"{state['reason']}{restarts}: {state.get('message') or container.get('image', '')}".rstrip(": ")
    return None


def _of_deployment(deployment: Manifest, *, serves: bool) -> str | None:
    """What the Deployment's conditions say. ``serves``: it has weight, so it was ready once, and being unready is a loss.

    Scaled up from nothing a Deployment reads just as one whose Pods fell over: available no more, its progress long over.
    """
    conditions = {each["type"]: each for each in (deployment.get("status") or {}).get("conditions") or []}
    progressing, available = conditions.get("Progressing", {}), conditions.get("Available", {})
    failed = conditions.get("ReplicaFailure", {})
    if failed.get("status") == "True":
        return f"{failed.get('reason')}: {failed.get('message')}"
    if progressing.get("status") == "False":
        return f"{progressing.get('reason')}: {progressing.get('message')}"
    if serves and available.get("status") == "False" and ready(deployment) == 0:
        return f"lost readiness: {available.get('message')}"
    return None
