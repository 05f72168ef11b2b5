"""What the protocol needs of Kafka: to write and know where it landed, and to read a stretch of a partition again."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

Headers = tuple[tuple[str, bytes], ...]


class Letter(msgspec.Struct, frozen=True, gc=False):
    """A record to be written: topic by our own name (no prefix), explicit partition; ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Written(msgspec.Struct, frozen=True, gc=False):
    """Where a record landed, and the broker's time for it in ms (None where the topic keeps the writer's)."""

    offset: int
    at_ms: int | None


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read. ``topic`` is our own name for it, without the prefix; ``at_ms`` is below 0 where nobody stamped it."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Outbox(Protocol):
    """Writes records and waits until every in-sync replica has them."""

    async def send(self, letters: Sequence[Letter]) -> list[Written]:
        """Write all, in order per partition, and return where each landed. Raises on any failure: nothing may be assumed then."""
        ...


class LogReader(Protocol):
    """Reads stretches of partitions, outside any consumer group."""

    def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Record]:
        """Records with ``start`` <= offset < ``end`` (None: what the partition holds now), in order."""
        ...

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the next record will have."""
        ...


class Fenced(Exception):
    """Somebody else wrote to a partition of ``decisions`` that we took for ours: another owner has it. Stop, start again, claim."""
