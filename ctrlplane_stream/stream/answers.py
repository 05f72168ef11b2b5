"""What the engine made of an override that was just written to ``control``: applied, refused, or never read as one.

The answer is looked for behind the ends that ``decisions`` and ``dead-letters`` had before the override was written, so that however much
the topics hold it takes a moment.
"""

import asyncio
from typing import Self

import msgspec

from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC, admitted, fence_at
from ctrlplane_stream.stream.kafka_io import KafkaLogReader
from ctrlplane_stream.wire import dead_letters
from ctrlplane_stream.wire.kafka_clients import partition_of

_LOOK_SECONDS = 0.1


class Answer(msgspec.Struct, frozen=True):
    """What was made of it, in a sentence, and where that stands: (topic, partition, offset)."""

    applied: bool
    text: str
    place: tuple[str, int, int]


class Listening:
    """Ears for the answers of one environment, from the moment at which it was made. Raises KafkaError where no broker answers."""

    def __init__(self, settings: Settings, environment: str) -> None:
        self._environment, self._partition = environment, partition_of(environment, settings.partitions)
        self._reader = KafkaLogReader(settings)
        self._decided = self._refused = 0

    async def __aenter__(self) -> Self:
        """Note the ends: write the override after that."""
        try:
            self._decided = await self._reader.end(TOPIC, self._partition)
            self._fence = await fence_at(self._reader, self._partition, self._decided)
            self._refused = await self._reader.end(dead_letters.TOPIC, self._partition)
        except BaseException:
            await self._reader.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the broker."""
        await self._reader.close()

    async def answer(self, override: str, written: int, seconds: float) -> Answer | None:
        """The answer to the override of this id, written to ``control`` at this offset; None if none came in so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = await self._decision(override) or await self._letter(written)
                    if found is not None:
                        return found
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            return None

    async def _decision(self, override: str) -> Answer | None:
        end = await self._reader.end(TOPIC, self._partition)
        start, self._decided = self._decided, end
        records = [found async for found in admitted(self._reader, self._partition, start, end, self._fence)]
        for offset, _, record in records:
            said = answered(record, override) if isinstance(record, Decided) and record.environment == self._environment else None
            if said is not None:
                return Answer(*said, (TOPIC, self._partition, offset))
        return None

    async def _letter(self, written: int) -> Answer | None:
        """Its dead letter, which has the partition that it had."""
        end = await self._reader.end(dead_letters.TOPIC, self._partition)
        start, self._refused = self._refused, end
        for found in [record async for record in self._reader.read(dead_letters.TOPIC, self._partition, start, end)]:
            letter = dead_letters.read_letter(found.partition, found.offset, found.value, found.headers)
            if (letter.topic, letter.origin) == ("control", (self._partition, written)):
                return Answer(False, f"refused: {letter.reason}", (dead_letters.TOPIC, *letter.place))
        return None


def answered(decision: Decided, override: str) -> tuple[bool, str] | None:
    """Whether the decision carried the override of this id out, and its sentence; None if it is about something else."""
    for reason in decision.reasons:
        if reason.code == "override-repeated" and f" {override} " in reason.text:
            return True, reason.text
        if f"override/{override}" in decision.delta and reason.code.startswith("override"):
            return reason.code != "override-refused", reason.text
    return None
