"""Weights in the files that a load balancer reads, one a target: an actuator as another package brings it.

The balancer knows of no instances, so a version that is declared counts as ready. The cursor, the lease and all else that must be
remembered lie in the same file as the weights, which is replaced whole under a lock: the target itself is the cell of compare-and-set.

A lease has to end with every worker down, and the balancer knows of none: ``python -m upstreams`` runs beside it and sees to that.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger, Refusal, expire, take
from ctrlplane_stream.actuators.observing import Counted, observation
from ctrlplane_stream.actuators.port import Outcome
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved
from ctrlplane_stream.settings import Settings


class Upstream(msgspec.Struct):
    """A file: ``weights`` are the balancer's, ``memory`` is ours."""

    weights: dict[str, int] = {}
    memory: Ledger = Ledger()


class Upstreams:
    """The actuator over the files in ``folder``; ``clock`` gives unix seconds."""

    name = "upstreams"

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        folder.mkdir(parents=True, exist_ok=True)

    async def observe(self, target: Target) -> TargetObserved:
        """See the port."""
        path = self._path(target)
        with _locked(path):
            return self._observed(target, self._kept(path, expire(_read(path).memory, self._clock())))

    def honour_leases(self) -> None:
        """Bring every target whose lease ran out to stable."""
        for path in sorted(self._folder.glob("*.json")):
            with _locked(path):
                self._kept(path, expire(_read(path).memory, self._clock()))

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        if command.wanted.kind is not ServiceKind.ROUTED or command.wanted.in_place:
            return Outcome(OutcomeStatus.REFUSED, "a load balancer splits traffic between versions that run side by side, and nothing else")
        path = self._path(command.target)
        with _locked(path):
            ledger = expire(_read(path).memory, self._clock())
            taken = take(ledger, command, cursor, self._clock())
            ledger = self._kept(path, ledger if isinstance(taken, Refusal) else taken)
        refused = isinstance(taken, Refusal) and not taken.in_place
        reason = taken.reason if isinstance(taken, Refusal) else "taken"
        return Outcome(OutcomeStatus.REFUSED if refused else OutcomeStatus.APPLIED, reason, self._observed(command.target, ledger))

    def _kept(self, path: Path, ledger: Ledger) -> Ledger:
        """The ledger with its goal in force, for everything is ready here; written where that is not what is there."""
        ledger = msgspec.structs.replace(ledger, weights=dict(ledger.goal))
        if _read(path) != Upstream(ledger.weights, ledger):
            scratch = path.with_suffix(".new")
            scratch.write_bytes(msgspec.json.encode(Upstream(ledger.weights, ledger)))
            os.replace(scratch, path)
        return ledger

    def _observed(self, target: Target, ledger: Ledger) -> TargetObserved:
        versions = ledger.wanted.versions if ledger.wanted is not None else ()
        counted = {each.label: Counted(1, 1) for each in versions if each.capacity is not Capacity.PARKED}
        return observation(target, ledger, counted, self._clock())

    def _path(self, target: Target) -> Path:
        return self._folder / f"{quote(str(target), safe='')}.json"


def make_actuator(settings: Settings) -> Upstreams:
    """What the entry point names; a package of its own has settings of its own."""
    return Upstreams(_folder())


async def watch(upstreams: Upstreams, every_seconds: float = 1.0) -> None:
    """Honour leases with nobody looking, until cancelled."""
    while True:
        upstreams.honour_leases()
        await asyncio.sleep(every_seconds)


def _folder() -> Path:
    return Path(os.environ.get("UPSTREAMS_FOLDER", "upstreams"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Upstream:
    return msgspec.json.decode(path.read_bytes(), type=Upstream) if path.exists() else Upstream()


if __name__ == "__main__":
    asyncio.run(watch(Upstreams(_folder())))
