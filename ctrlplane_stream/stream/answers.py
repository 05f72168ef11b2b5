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
_REPEATED = "repeated"
"""Code of the reason of a fact that was decided before: so is the second of two that were made of one record, where a worker began again.
Where it is all that is said of a record which was just written, that one was taken for another."""


class Answer(msgspec.Struct, frozen=True):
    """What one environment (None: nobody, it is a dead letter) made of the record, and where that stands.

    ``refused``: it could not be done. ``idle``: there was nothing there to do it with. Either way nothing was changed. An event that is
    ignored since it was known already is neither, and all is well. ``repeated``: the record was taken for one that had been decided.
    """

    environment: str | None
    refused: bool
    reasons: tuple[str, ...]
    topic: str
    partition: int
    offset: int
    idle: bool = False
    repeated: bool = False

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
                        return of_the_record([self._decided[fact] for fact in sorted(facts) if self._is_worth_telling(fact)])
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
        found, place = set(), (topic, partition, offset)
        for p in self._partitions:
            start, end = await self._stretch(FACTS, self._facts, p)
            async for record in self._reader.read(FACTS, p, start, end):
                fact = read_fact(record.value)
                if not isinstance(fact, Unreadable) and fact.origin is not None and _place(fact.origin) == place:
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


def of_the_record(answers: list[Answer]) -> tuple[Answer, ...]:
    """What was made of one record that was just written: repetitions are of a fact of it where that was decided besides. Where nothing else
    was, the record itself was taken for one that stood there before it, and nothing came of it.
    """
    done = {answer.environment for answer in answers if not answer.repeated}
    return tuple(
        _unheard(answer) if answer.repeated else answer for answer in answers if not answer.repeated or answer.environment not in done
    )


def _unheard(answer: Answer) -> Answer:
    remedy = (
        "the topic was made anew or lost its end, and this was taken for what stood there before: nothing was done. Say it again until it "
        "is taken (`break-glass abort` stops a candidate at once; `ctrlplane-stream doctor` looks closer)"
    )
    return replace(answer, refused=True, reasons=(*answer.reasons, remedy))


def _place(origin: Origin) -> tuple[str, int, int]:
    return origin.topic, origin.partition, origin.offset


def _answer(record: Decided | Parked, partition: int, offset: int) -> Answer:
    if isinstance(record, Parked):
        still = Standstill(record.environment, record.fact_offset, record.error)
        return Answer(record.environment, True, (still.text, still.remedy), TOPIC, partition, offset)
    codes, reasons = {r.code for r in record.reasons}, tuple(r.text for r in record.reasons)
    refused, idle = bool(codes & _REFUSALS), bool(codes & _IDLE)
    return Answer(record.environment, refused, reasons, TOPIC, partition, offset, idle, _REPEATED in codes)
