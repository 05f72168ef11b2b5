"""The engine role: users' records to facts, facts to decisions, and time to facts."""

import asyncio
import os
import socket
from collections.abc import Mapping

from faust.types import TP

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.stream.catalog_book import CatalogBook
from ctrlplane_stream.stream.deciding import CORE, Rules
from ctrlplane_stream.stream.duty import Duty
from ctrlplane_stream.stream.ingest import Ingest
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.metrics import Product
from ctrlplane_stream.stream.ownership import FACTS, OwnedPartition, Tuning, wall_clock_ms
from ctrlplane_stream.stream.ports import Letter, LogReader, Outbox, Record
from ctrlplane_stream.stream.recovery import Taker

_TICK_SECONDS = 0.1


class Engine(Duty):
    """The partitions of ``facts`` that are ours, and the ingest of users' topics."""

    def __init__(self, settings: Settings, *, rules: Rules | None = None, build: str | None = None, tuning: Tuning | None = None) -> None:
        super().__init__(settings, "engine")
        self._owned: dict[int, OwnedPartition] = {}
        self._taking = asyncio.Lock()
        self._outbox, log_reader = self.wrap(self.outbox, self.reader)
        self._taker = Taker(
            self._outbox,
            log_reader,
            rules or CORE,
            self.refuse,
            partitions=settings.partitions,
            owner=f"{settings.instance or socket.gethostname()}/{os.getpid()}",
            build=build or build_id(),
            tuning=tuning,
        )
        catalog_reader = KafkaLogReader(settings)
        self.at_end(catalog_reader.close)
        self._ingest = Ingest(CatalogBook(catalog_reader, settings.partitions), settings.partitions)
        for topic in self._ingest.topics:
            self.consume(topic, self._take_in)
        self.consume(FACTS, self._decide)
        self.every(_TICK_SECONDS, self._tick)
        self.app.positions = self._positions
        self.app.released = self._owned.clear

    def wrap(self, outbox: Outbox, reader: KafkaLogReader) -> tuple[Outbox, LogReader]:
        """The ports that the protocol is handed; the crash sweep puts itself in between."""
        return outbox, reader

    async def _positions(self, assigned: frozenset[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Claim what is newly ours; where to go on in ``facts`` is what our own log says."""
        topic = self.settings.topic(FACTS)
        async with self._taking:
            for name, partition in sorted(assigned):
                if name == topic and partition not in self._owned:
                    self._owned[partition] = await self._taker.take(partition)
            return {(topic, p): owned.position for p, owned in self._owned.items() if (topic, p) in assigned}

    async def _take_in(self, records: list[Record]) -> None:
        letters: list[Letter] = []
        for found, taken in zip(records, await self._ingest.batch(records), strict=True):
            letters += taken.letters
            if taken.refused is not None:
                letters += await self.refuse(found, taken.refused)
            for reason in taken.left_out:
                self.metrics.left_out(reason)
        await self._outbox.send(letters)
        self.metrics.produced(Product.FACTS, sum(letter.topic == FACTS for letter in letters))

    async def _decide(self, records: list[Record]) -> None:
        """Each partition of the batch to its owner; what is not ours any more is left to whoever has it."""
        by_partition: dict[int, list[Record]] = {}
        for found in records:
            by_partition.setdefault(found.partition, []).append(found)
        for partition, facts in by_partition.items():
            owned = self._owned.get(partition)
            if owned is not None:
                before = owned.decided
                await owned.take(facts, self._facts_end(partition))
                self.metrics.produced(Product.DECISIONS, owned.decided - before)

    def _facts_end(self, partition: int) -> int:
        return int(self.app.consumer.highwater(TP(self.settings.topic(FACTS), partition)) or 0)

    async def _tick(self) -> None:
        now_ms = wall_clock_ms()
        for owned in list(self._owned.values()):
            await owned.tick(now_ms)
        self.metrics.parked(sum(owned.parked for owned in self._owned.values()))
