"""From OTLP to halves in C: rows of a chunk of records are read, completed and written by destination without an object for each.

What attributes and resources mean is asked of Python once per distinct content, of URLs their hosts; so are the few consumers that have
links. What the reader in C declines is read by columns (:class:`~ctrlplane_stream.telemetry.columnar_source.ColumnarSource`).
"""

import ctypes
from array import array
from collections import Counter
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from ctrlplane_stream.telemetry.columnar_source import ColumnarSource
from ctrlplane_stream.telemetry.describing import Describer, EncodedTables, Numbering, number_of
from ctrlplane_stream.telemetry.half import LINK, LINKED
from ctrlplane_stream.telemetry.halving import Batches, HalvesRecordOut, SourceRecord
from ctrlplane_stream.telemetry.native import FAILED, ROW, Body, Read, RowsToHalves, SpanReader
from ctrlplane_stream.telemetry.origins import Origins
from ctrlplane_stream.telemetry.peers import KEYS, URLS
from ctrlplane_stream.telemetry.reading import LATEST_US, copy_id, links_of
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sampling import weight
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.gen.halves_pb2 import HalfRecord
from ctrlplane_stream.wire.gen.otlp_trimmed_pb2 import Span
from ctrlplane_stream.wire.varints import varint

_FLAGS = 13
"""Its place in a row."""

_TABLES = b"\x2a"
"""Field 5 of a HalfBatch. Tables of a thousand services are not copied once more for protobuf, and once more by it."""


class _Meanings:
    """What the numbers of a reader mean. ``meaning`` and ``peer`` are by combination, 0 for none, as halves.c has them."""

    _MOST_TABLES = 64

    def __init__(self, settings: SpanSettings) -> None:
        self._origins = Origins(settings.default_environment)
        self._describer = Describer()
        self._forget()

    def _forget(self) -> None:
        self.numbers = Numbering([], {})
        self.meaning, self.peer = array("H", [0]), array("I", [0])
        self._tables: dict[tuple[bytes, bytes, tuple[float, ...]], EncodedTables] = {}

    def meet(self, read: Read) -> None:
        """Understand what has got its number. Raises DecodeError where it cannot be; then the reader has to give numbers anew."""
        if read.anew:
            self._forget()
        self.numbers.origins += [self._origins.of(resource) for resource in read.resources]
        for one in map(self._describer.describe, read.combinations):
            self.meaning.append(one.fetch | FAILED * one.failed)
            self.peer.append(self.numbers.peer_number(one.peer))

    def tables(self, resources: bytes, peers: bytes, weights: tuple[float, ...]) -> EncodedTables:
        """The tables of rows that use these; chunks of the same services mostly use the same."""
        key = resources, peers, weights
        found = self._tables.get(key)
        if found is None:
            if len(self._tables) >= self._MOST_TABLES:
                self._tables.clear()
            found = self._tables[key] = self.numbers.tables(resources, peers, weights)
        return found


class NativeSource(ColumnarSource):
    """See the module. Keeps only caches, and memory that is used again."""

    def __init__(self, found: ctypes.CDLL, settings: SpanSettings, least_bytes: int = 16 << 10) -> None:
        """Chunks of less than ``least_bytes`` go to the reference, which is faster with few spans (measured)."""
        super().__init__(settings, least_bytes)
        self._settings = settings
        self._meanings = _Meanings(settings)
        self._reader = SpanReader(found, sorted(KEYS), frozenset(URLS))
        self._writer = RowsToHalves(found, settings.partitions)

    def _halved(self, records: Sequence[SourceRecord], values: Sequence[bytes], skipped: Counter[Skip]) -> Batches:
        latest = [LATEST_US if r.received_ms is None else r.received_ms * 1000 for r in records]
        read = self._reader.read(values, latest)
        if read is None:
            return super()._halved(records, values, skipped)
        try:
            self._meanings.meet(read)
        except DecodeError:
            self._reader.forget()  # what cannot be understood has a number now
            raise
        for reason, count in (
            (Skip.NO_TRACE_ID, read.no_trace_id),
            (Skip.NO_SPAN_ID, read.no_span_id),
            (Skip.NO_END_TIME, read.no_end_time),
        ):
            if count:
                skipped[reason] += count
        return self._written(records, values, read, skipped) if read.rows else Batches((), (), (), read.spans)

    def _written(self, records: Sequence[SourceRecord], values: Sequence[bytes], read: Read, skipped: Counter[Skip]) -> Batches:
        default = self._settings.sampling_multiplier
        weights: dict[float, int] = {}
        by_state = array("I", [number_of(weight(state, default) if state else default, weights) for state in (b"", *read.states)])
        self._complete(values, read, skipped)
        numbers = self._meanings.numbers
        used = self._writer.used(read.memory, read.rows, len(numbers.origins), len(numbers.peers))
        tables = self._meanings.tables(*used, tuple(weights))
        weight_rows = by_state if len(weights) > 1 else None
        found = self._writer.bodies(read.memory, read.rows, len(records), tables.origin, tables.peer, weight_rows)
        out = [HalvesRecordOut(p, _record(records, body, tables.value)) for p, body in enumerate(found) if body.columns]
        return Batches(tuple(out), tables.environments, (), read.spans)

    def _complete(self, values: Sequence[bytes], read: Read, skipped: Counter[Skip]) -> None:
        """Give the rows what their attributes mean, and consumers with links their copies."""
        meanings = self._meanings
        special = self._writer.understand(read.memory, read.rows, meanings.meaning, meanings.peer)
        copies: list[bytes] = []
        for at in special:
            row = list(ROW.unpack_from(read.memory, at * ROW.size))
            record, start, size = row[6], row[7], row[8]
            span = Span.FromString(values[record][start : start + size])
            found = links_of(span.links, span.trace_id, span.parent_span_id, self._settings.max_links, skipped)
            name = copy_id(span.trace_id, span.span_id)
            copies += [_copy(row, name, trace, producer, self._settings.partitions) for trace, producer in found]
            row[_FLAGS] |= LINKED if found else 0
            ROW.pack_into(read.memory, at * ROW.size, *row)
        if copies:
            read.memory = bytearray(read.memory[: read.rows * ROW.size]) + b"".join(copies)
            read.rows += len(copies)


def _copy(row: Sequence[int], name: bytes, trace: bytes, producer: bytes, partitions: int) -> bytes:
    """The row of a consumer as a child of a producer that it is linked to."""
    high, low = int.from_bytes(trace[:8], "little"), int.from_bytes(trace[8:], "little")
    span, parent = int.from_bytes(name, "little"), int.from_bytes(producer, "little")
    return ROW.pack(high, low, span, parent, *row[4:_FLAGS], row[_FLAGS] | LINK, row[14], (high ^ low) % partitions)


def _record(records: Sequence[SourceRecord], body: Body, tables: bytes) -> bytes:
    """The columns of a destination with what goes before them, in the order of the fields' numbers."""
    record = HalfRecord()
    batch = record.batch
    batch.source, batch.through = records[0].source, records[-1].offset
    for source, rows in zip(records, body.counts, strict=True):
        if rows:
            batch.offsets.append(source.offset)
            batch.rows.append(rows)
    head = batch.SerializeToString() + _TABLES + varint(len(tables))
    return b"".join((b"\x0a", varint(len(head) + len(tables) + len(body.columns)), head, tables, body.columns))
