"""From OTLP to halves by columns: what :class:`~ctrlplane_stream.telemetry.halving.ReferenceSource` does, many spans at once.

Attributes are looked at only for callers and consumers, and only those whose keys matter; each distinct combination is
understood once, by the reference's own rules. Whatever the columns cannot take goes to the reference.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl
from google.protobuf.message import DecodeError

from ctrlplane_stream.telemetry.batches import encode_tables
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
from ctrlplane_stream.telemetry.folding import LONGEST_US
from ctrlplane_stream.telemetry.half import ERROR, LINK, LINKED, RECEIVE, Kind, Origin, Peer
from ctrlplane_stream.telemetry.half_columns import falses
from ctrlplane_stream.telemetry.halving import Batches, HalvesRecordOut, ReferenceSource, SourceRecord
from ctrlplane_stream.telemetry.native import LINKS, URL, Columns, Read, SpanReader, library
from ctrlplane_stream.telemetry.origins import LONGEST_KEY_BYTES, Origins
from ctrlplane_stream.telemetry.peers import HOSTS, KEYS, URLS, attribute, collect, fetch_kind, peer_of
from ctrlplane_stream.telemetry.reading import LATEST_US, links_of
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sampling import weight
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.gen.halves_pb2 import HalfRecord
from ctrlplane_stream.wire.gen.otlp_trimmed_pb2 import Span
from ctrlplane_stream.wire.otlp import Unreadable, request_bytes

_CHUNK_BYTES = 16 << 20
"""Requests decoded at a time: a few thousand calls of columns a chunk, and some ten megabytes held meanwhile."""

_KEY_FILTER = KeyFilter(sorted(KEYS))
_URL_TAILS = tails_of(URLS)
_FAILED = 2
_COLUMNS = ("high", "low", "span", "parent", "end", "duration", "flags", "origin", "peer", "weight")


class Described(msgspec.Struct, frozen=True):
    """What a combination of attributes says. ``fetch``: kind and mark of a span that fetched or settled messages, else 0.
    ``homeless``: none names a host, so that a URL, if there is one, decides."""

    peer: Peer | None
    fetch: int
    failed: bool
    homeless: bool


@dataclass(slots=True)
class _Tables:
    """The values that rows of a chunk point to."""

    origins: list[Origin]
    peers: dict[Peer, int]
    weights: dict[float, int]
    encoded: bytes = b""

    @property
    def many_weights(self) -> bool:
        """Whether rows differ in weight."""
        return len(self.weights) > 1

    def sorted_into(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with origins and peers numbered in order of value: so that records with the same ones have equal tables."""
        origins = sorted({self.origins[number] for number in _used(rows["origin"], len(self.origins))})
        peers = sorted(self.peers)
        by_origin, by_peer = {origin: i for i, origin in enumerate(origins)}, {peer: i + 1 for i, peer in enumerate(peers)}
        self.encoded = _encoded_tables(tuple(origins), tuple(peers), tuple(self.weights))
        numbers = [by_origin.get(origin, 0) for origin in self.origins]
        origin = _looked_up(numbers, pl.UInt32, rows["origin"]).alias("origin")
        peer = _looked_up([0, *(by_peer[peer] for peer in self.peers)], pl.UInt32, rows["peer"]).alias("peer")
        return pl.DataFrame([*(rows[name] for name in rows.columns if name not in {"origin", "peer"}), origin, peer])


@lru_cache(maxsize=64)
def _encoded_tables(origins: tuple[Origin, ...], peers: tuple[Peer, ...], weights: tuple[float, ...]) -> bytes:
    """Chunks of the same services have the same tables."""
    return encode_tables(origins, peers, weights)


