"""A partition of ``facts`` and ``decisions`` that is ours: everything that may be done with it, by one task at a time.

*Contiguity*: since nobody else may write to a partition of ``decisions`` that we own, the broker must put our records
at the offsets that follow our claim, one after another. Any other offset means another owner: ``Fenced``, and the
process ends before it acknowledges anything.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.model.decisions import Claim, Parked
from ctrlplane_stream.model.facts import BuildChanged, FactRecord, TimePassed
from ctrlplane_stream.stream.deciding import Answer, Clockwork, Decider, Recorded, Resumed
from ctrlplane_stream.stream.decision_log import CLAIM_AT_LEAST_EVERY, TOPIC, write_decision
from ctrlplane_stream.stream.gaps import without_gaps
from ctrlplane_stream.stream.line import restart_offset
from ctrlplane_stream.stream.ports import Fenced, Letter, LogReader, Outbox, Record
from ctrlplane_stream.stream.snapshots import EMPTY, Manifest, take_snapshot
from ctrlplane_stream.wire.cloudevents import Unreadable

log = logging.getLogger(__name__)

FACTS = "facts"

Refuse = Callable[[Record, Unreadable], Awaitable[Sequence[Letter]]]
"""Makes the dead letter of a record that cannot be read; nothing where there is one already."""


class Tuning(msgspec.Struct, frozen=True):
    """How an owner works; nothing of it changes a decision."""

    snapshot_records: int = 5_000
    """A snapshot after this many records: bounds recovery to folding some seconds' worth."""
    snapshot_seconds: float = 3_600.0
    """A snapshot at least this often where anything is new: a quiet environment's log must not expire before its snapshot."""
    look_ahead_from: int = 300
    """From this many facts in the queue on, overrides are looked for ahead of their turn; fewer are decided within a moment."""
    tick_least_ms: int = 250
    """Shortest time between two ticks of an environment, so that a fast clock of ours cannot flood ``facts``."""
    breath_seconds: float = 0.02
    """Longest stretch of deciding without giving way to heartbeats."""


