"""How long a family of processes waited for a core, by the kernel's own count: `/proc/PID/task/TID/schedstat`.

Of each thread the kernel counts the nanoseconds that it ran, and those that it could have run and waited for others to stop. What waits
as long as it runs takes twice as long as on a machine that has nothing else to do.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Waited(NamedTuple):
    """Nanoseconds that threads ran, and that they waited for a core."""

    ran: int
    waited: int

    @property
    def share(self) -> float | None:
        """Of the time in which they had something to do, that in which they waited; None where they had nothing to do."""
        whole = self.ran + self.waited
        return self.waited / whole if whole else None


class Family:
    """A process with all below it; ``read`` sums what its threads did since the first time that each was seen."""

    def __init__(self, root: int | None = None, proc: Path = Path("/proc")) -> None:
        self._root, self._proc = root or os.getpid(), proc
        self._seen: dict[tuple[int, int], Waited] = {}
        self._sum = Waited(0, 0)

    def read(self) -> Waited:
        """The sums by now; of a thread that ends, as it was when it was last seen."""
        now = dict(self._threads())
        for thread, found in now.items():
            before = self._seen.get(thread, found)
            ran, waited = max(0, found.ran - before.ran), max(0, found.waited - before.waited)
            self._sum = Waited(self._sum.ran + ran, self._sum.waited + waited)
        self._seen = now
        return self._sum

    def _threads(self) -> Iterator[tuple[tuple[int, int], Waited]]:
        for pid in self._pids():
            for file in (self._proc / str(pid) / "task").glob("*/schedstat"):
                try:
                    ran, waited, _ = file.read_text().split()
                except (OSError, ValueError):
                    continue
                yield (pid, int(file.parent.name)), Waited(int(ran), int(waited))

    def _pids(self) -> list[int]:
        """The root and all below it."""
        children: dict[int, list[int]] = {}
        for file in self._proc.glob("[0-9]*/stat"):
            try:
                parent = int(file.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(file.parent.name))
        found = [self._root]
        for pid in found:
            found += children.get(pid, [])
        return found
