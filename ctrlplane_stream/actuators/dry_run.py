"""A world of memory: it obeys every rule of the port and starts nothing.

For a first look at what the engine would do, for simulations, and for whoever tests against the port. Versions are
ready at once, and a job has run well once more whenever somebody looks, unless told otherwise; what can go wrong is
scripted: ``unready``, ``fail``, ``unreachable``. With a folder it outlives its process.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.in_place import next_sizes, reached, shares, surplus, with_vacancy
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, break_glass, edit, expire, release, take
from ctrlplane_stream.actuators.ledger_file import LedgerFolder
from ctrlplane_stream.actuators.observing import Counted, note, observation
from ctrlplane_stream.actuators.port import Outcome, WorldUnreachable
from ctrlplane_stream.actuators.shifting import instances_wanted, move
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Cursor, TargetObserved, TargetWanted


class DryRun:
    """An actuator without a world. ``full`` instances carry a target's whole traffic; ``clock`` gives unix seconds."""

    name = "dry-run"

    def __init__(self, *, full: int = 1, clock: Callable[[], float] = time.time, folder: Path | None = None) -> None:
        self._full = full
        self._clock = clock
        self._folder = LedgerFolder(folder) if folder is not None else None
        self._ledgers: dict[Target, Ledger] = self._folder.load() if self._folder is not None else {}
        self._ready: dict[tuple[Target, str], int] = {}
        self._failures: dict[tuple[Target, str], str] = {}
        self._runs: dict[tuple[Target, str], int] = {}
        self._sizes: dict[Target, dict[str, int]] = {}
        self._unreachable = 0

    async def observe(self, target: Target) -> TargetObserved:
        """See the port."""
        self._reach()
        self._run(target)
        return self._observed(target)

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        self._reach()
        taken = take(self._now(command.target), command, cursor, self._clock())
        if isinstance(taken, Refusal):
            status = OutcomeStatus.APPLIED if taken.in_place else OutcomeStatus.REFUSED
            return Outcome(status, taken.reason, self._observed(command.target))
        self._keep(command.target, taken)
        return Outcome(OutcomeStatus.APPLIED, "taken", self._observed(command.target))

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return self._by_hand(target, edit(self._now(target), weights, note(who, why, self._clock(), weights)))

    async def release(self, target: Target) -> TargetObserved:
        """See ``ByHand``."""
        return self._by_hand(target, release(self._now(target), self._clock()))

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return self._by_hand(target, break_glass(self._now(target), note(who, why, self._clock())))

    def unready(self, target: Target, label: str, ready: int = 0) -> None:
        """From now on so many instances of the version are ready, at most."""
        self._ready[target, label] = ready

    def ready(self, target: Target, label: str) -> None:
        """End ``unready`` and ``fail``."""
        self._ready.pop((target, label), None)
        self._failures.pop((target, label), None)

    def fail(self, target: Target, label: str, why: str) -> None:
        """The version fails from now on: none of it is ready, and the observation says why."""
        self._ready[target, label] = 0
        self._failures[target, label] = why

    def unreachable(self, times: int) -> None:
        """The next so many calls of the port raise WorldUnreachable."""
        self._unreachable = times

    def _reach(self) -> None:
        if self._unreachable > 0:
            self._unreachable -= 1
            raise WorldUnreachable("the dry-run world was told not to answer")

    def _run(self, target: Target) -> None:
        """Let the version of a job that has the weight run once, if it is ready."""
        ledger = self._now(target)
        if ledger.wanted is None or ledger.wanted.kind is not ServiceKind.JOB:
            return
        for label, weight in ledger.weights.items():
            if weight == 100 and (target, label) not in self._ready:
                self._runs[target, label] = self._runs.get((target, label), 0) + 1

    def _by_hand(self, target: Target, changed: Ledger | Refusal) -> TargetObserved:
        if isinstance(changed, Refusal):
            raise HandRefused(changed.reason)
        self._keep(target, changed)
        return self._observed(target)

    def _observed(self, target: Target) -> TargetObserved:
        ledger = self._now(target)
        return observation(target, ledger, self._counted(target, ledger), self._clock())

    def _now(self, target: Target) -> Ledger:
        """The ledger with everything done that time and readiness have made due."""
        before = self._ledgers.get(target, Ledger())
        ledger = expire(before, self._clock())
        if ledger.wanted is not None and ledger.wanted.in_place:
            ledger = self._exchanged(target, ledger, ledger.wanted)
        else:
            ready = {label: count.ready for label, count in self._counted(target, ledger).items()}
            ledger = move(ledger, ready, self._full)
        if ledger != before:
            self._keep(target, ledger)
        return ledger

    def _exchanged(self, target: Target, ledger: Ledger, wanted: TargetWanted) -> Ledger:
        """The ledger after as many exchanges in place, one instance each, as readiness allows at once."""
        goal = shares(ledger.goal, wanted, self._full)
        sizes = self._sizes.get(target) or shares(ledger.weights, wanted, self._full)
        room = surplus(wanted, self._full)
        while (after := next_sizes(goal, self._manned(target, sizes), leaving=False, surplus=room)) != sizes:
            sizes = after
        self._sizes[target] = sizes
        before = {label: ledger.weights.get(label, 0) for label in goal}
        weights = reached(self._manned(target, sizes), wanted.stable, before, ledger.goal)
        return msgspec.structs.replace(ledger, weights=weights)

    def _counted(self, target: Target, ledger: Ledger) -> dict[str, Counted]:
        if ledger.wanted is not None and ledger.wanted.in_place:
            goal = shares(ledger.goal, ledger.wanted, self._full)
            return with_vacancy(goal, self._manned(target, self._sizes.get(target, {})))
        manned = self._manned(target, instances_wanted(ledger, self._full))
        ran = {label: msgspec.structs.replace(count, runs=self._runs.get((target, label), 0)) for label, count in manned.items()}
        return ran if ledger.wanted is not None and ledger.wanted.kind is ServiceKind.JOB else manned

    def _manned(self, target: Target, sizes: Mapping[str, int]) -> dict[str, Counted]:
        counted = {}
        for label, instances in sizes.items():
            ready = min(instances, self._ready.get((target, label), instances))
            counted[label] = Counted(instances, ready, self._failures.get((target, label)))
        return counted

    def _keep(self, target: Target, ledger: Ledger) -> None:
        self._ledgers[target] = ledger
        if self._folder is not None:
            self._folder.save(target, ledger)
