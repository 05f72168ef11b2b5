"""The weights in force, read from what steers traffic: a route's rule, or replicas. Pure.

What we set is recorded as an annotation of the same object in the same patch, so that a difference between the two is
somebody else's doing and never half of our own.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from ctrlplane_stream.actuators.kubernetes.manifests import STANDBY
from ctrlplane_stream.actuators.kubernetes.names import version_name, version_slug
from ctrlplane_stream.actuators.kubernetes.objects import PREFIX, REPLICAS, ROLE, VERSION, Manifest, annotation, label
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.shifting import consumer_shares, reached_weights
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_OF_A_REFERENCE = frozenset({"group", "kind", "namespace", "name", "port", "weight"})
"""Where a backend is and what it gets: that of ours is ours to say, and not what one before us had."""


class Recorded(msgspec.Struct, frozen=True):
    """What we set last: weights and ports by name of backend, and the memory's revision by which we did. ``port`` is of all that
    ``ports`` does not have, as an earlier build wrote it.

    ``more`` is what each of them has besides (``filters``): what the backend had that was there before us.
    """

    weights: dict[str, int]
    stamp: str
    port: int | None = None
    ports: dict[str, int] = {}
    more: dict[str, Any] = {}


def record_key(slug: str) -> str:
    """The annotation of a route that holds the record of a service: one route may serve several."""
    return f"{PREFIX}{slug}"


def rule_index(route: Manifest, rule: str) -> int | None:
    """Where the named rule stands in the route, or None where there is none of that name."""
    rules = (route.get("spec") or {}).get("rules") or []
    return next((index for index, each in enumerate(rules) if each.get("name") == rule), None)


def is_named_twice(route: Manifest, rule: str) -> bool:
    """Whether more than one rule has that name: Gateway API forbids it, and no API server minds."""
    return [each.get("name") for each in (route.get("spec") or {}).get("rules") or []].count(rule) > 1


def backends(route: Manifest, rule: str) -> dict[str, int] | None:
    """Weights by name of backend as they are in the rule (the API's default is 1), or None where there is no such rule."""
    index = rule_index(route, rule)
    if index is None:
        return None
    return {str(each["name"]): int(each.get("weight", 1)) for each in route["spec"]["rules"][index].get("backendRefs") or []}


def meddled(route: Manifest, rule: str, ours: Recorded) -> str | None:
    """What somebody made of our backends in the rule besides their weights, where we set no such thing; or None."""
    references = [each for each in _references(route, rule) if each["name"] in ours.weights]
    for each in references:
        said = _otherwise(each, ours.more, route["metadata"].get("namespace"))
        if said is not None:
            return f"backend {each['name']} of rule {rule} {said}"
        port = ours.ports.get(str(each["name"]), ours.port)
        if port is not None and each.get("port") != port:
            return f"backend {each['name']} of rule {rule} has port {each.get('port')} instead of {port}"
    return f"rule {rule} has a backend twice" if len(references) > len({each["name"] for each in references}) else None


def _otherwise(reference: Manifest, more: dict[str, Any], namespace: str | None) -> str | None:
    """What a backend of a route in ``namespace`` has otherwise than ``more`` says, in words; or None."""
    there = _more(reference)
    added, lost = sorted(set(there) - set(more)), sorted(set(more) - set(there))
    if added or lost:
        return f"has {', '.join(added)}" if added else f"has lost its {', '.join(lost)}"
    if reference.get("group") or reference.get("kind", "Service") != "Service":
        return "has another kind"
    if reference.get("namespace") not in (None, namespace):
        return f"is of namespace {reference['namespace']}"
    other = sorted(key for key in more if there[key] != more[key])
    return f"has other {', '.join(other)}" if other else None


def serving(route: Manifest, rule: str) -> tuple[str, ...]:
    """The names of the rule's backends that have weight, in their order."""
    return tuple(str(each["name"]) for each in _references(route, rule) if each.get("weight", 1))


def carried(route: Manifest, rule: str) -> dict[str, Any]:
    """What the rule's backends with weight have besides weight and address (``filters``), where it is the same of all; else nothing."""
    found = [_more(each) for each in _references(route, rule) if each.get("weight", 1)]
    return found[0] if found and all(each == found[0] for each in found) else {}


def _more(reference: Manifest) -> dict[str, Any]:
    return {key: value for key, value in reference.items() if key not in _OF_A_REFERENCE}


def _references(route: Manifest, rule: str) -> list[Manifest]:
    index = rule_index(route, rule)
    found: list[Manifest] = [] if index is None else route["spec"]["rules"][index].get("backendRefs") or []
    return found


def was_steered(sight: Sight) -> bool:
    """Whether the rule has our weights, or had them when a command was last taken."""
    if sight.place.route is None or sight.memory is None:
        return False
    there = sight.route is not None and recorded(sight.route, sight.place.slug) is not None
    return there or sight.memory.steered == sight.place.route


def recorded(route: Manifest, slug: str) -> Recorded | None:
    """What we set last, or None where we never did (or somebody took the record away)."""
    text = annotation(route, record_key(slug))
    try:
        return None if text is None else read_json(text, Recorded)
    except WrongJson:
        return None


def replicas(deployment: Manifest | None) -> int:
    """The replicas that a Deployment is to have; 0 where there is none. Of a CronJob 1 where it is not suspended."""
    if deployment is None:
        return 0
    if "jobTemplate" in deployment["spec"]:
        return 0 if deployment["spec"].get("suspend") else 1
    return int(deployment["spec"].get("replicas", 1))


def recorded_replicas(deployment: Manifest) -> int | None:
    """The replicas that we set last, or None where we never did."""
    text = annotation(deployment, REPLICAS)
    return int(text) if text is not None and text.isdecimal() else None


def in_force(sight: Sight) -> dict[str, int]:
    """Weights in percent by label, summing to 100 or to 0, of every version that is listed or has weight.

    Of a route, what its rule says now. By replicas, what they last amounted to when all that gained was ready.
    """
    listed = {version.label for version in sight.listed}
    if sight.routed:
        raw = reached_weights({label: _of_backend(sight, label) for label in sight.labels()})
    else:
        remembered = sight.memory.ledger.weights if sight.memory is not None else {}
        raw = {label: remembered.get(label, 0) for label in sight.labels()}
    return {label: weight for label, weight in raw.items() if weight or label in listed}


def as_seen(sight: Sight) -> dict[str, int]:
    """The weights in force as people are told: by shares of Pods those that were given away are still there while their Pods are.

    What a Deployment is to have by now says nothing of that: its controller may be dead, or the node of its Pods cut off.
    """
    remaining = too_many(sight)
    if not remaining:
        return in_force(sight)
    return reached_weights({**{label: _at_work(sight, label, leaving=False) for label in sight.labels()}, **remaining})


def too_many(sight: Sight) -> dict[str, int]:
    """Pods at work by label of each version, by shares of Pods, that has more than are left of a weight which others were given already."""
    if not by_shares(sight):
        return {}
    share = pod_shares(sight)
    if not is_given(sight, share):
        return {}
    there = {label: _at_work(sight, label, leaving=not count) for label, count in share.items()}
    return {label: count for label, count in there.items() if count > share[label]}


def by_shares(sight: Sight) -> bool:
    """Whether weights are shares of Pods of versions that run side by side."""
    wanted = sight.memory.ledger.wanted if sight.memory is not None else None
    return wanted is not None and not sight.routed and not wanted.in_place and wanted.kind is not ServiceKind.JOB


def _at_work(sight: Sight, version: str, *, leaving: bool) -> int:
    """Ready Pods of a version's serving Deployment by its status and as they are listed, whichever are more.

    ``leaving``: those on their way out too, for they may work until they are gone. Where some stay they are not told from those of a node
    that is being emptied, which are no weight that was given away.
    """
    status = (sight.serving(version) or {}).get("status") or {}
    told = int(status.get("readyReplicas") or 0)
    if leaving and sight.memory is not None and version in sight.memory.adopted:
        told += int(status.get("terminatingReplicas") or 0)  # its Pods have no label of ours
    return max(told, sum(1 for pod in sight.pods if _works(pod, version_slug(version), leaving=leaving)))


def _works(pod: Manifest, version: str, *, leaving: bool) -> bool:
    """Whether a Pod of the version works, by the last word of its kubelet: of a node that is cut off others make each Pod unready, and
    leave its containers as they were."""
    if label(pod, VERSION) != version or label(pod, ROLE) == STANDBY or (pod["metadata"].get("deletionTimestamp") and not leaving):
        return False
    status = pod.get("status") or {}
    ready = {each["type"] for each in status.get("conditions") or [] if each["status"] == "True"}
    return status.get("phase") not in ("Succeeded", "Failed") and not ready.isdisjoint(("Ready", "ContainersReady"))


def pod_shares(sight: Sight) -> dict[str, int]:
    """Serving Pods by label, for the weights that are to be reached by shares of Pods."""
    ledger = sight.memory.ledger if sight.memory is not None else Ledger()
    return consumer_shares(ledger.goal, ledger.wanted.stable if ledger.wanted is not None else None, sight.full)


def is_given(sight: Sight, share: Mapping[str, int]) -> bool:
    """Whether the weights that these shares of Pods amount to are remembered as in force."""
    remembered = sight.memory.ledger.weights if sight.memory is not None else {}
    return all(remembered.get(label, 0) == weight for label, weight in reached_weights(share).items())


def by_replicas(sight: Sight) -> dict[str, int]:
    """Weights in percent by label that the replicas amount to as they are, whoever set them."""
    return reached_weights({label: replicas(sight.serving(label)) for label in sight.labels()})


def _of_backend(sight: Sight, label: str) -> int:
    rule = sight.place.route
    if sight.route is None or rule is None or not was_steered(sight):
        return 0
    return (backends(sight.route, rule.rule) or {}).get(backend_name(sight, label), 0)


def backend_name(sight: Sight, label: str) -> str:
    """The name of the Service by which the route reaches a version, also of an adopted one."""
    return version_name(sight.place.slug, label)
