"""Derive the decisions of a partition again from its facts, in the order of the log, and compare them byte for byte.

The log says in which order facts were decided, under which epoch and by which build; everything else is derived again by
the same ``Decider`` that the engine uses. After a difference the recorded decision is taken, so that one difference is
reported once. Since bytes are compared, no more is read of a record than those three, unless it differs.
"""

from collections.abc import AsyncIterator
from enum import StrEnum

import msgspec

from ctrlplane_stream.model.decisions import Claim, Decided, Lane, Parked
from ctrlplane_stream.stream.deciding import SKIPPED, Answer, Decider, Recorded, Resumed, Rules, read_fact
from ctrlplane_stream.stream.decision_log import Fence, read_decision
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.ports import LogReader, Record
from ctrlplane_stream.wire.cloudevents import Unreadable, decode


class Problem(StrEnum):
    """What a replay can find."""

    DIFFERENT = "different"
    """This build derives another decision than the same build recorded: the core is not deterministic."""
    OTHER_BUILD = "other-build"
    """Another build recorded it, and this one decides differently: a change of behaviour."""
    DOUBLED = "doubled"
    """The fact was decided twice by records that count."""
    NO_FACT = "no-fact"
    """There is no such fact: expired, or never written."""
    UNDECIDED = "undecided"
    """A fact without a decision, though the log has gone past it."""


class _Head(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="decided"):
    """What a replay must know of a ``Decided`` before it can derive it again."""

    environment: str
    epoch: int
    fact_offset: int
    build: str
    lane: Lane = Lane.TURN


_heads: msgspec.json.Decoder[_Head | Claim | Parked] = msgspec.json.Decoder(_Head | Claim | Parked)


def _read_head(value: bytes | None) -> _Head | Claim | Parked | Unreadable:
    return decode(value or b"", _heads, "decision record")


class Found(msgspec.Struct, frozen=True):
    """A problem, with the offsets on ``facts`` and ``decisions`` (-1: none), and what was derived instead."""

    problem: Problem
    environment: str
    fact_offset: int
    decision_offset: int
    recorded: str = ""
    derived: str = ""


class Tally(msgspec.Struct):
    """What a replay has seen."""

    facts: int = 0
    decisions: int = 0
    ignored_by_epoch: int = 0
    parked: int = 0
    found: list[Found] = []

    def add(self, other: "Tally") -> None:
        """Take in another partition's."""
        self.facts += other.facts
        self.decisions += other.decisions
        self.ignored_by_epoch += other.ignored_by_epoch
        self.parked += other.parked
        self.found = [*self.found, *other.found]


class Replay:
    """One partition. ``build`` is the build that replays."""

    def __init__(self, reader: LogReader, facts_reader: LogReader, rules: Rules, *, partition: int, partitions: int, build: str) -> None:
        self._reader, self._facts_reader = reader, facts_reader
        self._decider = Decider(partition, partitions, -1, build, {}, rules)
        self._partition = partition
        self._build = build
        self._waiting: dict[int, Record] = {}
        self._beside: set[int] = set()
        self._read_through = -1
        self.tally = Tally()

    @property
    def lines(self) -> dict[str, Line]:
        """The environments as they stand after what was replayed."""
        return self._decider.lines

    async def run(self, *, settled: bool = False) -> Tally:
        """Replay everything that the partition holds. ``settled``: the engine has caught up, so an undecided fact is a problem."""
        facts = self._facts_reader.read("facts", self._partition, 0)
        fence = Fence()
        async for found in self._reader.read("decisions", self._partition, 0):
            record = _read_head(found.value)
            if isinstance(record, Unreadable):
                continue
            if not fence.admits(found.offset, record):
                self.tally.ignored_by_epoch += 1
            elif isinstance(record, _Head):
                await self._compare(record, found, facts)
            elif isinstance(record, Parked):
                self.tally.parked += 1
                self._decider.line(record.environment).parked = record.fact_offset
        if settled:
            await self._pull(facts, None)
            self._report_undecided()
        return self.tally

    async def _compare(self, record: _Head, found: Record, facts: AsyncIterator[Record]) -> None:
        self.tally.decisions += 1
        line = self._decider.line(record.environment)
        if record.lane is not Lane.BESIDE and line.has_decided(record.fact_offset):
            self._report(Problem.DOUBLED, record, found)
            return
        await self._pull(facts, record.fact_offset)
        fact = self._waiting.get(record.fact_offset)
        if fact is None:
            self._report(Problem.NO_FACT, record, found)
        else:
            self._derive(record, found, fact, line)
        if record.lane is not Lane.BESIDE:
            self._waiting.pop(record.fact_offset, None)

    def _derive(self, record: _Head, found: Record, fact: Record, line: Line) -> None:
        """Compare, and leave the line as the record says."""
        before = Line(line.state, line.through, line.ahead, line.parked, line.beside, line.wake_at_ms, line.build)
        if line.parked == record.fact_offset and _is_skipped(found):
            _take(line, found)
            return
        if record.lane is not Lane.BESIDE:
            line.parked = None
        self._decider.epoch, self._decider.build = record.epoch, record.build
        answer = self._decider.in_turn(fact) if record.lane is Lane.TURN else self._decider.ahead(fact)
        value = _value(answer)
        if value != found.value:
            self._decider.lines[record.environment] = before
            if _take(before, found):
                problem = Problem.DIFFERENT if record.build == self._build else Problem.OTHER_BUILD
                self._report(problem, record, found, value or b"nothing: the fact is parked or waits")

    def _report(self, problem: Problem, record: _Head, found: Record, derived: bytes = b"") -> None:
        recorded = (found.value or b"").decode() if derived else ""
        self.tally.found.append(Found(problem, record.environment, record.fact_offset, found.offset, recorded, derived.decode()))

    def _report_undecided(self) -> None:
        for offset, fact in sorted(self._waiting.items()):
            environment = (fact.key or b"").decode(errors="replace")
            line = self._decider.lines.get(environment)
            parked = line is not None and line.parked is not None and offset >= line.parked
            if not parked and not isinstance(read_fact(fact.value), Unreadable):
                self.tally.found.append(Found(Problem.UNDECIDED, environment, offset, -1))

    async def _pull(self, facts: AsyncIterator[Record], through: int | None) -> None:
        """Read facts on, up to and with the one at offset ``through`` (None: all)."""
        while through is None or self._read_through < through:
            fact = await anext(facts, None)
            if fact is None:
                return
            self._read_through = fact.offset
            self.tally.facts += 1
            self._waiting[fact.offset] = fact


def _take(line: Line, found: Record) -> bool:
    """Let the line go on as a record says; whether it can be read as a decision at all."""
    record = read_decision(found.value)
    if isinstance(record, Decided):
        line.take(record, found.offset)
    return isinstance(record, Decided)


def _is_skipped(found: Record) -> bool:
    record = read_decision(found.value)
    return isinstance(record, Decided) and any(reason.code == SKIPPED for reason in record.reasons)


def _value(answer: Answer) -> bytes | None:
    if isinstance(answer, Recorded):
        return answer.value
    return answer.skipped.value if isinstance(answer, Resumed) else None
