"""Records onto ``otlp_spans``, as the Collector's Kafka exporter writes them: no key, no headers, one request a record.

``otlp_proto`` is the pieces one after the other, untouched; ``otlp_json`` their JSON. With ``acks=all``, and idempotent,
so that the client's own retries repeat nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import assert_never

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ctrlplane_stream.local.intake import otlp_json
from ctrlplane_stream.local.intake.batcher import NotWritten
from ctrlplane_stream.local.intake.metrics import Metrics
from ctrlplane_stream.local.intake.payload import Piece
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_access import client_options
from ctrlplane_stream.wire.kafka_clients import MAX_REQUEST_BYTES

_REQUEST_TIMEOUT_MILLISECONDS = 8000
_STOP_SECONDS = 10.0


class Encoding(StrEnum):
    """The Collector's names for the forms of a record."""

    OTLP_PROTO = "otlp_proto"
    OTLP_JSON = "otlp_json"


class NoTopic(RuntimeError):
    """The broker does not answer or lacks the topic; the text says what to do."""


class KafkaSink:
    """Writes records to one topic, to whichever partition."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, encoding: Encoding, metrics: Metrics) -> None:
        self._producer = producer
        self._topic = topic
        self._encoding = encoding
        self._metrics = metrics

    async def write(self, pieces: Iterable[Piece]) -> None:
        """Write one record; return once every in-sync replica has it. Raises NotWritten."""
        try:
            acknowledged = await self._producer.send(self._topic, record_of(pieces, self._encoding))
            await acknowledged
        except KafkaError as error:
            raise NotWritten(f"the broker did not take it: {type(error).__name__}: {error}") from error
        self._metrics.record_written()


def batch_bytes(encoding: Encoding) -> int:
    """How many bytes of protobuf a record may be made of, to stay below the megabyte that brokers take by default."""
    match encoding:
        case Encoding.OTLP_PROTO:
            return 900_000
        case Encoding.OTLP_JSON:
            # Ids double, names of fields are spelt out: JSON is about two and a half times as long.
            return 300_000
        case _:
            assert_never(encoding)


def record_of(pieces: Iterable[Piece], encoding: Encoding) -> bytes:
    """The value of the record that holds these pieces."""
    joined = b"".join(piece.data for piece in pieces)
    match encoding:
        case Encoding.OTLP_PROTO:
            return joined
        case Encoding.OTLP_JSON:
            return otlp_json.encode(ExportTraceServiceRequest.FromString(joined))
        case _:
            assert_never(encoding)


@asynccontextmanager
async def open_sink(settings: Settings, topic: str, encoding: Encoding, metrics: Metrics) -> AsyncIterator[KafkaSink]:
    """A sink on ``topic`` (before the prefix) as long as the ``async with`` lasts. Raises NoTopic."""
    producer = AIOKafkaProducer(
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=_REQUEST_TIMEOUT_MILLISECONDS,
        **client_options(settings),
    )
    try:
        await _start(producer, settings.topic(topic), settings.kafka_bootstrap_servers)
        yield KafkaSink(producer, settings.topic(topic), encoding, metrics)
    finally:
        # A broker that is gone must not keep us from leaving; what it did not acknowledge was answered with 503.
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), _STOP_SECONDS)


async def _start(producer: AIOKafkaProducer, topic: str, bootstrap: str) -> None:
    try:
        await producer.start()
    except KafkaError as error:
        where = f"no broker answers at {bootstrap}"
        raise NoTopic(f"{where}: see that it runs, and that address, protocol and credentials are right; `doctor` looks closer") from error
    await producer.client.add_topic(topic)
    if not producer.client.cluster.partitions_for_topic(topic):
        raise NoTopic(f"the broker at {bootstrap} has no topic {topic}: run `ctrlplane-stream topics apply`")
