"""Where the columns of a serialized batch lie, by ``read_batch`` of pool.c."""

import ctypes
from array import array
from dataclasses import dataclass

_MOST_RUNS = 4096
COLUMNS = ("high", "low", "span", "parent", "end", "duration", "flags", "origin", "peer", "weight")
"""The columns of a batch, in the order in which C names them."""


class _Batch(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("source", "through", "rows", "runs", "tables", "tables_size")),
        ("start", ctypes.c_int64 * len(COLUMNS)),
        *((name, ctypes.c_uint32) for name in ("origins", "peers", "weights")),
        ("offset", ctypes.c_int64 * _MOST_RUNS),
        ("length", ctypes.c_int64 * _MOST_RUNS),
    )


@dataclass(slots=True)
class FoundBatch:
    """A batch whose columns fit each other; the numbers in its rows are below ``origins``, ``peers`` (1 + index) and ``weights``.

    ``start`` says where each of COLUMNS lies in the value, -1 for weights where all are alike.
    """

    source: int
    through: int
    rows: int
    runs: tuple[tuple[int, int], ...]
    tables: bytes
    start: "array[int]"
    origins: int
    peers: int
    weights: int


class BatchReader:
    """Not thread-safe."""

    def __init__(self, found: ctypes.CDLL) -> None:
        self._read_batch = found.read_batch
        self._batch = _Batch()
        self._at = ctypes.addressof(self._batch)

    def read(self, value: bytes) -> FoundBatch | None:
        """The batch in a value of span-halves, or None where it holds none or is written in an unusual way."""
        batch = self._batch
        if self._read_batch(value, len(value), self._at):
            return None
        return FoundBatch(
            batch.source,
            batch.through,
            batch.rows,
            tuple(zip(batch.offset[: batch.runs], batch.length[: batch.runs], strict=True)),
            value[batch.tables : batch.tables + batch.tables_size],
            array("q", batch.start),
            batch.origins,
            batch.peers,
            batch.weights,
        )