class ColumnarSource:
    """See the module. Keeps only caches."""

    _MOST_CACHED = 16_384

    def __init__(self, settings: SpanSettings, least_bytes: int = 64 << 10, compiled: bool = True) -> None:
        """Chunks of less than ``least_bytes`` go to the reference, which is faster with few spans (measured: about two hundred).

        ``compiled``: whether to use the reader in C, where there is one.
        """
        self._settings = settings
        self._least_bytes = least_bytes
        self._reference = ReferenceSource(settings)
        self._origins = Origins(settings.default_environment)
        self._described: dict[tuple[bytes, ...], Described] = {}
        found = library() if compiled else None
        self._columns = None if found is None else Columns(found)
        self._spans = None if found is None else SpanReader(found, sorted(KEYS), frozenset(URLS))

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
            result = self._read(records, readable, passed) or self._decoded(records, decode_requests(readable), passed)
        except (ValueError, DecodeError, pl.exceptions.PolarsError, IndexError):
            return self._reference.batches(records, skipped)
        skipped.update(passed)
        return result

    def _read(self, records: Sequence[SourceRecord], values: Sequence[bytes], skipped: Counter[Skip]) -> Batches | None:
        """The halves by the reader in C, or None where there is none or it declines."""
        latest = [LATEST_US if r.received_ms is None else r.received_ms * 1000 for r in records]
        read = None if self._spans is None else self._spans.read(values, latest)
        if read is None:
            return None
        tables = _Tables([self._origins.of(resource) for resource in read.resources], {}, {})
        for reason, count in (
            (Skip.NO_TRACE_ID, read.no_trace_id),
            (Skip.NO_SPAN_ID, read.no_span_id),
            (Skip.NO_END_TIME, read.no_end_time),
        ):
            if count:
                skipped[reason] += count
        if not len(read.rows):
            return Batches((), (), (), read.spans)
        default = self._settings.sampling_multiplier
        weights = [_number(weight, tables.weights) for weight in (default, *(weight(state, default) for state in read.states))]
        flags, peer = self._understood(read, values, tables)
        found = {name: read.rows[name] for name in (*_COLUMNS[:6], "record", "marks", "at", "size")}
        weight_rows = _looked_up(weights, pl.UInt32, read.rows["state"]) if read.states else read.rows["state"]
        rows = pl.DataFrame({**found, "flags": flags, "origin": read.rows["resource"], "peer": peer, "weight": weight_rows})
        linked = ((rows["marks"] & LINKS) != 0) & ((rows["flags"] & 7) == Kind.CONSUMER)
        if linked.any():
            spans = ((at, Span.FromString(values[rec][start : start + size])) for at, rec, start, size in _places(rows, linked))
            links = [(at, span.links, span.trace_id, span.parent_span_id) for at, span in spans]
            rows = _with_copies(rows, links, self._settings.max_links, skipped)
        return self._batches(records, rows, tables, read.spans)

    def _understood(self, read: Read, values: Sequence[bytes], tables: _Tables) -> tuple[pl.Series, pl.Series]:
        """Flags as in ``Half.flags`` but for the links, and peers (1 + index; 0: none), by what the attributes say."""
        rows, flags, index = read.rows, read.rows["flags"], read.rows["combination"]
        described = [self._describe(combination) for combination in read.combinations]
        peers = [0, *(0 if one.peer is None else _number(one.peer, tables.peers) + 1 for one in described)]
        peer = _looked_up(peers, pl.UInt32, index)
        if any(one.homeless for one in described):
            homeless = _looked_up([False, *(one.homeless for one in described)], pl.Boolean, index) & ((rows["marks"] & URL) != 0)
            places = _places(rows, homeless)
            spans = (Span.FromString(values[record][start : start + size]) for _, record, start, size in places)
            found = [peer_of(collect(map(attribute, span.attributes))) for span in spans]
            named = [0 if one is None else _number(one, tables.peers) + 1 for one in found]
            peer = peer.scatter([at for at, _, _, _ in places], named)
        if any(one.failed for one in described):
            fails = _looked_up([False, *(one.failed for one in described)], pl.Boolean, index) & ((flags & 7) != Kind.CONSUMER)
            flags = flags.zip_with(~fails, flags | ERROR)
        if any(one.fetch for one in described):
            fetches = _looked_up([0, *(one.fetch for one in described)], pl.UInt8, index)
            flags = flags.zip_with(fetches == 0, (flags & ERROR) | fetches)
        return flags, peer

    def _decoded(self, records: Sequence[SourceRecord], columns: SpanColumns, skipped: Counter[Skip]) -> Batches:
        if columns.record.n_unique() < len(records):
            return self._reference.batches(records, skipped)  # some record holds no span, which it says of each
        spans = len(columns)
        tables = _Tables([self._origins.of(resource) for resource in columns.resources], {}, {})
        columns = _usable(columns, skipped)
        if not len(columns):
            return Batches((), (), (), spans)
        rows = self._with_links(columns, self._rows(columns, records, tables), skipped)
        return self._batches(records, rows, tables, spans)

    def _batches(self, records: Sequence[SourceRecord], rows: pl.DataFrame, tables: _Tables, spans: int) -> Batches:
        environments = {tables.origins[index].environment for index in _used(rows["origin"], len(tables.origins))}
        encoded = tuple(_encoded(tables.sorted_into(rows), records, tables, self._settings.partitions, self._columns))
        return Batches(encoded, tuple(sorted(environments)), (), spans)

    def _rows(self, columns: SpanColumns, records: Sequence[SourceRecord], tables: _Tables) -> pl.DataFrame:
        """The halves of the spans, a row each; links are not looked at yet."""
        trace = words(columns.field("trace_id"), 16)
        ends = (columns.numbers("end_time_unix_nano") // 1000).cast(pl.Int64)
        starts = (columns.numbers("start_time_unix_nano") // 1000).cast(pl.Int64)
        latest = pl.Series([LATEST_US if r.received_ms is None else r.received_ms * 1000 for r in records], dtype=pl.Int64)
        latest = latest[columns.record]
        flags, peer = self._flags_and_peers(columns, tables)
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
                "weight": self._weights(columns, tables),
                "record": columns.record,
            }
        )

    def _flags_and_peers(self, columns: SpanColumns, tables: _Tables) -> tuple[pl.Series, pl.Series]:
        """Flags as in ``Half.flags`` but for the links, and peers (1 + index; 0: none)."""
        number = columns.numbers("kind")
        kind = (number * ((number >= 0) & (number <= Kind.CONSUMER))).cast(pl.UInt8)
        flags = kind + (columns.status_codes() == _FAILED).cast(pl.UInt8) * ERROR
        peer = pl.zeros(len(columns), dtype=pl.UInt32, eager=True)
        callers = (kind >= Kind.CLIENT).arg_true()
        if not len(callers):
            return flags, peer
        index, described, urls = self._attributes(columns, callers)
        peers = _looked_up([0 if one.peer is None else _number(one.peer, tables.peers) + 1 for one in described], pl.UInt32, index)
        for at in urls.row.filter(_looked_up([one.homeless for one in described], pl.Boolean, index)[urls.row]).unique():
            found = peer_of(collect(map(attribute, columns.field("attributes")[callers[at]].as_py())))
            peers[at] = 0 if found is None else _number(found, tables.peers) + 1
        fails = _looked_up([one.failed for one in described], pl.Boolean, index) & (kind[callers] != Kind.CONSUMER)
        fetches = _looked_up([one.fetch for one in described], pl.UInt8, index)
        own = flags[callers]
        own = own.zip_with(~fails, own | ERROR)
        own = own.zip_with(fetches == 0, (own & ERROR) | fetches)
        return flags.scatter(callers, own), peer.scatter(callers, peers)

    def _attributes(self, columns: SpanColumns, callers: pl.Series) -> tuple[pl.Series, list[Described], FlatLists]:
        """For each caller the index of what its attributes say, URLs left aside; and the URLs, each of which is seldom seen twice."""
        found = _KEY_FILTER.find(flattened(columns.field("attributes"), callers))
        urls, plain = found.split(_URL_TAILS)
        index, combined = combinations(plain, len(callers))
        return index, [self._describe(combination) for combination in combined], urls

    def _describe(self, combination: tuple[bytes, ...]) -> Described:
        described = self._described.get(combination)
        if described is None:
            if len(self._described) >= self._MOST_CACHED:
                self._described.clear()
            attributes = {key: value for key, value in collect(map(attribute, combination)).items() if key not in URLS}
            kind = fetch_kind(attributes)
            fetch = 0 if kind is None else kind | RECEIVE
            homeless = kind is not Kind.INTERNAL and not any(host in attributes for host in HOSTS)
            peer = None if kind is Kind.INTERNAL else peer_of(attributes)
            described = Described(peer, fetch, "error.type" in attributes, homeless)
            if sum(map(len, combination)) <= LONGEST_KEY_BYTES:
                self._described[combination] = described
        return described

    def _weights(self, columns: SpanColumns, tables: _Tables) -> pl.Series:
        default = self._settings.sampling_multiplier
        states = columns.field("trace_state")
        if not (lengths(states) > 0).any():
            tables.weights[default] = 0
            return pl.zeros(len(columns), dtype=pl.UInt32, eager=True)
        encoded = states.dictionary_encode()
        found = [_number(weight(state, default), tables.weights) for state in encoded.dictionary.to_pylist()]
        return _looked_up(found, pl.UInt32, pl.Series(encoded.indices))

    def _with_links(self, columns: SpanColumns, rows: pl.DataFrame, skipped: Counter[Skip]) -> pl.DataFrame:
        """The rows, with a copy for each producer that a consumer is linked to."""
        consumers = ((rows["flags"] & 7) == Kind.CONSUMER).arg_true()
        if not len(consumers):
            return rows
        raw = columns.field("links").take(consumers.to_arrow()).to_pylist()
        traces, parents = columns.field("trace_id"), columns.field("parent_span_id")
        links = [(at, found, traces[at].as_py(), parents[at].as_py()) for at, found in zip(consumers, raw, strict=True) if found]
        return _with_copies(rows, links, self._settings.max_links, skipped)


