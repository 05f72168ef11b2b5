"""Plays one plan in a namespace of its own, as an engine with a reconcile loop would, and says what was wrong with it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes, Views
from ctrlplane_stream.actuators.kubernetes.api import Cluster, HttpTransport, Request
from ctrlplane_stream.actuators.kubernetes.leases import expire_leases
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.placement import Place
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.control_plane.scene import route, routed_place
from ctrlplane_stream.local.control_plane.sweep.faults import FaultyTransport, Killed
from ctrlplane_stream.local.control_plane.sweep.history import History
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan
from ctrlplane_stream.local.control_plane.sweep.script import LEASE_SECONDS, Assigned, ending, retreat, script
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import TargetObserved

TARGET = Target("sweep", "shop/cart")
_PATIENCE_SECONDS = 90.0


class Result(msgspec.Struct, frozen=True):
    """How a plan went: where it ended, what was wrong (empty: nothing), and how many requests the actuators made."""

    plan: Plan
    ending: Manifest
    problems: tuple[str, ...]
    requests: int
    writes: int
    struck: bool


class Trial:
    """One run. ``restart`` kills the API server and brings it back, from the thread that owns it."""

    def __init__(self, lab: Lab, plan: Plan, namespace: str, restart: Callable[[], Awaitable[None]]) -> None:
        self._lab = lab
        self._plan = plan
        self._restart = restart
        self._place: Place = routed_place(namespace, TARGET.service)
        self._count = [0, 0]
        self._jumped = 0.0
        self._transports: list[FaultyTransport] = []
        self._copies: list[NamespaceCopy] = []
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
            except (AssertionError, TimeoutError) as error:
                problems.append(f"{type(error).__name__}: {error}")
            finally:
                await self._clean_up()
            problems += history.violations()
            end = await ending(admin, self._place, TARGET) if not problems else {}
        requests, writes = self._count
        return Result(self._plan, end, tuple(problems), requests, writes, (writes if self._plan.at_write else requests) > self._plan.at)

    async def _play(self, admin: Cluster) -> None:
        self._admin = admin
        self._actuator = self._fresh()
        for index, assigned in enumerate(script(TARGET, promotes=self._plan.promotes)):
            self._index = index
            await self._carry_out(assigned)
            if self._sleeper is not None and self._index >= self._woken_after:
                await self._wake()
        if self._sleeper is not None:
            await self._wake()
        await self._settled(script(TARGET, promotes=self._plan.promotes)[-1])

    async def _carry_out(self, assigned: Assigned) -> None:
        """Apply until it is taken, as the reconcile loop does, and look until the weights are there."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            outcome = await self._survive(lambda: self._actuator.apply(*assigned))
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
            await self._survive(lambda: self._actuator.apply(*retreat(TARGET, assigned[1].sequence - 1)))
        else:
            self.notes.append(f"{assigned[0].id}: {outcome.reason}")

    async def _settled(self, assigned: Assigned) -> None:
        wanted = {version.label: version.weight for version in assigned[0].wanted.versions}
        deadline, seen = time.monotonic() + _PATIENCE_SECONDS, None
        while True:
            seen = await self._survive(lambda: self._actuator.observe(TARGET))
            if isinstance(seen, TargetObserved):
                if seen.lease_expired and any(0 < weight < 100 for weight in wanted.values()):
                    return
                if self._is_settled(seen, wanted):
                    return
            assert time.monotonic() < deadline, f"{assigned[0].id}: never saw {wanted}; last seen: {seen}; {self.notes[-3:]}"
            await asyncio.sleep(0.02)

    def _is_settled(self, seen: TargetObserved, wanted: dict[str, int]) -> bool:
        whole = all(each.ready == each.instances for each in seen.versions)
        return whole and seen.edited is None and {each.label: each.weight for each in seen.versions} == wanted

    async def _survive(self, doing: Callable[[], Awaitable[Outcome | TargetObserved]]) -> Outcome | TargetObserved | None:
        """What was done, or None where the actuator died of it, fell asleep over it, or the world was away."""
        task = asyncio.ensure_future(_unless_killed(doing()))
        sleeps = asyncio.ensure_future(self._transports[-1].asleep.wait())
        await asyncio.wait({task, sleeps}, return_when=asyncio.FIRST_COMPLETED)
        sleeps.cancel()
        if not task.done():
            self._sleeper, self._woken_after = task, self._index + self._plan.length
            self._actuator = self._fresh()
            return None
        try:
            return task.result()
        except _Dead:
            self._actuator = self._fresh()
            return None
        except WorldUnreachable as error:
            self.notes.append(str(error))
            return None

    async def _wake(self) -> None:
        """Let the one that fell asleep go on with what it was about to do, to its end."""
        sleeper, self._sleeper = self._sleeper, None
        assert sleeper is not None
        for transport in self._transports:
            transport.wake.set()
        with contextlib.suppress(_Dead, WorldUnreachable):
            await sleeper

    def _fresh(self) -> Kubernetes:
        transport = FaultyTransport(HttpTransport(self._lab.product_access), self._plan, self._count, self._disturb)
        self._transports.append(transport)
        cluster = self._lab.product(transport)
        views = self._watch(cluster) if self._plan.fault is Fault.MISSED_EVENTS else lambda _: None
        return Kubernetes(lambda _: self._place, lambda _: cluster, views=views, clock=lambda: time.time() + self._jumped)

    def _watch(self, cluster: Cluster) -> Views:
        """A copy of the namespace to look at, as a worker has it."""
        copy = NamespaceCopy(cluster, self._place.namespace, frozenset({Kind.HTTP_ROUTE}))
        copy.start()
        self._copies.append(copy)
        return lambda _: copy if copy.current else None

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
        for kind in (Kind.CONFIG_MAP, Kind.DEPLOYMENT, Kind.HTTP_ROUTE):
            for each in (await self._admin.select(kind, self._place.namespace))[0]:
                if each["metadata"].get("annotations"):
                    operations: list[Manifest] = [{"op": "add", "path": "/metadata/annotations/touched", "value": str(self._count[0])}]
                    await self._admin.patch(kind, self._place.namespace, each["metadata"]["name"], operations)

    async def _clean_up(self) -> None:
        if self._sleeper is not None:
            self._sleeper.cancel()
        for copy in self._copies:
            await copy.stop()
        for transport in self._transports:
            await transport.close()


class _Dead(Exception):
    """A Killed that asyncio can carry: a task must not end with a BaseException."""


async def _unless_killed(doing: Awaitable[Outcome | TargetObserved]) -> Outcome | TargetObserved:
    try:
        return await doing
    except Killed as killed:
        raise _Dead from killed


async def trial(lab: Lab, plan: Plan, namespace: str, restart: Callable[[], Awaitable[None]]) -> Result:
    """Play a plan in a namespace that has the product's rights and the route ``shop-cart`` with a rule ``main``."""
    return await Trial(lab, plan, namespace, restart).play()


def prepare(lab: Lab) -> str:
    """A namespace for a plan."""
    namespace = lab.namespace()
    lab.apply([{**route("shop-cart", ["main"]), "metadata": {"name": "shop-cart", "annotations": {"owner": "somebody"}}}], namespace)
    return namespace
