"""Since when, and until when, services of an environment are served by what nobody has accepted: read from the deltas of its decisions.

A rollout disturbs what it moves from the first weight of its candidate until it has ended, which is once the last of the version that goes
has drained: it holds, retreats and falls in between, and by commits all traffic stays with the candidate until an agent has synced. What
completes is accepted, and what somebody returns to disowns all that was accepted after it. Earlier builds wrote the same entries.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.judge.rest import Left, Unrest
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.model.decisions import GONE
from ctrlplane_stream.wire.json_words import WrongJson, read_json

T = TypeVar("T")
_ACCEPTED_KEPT = 20
"""Versions of a service of which it is remembered since when they serve."""

_AHEAD_MS = 600_000
"""What was dated so long after what comes next had a wrong time, by the engine's clock, too."""


class _Unit(msgspec.Struct, frozen=True):
    service: str
    candidate: str
    weighted: bool = False


class _Rollout(msgspec.Struct, frozen=True):
    """What is read of a `Rollout`."""

    id: str
    phase: Phase
    units: tuple[_Unit, ...]
    cause: str = ""


class _Target(msgspec.Struct, frozen=True):
    """And of a `TargetEntry`."""

    service: str
    edited: str | None = None
    strayed: str | None = None


class UnrestBook:
    """What is known of one environment. ``seen_after_ms`` is how long another tool's candidate may have served before we saw it."""

    def __init__(self, seen_after_ms: int = 0) -> None:
        self.services: Mapping[str, Unrest] = {}
        self._seen_after_ms = seen_after_ms
        self._latest_ms = 0
        self._under_way: set[str] = set()
        self._moved: dict[str, dict[str, int]] = {}
        self._in_hand: set[str] = set()
        self._accepted: dict[str, list[tuple[str, int]]] = {}

    def take(self, delta: Mapping[str, msgspec.Raw], at_ms: int) -> None:
        """Take in what a decision changed at ``at_ms``, in the order of the log. What cannot be read is passed over."""
        if self._latest_ms - at_ms > _AHEAD_MS:
            self._set_right(at_ms)
        self._latest_ms = max(self._latest_ms, at_ms)
        for key, value in delta.items():
            kind, _, name = key.partition("/")
            if kind == "rollout" and bytes(value) != GONE:
                if (rollout := _read(value, _Rollout)) is not None:
                    self._take_rollout(rollout, at_ms)
            elif kind == "target":
                self._take_target(name, _read(value, _Target), at_ms)

    def _set_right(self, now_ms: int) -> None:
        """Have nothing happen later than now: what is dated ahead would keep its service from a past until then."""
        self._latest_ms = now_ms
        self._moved = {id_: {name: min(at_ms, now_ms) for name, at_ms in moved.items()} for id_, moved in self._moved.items()}
        self._accepted = {name: [(label, min(at_ms, now_ms)) for label, at_ms in known] for name, known in self._accepted.items()}
        self.services = {name: _until(now_ms, known) for name, known in self.services.items()}

    def _take_rollout(self, rollout: _Rollout, at_ms: int) -> None:
        moved = self._moved.pop(rollout.id, {})
        if rollout.phase in ENDED:
            self._end(rollout, moved, at_ms)
            return
        self._under_way.add(rollout.id)
        since_ms = at_ms - self._seen_after_ms if rollout.phase is Phase.ADVISING else at_ms
        given = {unit.service: moved.get(unit.service, since_ms) for unit in rollout.units if unit.weighted}
        if given:
            self._moved[rollout.id] = given
            self._note({service: Unrest(None, left=self._left(service)) for service in given})

    def _end(self, rollout: _Rollout, moved: dict[str, int], at_ms: int) -> None:
        if rollout.id not in self._under_way:  # what has ended is written again, too, where something is noted of it
            return
        self._under_way.discard(rollout.id)
        left = {}
        if rollout.phase is Phase.REVERTED:
            left = {service: Left(since_ms, at_ms) for service, since_ms in moved.items()}
        elif rollout.phase is Phase.COMPLETED:
            for unit in rollout.units:
                if (since_ms := self._accept(unit, rollout, at_ms)) is not None:
                    left[unit.service] = Left(since_ms, at_ms)
        self._rest([unit.service for unit in rollout.units if unit.service in moved or unit.service in left], at_ms, left)

    def _accept(self, unit: _Unit, rollout: _Rollout, at_ms: int) -> int | None:
        """Note that the candidate is accepted; since when what was accepted after it served, where somebody returns to it by that."""
        before = self._accepted.get(unit.service, [])
        at = next((i for i in reversed(range(len(before))) if before[i][0] == unit.candidate), None)
        if at is None:
            self._accepted[unit.service] = [*before, (unit.candidate, at_ms)][-_ACCEPTED_KEPT:] if rollout.cause != "revert" else []
            return 0 if rollout.cause == "revert" else None
        self._accepted[unit.service] = before[: at + 1]
        return before[at + 1][1] if at + 1 < len(before) else None

    def _take_target(self, service: str, target: _Target | None, at_ms: int) -> None:
        in_hand = target is not None and (target.edited is not None or target.strayed is not None)
        if in_hand is (service in self._in_hand):
            return
        if in_hand:
            self._in_hand.add(service)
            known = self.services.get(service)
            if known is None or known.until_ms is not None:
                self._note({service: Unrest(None, alone=True, left=self._left(service))})
        else:
            self._in_hand.discard(service)
            self._rest([service], at_ms, {})

    def _rest(self, services: list[str], at_ms: int, left: dict[str, Left]) -> None:
        """Note that these came to rest, but for those that another rollout moves or a hand has."""
        moving = {service for moved in self._moved.values() for service in moved}
        noted = {}
        for service in services:
            gone = left.get(service, self._left(service))
            if service in moving:
                noted[service] = Unrest(None, left=gone)
            elif service in self._in_hand:
                noted[service] = Unrest(None, alone=True, left=gone)
            else:
                noted[service] = Unrest(at_ms, left=gone)
        self._note(noted)

    def _left(self, service: str) -> Left | None:
        known = self.services.get(service)
        return known.left if known is not None else None

    def _note(self, noted: Mapping[str, Unrest]) -> None:
        if noted:
            self.services = {**self.services, **noted}


def _until(now_ms: int, known: Unrest) -> Unrest:
    left, ended_ms = known.left, known.until_ms
    past = None if left is None else Left(min(left.from_ms, now_ms), min(left.until_ms, now_ms))
    return replace(known, until_ms=None if ended_ms is None else min(ended_ms, now_ms), left=past)


def _read(value: msgspec.Raw, type_: type[T]) -> T | None:
    try:
        return read_json(value, type_)
    except WrongJson:
        return None
