"""Reading stretches of partitions on a real broker, outside any group, without a framework: a command that only looks starts at once."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.ports import Record
from ctrlplane_stream.wire.kafka_access import client_options
from ctrlplane_stream.wire.kafka_clients import MAX_REQUEST_BYTES, begin, require_topic, topic_counts


class KafkaLogReader:
    """Reads stretches of partitions with one consumer of its own, without a group; see ``ports.LogReader``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._busy = asyncio.Lock()
        self._there: set[str] = set()
        self.records_read = 0
        """Rises with every record: whoever waits for a long recovery sees by it that there is one."""

    async def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Record]:
        """Records of a stretch, in order. Readers take turns: do not read another stretch inside the loop."""
        async with self._busy:
            consumer = await self._started()
            place = await self._place(consumer, topic, partition)
            if end is None:
                end = (await consumer.end_offsets([place]))[place]
            if start >= end:
                return
            consumer.assign([place])
            consumer.seek(place, start)
            while await consumer.position(place) < end:
                batch = (await consumer.getmany(place, timeout_ms=1000, max_records=2_000)).get(place, ())
                if batch and batch[-1].offset >= end - 1:
                    consumer.pause(place)  # or it asks for more, and what we ask for next waits behind that for fetch_max_wait_ms
                for found in batch:
                    self.records_read += 1
                    if found.offset < end:
                        yield record_of(topic, found)

    async def read_since(self, topic: str, partition: int, since_ms: int) -> AsyncIterator[Record]:
        """Records that are dated ``since_ms`` or later and are there now, in order. As ``read``."""
        async with self._busy:
            consumer = await self._started()
            place = await self._place(consumer, topic, partition)
            first = (await consumer.offsets_for_times({place: since_ms}))[place]
        if first is not None:
            async for found in self.read(topic, partition, first.offset):
                yield found

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the next record will have."""
        return (await self.ends(topic, (partition,)))[partition]

    async def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The same of several partitions, at no earlier time than this was called: one request for those that a broker leads."""
        async with self._busy:
            consumer = await self._started()
            places = [await self._place(consumer, topic, partition) for partition in partitions]
            return {place.partition: int(end) for place, end in (await consumer.end_offsets(places)).items()}

    async def counts(self) -> dict[str, int]:
        """Every topic of the broker by its full name, with its number of partitions."""
        async with self._busy:
            return await topic_counts((await self._started())._client)  # what its public ``topics()`` asks, and then drops

    async def close(self) -> None:
        """Leave the broker. A later read starts again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                await consumer.stop()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # somebody cancelled us; otherwise aiokafka let its own cancelled fetch escape, as after a broker's restart

    async def _place(self, consumer: AIOKafkaConsumer, topic: str, partition: int) -> TopicPartition:
        """The partition by its full name. Raises NoBroker where the broker has not this topic as it is set, asked once for each."""
        name = self._settings.topic(topic)
        if name not in self._there:
            require_topic(self._settings, await topic_counts(consumer._client), topic)
            self._there.add(name)
        return TopicPartition(name, partition)

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=100,
                fetch_max_bytes=MAX_REQUEST_BYTES,
                max_partition_fetch_bytes=4 * 1024 * 1024,
                **client_options(self._settings),
            )
            await begin(consumer)
            self._consumer = consumer
        return self._consumer


def record_of(topic: str, found: ConsumerRecord) -> Record:
    """A record of aiokafka in our words; ``topic`` is our own name for it."""
    return Record(topic, found.partition, found.offset, found.timestamp, found.key, found.value, tuple(found.headers or ()))
