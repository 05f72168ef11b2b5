"""The spans role: OTLP to halves on the partition of their trace, and halves to windows.

Halving forgets everything but its watermarks; pairing keeps what it needs in memory and goes on, after a restart, from the
offset that its checkpoint names. What either writes is awaited before what it read is acknowledged.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.batches import Limits
from ctrlplane_stream.stream.catalog_book import CatalogBook
from ctrlplane_stream.stream.duty import Duty, log
from ctrlplane_stream.stream.framework import Reading
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.marking import End, Marks
from ctrlplane_stream.stream.metrics import Product
from ctrlplane_stream.stream.ownership import wall_clock_ms
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.telemetry import checkpoint as checkpoints
from ctrlplane_stream.telemetry.batches import decode
from ctrlplane_stream.telemetry.checkpoint import Checkpoint
from ctrlplane_stream.telemetry.engines import default_engine
from ctrlplane_stream.telemetry.halving import HalvesStage, SourceRecord
from ctrlplane_stream.telemetry.native import why_no_library
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire import otlp
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import partition_of

SPANS, HALVES, WINDOWS, CHECKPOINTS = "otlp_spans", "span-halves", "telemetry-windows", "pair-checkpoints"
_READING = Reading(fetch_bytes=512 << 10, buffered=16, bundled=True, pause_seconds=0.1)
"""Half a megabyte of each partition at a time, as it was compressed (requests to an eighth), and few bundles a queue: they bound memory."""
_MOST_SOURCE_RECORDS = 5_000
_MOST_SOURCE_BYTES = 32 << 20
"""Halved at once at most: some 75,000 spans, well under a tenth of a second."""
_WATERMARK_SECONDS = 0.25
_CATALOG_SECONDS = 15.0


def span_settings(settings: Settings, owned: int = 1) -> SpanSettings:
    """The span engine's settings, as this process was told: one of ``owned`` partitions has its share of what the process may keep."""
    return SpanSettings(
        partitions=settings.partitions,
        window_ms=settings.window_seconds * 1000,
        lateness_ms=round(settings.lateness_seconds * 1000),
        pairing_ms=round(settings.pairing_seconds * 1000),
        max_halves=max(1, settings.pairing_spans // owned),
        sampling_multiplier=settings.sampling_multiplier,
        default_environment=settings.default_environment,
    )


def _checkpoint_of(key: str, value: bytes) -> Checkpoint:
    if not key.isdecimal():
        raise ValueError("its key is not that of a partition")
    return checkpoints.decode(value)


class Spans(Duty):
    """The partitions of ``otlp_spans`` and ``span-halves`` that are ours."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "spans", _READING)
        self._told = span_settings(settings)
        engine = default_engine()
        if (missing := why_no_library()) is not None:
            log.warning("spans go the slower way, without compiled code: %s", missing)
        self._pairing = engine.pairing
        self._halving = HalvesStage(self._told, engine.source(self._told))
        self._halved: dict[int, int] = {}
        self._marks = Marks(self._told.window_ms, self._told.lateness_ms)
        self._ends: dict[int, End] = {}
        self._writing_halves = asyncio.Lock()
        self._pairs: dict[int, PairStage] = {}
        self._next: dict[int, int] = {}
        self._taking = asyncio.Lock()
        catalog_reader = KafkaLogReader(settings)
        self.at_end(catalog_reader.close)
        self._catalog = CatalogBook(catalog_reader, settings.partitions)
        self._gathered = self.consume(SPANS, self._halve, Limits(_MOST_SOURCE_RECORDS, _MOST_SOURCE_BYTES, settings.batch_seconds))
        self.consume(HALVES, self._pair)
        self.every(_WATERMARK_SECONDS, self._mark, on_the_clock=True)  # windows end, and lateness with them, on whole seconds
        self.every(_CATALOG_SECONDS, self._read_catalog)
        self.app.positions = self._positions
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    # Halving.

    async def _halve(self, records: list[Record]) -> None:
        read = [SourceRecord(r.partition, r.offset, r.value, r.at_ms) for r in records]
        async with self._writing_halves:
            halved = self._halving.process(read, wall_clock_ms())
            letters = [Letter(HALVES, out.partition, None, out.value) for out in halved.records]
            by_place = {(r.partition, r.offset): r for r in records}
            for bad in halved.unreadable:
                letters += await self.refuse(by_place[bad.source, bad.offset], Unreadable(bad.reason))
            await self.outbox.send(letters)
            self._halved.update((r.partition, r.offset + 1) for r in records)
        self.metrics.produced(Product.SPANS, halved.spans)
        for reason, count in halved.skipped.items():
            self.metrics.skipped(reason, count)

    async def _mark(self) -> None:
        """Watermarks of our source partitions that let a window close, to every partition of the halves, after what was read before."""
        topic = self.settings.topic(SPANS)
        mine = sorted(tp for tp in self.app.consumer.assignment() if tp.topic == topic and tp.partition in self._halved)
        due = [tp for tp in mine if self._marks.due(tp.partition, wall_clock_ms())]
        if not due:
            return
        await self._ask_for_ends([tp.partition for tp in due])
        await self._gathered.settled()
        async with self._writing_halves:
            now_ms, letters = wall_clock_ms(), list[Letter]()
            for source, whole_ms in [(tp.partition, self._whole_at(tp)) for tp in due if tp.partition in self._halved]:
                time_ms = self._halving.stands_at(source, now_ms, whole_ms)
                if time_ms is not None and self._marks.due(source, time_ms):
                    value = self._halving.watermark(source, now_ms, whole_ms)
                    letters += [Letter(HALVES, p, None, value) for p in range(self.settings.partitions)]
                    self._marks.wrote(source, time_ms)
            await self.outbox.send(letters)

    async def _ask_for_ends(self, sources: list[int]) -> None:
        """Ask the broker where these end, but for those of which it said so late enough to let a window close: once a window of each."""
        unknown = [s for s in sources if s not in self._ends or not self._marks.due(s, self._ends[s].asked_ms)]
        if not unknown:
            return
        asked_ms = wall_clock_ms()
        try:
            ends = await self.reader.ends(SPANS, unknown)
        except KafkaError as error:
            log.warning("no window closes while no broker says where %s ends: %s", SPANS, type(error).__name__)
            return
        self._ends.update((source, End(offset, asked_ms)) for source, offset in ends.items())

    def _whole_at(self, tp: TP) -> int | None:
        """The time at which the broker had nothing of the partition but what was read by now; None where none is known yet."""
        end = self._ends.get(tp.partition)
        is_through = end is not None and self.app.is_through(tp, self._halved[tp.partition], end.offset)
        return end.asked_ms if end is not None and is_through else None

    # Pairing.

    async def _pair(self, records: list[Record]) -> None:
        letters: list[Letter] = []
        windows = pairs = 0
        moved: dict[int, PairStage] = {}
        before = {p: self._pairs[p].skipped for p in {found.partition for found in records} if p in self._pairs}
        for found in records:
            stage = self._pairs.get(found.partition)
            if stage is None:
                continue
            record = decode(found.value)
            if isinstance(record, otlp.Unreadable):
                letters += await self.refuse(found, Unreadable(record.reason))
                continue
            for out in stage.publish(found.offset, record):
                moved[found.partition] = stage
                windows += 1
                pairs += out.pairs
                letters.append(self._window(out.environment, out.value))
            self._next[found.partition] = found.offset + 1
        self._count_unpaired(before)
        await self.outbox.send(letters)
        self.metrics.produced(Product.WINDOWS, windows)
        self.metrics.produced(Product.PAIRS, pairs)
        await self.outbox.send(
            [Letter(CHECKPOINTS, p, str(p).encode(), checkpoints.encode(stage.checkpoint())) for p, stage in moved.items()]
        )

    def _count_unpaired(self, before: Mapping[int, Mapping[Skip, int]]) -> None:
        """Tell of the spans that came to have no edge of their own, by reason, since what each partition had said before."""
        for partition, counts in before.items():
            for reason, count in self._pairs[partition].skipped.items():
                if count > counts.get(reason, 0):
                    self.metrics.unpaired(reason, count - counts.get(reason, 0))

    def _window(self, environment: str, value: bytes) -> Letter:
        return Letter(WINDOWS, partition_of(environment, self.settings.partitions), environment.encode(), value)

    async def _positions(self, assigned: frozenset[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Pairing goes on from its checkpoint; halving from what was committed."""
        topic = self.settings.topic(HALVES)
        async with self._taking:
            await self._begin_halving([p for name, p in sorted(assigned) if name == self.settings.topic(SPANS)])
            mine = [partition for name, partition in sorted(assigned) if name == topic]
            fresh = [partition for partition in mine if partition not in self._pairs]
            ends = await self.reader.ends(SPANS, range(self.settings.partitions)) if fresh else {}
            for partition in fresh:  # whatever is assigned anew, all are: none has its share of fewer
                await self._take(partition, span_settings(self.settings, len(mine)), ends)
            return {(topic, p): offset for p, offset in self._next.items() if (topic, p) in assigned}

    async def _begin_halving(self, partitions: list[int]) -> None:
        """Note where halving goes on in partitions that are new, so that "read to the end" is known before the first record."""
        fresh = [TP(self.settings.topic(SPANS), p) for p in partitions if p not in self._halved]
        if fresh:
            consumer: Any = self.app.consumer  # Faust keeps the committed offsets that it seeks to in a field without a name for others
            earliest = await consumer.earliest_offsets(*fresh)
            for tp in fresh:
                self._halved[tp.partition] = max(consumer._read_offset.get(tp) or 0, earliest.get(tp, 0))

    async def _take(self, partition: int, told: SpanSettings, ends: Mapping[int, int]) -> None:
        checkpoint = (await self.kept(CHECKPOINTS, partition, _checkpoint_of)).get(str(partition))
        await self._catalog.refresh()
        other = checkpoint and checkpoints.on_other_logs(checkpoint, ends, await self.reader.end(HALVES, partition))
        if other is not None:
            log.warning("%s or %s was made anew since: what waited for its other half in partition %d is lost", SPANS, HALVES, partition)
            checkpoint = other
        stage = PairStage(partition, told, self._known_names(), checkpoint, self._pairing)
        self._pairs[partition] = stage
        self._next[partition] = stage.restart_offset

    async def _read_catalog(self) -> None:
        """Tell pairing of services and addresses that came or went since."""
        async with self._taking:
            await self._catalog.refresh()
            for stage in self._pairs.values():
                stage.know(self._known_names())

    def _known_names(self) -> dict[str, str]:
        """What callers may call a service: its own name and the addresses that the catalog gives it."""
        catalog = self._catalog.catalog
        if catalog is None:
            return {}
        own = {name: name for name in catalog.services}
        return own | {address: name for name, service in sorted(catalog.services.items()) for address in service.addresses}

    async def _on_revoked(self, *_: object, **__: object) -> None:
        for source in list(self._halved):
            self._halving.forget(source)
        self._halved.clear()
        self._marks.forget()
        self._ends.clear()
        self._pairs.clear()
        self._next.clear()
