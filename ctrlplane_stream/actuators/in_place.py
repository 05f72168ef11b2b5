"""How a target changes in place: never more instances than it has, one of them at a time, drained and ready before the next. Pure.

For what cannot run side by side: a second fleet would not fit, or must not exist. Weight is the share of the instances, so there is no
make before break: while one instance is exchanged the target has one less. Where there is some room, but not for a second fleet, a
portion of that size is made before as many go, so that never less than the whole is ready.
"""

from collections.abc import Mapping

from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.world import Capacity, TargetWanted


def shares(goal: Mapping[str, int], wanted: TargetWanted, total: int) -> dict[str, int]:
    """How many of ``total`` instances each listed version is to have; none where no version has weight.

    Weights round to whole instances; the stable version (where that has no weight, the heaviest) takes the rest.
    """
    listed = [v.label for v in wanted.versions if v.capacity is not Capacity.PARKED or goal.get(v.label, 0)]
    found = {v.label: (goal.get(v.label, 0) * total + 50) // 100 if v.label in listed else 0 for v in wanted.versions}
    if not any(goal.values()):
        return dict.fromkeys(found, 0)
    heaviest = max(found, key=lambda label: (goal.get(label, 0), label))
    rest = wanted.stable if wanted.stable is not None and goal.get(wanted.stable, 0) > 0 else heaviest
    found[rest] = total - sum(count for label, count in found.items() if label != rest)
    return found


def surplus(wanted: TargetWanted, total: int) -> int:
    """How many instances more than ``total`` the target may have while they are exchanged; 0 in place."""
    return max(1, total * wanted.surplus_percent // 100) if wanted.surplus_percent else 0


def next_sizes(wanted: Mapping[str, int], counted: Mapping[str, Counted], *, leaving: bool, surplus: int = 0) -> dict[str, int]:
    """How many instances of each version to have now, at most one (or ``surplus``) away from what there is: ``wanted`` are the shares
    to end with.

    ``leaving``: one is still on its way out, drained. Nothing follows it before it is gone, nothing is taken before all are
    ready; of what has too many, one that is not ready goes first. Where nothing runs at all everything starts at once.
    """
    labels = sorted({*wanted, *counted})
    have = {label: counted[label].instances if label in counted else 0 for label in labels}
    if not any(have.values()) and not leaving:
        return {label: wanted.get(label, 0) for label in labels}
    if leaving:
        return have
    under = [label for label in labels if have[label] < wanted.get(label, 0)]
    over = [label for label in labels if have[label] > wanted.get(label, 0)]
    if surplus and over:
        return _in_portions(wanted, counted, have, surplus)
    if under and sum(have.values()) < sum(wanted.values()):
        return {**have, under[0]: have[under[0]] + 1}
    sick = [label for label in over if counted[label].ready < counted[label].instances]
    unready = any(count.ready < count.instances for count in counted.values())
    if over and (sick or not unready):
        gone = (sick or over)[0]
        return {**have, gone: have[gone] - 1}
    return have


def _in_portions(wanted: Mapping[str, int], counted: Mapping[str, Counted], have: dict[str, int], surplus: int) -> dict[str, int]:
    """Make a portion, then take as much away once everything is ready; what is not ready and has to go anyway goes first."""
    under = [label for label in have if have[label] < wanted.get(label, 0)]
    over = [label for label in have if have[label] > wanted.get(label, 0)]
    sick = [label for label in over if counted[label].ready < counted[label].instances]
    unready = any(count.ready < count.instances for count in counted.values())
    beyond = sum(have.values()) - sum(wanted.values())
    if sick:
        return {**have, sick[0]: have[sick[0]] - 1}
    if beyond > 0 and not unready:
        gone = min(beyond, have[over[0]] - wanted.get(over[0], 0))
        return {**have, over[0]: have[over[0]] - gone}
    if under and beyond < surplus and (beyond < 0 or not unready):
        more = min(surplus - beyond, wanted[under[0]] - have[under[0]])
        return {**have, under[0]: have[under[0]] + more}
    return have


def with_vacancy(wanted: Mapping[str, int], counted: Mapping[str, Counted]) -> dict[str, Counted]:
    """What is counted, and the instance that is being exchanged as one that is not ready yet of the version that gets it."""
    missing = sum(wanted.values()) - sum(count.instances for count in counted.values())
    gains = next((label for label in sorted(wanted) if counted.get(label, Counted()).instances < wanted[label]), None)
    if missing <= 0 or gains is None:
        return dict(counted)
    there = counted.get(gains, Counted())
    return {**counted, gains: Counted(there.instances + missing, there.ready, there.failure)}


def reached(counted: Mapping[str, Counted], stable: str | None, before: Mapping[str, int], goal: Mapping[str, int]) -> dict[str, int]:
    """The weights that the ready instances amount to, in percent summing to 100; ``before`` where none is ready, 0 where none is to serve.

    Each rounds to the nearest, but to no less than 1 where any is ready, for what is told at 0 is taken for drained; stable, or where that
    has none the version with most instances, takes the rest.
    """
    ready = {label: counted[label].ready if label in counted else 0 for label in sorted({*counted, *before})}
    total = sum(ready.values())
    if not any(goal.values()):
        return dict.fromkeys(ready, 0)
    if total == 0:
        return dict(before)
    weights = {label: max(min(1, count), (100 * count + total // 2) // total) for label, count in ready.items()}
    most = max(ready, key=lambda label: (ready[label], label))
    rest = stable if stable is not None and ready.get(stable, 0) > 0 else most
    weights[rest] = max(1, 100 - sum(weight for label, weight in weights.items() if label != rest))
    weights[most] += 100 - sum(weights.values())
    return weights
