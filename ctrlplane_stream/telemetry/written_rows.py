"""Rows of one window and environment that were written out at once, as ``telemetry-windows`` has them."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, TypeVar

import msgspec

from ctrlplane_stream.model.identity import EdgeKind

EdgeName = tuple[str, str, EdgeKind, str, str]
"""Caller, callee, kind, caller version, callee version."""

ServiceName = tuple[str, str]
"""Service, version."""

NameT = TypeVar("NameT", EdgeName, ServiceName)
RowT = TypeVar("RowT")

Weighed = Sequence[tuple[float, int, int]]
"""(Weight, calls, errors) by weight, in any order."""


@dataclass(frozen=True, slots=True)
class WrittenRows(Generic[NameT]):
    """Rows in ascending order of ``names``, each a row in JSON and a comma; ``ends`` says where each ends in ``value``.

    ``calls`` is how many calls they count that were answered; ``tallies`` gives (weight, calls, errors) by weight of a row; ``open`` is
    where the rows are of what nobody answered, ``open_to`` whom those name.
    """

    names: Sequence[NameT]
    value: bytes | memoryview
    ends: Sequence[int]
    calls: int
    tallies: Callable[[int], Weighed]
    open: Sequence[int] = ()
    open_to: frozenset[str] = frozenset()

    def _begin(self, place: int) -> int:
        return self.ends[place - 1] if place else 0

    def find(self, name: NameT) -> int | None:
        """The place of a name's row, or None."""
        place = bisect_left(self.names, name)
        return place if place < len(self.names) and self.names[place] == name else None

    def read(self, place: int, row: type[RowT]) -> RowT:
        """One row in words."""
        return msgspec.json.decode(self.value[self._begin(place) : self.ends[place] - 1], type=row)

    def with_rows(self, others: Iterable[tuple[NameT, bytes]], without: Collection[int] = ()) -> list[bytes | memoryview]:
        """All rows but some and with some others (ascending), in order of name, a comma after each, one after the other.

        An other stands for the row of its name.
        """
        changes = [(self._begin(place), self.ends[place], b"") for place in without]
        place = 0
        for name, row in others:
            place = bisect_left(self.names, name, place)
            there = place < len(self.names) and self.names[place] == name
            changes.append((self._begin(place), self.ends[place] if there else self._begin(place), row))
        parts: list[bytes | memoryview] = []
        value, at = memoryview(self.value), 0
        for begin, end, row in sorted(changes, key=itemgetter(0)):
            parts.append(value[at:begin])
            if row:
                parts += row, b","
            at = max(at, end)
        return [*parts, value[at:]]


NO_EDGES: WrittenRows[EdgeName] = WrittenRows((), b"", (), 0, lambda _: ())
NO_SERVICES: WrittenRows[ServiceName] = WrittenRows((), b"", (), 0, lambda _: ())


def array_of(rows: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """Rows with a comma after each as a JSON array, one after the other."""
    found = [row for row in rows if len(row)]
    return [b"[", *found[:-1], found[-1][:-1], b"]"] if found else [b"[]"]
