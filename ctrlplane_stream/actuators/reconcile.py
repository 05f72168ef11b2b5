"""One loop a target: carry out the latest command, report exactly one outcome for each, then keep looking.

The shell hands every command over with ``submit`` and, after a restart, the last one of each target again; the cursor
kept in the target makes that harmless. Only the latest command is carried out. One that takes all traffic back to
stable pre-empts an apply in flight and is tried until it is taken or overtaken; any other is given up after some
tries. Facts leave in the order in which they happened, each repeated until the shell has acknowledged it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)

from ctrlplane_stream.actuators.news import at_rest, news, told_by_fact, told_by_outcome
from ctrlplane_stream.actuators.port import Actuator, Outcome, WorldUnreachable
from ctrlplane_stream.actuators.wanted import is_abort
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeReported, OutcomeStatus, WorldChanged
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved

log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

Report = Callable[[OutcomeReported | WorldChanged], Awaitable[None]]
"""Takes a fact and returns once it is safe; raising means that it is not, and it is offered again."""

Sleep = Callable[[float], Awaitable[None]]
"""``asyncio.sleep``, or a clock of the test's own."""


class Pace(msgspec.Struct, frozen=True):
    """How often and how long; seconds unless named otherwise."""

    moving_seconds: float = 0.5
    """Between looks while something is on its way or being tried out: a crash must show within a second."""
    rest_seconds: float = 10.0
    """Between looks otherwise: drift may wait, and 500 targets must not burden the world."""
    call_seconds: float = 10.0
    """The longest that one call of the port may take."""
    tries: int = 8
    """Tries of a command that does not retreat; with the backoff about half a minute."""
    backoff_seconds: float = 0.2
    """The scale of the jittered exponential backoff."""
    longest_backoff_seconds: float = 10.0
    """Its limit."""


class Assigned(msgspec.Struct, frozen=True):
    """A command and where it stands in the order of decisions."""

    command: Command
    cursor: Cursor


class _Overtaken(Exception):
    """A later command came while the current one waited for its next try."""


