"""Weights by a route: which backends the rule is to have, and how many Pods stand behind each. Pure."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.autoscaling import floors, raises
from ctrlplane_stream.actuators.kubernetes.health import carrying
from ctrlplane_stream.actuators.kubernetes.objects import AUTOSCALED, annotation
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Scale, Steer, Step, Steps
from ctrlplane_stream.actuators.kubernetes.weights import backend_name, backends, recorded, replicas
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.shifting import instances_wanted, move
from ctrlplane_stream.model.world import Capacity


def routed_steps(sight: Sight, ledger: Ledger) -> tuple[Steps, Steps, Steps]:
    """Steps for weight, for more Pods and for fewer; ``ledger`` with the weights in force."""
    whole = sight.memory.made if sight.memory is not None else ()
    stable = ledger.wanted.stable if ledger.wanted is not None else None
    behind = {label: carrying(sight, label) for label in (*whole, *([stable] if stable is not None else []))}  # even what lacks a ConfigMap
    by_hand = ledger.edited is not None or ledger.broken_glass is not None
    moved = msgspec.structs.replace(ledger, weights=ledger.goal) if by_hand else move(ledger, behind, sight.full)
    wanted = instances_wanted(ledger, sight.full)
    bounds = floors(sight, {label: wanted.get(label, 0) for label in whole})
    more: list[Step] = [floor for floor in bounds if raises(sight, floor)]
    less: list[Step] = [floor for floor in bounds if not raises(sight, floor)]
    for label in whole:
        here, there = replicas(sight.serving(label)), wanted.get(label, 0)
        if _is_left_alone(sight, label, here, there):
            continue
        if there > here:
            more.append(Scale(sight.name(label), there))
        elif there < here:
            less.append(Scale(sight.name(label), there))
    return steered(sight, moved), tuple(more), tuple(less)


def steered(sight: Sight, ledger: Ledger) -> Steps:
    """The rule with the versions that may take traffic, parked ones left out; no step where it is so already.

    What has weight stays in it, even where its objects were taken away: left out, it would leave its share to the others.

    Nor where none of them takes any and the rule was never ours: until then what was there before us serves.
    """
    rule = sight.place.route
    assert rule is not None
    if sight.route is None or sight.memory is None or not ledger.weights:
        return ()
    made = {v.label for v in sight.listed if v.label in sight.memory.made and v.capacity is not Capacity.PARKED}
    kept = [v.label for v in sight.listed if v.label in made or ledger.weights.get(v.label)]
    weights = {backend_name(sight, label): ledger.weights.get(label, 0) for label in kept}
    last = recorded(sight.route, sight.place.slug)
    if last is None and not any(weights.values()):
        return ()
    in_place = last is not None and last.stamp == sight.revision and last.weights == weights
    return () if in_place and backends(sight.route, rule.rule) == weights else (Steer(weights),)


def _is_left_alone(sight: Sight, label: str, here: int, there: int) -> bool:
    """Whether the replicas above 0 are somebody else's business.

    Where an autoscaler of ours cares for them it is only gone ahead of, to what it must keep anyhow: it looks every 15 s, too
    late for a weight that moves now.
    """
    deployment = sight.serving(label)
    if deployment is None or annotation(deployment, AUTOSCALED) is None or here == 0 or there == 0:
        return False
    autoscaler = sight.autoscalers.get(sight.name(label))
    return autoscaler is None or there < here or there > int(autoscaler["spec"].get("minReplicas", 1))
