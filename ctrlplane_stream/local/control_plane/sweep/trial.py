"""Plays one plan in a namespace of its own, as an engine with a reconcile loop would, and says what was wrong with it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.health import ready
from ctrlplane_stream.actuators.kubernetes.leases import expire_leases
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.actuators.wanted import retreats
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.control_plane.sweep.ending import ending
from ctrlplane_stream.local.control_plane.sweep.faults import FaultyTransport
from ctrlplane_stream.local.control_plane.sweep.history import History
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan
from ctrlplane_stream.local.control_plane.sweep.repository import Declared
from ctrlplane_stream.local.control_plane.sweep.runs import Begin, Happening, Schedule, happenings
from ctrlplane_stream.local.control_plane.sweep.script import LEASE_SECONDS, Assigned, retreat, script, shown
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.local.control_plane.sweep.workers import Dead, Worker, unless_killed
from ctrlplane_stream.local.control_plane.sweep.writes import Spot, Tally
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import TargetObserved

TARGET = Target("sweep", "shop/cart")
_PATIENCE_SECONDS = 90.0


class Result(msgspec.Struct, frozen=True):
    """How a plan went: where it ended, what was wrong (empty: nothing), how many requests the actuators made, and what they wrote."""

    plan: Plan
    ending: Manifest
    problems: tuple[str, ...]
    requests: int
    spots: tuple[Spot, ...]
    struck: bool


class Trial:
    """One run. ``restart`` kills the API server and brings it back, from the thread that owns it."""

    def __init__(self, lab: Lab, plan: Plan, namespace: str, restart: Callable[[], Awaitable[None]]) -> None:
        self._lab = lab
        self._plan = plan
        self._restart = restart
        self._place: Place = plan.way.place(namespace, TARGET.service)
        self._script = script(TARGET, plan.way, promotes=plan.promotes)
        self._happenings = happenings(plan.way, promotes=plan.promotes)
        self._declared = Declared() if plan.way is Way.COMMITS else None
        self._tally = Tally()
        self._jumped = 0.0
        self._workers: list[Worker] = []
        self._sleeper: asyncio.Task[Outcome | TargetObserved] | None = None
        self._index = 0
        self._woken_after = 0
        self.notes: list[str] = []

    async def play(self) -> Result:
        """The whole script. What cannot be is in ``problems``; AssertionError is one of them."""
        problems: list[str] = []
        async with self._lab.admin() as admin, History(admin, self._place) as history:
            try:
                async with asyncio.timeout(2 * _PATIENCE_SECONDS):
                    await self._play(admin)
                    await history.caught_up()
                    declared = await self._what_is_declared()
            except (AssertionError, TimeoutError) as error:
                problems.append(f"{type(error).__name__}: {error or f'not done in time; {self.notes[-3:]}'}")
            finally:
                await self._clean_up()
            problems += history.violations()
            end = {**await ending(admin, self._place, TARGET), **declared} if not problems else {}
        tally, plan = self._tally, self._plan
        struck = plan.spot in tally.spots if plan.spot is not None else tally.requests > plan.at
        return Result(plan, end, tuple(problems), tally.requests, tuple(tally.spots), struck)

    async def _play(self, admin: Cluster) -> None:
        self._admin, self._schedule = admin, Schedule(admin, self._lab.kubelet, self._place)
        await self._surroundings_run()
        self._begin()
        for index, assigned in enumerate(self._script):
            self._index = index
            await self._carry_out(assigned)
            for happening in self._happenings.get(assigned[1].sequence, ()):
                await self._happen(happening)
            if self._sleeper is not None and self._index >= self._woken_after:
                await self._wake()
        if self._sleeper is not None:
            await self._wake()
        await self._settled(self._script[-1])

    async def _surroundings_run(self) -> None:
        """Wait until what ran before us does."""
        if self._place.adopt is None:
            return
        while ready(await self._admin.get(Kind.DEPLOYMENT, self._place.namespace, self._place.adopt)) < (self._place.full or 1):
            await asyncio.sleep(0.05)

    async def _what_is_declared(self) -> Manifest:
        """What the repository says once the last worker has told it all that it owes; nothing where there is none."""
        actuator = self._workers[-1].actuator
        if self._declared is None or not isinstance(actuator, WithCluster):
            return {}
        await actuator.settled(TARGET)
        return {"declared": self._declared.text()}

    async def _carry_out(self, assigned: Assigned) -> None:
        """Apply until it is taken, as the reconcile loop does, and look until the weights are there."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            outcome = await self._survive(lambda: self._workers[-1].actuator.apply(*assigned))
            if isinstance(outcome, Outcome):
                if outcome.status is OutcomeStatus.APPLIED:
                    break
                await self._answer(outcome, assigned)
            assert time.monotonic() < deadline, f"{assigned[0].id} was never taken: {outcome}"
            await asyncio.sleep(0.02)
        await self._settled(assigned)

    async def _answer(self, outcome: Outcome, assigned: Assigned) -> None:
        """A lease that ran out refuses what would raise a weight; the engine then agrees with stable, and goes on."""
        if "lease ran out" in outcome.reason:
            back = retreat(TARGET, self._plan.way, assigned[1].sequence - 1)
            await self._survive(lambda: self._workers[-1].actuator.apply(*back))
        else:
            self.notes.append(f"{assigned[0].id}: {outcome.reason}")

    async def _happen(self, happening: Happening) -> None:
        if isinstance(happening, Begin):
            await self._schedule.begin(happening)
            return
        of, counted = happening.version, happening.counted
        self._schedule.end(of)
        await self._until(str(happening), lambda seen: (version := seen.version(of)) is not None and version.runs == counted)

    async def _settled(self, assigned: Assigned) -> None:
        wanted = shown(self._plan.way, assigned)
        falls = not retreats(assigned[0].wanted)
        await self._until(f"{assigned[0].id}: {wanted}", lambda seen: (seen.lease_expired and falls) or self._is_settled(seen, wanted))

    async def _until(self, what: str, holds: Callable[[TargetObserved], bool]) -> None:
        """Look until it holds of what is seen, as the reconcile loop does."""
        deadline, seen = time.monotonic() + _PATIENCE_SECONDS, None
        while True:
            seen = await self._survive(lambda: self._workers[-1].actuator.observe(TARGET))
            if isinstance(seen, TargetObserved) and holds(seen):
                return
            assert time.monotonic() < deadline, f"{what}: never seen; last seen: {seen}; {self.notes[-3:]}"
            await asyncio.sleep(0.02)

    def _is_settled(self, seen: TargetObserved, wanted: dict[str, int]) -> bool:
        whole = all(each.ready == each.instances for each in seen.versions)
        return whole and seen.edited is None and {each.label: each.weight for each in seen.versions} == wanted

    async def _survive(self, doing: Callable[[], Awaitable[Outcome | TargetObserved]]) -> Outcome | TargetObserved | None:
        """What was done, or None where the actuator died of it, fell asleep over it, or the world was away."""
        worker = self._workers[-1]
        task = asyncio.ensure_future(unless_killed(doing()))
        sleeps = asyncio.ensure_future(worker.transport.asleep.wait())
        await asyncio.wait({task, sleeps}, return_when=asyncio.FIRST_COMPLETED)
        sleeps.cancel()
        if not task.done():
            self._sleeper, self._woken_after = task, self._index + self._plan.length
            self._begin()
            return None
        try:
            return task.result()
        except Dead:
            await worker.lie_down()
            self._begin()
            return None
        except WorldUnreachable as error:
            self.notes.append(str(error))
            return None

    async def _wake(self) -> None:
        """Let the one that fell asleep go on with what it was about to do, to its end."""
        sleeper, self._sleeper = self._sleeper, None
        assert sleeper is not None
        for worker in self._workers:
            worker.transport.wake.set()
        with contextlib.suppress(Dead, WorldUnreachable):
            await sleeper

    def _begin(self) -> None:
        """A worker begins, without anything that another knew."""
        transport = FaultyTransport(HttpTransport(self._lab.product_access), self._plan, self._tally, self._disturb)
        cluster = self._lab.product(transport)
        self._workers.append(Worker(transport, cluster, self._place, lambda: time.time() + self._jumped, self._declared))

    async def _disturb(self, fault: Fault, request: Request) -> None:
        match fault:
            case Fault.RESTART:
                await self._restart()
            case Fault.LEASE_EXPIRED:
                self._jumped += LEASE_SECONDS + 1
                await self._expire()
            case Fault.CONFLICT:
                await self._touch(request)
            case _:
                pass

    async def _expire(self) -> None:
        try:
            await expire_leases(self._admin, self._place.namespace, lambda: time.time() + self._jumped)
        except* WorldUnreachable as failed:
            self.notes += [str(each) for each in failed.exceptions]

    async def _touch(self, request: Request) -> None:
        """Annotate everything of the target, as some tool or other might at any time."""
        for kind in (Kind.CONFIG_MAP, Kind.DEPLOYMENT, Kind.HTTP_ROUTE, Kind.CRON_JOB, Kind.JOB):
            for each in (await self._admin.select(kind, self._place.namespace))[0]:
                if each["metadata"].get("annotations"):
                    count = str(self._tally.requests)
                    operations: list[Manifest] = [{"op": "add", "path": "/metadata/annotations/touched", "value": count}]
                    await self._admin.patch(kind, self._place.namespace, each["metadata"]["name"], operations)

    async def _clean_up(self) -> None:
        if self._sleeper is not None:
            self._sleeper.cancel()
        for worker in self._workers:
            await worker.end()
        if self._declared is not None:
            self._declared.remove()


async def trial(lab: Lab, plan: Plan, namespace: str, restart: Callable[[], Awaitable[None]]) -> Result:
    """Play a plan in a namespace that has the product's rights and what the plan's way finds there."""
    return await Trial(lab, plan, namespace, restart).play()


def prepare(lab: Lab, way: Way) -> str:
    """A namespace for a plan of that way."""
    namespace = lab.namespace()
    lab.apply(list(way.surroundings()), namespace)
    return namespace
