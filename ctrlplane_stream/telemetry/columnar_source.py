"""From OTLP to halves by columns: what :class:`~ctrlplane_stream.telemetry.halving.ReferenceSource` does, many spans at once.

The twin of :class:`~ctrlplane_stream.telemetry.native_source.NativeSource`, for machines without a compiler and for what that declines.
Attributes are looked at only for callers and consumers, and only those whose keys matter; each distinct combination is
understood once, by the reference's own rules. Whatever the columns cannot take goes to the reference.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

import polars as pl
from google.protobuf.message import DecodeError

from ctrlplane_stream.telemetry.columns import (
    FlatLists,
    KeyFilter,
    SpanColumns,
    bytes_of,
    combinations,
    decode_requests,
    flattened,
    lengths,
    or_zeros,
    tails_of,
    words,
    words_of,
)
from ctrlplane_stream.telemetry.describing import Describer, Numbering, number_of, shortened
from ctrlplane_stream.telemetry.durations import LONGEST_US
from ctrlplane_stream.telemetry.half import ERROR, LINK, LINKED, Kind
from ctrlplane_stream.telemetry.half_columns import falses
from ctrlplane_stream.telemetry.halving import Batches, HalvesRecordOut, ReferenceSource, SourceRecord
from ctrlplane_stream.telemetry.origins import Origins
from ctrlplane_stream.telemetry.peers import KEYS, URLS
from ctrlplane_stream.telemetry.reading import LATEST_US, copy_id, links_of
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sampling import weight
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.gen.halves_pb2 import HalfRecord
from ctrlplane_stream.wire.otlp import Unreadable, request_bytes

_CHUNK_BYTES = 16 << 20
"""Requests decoded at a time: a few thousand calls of columns a chunk, and some ten megabytes held meanwhile."""

_KEY_FILTER = KeyFilter(sorted(KEYS))
_URL_TAILS = tails_of(URLS)
_FAILED = 2
_COLUMNS = ("high", "low", "span", "parent", "end", "duration", "flags", "origin", "peer", "weight")


class ColumnarSource:
    """See the module. Keeps only caches."""

    def __init__(self, settings: SpanSettings, least_bytes: int = 64 << 10) -> None:
        """Chunks of less than ``least_bytes`` go to the reference, which is faster with few spans (measured: about two hundred)."""
        self._settings = settings
        self._least_bytes = least_bytes
        self._reference = ReferenceSource(settings)
        self._origins = Origins(settings.default_environment)
        self._describer = Describer()

    def batches(self, records: Sequence[SourceRecord], skipped: Counter[Skip]) -> Batches:
        """See :class:`~ctrlplane_stream.telemetry.halving.HalfSource`."""
        results = [self._chunk(chunk, skipped) for chunk in _chunks(records)]
        return Batches(
            tuple(record for result in results for record in result.encoded),
            tuple(sorted({environment for result in results for environment in result.environments})),
            tuple(bad for result in results for bad in result.unreadable),
            sum(result.spans for result in results),
        )

    def _chunk(self, records: Sequence[SourceRecord], skipped: Counter[Skip]) -> Batches:
        if sum(len(record.value or b"") for record in records) < self._least_bytes:
            return self._reference.batches(records, skipped)
        values = [request_bytes(record.value) for record in records]
        readable = [value for value in values if not isinstance(value, Unreadable)]
        if len(readable) < len(values):
            return self._reference.batches(records, skipped)
        passed: Counter[Skip] = Counter()
        try:
            result = self._halved(records, readable, passed)
        except (ValueError, DecodeError, pl.exceptions.PolarsError, IndexError):
            return self._reference.batches(records, skipped)
        skipped.update(passed)
        return result

    def _halved(self, records: Sequence[SourceRecord], values: Sequence[bytes], skipped: Counter[Skip]) -> Batches:
        """The halves of requests. Raises ValueError, DecodeError, IndexError or PolarsError where the reference has to read them."""
        columns = decode_requests(values)
        if columns.record.n_unique() < len(records):
            return self._reference.batches(records, skipped)  # some record holds no span, which it says of each
        spans = len(columns)
        numbers = Numbering([self._origins.of(resource) for resource in columns.resources], {})
        weights: dict[float, int] = {}
        columns = _usable(columns, skipped)
        if not len(columns):
            return Batches((), (), (), spans)
        rows = self._with_links(columns, self._rows(columns, records, numbers, weights), skipped)
        return self._batches(records, rows, numbers, weights, spans)

    def _batches(
        self, records: Sequence[SourceRecord], rows: pl.DataFrame, numbers: Numbering, weights: dict[float, int], spans: int
    ) -> Batches:
        used = _marks(rows["origin"], len(numbers.origins)), _marks(rows["peer"], len(numbers.peers) + 1)
        tables = numbers.tables(*used, weights)
        origin = _looked_up(tables.origin, pl.UInt32, rows["origin"]).alias("origin")
        rows = rows.with_columns(origin, _looked_up(tables.peer, pl.UInt32, rows["peer"]).alias("peer"))
        encoded = tuple(_encoded(rows, records, tables.value, len(weights) > 1, self._settings.partitions))
        return Batches(encoded, tables.environments, (), spans)

    def _rows(self, columns: SpanColumns, records: Sequence[SourceRecord], numbers: Numbering, weights: dict[float, int]) -> pl.DataFrame:
        """The halves of the spans, a row each; links are not looked at yet."""
        trace = words(columns.field("trace_id"), 16)
        ends = (columns.numbers("end_time_unix_nano") // 1000).cast(pl.Int64)
        begun = columns.numbers("start_time_unix_nano")
        starts = (begun // 1000).cast(pl.Int64).zip_with(begun != 0, ends)
        latest = pl.Series([LATEST_US if r.received_ms is None else r.received_ms * 1000 for r in records], dtype=pl.Int64)
        latest = latest[columns.record]
        flags, peer = self._flags_and_peers(columns, numbers)
        return pl.DataFrame(
            {
                "high": trace.gather_every(2),
                "low": trace.gather_every(2, 1),
                "span": words(columns.field("span_id"), 8),
                "parent": words(or_zeros(columns.field("parent_span_id"), 8), 8),
                "end": ends.zip_with(ends <= latest, latest),
                "duration": (ends - starts).clip(0, LONGEST_US),
                "flags": flags,
                "origin": columns.resource,
                "peer": peer,
                "weight": self._weights(columns, weights),
                "record": columns.record,
            }
        )

    def _flags_and_peers(self, columns: SpanColumns, numbers: Numbering) -> tuple[pl.Series, pl.Series]:
        """Flags as in ``Half.flags`` but for the links, and peers (1 + index; 0: none)."""
        number = columns.numbers("kind")
        kind = (number * ((number >= 0) & (number <= Kind.CONSUMER))).cast(pl.UInt8)
        flags = kind + (columns.status_codes() == _FAILED).cast(pl.UInt8) * ERROR
        peer = pl.zeros(len(columns), dtype=pl.UInt32, eager=True)
        callers = (kind >= Kind.CLIENT).arg_true()
        if not len(callers):
            return flags, peer
        index, combined, urls = self._attributes(columns, callers)
        described = [self._describer.describe(combination) for combination in combined]
        peers = _looked_up([numbers.peer_number(one.peer) for one in described], pl.UInt32, index)
        by_row: dict[int, tuple[bytes, ...]] = {}
        for row, raw in urls.only(_looked_up([one.homeless for one in described], pl.Boolean, index)[urls.row]).items():
            by_row[row] = by_row.get(row, ()) + shortened(raw)
        for row, found in by_row.items():
            peers[row] = numbers.peer_number(self._describer.describe(combined[index[row]] + found).peer)
        fails = _looked_up([one.failed for one in described], pl.Boolean, index) & (kind[callers] != Kind.CONSUMER)
        fetches = _looked_up([one.fetch for one in described], pl.UInt8, index)
        own = flags[callers]
        own = own.zip_with(~fails, own | ERROR)
        own = own.zip_with(fetches == 0, (own & ERROR) | fetches)
        return flags.scatter(callers, own), peer.scatter(callers, peers)

    def _attributes(self, columns: SpanColumns, callers: pl.Series) -> tuple[pl.Series, list[tuple[bytes, ...]], FlatLists]:
        """For each caller the index of its combination of attributes, URLs left aside; and the URLs, each of which is seldom seen twice."""
        found = _KEY_FILTER.find(flattened(columns.field("attributes"), callers))
        urls, plain = found.split(_URL_TAILS)
        index, combined = combinations(plain, len(callers))
        return index, combined, urls

    def _weights(self, columns: SpanColumns, weights: dict[float, int]) -> pl.Series:
        default = self._settings.sampling_multiplier
        states = columns.field("trace_state")
        weights[default] = 0
        if not (lengths(states) > 0).any():
            return pl.zeros(len(columns), dtype=pl.UInt32, eager=True)
        encoded = states.dictionary_encode()
        found = [number_of(weight(state, default), weights) for state in encoded.dictionary.to_pylist()]
        return _looked_up(found, pl.UInt32, pl.Series(encoded.indices))

    def _with_links(self, columns: SpanColumns, rows: pl.DataFrame, skipped: Counter[Skip]) -> pl.DataFrame:
        """The rows, with a copy for each producer that a consumer is linked to."""
        consumers = ((rows["flags"] & 7) == Kind.CONSUMER).arg_true()
        if not len(consumers):
            return rows
        raw = columns.field("links").take(consumers.to_arrow()).to_pylist()
        ids = [columns.field(name) for name in ("trace_id", "span_id", "parent_span_id")]
        links = [(at, found, *(each[at].as_py() for each in ids)) for at, found in zip(consumers, raw, strict=True) if found]
        return _with_copies(rows, links, self._settings.max_links, skipped)


_Links = tuple[int, Sequence[bytes], bytes, bytes, bytes]
"""A consumer's row, its serialized links, its trace, its id and its parent."""


