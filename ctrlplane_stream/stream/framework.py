"""The Faust app as this project uses it: raw bytes, positions of our own, an idempotent producer, no web server, no tables.

What of Faust is replaced, and why:

- ``perform_seek`` goes to the positions that the role names, because Faust seeks to *committed* offsets after every
  rebalance and those may lie before or behind what our own log says;
- the producer is idempotent, so that a retry after a lost acknowledgement writes nothing twice, and copies less (``sending``);
- the transport is made by the app itself, so nothing is registered globally and two apps can live in one process.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

import faust
import msgspec
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from yarl import URL

from ctrlplane_stream.settings import Protocol, Settings
from ctrlplane_stream.stream.bundles import BundlingConsumer
from ctrlplane_stream.stream.sending import FrugalProducer
from ctrlplane_stream.wire.kafka_access import ssl_context
from ctrlplane_stream.wire.kafka_clients import MAX_REQUEST_BYTES


class Reading(msgspec.Struct, frozen=True):
    """How a role reads from the broker."""

    fetch_bytes: int = 256 * 1024
    """Fetched per partition and round: small, so that a long queue on one topic never keeps another waiting for long."""
    buffered: int = 1_000
    """Messages that wait in a topic's queue before fetching its partitions pauses."""
    bundled: bool = False
    """Whether the records of a fetch travel together; see ``bundles``."""
    pause_seconds: float = 0.0
    """Where bundled, how long to let more gather in the broker after a fetch that brought little; see ``fetching``."""


ONE_BY_ONE = Reading()


Positions = Callable[[frozenset[tuple[str, int]]], Awaitable[Mapping[tuple[str, int], int]]]
"""From the (topic, partition) pairs assigned to where reading goes on; pairs that are left out start where Faust says."""


class PositionedConsumer(driver.Consumer):
    """Faust's consumer, but for where it starts; and it knows whether there is anything left to read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._handed: dict[TP, int] = {}
        self._reached: dict[TP, int] = {}

    def waiting(self, tp: TP, done: int) -> int | None:
        """How many records waited, as of the last answer to a fetch, in a partition of which all below offset ``done`` is dealt with; None
        until there was one. It tells nothing of now: the answer is as old as the worker was stopped or cut off.

        The end of the log alone does not tell: the marker with which a transaction ends takes an offset, and comes to no reader.
        """
        end: int | None = self.highwater(tp)
        if end is None:
            return None
        return 0 if self.is_through(tp, done, end) else end - done

    def is_through(self, tp: TP, done: int, end: int) -> bool:
        """Whether all records below offset ``end`` of a partition are dealt with, where all below ``done`` are."""
        return done >= end or (self._reached.get(tp, 0) >= end and done >= self._handed.get(tp, 0))

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """As Faust's, noting what was handed on and, once that is all that a fetch brought, how far reading has come."""
        generation = self.app.consumer_generation_id
        async for tp, message in super().getmany(timeout):
            self._handed[tp] = message.offset + 1
            yield tp, message
        whole = self.flow_active and self.app.consumer_generation_id == generation  # else the rest was dropped, to be read again
        self._reached = self._positions() if whole else {}

    def _positions(self) -> dict[TP, int]:
        consumer: Any = self._thread
        subscription = consumer._consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        states = {TP(*tp): assignment.state_value(tp) for tp in assignment.tps} if assignment is not None else {}
        return {tp: state.position for tp, state in states.items() if state.has_valid_position}

    async def perform_seek(self) -> None:
        """Seek to the committed offsets, and from there to the positions that the role names."""
        app = cast("StreamApp", self.app)
        app.seeking = True
        self._handed, self._reached = {}, {}
        try:
            await self._seek_for(app)
        finally:
            app.seeking = False

    async def _seek_for(self, app: "StreamApp") -> None:
        await super().perform_seek()
        if not app.holding:
            return
        assigned = frozenset((tp.topic, tp.partition) for tp in self.assignment())
        for (topic, partition), offset in (await app.positions(assigned)).items():
            tp = TP(topic, partition)
            await self.seek(tp, offset)
            # Without this an acknowledgement below the committed offset is dropped, and one above it waits for ever.
            self._committed_offset[tp] = offset or None
        app.sought({(tp.topic, tp.partition): self._read_offset.get(tp) or 0 for tp in self.assignment()})


class PositionedBundlingConsumer(PositionedConsumer, BundlingConsumer):
    """Both: bundles, from where the role says."""


