"""The shop's topic: a publisher that never holds a request up, and a consumer that links to what it was sent.

The producer's context travels in the record's headers. Processing starts a trace of its own with a span link to it,
as OpenTelemetry's messaging conventions ask: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/.
A broker that is away costs the shop its orders' messages (their spans say so), never a user's request.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord
from aiokafka.errors import KafkaError
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context

from ctrlplane_stream.local.shop.topology import FULFILMENT_GROUP, Publish

_RETRY_SECONDS = 1.0
_SEND_SECONDS = 5.0
_MOST_IN_FLIGHT = 1000
_BATCH = 20


class Publisher:
    """Sends messages in the background; ``close`` waits for those under way."""

    def __init__(self, bootstrap: str, prefix: str, tracer: Tracer) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._tracer = tracer
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.create_task(self._connect())
        self._sending: set[asyncio.Task[None]] = set()

    def publish(self, publish: Publish, body: bytes) -> None:
        """Send one message; its PRODUCER span ends when the broker has it, or says why it has not."""
        topic = f"{self._prefix}{publish.topic}"
        attributes = {"messaging.system": "kafka", "messaging.destination.name": topic, "messaging.operation.type": "send"}
        span = self._tracer.start_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes)
        if self._producer is None or len(self._sending) >= _MOST_IN_FLIGHT:
            _fail(span, "the broker is away")
            return
        task = asyncio.create_task(self._send(self._producer, topic, body, span))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Finish what is under way, then leave."""
        self._connecting.cancel()
        if self._sending:
            await asyncio.wait(self._sending)
        if self._producer is not None:
            await self._producer.stop()

    async def _connect(self) -> None:
        while True:
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all")
            try:
                await producer.start()
            except KafkaError:
                await producer.stop()
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._producer = producer
                return

    async def _send(self, producer: AIOKafkaProducer, topic: str, body: bytes, span: Span) -> None:
        carrier: dict[str, str] = {}
        inject(carrier, set_span_in_context(span))
        headers = [(key, value.encode()) for key, value in carrier.items()]
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await producer.send_and_wait(topic, body, headers=headers)
        except (KafkaError, TimeoutError) as error:
            _fail(span, f"{type(error).__qualname__}: {error}")
        else:
            span.end()


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads the topic in the group that all versions of the consumer share: a version's weight is its share of members.

    A message is processed by ``perform``, which says whether it went well; offsets are committed after the work, so
    that a version that dies leaves its messages to the others.
    """

    def __init__(self, bootstrap: str, prefix: str, topic: str, tracer: Tracer, perform: Callable[[], Awaitable[bool]]) -> None:
        self._bootstrap = bootstrap
        self._topic = f"{prefix}{topic}"
        self._group = f"{prefix}{FULFILMENT_GROUP}"
        self._tracer = tracer
        self._perform = perform
        self._leaving = asyncio.Event()
        self.joined = False

    async def run(self) -> None:
        """Process messages until ``leave``; a broker that is away is waited for."""
        while not self._leaving.is_set():
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=6000,
                heartbeat_interval_ms=1000,
            )
            try:
                await consumer.start()
                consumer.subscribe([self._topic], listener=self)
                await self._consume(consumer)
            except KafkaError:
                await self._pause()
            finally:
                with contextlib.suppress(KafkaError):
                    await consumer.stop()

    def leave(self) -> None:
        """Finish the message in hand, commit it and leave the group: ``run`` returns."""
        self._leaving.set()

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Nothing to give up: what is not committed is somebody else's."""

    async def on_partitions_assigned(self, assigned: object) -> None:
        """The group has taken us in, with or without a partition for us."""
        self.joined = True

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        while not self._leaving.is_set():
            batches = await consumer.getmany(timeout_ms=300, max_records=_BATCH)
            for partition, records in batches.items():
                for record in records:
                    if self._leaving.is_set() or partition not in consumer.assignment():
                        break
                    await self._process(record)
                    await consumer.commit({partition: record.offset + 1})

    async def _process(self, record: ConsumerRecord) -> None:
        sent = get_current_span(extract({key: value.decode(errors="replace") for key, value in record.headers})).get_span_context()
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": self._topic,
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": self._group,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        links = [Link(sent)] if sent.is_valid else []
        with self._tracer.start_as_current_span(
            f"process {self._topic}", kind=SpanKind.CONSUMER, attributes=attributes, links=links
        ) as span:
            if not await self._perform():
                span.set_attribute("error.type", "processing")
                span.set_status(Status(StatusCode.ERROR))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), _RETRY_SECONDS)


def _fail(span: Span, reason: str) -> None:
    span.set_attribute("error.type", "publish")
    span.set_status(Status(StatusCode.ERROR, reason))
    span.end()
