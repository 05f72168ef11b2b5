"""A rollout beside autoscalers: how many Pods carry the traffic now, and what an autoscaler must not go below. Pure.

Every version has an autoscaler of its own, which follows load. Load says nothing while weights move: stable would lose
its Pods as it loses traffic, and be too small for an abort (invariant 2); a candidate would get its Pods after its
traffic (invariant 1). So while more than one version is kept running, each autoscaler's minimum is what its version
needs, and otherwise the template's. A minimum that somebody else set is left alone.
"""

from collections.abc import Sequence

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import AUTOSCALED, FLOOR, Manifest, annotation
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Floor
from ctrlplane_stream.actuators.kubernetes.weights import in_force, replicas
from ctrlplane_stream.model.world import Capacity


def grown(sight: Sight, place: Place, made: Sequence[Place]) -> Place:
    """``place`` with ``full`` as many Pods as an autoscaler found to carry all the traffic, where that is more than it names.

    Counted while one version has all the weight; on the way from one to another what was counted last holds. Never more
    than the autoscalers allow of the versions that run, ``made`` as these places say.
    """
    weights = {label: weight for label, weight in in_force(sight).items() if weight}
    serving = sight.serving(next(iter(weights), ""))
    if len(weights) > 1:
        counted = sight.place.full or 0
    else:
        counted = replicas(serving) if serving is not None and annotation(serving, AUTOSCALED) is not None else 0
    limits = [int(each.autoscaler["spec"]["maxReplicas"]) for each in made if each.autoscaler is not None]
    most = max(limits) if limits and len(limits) == len(made) else None
    full = max(place.full or 1, counted)
    return msgspec.structs.replace(place, full=full if most is None else min(most, full))


def floors(sight: Sight, wanted: dict[str, int]) -> tuple[Floor, ...]:
    """Minimums that differ from what they should be; ``wanted`` are the Pods that each version needs, by label."""
    running = [version.label for version in sight.listed if version.capacity is not Capacity.PARKED]
    found = []
    for label, count in wanted.items():
        autoscaler = sight.autoscalers.get(sight.name(label))
        template = sight.place_of(label).autoscaler
        if autoscaler is None or template is None or _is_somebody_elses(autoscaler, template):
            continue
        base, most = _minimum(template), int(autoscaler["spec"]["maxReplicas"])
        floor = min(most, max(base, count)) if len(running) > 1 and label in running else base
        if floor != _minimum(autoscaler):
            found.append(Floor(sight.name(label), floor))
    return tuple(found)


def raises(sight: Sight, floor: Floor) -> bool:
    """Whether the step makes the autoscaler keep more Pods than it does."""
    return floor.replicas > _minimum(sight.autoscalers[floor.autoscaler])


def _minimum(autoscaler: Manifest) -> int:
    return int(autoscaler["spec"].get("minReplicas", 1))


def _is_somebody_elses(autoscaler: Manifest, template: Manifest) -> bool:
    set_by_us = annotation(autoscaler, FLOOR)
    return _minimum(autoscaler) != (int(set_by_us) if set_by_us is not None and set_by_us.isdecimal() else _minimum(template))