def _with_copies(rows: pl.DataFrame, links: Sequence[_Links], most: int, skipped: Counter[Skip]) -> pl.DataFrame:
    """The rows, with a copy for each producer that a consumer is linked to."""
    sources: list[int] = []
    targets: list[tuple[bytes, bytes]] = []
    ids: list[bytes] = []
    linked: list[int] = []
    for at, raw, trace, span, parent in links:
        found = links_of(raw, trace, parent, most, skipped)
        linked += [at] * bool(found)
        sources += [at] * len(found)
        targets += found
        ids += [copy_id(trace, span)] * len(found)
    if not sources:
        return rows
    copies = rows[sources].with_columns(
        high=words_of(b"".join(trace[:8] for trace, _ in targets), len(targets)),
        low=words_of(b"".join(trace[8:] for trace, _ in targets), len(targets)),
        span=words_of(b"".join(ids), len(ids)),
        parent=words_of(b"".join(span for _, span in targets), len(targets)),
        flags=rows["flags"][sources] | LINK,
    )
    marked = rows["flags"].scatter(linked, rows["flags"][linked] | LINKED)
    return pl.concat([rows.with_columns(flags=marked), copies])


def _chunks(records: Sequence[SourceRecord]) -> Iterator[Sequence[SourceRecord]]:
    first = size = 0
    for i, record in enumerate(records):
        size += len(record.value or b"")
        if size >= _CHUNK_BYTES:
            yield records[first : i + 1]
            first, size = i + 1, 0
    if first < len(records):
        yield records[first:]


