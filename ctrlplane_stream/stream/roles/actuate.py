"""The actuate role: decisions to the world, and what the world says back to facts.

The agent only hands commands to the reconcile loops of their targets; no decision waits for the world. On taking a
partition the last command of each target is read from the log, so a loop goes on where another worker's ended; the
cursor kept in the target makes a repetition harmless.

Before the engine is told that a weight is in place, every partition of ``span-halves`` is told which versions are
candidates (``Watch``): windows that are judged have counted exposure from their beginning. What another tool moves is told
apart from when its judging is assigned.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

import msgspec

from ctrlplane_stream.actuators.named import UnknownActuator, actuator_named
from ctrlplane_stream.actuators.port import Actuator, Outcome
from ctrlplane_stream.actuators.reconcile import Reconciler
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased, Output
from ctrlplane_stream.model.decisions import Decided, Parked
from ctrlplane_stream.model.facts import FactRecord, OutcomeReported, OutcomeStatus, WorldChanged
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.verdicts import Assignment
from ctrlplane_stream.model.world import Cursor, TargetObserved, TargetWanted
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC, Fence, admitted, read_decision
from ctrlplane_stream.stream.duty import Duty
from ctrlplane_stream.stream.ingest import fact_letter
from ctrlplane_stream.stream.metrics import Product
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.telemetry.batches import Watch, encode_watch
from ctrlplane_stream.wire.cloudevents import Unreadable

SPAN_HALVES = "span-halves"


class Given(msgspec.Struct, frozen=True):
    """A command with its cursor: the decision's epoch and the command's sequence."""

    command: Command
    cursor: Cursor


def commands_of(record: Decided | Parked) -> Iterator[Given]:
    """The commands of a decision, in order."""
    if isinstance(record, Decided):
        for output in record.outputs:
            if isinstance(output, Command):
                yield Given(output, Cursor(record.epoch, output.sequence))


def watch_of(wanted: TargetWanted) -> Watch:
    """Which versions of the target are told apart: while a candidate has weight, it and the stable one; else none.

    The stable one too, because requests that touched the candidate are compared with those that touched the stable version.
    """
    candidates = [v for v in wanted.versions if v.weight and v.label != wanted.stable]
    stable = [v for v in wanted.versions if v.label == wanted.stable]
    versions = tuple(sorted(v.told_as or v.label for v in (*candidates, *stable))) if candidates and stable else ()
    return Watch(wanted.target.environment, wanted.target.service, versions)


def watches_elsewhere(output: Output, known: Mapping[str, Assignment]) -> tuple[Watch, ...]:
    """Which versions are told apart from now on where another tool moves a service: ``known`` are such assignments by rollout."""
    match output:
        case JudgeAssigned(a) if a.advised:
            shared = not a.baking or a.counts_harm
            return tuple(Watch(a.environment, c.service, _apart(c.candidate, c.stable) if shared else ()) for c in a.changed)
        case JudgeReleased(rollout) if rollout in known:
            return tuple(Watch(known[rollout].environment, c.service, ()) for c in known[rollout].changed)
        case _:
            return ()


def _apart(candidate: str, stable: str | None) -> tuple[str, ...]:
    return tuple(sorted([candidate, stable])) if stable is not None else ()


class Actuate(Duty):
    """The reconcile loops of every target whose environment lies on a partition of ours."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "actuate")
        self._actuators: dict[str, Actuator] = {}
        self._loops: dict[Target, tuple[Reconciler, asyncio.Task[None]]] = {}
        self._wanted: dict[Target, TargetWanted] = {}
        self._watches: dict[Target, Watch] = {}
        self._elsewhere: dict[str, Assignment] = {}
        self._fences: dict[int, Fence] = {}
        self._taking = asyncio.Lock()
        self.consume(TOPIC, self._take)
        self.app.positions = self._positions
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self.at_end(self._release)

    async def _positions(self, assigned: frozenset[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Read the newly assigned partitions to their ends: the last command of each target is the one that counts."""
        topic = self.settings.topic(TOPIC)
        async with self._taking:
            ends: dict[tuple[str, int], int] = {}
            for name, partition in sorted(assigned):
                if name == topic and partition not in self._fences:
                    ends[(topic, partition)] = await self._catch_up(partition)
            return ends

    async def _catch_up(self, partition: int) -> int:
        end = await self.reader.end(TOPIC, partition)
        fence = Fence()
        latest: dict[Target, Given] = {}
        watches: dict[Target, Watch] = {}
        async for _, _, record in admitted(self.reader, partition, 0, end, fence):
            watches.update((Target(w.environment, w.service), w) for w in self._seen_elsewhere(record))
            latest.update((given.command.target, given) for given in commands_of(record))
        await self.outbox.send([letter for watch in watches.values() if watch.versions for letter in self._letters(watch)])
        for given in latest.values():
            self._submit(given)
        self._fences[partition] = fence
        return end

    async def _take(self, records: list[Record]) -> None:
        for found in records:
            record = read_decision(found.value)
            fence = self._fences.get(found.partition)
            if isinstance(record, Unreadable) or fence is None:
                continue
            if fence.admits(found.offset, record) and isinstance(record, Decided):
                await self.outbox.send([letter for watch in self._seen_elsewhere(record) for letter in self._letters(watch)])
                if found.partition not in self._fences:
                    return  # taken away meanwhile: whoever has it now reads its last commands from the log
                for given in commands_of(record):
                    self._submit(given)

    def _seen_elsewhere(self, record: Decided | Parked) -> list[Watch]:
        """Which versions of services that other tools move are told apart after this decision."""
        found: list[Watch] = []
        for output in record.outputs if isinstance(record, Decided) else ():
            found += watches_elsewhere(output, self._elsewhere)
            if isinstance(output, JudgeAssigned) and output.assignment.advised:
                self._elsewhere[output.assignment.rollout] = output.assignment
            elif isinstance(output, JudgeReleased):
                self._elsewhere.pop(output.rollout, None)
        return found

    def _letters(self, watch: Watch) -> list[Letter]:
        value = encode_watch(watch)
        return [Letter(SPAN_HALVES, partition, None, value) for partition in range(self.settings.partitions)]

    def _submit(self, given: Given) -> None:
        """Hand a command to the loop of its target, which is a new one where the catalog names another actuator by now."""
        target, wanted = given.command.target, given.command.wanted
        before, self._wanted[target] = self._wanted.get(target), wanted
        if target in self._loops and before is not None and before.actuator != wanted.actuator:
            self._loops.pop(target)[1].cancel()
        if target not in self._loops:
            loop = Reconciler(target, self._actuator(wanted.actuator), self._report)
            task = asyncio.get_running_loop().create_task(loop.run(), name=f"reconcile {target}")
            task.add_done_callback(self._ended)
            self._loops[target] = (loop, task)
        self._loops[target][0].submit(given.command, given.cursor)

    def _actuator(self, name: str) -> Actuator:
        if name not in self._actuators:
            try:
                self._actuators[name] = actuator_named(name, self.settings)
            except UnknownActuator as unknown:
                return _Missing(str(unknown))
        return self._actuators[name]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    async def _report(self, fact: OutcomeReported | WorldChanged) -> None:
        """Tell the span engine of the candidates, then the engine of the fact; returns once the broker has both."""
        letters = [*self._watch_letters(fact), fact_letter(FactRecord(fact.target.environment, fact), self.settings.partitions)]
        await self.outbox.send(letters)
        self.metrics.produced(Product.FACTS, 1)
        self.metrics.produced(Product.OUTCOMES, 1)

    def _watch_letters(self, fact: OutcomeReported | WorldChanged) -> list[Letter]:
        wanted = self._wanted.get(fact.target)
        applied = isinstance(fact, OutcomeReported) and fact.status is OutcomeStatus.APPLIED
        if wanted is None or not applied:
            return []
        watch = watch_of(wanted)
        if self._watches.get(fact.target) == watch:
            return []
        self._watches[fact.target] = watch
        return self._letters(watch)

    async def _on_revoked(self, *_: object, **__: object) -> None:
        """End every loop: whoever has a partition now reads its last commands from the log."""
        tasks = [task for _, task in self._loops.values()]
        self._loops.clear()
        self._fences.clear()
        self._watches.clear()
        self._elsewhere.clear()
        await end_tasks(tasks)

    async def _release(self) -> None:
        await self._on_revoked()
        for actuator in self._actuators.values():
            close = getattr(actuator, "close", None)
            if close is not None:
                with contextlib.suppress(OSError):
                    await close()


class _Missing:
    """Stands where the catalog names an actuator that nothing provides: every command is refused with the remedy."""

    name = "missing"

    def __init__(self, why: str) -> None:
        self._why = why

    async def observe(self, target: Target) -> TargetObserved:
        """Nothing can be seen."""
        return TargetObserved(target, ())

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """Refused; see the port."""
        return Outcome(OutcomeStatus.REFUSED, self._why)
