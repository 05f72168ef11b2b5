"""A worker that dies on time: the real engine role, with its ports wrapped so that a boundary can be the last thing it does."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from faust import EventT

from ctrlplane_stream.decision import engine as core
from ctrlplane_stream.decision.engine import Decision, Moment
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Notify, Output
from ctrlplane_stream.model.decisions import Claim
from ctrlplane_stream.model.facts import Fact, OverrideRequested
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC as DECISIONS
from ctrlplane_stream.stream.decision_log import read_decision
from ctrlplane_stream.stream.duty import Handle
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.ownership import Tuning
from ctrlplane_stream.stream.ports import Letter, LogReader, Outbox, Record, Written
from ctrlplane_stream.stream.snapshots import TOPIC as SNAPSHOTS
from ctrlplane_stream.stream.sweep.plans import Boundary
from ctrlplane_stream.stream.worker import run

POISON = "this fact makes decide raise"
"""``why`` of an override that the sweep's rules cannot decide, unless they are mended."""


class Orders(msgspec.Struct, frozen=True):
    """What a child is told: where to die, and which build it is."""

    boundary: Boundary | None = None
    nth: int = 1
    sleeps: bool = False
    """Whether it falls asleep there (SIGSTOP) instead, to be woken as a zombie."""
    build: str = "build-1"
    mended: bool = False


class SweepRules:
    """The product's rules, and on top of them one output a fact whose id must never be seen twice."""

    def __init__(self, orders: Orders, passed: Callable[[Boundary], None]) -> None:
        self._orders, self._passed = orders, passed

    def decide(self, state: State, fact: Fact, moment: Moment) -> Decision:
        """The core's decision; another build says other words."""
        self._passed(Boundary.DECIDE)
        if isinstance(fact, OverrideRequested) and fact.why == POISON and not self._orders.mended:
            raise ValueError("poisoned")
        decision = core.decide(state, fact, moment)
        if any(reason.code in ("repeated", "override-repeated", "override-repeated-in-vain") for reason in decision.reasons):
            return decision
        text = f"{self._orders.build} decided {type(fact).__name__}"
        about = "fact/" if moment.origin is not None else "tick/"
        effect = Notify(f"{state.environment}/{about}{decision.sequence}", "effect", text, None, {}, "")
        return msgspec.structs.replace(decision, outputs=(*decision.outputs, effect))

    def minimal_abort(self, state: State, override: OverrideRequested) -> tuple[Output, ...]:
        """One visible effect."""
        return (Notify(f"{state.environment}/abort/{override.id}", "effect", "abort", None, {}, ""),)


class DyingOutbox:
    """Passes boundaries on the way to and from the broker."""

    def __init__(self, inner: Outbox, passed: Callable[[Boundary], None], dies_at: Boundary | None) -> None:
        self._inner, self._passed, self._dies_at = inner, passed, dies_at

    async def send(self, letters: Sequence[Letter]) -> list[Written]:
        """See ``ports.Outbox``."""
        if not letters:
            return []
        before, after = _boundaries(letters)
        for boundary in before:
            self._passed(boundary)
        if self._dies_at is Boundary.UNACKNOWLEDGED and Boundary.PUBLISH in before:
            asyncio.get_running_loop().call_later(0.003, self._passed, Boundary.UNACKNOWLEDGED)
        written = await self._inner.send(letters)
        for boundary in after:
            self._passed(boundary)
        return written


def _boundaries(letters: Sequence[Letter]) -> tuple[list[Boundary], list[Boundary]]:
    first = letters[0]
    if first.topic == SNAPSHOTS:
        manifest = (first.key or b"").startswith(b"manifest/")
        return ([Boundary.MANIFEST], [Boundary.SNAPSHOT]) if manifest else ([], [Boundary.CHUNK])
    if first.topic == DECISIONS:
        if isinstance(read_decision(first.value), Claim):
            return [Boundary.CLAIM], [Boundary.CLAIMED]
        return [Boundary.PUBLISH], [Boundary.PUBLISHED]
    return [], [Boundary.INGEST]


class DyingReader:
    """Passes a boundary for every record that is folded."""

    def __init__(self, inner: KafkaLogReader, passed: Callable[[Boundary], None]) -> None:
        self._inner, self._passed = inner, passed

    async def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Record]:
        """See ``ports.LogReader``."""
        async for record in self._inner.read(topic, partition, start, end):
            if topic == DECISIONS:
                self._passed(Boundary.FOLD)
            yield record

    async def end(self, topic: str, partition: int) -> int:
        """See ``ports.LogReader``."""
        return await self._inner.end(topic, partition)


def run_child(settings: Settings, orders: Orders) -> None:
    """Run the engine role in this process until it is killed, by others or by its orders."""
    from ctrlplane_stream.stream.roles.engine import Engine

    logging.basicConfig(level=os.environ.get("SWEEP_LOG", "ERROR"), format="%(asctime)s %(process)d %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    passes: dict[Boundary, int] = {}

    def passed(boundary: Boundary) -> None:
        passes[boundary] = passes.get(boundary, 0) + 1
        if boundary is orders.boundary and passes[boundary] >= orders.nth:
            passes[boundary] = -1_000_000  # a zombie that was woken goes on
            os.kill(os.getpid(), signal.SIGSTOP if orders.sleeps else signal.SIGKILL)

    class DyingEngine(Engine):
        """The engine role, and where it can die."""

        def wrap(self, outbox: Outbox, reader: KafkaLogReader) -> tuple[Outbox, LogReader]:
            return DyingOutbox(outbox, passed, orders.boundary), DyingReader(reader, passed)

        async def _decide(self, records: list[Record]) -> None:
            passed(Boundary.READ)
            await super()._decide(records)

        async def _handled(self, topic: str, events: Sequence[EventT[Any]], handle: Handle) -> None:
            await super()._handled(topic, events, handle)
            passed(Boundary.COMMIT)

        async def _positions(self, assigned: frozenset[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
            found = await super()._positions(assigned)
            if found:
                passed(Boundary.SEEK)
            return found

    async def work() -> None:
        rules = SweepRules(orders, passed)
        tuning = Tuning(snapshot_records=25, look_ahead_from=40)
        engine = DyingEngine(settings, rules=rules, build=orders.build, tuning=tuning)
        await run(engine, settings, follow=os.getppid())

    asyncio.run(work())
