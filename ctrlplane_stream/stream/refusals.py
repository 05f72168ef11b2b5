"""What cannot be used goes to ``dead-letters``; see ``wire.dead_letters`` for its form.

A record has one letter, however often it is read: a new owner of an internal topic begins further back than the last one
refused something, and one that was killed may have written letters that it never came to acknowledge. So the first record
of a partition that is refused makes us look which letters are there already; nothing is looked for where all is well.
"""

import logging
from collections.abc import AsyncIterator
from typing import Protocol

from aiokafka.errors import TopicAuthorizationFailedError

from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.dead_letters import TOPIC, letter_headers, letter_value, read_letter

log = logging.getLogger("ctrlplane_stream.stream")

_CLOCKS_APART_MS = 60_000
"""How much older than its record a letter may seem: they are dated by brokers, or by workers, whose clocks differ."""


class Dated(Protocol):
    """Reads a partition from a time on."""

    def read_since(self, topic: str, partition: int, since_ms: int) -> AsyncIterator[Record]:
        """Records that are dated ``since_ms`` or later and are there now, in order."""
        ...


class Refusals:
    """Which records of our partitions there were letters about when they became ours."""

    def __init__(self, reader: Dated, partitions: int) -> None:
        self._reader, self._partitions = reader, partitions
        self._before: dict[tuple[str, int], frozenset[int]] = {}

    async def is_told(self, found: Record, now_ms: int) -> bool:
        """Whether somebody else wrote a letter about the record before we had its partition. Ask in the order of offsets."""
        place = found.topic, found.partition
        if place not in self._before:
            self._before[place] = await self._told_before(found, now_ms)
        return found.offset in self._before[place]

    def forget(self) -> None:
        """The partitions go: whoever has them meanwhile writes letters, too."""
        self._before.clear()

    async def _told_before(self, found: Record, now_ms: int) -> frozenset[int]:
        """Offsets from the record's on that others wrote letters about; none where we may not look, and then some have two."""
        since_ms = max(0, found.at_ms - _CLOCKS_APART_MS) if found.at_ms <= now_ms else 0
        place, told = (found.topic, found.partition), set[int]()
        try:
            async for record in self._reader.read_since(TOPIC, found.partition % self._partitions, since_ms):
                letter = read_letter(record.partition, record.offset, record.value, record.headers)
                if (letter.topic, letter.origin[0]) == place and letter.origin[1] >= found.offset:
                    told.add(letter.origin[1])
        except TopicAuthorizationFailedError:
            log.warning("a record may have more than one dead letter: a role needs the right to read %s for that", TOPIC)
        return frozenset(told)


def dead_letter(found: Record, why: Unreadable, now_ms: int, partitions: int) -> Letter:
    """The dead letter of a record, on the partition of the same number as its origin where there is one."""
    headers = letter_headers(
        found.topic, found.partition, found.offset, why.reason, now_ms, key=found.key, headers=((k, v or b"") for k, v in found.headers)
    )
    value, kept_as = letter_value(found.value)
    return Letter(TOPIC, found.partition % partitions, found.topic.encode(), value, (*headers, *kept_as))
