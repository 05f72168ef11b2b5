"""What somebody else did to our objects: differences between what is there and what we recorded beside it. Pure.

An edit is an operator's pause: it is reported, in words that no other edit has, and nothing of the target is written
until it is released or a command goes over it.
"""

from ctrlplane_stream.actuators.kubernetes.adoption import is_rolled_out
from ctrlplane_stream.actuators.kubernetes.objects import ADOPTED_AT, AUTOSCALED, LABEL, MANAGER, OWNS, REVISION, Kind, Manifest, annotation
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
IS_UNMARKED = "is gone or has lost our labels"
"""Of what was adopted, which only these labels show us: who replaces it with his own manifest takes them off."""
_AND = " and "
_BY_NUMBER = frozenset({"f:replicas", "f:suspend"})
"""What is held against what we recorded, and not against who set it: autoscalers set it too."""
_WHAT_IT_IS = frozenset({"f:template", "f:jobTemplate", "f:schedule"})
_WHERE_IT_LEADS = frozenset({"f:selector", "f:ports"})


def strays(sight: Sight) -> dict[str, str]:
    """Object → how it strayed, in as many ways as it did; the same words as long as nobody touches it again. Empty where all is as we left
    it."""
    if sight.memory is None:
        return {}
    found: dict[str, list[str]] = {}
    if sight.routed:
        found |= _of_route(sight)
        left = {backend_name(sight, label) for label in sight.memory.replaced}
        found |= {f"Service {name}": _hands(each) for name, each in sorted(sight.services.items()) if name not in left}
    found |= {f"{kind} {name}": _hands(each) for kind, owned in sight.owned.items() for name, each in sorted(owned.items())}
    for name, deployment in sorted(sight.workloads.items()):
        if name in sight.memory.replaced.values():
            continue  # it is to go, whatever its owner makes of it until then
        found[f"{sight.place.workload.manifest_kind} {name}"] = _of_deployment(sight, deployment)
    listed = {version.label for version in sight.listed}
    for label in sight.memory.made:
        if label in listed:
            adopted = f"{sight.place.workload.manifest_kind} {sight.memory.adopted.get(label)}"
            found |= {name: [IS_UNMARKED if name == adopted else IS_GONE] for name in _missed(sight, label)}
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


def _of_deployment(sight: Sight, deployment: Manifest) -> list[str]:
    said = []
    if _is_rescaled(sight, deployment):
        there = replicas(deployment)
        suspended = "jobTemplate" in deployment["spec"]
        number = f"has {there} replicas instead of {recorded_replicas(deployment)}"
        said.append(number if not suspended else f"is {'not ' if there else ''}suspended")
    if annotation(deployment, LABEL) is None:
        said.append("has lost our annotations")
    adopted = annotation(deployment, ADOPTED_AT) is not None
    return [*said, *(_rolled_out(deployment) if adopted else _hands(deployment))]


def _is_rescaled(sight: Sight, deployment: Manifest) -> bool:
    """Whether it has other replicas than we set, by nobody who may.

    An autoscaler, or the owner of what was adopted, may above 0; no autoscaler goes to 0, or up from there. And where weights are
    shares of Pods their number is a weight, whoever owns them.
    """
    set_by_us, there = recorded_replicas(deployment), replicas(deployment)
    wanted = sight.memory.ledger.wanted if sight.memory is not None else None
    by_route = sight.routed and not (wanted is not None and wanted.in_place)
    is_free = by_route and annotation(deployment, AUTOSCALED) is not None
    return set_by_us is not None and set_by_us != there and not (is_free and set_by_us and there)


def _rolled_out(deployment: Manifest) -> list[str]:
    """That the owner of an adopted Deployment has it run something else than what was adopted."""
    if not is_rolled_out(deployment):
        return []
    then, now = annotation(deployment, ADOPTED_AT), annotation(deployment, REVISION)
    return [f"runs revision {now} instead of {then}, which was adopted: its Service chooses the Pods of the latter"]


def _missed(sight: Sight, label: str) -> list[str]:
    """What is gone of a version; of one without a Deployment that alone, for the rest goes with it."""
    if sight.serving(label) is None and sight.standing_by(label) is None:
        return [f"{sight.place.workload.manifest_kind} {sight.name(label)}"]
    backend = backend_name(sight, label)
    replaced = sight.memory is not None and label in sight.memory.replaced
    service = [f"Service {backend}"] if sight.routed and backend not in sight.services and not replaced else []
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


def _hands(manifest: Manifest) -> list[str]:
    """That others set something in its specification: what that comes to, with each and since when."""
    set_by = [(_fields(entry) - _BY_NUMBER, entry) for entry in _others(manifest)]
    return [f"{_comes_to(fields)}, by {_signed(entry)}" for fields, entry in set_by if fields]


def _comes_to(fields: frozenset[str]) -> str:
    if not fields.isdisjoint(_WHAT_IT_IS):
        return "has another template"
    if not fields.isdisjoint(_WHERE_IT_LEADS):
        return "leads elsewhere"
    return f"has another {', '.join(sorted(field.removeprefix('f:') for field in fields))}"


def _who(sight: Sight, name: str) -> str:
    """The field manager that touched a strayed object last; of other replicas whoever set them. Of ``kubectl scale`` the API server keeps
    no time, and to 0 not who it was."""
    kind, _, of = name.partition(" ")
    workload = sight.place.workload.manifest_kind
    there = {**sight.owned, workload: sight.workloads, Kind.SERVICE.manifest_kind: sight.services}
    if sight.place.route is not None and sight.route is not None:
        there[sight.place.route.kind] = {sight.place.route.name: sight.route}
    found = there.get(kind, {}).get(of)
    hands = _others(found) if found is not None else []
    if kind == workload and found is not None and _is_rescaled(sight, found):
        hands = [each for each in hands if not _BY_NUMBER.isdisjoint(_fields(each))]
    return _signed(max(hands, key=lambda each: (str(each.get("time") or ""), str(each.get("manager"))))) if hands else "somebody"


def _others(manifest: Manifest) -> list[Manifest]:
    """What the API server keeps of those who set something of an object, but for us and for what controllers tell of it."""
    entries = manifest["metadata"].get("managedFields") or []
    return [each for each in entries if each.get("manager") != MANAGER and each.get("subresource") != "status"]


def _fields(entry: Manifest) -> frozenset[str]:
    """What somebody set in the specification."""
    return frozenset((entry.get("fieldsV1") or {}).get("f:spec") or {})


def _signed(entry: Manifest) -> str:
    time = entry.get("time")
    return f"{entry.get('manager')} at {time}" if time else str(entry.get("manager"))
