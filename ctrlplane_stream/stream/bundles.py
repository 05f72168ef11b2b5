"""Many records as one of Faust's messages: what a fetch brought of a partition travels through the framework together.

Faust makes two tasks, an event and some locks for every message, 150 microseconds in all; with spans that is more than all the rest.
A bundle is acknowledged as a whole. Faust commits up to the first offset that was not acknowledged and takes offsets that never came
for gaps; a bundle's inner offsets never come one by one, so here everything up to the last acknowledged record of a partition
counts as done. That is right where one agent acknowledges in the order of the partition, as all of ours do.
"""

from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any, cast

import uvloop
from faust import EventT
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from ctrlplane_stream.stream.fetching import FrugalConsumer

_MOST_RECORDS = 200
"""In one bundle: a batch of a role is made of whole bundles."""


class Bundle(ConsumerMessage):
    """Records of one partition, ascending; as a message it is the last of them, without its value."""

    def __init__(self, records: list[Message]) -> None:
        last = records[-1]
        super().__init__(
            last.topic, last.partition, last.offset, last.timestamp, last.timestamp_type, None, None, None, None, 0, 0, last.tp,
            generation_id=last.generation_id,
        )  # fmt: skip
        self.records = records


def messages_of(event: EventT[Any]) -> list[Message]:
    """The records that an event brought: its own, or those of its bundle."""
    message = event.message
    return message.records if isinstance(message, Bundle) else [message]


def size_of(event: EventT[Any]) -> tuple[int, int]:
    """(Records, bytes of their values) of an event."""
    messages = messages_of(event)
    return len(messages), sum(len(message.value or b"") for message in messages)


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> FrugalConsumer:
        consumer: Any = super()._create_worker_consumer(transport)
        consumer.__class__ = FrugalConsumer
        app: Any = self.app
        consumer.pause_seconds = app.reading.pause_seconds
        return cast("FrugalConsumer", consumer)


class BundlingConsumer(driver.Consumer):
    """Faust's consumer, but it hands on bundles; its thread runs on uvloop's loop like the worker's own."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon, thread_loop=uvloop.new_event_loop())

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """One message for what a fetch brought of each partition, in the order in which Faust would have begun with them."""
        found: dict[TP, list[Message]] = {}
        async for tp, message in super().getmany(timeout):
            found.setdefault(tp, []).append(message)
        for tp, messages in found.items():
            for bundle in self._bundles(tp, messages):
                if not self.flow_active or self.app.consumer_generation_id != bundle.generation_id:
                    return  # a rebalance began meanwhile: what is left is read again by whoever has the partition then
                yield tp, bundle

    def _bundles(self, tp: TP, messages: list[Message]) -> Iterator[Bundle]:
        position = self._read_offset[tp]
        wanted = iter([message for message in messages if position is None or message.offset >= position])
        while records := list(islice(wanted, _MOST_RECORDS)):
            bundle = Bundle(records)
            self._read_offset[tp] = bundle.offset - 1 or None  # so that Faust sees no gap before it
            yield bundle

    def _new_offset(self, tp: TP) -> int | None:
        """Where reading goes on behind the last acknowledged record; None where nothing new was acknowledged."""
        acked = self._acked[tp]
        if not acked:
            return None
        last = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1
