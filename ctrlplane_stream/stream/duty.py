"""What every role has in common: its app, its ports, its metrics, and what happens when something goes wrong.

Crash-only: whatever leaves an agent's body is a programming error or a broker that failed us. Both end the process before
anything more is acknowledged; the supervisor starts it again and the protocol goes on from what is on the log.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiokafka.errors import KafkaError
from faust import EventT

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.batches import Gathering, Limits
from ctrlplane_stream.stream.framework import ONE_BY_ONE, Reading, StreamApp, new_app, raw_topic, sleep_unless
from ctrlplane_stream.stream.gaps import without_gaps
from ctrlplane_stream.stream.kafka_io import AppOutbox, records_of_event
from ctrlplane_stream.stream.kept import Read, read_kept
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.metrics import Metrics
from ctrlplane_stream.stream.ownership import wall_clock_ms
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.stream.refusals import Refusals, dead_letter
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import NoBroker, require_topic

log = logging.getLogger("ctrlplane_stream.stream")

T = TypeVar("T")

Handle = Callable[[list[Record]], Awaitable[None]]
"""Takes a batch of one topic, and returns when everything that it led to is safe."""


_JUST_AFTER_SECONDS = 0.01


def until_next(seconds: float, now_ms: int) -> float:
    """Seconds until just after the next whole multiple of ``seconds`` on the wall clock."""
    return seconds - now_ms / 1000 % seconds + _JUST_AFTER_SECONDS


class NotReady(RuntimeError):
    """The broker is not as a worker needs it; the text says what to do."""


class Duty:
    """One role in one process."""

    def __init__(self, settings: Settings, role: str, reading: Reading = ONE_BY_ONE) -> None:
        self.settings = settings
        self.role = role
        self.app: StreamApp = new_app(settings, role, reading)
        self.outbox = AppOutbox(self.app, settings)
        self.reader = KafkaLogReader(settings)
        self.metrics = Metrics(role)
        self.stopping = asyncio.Event()
        self.failure: BaseException | None = None
        self._consumed: list[str] = []
        self._gap_reader = KafkaLogReader(settings)
        self._refusals = Refusals(self._gap_reader, settings.partitions)
        self._expected: dict[tuple[str, int], int] = {}
        self._gatherings: list[Gathering] = []
        self.app.sought = self._expected.update
        self.app.releasing = self.hurry
        self.app.on_partitions_revoked.connect(self._on_gone, weak=False)
        self._cleanups: list[Callable[[], Awaitable[None]]] = [self.reader.close, self._gap_reader.close]

    async def check(self) -> None:
        """Whether the broker answers and has our topics as they must be; raises NotReady with the remedy."""
        try:
            counts = await self.reader.counts()
        except (KafkaError, OSError) as error:
            where = f"no broker answers at {self.settings.kafka_bootstrap_servers} ({type(error).__name__})"
            remedy = "see that it runs, and that address, protocol and credentials are right; `ctrlplane-stream doctor` looks closer"
            raise NotReady(f"{self.role} waits, since {where}: {remedy}") from None
        try:
            for topic in sorted(self._consumed):
                require_topic(self.settings, counts, topic)
        except NoBroker as error:
            raise NotReady(str(error)) from None

    def consume(self, topic: str, handle: Handle, limits: Limits | None = None) -> Gathering:
        """An agent: batches of the topic to ``handle``, acknowledged once it returns. Without ``limits`` no record waits for others."""
        self._consumed.append(topic)
        gathering = Gathering(limits or Limits(self.settings.batch_records), self._patient)
        self._gatherings.append(gathering)

        async def body(stream: Any) -> None:
            async for events in gathering.batches(stream):
                await self._handled(topic, events, handle)

        self.app.agent(raw_topic(self.app, self.settings, topic), name=f"{self.role}-{topic}", concurrency=1)(body)
        return gathering

    def hurry(self) -> None:
        """Let nothing that was read wait any longer for others: the partitions or the process are about to go."""
        for gathering in self._gatherings:
            gathering.hurry()

    def _patient(self) -> bool:
        return self.app.holding and not self.stopping.is_set()

    async def _handled(self, topic: str, events: Sequence[EventT[Any]], handle: Handle) -> None:
        records = [record for event in events for record in records_of_event(topic, event)]
        try:
            await handle(await self._whole(topic, records))
        except Exception as error:
            self.fail(error)
            await asyncio.Event().wait()  # never acknowledge: the process is about to end
        for event in events:
            event.ack()
        self.metrics.consumed(topic, len(records))

    async def _whole(self, topic: str, records: list[Record]) -> list[Record]:
        """The batch with whatever was passed over on its way to us, partition by partition."""
        name, whole = self.settings.topic(topic), list[Record]()
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        for partition, found in by_partition.items():
            found = await without_gaps(self._gap_reader, found, self._expected.get((name, partition), found[0].offset))
            self._expected[name, partition] = max(self._expected.get((name, partition), 0), found[-1].offset + 1)
            whole += found
        return whole

    def every(self, seconds: float, work: Callable[[], Awaitable[None]], *, on_the_clock: bool = False) -> None:
        """Do ``work`` again and again, from when the app has started, with a pause in between.

        ``on_the_clock``: just after each whole multiple of ``seconds`` on the wall clock, for work that waits for such a moment.
        """

        async def loop() -> None:
            while not await sleep_unless(self.stopping, until_next(seconds, wall_clock_ms()) if on_the_clock else seconds):
                try:
                    await work()
                except Exception as error:
                    self.fail(error)
                    return

        self.app.task(loop)

    def at_end(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        """Call this when the app has stopped."""
        self._cleanups.append(cleanup)

    async def refuse(self, found: Record, why: Unreadable) -> tuple[Letter, ...]:
        """The dead letter of a record that cannot be used, counted and logged; nothing where there is one already."""
        if await self._refusals.is_told(found, wall_clock_ms()):
            return ()
        self.metrics.refused(found.topic)
        where = {"topic": found.topic, "partition": found.partition, "offset": found.offset}
        log.warning("dead letter: %s", why.reason[:300], extra={"fields": where})
        return (dead_letter(found, why, wall_clock_ms(), self.settings.partitions),)

    async def kept(self, topic: str, partition: int, read: Read[T]) -> dict[str, T]:
        """What was kept by key on a partition of a compacted topic, as ``read_kept``; what cannot be read becomes a dead letter."""
        kept, strays = await read_kept(self.reader, topic, partition, read)
        await self.outbox.send([letter for found, why in strays for letter in await self.refuse(found, why)])
        return kept

    async def _on_gone(self, *_: object, **__: object) -> None:
        self._refusals.forget()

    def fail(self, error: BaseException) -> None:
        """Something went wrong for good: end the process."""
        log.critical("%s: %s", type(error).__name__, error, exc_info=error)
        self.failure = self.failure or error
        self.stopping.set()

    async def close(self) -> None:
        """Release what the role opened, in the opposite order."""
        for cleanup in reversed(self._cleanups):
            await cleanup()
