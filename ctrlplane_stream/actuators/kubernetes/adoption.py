"""Taking a running Deployment over as the first version, without a restart.

Its Pods are not touched: they keep their labels and environment, so their telemetry is told by image digest or by the
hash of the Pod template (which is what their Service chooses by) and not by our resource attribute.
"""

import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.health import staying
from ctrlplane_stream.actuators.kubernetes.manifests import owner_annotations, service
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import ADOPTED_AT, LABEL, REVISION, Kind, Manifest, annotation, label, name_of
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Remember, Steps, Succeed
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused
from ctrlplane_stream.actuators.kubernetes.weights import in_force, replicas
from ctrlplane_stream.model.world import WantedVersion

_HASH = "pod-template-hash"


def begun(sight: Sight) -> Memory:
    """The memory of a target that has none. Where somebody deleted it, what was adopted still says so itself."""
    adopted = {
        of: name
        for name, each in sorted(sight.workloads.items())
        if annotation(each, ADOPTED_AT) is not None and (of := annotation(each, LABEL)) is not None
    }
    return Memory(sight.target, sight.place, adopted=adopted)


def misfit(found: Manifest | None, name: str, version: WantedVersion) -> str | None:
    """Why the Deployment cannot be this version, or None. An image without a digest is taken at the command's word."""
    if found is None:
        return f"there is no Deployment {name} to adopt"
    images = [str(container.get("image")) for container in found["spec"]["template"]["spec"]["containers"]]
    digests = [image.partition("@")[2] for image in images if "@" in image]
    if digests and version.artifact.digest not in digests:
        return f"Deployment {name} runs {', '.join(images)}, not {version.artifact}"
    return None


def is_rolled_out(deployment: Manifest) -> bool:
    """Whether its owner has an adopted Deployment run something else than what was adopted."""
    then, now = annotation(deployment, ADOPTED_AT), annotation(deployment, REVISION)
    return bool(then) and now is not None and then != now


def is_still_rolling_out(deployment: Manifest) -> bool:
    """Whether what its owner has an adopted Deployment run instead has fewer ready Pods than what it ran before: the Service chooses the
    latter until then, which the Deployment keeps for as long as the former does not come up."""
    if not is_rolled_out(deployment):
        return False
    status = deployment.get("status") or {}
    if int(status.get("observedGeneration") or 0) < deployment["metadata"]["generation"]:
        return True
    old = int(status.get("replicas") or 0) - int(status.get("updatedReplicas") or 0)
    new_and_ready = int(status.get("readyReplicas") or 0) - old  # at least so many: it does not say of which the ready ones are
    return replicas(deployment) > 0 and new_and_ready < max(1, old)


def succession(sight: Sight, memory: Memory) -> Steps:
    """What takes the place of a Deployment that was adopted, once it is ready for that; one at a time."""
    for version, name in sorted(memory.replaced.items()):
        if _may_succeed(sight, version, name):
            kept = {of: former for of, former in memory.replaced.items() if of != version}
            return (Succeed(version, name), Remember(msgspec.structs.replace(memory, replaced=kept)))
    return ()


def _may_succeed(sight: Sight, version: str, name: str) -> bool:
    """Whether what was made anew of a version can take the requests that what was adopted gets, or there are none.

    What that one's owner has brought up in its stead gets none by a route, so then one Pod is better.
    """
    if not in_force(sight).get(version):
        return True
    former, ours = sight.workloads.get(name), sight.serving(version)
    nobody = former is not None and is_rolled_out(former) and not is_still_rolling_out(former)
    return staying(ours) >= (1 if sight.routed and nobody else max(1, replicas(ours)))


async def adopted_service(cluster: Cluster, sight: Sight, version: WantedVersion, owner: Manifest) -> list[tuple[Kind, Manifest]]:
    """The Service of an adopted version, where weights go by a route. Raises ApiRefused while its Pods cannot be told apart."""
    if sight.place.route is None:
        return []
    match = dict(owner["spec"]["selector"].get("matchLabels") or {})
    chosen = ",".join(f"{key}={value}" for key, value in sorted(match.items()))
    sets, _ = await cluster.select(Kind.REPLICA_SET, sight.place.namespace, chosen)
    revision = annotation(owner, REVISION)
    own = [each for each in sets if _is_of(each, owner) and annotation(each, REVISION) == revision]
    if len(own) != 1:
        raise ApiRefused(f"Deployment {name_of(owner)} has no settled ReplicaSet yet: wait until its rollout is over")
    made = service(sight.place_of(version.label), version.label, {**match, _HASH: str(label(own[0], _HASH))})
    made["metadata"]["annotations"] |= owner_annotations(sight.target, version)
    return [(Kind.SERVICE, made)]


def _is_of(replica_set: Manifest, owner: Manifest) -> bool:
    return any(each.get("uid") == owner["metadata"]["uid"] for each in replica_set["metadata"].get("ownerReferences") or [])
