"""Windows as the judge takes them: whole, in order, each once, with what came late for the ones before.

A window is whole when every ``span-halves`` partition has closed it. Parts are known by name, so what is read again after a
restart is dropped.
"""

import msgspec

from ctrlplane_stream.decision.judge import ClosedWindow
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord

_LONGEST_GAP = 1_000


class Heard(msgspec.Struct):
    """What was taken of one partition: its last closed window, and its last late part as (part, window)."""

    closed: int | None = None
    late: tuple[int, int] = (0, 0)


class Place(msgspec.Struct):
    """Where a line stands: ``restart`` is the ``telemetry-windows`` offset to begin reading at, ``window`` the last whole one."""

    restart: int = 0
    window: int | None = None
    heard: dict[int, Heard] = {}


class WindowLine:
    """The windows of one environment. ``place`` is what to write down after what was returned has been dealt with."""

    def __init__(self, partitions: int, window_seconds: int, place: Place | None = None) -> None:
        self._partitions = partitions
        self._seconds = window_seconds
        self.place = place or Place()
        self._heard = {partition: Heard(h.closed, h.late) for partition, h in self.place.heard.items()}
        self._parts: dict[tuple[int, int, int], tuple[int, WindowPart]] = {}
        self._lag: dict[int, float] = {}

    def feed(self, offset: int, record: WindowRecord) -> list[ClosedWindow]:
        """Take in the record at ``offset`` (ascending); returns the windows that are whole by now, in order."""
        heard = self._heard.setdefault(record.partition, Heard())
        if isinstance(record, Closed):
            heard.closed = record.window if heard.closed is None else max(heard.closed, record.window)
            self._lag[record.partition] = record.lag_seconds
            return self._whole(offset)
        if self._is_new(heard, record):
            self._parts.setdefault((record.partition, record.window, record.part), (offset, record))
        return []

    def _is_new(self, heard: Heard, part: WindowPart) -> bool:
        if part.part == 0:
            return heard.closed is None or part.window > heard.closed
        fresh = (part.part, part.window) > heard.late
        heard.late = max(heard.late, (part.part, part.window))
        return fresh

    def _whole(self, offset: int) -> list[ClosedWindow]:
        closed = [heard.closed for heard in self._heard.values() if heard.closed is not None]
        if len(closed) < self._partitions:
            return []
        last = min(closed)
        first = last if self.place.window is None else max(self.place.window + self._seconds, last - _LONGEST_GAP * self._seconds)
        found = [self._taken(window) for window in range(first, last + 1, self._seconds)]
        if found:
            restart = min((at for at, _ in self._parts.values()), default=offset + 1)
            self.place = Place(restart, last, {p: Heard(last, h.late) for p, h in self._heard.items()})
        return found

    def _taken(self, window: int) -> ClosedWindow:
        """The window with everything that has come for it and for earlier ones."""
        names = [name for name, (_, part) in self._parts.items() if part.window <= window]
        parts = tuple(self._parts.pop(name)[1] for name in sorted(names))
        return ClosedWindow(window, parts, max(self._lag.values(), default=0.0))
