"""The weights in force, read from what steers traffic: a route's rule, or replicas. Pure.

What we set is recorded as an annotation of the same object in the same patch, so that a difference between the two is
somebody else's doing and never half of our own.
"""

import msgspec

from ctrlplane_stream.actuators.kubernetes.names import version_name
from ctrlplane_stream.actuators.kubernetes.objects import PREFIX, REPLICAS, Manifest, annotation
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.shifting import reached_weights

_OF_A_REFERENCE = frozenset({"group", "kind", "name", "port", "weight"})
"""What we set of a backend, and what the API server fills in."""


class Recorded(msgspec.Struct, frozen=True):
    """What we set last: weights and ports by name of backend, and the memory's revision by which we did. ``port`` is of all that
    ``ports`` does not have, as an earlier build wrote it."""

    weights: dict[str, int]
    stamp: str
    port: int | None = None
    ports: dict[str, int] = {}


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
    """What somebody made of the rule's backends besides their weights, where we never set such a thing; or None."""
    index = rule_index(route, rule)
    references = [] if index is None else route["spec"]["rules"][index].get("backendRefs") or []
    for each in references:
        others = sorted(set(each) - _OF_A_REFERENCE)
        if others or each.get("group") or each.get("kind", "Service") != "Service":
            return f"backend {each['name']} of rule {rule} has {', '.join(others) or 'another kind'}"
        port = ours.ports.get(str(each["name"]), ours.port)
        if port is not None and each.get("port") != port:
            return f"backend {each['name']} of rule {rule} has port {each.get('port')} instead of {port}"
    return f"rule {rule} has a backend twice" if len(references) > len(ours.weights) else None


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
        return None if text is None else msgspec.json.decode(text, type=Recorded)
    except msgspec.DecodeError:
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
