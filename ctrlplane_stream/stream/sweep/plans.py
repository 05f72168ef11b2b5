"""What can happen to the workers of one trial, and how a seed becomes a plan."""

import random
from enum import StrEnum

import msgspec


class Boundary(StrEnum):
    """Where a worker is killed: each step of "Effectively once", before and after."""

    READ = "read"
    """A batch was read, nothing decided."""
    DECIDE = "decide"
    """In the middle of deciding a batch."""
    PUBLISH = "publish"
    """Decided, nothing sent."""
    UNACKNOWLEDGED = "unacknowledged"
    """Sent, and killed without waiting for the broker."""
    PUBLISHED = "published"
    """The broker has it, the fact is not acknowledged."""
    COMMIT = "commit"
    """Acknowledged, about to be committed."""
    CHUNK = "chunk"
    """Between the chunks of a snapshot."""
    MANIFEST = "manifest"
    """All chunks written, the manifest not."""
    SNAPSHOT = "snapshot"
    """The manifest just written."""
    CLAIM = "claim"
    """About to claim a partition."""
    CLAIMED = "claimed"
    """Claimed, nothing folded."""
    FOLD = "fold"
    """In the middle of folding the log."""
    SEEK = "seek"
    """Recovered, about to seek to the position."""
    INGEST = "ingest"
    """Facts of an input record sent, the record not acknowledged."""


class Twist(StrEnum):
    """What else happens in a trial."""

    KILLS = "kills"
    """One worker, killed at boundaries and started again."""
    TWO_WORKERS = "two-workers"
    """Two workers share the partitions; one is killed, both are killed, one comes back."""
    THREE_WORKERS = "three-workers"
    """Workers join and leave under load."""
    ZOMBIE = "zombie"
    """A worker sleeps until another has its partitions, then wakes and writes."""
    BROKER_RESTART = "broker-restart"
    """The broker goes away and comes back."""
    UPGRADE = "upgrade"
    """A worker of another build, which decides differently, takes over in the middle."""
    RAISE = "raise"
    """A fact makes ``decide`` raise; a mended build resumes."""
    SKIP = "skip"
    """A fact makes ``decide`` raise; an operator skips it."""


class Plan(msgspec.Struct, frozen=True):
    """One trial: kills in order, each at the n-th time that a worker passes the boundary (counted from its start)."""

    seed: int
    twist: Twist
    kills: tuple[tuple[Boundary, int], ...]
    environments: int = 5
    facts: int = 240

    def __str__(self) -> str:
        kills = " ".join(f"{boundary}#{nth}" for boundary, nth in self.kills) or "no kill"
        return f"seed {self.seed}: {self.twist}, {kills}"


_OFTEN = frozenset({Boundary.DECIDE, Boundary.FOLD})
_WHILE_RECOVERING = frozenset({Boundary.FOLD, Boundary.SEEK})
"""Boundaries that mean nothing before there is a log to recover from."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed. Consecutive seeds go through all twists and boundaries in turn; how late a kill comes is drawn."""
    chance = random.Random(seed)  # noqa: S311
    twists = list(Twist)
    boundaries = list(Boundary)
    round_, place = divmod(seed, len(boundaries))
    if round_ % 3 == 2:
        twist = twists[1 + seed % (len(twists) - 1)]
        first = chance.choice(boundaries)
    else:
        twist, first = Twist.KILLS, boundaries[place]
    others = [chance.choice(boundaries) for _ in range(chance.randint(0, 2))]
    if first in _WHILE_RECOVERING:
        others, first = [first, *others], Boundary.PUBLISHED
    kills = tuple((boundary, _nth(boundary, chance)) for boundary in (first, *others))
    return Plan(seed, twist, kills)


def _nth(boundary: Boundary, chance: random.Random) -> int:
    if boundary is Boundary.SEEK:
        return 1
    return chance.randint(1, 40) if boundary in _OFTEN else chance.choice((1, 1, 2, 3))
