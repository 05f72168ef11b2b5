"""What goes through Faust on a real broker, in the protocol's words: writing by the app's own producer, and the records of its events."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from faust import EventT
from faust.types import Message

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.bundles import messages_of
from ctrlplane_stream.stream.framework import StreamApp
from ctrlplane_stream.stream.ports import Letter, Record, Written

_MOST_IN_FLIGHT = 2_000


class AppOutbox:
    """Writes through the app's producer and waits for the broker; see ``ports.Outbox``."""

    def __init__(self, app: StreamApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def send(self, letters: Sequence[Letter]) -> list[Written]:
        """Write all and wait for all acknowledgements; raises ProducerSendError or KafkaError."""
        written: list[Written] = []
        for start in range(0, len(letters), _MOST_IN_FLIGHT):
            written += await self._send(letters[start : start + _MOST_IN_FLIGHT])
        return written

    async def _send(self, letters: Sequence[Letter]) -> list[Written]:
        producer = await self._app.maybe_start_producer()
        sent = [
            await producer.send(
                self._settings.topic(letter.topic), letter.key, letter.value, letter.partition, None, list(letter.headers) or None
            )
            for letter in letters
        ]
        return [Written(done.offset, done.timestamp) for done in await asyncio.gather(*sent)]


def records_of_event(topic: str, event: EventT[Any]) -> list[Record]:
    """The records that one of Faust's events brought, in our words; ``topic`` is our own name for it."""
    return [_record_of_message(topic, message) for message in messages_of(event)]


def _record_of_message(topic: str, message: Message) -> Record:
    at_ms = round(message.timestamp * 1000)
    headers = message.headers.items() if isinstance(message.headers, Mapping) else message.headers or ()
    return Record(topic, message.partition, message.offset, at_ms, message.key, message.value, tuple(headers))