_Links = tuple[int, Sequence[bytes], bytes, bytes]
"""A consumer's row, its serialized links, its trace and its parent."""


def _with_copies(rows: pl.DataFrame, links: Sequence[_Links], most: int, skipped: Counter[Skip]) -> pl.DataFrame:
    """The rows, with a copy for each producer that a consumer is linked to."""
    sources: list[int] = []
    targets: list[tuple[bytes, bytes]] = []
    linked: list[int] = []
    for at, raw, trace, parent in links:
        found = links_of(raw, trace, parent, most, skipped)
        linked += [at] * bool(found)
        sources += [at] * len(found)
        targets += found
    if not sources:
        return rows
    copies = rows[sources].with_columns(
        high=words_of(b"".join(trace[:8] for trace, _ in targets), len(targets)),
        low=words_of(b"".join(trace[8:] for trace, _ in targets), len(targets)),
        parent=words_of(b"".join(span for _, span in targets), len(targets)),
        flags=rows["flags"][sources] | LINK,
    )
    marked = rows["flags"].scatter(linked, rows["flags"][linked] | LINKED)
    return pl.concat([rows.with_columns(flags=marked), copies])


def _places(rows: pl.DataFrame, mask: pl.Series) -> list[tuple[int, int, int, int]]:
    """Row, record, and where in the record it lies, of the spans where ``mask`` is true."""
    found = mask.arg_true()
    return list(zip(found, rows["record"][found], rows["at"][found], rows["size"][found], strict=True))


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


