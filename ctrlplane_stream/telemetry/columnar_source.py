"""From OTLP to halves by columns: what :class:`~ctrlplane_stream.telemetry.halving.ReferenceSource` does, many spans at once.

Attributes are looked at only for callers and consumers, and only those whose keys matter; each distinct combination is
understood once, by the reference's own rules. Whatever the columns cannot take goes to the reference.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
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
from ctrlplane_stream.telemetry.halving import Batches, HalvesRecordOut, ReferenceSource, SourceRecord
from ctrlplane_stream.telemetry.origins import LONGEST_KEY_BYTES, Origins
from ctrlplane_stream.telemetry.peers import HOSTS, KEYS, URLS, attribute, collect, fetch_kind, peer_of
from ctrlplane_stream.telemetry.reading import LATEST_US, links_of
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sampling import weight
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.gen.halves_pb2 import HalfRecord
from ctrlplane_stream.wire.otlp import Unreadable, request_bytes

_CHUNK_BYTES = 4 << 20
"""Requests decoded at a time: more, and the allocator's page faults cost more than the calls saved."""

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
        used = rows["origin"].unique()
        origins = sorted({self.origins[number] for number in used})
        peers = sorted(self.peers)
        by_origin, by_peer = {origin: i for i, origin in enumerate(origins)}, {peer: i + 1 for i, peer in enumerate(peers)}
        self.encoded = encode_tables(origins, peers, self.weights)
        numbers = [by_origin.get(origin, 0) for origin in self.origins]
        return rows.with_columns(
            origin=_looked_up(numbers, pl.UInt32, rows["origin"]),
            peer=_looked_up([0, *(by_peer[peer] for peer in self.peers)], pl.UInt32, rows["peer"]),
        )


class ColumnarSource:
    """See the module. Keeps only caches."""

    _MOST_CACHED = 16_384

    def __init__(self, settings: SpanSettings, least_bytes: int = 64 << 10) -> None:
        """Chunks of less than ``least_bytes`` go to the reference, which is faster with few spans (measured: about two hundred)."""
        self._settings = settings
        self._least_bytes = least_bytes
        self._reference = ReferenceSource(settings)
        self._origins = Origins(settings.default_environment)
        self._described: dict[tuple[bytes, ...], Described] = {}

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
            columns = decode_requests(readable)
            if columns.record.n_unique() < len(records):
                return self._reference.batches(records, skipped)  # some record holds no span, which it says of each
            result = self._halves(records, columns, passed)
        except (ValueError, DecodeError, pl.exceptions.PolarsError, IndexError):
            return self._reference.batches(records, skipped)
        skipped.update(passed)
        return result

    def _halves(self, records: Sequence[SourceRecord], columns: SpanColumns, skipped: Counter[Skip]) -> Batches:
        spans = len(columns)
        tables = _Tables([self._origins.of(resource) for resource in columns.resources], {}, {})
        columns = _usable(columns, skipped)
        if not len(columns):
            return Batches((), (), (), spans)
        rows = self._with_links(columns, self._rows(columns, records, tables), skipped)
        environments = {tables.origins[index].environment for index in rows["origin"].unique()}
        return Batches(
            tuple(_encoded(tables.sorted_into(rows), records, tables, self._settings.partitions)), tuple(sorted(environments)), (), spans
        )

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
        sources: list[int] = []
        targets: list[tuple[bytes, bytes]] = []
        linked: list[int] = []
        for at, raw in zip(consumers, columns.field("links").take(consumers.to_arrow()).to_pylist(), strict=True):
            if raw:
                trace, parent = columns.field("trace_id")[at].as_py(), columns.field("parent_span_id")[at].as_py()
                found = links_of(raw, trace, parent, self._settings.max_links, skipped)
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


def _number(value: Hashable, numbers: dict[Any, int]) -> int:
    """The number of a value, given out in order of appearance."""
    return numbers.setdefault(value, len(numbers))


def _encoded(rows: pl.DataFrame, records: Sequence[SourceRecord], tables: _Tables, partitions: int) -> Iterator[HalvesRecordOut]:
    """A batch for each destination that has rows, in order of destination; within it rows by record."""
    many = len(records)
    keys = (((rows["high"] ^ rows["low"]) % partitions).cast(pl.UInt64) * many + rows["record"]).cast(pl.UInt64)
    ordered = (keys * (1 << 32) + pl.int_range(0, len(rows), dtype=pl.UInt64, eager=True)).sort()
    rows = rows[(ordered & 0xFFFFFFFF).cast(pl.UInt32)]
    runs = (ordered // (1 << 32)).rle().struct.unnest()
    columns = {name: bytes_of(rows[name]) for name in _COLUMNS}
    widths = {name: len(columns[name]) // len(rows) for name in _COLUMNS}
    first = 0
    by_destination: dict[int, list[tuple[int, int]]] = {}
    for length, key in runs.iter_rows():
        by_destination.setdefault(key // many, []).append((records[key % many].offset, length))
    for partition, found in by_destination.items():
        last = first + sum(length for _, length in found)
        cut = {name: bytes(columns[name][first * widths[name] : last * widths[name]]) for name in _COLUMNS}
        yield HalvesRecordOut(partition, _record(records[0].source, records[-1].offset, found, cut, tables))
        first = last


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
