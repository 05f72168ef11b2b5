"""The objects of one version: a Deployment, or of a job a CronJob, and what it owns: Service, ConfigMaps, autoscaler, budget. Pure.

A Deployment begins with no replicas, so that what its Pods need is there before the first of them. What belongs to a
version is owned by its Deployment in the sense of Kubernetes: deleting the Deployment is deleting the version, and
nothing else ever goes with it. None of it is changed later but for replicas and our annotations.
"""

import copy
from typing import Any

from ctrlplane_stream.actuators.kubernetes.names import CONFIGURATION, slug, standby_name, version_name, version_slug
from ctrlplane_stream.actuators.kubernetes.objects import (
    AUTOSCALED,
    DIGEST,
    LABEL,
    LAST_APPLIED,
    MANAGED_BY,
    MANAGER,
    NOBODY_ELSES,
    PREFIX,
    REVISION,
    ROLE,
    SERVICE,
    TARGET,
    VERSION,
    Kind,
    Manifest,
    name_of,
)
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.template import configuration_data, pod_spec, workload_of
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import WantedVersion

SERVING, STANDBY = "serving", "standby"
_DEFAULT_PORT = 80
_NAME_LIMIT = 63
_NOT_OF_A_VERSION = (
    "clusterIP",
    "clusterIPs",
    "healthCheckNodePort",
    "externalIPs",
    "externalName",
    "type",
    "externalTrafficPolicy",
    "loadBalancerIP",
    "loadBalancerClass",
    "loadBalancerSourceRanges",
    "allocateLoadBalancerNodePorts",
)
"""What only one Service may have, and ways into it from outside."""
_LATE_SECONDS = 60
"""So late a run may begin. By default Kubernetes sets no limit: a version that gets the runs would make up at once for one of another's."""


def owner_labels(place: Place, label: str, role: str = SERVING) -> dict[str, str]:
    """The labels by which everything of a version is found."""
    return {MANAGED_BY: MANAGER, SERVICE: place.slug, VERSION: version_slug(label), ROLE: role}


def selector(place: Place) -> str:
    """The label selector that finds everything that we own of a service."""
    return f"{SERVICE}={place.slug}"


def owner_annotations(target: Target, version: WantedVersion) -> dict[str, str]:
    """What labels cannot hold: the exact names."""
    return {TARGET: str(target), LABEL: version.label, DIGEST: version.artifact.digest}


def workload(place: Place, target: Target, version: WantedVersion, *, standby: bool = False, hidden: tuple[str, ...] = ()) -> Manifest:
    """The Deployment of a version, without replicas yet, or its CronJob, suspended.

    ``standby``: of the Pods that prove that it starts; the labels ``hidden``, by which the shared Service chooses, are
    then made not to match. Raises ValueError where the place has no template.
    """
    base = workload_of(place.template)
    if base is None:
        raise ValueError(f"no template for {target}: name one in the placement file")
    role = STANDBY if standby else SERVING
    labels = owner_labels(place, version.label, role)
    name = standby_name(place.slug, version.label) if standby else version_name(place.slug, version.label)
    made: Manifest = copy.deepcopy({key: base[key] for key in ("apiVersion", "kind", "spec")})
    made["metadata"] = _metadata(base, name, labels, {**owner_annotations(target, version), **NOBODY_ELSES})
    if place.workload is Kind.CRON_JOB:
        _fill_pods(_suspended(made["spec"], labels), place, target, version, labels)
        return made
    if not standby and place.autoscaler is not None:
        made["metadata"]["annotations"][AUTOSCALED] = "true"
    made["spec"]["replicas"] = 0
    made["spec"].pop("paused", None)  # It would never make a Pod.
    made["spec"]["selector"] = {"matchLabels": labels}
    _fill_pods(made["spec"], place, target, version, labels, hidden if standby else None)
    return made


def _suspended(spec: Manifest, labels: dict[str, str]) -> Manifest:
    """The specification of a CronJob made so that it does not run yet; that of its Jobs.

    Where the template does not say otherwise no two runs overlap, and none makes up for what was missed.
    """
    spec["suspend"] = True
    spec.setdefault("concurrencyPolicy", "Forbid")
    spec.setdefault("startingDeadlineSeconds", _LATE_SECONDS)
    metadata = spec["jobTemplate"].setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    jobs: Manifest = spec["jobTemplate"]["spec"]
    return jobs


def _fill_pods(
    spec: Manifest, place: Place, target: Target, version: WantedVersion, labels: dict[str, str], hidden: tuple[str, ...] | None = None
) -> None:
    """Make the template of Pods in a specification the version's own. ``hidden``: of those that stand by, labels that must not match."""
    template = spec.setdefault("template", {})
    metadata = template.setdefault("metadata", {})
    own = {key: (STANDBY if key in (hidden or ()) else value) for key, value in (metadata.get("labels") or {}).items()}
    metadata["labels"] = {**own, **labels}
    template["spec"] = pod_spec(
        template["spec"],
        target,
        version,
        container=place.container,
        copies={name_of(each): _copy_name(place, version, each) for each in _of_kind(place, "ConfigMap")},
        configuration=_configuration_name(place, version) if version.configuration else None,
        standby=hidden is not None,
    )


