"""What goes wrong, and at which request: a plan is a pure function of its number."""

import random
from enum import StrEnum

import msgspec


class Fault(StrEnum):
    """What happens at a request of the actuator."""

    NONE = "none"
    KILLED_BEFORE = "killed before it"
    """The actuator dies before it sends the request; another goes on."""
    KILLED_AFTER = "killed after it"
    """The server has done what was asked, and the actuator dies before it hears so."""
    LOST_ANSWER = "its answer lost"
    """The same, but the actuator lives and asks again."""
    THROTTLED = "throttled"
    """429, a few times."""
    CONFLICT = "conflict"
    """Somebody else touches the object first, harmlessly."""
    STALE_READS = "stale reads"
    """From here on reads are answered as they were some time ago, for a while: a lagging cache."""
    ZOMBIE = "zombie"
    """The actuator falls asleep here; another goes on; the first wakes up commands later and goes on too."""
    RESTART = "API server restarted"
    """The API server is killed here and started again."""
    MISSED_EVENTS = "missed events"
    """The actuator looks by watches; from here on they hear nothing for a while, and then are too old to go on."""
    LEASE_EXPIRED = "lease expired"
    """Time jumps over the lease here, and the watcher of leases acts beside the actuator."""


class Plan(msgspec.Struct, frozen=True):
    """A fault at one request of the run of a script: the ``at``-th (from 0) that writes, or where not ``at_write`` of all.

    ``length`` says how many requests or commands it lasts; ``promotes`` which script is played.
    """

    number: int
    fault: Fault
    at: int
    at_write: bool
    length: int
    promotes: bool


_SHARES = {
    Fault.KILLED_BEFORE: 6,
    Fault.KILLED_AFTER: 6,
    Fault.LOST_ANSWER: 3,
    Fault.THROTTLED: 1,
    Fault.CONFLICT: 3,
    Fault.STALE_READS: 3,
    Fault.ZOMBIE: 6,
    Fault.LEASE_EXPIRED: 2,
    Fault.RESTART: 1,
}


_AT_WRITES = frozenset(_SHARES) - {Fault.STALE_READS, Fault.LEASE_EXPIRED, Fault.RESTART}
"""Between two writes it is all the same to the world at which read these strike."""

_STRIDE = 7
"""Plans of one fault go through the writes of a run in this stride, so that a few of them are spread and many reach all."""


def plan_of(number: int, requests: int, writes: int) -> Plan:
    """The plan of that number, where an undisturbed run takes about so many requests, ``writes`` of which write."""
    kinds = [(fault, share, place) for fault, share in _SHARES.items() for place in range(share)]
    fault, share, place = kinds[number % len(kinds)]
    turn = number // len(kinds) * share + place
    chance = random.Random(number)  # noqa: S311
    at_write = fault in _AT_WRITES
    at = (turn // 2 * _STRIDE) % writes if at_write else chance.randrange(requests)
    return Plan(number, fault, at, at_write, chance.randrange(1, 4), promotes=turn % 2 == 1)


def missing_plan_of(number: int, requests: int) -> Plan:
    """The plan of that number among those whose watches miss events; they strike anywhere in a run of so many requests."""
    chance = random.Random(f"missed {number}")  # noqa: S311
    at, length = chance.randrange(requests), chance.randrange(1, 4)
    return Plan(number, Fault.MISSED_EVENTS, at, at_write=False, length=length, promotes=number % 2 == 1)
