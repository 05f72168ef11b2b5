"""One fact to one record on ``decisions``: in its turn, ahead of it, or beside the line while an earlier fact is parked.

No I/O: the caller publishes what ``Decider`` answers, awaits it, and only then acknowledges the fact. The decider's lines run
ahead of the log by exactly what was answered and not yet published; on any failure to publish the process ends, and
the lines with it.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from ctrlplane_stream.decision import engine as core
from ctrlplane_stream.decision.engine import Decision, Moment
from ctrlplane_stream.decision.entities import Clock
from ctrlplane_stream.decision.standstill import Standstill, notice_of
from ctrlplane_stream.decision.state import State, encode_entry
from ctrlplane_stream.model.commands import Notify, Output
from ctrlplane_stream.model.decisions import Decided, Disposition, Lane, Parked, Reason
from ctrlplane_stream.model.facts import Fact, FactRecord, OverrideRequested, OverrideVerb
from ctrlplane_stream.stream.decision_log import write_decision
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.ports import Record
from ctrlplane_stream.wire.cloudevents import Unreadable, decode
from ctrlplane_stream.wire.kafka_clients import partition_of

MAX_DECISION_BYTES = 8_000_000
"""A larger record would be refused by the broker (``topics/decisions.yaml``), so its fact is parked instead."""
_MOST_OF_AN_ERROR = 2_000
SKIPPED = "skipped"
"""Reason code of a parked fact that an operator skipped: recorded by the shell, derived by no rule."""


class Rules(Protocol):
    """The pure core as the shell needs it."""

    def decide(self, state: State, fact: Fact, moment: Moment) -> Decision:
        """One fact, one decision; see ``decision.engine.decide``."""
        ...

    def minimal_abort(self, state: State, override: OverrideRequested) -> tuple[Output, ...]:
        """Every moving target in scope to its stable weight; see ``decision.engine.minimal_abort``."""
        ...


class _Core:
    """The product's own rules."""

    decide = staticmethod(core.decide)
    minimal_abort = staticmethod(core.minimal_abort)


CORE: Rules = _Core()
"""The rules that the product decides by."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """Publish this: the environment it is of, and the record as words and as bytes."""

    environment: str
    record: Decided | Parked
    value: bytes


class Settled(msgspec.Struct, frozen=True, gc=False):
    """Nothing to publish: decided before, or waiting behind a parked fact."""

    waiting: bool = False


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """The parked fact was skipped: publish ``skipped``, then decide the environment's facts in ``[start, end)`` that waited."""

    skipped: Recorded
    start: int
    end: int


Answer = Recorded | Settled | Resumed | Unreadable


def read_fact(value: bytes | None) -> FactRecord | Unreadable:
    """The fact that a record of ``facts`` holds, or why it cannot be read. Never raises."""
    if not value:
        return Unreadable("the record is empty")
    record = decode(value, FactRecord, "fact")
    if isinstance(record, Unreadable):
        return record
    if record.version != 1:
        return Unreadable(f"fact version {record.version} is not known to this build")
    return record if record.environment else Unreadable("the fact names no environment")