def companions(place: Place, target: Target, version: WantedVersion) -> list[tuple[Kind, Manifest]]:
    """What a version's Deployment or CronJob is to own, in the order in which to make it; that it does is said with ``owned_by``."""
    made = [(Kind.CONFIG_MAP, _config_map_copy(place, version, each)) for each in _of_kind(place, "ConfigMap")]
    if version.configuration:
        made.append((Kind.CONFIG_MAP, _configuration(place, version)))
    if place.route is not None:
        made.append((Kind.SERVICE, service(place, version.label, owner_labels(place, version.label))))
    made += [(Kind.DISRUPTION_BUDGET, _disruption_budget(place, version, each)) for each in _of_kind(place, "PodDisruptionBudget")]
    if place.autoscaler is not None:
        made.append((Kind.AUTOSCALER, _autoscaler(place, version, place.autoscaler)))
    for _, each in made:
        each["metadata"]["annotations"] = {**each["metadata"].get("annotations", {}), **owner_annotations(target, version)}
    return made


def owned_by(owner: Manifest, kind: Kind, manifest: Manifest) -> Manifest:
    """The object as one that the Deployment or CronJob ``owner`` owns; ``kind`` is the owner's."""
    reference = {
        "apiVersion": kind.api_version,
        "kind": kind.manifest_kind,
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": False,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def owns(made: list[tuple[Kind, Manifest]]) -> str:
    """What is written on a version of what was made for it; its Service, which what was adopted has too, is missed without that."""
    return ", ".join(f"{kind.manifest_kind} {name_of(each)}" for kind, each in made if kind is not Kind.SERVICE)


def service(place: Place, label: str, match: dict[str, str]) -> Manifest:
    """The Service of one version, which chooses the Pods that ``match``. Its requests come by what has weights, and not past that: a load
    balancer or a port of nodes stays the template's."""
    base = next(iter(_of_kind(place, "Service")), None)
    spec: Manifest = copy.deepcopy(base["spec"]) if base is not None else {"ports": _ports(place)}
    for taken in _NOT_OF_A_VERSION:
        spec.pop(taken, None)
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)
    spec["selector"] = match
    labels = owner_labels(place, label)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(base or {}, version_name(place.slug, label), labels, {}),
        "spec": spec,
    }


def service_port(place: Place) -> int:
    """The port by which a route reaches a version's Service."""
    if place.port is not None:
        return place.port
    base = next(iter(_of_kind(place, "Service")), None)
    ports = base["spec"]["ports"] if base is not None else _ports(place)
    return int(ports[0]["port"])


def _ports(place: Place) -> list[Manifest]:
    """A Service's ports where the template has no Service: its own port, to the first that the containers name."""
    base = workload_of(place.template)
    containers = base["spec"]["template"]["spec"]["containers"] if base is not None else []
    exposed = [int(port["containerPort"]) for container in containers for port in container.get("ports") or []]
    first = exposed[0] if exposed else place.port or _DEFAULT_PORT
    return [{"port": place.port or first, "targetPort": first, "protocol": "TCP"}]


def _of_kind(place: Place, kind: str) -> list[Manifest]:
    return [manifest for manifest in place.template if manifest.get("kind") == kind]


def _metadata(base: Manifest, name: str, labels: dict[str, str], annotations: dict[str, str]) -> Manifest:
    """Those of the template go over, but for what we or the cluster wrote on it where it was taken from."""
    of_base = base.get("metadata") or {}
    carried = {
        key: value
        for key, value in (of_base.get("annotations") or {}).items()
        if not key.startswith(PREFIX) and key not in (REVISION, LAST_APPLIED)
    }
    return {"name": name, "labels": {**(of_base.get("labels") or {}), **labels}, "annotations": {**carried, **annotations}}


def _config_map_copy(place: Place, version: WantedVersion, base: Manifest) -> Manifest:
    name = _copy_name(place, version, base)
    kept: Manifest = {key: copy.deepcopy(base[key]) for key in ("data", "binaryData") if key in base}
    metadata = _metadata(base, name, owner_labels(place, version.label), {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, **kept}


def _copy_name(place: Place, version: WantedVersion, base: Manifest) -> str:
    """What the version's copy of a ConfigMap is called; one that would be too long is shortened, and still another than any other's."""
    whole = f"{version_name(place.slug, version.label)}-{name_of(base)}"
    return whole if len(whole) <= _NAME_LIMIT else slug(whole, _NAME_LIMIT)


def _configuration(place: Place, version: WantedVersion) -> Manifest:
    metadata = _metadata({}, _configuration_name(place, version), owner_labels(place, version.label), {})
    data = configuration_data(version.configuration)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": data}


def _configuration_name(place: Place, version: WantedVersion) -> str:
    return f"{version_name(place.slug, version.label)}-{CONFIGURATION}"


def _disruption_budget(place: Place, version: WantedVersion, base: Manifest) -> Manifest:
    labels = owner_labels(place, version.label)
    spec = {**copy.deepcopy(base["spec"]), "selector": {"matchLabels": labels}}
    metadata = _metadata(base, f"{version_name(place.slug, version.label)}-{slug(name_of(base), 12)}", labels, {})
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def _autoscaler(place: Place, version: WantedVersion, base: Manifest) -> Manifest:
    name = version_name(place.slug, version.label)
    scaled: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {**copy.deepcopy(base["spec"]), "scaleTargetRef": scaled}
    metadata = _metadata(base, name, owner_labels(place, version.label), {})
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}
