"""Jobs on this machine: one run after another of the version that has the weight, each a process that ends by itself.

A run that ends with 0 ended well; any other end is a failure that is shown until a run of that version ends well. A run is never
ended for another version: only where its own is parked or gone, or the host ends. The next waits for it, so no two run at once.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.ledger_file import read_file
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.local.host.settings import HostSettings
from ctrlplane_stream.local.host.surroundings import Role, environment_of, log_of
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, WantedVersion

_END_POLL_SECONDS = 0.02


class Run(msgspec.Struct):
    """A run under way."""

    label: str
    process: ChildProcess


class RunCounts:
    """How many runs of each version ended well, ever: a file, so that a host that starts again goes on counting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, int] = read_file(path, dict[str, int], "its count of runs") if path.exists() else {}

    def of(self, label: str) -> int:
        """Runs of the version that ended well."""
        return self._counts.get(label, 0)

    def add(self, label: str) -> None:
        """Count one more, durably."""
        self._counts[label] = self.of(label) + 1
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_suffix(".tmp")
        scratch.write_bytes(msgspec.json.encode(self._counts))
        scratch.replace(self._path)


class JobStaffing:
    """The runs of one target. ``routes`` are told to each run as to any other process; ``now`` counts seconds, and never back."""

    def __init__(
        self, target: Target, settings: HostSettings, routes: Callable[[], Mapping[str, str]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._settings = settings
        self._routes = routes
        self._now = now
        self._counts = RunCounts(
            settings.folder / "runs" / target.environment.replace("/", ".") / f"{target.service.replace('/', '.')}.json"
        )
        self._run: Run | None = None
        self._failures: dict[str, str] = {}
        self._due = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    def converge(self, ledger: Ledger) -> Ledger:
        """See ``Staffing``: all runs or none, so nothing has to become ready before weight moves."""
        self._note_end()
        kept = {v.label: v for v in _listed(ledger) if v.capacity is not Capacity.PARKED}
        self._failures = {label: why for label, why in self._failures.items() if label in kept}
        if self._run is not None and self._run.label not in kept:
            self._let_go(self._run)
        moved = msgspec.structs.replace(ledger, weights=dict(ledger.goal))
        whose = next((v for label, v in kept.items() if moved.weights.get(label) == 100), None)
        if whose is not None and self._run is None and self._now() >= self._due:
            self._begin(whose)
        return moved

    def counted(self, ledger: Ledger) -> dict[str, Counted]:
        """See ``Staffing``: a version that may run counts as one instance that is ready."""
        return {
            v.label: Counted(
                instances=(there := 0 if v.capacity is Capacity.PARKED else 1),
                ready=there,
                failure=self._failures.get(v.label),
                runs=self._counts.of(v.label),
                running=int(self._run is not None and self._run.label == v.label),
            )
            for v in _listed(ledger)
        }

    def pids(self) -> dict[str, list[int]]:
        """See ``Staffing``."""
        return {self._run.label: [self._run.process.pid]} if self._run is not None and self._run.process.running else {}

    async def end(self) -> None:
        """See ``Staffing``."""
        if self._run is not None:
            self._let_go(self._run)
        if self._ending:
            await asyncio.wait(self._ending)

    def _begin(self, version: WantedVersion) -> None:
        role = Role(self._target, version, run=self._counts.of(version.label) + 1)
        environ = environment_of(role, 0, self._routes(), os.environ, self._settings.otlp_endpoint)
        self._due = self._now() + self._settings.job_seconds
        try:
            process = ChildProcess(str(self._target), self._settings.program, log=log_of(role, self._settings.folder), environ=environ)
        except OSError as error:
            self._failures[version.label] = f"a run cannot be started: {error}"
            return
        self._run = Run(version.label, process)

    def _note_end(self) -> None:
        run = self._run
        if run is None or run.process.running:
            return
        self._run, status = None, run.process.returncode
        if status == 0:
            self._counts.add(run.label)
            self._failures.pop(run.label, None)
        else:
            how = f"exit {status}" if status is not None and status >= 0 else f"signal {-(status or 0)}"
            self._failures[run.label] = f"a run failed: {how}"

    def _let_go(self, run: Run) -> None:
        """End a run whose version is not to run any more, within the grace; what it comes to is not counted."""
        self._run = None
        task = asyncio.create_task(self._stop(run.process))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _stop(self, process: ChildProcess) -> None:
        deadline = self._now() + self._settings.grace_seconds
        process.signal(signal.SIGTERM)
        while process.running and self._now() < deadline:
            await asyncio.sleep(_END_POLL_SECONDS)
        process.kill()


def _listed(ledger: Ledger) -> tuple[WantedVersion, ...]:
    return ledger.wanted.versions if ledger.wanted is not None else ()
