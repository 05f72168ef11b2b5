"""What the engine made of a record that was just written to ``control`` or ``artifacts``: decided so, refused, or not read at all.

The answer is looked for behind the ends that the topics had before the record was written, so however much they hold it takes a moment.
"""

import asyncio
from typing import Self

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.model.decisions import Decided, Parked
from ctrlplane_stream.model.facts import CatalogApplied, FactRecord, Origin
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.decision_log import TOPIC, admitted, fence_at
from ctrlplane_stream.stream.ingest import FACTS
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.wire import dead_letters
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import partition_of

_LOOK_SECONDS = 0.1
_REFUSALS = frozenset({"override-refused", "unknown-service", "unknown-repository"})
"""Codes of reasons that say: not done, and sending it again is no use."""
_IDLE = frozenset({"override-idle", "override-repeated-in-vain"})
"""Codes of reasons that say: heard, and nothing was changed by it."""


class Answer(msgspec.Struct, frozen=True):
    """What one environment (None: nobody, it is a dead letter) made of the record, and where that stands.

    ``refused``: it could not be done. ``idle``: there was nothing there to do it with. Either way nothing was changed. An event that is
    ignored since it was known already is neither, and all is well.
    """

    environment: str | None
    refused: bool
    reasons: tuple[str, ...]
    topic: str
    partition: int
    offset: int
    idle: bool = False

    @property
    def in_vain(self) -> bool:
        """Whether nothing was changed."""
        return self.refused or self.idle


class Listening:
    """Ears for what is decided from now on in one environment, or in all. Raises KafkaError where no broker answers."""

    def __init__(self, settings: Settings, environment: str | None) -> None:
        every = range(settings.partitions)
        self._partitions = every if environment is None else (partition_of(environment, settings.partitions),)
        self._letters = dict.fromkeys(every, 0)
        self._facts = dict.fromkeys(self._partitions, 0)
        self._decisions = dict.fromkeys(self._partitions, 0)
        self._reader = KafkaLogReader(settings)
        self._decided: dict[tuple[str, int], Answer] = {}
        self._parts: set[tuple[str, int]] = set()
        self._unfinished: set[str] = set()

    async def __aenter__(self) -> Self:
        """Note the ends: write the record after that."""
        try:
            for topic, ends in ((FACTS, self._facts), (TOPIC, self._decisions), (dead_letters.TOPIC, self._letters)):
                for partition in ends:
                    ends[partition] = await self._reader.end(topic, partition)
            self._fences = {p: await fence_at(self._reader, p, self._decisions[p]) for p in self._partitions}
        except BaseException:
            await self._reader.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the broker."""
        await self._reader.close()

    async def answers(self, topic: str, partition: int, offset: int, seconds: float) -> tuple[Answer, ...]:
        """What became of the record written there (``topic`` without prefix), by environment; nothing if nobody said in so many seconds."""
        facts: set[tuple[str, int]] = set()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if (letter := await self._letter(topic, partition, offset)) is not None:
                        return (letter,)
                    facts |= await self._facts_of(topic, partition, offset)
                    await self._listen()
                    if facts and not self._unfinished and facts <= self._decided.keys():
                        return tuple(self._decided[fact] for fact in sorted(facts) if self._is_worth_telling(fact))
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            return ()

    async def _letter(self, topic: str, partition: int, offset: int) -> Answer | None:
        start, end = await self._stretch(dead_letters.TOPIC, self._letters, partition)
        for found in [record async for record in self._reader.read(dead_letters.TOPIC, partition, start, end)]:
            letter = dead_letters.read_letter(found.partition, found.offset, found.value, found.headers)
            if (letter.topic, letter.origin) == (topic, (partition, offset)):
                return Answer(None, True, (letter.reason,), dead_letters.TOPIC, *letter.place)
        return None

    async def _facts_of(self, topic: str, partition: int, offset: int) -> set[tuple[str, int]]:
        """The facts that were made of the record, as (environment, offset)."""
        found, origin = set(), Origin(topic, partition, offset)
        for place in self._partitions:
            start, end = await self._stretch(FACTS, self._facts, place)
            async for record in self._reader.read(FACTS, place, start, end):
                fact = read_fact(record.value)
                if not isinstance(fact, Unreadable) and fact.origin is not None and replace(fact.origin, index=0) == origin:
                    found.add((fact.environment, record.offset))
                    self._note_part(fact, record.offset)
        return found

    def _note_part(self, record: FactRecord, offset: int) -> None:
        """Remember a part of a large catalog, and that others are to come: the answer to the last is that to all, where none is refused."""
        if isinstance(record.fact, CatalogApplied) and record.fact.more:
            self._parts.add((record.environment, offset))
            self._unfinished.add(record.environment)
        else:
            self._unfinished.discard(record.environment)

    def _is_worth_telling(self, fact: tuple[str, int]) -> bool:
        return fact not in self._parts or self._decided[fact].refused

    async def _listen(self) -> None:
        """Take in what was decided since, whatever it is about: a fact is seen after its decision where both come at once."""
        for place in self._partitions:
            start, end = await self._stretch(TOPIC, self._decisions, place)
            async for offset, _, record in admitted(self._reader, place, start, end, self._fences[place]):
                self._decided[record.environment, record.fact_offset] = _answer(record, place, offset)

    async def _stretch(self, topic: str, ends: dict[int, int], partition: int) -> tuple[int, int]:
        """What came since the last look."""
        start, ends[partition] = ends[partition], await self._reader.end(topic, partition)
        return start, ends[partition]


def _answer(record: Decided | Parked, partition: int, offset: int) -> Answer:
    if isinstance(record, Parked):
        still = Standstill(record.environment, record.fact_offset, record.error)
        return Answer(record.environment, True, (still.text, still.remedy), TOPIC, partition, offset)
    codes, reasons = {r.code for r in record.reasons}, tuple(r.text for r in record.reasons)
    return Answer(record.environment, bool(codes & _REFUSALS), reasons, TOPIC, partition, offset, bool(codes & _IDLE))
