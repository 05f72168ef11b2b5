"""How weights move towards a goal without ever rising above what is ready (invariants 1 to 3): pure.

All weights move in one go, once everything that gains is ready for it; until then they stay. Partial moves would be
steps that nobody asked for and nobody judges. The way back is different: a stable version needs one ready
instance and not its whole capacity, since an overloaded stable version beats a candidate that is known to be bad.
"""

import math
from collections.abc import Mapping

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.world import Capacity, WantedVersion


def instances_wanted(ledger: Ledger, full: int) -> dict[str, int]:
    """Instances of each listed version of a routed target, where ``full`` of them carry the whole traffic.

    Side by side only; what changes in place has ``in_place.next_sizes``. A version that has weight, or is about to get it, keeps
    instances for it whatever capacity was named.
    """
    listed = ledger.wanted.versions if ledger.wanted is not None else ()
    return {version.label: _instances(ledger, version, full) for version in listed}


def _instances(ledger: Ledger, version: WantedVersion, full: int) -> int:
    weight = max(ledger.goal.get(version.label, 0), ledger.weights.get(version.label, 0))
    carrying = math.ceil(full * weight / 100)
    match version.capacity:
        case Capacity.FULL:
            return full
        case Capacity.WEIGHTED:
            return max(1, carrying, math.ceil(full * version.share / 100))
        case Capacity.PARKED:
            return carrying


def ready_percent(ready: int, full: int) -> int:
    """The share of the whole traffic, in percent and at most 100, that so many ready instances can carry."""
    return min(100, 100 * ready // full)


def move(ledger: Ledger, ready: Mapping[str, int], full: int) -> Ledger:
    """The ledger with its weights at their goal, or unchanged where something that gains is not ready for it and nobody said unsafe."""
    if ledger.weights == ledger.goal:
        return ledger
    if ledger.wanted is not None and ledger.wanted.unsafe:
        return msgspec.structs.replace(ledger, weights=dict(ledger.goal))
    stable = ledger.wanted.stable if ledger.wanted is not None else None
    gains = [label for label, weight in ledger.goal.items() if weight > ledger.weights.get(label, 0)]
    for label in gains:
        count = ready.get(label, 0)
        if count == 0 or (label != stable and ready_percent(count, full) < ledger.goal[label]):
            return ledger
    return msgspec.structs.replace(ledger, weights=dict(ledger.goal))


def consumer_shares(goal: Mapping[str, int], stable: str | None, total: int) -> dict[str, int]:
    """How many of ``total`` instances each version of a consumer gets, by label.

    Weights round down to whole instances, and the stable version (where there is none, the heaviest) takes the rest: a
    candidate never gets more than it was given.
    """
    shares = {label: weight * total // 100 for label, weight in goal.items()}
    if not any(goal.values()):
        return shares
    heaviest = max(goal, key=lambda label: (goal[label], label))
    rest = stable if stable is not None and goal.get(stable, 0) > 0 else heaviest
    shares[rest] += total - sum(shares.values())
    return shares


def reached_weights(polling: Mapping[str, int]) -> dict[str, int]:
    """The weights that so many polling instances amount to, in percent summing to 100, or all 0 where none polls.

    Each rounds down, but to no less than 1 where any polls, for what is told at 0 is taken for drained; what is left goes to the version
    with most instances.
    """
    total = sum(polling.values())
    if total == 0:
        return dict.fromkeys(polling, 0)
    weights = {label: max(min(1, count), 100 * count // total) for label, count in polling.items()}
    weights[max(polling, key=lambda label: (polling[label], label))] += 100 - sum(weights.values())
    return weights
