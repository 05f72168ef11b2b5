"""Where a source partition ends by the broker's word, and when its watermark is worth writing: when it is the first, or lets a window
close that the last one did not.

Every watermark goes to every partition of ``span-halves``, and pairing does nothing with one between two windows' ends. So it can be
looked for often, and windows close soon after their time, while an idle worker writes once a window.
"""

import msgspec


class End(msgspec.Struct, frozen=True):
    """The offset at which a partition ended when the broker was asked: read through it, the partition was read to its end at that time.

    Nothing else tells: the end that comes with what is fetched is as old as the last answer, which may lie unread for as long as a worker
    was stopped, or come late for as long as it was cut off, and records are written meanwhile.
    """

    offset: int
    asked_ms: int


class Marks:
    """What was said of each source partition."""

    def __init__(self, window_ms: int, lateness_ms: int) -> None:
        self._window_ms, self._lateness_ms = window_ms, lateness_ms
        self._said: dict[int, int] = {}

    def due(self, source: int, time_ms: int) -> bool:
        """Whether a watermark of this time would tell pairing anything."""
        return source not in self._said or self._closable(time_ms) > self._said[source]

    def wrote(self, source: int, time_ms: int) -> None:
        """A watermark of this time was written."""
        self._said[source] = max(self._closable(time_ms), self._said.get(source, self._closable(time_ms)))

    def forget(self) -> None:
        """Other workers write for these partitions now: begin anew."""
        self._said.clear()

    def _closable(self, time_ms: int) -> int:
        """The first window, by number, that may not close yet where every source stands at this time."""
        return (time_ms - self._lateness_ms) // self._window_ms
