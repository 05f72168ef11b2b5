"""Records of ``span-halves``: bytes to words and back. The words are ``Batch``, ``Watermark`` and ``Watch``.

``Batch`` keeps its columns as bytes, as they came: the reference makes ``Half`` rows of them (:func:`halves`), the
columnar path maps them without a loop, the one in C reads them where they lie.
"""

from array import array
from functools import lru_cache

import msgspec
from google.protobuf.message import DecodeError

from ctrlplane_stream.telemetry.batch_tables import BatchTables, decode_tables
from ctrlplane_stream.telemetry.half import ERROR, LINK, LINKED, RECEIVE, Half, Kind
from ctrlplane_stream.telemetry.native import COLUMNS, BatchReader, FoundBatch, library
from ctrlplane_stream.wire.gen.halves_pb2 import HalfBatch, HalfRecord
from ctrlplane_stream.wire.otlp import Unreadable


class Watermark(msgspec.Struct, frozen=True):
    """Everything that ``source`` received before ``time_ms`` has been forwarded; ``idle``: it had nothing new to read.

    ``written_at_ms`` is the writer's wall clock: the difference is how far the source lies behind.
    """

    source: int
    time_ms: int
    written_at_ms: int
    idle: bool = False
    environments: tuple[str, ...] = ()


class Watch(msgspec.Struct, frozen=True):
    """Which versions of a target are candidates from here on; none ends the watch."""

    environment: str
    service: str
    versions: tuple[str, ...]


WIDTHS = dict.fromkeys(COLUMNS, 8) | {"flags": 1, "origin": 4, "peer": 4, "weight": 4}
"""Bytes a row of each column."""


class HalfColumns(msgspec.Struct, frozen=True):
    """The columns of ``rows`` halves in ``value``; ``start`` says where each of ``COLUMNS`` begins, -1 for weights that are all alike."""

    value: bytes
    rows: int
    start: "array[int]"

    def column(self, name: str) -> bytes:
        """A column as halves.proto has it; empty where weights are all alike."""
        start = self.start[COLUMNS.index(name)]
        return self.value[start : start + WIDTHS[name] * self.rows] if start >= 0 else b""


class Batch(msgspec.Struct, frozen=True):
    """Halves of one source partition for one ``span-halves`` partition, as columns.

    ``through`` is the last source offset that went in whole, -1 before the first; ``runs`` names (source offset, rows) in order, adding up
    to ``rows``. The first run goes on with its record after ``before`` rows of it, which an earlier batch brought.
    """

    source: int
    through: int
    runs: tuple[tuple[int, int], ...]
    columns: HalfColumns
    tables: BatchTables
    before: int = 0

    @property
    def rows(self) -> int:
        """How many halves the batch holds."""
        return self.columns.rows


HalvesRecord = Batch | Watermark | Watch


def encode_watermark(watermark: Watermark) -> bytes:
    """A watermark as a record's value."""
    record = HalfRecord()
    record.watermark.source = watermark.source
    record.watermark.time_ms = watermark.time_ms
    record.watermark.written_at_ms = watermark.written_at_ms
    record.watermark.idle = watermark.idle
    record.watermark.environments.extend(watermark.environments)
    return record.SerializeToString()


def encode_watch(watch: Watch) -> bytes:
    """A watch as a record's value."""
    record = HalfRecord()
    record.watch.environment = watch.environment
    record.watch.service = watch.service
    record.watch.versions.extend(watch.versions)
    if not watch.versions:
        record.watch.SetInParent()
    return record.SerializeToString()


_FOUND = library()
_READER = None if _FOUND is None else BatchReader(_FOUND)


def decode(value: bytes | None) -> HalvesRecord | Unreadable:
    """The word that a record of ``span-halves`` holds, or why it holds none."""
    if value is None:
        return Unreadable("the record has no value")
    found = None if _READER is None else _READER.read(value)
    if found is not None:
        return _placed(found, value)
    return _mark(value) if len(value) < _SHORT else decoded(value)


def _placed(found: FoundBatch, value: bytes) -> Batch | Unreadable:
    try:
        tables = decode_tables(found.tables)
    except (DecodeError, ValueError) as error:
        return _broken(error)
    if found.origins > len(tables.origins) or found.peers > len(tables.peers) or found.weights > len(tables.weights):
        return _HOLDS_NOT
    return Batch(found.source, found.through, found.runs, HalfColumns(value, found.rows, found.start), tables)


