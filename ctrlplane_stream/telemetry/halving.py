"""The first stage: records of ``otlp_spans`` in, records of ``span-halves`` out, one per source and destination partition
(several where it were larger than a record may be).

A half goes to the partition of its trace, so that both halves of a call meet there whoever sent them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol

import msgspec

from ctrlplane_stream.telemetry.batch_encoding import encode_batch
from ctrlplane_stream.telemetry.batch_pieces import in_pieces
from ctrlplane_stream.telemetry.batches import Watermark, encode_watermark
from ctrlplane_stream.telemetry.environments import Environments
from ctrlplane_stream.telemetry.half import Half
from ctrlplane_stream.telemetry.reading import Reader
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.otlp import Unreadable

_NAMED_MS = 60_000
"""How long a watermark names an environment after its last span. A minute: several of them, should some be lost."""


class SourceRecord(msgspec.Struct, frozen=True):
    """A record of ``otlp_spans``: where it stood, its bytes, and when the broker or its writer stamped it (None or below 0: nobody did)."""

    source: int
    offset: int
    value: bytes | None
    received_ms: int | None = None


class HalvesRecordOut(msgspec.Struct, frozen=True):
    """A value to publish on a partition of ``span-halves``."""

    partition: int
    value: bytes


class UnreadableRecord(msgspec.Struct, frozen=True):
    """A record of ``otlp_spans`` for the dead letters, with the reason."""

    source: int
    offset: int
    reason: str


class Halved(msgspec.Struct, frozen=True):
    """What became of some records: what to publish, in order; what to dead-letter; the spans in all, and those skipped by reason."""

    records: tuple[HalvesRecordOut, ...]
    unreadable: tuple[UnreadableRecord, ...]
    spans: int
    skipped: dict[Skip, int]


class HalfSource(Protocol):
    """A way to turn records of one source partition into encoded batches by destination: the reference's or the columnar one."""

    def batches(self, records: Sequence[SourceRecord], skipped: Counter[Skip]) -> "Batches":
        """The encoded batches of these records, all of one source partition, offsets ascending."""
        ...


class Batches(msgspec.Struct, frozen=True):
    """Encoded batches by destination, in order of destination; environments seen; unreadable records; and spans in all."""

    encoded: tuple[HalvesRecordOut, ...]
    environments: tuple[str, ...]
    unreadable: tuple[UnreadableRecord, ...]
    spans: int


def partition_of(trace: bytes, partitions: int) -> int:
    """The ``span-halves`` partition of a trace: its two little-endian words, folded by exclusive or, modulo the count."""
    return (int.from_bytes(trace[:8], "little") ^ int.from_bytes(trace[8:], "little")) % partitions


class ReferenceSource:
    """Span by span, in Python: what the columnar source must agree with."""

    def __init__(self, settings: SpanSettings) -> None:
        self._settings = settings
        self._reader = Reader(settings)

    def batches(self, records: Sequence[SourceRecord], skipped: Counter[Skip]) -> Batches:
        """See :class:`HalfSource`."""
        destinations: dict[int, list[tuple[int, Half]]] = {}
        environments: dict[str, None] = {}
        unreadable: list[UnreadableRecord] = []
        spans = 0
        for record in records:
            read = self._reader.read(record.value, record.received_ms, skipped)
            if isinstance(read, Unreadable):
                unreadable.append(UnreadableRecord(record.source, record.offset, read.reason))
                continue
            spans += read[0]
            for half in read[1]:
                environments[half.origin.environment] = None
                destinations.setdefault(partition_of(half.trace, self._settings.partitions), []).append((record.offset, half))
        encoded = tuple(_encoded(records[0].source, records[-1].offset, p, destinations[p]) for p in sorted(destinations))
        return Batches(encoded, tuple(sorted(environments)), tuple(unreadable), spans)


