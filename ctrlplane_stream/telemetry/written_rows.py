"""Rows of edges of one window and environment that were written out at once, as ``telemetry-windows`` has them."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import EdgeWindow

EdgeName = tuple[str, str, EdgeKind, str, str]
"""Caller, callee, kind, caller version, callee version."""

KINDS = frozenset({EdgeKind.CALL, EdgeKind.MESSAGE})
"""Only edges of these kinds are written out at once: those that were seen from both sides."""

Weighed = Sequence[tuple[float, int, int]]
"""(Weight, calls, errors) by weight, in any order."""


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Rows in ascending order of ``names``, each an EdgeWindow in JSON and a comma; ``ends`` says where each ends in ``value``.

    ``calls`` is how many calls they count, each seen from both sides; ``tallies`` gives (weight, calls, errors) by weight of a row.
    """

    names: Sequence[EdgeName]
    value: bytes
    ends: Sequence[int]
    calls: int
    tallies: Callable[[int], Weighed]

    def _begin(self, place: int) -> int:
        return self.ends[place - 1] if place else 0

    def find(self, name: EdgeName) -> int | None:
        """The place of a name's row, or None."""
        place = bisect_left(self.names, name)
        return place if place < len(self.names) and self.names[place] == name else None

    def read(self, place: int) -> EdgeWindow:
        """One row in words."""
        return msgspec.json.decode(self.value[self._begin(place) : self.ends[place] - 1], type=EdgeWindow)

    def with_rows(self, others: Iterable[tuple[EdgeName, bytes]]) -> bytes:
        """All rows and some others (ascending) in order of name, a comma after each; an other stands for the row of its name."""
        parts, at, place, many = list[bytes](), 0, 0, len(self.names)
        for name, row in others:
            place = bisect_left(self.names, name, place)
            parts += self.value[at : self._begin(place)], row, b","
            at = self.ends[place] if place < many and self.names[place] == name else self._begin(place)
        return b"".join((*parts, self.value[at:]))


NO_ROWS = WrittenRows((), b"", (), 0, lambda _: ())
