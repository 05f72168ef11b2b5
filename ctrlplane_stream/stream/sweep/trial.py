"""One trial on a real broker: feed facts, let workers die as planned, wait until all is decided, and check the log."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.model.commands import Command, Notify
from ctrlplane_stream.model.decisions import Claim, Decided, Parked
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, FactRecord, Origin, OverrideRequested, OverrideVerb
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.decision_log import Fence, read_decision
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.replaying import Found, Problem, Replay, Tally
from ctrlplane_stream.stream.sweep.child import POISON, Orders, SweepRules, run_child
from ctrlplane_stream.stream.sweep.plans import Boundary, Plan, Twist
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import OverrideData, write_control
from ctrlplane_stream.wire.kafka_clients import partition_of, producer
from ctrlplane_stream.wire.topic_admin import admin_client, apply_changes, plan_topics
from ctrlplane_stream.wire.topics import topic_specs

TOPICS = ("artifacts", "catalog", "control", "health-verdicts", "facts", "decisions", "engine-snapshots", "dead-letters")
PARTITIONS = 3
_PATIENCE_SECONDS = 120.0
"""After so long without any progress a trial is stuck: long, since a busy machine may give a worker little time."""
_POLL_SECONDS = 0.1
_WAVES = 6
_ROUNDS_FOR_KILLS = 60
_ROUNDS_A_TRY = 12
_BY_CONTROL = 4
"""Every fourth input goes the whole way, through ``control`` and ingest."""
_ARTIFACTS = 6
"""Of six inputs one offers an artifact, so that rollouts are under way, commands are issued and time is asked for."""
_LATE = 24
"""By so many inputs a repeated delivery is late, every second time; it comes at once otherwise."""


class Outcome(msgspec.Struct, frozen=True):
    """What a trial found: problems in words, empty where all is well."""

    plan: str
    problems: tuple[str, ...]
    starts: int
    missed_kills: int
    ignored_by_epoch: int
    parked: int
    facts: int
    seconds: float


def children() -> ForkServerContext:
    """Processes that start at once: forked from a clean one that has imported everything and runs no loop."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ctrlplane_stream.stream.roles.engine", "ctrlplane_stream.stream.sweep.child"])
    return context


