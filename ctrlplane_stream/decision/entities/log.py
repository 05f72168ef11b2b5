"""The log as an environment has read it: its time, what it knows already, the catalog in force, and what there is to look at."""

import msgspec

from ctrlplane_stream.model.facts import Origin

FAR_MS = 600_000
"""A fact so far from the log's time, which brokers' clocks are not apart, is one of a wrong clock, or comes after an outage."""


class Clock(msgspec.Struct, frozen=True):
    """What time it is, as the facts tell it, and how many facts were decided.

    ``now_ms`` goes back only where two facts in a row say that it was far ahead. ``steady`` is what timers run on: it advances with
    ``now_ms``, but by at most 15 s a fact, and by nothing where that is far ahead, so that neither a fast clock nor an outage can finish
    a drain that nobody observed.
    """

    now_ms: int = 0
    steady: int = 0
    sequence: int = 0
    told_ms: int = 0
    """When time was last told: other facts, however many, must not put off what waits for time."""
    behind_ms: int = 0
    """The time of the last fact where that is far behind ``now_ms``; else 0."""

    def seconds_since(self, steady: int) -> float:
        """How long ago a moment was, by what timers run on."""
        return (self.steady - steady) / 1000


class OriginMark(msgspec.Struct, frozen=True):
    """The last fact taken from one input partition, and how records of it are dated."""

    offset: int
    index: int
    at_ms: int = 0
    """No record taken from the partition so far is dated later; 0 where that is not known."""
    since_ms: int = 0
    """Records dated so early are of the log that was there before this one."""

    def has(self, origin: Origin) -> bool:
        """Whether the fact was taken before, or is of a log before this one: by its place, and by its date where that is said."""
        if (origin.offset, origin.index) <= (self.offset, self.index):
            return True
        return origin.at_ms is not None and origin.at_ms <= self.since_ms

    def is_of_another_log(self, origin: Origin) -> bool:
        """Whether the record cannot be one that was taken, wherever it stands: it is dated after all of them."""
        return bool(self.at_ms) and origin.at_ms is not None and origin.at_ms > self.at_ms


class CatalogEntry(msgspec.Struct, frozen=True):
    """Which catalog is in force; its services are entries of their own."""

    hash: str
    services: tuple[str, ...]
    promote_from: str | None
    promotes_to: tuple[str, ...]
    notify: str | None
    onward: dict[str, tuple[str, ...]] = {}
    """Services whose artifacts go elsewhere than ``promotes_to``."""

    def takers(self, service: str) -> tuple[str, ...]:
        """The environments that take what baked here of a service."""
        return self.onward.get(service, self.promotes_to)


class Index(msgspec.Struct, frozen=True):
    """What there is to look at without searching: rollouts in order of arrival, and whatever has a timer.

    ``ended`` and ``overrides`` are the most recent ones only; older entries are dropped from the state.
    """

    rollouts: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    retiring: tuple[str, ...] = ()
    """Services with a parked version whose retention runs."""
    awaited: tuple[str, ...] = ()
    """Services at rest that were told something, which no rollout watches over: until they show it, or people are told."""


class TelemetryEntry(msgspec.Struct, frozen=True):
    """What is known of the windows: their length, the last one that closed, and the window of the last step forward."""

    window_seconds: float = 10.0
    last_window: int = -1
    stepped_window: int = -1
    stepped_by: str | None = None
    services: int = 0
    requests_per_second: float = 0.0
    """Of all services together, each call counted where it arrives."""
