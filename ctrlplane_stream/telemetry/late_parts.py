"""Which late parts of one ``span-halves`` partition were taken, also where one that came first has to wait.

A late part waits where its window is one that another partition has not closed yet, while later ones for older windows are taken. So
"up to here" does not say it all: what was taken beyond the first that waits is known by name. Everything is read again from that one on.
"""

from collections.abc import Iterable

Name = tuple[int, int]
"""A late part of a partition: its number, which ascends, and its window."""


class LateParts:
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
