"""Weights by replicas, for consumers and where no gateway is installed: a version's share is its share of the Pods. Pure.

Two Deployments a version: one serves, and Service or queue finds its Pods; the other stands by, unseen by both, and
proves with one Pod that a version without weight would start. Weights move in whole Pods, rounded down for the
candidate: with ``full`` Pods in steps of 100/full percent.
"""

from collections.abc import Mapping

from ctrlplane_stream.actuators.kubernetes.health import ready, settled
from ctrlplane_stream.actuators.kubernetes.objects import Kind, name_of
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Make, Remove, Scale, Step, Steps, remembering
from ctrlplane_stream.actuators.kubernetes.weights import replicas
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.shifting import consumer_shares, reached_weights
from ctrlplane_stream.model.world import Capacity


def shares(sight: Sight, ledger: Ledger) -> dict[str, int]:
    """Serving Pods by label, for the ledger's goal."""
    stable = ledger.wanted.stable if ledger.wanted is not None else None
    return consumer_shares(ledger.goal, stable, sight.full)


def grain(full: int) -> int:
    """The share in whole percent that one of ``full`` Pods stands for, so that there are no more such shares than Pods.

    From 2 on wherever a share of Pods is not exactly a weight in percent: then weights are compared nearly.
    """
    exact = 100 // full
    return exact if exact and 100 // exact == full else max(2, -(-100 // full))


def granularity(sight: Sight, ledger: Ledger) -> str | None:
    """What rounding to whole Pods makes of the goal, in words; None where it is reached exactly."""
    reached = reached_weights(shares(sight, ledger))
    off = [
        f"{label} gets {reached.get(label, 0)}% instead of {goal}%" for label, goal in ledger.goal.items() if reached.get(label, 0) != goal
    ]
    is_job = sight.place.workload is Kind.CRON_JOB
    how = "a job has all of its runs or none" if is_job else f"{sight.full} Pods move weight in steps of {100 / sight.full:g}%"
    return f"{how}: " + ", ".join(off) if off else None


def shared_steps(sight: Sight, ledger: Ledger) -> tuple[Steps, Steps, Steps]:
    """Steps for weight, for more Pods and for fewer; ``ledger`` with the weights in force.

    Pods are added first; once what gains is ready for its share (of stable, one Pod suffices) the new weights are
    remembered, and the other Pods go.
    """
    memory = sight.memory
    assert memory is not None
    goal = shares(sight, ledger)
    share = {label: count for label, count in goal.items() if label in memory.made}
    idle = {v.label for v in sight.listed if v.label in memory.made and share[v.label] == 0 and v.capacity is not Capacity.PARKED}
    more: list[Step] = [Scale(sight.name(label), count) for label, count in share.items() if count > replicas(sight.serving(label))]
    for version in sight.listed:
        standby = sight.standing_by(version.label)
        if version.label in idle and version.label not in memory.adopted and standby is None:
            more.append(Make(version, standby=True))
        elif version.label in idle and standby is not None and replicas(standby) == 0:
            more.append(Scale(name_of(standby), 1))
    if not _has_arrived(sight, ledger, goal):
        return (), tuple(more), ()
    reached = reached_weights(goal)
    less: list[Step] = [Scale(sight.name(label), count) for label, count in share.items() if count < replicas(sight.serving(label))]
    spare = [standby for v in sight.listed if v.label not in idle and (standby := sight.standing_by(v.label)) is not None]
    return remembering(memory, reached), tuple(more), (*less, *(Remove(name_of(standby)) for standby in spare))


def _has_arrived(sight: Sight, ledger: Ledger, share: Mapping[str, int]) -> bool:
    stable = ledger.wanted.stable if ledger.wanted is not None else None
    # Before weight moves the latest scale must have been seen; once it moved only what is too much is left, which need not wait for that.
    count_of = ready if ledger.weights == reached_weights(share) else settled
    needed = {label: min(1, count) if label == stable else count for label, count in share.items()}
    return all(not count or count_of(sight.serving(label)) >= count for label, count in needed.items())
