"""Rows of spans into the columns of ``span-halves``, by halves.c."""

import ctypes
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ctrlplane_stream.telemetry.native.library import address, address_of

FAILED = 128
"""Marks of what a combination of attributes means; below them are the flags of a span that fetched or settled messages."""

MOST_PARTITIONS = 1 << 16


class _Writing(ctypes.Structure):
    _fields_ = (
        ("partitions", ctypes.c_int64),
        ("records", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("origin", "peer", "weight", "counts", "next", "columns")),
    )


_COLUMNS_BYTES = 10 * ctypes.sizeof(ctypes.c_void_p)


@dataclass(slots=True)
class Body:
    """What one destination gets: how many rows of each record, and the columns as fields of a HalfBatch; empty where it gets none.

    The columns are valid until the next rows are written.
    """

    counts: Sequence[int]
    columns: memoryview


class RowsToHalves:
    """Not thread-safe."""

    def __init__(self, found: ctypes.CDLL, partitions: int) -> None:
        """Raises ValueError for more partitions than a row can name."""
        if partitions >= MOST_PARTITIONS:
            raise ValueError(f"at most {MOST_PARTITIONS - 1} partitions: {partitions}")
        self._library = found
        self._partitions = partitions
        self._into = bytearray()

    def understand(self, memory: bytearray, rows: int, meaning: "array[int]", peers: "array[int]") -> "array[int]":
        """Complete rows by what their attributes mean, by combination, 0 for none; see halves.c. Returns the rows for Python to look at."""
        special = array("I", bytes(4 * rows))
        arguments = address_of(meaning), address_of(peers), self._partitions, address_of(special)
        return special[: self._library.understand(address(memory), rows, *arguments)]

    def used(self, memory: bytearray, rows: int, resources: int, peers: int) -> tuple[bytes, bytes]:
        """For each of so many resources, and of so many peers and none, whether any row has it."""
        marks = bytearray(resources), bytearray(peers + 1)
        self._library.mark_used(address(memory), rows, *map(address, marks))
        return bytes(marks[0]), bytes(marks[1])

    def bodies(
        self, memory: bytearray, rows: int, records: int, origin: "array[int]", peer: "array[int]", weight: "array[int] | None"
    ) -> list[Body]:
        """The rows by destination, with the tables' numbers: ``origin`` by resource, ``peer``, ``weight`` by state (None: all alike)."""
        counts, following = array("q", bytes(8 * self._partitions * records)), array("q", bytes(8 * self._partitions * records))
        columns, ends = bytearray(_COLUMNS_BYTES * self._partitions), array("q", bytes(8 * self._partitions))
        self._library.count_rows(address(memory), rows, records, address_of(counts))
        room = self._library.room_for_halves(rows, self._partitions)
        if len(self._into) < room:
            self._into = bytearray(room)
        writing = _Writing(
            self._partitions,
            records,
            address_of(origin),
            address_of(peer),
            None if weight is None else address_of(weight),
            address_of(counts),
            address_of(following),
            address(columns),
        )
        self._library.write_halves(ctypes.byref(writing), address(memory), rows, address(self._into), address_of(ends))
        written = memoryview(self._into)
        starts = (0, *ends)
        return [Body(counts[p * records : (p + 1) * records], written[starts[p] : starts[p + 1]]) for p in range(self._partitions)]
