"""Work on columns that is done in C: order, links between halves, numbering and counting. Memory is kept between calls."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
import pyarrow as pa

_ORDERED = ("high", "low", "span", "parent", "flags")


class _Halves(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in _ORDERED),
        ("table", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),
    )


@dataclass(slots=True)
class Traces:
    """The trace of each half by number, in order of appearance; and each trace's id folded into a word, ``trace``."""

    number: pl.Series
    keys: pl.Series


@dataclass(slots=True)
class Links:
    """By trace, whether its shape is unusual; by row, 1 + the row of a callee's caller, and whether a callee answered a caller."""

    odd: pl.Series
    above: pl.Series
    answered: pl.Series


class Columns:
    """Not thread-safe. Columns passed in hold no nulls."""

    def __init__(self, found: ctypes.CDLL) -> None:
        self._library = found
        self._table = bytearray()

    def ordered(self, key: pl.Series, keys: int, columns: Mapping[str, pl.Series]) -> tuple[list[int], dict[str, bytearray]]:
        """Columns brought into the order of a UInt32 key below ``keys``, stable; and how many rows each key has."""
        rows = len(key)
        order, counts, places = bytearray(4 * rows), (ctypes.c_int64 * keys)(), (ctypes.c_int64 * keys)()
        array, at = _memory(key)
        self._library.order_by_key(at, rows, keys, places, _address(order), counts)
        del array
        found = {}
        for name, column in columns.items():
            array, at = _memory(column)
            width = array.type.bit_width // 8
            found[name] = bytearray(width * rows)
            self._library.gather(at, _address(order), rows, width, _address(found[name]))
        return list(counts), found

    def partition_keys(self, high: pl.Series, low: pl.Series, record: pl.Series, partitions: int, records: int) -> pl.Series:
        """``partition * records + record`` of each half."""
        key = bytearray(4 * len(high))
        (held, one), (also, other), (too, third) = _memory(high), _memory(low), _memory(record)
        self._library.partition_keys(one, other, third, len(high), partitions, records, _address(key))
        del held, also, too
        return _series(key, pa.uint32(), len(high))

    def repeated(self, counts: Sequence[int]) -> pl.Series:
        """0, 1, 2 … each as often as ``counts`` says."""
        total = sum(counts)
        number = bytearray(4 * total)
        self._library.fill_runs((ctypes.c_int64 * len(counts))(*counts), len(counts), _address(number))
        return _series(number, pa.uint32(), total)

    def traces(self, rows: pl.DataFrame, factor: int) -> Traces:
        """Number the traces of halves; ``factor`` spreads the first word of an id before it is folded into the second."""
        halves, _arrays = self._halves(rows)
        number, first, keys = bytearray(4 * len(rows)), bytearray(4 * len(rows)), bytearray(8 * len(rows))
        count = self._library.number_traces(ctypes.byref(halves), factor, _address(number), _address(first), _address(keys))
        return Traces(_series(number, pa.uint32(), len(rows)), _series(keys, pa.uint64(), count).alias("trace"))

    def links(self, rows: pl.DataFrame, trace: pl.Series, odd: pl.Series) -> Links:
        """Link callees to callers; ``odd`` says by trace what is known to be unusual already."""
        halves, _arrays = self._halves(rows)
        marked = bytearray(_bytes(odd.cast(pl.UInt8)))
        above, answered, rooted = bytearray(4 * len(rows)), bytearray(len(rows)), bytearray(len(odd))
        array, at = _memory(trace)
        arguments = (_address(column) for column in (marked, rooted, above, answered))
        self._library.link_halves(ctypes.byref(halves), at, *arguments)
        del array
        return Links(
            _series(marked, pa.uint8(), len(odd)).cast(pl.Boolean),
            _series(above, pa.uint32(), len(rows)),
            _series(answered, pa.uint8(), len(rows)).cast(pl.Boolean),
        )

    def numbered(self, key: pl.Series) -> tuple[pl.Series, pl.Series]:
        """For each UInt64 key its number in order of appearance, and the distinct keys in that order."""
        number = bytearray(4 * len(key))
        distinct, _, found = self._count(key, number)
        return _series(number, pa.uint32(), len(key)), _series(distinct, pa.uint64(), found)

    def counted(self, key: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The distinct UInt64 keys, ascending, and how often each is there. Raises MemoryError."""
        distinct, counts, found = self._count(key, None)
        if self._library.sort_counts(_address(distinct), _address(counts), found):
            raise MemoryError
        return _series(distinct, pa.uint64(), found), _series(counts, pa.int64(), found)

    def bucket_keys(self, number: pl.Series, durations: pl.Series, bounds: pl.Series, guesses: pl.Series, codes: int) -> pl.Series:
        """``number * codes + bucket`` of each row; see ``bucket_keys`` of ``spans.c``."""
        keys = bytearray(8 * len(number))
        held = [_memory(series) for series in (number, durations, bounds, guesses)]
        one, other, third, fourth = (at for _, at in held)
        self._library.bucket_keys(one, other, len(number), third, len(bounds), fourth, codes, _address(keys))
        del held
        return _series(keys, pa.uint64(), len(number))

    def _count(self, key: pl.Series, number: bytearray | None) -> tuple[bytearray, bytearray, int]:
        distinct, counts = bytearray(8 * len(key)), bytearray(8 * len(key))
        mask = self._slots(len(key)) - 1
        array, at = _memory(key)
        found = self._library.number_keys(
            at, len(key), _address(self._table), mask, None if number is None else _address(number), _address(distinct), _address(counts)
        )
        del array
        return distinct, counts, found

    def _halves(self, rows: pl.DataFrame) -> tuple[_Halves, list[Any]]:
        found = [_memory(rows[name]) for name in _ORDERED]
        mask = self._slots(len(rows)) - 1
        return _Halves(len(rows), *(at for _, at in found), _address(self._table), mask), [array for array, _ in found]

    def _slots(self, rows: int) -> int:
        """Make room in the table for so many rows; returns the slots to use, a power of two."""
        slots = 1 << max(4, (2 * rows - 1).bit_length())
        if len(self._table) < 4 * slots:
            self._table = bytearray(4 * slots)
        return slots


def _address(memory: bytearray) -> int:
    return ctypes.addressof((ctypes.c_uint8 * len(memory)).from_buffer(memory)) if memory else 0


def _memory(series: pl.Series) -> tuple[Any, int]:
    """A series as Arrow, to be held as long as its address is used."""
    array = series.rechunk().to_arrow()
    data = array.buffers()[1]
    return array, 0 if data is None else data.address + array.offset * array.type.bit_width // 8


def _bytes(series: pl.Series) -> memoryview:
    array = series.rechunk().to_arrow()
    return memoryview(array.buffers()[1] or b"").cast("B")[array.offset : array.offset + len(array)]


def _series(memory: bytearray, dtype: pa.DataType, rows: int) -> pl.Series:
    return cast("pl.Series", pl.from_arrow(pa.Array.from_buffers(dtype, rows, [None, pa.py_buffer(memory)])))
