"""Windows as the judge takes them: whole, in order, each once, with what came late for the ones before.

A window is whole when every ``span-halves`` partition has closed it. Parts are known by name, so what is read again after a
restart is dropped.
"""

import msgspec

from ctrlplane_stream.decision.judge import ClosedWindow
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.telemetry.heard import Heard, Partitions

_LONGEST_GAP = 1_000


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
        self._read = Partitions(self.place.heard)
        self._parts: dict[tuple[int, ...], tuple[int, WindowPart]] = {}
        self._lag: dict[int, float] = {}

    @property
    def waits(self) -> bool:
        """Whether parts are here whose window is not whole."""
        return bool(self._parts)

    def feed(self, offset: int, record: WindowRecord) -> list[ClosedWindow]:
        """Take in the record at ``offset`` (ascending); returns the windows that are whole by now, in order."""
        if isinstance(record, Closed):
            self._read.close(record)
            self._lag[record.partition] = record.lag_seconds
            return self._whole(offset)
        if self._read.is_new(record):
            self._parts.setdefault((record.partition, record.window, record.part, record.piece), (offset, record))
        return []

    def _whole(self, offset: int) -> list[ClosedWindow]:
        last = self._read.closed_by_all(self._partitions)
        if last is None:
            return []
        first = last if self.place.window is None else max(self.place.window + self._seconds, last - _LONGEST_GAP * self._seconds)
        found = [self._taken(window) for window in range(first, last + 1, self._seconds)]
        if found:
            restart = min((at for at, _ in self._parts.values()), default=offset + 1)
            self.place = Place(restart, last, self._read.taken(last, (part for _, part in self._parts.values())))
        return found

    def _taken(self, window: int) -> ClosedWindow:
        """The window with everything that has come for it and for earlier ones."""
        names = [name for name, (_, part) in self._parts.items() if part.window <= window]
        parts = tuple(self._parts.pop(name)[1] for name in sorted(names))
        return ClosedWindow(window, parts, max(self._lag.values(), default=0.0))
