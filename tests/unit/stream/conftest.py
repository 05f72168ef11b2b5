"""A broker in memory: what the protocol's ports promise, and nothing more."""

from collections.abc import AsyncIterator, Sequence

import pytest

from ctrlplane_stream.stream.ports import Letter, Record, Written


class MemoryBroker:
    """Outbox and reader over lists; ``intrude`` writes as somebody else, between our records."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], list[Letter]] = {}
        self.now_ms = 1_000_000

    async def send(self, letters: Sequence[Letter]) -> list[Written]:
        """Append."""
        return [self.intrude(letter) for letter in letters]

    def intrude(self, letter: Letter) -> Written:
        """Append one record."""
        log = self.logs.setdefault((letter.topic, letter.partition), [])
        log.append(letter)
        self.now_ms += 1
        return Written(len(log) - 1, self.now_ms)

    async def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Record]:
        """A stretch of a log."""
        log = list(self.logs.get((topic, partition), []))
        for offset in range(start, len(log) if end is None else min(end, len(log))):
            letter = log[offset]
            yield Record(topic, partition, offset, 1_000_000 + offset, letter.key, letter.value, letter.headers)

    async def end(self, topic: str, partition: int) -> int:
        """The next offset."""
        return len(self.logs.get((topic, partition), []))

    async def all(self, topic: str, partition: int = 0) -> list[Record]:
        """Everything in a log."""
        return [record async for record in self.read(topic, partition, 0)]


@pytest.fixture
def broker() -> MemoryBroker:
    """An empty broker."""
    return MemoryBroker()
