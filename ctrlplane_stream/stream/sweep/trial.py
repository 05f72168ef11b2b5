"""One trial on a real broker: feed facts, let workers die as planned, wait until all is decided, and check the log."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.replaying import Tally
from ctrlplane_stream.stream.sweep.checking import Checking
from ctrlplane_stream.stream.sweep.child import POISON, Orders
from ctrlplane_stream.stream.sweep.crew import Crew
from ctrlplane_stream.stream.sweep.feeding import Feeding
from ctrlplane_stream.stream.sweep.plans import Boundary, Plan, Twist
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
        crew, checking = Crew(settings, plan.kills), Checking(settings)
        trial = _Trial(plan, crew, Feeding(client, settings, plan.environments), checking, restart_broker)
        try:
            await trial.run()
        finally:
            crew.end()
            await checking.close()
    tally = trial.tally
    return Outcome(
        str(plan),
        tuple(trial.problems),
        crew.starts,
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
    def __init__(self, plan: Plan, crew: Crew, feeding: Feeding, checking: Checking, restart_broker: Callable[[], None] | None) -> None:
        self.problems: list[str] = []
        self.tally = Tally()
        self.missed = 0
        self._plan, self._crew, self._feeding, self._checking = plan, crew, feeding, checking
        self._restart_broker = restart_broker

    async def run(self) -> None:
        """Feed in waves, with the twist in the middle; then let everything settle and check."""
        of_the_catalog = await self._feeding.apply_catalog()
        self._crew.start("a", kill=True)
        if self._plan.twist in (Twist.TWO_WORKERS, Twist.THREE_WORKERS):
            self._crew.start("b", kill=True)
        for wave in range(_WAVES):
            await self._feeding.feed(self._plan.facts // _WAVES)
            if wave == _WAVES // 2:
                await self._twist()
            await self._crew.keep_alive(0.25)
        await self._wait_for_kills()
        if await self._settle():
            await self._check(of_the_catalog)

    async def _wait_for_kills(self) -> None:
        """Keep working until every kill of the plan has happened, within reason: some boundaries are rare.

        Some lie in a recovery, and where it was short they were not reached: after a while it is tried again with a longer log.
        """
        for round_ in range(1, _ROUNDS_FOR_KILLS + 1):
            if not self._crew.to_die:
                return
            if round_ % _ROUNDS_A_TRY == 0:
                self._crew.try_again()
            await self._feeding.feed(12)
            await self._crew.keep_alive(0.5)
        self.missed = self._crew.to_die
        self._crew.forget_kills()

    async def _twist(self) -> None:
        match self._plan.twist:
            case Twist.KILLS:
                pass
            case Twist.TWO_WORKERS:
                self._crew.kill("b")
            case Twist.THREE_WORKERS:
                self._crew.start("c")
                await self._crew.keep_alive(1.5)
                self._crew.kill("a")
            case Twist.ZOMBIE:
                await self._zombie()
            case Twist.BROKER_RESTART:
                if self._restart_broker is not None:
                    await asyncio.to_thread(self._restart_broker)
            case Twist.UPGRADE:
                self._upgrade()
            case Twist.RAISE | Twist.SKIP:
                await self._poison()

    async def _zombie(self) -> None:
        """A worker sleeps with decisions in its hands until another has its partitions; then it wakes and writes them."""
        self._crew.kill("a")
        self._crew.send_to_sleep("a", Boundary.PUBLISH, nth=2)
        if await self._until("no worker fell asleep", self._asleep):
            self._crew.start("b")
            await self._until("nobody else claimed the sleeper's partitions", self._all_claimed_by_b)
            self._crew.wake("a")
            await self._crew.keep_alive(2.0)

    async def _asleep(self) -> bool:
        await self._feeding.feed(2)
        return self._crew.sleeps("a")

    async def _all_claimed_by_b(self) -> bool:
        return all([await self._checking.claimed_by("b", partition) for partition in range(PARTITIONS)])

    async def _poison(self) -> None:
        """A fact that ``decide`` raises at is parked, and an abort behind it acts; then it is skipped, or a mended build decides it."""
        environment = self._feeding.environment(0)
        partition = partition_of(environment, PARTITIONS)
        where = await self._feeding.say(environment, OverrideVerb.PAUSE, why=POISON)
        await self._feeding.feed(20)
        await self._until("the poisoned fact was never parked", lambda: self._parked(partition))
        await self._feeding.say(environment, OverrideVerb.ABORT)
        if self._plan.twist is Twist.SKIP:
            await self._feeding.say(environment, OverrideVerb.SKIP, fact_offset=where)
        else:
            await self._crew.keep_alive(0.5)
            self._upgrade()

    async def _parked(self, partition: int) -> bool:
        await self._crew.keep_alive(0.2)
        return await self._checking.parked(partition)

    def _upgrade(self) -> None:
        self._crew.build = Orders(build="build-2", mended=True)
        self._crew.kill("a")

    async def _until(self, otherwise: str, holds: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until something holds; a problem where it does not in time."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not await holds():
            if time.monotonic() > deadline:
                self.problems.append(f"stuck: {otherwise}")
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def _settle(self) -> bool:
        """Wait until every fact is decided; False (and a problem) where nothing more is decided though something is left."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        await self._crew.keep_alive(0.3)
        least = left = await self._checking.undecided()
        while any(left) and time.monotonic() < deadline:
            await self._crew.keep_alive(0.3)
            left = await self._checking.undecided()
            fewer = [min(now, before) for now, before in zip(left, least, strict=True)]
            if fewer != least:
                least, deadline = fewer, time.monotonic() + _PATIENCE_SECONDS
        if any(left):
            self.problems.append("stuck: " + "; ".join(f"{n} facts of partition {p} undecided" for p, n in enumerate(left) if n))
        return not any(left)

    async def _check(self, of_the_catalog: int) -> None:
        """Compare with a replay, and count: every input has one effect, none two."""
        self.tally, found = await self._checking.replayed()
        effects = await self._checking.effects()
        self.problems += found
        self.problems += [f"doubled in effect: {id_} {n} times" for id_, n in effects.items() if n > 1]
        made = sum(1 for id_ in effects if "/fact/" in id_)
        skipped = 1 if self._plan.twist is Twist.SKIP else 0
        if made != self._feeding.sent + of_the_catalog - skipped:
            self.problems.append(f"lost or doubled: {self._feeding.sent} inputs and {of_the_catalog} parts of the catalog, {made} effects")