class Reconciler:
    """The loop of one target. ``submit`` from the same event loop; ``run`` until cancelled."""

    def __init__(
        self, target: Target, actuator: Actuator, report: Report, *, pace: Pace | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.target = target
        self._actuator = actuator
        self._report = report
        self._pace = pace or Pace()
        self._sleep = sleep
        self._latest: Assigned | None = None
        self._pending: Assigned | None = None
        self._applying: asyncio.Task[Outcome] | None = None
        self._wake = asyncio.Event()
        self._told: TargetObserved | None = None
        self._outbox: deque[OutcomeReported | WorldChanged] = deque()
        self._posted = asyncio.Event()

    def submit(self, command: Command, cursor: Cursor) -> None:
        """Make this the command to carry out, unless a later one is known. The one known already changes nothing."""
        assigned = Assigned(command, cursor)
        if self._latest is not None and cursor <= self._latest.cursor:
            if command.id != self._latest.command.id:
                self._supersede(assigned, self._latest)
            return
        if self._pending is not None:
            self._supersede(self._pending, assigned)
        self._latest = self._pending = assigned
        if self._applying is not None and is_abort(command):
            self._applying.cancel()
        self._wake.set()

    async def run(self) -> None:
        """Reconcile and report until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver())
            group.create_task(self._steer())

    async def _steer(self) -> None:
        await self._wake.wait()
        while True:
            self._wake.clear()
            while self._pending is not None:
                await self._carry_out()
            resting = await self._unless_woken(self._look())
            await self._pause(self._pace.rest_seconds if resting else self._pace.moving_seconds)

    async def _carry_out(self) -> None:
        """Bring the pending command to its outcome."""
        assigned, self._pending = self._pending, None
        assert assigned is not None
        self._applying = asyncio.create_task(self._apply(assigned))
        try:
            await asyncio.wait({self._applying})
        except asyncio.CancelledError:
            self._applying.cancel()
            await asyncio.wait({self._applying})
            raise
        done, self._applying = self._applying, None
        if done.cancelled():
            assert self._pending is not None
            self._supersede(assigned, self._pending)
            return
        outcome = done.result()
        if outcome.observed is not None:
            self._told = told_by_outcome(self._told, outcome.observed)
        self._post(_reported(assigned, outcome))

    async def _apply(self, assigned: Assigned) -> Outcome:
        """The outcome of a command, after as many tries as it is worth."""
        tries = AsyncRetrying(
            stop=stop_never if is_abort(assigned.command) else stop_after_attempt(self._pace.tries),
            wait=wait_random_exponential(multiplier=self._pace.backoff_seconds, max=self._pace.longest_backoff_seconds),
            retry=retry_if_exception_type((WorldUnreachable, TimeoutError)),
            sleep=self._back_off,
        )
        try:
            return await tries(self._apply_once, assigned)
        except _Overtaken as overtaken:
            return Outcome(OutcomeStatus.SUPERSEDED, str(overtaken))
        except RetryError as error:
            return Outcome(OutcomeStatus.FAILED, f"given up after {error.last_attempt.attempt_number} tries: {_cause(error)}")
        except Exception as error:
            log.exception("%s: the actuator %s has a fault", self.target, self._actuator.name)
            return Outcome(OutcomeStatus.FAILED, f"the actuator {self._actuator.name} has a fault: {error!r}")

    async def _apply_once(self, assigned: Assigned) -> Outcome:
        async with asyncio.timeout(self._pace.call_seconds):
            return await self._actuator.apply(assigned.command, assigned.cursor)

    async def _back_off(self, seconds: float) -> None:
        """Wait before the next try; raises _Overtaken instead where a later command is there."""
        await self._pause(seconds)
        if self._pending is not None:
            raise _Overtaken(_overtaken_by(self._pending))

    async def _look(self) -> bool:
        """Observe and tell what is new. Whether the target is at rest; False where the world could not be asked."""
        assert self._latest is not None
        try:
            async with asyncio.timeout(self._pace.call_seconds):
                seen = await self._actuator.observe(self.target)
        except (WorldUnreachable, TimeoutError) as error:
            log.warning("%s: not observed: %s", self.target, error or "no answer in time")
            return False
        except Exception:
            log.exception("%s: not observed: the actuator %s has a fault", self.target, self._actuator.name)
            return True  # Asked again soon it would only have it again.
        wanted = self._latest.command.wanted
        new = news(self._told, seen, wanted, self._latest.cursor)
        if new is not None:
            self._post(WorldChanged(self.target, new.cause, seen, new.detail, new.forgotten))
        self._told = told_by_fact(new, self._told, seen)
        return at_rest(seen, wanted)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the next command."""
        await self._unless_woken(self._sleep(seconds))

    async def _unless_woken(self, doing: Awaitable[_Result]) -> _Result | None:
        """The result, or None where a command came first: then it is given up."""
        done, woken = asyncio.ensure_future(doing), asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({done, woken}, return_when=asyncio.FIRST_COMPLETED)
            return done.result() if done.done() else None
        finally:
            done.cancel()
            woken.cancel()

    def _supersede(self, old: Assigned, new: Assigned) -> None:
        self._post(_reported(old, Outcome(OutcomeStatus.SUPERSEDED, _overtaken_by(new))))

    def _post(self, fact: OutcomeReported | WorldChanged) -> None:
        """Queue a fact. Of observations by the same cause that still wait, only the newest says anything."""
        waiting = self._outbox[-1] if len(self._outbox) > 1 else None  # The first may be under way already.
        if isinstance(fact, WorldChanged) and isinstance(waiting, WorldChanged) and waiting.cause is fact.cause:
            self._outbox.pop()
            fact = msgspec.structs.replace(fact, forgotten=fact.forgotten if waiting.forgotten is None else waiting.forgotten)
        self._outbox.append(fact)
        self._posted.set()

    async def _deliver(self) -> None:
        """Hand the facts over, in order, each until it is acknowledged."""
        tries = AsyncRetrying(
            wait=wait_random_exponential(multiplier=self._pace.backoff_seconds, max=self._pace.longest_backoff_seconds),
            sleep=self._sleep,
            before_sleep=lambda state: log.warning("%s: a fact could not be reported, trying again: %s", self.target, _failure(state)),
        )
        while True:
            while self._outbox:
                await tries(self._report, self._outbox[0])
                self._outbox.popleft()
            self._posted.clear()
            await self._posted.wait()


def _reported(assigned: Assigned, outcome: Outcome) -> OutcomeReported:
    command = assigned.command
    return OutcomeReported(command.id, command.target, assigned.cursor, outcome.status, outcome.reason, outcome.observed)


def _overtaken_by(new: Assigned) -> str:
    return f"overtaken by {new.command.verb} {new.command.id}"


def _cause(error: RetryError) -> str:
    return str(error.last_attempt.exception() or "no answer in time")


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
