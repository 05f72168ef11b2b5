"""The short-lived Kafka clients of commands and the demo, and where an environment lives.

The stream processor has its own consumers (``stream/``); these here read from the beginning, join no group and commit
nothing, so a look never disturbs a worker.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaTimeoutError
from aiokafka.partitioner import DefaultPartitioner

from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_access import client_options
from ctrlplane_stream.wire.topics import topic_names

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The largest request of any client of ours: as much as the largest topic takes."""
_WRITE_SECONDS = 60.0
"""Half as long again as a request may take. An idempotent producer whose broker went as it began asks for its number for ever."""
_STOP_SECONDS = 20.0
"""To send what is left; a producer waits for its broker for ever there, too."""


class NoBroker(RuntimeError):
    """No broker is named, or it lacks our topics or has them otherwise than the settings say; the text says what to do."""


def _options(settings: Settings) -> dict[str, Any]:
    if not settings.kafka_bootstrap_servers:
        raise NoBroker("no broker is named: set KAFKA_BOOTSTRAP_SERVERS (host:port) or pass --kafka-bootstrap-servers")
    return client_options(settings)


def partition_of(environment: str, partitions: int) -> int:
    """The partition that an environment lives on: the first 8 bytes of SHA-256 of its name, big-endian, modulo N.

    The same everywhere and for ever; no client's own hash is relied on.
    """
    return int.from_bytes(hashlib.sha256(environment.encode()).digest()[:8], "big") % partitions


async def begin(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Start the client; where that fails it is closed, which it does not do itself, and says so at the end of the process."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise


@asynccontextmanager
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that waits for all in-sync replicas and repeats nothing twice."""
    client = AIOKafkaProducer(acks="all", enable_idempotence=True, max_request_size=MAX_REQUEST_BYTES, **_options(settings))
    await begin(client)
    try:
        yield client
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await client.stop()


async def publish(
    settings: Settings, topic: str, value: bytes, environment: str | None = None, key: str | None = None, beside: str | None = None
) -> ConsumerRecord:
    """Write one record and return its metadata once the broker has it. With an environment: to that one's partition; ``beside`` a key: to
    the partition on which Kafka's own hash puts that key.

    Raises KafkaTimeoutError where the broker does not take it for a minute.
    """
    try:
        async with asyncio.timeout(_WRITE_SECONDS):
            return await _published(settings, topic, value, environment, key, beside)
    except TimeoutError:
        raise KafkaTimeoutError from None


async def _published(
    settings: Settings, topic: str, value: bytes, environment: str | None, key: str | None, beside: str | None
) -> ConsumerRecord:
    async with producer(settings) as client:
        name = settings.topic(topic)
        partition = None
        counts = await topic_counts(client.client)
        require_topic(settings, counts, topic)
        if environment is not None:
            partition = partition_of(environment, counts[name])
        elif beside is not None:
            every = list(range(counts[name]))
            partition = DefaultPartitioner()(beside.encode(), every, every)
        return await client.send_and_wait(name, value, key=(key or environment or "").encode() or None, partition=partition)


async def take_off(settings: Settings, topic: str, places: Iterable[tuple[int, bytes | None]], why: tuple[str, bytes]) -> None:
    """Write a tombstone for each (partition, key) of a compacted topic, in this order; ``why`` is a header of each."""
    async with producer(settings) as client:
        for partition, key in places:
            await client.send_and_wait(settings.topic(topic), None, key=key, partition=partition, headers=[why])


@asynccontextmanager
async def reader(settings: Settings, topics: Sequence[str]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer at the beginning of every partition of these topics, in no group."""
    client = AIOKafkaConsumer(
        group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_bytes=MAX_REQUEST_BYTES, **_options(settings)
    )
    await begin(client)
    try:
        counts = await topic_counts(client._client)
        for topic in topics:
            require_topic(settings, counts, topic)
        places = [TopicPartition(settings.topic(t), p) for t in topics for p in range(counts[settings.topic(t)])]
        client.assign(places)
        await client.seek_to_beginning(*places)
        yield client
    finally:
        await client.stop()


async def topic_counts(client: AIOKafkaClient) -> dict[str, int]:
    """Every topic of the broker by its full name, with its number of partitions."""
    cluster = await client.fetch_all_metadata()
    return {name: len(cluster.partitions_for_topic(name) or ()) for name in cluster.topics()}


def require_topic(settings: Settings, counts: Mapping[str, int], topic: str) -> None:
    """NoBroker with the remedy where the topic (before the prefix) is not there, or is of ``topics/`` and has another number of partitions
    than the settings say.

    A client that asks for a topic or partition that is not there waits 40 s for it to come; and where there are more than are set,
    an environment would be looked for on the wrong one.
    """
    name, wanted = settings.topic(topic), settings.partitions
    found = counts.get(name)
    if not found:
        raise NoBroker(f"the broker has no topic {name}: run `ctrlplane-stream topics apply`")
    if found != wanted and topic in topic_names():
        remedy = f"set CTRLPLANE_PARTITIONS={found}, or CTRLPLANE_TOPIC_PREFIX to the prefix of other topics"
        there = counted(found, "partition")
        raise NoBroker(f"topic {name} has {there} and CTRLPLANE_PARTITIONS is {wanted}, which must be the same: {remedy}")


async def read_to_end(settings: Settings, topic: str, newest: int | None = None) -> AsyncIterator[ConsumerRecord]:
    """Every record that the topic holds now, or the ``newest`` so many of each partition; by partition in order of offset."""
    async with reader(settings, [topic]) as client:
        places = sorted(client.assignment(), key=lambda place: place.partition)
        ends = await client.end_offsets(places)
        if newest is not None:
            starts = await client.beginning_offsets(places)
            for place in places:
                client.seek(place, max(starts[place], ends[place] - newest))
        for place in places:
            client.pause(*places)
            client.resume(place)
            while await client.position(place) < ends[place]:
                for records in (await client.getmany(place, timeout_ms=500)).values():
                    for record in records:
                        if record.offset < ends[place]:
                            yield record


async def read_since(settings: Settings, topic: str, partition: int, since_ms: int) -> AsyncIterator[ConsumerRecord]:
    """What one partition holds now of the records that are dated ``since_ms`` or later, in order of offset."""
    async with reader(settings, [topic]) as client:
        places = client.assignment()
        (place,) = (p for p in places if p.partition == partition)
        client.pause(*(places - {place}))
        first, ends = await client.offsets_for_times({place: since_ms}), await client.end_offsets([place])
        if first[place] is None:
            return
        client.seek(place, first[place].offset)
        while await client.position(place) < ends[place]:
            for record in (await client.getmany(place, timeout_ms=500)).get(place, ()):
                if record.offset < ends[place]:
                    yield record