class Decider:
    """Decides the facts of one partition of ``facts``, under one epoch."""

    def __init__(self, partition: int, partitions: int, epoch: int, build: str, lines: dict[str, Line], rules: Rules) -> None:
        self.epoch = epoch
        self.build = build
        self.lines = lines
        self._partition = partition
        self._partitions = partitions
        self._rules = rules

    def in_turn(self, found: Record) -> Answer:
        """The answer to the next fact of the partition."""
        fact = self._read(found)
        if isinstance(fact, Unreadable):
            return fact
        line = self.line(fact.environment)
        if line.has_decided(found.offset):
            return Settled()
        if line.parked is not None and found.offset != line.parked:
            return self._while_parked(line, fact, found)
        return self._decide(line, fact, found, Lane.TURN)

    def ahead(self, found: Record) -> Answer:
        """The answer to an override that stands further back in the queue; any other fact waits for its turn."""
        fact = self._read(found)
        if isinstance(fact, Unreadable) or not isinstance(fact.fact, OverrideRequested):
            return Settled()
        line = self.line(fact.environment)
        if line.has_decided(found.offset):
            return Settled()
        if line.parked is not None:
            return self._while_parked(line, fact, found)
        if line.stalled is not None and found.offset > line.stalled:
            return Settled(waiting=True)
        return self._decide(line, fact, found, Lane.AHEAD)

    def line(self, environment: str) -> Line:
        """The environment's line; a new one before its first fact."""
        line = self.lines.get(environment)
        if line is None:
            line = self.lines[environment] = Line(State.empty(environment))
        return line

    def _read(self, found: Record) -> FactRecord | Unreadable:
        fact = read_fact(found.value)
        if isinstance(fact, Unreadable):
            return fact
        if fact.environment in self.lines:
            return fact
        place = partition_of(fact.environment, self._partitions)
        if place != self._partition:
            return Unreadable(f"a fact of environment {fact.environment!r} belongs on partition {place}")
        return fact

    def _decide(self, line: Line, fact: FactRecord, found: Record, lane: Lane) -> Answer:
        try:
            decision = self._rules.decide(line.state, fact.fact, Moment(found.offset, found.at_ms, fact.origin))
        except Exception as error:  # whatever a mistake in the core raises: nothing changes
            return self._failed(line, found, lane, f"{type(error).__name__}: {error}")
        record = Decided(
            environment=line.state.environment,
            epoch=self.epoch,
            fact_offset=found.offset,
            sequence=decision.sequence,
            build=self.build,
            at_ms=found.at_ms,
            disposition=decision.disposition,
            outputs=decision.outputs,
            reasons=decision.reasons,
            delta=decision.delta,
            wake_at_ms=decision.wake_at_ms,
            lane=lane,
        )
        value = write_decision(record)
        if len(value) > MAX_DECISION_BYTES:
            return self._failed(line, found, lane, f"the decision has {len(value)} bytes, more than a record may have")
        line.advance(record, decision.state)
        if lane is Lane.TURN and line.stalled is not None and line.stalled <= found.offset:
            line.stalled = None
        return Recorded(record.environment, record, value)

    def _failed(self, line: Line, found: Record, lane: Lane, error: str) -> Answer:
        """Park the fact in its turn; ahead of its turn it waits for that, and holds back what would overtake it."""
        if lane is not Lane.TURN:
            line.stalled = found.offset
            return Settled(waiting=True)
        error = error[:_MOST_OF_AN_ERROR]
        notice = _notice(Standstill(line.state.environment, found.offset, error), line.state)
        record = Parked(line.state.environment, self.epoch, found.offset, self.build, error, notice)
        line.park(record)
        return Recorded(record.environment, record, write_decision(record))

    def _while_parked(self, line: Line, fact: FactRecord, found: Record) -> Answer:
        override = fact.fact
        if not isinstance(override, OverrideRequested):
            return Settled(waiting=True)
        if override.verb is OverrideVerb.SKIP and override.fact_offset is not None and override.fact_offset == line.parked:
            start = override.fact_offset + 1
            return Resumed(self._skip(line, override, found), start, found.offset + 1)
        if override.verb is OverrideVerb.ABORT and found.offset > line.beside:
            return self._abort_beside(line, override, found)
        return Settled(waiting=True)

    def _abort_beside(self, line: Line, override: OverrideRequested, found: Record) -> Answer:
        try:
            outputs = self._rules.minimal_abort(line.state, override)
        except Exception:  # the parked state may be what is broken; the abort is decided when the line moves again
            return Settled(waiting=True)
        line.beside = found.offset
        text = f"{override.who} aborts while fact {line.parked} is parked: every moving target to its stable weight ({override.why})"
        return self._without_state(line, found.offset, found.at_ms, Lane.BESIDE, outputs, Reason("abort-while-parked", text), {})

    def _skip(self, line: Line, override: OverrideRequested, found: Record) -> Recorded:
        """The parked fact counts as decided and changed nothing but the sequence."""
        assert line.parked is not None
        clock = line.state.find("clock", Clock) or Clock()
        skipped = msgspec.structs.replace(clock, sequence=clock.sequence + 1)
        delta: dict[str, msgspec.Raw] = {"clock": msgspec.Raw(encode_entry(skipped))}
        reason = Reason(SKIPPED, f"ignored: {override.who} skipped the parked fact ({override.why})")
        recorded = self._without_state(line, line.parked, found.at_ms, Lane.TURN, (), reason, delta)
        assert isinstance(recorded.record, Decided)
        line.advance(recorded.record, line.state.with_changes({"clock": skipped}))
        return recorded

    def _without_state(
        self,
        line: Line,
        offset: int,
        at_ms: int,
        lane: Lane,
        outputs: tuple[Output, ...],
        reason: Reason,
        delta: dict[str, msgspec.Raw],
    ) -> Recorded:
        record = Decided(
            environment=line.state.environment,
            epoch=self.epoch,
            fact_offset=offset,
            sequence=line.state.sequence + 1,
            build=self.build,
            at_ms=at_ms,
            disposition=Disposition.APPLIED if outputs else Disposition.IGNORED,
            outputs=outputs,
            reasons=(reason,),
            delta=delta,
            wake_at_ms=line.wake_at_ms,
            lane=lane,
        )
        return Recorded(record.environment, record, write_decision(record))


def _notice(still: Standstill, state: State) -> Notify | None:
    """What people are told of a parked fact; nothing where that fails too, since the fact must be parked all the same."""
    try:
        return notice_of(still, state)
    except Exception:  # the state may be what is broken: then the log, the metric and `doctor` say it
        return None


Clockwork = Callable[[], int]
"""Milliseconds since the epoch by the process's own clock."""
