"""Serialized requests into rows, by ``read_spans`` of reading.c."""

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ctrlplane_stream.telemetry.folding import LONGEST_US
from ctrlplane_stream.telemetry.native.library import address

URL, LINKS = 1, 2
"""Marks of a row: it has an attribute that holds a URL; it has span links."""

_TOO_SMALL = -2
_MOST_ITEMS, _MOST_SLICES = 1 << 14, 1 << 16
_TYPICAL_BYTES, _LEAST_BYTES = 160, 37
"""Bytes that a span takes: seldom less than the one, never less than the other."""

ROW = struct.Struct("<QQQQqqIIIIIIIBBH")
"""``Row`` of rows.h: high, low, span, parent, end, duration, record, at, size, resource, state, combination, peer, flags, marks, to."""


class _Keys(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_int32),
        ("key", ctypes.POINTER(ctypes.c_char_p)),
        ("size", ctypes.POINTER(ctypes.c_uint32)),
        ("url", ctypes.POINTER(ctypes.c_uint8)),
        ("chain", ctypes.POINTER(ctypes.c_int32)),
    )


class _Distinct(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("most_items", "most_slices", "items", "slices")),
        ("first", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.POINTER(ctypes.c_uint32)) for name in ("record", "at", "size")),
        ("hash", ctypes.POINTER(ctypes.c_uint64)),
        ("table", ctypes.POINTER(ctypes.c_uint32)),
        ("mask", ctypes.c_uint64),
    )


class _Reading(ctypes.Structure):
    _fields_ = (
        ("capacity", ctypes.c_int64),
        ("row", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "spans", "no_trace_id", "no_span_id", "no_end_time", "longest_us")),
        ("latest_us", ctypes.POINTER(ctypes.c_int64)),
        ("keys", _Keys),
        ("resources", _Distinct),
        ("states", _Distinct),
        ("combinations", _Distinct),
    )


@dataclass(slots=True)
class Read:
    """Usable spans of some requests, in order, a ``Row`` of rows.h each in ``memory``; and what their numbers stand for.

    The memory is the reader's and valid until it reads again.
    """

    memory: bytearray
    rows: int
    spans: int
    no_trace_id: int
    no_span_id: int
    no_end_time: int
    resources: list[bytes]
    states: list[bytes]
    combinations: list[tuple[bytes, ...]]


class SpanReader:
    """Reads requests with memory that is kept from one to the next. Not thread-safe."""

    def __init__(self, found: ctypes.CDLL, keys: Sequence[str], urls: frozenset[str]) -> None:
        """``keys`` are the attributes that matter; of ``urls`` among them only is marked that they are there."""
        self._read_spans = found.read_spans
        self._reading = _Reading()
        self._reading.longest_us = LONGEST_US
        encoded = [key.encode() for key in keys]
        self._reading.keys = _Keys(
            len(keys),
            (ctypes.c_char_p * len(keys))(*encoded),
            (ctypes.c_uint32 * len(keys))(*map(len, encoded)),
            (ctypes.c_uint8 * len(keys))(*(key in urls for key in keys)),
            (ctypes.c_int32 * (256 + len(keys)))(),
        )
        for name in ("resources", "states", "combinations"):
            setattr(self._reading, name, _distinct())
        self._memory = bytearray()

    def read(self, values: Sequence[bytes], latest_us: Sequence[int]) -> Read | None:
        """The spans of serialized requests, none ending after its request's ``latest_us``; None where the reader declines."""
        size = sum(map(len, values))
        pointers = (ctypes.c_char_p * len(values))(*values)
        sizes = (ctypes.c_int64 * len(values))(*map(len, values))
        self._reading.latest_us = (ctypes.c_int64 * len(values))(*latest_us)
        for bytes_a_span in (_TYPICAL_BYTES, _LEAST_BYTES):
            self._make_room(size // bytes_a_span + 1)
            failed = self._read_spans(ctypes.byref(self._reading), pointers, sizes, len(values))
            if failed != _TOO_SMALL:
                break
        return None if failed else self._result(values)

    def _make_room(self, rows: int) -> None:
        if rows <= self._reading.capacity:
            return
        self._memory = bytearray(rows * ROW.size)
        self._reading.row = address(self._memory)
        self._reading.capacity = rows

    def _result(self, values: Sequence[bytes]) -> Read:
        reading = self._reading
        return Read(
            self._memory,
            reading.rows,
            reading.spans,
            reading.no_trace_id,
            reading.no_span_id,
            reading.no_end_time,
            [one for (one,) in _items(reading.resources, values)],
            [one for (one,) in _items(reading.states, values)],
            _items(reading.combinations, values),
        )


def _distinct() -> _Distinct:
    slots = 2 * _MOST_ITEMS
    return _Distinct(
        _MOST_ITEMS,
        _MOST_SLICES,
        0,
        0,
        (ctypes.c_int64 * (_MOST_ITEMS + 1))(),
        *((ctypes.c_uint32 * _MOST_SLICES)() for _ in range(3)),
        (ctypes.c_uint64 * _MOST_ITEMS)(),
        (ctypes.c_uint32 * slots)(),
        slots - 1,
    )


def _items(distinct: _Distinct, values: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    count = distinct.slices
    places = zip(distinct.record[:count], distinct.at[:count], distinct.size[:count], strict=True)
    slices = [values[record][at : at + size] for record, at, size in places]
    first = distinct.first[: distinct.items + 1]
    return [tuple(slices[first[i] : first[i + 1]]) for i in range(distinct.items)]