def _used(numbers: pl.Series, many: int) -> pl.Series:
    """Which numbers below ``many`` are there, ascending."""
    return falses(many).scatter(numbers, True).arg_true()


def _number(value: Hashable, numbers: dict[Any, int]) -> int:
    """The number of a value, given out in order of appearance."""
    return numbers.setdefault(value, len(numbers))


def _encoded(
    rows: pl.DataFrame, records: Sequence[SourceRecord], tables: _Tables, partitions: int, compiled: Columns | None
) -> Iterator[HalvesRecordOut]:
    """A batch for each destination that has rows, in order of destination; within it rows by record."""
    many = len(records)
    if compiled is None:
        key = (((rows["high"] ^ rows["low"]) % partitions) * many + rows["record"]).cast(pl.UInt32)
    else:
        key = compiled.partition_keys(rows["high"], rows["low"], rows["record"], partitions, many)
    counts, columns = _ordered(key, partitions * many, {name: rows[name] for name in _COLUMNS}, compiled)
    widths = {name: len(columns[name]) // len(rows) for name in _COLUMNS}
    first = 0
    for partition in range(partitions):
        own = counts[partition * many : (partition + 1) * many]
        found = [(record.offset, length) for record, length in zip(records, own, strict=True) if length]
        last = first + sum(length for _, length in found)
        if last > first:
            cut = {name: bytes(columns[name][first * widths[name] : last * widths[name]]) for name in _COLUMNS}
            yield HalvesRecordOut(partition, _record(records[0].source, records[-1].offset, found, cut, tables))
        first = last


def _ordered(key: pl.Series, keys: int, columns: dict[str, pl.Series], compiled: Columns | None) -> tuple[list[int], dict[str, memoryview]]:
    """Columns in the order of a key below ``keys``, stable; and how many rows each key has."""
    if compiled is not None:
        counts, found = compiled.ordered(key, keys, columns)
        return counts, {name: memoryview(column) for name, column in found.items()}
    order = pl.select(pl.arg_sort_by(key, maintain_order=True)).to_series()
    by_key = dict(key.alias("key").value_counts().iter_rows())
    return [by_key.get(number, 0) for number in range(keys)], {name: bytes_of(column[order]) for name, column in columns.items()}


def _record(source: int, through: int, runs: list[tuple[int, int]], columns: dict[str, bytes], tables: _Tables) -> bytes:
    record = HalfRecord()
    batch = record.batch
    batch.source, batch.through = source, through
    batch.offsets.extend(offset for offset, _ in runs)
    batch.rows.extend(length for _, length in runs)
    batch.traces_high, batch.traces_low = columns["high"], columns["low"]
    batch.spans, batch.parents = columns["span"], columns["parent"]
    batch.ends, batch.durations, batch.flags = columns["end"], columns["duration"], columns["flags"]
    batch.origin_rows, batch.peer_rows = columns["origin"], columns["peer"]
    batch.tables = tables.encoded
    batch.weight_rows = columns["weight"] if tables.many_weights else b""
    return record.SerializeToString()