class IdempotentProducer(driver.Producer):
    """Faust's producer with Kafka's own protection against repeated writes, and with fewer copies of what it sends."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    @property
    def _producer_type(self) -> type[FrugalProducer]:
        return FrugalProducer


class Transport(driver.Transport):
    """The transport that makes the two above."""

    Consumer = PositionedConsumer
    Producer = IdempotentProducer


class BundlingTransport(Transport):
    """The same, with bundles."""

    Consumer = PositionedBundlingConsumer


class NoTables(TableManager):
    """Faust's table manager where there are no tables: it waits a second for late declarations, which we do not."""

    async def on_start(self) -> None:
        """Start recovery, which in the absence of tables only seeks and resumes."""
        await self._update_channels()
        await self.recovery.start()


class StreamApp(faust.App):
    """A Faust app whose role says where to read on. The callbacks may be set until the app starts.

    ``holding`` says whether what is assigned now is ours: Faust also seeks between losing partitions and getting new ones.
    ``seeking`` is True from before the first seek until the positions are known and sought.
    ``sought`` is told where reading goes on in every partition, after each seek.
    ``releasing`` is called when partitions are about to go: what is in hand should be finished soon.
    ``released`` is called once every event in hand has been acknowledged and the partitions are about to go.
    """

    positions: Positions
    releasing: Callable[[], None]
    released: Callable[[], None]
    reading: Reading
    sought: Callable[[Mapping[tuple[str, int], int]], None]
    holding: bool
    seeking: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.positions = _wherever
        self.releasing = _nothing
        self.released = _nothing
        self.reading = ONE_BY_ONE
        self.sought = _unheard
        self.holding = False
        self.seeking = False

    def waiting(self, tp: TP, done: int) -> int | None:
        """See ``PositionedConsumer.waiting``."""
        return cast("PositionedConsumer", self.consumer).waiting(tp, done)

    def is_through(self, tp: TP, done: int, end: int) -> bool:
        """See ``PositionedConsumer.is_through``."""
        return cast("PositionedConsumer", self.consumer).is_through(tp, done, end)

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.holding = False
        self.releasing()
        await super()._on_partitions_revoked(revoked)
        self.released()

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.holding = True  # before Faust's own work, which starts the task that seeks
        await super()._on_partitions_assigned(assigned, generation_id)

    def _create_directories(self) -> None:
        """Nothing: state lives in topics, and a worker leaves no folder where it was started."""

    def _new_transport(self) -> Transport:
        transport = BundlingTransport if self.reading.bundled else Transport
        return transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)


def _nothing() -> None:
    return None


def _unheard(_: Mapping[tuple[str, int], int]) -> None:
    return None


async def _wherever(assigned: frozenset[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
    return {}


def new_app(settings: Settings, role: str, reading: Reading = ONE_BY_ONE) -> StreamApp:
    """An app for one role: its consumer group is ``<prefix>ctrlplane-<role>``."""
    session = settings.session_timeout_seconds
    app = StreamApp(
        f"{settings.topic_prefix}ctrlplane-{role}",
        broker=[URL(f"kafka://{host.strip()}") for host in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=session,
        broker_heartbeat_interval=min(session / 4, 1.5),
        broker_rebalance_timeout=max(session, 10.0),
        broker_request_timeout=max(40.0, session * 2),
        broker_max_poll_interval=300.0,
        broker_max_poll_records=500,
        broker_commit_interval=1.0,
        broker_client_id=f"ctrlplane-{role}",
        consumer_group_instance_id=f"{settings.instance}-{role}" if settings.instance else None,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=reading.fetch_bytes,
        producer_acks=-1,
        producer_linger=0,
        producer_max_batch_size=1024 * 1024,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_request_timeout=60.0,
        stream_buffer_maxsize=reading.buffered,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.partitions,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        TableManager=NoTables,
        web_enabled=False,
        autodiscover=False,
        cython_optimizations=True,
        loghandlers=[],
    )
    app.reading = reading
    return app


def raw_topic(app: StreamApp, settings: Settings, name: str) -> Any:
    """One of our topics as a channel of raw bytes."""
    return app.topic(settings.topic(name), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", internal=False)


def _credentials(settings: Settings) -> Any:
    protocol = settings.kafka_security_protocol
    if protocol is Protocol.PLAINTEXT:
        return None
    context = ssl_context(settings)
    if protocol is Protocol.SSL:
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        mechanism=settings.kafka_sasl_mechanism.value,
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password,
        ssl_context=context,
    )


async def sleep_unless(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait; True where ``stopping`` was set meanwhile."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return False
    return True
