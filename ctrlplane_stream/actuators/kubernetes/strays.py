"""What somebody else did to our objects: differences between what is there and what we recorded beside it. Pure.

An edit is an operator's pause: it is reported, in words that no other edit has, and nothing of the target is written
until it is released or a command goes over it.
"""

from ctrlplane_stream.actuators.kubernetes.objects import ADOPTED_AT, AUTOSCALED, MANAGER, OWNS, REVISION, Manifest, annotation
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.weights import (
    backend_name,
    backends,
    is_named_twice,
    meddled,
    recorded,
    recorded_replicas,
    replicas,
    was_steered,
)

IS_GONE = "is gone"
_AND = " and "
_OURS = frozenset({"f:template", "f:jobTemplate", "f:schedule"})
"""What nobody else may set in the specification of a version."""
_OURS_OF_A_SERVICE = frozenset({"f:selector", "f:ports"})


def strays(sight: Sight) -> dict[str, str]:
    """Object → how it strayed, in as many ways as it did; the same words as long as nobody touches it again. Empty where all is as we left
    it."""
    if sight.memory is None:
        return {}
    found: dict[str, list[str]] = {}
    if sight.routed:
        found |= _of_route(sight)
        found |= {f"Service {name}": _hands("leads elsewhere", each, _OURS_OF_A_SERVICE) for name, each in sorted(sight.services.items())}
    for name, deployment in sorted(sight.workloads.items()):
        adopted = annotation(deployment, ADOPTED_AT) is not None
        found[f"{sight.place.workload.manifest_kind} {name}"] = _of_deployment(deployment, adopted=adopted)
    listed = {version.label for version in sight.listed}
    for label in sight.memory.made:
        if label in listed:
            found |= {name: [IS_GONE] for name in _missed(sight, label)}
    return {name: _AND.join(said) for name, said in found.items() if said}


def ways(said: str) -> list[str]:
    """The ways in which an object strayed, of the words for all of them."""
    return said.split(_AND)


def words(sight: Sight, new: dict[str, str]) -> str:
    """The hand edit as people read it, and by which it is named: who, where known, what, and at which revision."""
    by: dict[str, list[str]] = {}
    for name, what in sorted(new.items()):
        by.setdefault(_who(sight, name), []).append(f"{name} {what}")
    told = "; ".join(f"{who}: {'; '.join(what)}" for who, what in by.items())
    return f"{told} (seen beside memory {sight.revision})"


def _of_route(sight: Sight) -> dict[str, list[str]]:
    rule = sight.place.route
    assert rule is not None
    name = f"{rule.kind} {rule.name}"
    if sight.route is None:
        return {name: [IS_GONE]} if sight.memory is not None and sight.memory.made else {}
    there = backends(sight.route, rule.rule)
    if there is None:
        return {name: [f"has lost its rule {rule.rule}"]} if was_steered(sight) else {}
    shares = " ".join(f"{backend}={weight}" for backend, weight in sorted(there.items())) or "none"
    set_by_us = recorded(sight.route, sight.place.slug)
    if set_by_us is None:
        return {name: [f"has lost our record of rule {rule.rule}, which has weights {shares}"]} if was_steered(sight) else {}
    said = [] if set_by_us.weights == there else [f"rule {rule.rule} has weights {shares}"]
    if is_named_twice(sight.route, rule.rule):
        said.append(f"has a second rule named {rule.rule}, which keeps the weights that it was copied with")
    other = meddled(sight.route, rule.rule, set_by_us)
    return {name: said if other is None else [*said, other]}


def _of_deployment(deployment: Manifest, *, adopted: bool) -> list[str]:
    wanted, there = recorded_replicas(deployment), replicas(deployment)
    said = []
    if wanted is not None and wanted != there and annotation(deployment, AUTOSCALED) is None:
        suspended = "jobTemplate" in deployment["spec"]
        said.append(f"has {there} replicas instead of {wanted}" if not suspended else f"is {'not ' if there else ''}suspended")
    return [*said, *(_rolled_out(deployment) if adopted else _hands("has another template", deployment, _OURS))]


def _rolled_out(deployment: Manifest) -> list[str]:
    """That the owner of an adopted Deployment has it run something else than what was adopted."""
    then, now = annotation(deployment, ADOPTED_AT), annotation(deployment, REVISION)
    if not then or now is None or then == now:
        return []
    return [f"runs revision {now} instead of {then}, which was adopted: its Pods are no longer those that its Service chooses"]


def _missed(sight: Sight, label: str) -> list[str]:
    """What is gone of a version; of one without a Deployment that alone, for the rest goes with it."""
    if sight.serving(label) is None and sight.standing_by(label) is None:
        return [f"{sight.place.workload.manifest_kind} {sight.name(label)}"]
    backend = backend_name(sight, label)
    service = [f"Service {backend}"] if sight.routed and backend not in sight.services else []
    return [*service, *(each for each in _owned(sight, label) if _is_missed(sight, each))]


def objects_of(sight: Sight, label: str) -> frozenset[str]:
    """Everything that was made for a version, by the names by which it strays."""
    own = (f"{sight.place.workload.manifest_kind} {sight.name(label)}", f"Service {backend_name(sight, label)}")
    return frozenset((*own, *_owned(sight, label)))


def _owned(sight: Sight, label: str) -> list[str]:
    """What the version itself says that was made for it; the template may have become another since."""
    serving = sight.serving(label)
    said = None if serving is None else annotation(serving, OWNS)
    return said.split(", ") if said else []


def _is_missed(sight: Sight, owned: str) -> bool:
    kind, _, name = owned.partition(" ")
    return kind in sight.owned and name not in sight.owned[kind]


def _hands(what: str, manifest: Manifest, parts: frozenset[str]) -> list[str]:
    """That others own one of these parts of a specification: what that comes to, with each and since when."""
    entries = [
        entry
        for entry in manifest["metadata"].get("managedFields") or []
        if entry.get("manager") != MANAGER and not parts.isdisjoint((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return [f"{what}, by {entry.get('manager')} at {entry.get('time')}" for entry in entries]


def _who(sight: Sight, name: str) -> str:
    """The field manager that touched a strayed object last, but for us and the cluster's own controllers."""
    rule = sight.place.route
    objects = {f"{sight.place.workload.manifest_kind} {name}": each for name, each in sight.workloads.items()}
    objects |= {f"Service {name}": each for name, each in sight.services.items()}
    if rule is not None and sight.route is not None:
        objects[f"{rule.kind} {rule.name}"] = sight.route
    hands = [
        (str(entry.get("time")), str(entry.get("manager")))
        for entry in (objects[name]["metadata"].get("managedFields") or [] if name in objects else [])
        if entry.get("manager") != MANAGER and (entry.get("subresource") or "") != "status"
    ]
    if not hands:
        return "somebody"
    time, manager = max(hands)
    return f"{manager} at {time}"
