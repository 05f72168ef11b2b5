"""What was read of the windows that ``span-halves`` partitions write, so that what is read again is known: by whoever adds windows up, and
by whoever judges them.

A late part waits where its window is one that another partition has not closed yet, while later ones for older windows are taken. So
"up to here" does not say it all: what was taken beyond the first that waits is known by name. Everything is read again from that one on.
"""

from collections.abc import Iterable, Mapping

import msgspec

from ctrlplane_stream.model.windows import Closed, WindowPart

Name = tuple[int, ...]
"""A late part of a partition, by what names it (``WindowPart.name``): its number, its window, and which piece it is beyond the first."""


class Heard(msgspec.Struct):
    """What was taken of one partition, as it is written down: its last closed window, all late parts through ``late``, and those in
    ``beyond``."""

    closed: int | None = None
    late: Name = (0, 0)
    beyond: tuple[Name, ...] = ()


class Partitions:
    """What was read of each partition, beginning with what was taken of them before."""

    def __init__(self, heard: Mapping[int, Heard]) -> None:
        self._closed = {partition: each.closed for partition, each in heard.items()}
        self._late = {partition: _LateParts(each.late, each.beyond) for partition, each in heard.items()}

    def close(self, record: Closed) -> None:
        """Note that a partition has closed a window."""
        closed = self._closed.get(record.partition)
        self._closed[record.partition] = record.window if closed is None else max(closed, record.window)

    def is_new(self, part: WindowPart) -> bool:
        """Whether a part was not read yet. Of late parts it was from here on; a window's own is new until that is closed."""
        if part.part:
            return self._late.setdefault(part.partition, _LateParts()).is_new(part.name)
        closed = self._closed.get(part.partition)
        return closed is None or part.window > closed

    def closed_by_all(self, partitions: int) -> int | None:
        """The last window that all of so many partitions have closed, or None."""
        closed = [window for window in self._closed.values() if window is not None]
        return min(closed) if len(closed) >= partitions else None

    def taken(self, through: int, waiting: Iterable[WindowPart]) -> dict[int, Heard]:
        """What to write down once all up to window ``through`` is taken; the parts that are ``waiting`` will be read again."""
        again: dict[int, list[Name]] = {}
        for part in waiting:
            if part.part:
                again.setdefault(part.partition, []).append(part.name)
        late = {partition: self._late.setdefault(partition, _LateParts()) for partition in self._closed}
        return {partition: Heard(through, *each.taken(again.get(partition, ()))) for partition, each in late.items()}


class _LateParts:
    """Those that were read: all ``through`` a name, and those ``beyond`` it."""

    def __init__(self, through: Name = (0, 0), beyond: Iterable[Name] = ()) -> None:
        self._through = through
        self._beyond = set(beyond)

    def is_new(self, name: Name) -> bool:
        """Whether a part was not read yet; from here on it was."""
        if name <= self._through or name in self._beyond:
            return False
        self._beyond.add(name)
        return True

    def taken(self, waiting: Iterable[Name]) -> tuple[Name, tuple[Name, ...]]:
        """What to begin anew with, where those that are ``waiting`` will be read again: ``through`` and ``beyond``."""
        again = set(waiting)
        first = min(again, default=None)
        self._through = max([self._through, *(name for name in self._beyond if first is None or name < first)])
        self._beyond = {name for name in self._beyond if name > self._through}
        return self._through, tuple(sorted(self._beyond - again))
