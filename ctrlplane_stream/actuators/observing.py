"""What a world that keeps a ledger says of a target: the ledger, and what is counted of each version's instances."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import ObservedVersion, TargetObserved


class Counted(msgspec.Struct, frozen=True):
    """Instances of one version: how many are to run, how many are ready, and why it fails, if it does."""

    instances: int = 0
    ready: int = 0
    failure: str | None = None
    runs: int = 0
    """Of a job: runs that ended well, ever."""
    running: int = 0
    """Of a job: runs that are under way."""


def observation(target: Target, ledger: Ledger, counted: Mapping[str, Counted], now: float) -> TargetObserved:
    """The observation of a target whose last command listed its versions; empty where there was none. ``now``: unix seconds."""
    listed = ledger.wanted.versions if ledger.wanted is not None else ()
    versions = []
    for version in listed:
        count = counted.get(version.label, Counted())
        weight = ledger.weights.get(version.label, 0)
        versions.append(
            ObservedVersion(
                version.label,
                version.artifact.digest,
                count.instances,
                count.ready,
                weight,
                count.failure,
                count.runs,
                count.running,
            )
        )
    return TargetObserved(
        target=target,
        versions=tuple(versions),
        cursor=ledger.cursor,
        lease_remaining_seconds=None if ledger.lease_until is None else max(0.0, ledger.lease_until - now),
        lease_expired=ledger.lease_expired,
        edited=ledger.edited,
        break_glass=ledger.broken_glass,
    )


def note(who: str, why: str, now: float, weights: Mapping[str, int] | None = None) -> str:
    """What a person did, in words that no other edit has: who, the weights where they were set, when (unix seconds), why."""
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    shares = "" if weights is None else " set " + " ".join(f"{label}={weight}" for label, weight in sorted(weights.items()))
    return f"{who}{shares} at {when}Z: {why or 'no reason given'}"