def _encoded(source: int, through: int, partition: int, rows: list[tuple[int, Half]]) -> HalvesRecordOut:
    runs = [(offset, len(list(run))) for offset, run in groupby(rows, key=lambda row: row[0])]
    return HalvesRecordOut(partition, encode_batch(source, through, runs, [half for _, half in rows]))


def _fitting(record: HalvesRecordOut) -> list[HalvesRecordOut]:
    return [HalvesRecordOut(record.partition, value) for value in in_pieces(record.value)]


class HalvesStage:
    """Turns records of ``otlp_spans`` into records of ``span-halves`` and writes the watermarks of its source partitions.

    Halving is a function of the records; what the stage remembers (the last time stamp and the environments of each
    source) only goes into watermarks.
    """

    def __init__(self, settings: SpanSettings, source: HalfSource | None = None) -> None:
        self._source = source or ReferenceSource(settings)
        self._received: dict[int, int] = {}
        self._settings = settings
        self._environments: dict[int, Environments] = {}
        self._read_since: dict[int, bool] = {}

    def process(self, records: Iterable[SourceRecord], now_ms: int) -> Halved:
        """What to publish for these records, of any sources; offsets of one source must ascend.

        Where a record has no time stamp, ``now_ms`` stands for it. Records of a source may be passed several at a time:
        they share a batch. Publish everything and await it before acknowledging the records.
        """
        by_source: dict[int, list[SourceRecord]] = {}
        for record in records:
            is_stamped = record.received_ms is not None and record.received_ms >= 0
            stamped = record if is_stamped else msgspec.structs.replace(record, received_ms=now_ms)
            by_source.setdefault(record.source, []).append(stamped)
        skipped: Counter[Skip] = Counter()
        results = [self._process(source, found, skipped) for source, found in by_source.items()]
        return Halved(
            tuple(piece for result in results for record in result.encoded for piece in _fitting(record)),
            tuple(record for result in results for record in result.unreadable),
            sum(result.spans for result in results),
            dict(sorted(skipped.items())),
        )

    def _process(self, source: int, records: Sequence[SourceRecord], skipped: Counter[Skip]) -> Batches:
        result = self._source.batches(records, skipped)
        self._received[source] = max(self._received.get(source, 0), *(record.received_ms or 0 for record in records))
        self._read_since[source] = True
        known = self._environments.setdefault(source, Environments(self._settings.max_environments))
        received_ms = self._received[source]
        known.hear(result.environments, received_ms, silent_before=received_ms - 2 * self._settings.window_ms)
        return result

    def stands_at(self, source: int, now_ms: int, whole_ms: int | None) -> int | None:
        """The time that the source's watermark would have, as :meth:`watermark`; None while nothing can be said."""
        time_ms = self._received.get(source) if whole_ms is None else whole_ms
        return None if time_ms is None else min(time_ms, now_ms)

    def watermark(self, source: int, now_ms: int, whole_ms: int | None) -> bytes | None:
        """The source's watermark, for every partition of ``span-halves``; None while nothing can be said.

        ``whole_ms`` is a time at which the source held nothing but what was read since, None where none is known: when the broker was
        asked where it ends, and not when that was looked at, since a worker may stand still or be cut off in between. There it stands;
        one with a backlog stands at the time stamp of the last record read, and before the first such record it says nothing. Write it
        soon after it would let a window close, after what was read before.
        """
        time_ms = self.stands_at(source, now_ms, whole_ms)
        if time_ms is None:
            return None
        idle = whole_ms is not None and not self._read_since.pop(source, False)
        known = self._environments.get(source)
        if known is not None:
            known.forget(time_ms - _NAMED_MS)
        return encode_watermark(Watermark(source, time_ms, now_ms, idle, known.names if known is not None else ()))

    def forget(self, source: int) -> None:
        """Drop what is remembered of a source partition that moved to another worker."""
        self._received.pop(source, None)
        self._environments.pop(source, None)
        self._read_since.pop(source, None)
