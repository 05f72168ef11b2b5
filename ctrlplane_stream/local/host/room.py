"""One target in the machine room: its ledger, its instances, and the loop that brings the two together."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from ctrlplane_stream.actuators.host_api import BreakGlass, HandEdit, Taking
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, break_glass, edit, expire, release, take
from ctrlplane_stream.actuators.observing import note, observation
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.local.host.instance import Instance
from ctrlplane_stream.local.host.jobs import JobStaffing
from ctrlplane_stream.local.host.router import Router
from ctrlplane_stream.local.host.settings import HostSettings
from ctrlplane_stream.local.host.staffing import ConsumerStaffing, RoutedStaffing, Staffing
from ctrlplane_stream.local.host.surroundings import Role
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import TargetObserved, WantedVersion

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
"""The longest between two looks at the lease."""


class Room:
    """A target that has been commanded; a job has no router. ``save`` makes a ledger durable before anything follows from it."""

    def __init__(
        self,
        target: Target,
        kind: ServiceKind,
        ledger: Ledger,
        *,
        router: Router | None,
        routes: Callable[[], Mapping[str, str]],
        settings: HostSettings,
        save: Callable[[Target, Ledger], None],
        recruit: Callable[[Role, Callable[[], None]], Instance],
    ) -> None:
        self.target = target
        self._kind = kind
        self._ledger = ledger
        self._save = save
        self._recruit = recruit
        self._changed = asyncio.Event()
        self._staffing = self._staff(kind, router, routes, settings)
        self._task = asyncio.create_task(self._keep())

    def observe(self) -> TargetObserved:
        """The target as it is."""
        return observation(self.target, self._ledger, self._staffing.counted(self._ledger), time.time())

    def pids(self) -> dict[str, list[int]]:
        """Process ids by version label."""
        return self._staffing.pids()

    def take(self, taking: Taking) -> Refusal | None:
        """Take a command, or say why not."""
        kind = taking.command.wanted.kind
        if kind is not self._kind:
            return Refusal(f"{self.target} is {self._kind} here and cannot become {kind}: delete its ledger first")
        if taking.command.verb is Verb.ADOPT:
            return Refusal("this machine starts all that runs here, so there is nothing to adopt: abort this, and push the artifact")
        return self._turn(take(self._ledger, taking.command, taking.cursor, time.time()))

    def edit(self, wish: HandEdit) -> Refusal | None:
        """Take a person's weights, or say why not."""
        now = time.time()
        return self._turn(edit(self._ledger, wish.weights, note(wish.who, wish.why, now, wish.weights)))

    def release(self) -> Refusal | None:
        """Hand the target back to the engine, or say why not."""
        return self._turn(release(self._ledger, time.time()))

    def break_glass(self, wish: BreakGlass) -> Refusal | None:
        """Everything to stable, or why not."""
        return self._turn(break_glass(self._ledger, note(wish.who, wish.why, time.time())))

    async def close(self) -> None:
        """End every process; the ledger stays."""
        await end_tasks([self._task])
        await self._staffing.end()

    def _turn(self, changed: Ledger | Refusal) -> Refusal | None:
        if isinstance(changed, Refusal):
            return changed
        self._set(changed)
        self._converge()
        return None

    def _converge(self) -> None:
        self._set(expire(self._ledger, time.time()))
        self._set(self._staffing.converge(self._ledger))

    def _set(self, ledger: Ledger) -> None:
        if ledger != self._ledger:
            self._save(self.target, ledger)
            self._ledger = ledger

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            try:
                self._converge()
            except OSError:
                log.exception("%s: not converged, trying again", self.target)
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass  # Time alone may have made a lease run out.

    def _staff(self, kind: ServiceKind, router: Router | None, routes: Callable[[], Mapping[str, str]], settings: HostSettings) -> Staffing:
        if router is None:
            return JobStaffing(self.target, settings, routes)
        if kind is ServiceKind.CONSUMER:
            return ConsumerStaffing(self._instance, settings.consumer_instances)
        return RoutedStaffing(self._instance, router, settings.full)

    def _instance(self, version: WantedVersion, standby: bool) -> Instance:
        return self._recruit(Role(self.target, version, standby), self._changed.set)
