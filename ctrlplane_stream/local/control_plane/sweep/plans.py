"""What goes wrong, and where: a plan is a pure function of its number and of what the undisturbed runs write."""

import random
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest

import msgspec

from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.local.control_plane.sweep.writes import Spot


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
    """From here on watches hear nothing for a while, and then are too old to go on."""
    LEASE_EXPIRED = "lease expired"
    """Time jumps over the lease here, and the watcher of leases acts beside the actuator."""


KILLS = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)
AFTER = (Fault.KILLED_AFTER, Fault.LOST_ANSWER)
"""These strike when the server has done what was asked."""


class Plan(msgspec.Struct, frozen=True):
    """A fault at one request of the run of a script: at that write, or where there is no ``spot`` at the ``at``-th request (from 0).

    ``length`` says how many requests or commands it lasts, ``promotes`` which script is played, ``way`` in what kind of place.
    Watches are heard of ``lag_seconds`` late throughout.
    """

    number: int
    fault: Fault
    spot: Spot | None = None
    at: int = -1
    length: int = 1
    promotes: bool = False
    way: Way = Way.ROUTE
    lag_seconds: float = 0.02


class Course(msgspec.Struct, frozen=True):
    """What an undisturbed run of a script does: how many requests, and its writes in their order."""

    way: Way
    promotes: bool
    requests: int
    spots: tuple[Spot, ...]


Courses = Mapping[tuple[Way, bool], Course]
"""By way and by whether it promotes."""

_TWENTY = (*["cut"] * 12, "conflict", "conflict", "stale", "stale", "stale", "lease", "lease", "rare")
"""What twenty plans in a row are."""
_OTHERS = (Way.GROWING, Way.CONSUMER, Way.COMMITS, Way.EXCHANGED, Way.ADOPTED, Way.JOB)
_TURN = (Way.ROUTE, Way.ROUTE, Way.ROUTE, Way.SERVICE, Way.SERVICE, *_OTHERS)
"""Ways of eleven plans in a row."""
_LAGS_SECONDS = (0.02, 0.1, 0.3)


def gap_plans(courses: Courses) -> tuple[Plan, ...]:
    """A kill in every gap between two writes of every script, each gap once: before the write after it, or after the write before it.

    What a dead actuator leaves is the same wherever in a gap it dies: between two writes it only reads, and the next one reads anew.
    """
    found: list[Plan] = []
    for course in (courses[script] for script in sorted(courses)):
        for gap in range(len(course.spots) + 1):
            chance = random.Random(f"gap {len(found)}")  # noqa: S311
            fault, spot = _kill(course, gap, after=gap % 2 == 1)
            lag = chance.choice(_LAGS_SECONDS)
            found.append(Plan(len(found), fault, spot, promotes=course.promotes, way=course.way, lag_seconds=lag))
    return tuple(found)


def by_turns(kills: Sequence[Plan]) -> list[Plan]:
    """The same, one of each script after another, and of a script every third first: a sweep that ends early has of everything.

    Every third, and not every second or fourth: kills before a write and after one take turns.
    """
    scripts: dict[tuple[Way, bool], list[Plan]] = {}
    for kill in kills:
        scripts.setdefault((kill.way, kill.promotes), []).append(kill)
    spread = [[*each[::3], *each[1::3], *each[2::3]] for each in scripts.values()]
    return [kill for turn in zip_longest(*spread) for kill in turn if kill is not None]


def plan_of(number: int, courses: Courses, ways: Sequence[Way] = tuple(Way)) -> Plan:
    """The plan of that number, among plans of these ways: of twenty, twelve are sleepers and lost answers.

    Those go through the kinds of writes, so that they meet each kind however rare it is; the others strike anywhere.
    """
    what, turn = _TWENTY[number % len(_TWENTY)], number // len(_TWENTY)
    chance = random.Random(number)  # noqa: S311
    among = [way for way in _TURN if way in ways]
    if what == "cut":
        cut = turn * _TWENTY.count("cut") + number % len(_TWENTY)
        way, nth = among[cut % len(among)], _nth_of_its_way(cut, among)
        return _cut(number, nth, [courses[way, False], courses[way, True]], chance)
    way, promotes = chance.choice(among), chance.random() < 0.5
    course = courses[way, promotes]
    made = Plan(number, Fault.CONFLICT, length=chance.randrange(1, 4), promotes=promotes, way=way, lag_seconds=chance.choice(_LAGS_SECONDS))
    if what == "conflict" or (what == "rare" and turn % 2):
        fault = Fault.CONFLICT if what == "conflict" else Fault.THROTTLED
        return msgspec.structs.replace(made, fault=fault, spot=chance.choice(course.spots))
    fault = {"stale": Fault.STALE_READS, "lease": Fault.LEASE_EXPIRED, "rare": Fault.RESTART}[what]
    return msgspec.structs.replace(made, fault=fault, at=chance.randrange(course.requests))


def missing_plan_of(number: int, courses: Courses, ways: Sequence[Way] = tuple(Way)) -> Plan:
    """The plan of that number among those whose watches miss events; they strike anywhere in the first half of a run's requests."""
    chance = random.Random(f"missed {number}")  # noqa: S311
    way, promotes = ways[number % len(ways)], number // len(ways) % 2 == 1
    at, length = chance.randrange(courses[way, promotes].requests // 2), chance.randrange(1, 4)
    return Plan(number, Fault.MISSED_EVENTS, at=at, length=length, promotes=promotes, way=way)


def gap_of(plan: Plan, course: Course) -> int | None:
    """The gap between two writes of its script in which a plan strikes: 0 is before the first. None where it is no such plan."""
    if plan.spot is None or plan.spot not in course.spots:
        return None
    return course.spots.index(plan.spot) + (plan.fault in AFTER)


def _kill(course: Course, gap: int, *, after: bool) -> tuple[Fault, Spot]:
    """Before the write that ends the gap, or ``after`` the one that begins it, where there are both."""
    if gap == len(course.spots) or (after and gap > 0):
        return Fault.KILLED_AFTER, course.spots[gap - 1]
    return Fault.KILLED_BEFORE, course.spots[gap]


def _nth_of_its_way(cut: int, among: Sequence[Way]) -> int:
    way, before = among[cut % len(among)], among[: cut % len(among)]
    return cut // len(among) * among.count(way) + before.count(way)


def _cut(number: int, nth: int, courses: Sequence[Course], chance: random.Random) -> Plan:
    """The ``nth`` sleeper or lost answer (three to two) of a way: one kind of write after the other, of each kind in their order."""
    course, turn = courses[nth % 2], nth // 2
    kinds = sorted({spot.kind for spot in course.spots})
    of_kind = [spot for spot in course.spots if spot.kind == kinds[turn % len(kinds)]]
    fault, spot = Fault.ZOMBIE if turn % 5 in (0, 1, 3) else Fault.LOST_ANSWER, of_kind[turn // len(kinds) % len(of_kind)]
    length, lag = chance.randrange(1, 4), chance.choice(_LAGS_SECONDS)
    return Plan(number, fault, spot, length=length, promotes=course.promotes, way=course.way, lag_seconds=lag)
