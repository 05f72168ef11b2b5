"""Weights by replicas, for consumers and where no gateway is installed: a version's share is its share of the Pods. Pure.

Two Deployments a version: one serves, and Service or queue finds its Pods; the other stands by, unseen by both, and
proves with one Pod that a version without weight would start. Weights move in whole Pods, rounded down for the
candidate: with ``full`` Pods in steps of 100/full percent.
"""

from collections.abc import Collection, Mapping

from ctrlplane_stream.actuators.kubernetes.chosen import is_exposed
from ctrlplane_stream.actuators.kubernetes.health import ready, settled
from ctrlplane_stream.actuators.kubernetes.objects import Kind, name_of
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Make, Remove, Scale, Step, Steps, remembering
from ctrlplane_stream.actuators.kubernetes.weights import is_given, pod_shares, replicas
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.shifting import reached_weights
from ctrlplane_stream.model.world import Capacity


def grain(full: int) -> int:
    """The share in whole percent that one of ``full`` Pods stands for, so that there are no more such shares than Pods.

    From 2 on wherever a share of Pods is not exactly a weight in percent: then weights are compared nearly.
    """
    exact = 100 // full
    return exact if exact and 100 // exact == full else max(2, -(-100 // full))


def granularity(sight: Sight, ledger: Ledger) -> str | None:
    """What rounding to whole Pods makes of the goal, in words; None where it is reached exactly."""
    reached = reached_weights(pod_shares(sight))
    off = [
        f"{label} gets {reached.get(label, 0)}% instead of {goal}%" for label, goal in ledger.goal.items() if reached.get(label, 0) != goal
    ]
    is_job = sight.place.workload is Kind.CRON_JOB
    how = "a job has all of its runs or none" if is_job else f"{sight.full} Pods move weight in steps of {100 / sight.full:g}%"
    return f"{how}: " + ", ".join(off) if off else None


def shared_steps(sight: Sight) -> tuple[Steps, Steps, Steps]:
    """Steps for weight, for more Pods and for fewer.

    Pods are added first; once what gains is ready for its share (of stable, one Pod suffices) the new weights are
    remembered, and the other Pods go. What stands by is made last of all, for nothing but a look depends on it: a server that will not
    have it must not keep a candidate in traffic. It goes as soon as its version is to serve, for that may need the room; and where the
    shared Service has come to choose it, to be made anew, hidden from that.
    """
    memory = sight.memory
    assert memory is not None
    goal = pod_shares(sight)
    more = tuple(Scale(sight.name(of), n) for of, n in goal.items() if of in memory.made and n > replicas(sight.serving(of)))
    less = tuple(Scale(sight.name(of), n) for of, n in goal.items() if n < replicas(sight.serving(of)))
    idle = {v.label for v in sight.listed if v.label in memory.made and goal[v.label] == 0 and v.capacity is not Capacity.PARKED}
    standing = {v.label: standby for v in sight.listed if (standby := sight.standing_by(v.label)) is not None}
    spare = tuple(Remove(name_of(each)) for of, each in standing.items() if of not in idle or is_exposed(each, memory.hidden))
    if not _has_arrived(sight, goal):
        return (), more, (*spare, *(() if less else _standing_by(sight, idle - set(memory.adopted))))
    last = (*spare, *_standing_by(sight, idle - set(memory.adopted)))
    return remembering(memory, reached_weights(goal)), more, (*less, *last)


def _standing_by(sight: Sight, idle: Collection[str]) -> Steps:
    """Steps for one Pod of each of those that have none, which proves that they would start."""
    found: list[Step] = []
    for version in sight.listed:
        standby = sight.standing_by(version.label)
        if version.label in idle and standby is None:
            found.append(Make(version, standby=True))
        elif version.label in idle and standby is not None and replicas(standby) == 0:
            found.append(Scale(name_of(standby), 1))
    return tuple(found)


def _has_arrived(sight: Sight, share: Mapping[str, int]) -> bool:
    wanted = sight.memory.ledger.wanted if sight.memory is not None else None
    stable = wanted.stable if wanted is not None else None
    # Before weight moves the latest scale must have been seen; once it moved only what is too much is left, which need not wait for that.
    count_of = ready if is_given(sight, share) else settled
    needed = {label: min(1, count) if label == stable else count for label, count in share.items()}
    return all(not count or count_of(sight.serving(label)) >= count for label, count in needed.items())
