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
_OURS = frozenset({"f:template", "f:jobTemplate", "f:schedule"})
"""What nobody else may set in the specification of a version."""
_OURS_OF_A_SERVICE = frozenset({"f:selector", "f:ports"})


def strays(sight: Sight) -> dict[str, str]:
    """Object → how it strayed; the same words as long as nobody touches it again. Empty where all is as we left it."""
    found: dict[str, str] = {}
    if sight.memory is None:
        return found
    if sight.routed:
        found |= _of_route(sight)
        found |= {f"Service {name}": said for name, each in sorted(sight.services.items()) if (said := _of_service(each)) is not None}
    for name, deployment in sorted(sight.workloads.items()):
        said = _of_deployment(deployment, adopted=annotation(deployment, ADOPTED_AT) is not None)
        if said is not None:
            found[f"{sight.place.workload.manifest_kind} {name}"] = said
    listed = {version.label for version in sight.listed}
    for label in sight.memory.made:
        if label in listed:
            found |= _of_version(sight, label)
    return found


def words(sight: Sight, new: dict[str, str]) -> str:
    """The hand edit as people read it, and by which it is named: who, where known, what, and at which revision."""
    who = _who(sight, new)
    return f"{who}: " + "; ".join(f"{name} {what}" for name, what in sorted(new.items())) + f" (seen beside memory {sight.revision})"


def _of_route(sight: Sight) -> dict[str, str]:
    rule = sight.place.route
    assert rule is not None
    name = f"{rule.kind} {rule.name}"
    if sight.route is None:
        return {name: IS_GONE} if sight.memory is not None and sight.memory.made else {}
    there = backends(sight.route, rule.rule)
    if there is None:
        return {name: f"has lost its rule {rule.rule}"} if was_steered(sight) else {}
    shares = " ".join(f"{backend}={weight}" for backend, weight in sorted(there.items())) or "none"
    set_by_us = recorded(sight.route, sight.place.slug)
    if set_by_us is None:
        return {name: f"has lost our record of rule {rule.rule}, which has weights {shares}"} if was_steered(sight) else {}
    if is_named_twice(sight.route, rule.rule):
        return {name: f"has a second rule named {rule.rule}, which keeps the weights that it was copied with"}
    if set_by_us.weights == there:
        said = meddled(sight.route, rule.rule, set_by_us)
        return {} if said is None else {name: said}
    return {name: f"rule {rule.rule} has weights {shares}"}


def _of_deployment(deployment: Manifest, *, adopted: bool) -> str | None:
    wanted, there = recorded_replicas(deployment), replicas(deployment)
    if wanted is not None and wanted != there and annotation(deployment, AUTOSCALED) is None:
        suspended = "jobTemplate" in deployment["spec"]
        return f"has {there} replicas instead of {wanted}" if not suspended else f"is {'not ' if there else ''}suspended"
    if adopted:
        return _rolled_out(deployment)
    hand = _template_touched(deployment)
    return None if hand is None else f"has another template, by {hand}"


def _rolled_out(deployment: Manifest) -> str | None:
    """That the owner of an adopted Deployment has it run something else than what was adopted, or None."""
    then, now = annotation(deployment, ADOPTED_AT), annotation(deployment, REVISION)
    if not then or now is None or then == now:
        return None
    return f"runs revision {now} instead of {then}, which was adopted: its Pods are no longer those that its Service chooses"


def _of_version(sight: Sight, label: str) -> dict[str, str]:
    if sight.serving(label) is None and sight.standing_by(label) is None:
        return {f"{sight.place.workload.manifest_kind} {sight.name(label)}": IS_GONE}
    if sight.routed and backend_name(sight, label) not in sight.services:
        return {f"Service {backend_name(sight, label)}": IS_GONE}
    return {each: IS_GONE for each in _owned(sight, label) if _is_missed(sight, each)}


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


def _of_service(service: Manifest) -> str | None:
    """That somebody else had a hand in where a version's Service leads, or None."""
    hand = _touched(service, _OURS_OF_A_SERVICE)
    return None if hand is None else f"leads elsewhere, by {hand}"


def _template_touched(deployment: Manifest) -> str | None:
    """Who besides us owns a field of the template of Pods or Jobs, or the schedule of those, and since when."""
    return _touched(deployment, _OURS)


def _touched(manifest: Manifest, parts: frozenset[str]) -> str | None:
    """Who besides us owns one of these parts of a specification, and since when."""
    for entry in manifest["metadata"].get("managedFields") or []:
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if entry.get("manager") != MANAGER and not parts.isdisjoint(fields):
            return f"{entry.get('manager')} at {entry.get('time')}"
    return None


def _who(sight: Sight, new: dict[str, str]) -> str:
    """The field manager that touched one of the strayed objects last, but for us and the cluster's own controllers."""
    rule = sight.place.route
    objects = {f"{sight.place.workload.manifest_kind} {name}": each for name, each in sight.workloads.items()}
    objects |= {f"Service {name}": each for name, each in sight.services.items()}
    if rule is not None and sight.route is not None:
        objects[f"{rule.kind} {rule.name}"] = sight.route
    hands = [
        (str(entry.get("time")), str(entry.get("manager")))
        for name in new
        if name in objects
        for entry in objects[name]["metadata"].get("managedFields") or []
        if entry.get("manager") != MANAGER and (entry.get("subresource") or "") != "status"
    ]
    if not hands:
        return "somebody"
    time, manager = max(hands)
    return f"{manager} at {time}"