def _usable(columns: SpanColumns, skipped: Counter[Skip]) -> SpanColumns:
    """Only the spans that can be placed; the others are counted by the first reason that applies."""
    for name, width, reason in (("trace_id", 16, Skip.NO_TRACE_ID), ("span_id", 8, Skip.NO_SPAN_ID)):
        columns = _only(columns, lengths(columns.field(name)) == width, reason, skipped)
        parts = words(columns.field(name), width)
        nonzero = parts != 0
        if width == 16 and not nonzero.all():
            nonzero = nonzero.gather_every(2) | nonzero.gather_every(2, 1)
        columns = _only(columns, nonzero, reason, skipped)
    return _only(columns, columns.numbers("end_time_unix_nano") != 0, Skip.NO_END_TIME, skipped)


def _only(columns: SpanColumns, mask: pl.Series, reason: Skip, skipped: Counter[Skip]) -> SpanColumns:
    if mask.all():
        return columns
    skipped[reason] += len(mask) - int(mask.sum())
    return columns.keep(mask)


def _looked_up(values: Sequence[object], dtype: pl.DataType | type[pl.DataType], index: pl.Series) -> pl.Series:
    return pl.Series(values, dtype=dtype)[index]


def _marks(numbers: pl.Series, many: int) -> Sequence[bool]:
    """For each number below ``many`` whether it is there."""
    return cast("list[bool]", falses(many).scatter(numbers.unique(), True).to_list())


def _encoded(
    rows: pl.DataFrame, records: Sequence[SourceRecord], tables: bytes, many_weights: bool, partitions: int
) -> Iterator[HalvesRecordOut]:
    """A batch for each destination that has rows, in order of destination; within it rows by record."""
    many = len(records)
    key = (((rows["high"] ^ rows["low"]) % partitions) * many + rows["record"]).cast(pl.UInt32)
    order = key.alias("key").to_frame().with_row_index("at").sort("key", maintain_order=True)["at"]
    by_key = dict(key.alias("key").value_counts().iter_rows())
    columns = {name: bytes_of(rows[name][order]) for name in _COLUMNS if name != "weight" or many_weights}
    widths = {name: len(column) // len(rows) for name, column in columns.items()}
    first = 0
    for partition in range(partitions):
        found = [(record.offset, by_key.get(partition * many + i, 0)) for i, record in enumerate(records)]
        last = first + sum(length for _, length in found)
        if last > first:
            cut = {name: bytes(columns[name][first * width : last * width]) for name, width in widths.items()}
            runs = [(offset, length) for offset, length in found if length]
            yield HalvesRecordOut(partition, _record(records[0].source, records[-1].offset, runs, cut, tables))
        first = last


def _record(source: int, through: int, runs: list[tuple[int, int]], columns: dict[str, bytes], tables: bytes) -> bytes:
    record = HalfRecord()
    batch = record.batch
    batch.source, batch.through = source, through
    batch.offsets.extend(offset for offset, _ in runs)
    batch.rows.extend(length for _, length in runs)
    batch.traces_high, batch.traces_low = columns["high"], columns["low"]
    batch.spans, batch.parents = columns["span"], columns["parent"]
    batch.ends, batch.durations, batch.flags = columns["end"], columns["duration"], columns["flags"]
    batch.origin_rows, batch.peer_rows = columns["origin"], columns["peer"]
    batch.tables = tables
    batch.weight_rows = columns.get("weight", b"")
    return record.SerializeToString()