def end_children() -> None:
    """End the process that workers are forked from; the next trial starts another."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


async def play(plan: Plan, settings: Settings, restart_broker: Callable[[], None] | None = None) -> Outcome:
    """Play one plan on topics of its own (``settings.topic_prefix``). Raises only where the broker is of no use."""
    started = time.monotonic()
    settings = msgspec.structs.replace(
        settings,
        partitions=PARTITIONS,
        session_timeout_seconds=1.5,
        stall_seconds=15.0,
        topic_prefix=f"{settings.topic_prefix}{plan.seed}-",
    )
    async with _topics(settings), producer(settings) as client:
        trial = _Trial(plan, settings, client, restart_broker)
        try:
            await trial.run()
        finally:
            trial.end()
            await trial.reader.close()
            await trial.facts_reader.close()
    tally = trial.tally
    return Outcome(
        str(plan),
        tuple(trial.problems),
        trial.starts,
        trial.missed,
        tally.ignored_by_epoch,
        tally.parked,
        tally.facts,
        time.monotonic() - started,
    )


@asynccontextmanager
async def _topics(settings: Settings) -> AsyncIterator[None]:
    async with admin_client(settings) as client:
        specs = [spec for spec in topic_specs() if spec.name in TOPICS]
        await apply_changes(client, await plan_topics(client, settings, specs))
        yield
        await client.delete_topics([settings.topic(name) for name in TOPICS])


class _Trial:
    def __init__(self, plan: Plan, settings: Settings, client: AIOKafkaProducer, restart_broker: Callable[[], None] | None) -> None:
        self.plan, self.settings, self._client, self._restart_broker = plan, settings, client, restart_broker
        self.reader, self.facts_reader = KafkaLogReader(settings), KafkaLogReader(settings)
        self.problems: list[str] = []
        self.tally = Tally()
        self.starts = 0
        self.missed = 0
        self._dying: dict[str, Orders] = {}
        self._context = children()
        self._children: dict[str, ForkServerProcess] = {}
        self._kills = list(plan.kills)
        self._build = Orders()
        self._sent = 0
        self._settled: dict[int, int] = {}
        self._deadline = 0.0

    async def run(self) -> None:
        """Feed in waves, with the twist in the middle; then let everything settle and check."""
        await self._apply_catalog()
        self._start("a", kill=True)
        if self.plan.twist in (Twist.TWO_WORKERS, Twist.THREE_WORKERS):
            self._start("b", kill=True)
        for wave in range(_WAVES):
            await self._feed(self.plan.facts // _WAVES)
            if wave == _WAVES // 2:
                await self._twist()
            await self._keep_alive(0.25)
        await self._wait_for_kills()
        if await self._settle():
            await self._check()

    async def _wait_for_kills(self) -> None:
        """Keep working until every kill of the plan has happened, within reason: some boundaries are rare.

        Some lie in a recovery, and where it was short they were not reached: after a while it is tried again with a longer log.
        """
        for round_ in range(1, _ROUNDS_FOR_KILLS + 1):
            if not self._kills and not self._dying:
                return
            if round_ % _ROUNDS_A_TRY == 0:
                self._try_again()
            await self._feed(12)
            await self._keep_alive(0.5)
        self.missed = len(self._kills) + len(self._dying)
        self._kills.clear()

    def _try_again(self) -> None:
        """Kill whoever has not died at its boundary yet, and start it again with the same orders."""
        for name, orders in list(self._dying.items()):
            self._kill(name)
            self._start(name, orders=orders)
            self._dying[name] = orders

    def end(self) -> None:
        """Leave no child behind."""
        for child in self._children.values():
            child.kill()
            child.join()

    def _start(self, name: str, *, kill: bool = False, orders: Orders | None = None) -> None:
        """Start a worker: with the next kill of the plan, with orders of its own, or to live on."""
        orders = orders or self._build
        if kill and self._kills:
            boundary, nth = self._kills.pop(0)
            orders = msgspec.structs.replace(orders, boundary=boundary, nth=nth)
            self._dying[name] = orders
        settings = msgspec.structs.replace(self.settings, instance=name)
        child = self._context.Process(target=run_child, args=(settings, orders), daemon=False)
        child.start()
        self._children[name] = child
        self.starts += 1

    async def _keep_alive(self, seconds: float) -> None:
        """Let time pass; start again who has died, with the next kill of the plan."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, child in self._children.items():
                if child.exitcode is not None:
                    self._dying.pop(name, None)
                    self._start(name, kill=True)
                    break
            await asyncio.sleep(_POLL_SECONDS)

    async def _twist(self) -> None:
        match self.plan.twist:
            case Twist.KILLS:
                pass
            case Twist.TWO_WORKERS:
                self._kill("b")
            case Twist.THREE_WORKERS:
                self._start("c")
                await self._keep_alive(1.5)
                self._kill("a")
            case Twist.ZOMBIE:
                await self._zombie()
            case Twist.BROKER_RESTART:
                if self._restart_broker is not None:
                    await asyncio.to_thread(self._restart_broker)
            case Twist.UPGRADE:
                self._build = Orders(build="build-2", mended=True)
                self._kill("a")
            case Twist.RAISE | Twist.SKIP:
                await self._poison()

    def _kill(self, name: str) -> None:
        child = self._children[name]
        child.kill()
        child.join()

    async def _zombie(self) -> None:
        """A worker sleeps with decisions in its hands until another has its partitions; then it wakes and writes them."""
        self._kill("a")
        self._start("a", orders=msgspec.structs.replace(self._build, boundary=Boundary.PUBLISH, nth=2, sleeps=True))
        sleeper = self._children["a"].pid or 0
        asleep = await self._until("no worker fell asleep", lambda: _state_of(sleeper) == "T")
        if not asleep:
            return
        self._start("b")
        await self._until_claimed_by("b")
        os.kill(sleeper, signal.SIGCONT)
        await self._keep_alive(2.0)

    async def _until(self, otherwise: str, holds: Callable[[], bool]) -> bool:
        """Feed and wait until something holds; a problem where it does not in time."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                self.problems.append(f"stuck: {otherwise}")
                return False
            await self._feed(2)
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def _until_claimed_by(self, name: str) -> None:
        """Wait until a worker has claimed every partition."""
        claimed: set[int] = set()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(claimed) < PARTITIONS and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            for partition in range(PARTITIONS):
                async for found in self.reader.read("decisions", partition, 0):
                    record = read_decision(found.value)
                    if isinstance(record, Claim) and record.owner.startswith(f"{name}/"):
                        claimed.add(partition)

    async def _poison(self) -> None:
        environment = self._environment(0)
        where = await self._say(environment, OverrideVerb.PAUSE, why=POISON)
        await self._feed(20)
        await self._wait_parked(environment)
        await self._say(environment, OverrideVerb.ABORT)
        if self.plan.twist is Twist.SKIP:
            await self._say(environment, OverrideVerb.SKIP, fact_offset=where)
        else:
            await self._keep_alive(0.5)
            self._build = Orders(build="build-2", mended=True)
            self._kill("a")

    async def _say(self, environment: str, verb: OverrideVerb, why: str = "sweep", fact_offset: int | None = None) -> int:
        """One more input, which an operator says; returns the offset of its fact."""
        number = self._sent
        self._sent += 1
        fact = OverrideRequested(f"id-{number}", verb, "sweep", why, fact_offset=fact_offset)
        return int((await (await self._append(number, fact, environment))).offset)

    async def _wait_parked(self, environment: str) -> None:
        self._deadline = time.monotonic() + _PATIENCE_SECONDS
        partition = partition_of(environment, PARTITIONS)
        while time.monotonic() < self._deadline:
            await self._keep_alive(0.2)
            async for found in self.reader.read("decisions", partition, 0):
                if isinstance(read_decision(found.value), Parked):
                    return
        self.problems.append("stuck: the poisoned fact was never parked")

    async def _apply_catalog(self) -> None:
        names = [self._environment(i) for i in range(self.plan.environments)]
        everywhere = {name: ServiceOverride() for name in names}
        catalog = Catalog({name: EnvironmentEntry() for name in names}, {"shop": ServiceEntry(("registry.example/shop",), everywhere)})
        value = msgspec.json.encode(CatalogRecord(catalog, catalog_hash(catalog), None, "sweep"))
        await self._client.send_and_wait(self.settings.topic("catalog"), value, key=b"catalog", partition=0)
        self._catalog_facts = self.plan.environments

    def _environment(self, i: int) -> str:
        return f"env-{i % self.plan.environments}"

    async def _feed(self, count: int) -> None:
        """Facts over all environments; some are delivered twice, at once or late, as a fact and on the way through ``control``."""
        for _ in range(count):
            number = self._sent
            await self._send(number)
            if number % (3 * _BY_CONTROL) == 1:
                late = _LATE * (number // (3 * _BY_CONTROL) % 2)
                await self._append(max(number - late, 1))
            if number % (3 * _BY_CONTROL) == 0:
                await self._by_control(number)
        await self._client.flush()

    async def _send(self, number: int) -> None:
        """Input ``number``, the way that its number says."""
        self._sent = number + 1
        if number % _BY_CONTROL == 0:
            await self._by_control(number)
        else:
            await self._append(number)

    async def _by_control(self, number: int) -> None:
        data = OverrideData(OverrideVerb.PAUSE, self._environment(number), "sweep", "sweep")
        value = write_control(f"id-{number}", "sweep", data)
        await self._client.send(self.settings.topic("control"), value, partition=number % PARTITIONS)

    async def _append(self, number: int, fact: Fact | None = None, environment: str | None = None) -> "asyncio.Future[RecordMetadata]":
        """Send the fact that is made of input record ``number``."""
        if fact is None and number % _ARTIFACTS == _ARTIFACTS - 1:
            fact = ArtifactPushed(f"id-{number}", Artifact("shop", "registry.example/shop", f"sha256:{number:064x}"))
        fact = fact or OverrideRequested(f"id-{number}", OverrideVerb.PAUSE, "sweep", "sweep")
        name = environment or self._environment(number)
        origin = Origin("artifacts" if isinstance(fact, ArtifactPushed) else "control", -1, number)
        record = msgspec.json.encode(FactRecord(name, fact, origin))
        topic, partition = self.settings.topic("facts"), partition_of(name, PARTITIONS)
        sent: asyncio.Future[RecordMetadata] = await self._client.send(topic, record, key=name.encode(), partition=partition)
        return sent

    async def _settle(self) -> bool:
        """Wait until every fact is decided; False (and a problem) where nothing more is decided though something is left."""
        self._deadline = time.monotonic() + _PATIENCE_SECONDS
        await self._keep_alive(0.3)
        least = left = [await self._undecided(p) for p in range(PARTITIONS)]
        while any(left) and time.monotonic() < self._deadline:
            await self._keep_alive(0.3)
            left = [await self._undecided(p) for p in range(PARTITIONS)]
            fewer = [min(now, before) for now, before in zip(left, least, strict=True)]
            if fewer != least:
                least, self._deadline = fewer, time.monotonic() + _PATIENCE_SECONDS
        if any(left):
            self.problems.append("stuck: " + "; ".join(f"{n} facts of partition {p} undecided" for p, n in enumerate(left) if n))
        return not any(left)

    async def _undecided(self, partition: int) -> int:
        """How many facts are left to decide on a partition. Time goes on being told meanwhile."""
        lines: dict[str, Line] = {}
        end = self._settled[partition] = await self.facts_reader.end("facts", partition)
        fence = Fence()
        async for found in self.reader.read("decisions", partition, 0):
            record = read_decision(found.value)
            if not isinstance(record, Unreadable | Claim) and fence.admits(found.offset, record):
                _note(lines, record)
            elif isinstance(record, Claim):
                fence.admits(found.offset, record)
        left = 0
        async for found in self.facts_reader.read("facts", partition, 0, end):
            fact = read_fact(found.value)
            if not isinstance(fact, Unreadable):
                line = lines.get(fact.environment)
                left += line is None or not line.has_decided(found.offset)
        return left

    async def _check(self) -> None:
        rules = SweepRules(Orders(mended=False), lambda _: None)
        effects: dict[str, int] = {}
        for partition in range(PARTITIONS):
            replay = Replay(self.reader, self.facts_reader, rules, partition=partition, partitions=PARTITIONS, build="build-1")
            tally = await replay.run(settled=True)
            self.tally.add(tally)
            self._report(partition, tally.found)
            await self._count_effects(partition, effects)
        self.problems += [f"doubled in effect: {id_} {n} times" for id_, n in effects.items() if n > 1]
        made = sum(1 for id_ in effects if "/fact/" in id_)
        skipped = 1 if self.plan.twist is Twist.SKIP else 0
        if made != self._sent + self._catalog_facts - skipped:
            self.problems.append(f"lost or doubled: {self._sent} inputs and {self._catalog_facts} parts of the catalog, {made} effects")

    def _report(self, partition: int, found: Sequence[Found]) -> None:
        """Everything but what another build decides otherwise, and time that was told after all was settled."""
        for f in found:
            still_told = f.problem is Problem.UNDECIDED and f.fact_offset >= self._settled[partition]
            if f.problem is not Problem.OTHER_BUILD and not still_told:
                where = f"{f.environment} fact {f.fact_offset} decision {f.decision_offset}"
                self.problems.append(f"{f.problem}: {where}: {f.recorded[:300]} | {f.derived[:300]}")

    async def _count_effects(self, partition: int, effects: dict[str, int]) -> None:
        """How often each effect and each command is told by records that count."""
        fence = Fence()
        async for found in self.reader.read("decisions", partition, 0):
            record = read_decision(found.value)
            if isinstance(record, Unreadable) or not fence.admits(found.offset, record) or not isinstance(record, Decided):
                continue
            for output in record.outputs:
                if isinstance(output, Command) or (isinstance(output, Notify) and output.event == "effect"):
                    effects[output.id] = effects.get(output.id, 0) + 1


def _state_of(pid: int) -> str:
    """The kernel's letter for the state of a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _note(lines: dict[str, Line], record: Decided | Parked) -> None:
    """Fold a record's place in line, without its state."""
    from ctrlplane_stream.decision.state import State

    line = lines.setdefault(record.environment, Line(State.empty(record.environment)))
    line.take(msgspec.structs.replace(record, delta={}) if isinstance(record, Decided) else record, 0)
