"""One instance of one version: a process that is started, probed, restarted when it ends, drained and stopped.

Its state is only ever what was seen: ready after a health check that succeeded, failing after ends in a row.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping

from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.local.host.backend import Backend
from ctrlplane_stream.local.host.probe import healthy
from ctrlplane_stream.local.host.settings import HostSettings
from ctrlplane_stream.local.host.surroundings import Role, environment_of, log_of
from ctrlplane_stream.local.processes import ChildProcess, free_port

_END_POLL_SECONDS = 0.02
_NUMBERS = {1: "once", 2: "twice", 3: "three times"}


class Instance:
    """A process in its role, from ``start`` to ``stop``. ``changed`` is called whenever ready or failure may have changed."""

    def __init__(
        self,
        role: Role,
        settings: HostSettings,
        environ: Callable[[], tuple[Mapping[str, str], Mapping[str, str]]],
        changed: Callable[[], None],
    ) -> None:
        self.role = role
        self.ready = False
        self.failure: str | None = None
        self.stopping = False
        self.backend = Backend(0)
        self._settings = settings
        self._environ = environ
        self._changed = changed
        self._process: ChildProcess | None = None
        self._ends = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while there is no process."""
        return self._process.pid if self._process is not None and self._process.running else None

    def start(self) -> None:
        """Run and watch it from now on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the requests in hand, then end the process; both within their limits. Take it from the router first."""
        self.stopping = True
        self._set_ready(False)
        await self.backend.drained(self._settings.drain_seconds)
        await self.end()

    async def end(self) -> None:
        """End the process within the grace, without waiting for requests."""
        self.stopping = True
        if self._task is not None:
            await end_tasks([self._task])
        if self._process is not None:
            await _end(self._process, self._settings.grace_seconds)
        self.backend.close()

    async def _run(self) -> None:
        while True:
            self.backend.close()
            self.backend = Backend(free_port())
            routes, base = self._environ()
            environ = environment_of(self.role, self.backend.port, routes, base, self._settings.otlp_endpoint)
            try:
                self._process = ChildProcess(
                    str(self.role.target), self._settings.program, log=log_of(self.role, self._settings.folder), environ=environ
                )
            except OSError as error:
                self._set_failure(f"cannot be started: {error}")
            else:
                await self._watch(self._process)
                self._note_end(self._process.returncode)
            self._set_ready(False)
            self._ends += 1
            await asyncio.sleep(min(self._settings.backoff_seconds * 2 ** (self._ends - 1), self._settings.longest_backoff_seconds))

    async def _watch(self, process: ChildProcess) -> None:
        """Probe the process until it ends."""
        misses, next_probe, ready_since = 0, 0.0, 0.0
        step = self._settings.probe_seconds / 10
        while process.running:
            now = time.monotonic()
            if now >= next_probe:
                well = await healthy(self.backend.port, self._settings.probe_timeout_seconds)
                misses = 0 if well else misses + 1
                if well and not self.ready:
                    ready_since = now
                self._set_ready(well or (self.ready and misses < self._settings.probe_failures))
                next_probe = now + (self._settings.probe_seconds if self.ready else step)
            if self.ready and self._ends and now - ready_since >= self._settings.settled_seconds:
                self._ends = 0
                self._set_failure(None)
            await asyncio.sleep(step)

    def _note_end(self, status: int | None) -> None:
        if self._ends + 1 < self._settings.crash_loop:
            return
        times = _NUMBERS.get(self._settings.crash_loop, f"{self._settings.crash_loop} times")
        how = f"exit {status}" if status is not None and status >= 0 else f"signal {-(status or 0)}"
        self._set_failure(f"crash loop: {how} {times}")

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._changed()

    def _set_failure(self, failure: str | None) -> None:
        if failure != self.failure:
            self.failure = failure
            self._changed()


async def _end(process: ChildProcess, grace_seconds: float) -> None:
    """``ChildProcess.stop`` without standing still meanwhile: many instances end side by side."""
    deadline = time.monotonic() + grace_seconds
    if process.running:
        process.signal(signal.SIGTERM)
    while process.running and time.monotonic() < deadline:
        await asyncio.sleep(_END_POLL_SECONDS)
    process.kill()
