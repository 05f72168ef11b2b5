"""Serialized requests into rows, by ``read_spans`` of reading.c."""

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ctrlplane_stream.telemetry.durations import LONGEST_US
from ctrlplane_stream.telemetry.native.library import address

_TOO_SMALL = -2
_MOST_ITEMS, _MOST_SLICES, _MOST_BYTES = 1 << 15, 1 << 17, 4 << 20
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
        *((name, ctypes.c_int64) for name in ("most_items", "most_slices", "most_bytes", "items", "slices", "bytes", "full")),
        ("first", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.POINTER(ctypes.c_uint32)) for name in ("at", "size")),
        ("memory", ctypes.POINTER(ctypes.c_uint8)),
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
    """Usable spans of some requests, in order, a ``Row`` of rows.h each in ``memory``, which is valid until the reader reads again.

    ``resources`` and ``combinations`` are those that got their numbers now, after those of earlier reads; where ``anew`` is set, numbers
    begin from the first again. ``states`` are all that these spans have.
    """

    memory: bytearray
    rows: int
    spans: int
    no_trace_id: int
    no_span_id: int
    no_end_time: int
    anew: bool
    resources: list[bytes]
    states: list[bytes]
    combinations: list[tuple[bytes, ...]]


class SpanReader:
    """Reads requests with memory that is kept from one to the next. Not thread-safe."""

    def __init__(self, found: ctypes.CDLL, keys: Sequence[str], urls: frozenset[str]) -> None:
        """``keys`` are the attributes that matter; of ``urls`` among them the key and the host, where that is plain."""
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
        self._known = [0, 0]
        self._forget_distinct = found.forget_distinct
        self.forget()

    def forget(self) -> None:
        """Give numbers anew from the next read on."""
        self._forget_distinct(ctypes.byref(self._reading))
        self._known = [0, 0]

    def read(self, values: Sequence[bytes], latest_us: Sequence[int]) -> Read | None:
        """The spans of serialized requests, none ending after its request's ``latest_us``; None where the reader declines."""
        size = sum(map(len, values))
        pointers = (ctypes.c_char_p * len(values))(*values)
        sizes = (ctypes.c_int64 * len(values))(*map(len, values))
        self._reading.latest_us = (ctypes.c_int64 * len(values))(*latest_us)
        if 2 * self._reading.combinations.items > _MOST_ITEMS:
            self.forget()
        for bytes_a_span in (_TYPICAL_BYTES, _LEAST_BYTES):
            self._make_room(size // bytes_a_span + 1)
            failed = self._read_spans(ctypes.byref(self._reading), pointers, sizes, len(values))
            if failed and (self._reading.resources.full or self._reading.combinations.full):
                self.forget()
                failed = self._read_spans(ctypes.byref(self._reading), pointers, sizes, len(values))
            if failed != _TOO_SMALL:
                break
        return None if failed else self._result()

    def _make_room(self, rows: int) -> None:
        if rows <= self._reading.capacity:
            return
        self._memory = bytearray(rows * ROW.size)
        self._reading.row = address(self._memory)
        self._reading.capacity = rows

    def _result(self) -> Read:
        reading = self._reading
        resources, combinations = self._known
        self._known = [reading.resources.items, reading.combinations.items]
        return Read(
            self._memory,
            reading.rows,
            reading.spans,
            reading.no_trace_id,
            reading.no_span_id,
            reading.no_end_time,
            resources == combinations == 0,
            [one for (one,) in _items(reading.resources, resources)],
            [one for (one,) in _items(reading.states, 0)],
            _items(reading.combinations, combinations),
        )


def _distinct() -> _Distinct:
    slots = 2 * _MOST_ITEMS
    return _Distinct(
        _MOST_ITEMS,
        _MOST_SLICES,
        _MOST_BYTES,
        0,
        0,
        0,
        0,
        (ctypes.c_int64 * (_MOST_ITEMS + 1))(),
        *((ctypes.c_uint32 * _MOST_SLICES)() for _ in range(2)),
        (ctypes.c_uint8 * _MOST_BYTES)(),
        (ctypes.c_uint64 * _MOST_ITEMS)(),
        (ctypes.c_uint32 * slots)(),
        slots - 1,
    )


def _items(distinct: _Distinct, known: int) -> list[tuple[bytes, ...]]:
    """The items from number ``known`` on."""
    first = distinct.first[known : distinct.items + 1]
    memory = ctypes.addressof(distinct.memory.contents)
    places = zip(distinct.at[first[0] : first[-1]], distinct.size[first[0] : first[-1]], strict=True)
    slices = [ctypes.string_at(memory + at, size) for at, size in places]
    return [tuple(slices[begin - first[0] : end - first[0]]) for begin, end in pairwise(first)]