class OwnedPartition:
    """One partition under one claim. Not safe for concurrent use: ``_busy`` makes its callers take turns."""

    def __init__(
        self,
        partition: int,
        decider: Decider,
        outbox: Outbox,
        reader: LogReader,
        refuse: Refuse,
        *,
        next_offset: int,
        owner: str,
        snapshot: Manifest = EMPTY,
        tuning: Tuning | None = None,
    ) -> None:
        self.partition = partition
        self.decider = decider
        self._outbox, self._reader, self._refuse = outbox, reader, refuse
        self._next_offset = next_offset
        self._owner = owner
        self._snapshot, self._since_snapshot, self._snapshot_at = snapshot, 0, time.monotonic()
        self._since_claim = 0
        self._tuning = tuning or Tuning()
        self._ticks: dict[str, tuple[int, int]] = {}
        self._looked_through = 0
        self._busy = asyncio.Lock()
        self.position = restart_offset(decider.lines)
        self.decided = 0
        for line in decider.lines.values():
            line.parked = None  # tried again under this claim: the build may be a mended one

    async def take(self, facts: Sequence[Record], facts_end: int = 0) -> None:
        """Decide a batch, publish all, await all. ``facts_end`` is the end of the queue as far as it is known.

        Returns only when the log holds the decision of every fact of the batch; then they may be acknowledged.
        """
        async with self._busy:
            facts = await without_gaps(self._reader, facts, self.position)
            await self._renew_claim()
            await self._look_ahead(facts, facts_end)
            await self._decide_all(facts, self.decider.in_turn)
            if facts:
                self.position = max(self.position, facts[-1].offset + 1)
            await self._maybe_snapshot()

    @property
    def parked(self) -> int:
        """How many of the partition's environments stand still."""
        return sum(line.parked is not None for line in self.decider.lines.values())

    async def tick(self, now_ms: int) -> None:
        """Append ``TimePassed`` to ``facts`` for every environment whose time has come."""
        async with self._busy:
            due = list(self._waking(now_ms))
            letters = [_fact_letter(self.partition, FactRecord(name, TimePassed())) for name in due]
            if letters:
                for name, written in zip(due, await self._outbox.send(letters), strict=True):
                    self._ticks[name] = (written.offset, now_ms)

    async def announce_build(self) -> None:
        """Tell every environment that was decided by another build; the fact goes through the line like any other."""
        build = self.decider.build
        changed = [(n, line.build) for n, line in sorted(self.decider.lines.items()) if line.build not in (None, build)]
        await self._outbox.send([_fact_letter(self.partition, FactRecord(n, BuildChanged(build, old))) for n, old in changed])

    def _waking(self, now_ms: int) -> Iterable[str]:
        for name, line in self.decider.lines.items():
            if line.wake_at_ms is None or line.wake_at_ms > now_ms or line.parked is not None:
                continue
            offset, ticked_at_ms = self._ticks.get(name, (-1, 0))
            if line.through >= offset and now_ms - ticked_at_ms >= self._tuning.tick_least_ms:
                yield name

    async def _look_ahead(self, facts: Sequence[Record], facts_end: int) -> None:
        """Overrides do not wait behind a long queue: decide those that stand further back now, in their own order."""
        start = facts[-1].offset + 1 if facts else self.position
        if facts_end - start < self._tuning.look_ahead_from:
            return
        found = []
        async for record in self._reader.read(FACTS, self.partition, max(start, self._looked_through)):
            self._looked_through = record.offset + 1
            if record.value is not None and b'"override-requested"' in record.value:
                found.append(record)
        in_batch = [f for f in facts if f.value is not None and b'"override-requested"' in f.value] if found else []
        await self._decide_all([*in_batch, *found], self.decider.ahead)

    async def _decide_all(self, facts: Iterable[Record], answer_to: Callable[[Record], Answer], *, refusing: bool = True) -> None:
        letters: list[Recorded] = []
        refused: list[Letter] = []
        breath = time.monotonic()
        for fact in facts:
            answer = answer_to(fact)
            if isinstance(answer, Recorded):
                letters.append(answer)
            elif isinstance(answer, Unreadable) and refusing:
                refused += await self._refuse(fact, answer)
            elif isinstance(answer, Resumed):
                letters.append(answer.skipped)
                await self._publish(letters)
                letters.clear()
                await self._resume(answer)
            if time.monotonic() - breath > self._tuning.breath_seconds:
                await asyncio.sleep(0)
                breath = time.monotonic()
        if refused:
            await self._outbox.send(refused)
        await self._publish(letters)

    async def _resume(self, answer: Resumed) -> None:
        """Decide what waited behind a skipped fact: overrides first, as behind any queue, then all in order. What cannot be read is
        refused in its turn alone."""
        environment = answer.skipped.environment.encode()
        waiting = [
            record
            async for record in self._reader.read(FACTS, self.partition, answer.start, answer.end)
            if record.value is not None and environment in record.value
        ]
        overrides = [record for record in waiting if b'"override-requested"' in (record.value or b"")]
        await self._decide_all(overrides, self.decider.ahead)
        await self._decide_all(waiting, self.decider.in_turn, refusing=False)

    async def _publish(self, recorded: Sequence[Recorded]) -> None:
        if not recorded:
            return
        letters = [Letter(TOPIC, self.partition, r.environment.encode(), r.value) for r in recorded]
        for answer, written in zip(recorded, await self._outbox.send(letters), strict=True):
            self._stands_at(written.offset)
            self.decider.lines[answer.environment].decided_at = written.offset
            if isinstance(answer.record, Parked):
                self._say_parked(answer.record)
        self.decided += len(recorded)
        self._since_claim += len(recorded)
        self._since_snapshot += len(recorded)

    def _say_parked(self, record: Parked) -> None:
        still = Standstill(record.environment, record.fact_offset, record.error)
        where = {"topic": FACTS, "partition": self.partition, "offset": record.fact_offset}
        log.error("%s; %s", still.text, still.remedy, extra={"fields": where})

    def _stands_at(self, offset: int) -> None:
        if offset != self._next_offset:
            raise Fenced(f"decisions/{self.partition}: our record stands at {offset} instead of {self._next_offset}")
        self._next_offset += 1

    async def _renew_claim(self) -> None:
        if self._since_claim < CLAIM_AT_LEAST_EVERY:
            return
        claim = write_decision(Claim(self._owner, self.decider.build))
        written = (await self._outbox.send([Letter(TOPIC, self.partition, None, claim)]))[0]
        self._stands_at(written.offset)
        self.decider.epoch, self._since_claim = written.offset, 0

    async def _maybe_snapshot(self) -> None:
        overdue = time.monotonic() - self._snapshot_at > self._tuning.snapshot_seconds
        if self._since_snapshot >= self._tuning.snapshot_records or (self._since_snapshot and overdue):
            await self.snapshot()

    async def snapshot(self) -> None:
        """Write a snapshot of everything decided so far; chunks are awaited before the manifest."""
        steps = take_snapshot(self.partition, self.decider.lines, self.decider.epoch, self._next_offset, self._snapshot)
        for letters, manifest in steps:
            await self._outbox.send(letters)
            self._snapshot = manifest or self._snapshot
        self._since_snapshot, self._snapshot_at = 0, time.monotonic()


def _fact_letter(partition: int, fact: FactRecord) -> Letter:
    return Letter(FACTS, partition, fact.environment.encode(), msgspec.json.encode(fact))


def wall_clock_ms() -> int:
    """The process's own clock; only timers use it, and what they write is dated by the broker."""
    return time.time_ns() // 1_000_000


__all__ = ["FACTS", "Clockwork", "OwnedPartition", "Refuse", "Tuning", "wall_clock_ms"]
