"""A target that changes in place: never more Pods than it has, one exchanged at a time, for what cannot run side by side. Pure.

With some room (``surplus_percent``) a portion of so many Pods is ready before as many leave.

Each version still has its Deployment; their replicas together are ``full``. A Pod that leaves is drained by its own
termination, and nothing follows before it is gone. Weight is the share of the ready Pods: behind one Service by itself, with a route
because its rule is given these weights, without a Pod's share before that Pod goes.
"""

import msgspec

from ctrlplane_stream.actuators.in_place import next_sizes, reached, shares, surplus
from ctrlplane_stream.actuators.kubernetes.by_route import steered
from ctrlplane_stream.actuators.kubernetes.health import ready, ready_pods
from ctrlplane_stream.actuators.kubernetes.objects import Manifest, name_of
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Remove, Scale, Steps, remembering
from ctrlplane_stream.actuators.kubernetes.weights import replicas
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.world import TargetWanted


def exchange_steps(sight: Sight, ledger: Ledger, wanted: TargetWanted) -> tuple[Steps, Steps, Steps]:
    """Steps for weight, for one more Pod and for one fewer, of which there is one at a time; ``ledger`` with the weights in force."""
    memory = sight.memory
    assert memory is not None
    goal = shares(ledger.goal, wanted, sight.full)
    if any(count and label not in memory.made for label, count in goal.items()):
        return (), (), ()
    counted = {version.label: _counted(sight.serving(version.label)) for version in sight.listed}
    sizes = next_sizes(goal, counted, leaving=_leaves(sight) or _lags(sight), surplus=surplus(wanted, sight.full))
    before = {label: ledger.weights.get(label, 0) for label in goal}
    more = tuple(Scale(sight.name(label), size) for label, size in sizes.items() if size > replicas(sight.serving(label)))
    less = tuple(Scale(sight.name(label), size) for label, size in sizes.items() if size < replicas(sight.serving(label)))
    if sight.routed:
        staying = {label: _at_most(count, sizes[label]) for label, count in counted.items()}
        weights, whole = (reached(each, wanted.stable, before, ledger.goal) for each in (staying, _whole(goal)))
        weights = _towards(whole, before, weights, wanted.stable)
        return steered(sight, msgspec.structs.replace(ledger, weights=weights)), more, less
    standing_by = tuple(each for version in sight.listed if (each := sight.standing_by(version.label)) is not None)
    moved = remembering(memory, reached(counted, wanted.stable, before, ledger.goal))
    return moved, more, (*less, *(Remove(name_of(each)) for each in standing_by))


def _towards(goal: dict[str, int], before: dict[str, int], now: dict[str, int], stable: str | None) -> dict[str, int]:
    """Weights by a route, none of which moves away from its goal: what lost readiness keeps what it has until the engine has judged that,
    and on the way back nothing but stable gains (invariant 3)."""
    if not any(before.values()) or not any(now.values()):
        return now
    rest = stable if stable in now else max(now, key=lambda label: (goal.get(label, 0), label))
    others = {label: sorted((before.get(label, 0), weight, goal.get(label, 0)))[1] for label, weight in now.items() if label != rest}
    return {**others, rest: 100 - sum(others.values())}


def _at_most(count: Counted, size: int) -> Counted:
    return Counted(min(count.instances, size), min(count.ready, size))


def _whole(sizes: dict[str, int]) -> dict[str, Counted]:
    return {label: Counted(size, size) for label, size in sizes.items()}


def _counted(deployment: Manifest | None) -> Counted:
    wanted = replicas(deployment)
    return Counted(wanted, min(wanted, ready(deployment)))


def _leaves(sight: Sight) -> bool:
    """Whether a Pod is on its way out, or is to be and nobody has told it yet: there are more than there should be.

    Pods are counted as they are listed, for a list that is older than the Deployments then errs on the side of waiting. An
    adopted Deployment's have no label of ours; of them its status tells.
    """
    there = [pod for pod in sight.pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    return len(there) > sum(map(replicas, sight.workloads.values())) or any(map(_has_too_many, sight.workloads.values()))


def _has_too_many(deployment: Manifest) -> bool:
    status = deployment.get("status") or {}
    return int(status.get("replicas") or 0) + int(status.get("terminatingReplicas") or 0) > replicas(deployment)


def _lags(sight: Sight) -> bool:
    """Whether the status of a Deployment does not tell yet of a Pod that is ready: what has to go may look as though it were not whole, and
    of those one that serves would go before another is ready."""
    return any(ready_pods(sight, version.label) > ready(sight.serving(version.label)) for version in sight.listed)