def decoded(value: bytes) -> HalvesRecord | Unreadable:
    """As :func:`decode`, by protobuf alone: what the reading in C must agree with."""
    try:
        record = HalfRecord.FromString(value)
    except DecodeError as error:
        return Unreadable(f"not a record of span-halves: {error}")
    match record.WhichOneof("record"):
        case "batch":
            return _batch(record.batch)
        case "watermark":
            mark = record.watermark
            return Watermark(mark.source, mark.time_ms, mark.written_at_ms, mark.idle, tuple(mark.environments))
        case "watch":
            return Watch(record.watch.environment, record.watch.service, tuple(record.watch.versions))
        case _:
            return Unreadable("a record of span-halves without a batch, watermark or watch")


_SHORT = 1_024
_mark = lru_cache(maxsize=256)(decoded)
"""Watermarks come to all partitions alike, and mostly to the same worker."""

_HOLDS_NOT = Unreadable("a row of a batch of span-halves names an origin, peer, weight or kind that there is not")


def _broken(error: Exception) -> Unreadable:
    return Unreadable(f"the tables of a batch of span-halves are broken: {error}")


def _batch(columns: HalfBatch) -> Batch | Unreadable:
    rows = len(columns.flags)
    lengths = (
        (8, columns.traces_high),
        (8, columns.traces_low),
        (8, columns.spans),
        (8, columns.parents),
        (8, columns.ends),
        (8, columns.durations),
    )
    indices = (4, columns.origin_rows), (4, columns.peer_rows), (4 if columns.weight_rows else 0, columns.weight_rows)
    if any(len(column) != width * rows for width, column in lengths + indices) or sum(columns.rows) != rows:
        return Unreadable("the columns of a batch of span-halves differ in length")
    try:
        tables = decode_tables(columns.tables)
    except (DecodeError, ValueError) as error:
        return _broken(error)
    if len(columns.offsets) != len(columns.rows) or not _hold(tables, columns):
        return _HOLDS_NOT
    runs = tuple(zip(columns.offsets, columns.rows, strict=True))
    return Batch(columns.source, columns.through, runs, _joined(columns), tables, columns.before)


def _joined(batch: HalfBatch) -> HalfColumns:
    found = (
        *(batch.traces_high, batch.traces_low, batch.spans, batch.parents, batch.ends, batch.durations),
        *(batch.flags, batch.origin_rows, batch.peer_rows, batch.weight_rows),
    )
    start, at = array("q"), 0
    for column in found:
        start.append(at)
        at += len(column)
    if not found[-1]:
        start[-1] = -1
    return HalfColumns(b"".join(found), len(batch.flags), start)


def _hold(tables: BatchTables, columns: HalfBatch) -> bool:
    return not columns.flags or (
        _below(columns.origin_rows, len(tables.origins))
        and _below(columns.peer_rows, len(tables.peers))
        and _below(columns.weight_rows, len(tables.weights))
        and tables.weights != ()
        and not columns.flags.translate(None, _KNOWN_FLAGS)
    )


_BYTES = bytes(range(256))
_KNOWN_FLAGS = bytes(flags for flags in range(256) if flags & 7 <= Kind.CONSUMER)


def _below(rows: bytes, limit: int) -> bool:
    """Whether all numbers (little-endian, four bytes each) are below a limit; a table of up to 256 entries is checked by the byte."""
    if limit <= len(_BYTES):
        return rows[::4].translate(None, _BYTES[:limit]) == b"" and not any(rows[at::4].strip(b"\0") for at in (1, 2, 3))
    return max(memoryview(rows).cast("I"), default=0) < limit


def halves(batch: Batch, first: int = 0) -> list[Half]:
    """The rows of a batch from the ``first`` on, in order."""
    column = batch.columns.column
    high, low, spans, parents = column("high"), column("low"), column("span"), column("parent")
    origins, peers, weights = batch.tables.origins, batch.tables.peers, batch.tables.weights
    weight_rows = memoryview(column("weight")).cast("I") if column("weight") else None
    ends, durations = memoryview(column("end")).cast("q"), memoryview(column("duration")).cast("q")
    origin_rows, peer_rows = memoryview(column("origin")).cast("I"), memoryview(column("peer")).cast("I")
    return [
        Half(
            high[8 * i : 8 * i + 8] + low[8 * i : 8 * i + 8],
            spans[8 * i : 8 * i + 8],
            parents[8 * i : 8 * i + 8],
            Kind(flags & 7),
            bool(flags & ERROR),
            ends[i],
            durations[i],
            origins[origin_rows[i]],
            peers[peer_rows[i]],
            weights[weight_rows[i] if weight_rows else 0],
            bool(flags & LINK),
            bool(flags & LINKED),
            bool(flags & RECEIVE),
        )
        for i, flags in enumerate(column("flags"))
        if i >= first
    ]
