"""All roles as children of one process: one that fails is started again, with growing pauses; they end together.

Each role is its own process because each has its own consumer group, its own pace and its own libraries: a stalled or
crashed one never takes another along. They are forked from this process, which has imported what all of them need and
runs neither loop nor thread, so five of them start in the time of one.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

import msgspec

from ctrlplane_stream.ending import ending_signals
from ctrlplane_stream.settings import Settings

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_AFTER_SECONDS = 30.0

Start = Callable[[str], BaseProcess]


class Child:
    """One role's process, its restarts and when the next one is due."""

    def __init__(self, role: str, start: Start) -> None:
        self.role = role
        self.restarts = 0
        self._start = start
        self._pause = FIRST_PAUSE_SECONDS
        self._started_at = time.monotonic()
        self._due_at: float | None = None
        self.process = start(role)

    def look(self, now: float) -> None:
        """Start it again where it has ended and its pause is over."""
        if self._due_at is not None:
            if now >= self._due_at:
                self._due_at, self._started_at = None, now
                self.restarts += 1
                self.process = self._start(self.role)
            return
        if self.process.exitcode is None:
            return
        if now - self._started_at > HEALTHY_AFTER_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        log.error("role %s ended with status %s; starting it again in %.1f s", self.role, self.process.exitcode, self._pause)
        self._due_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def end(self, deadline: float) -> None:
        """Wait until it has ended after it was told to; kill it at the deadline."""
        self.process.join(max(deadline - time.monotonic(), 0.1))
        if self.process.exitcode is None:
            log.error("role %s did not end in time; killing it", self.role)
            self.process.kill()
            self.process.join()


def supervise(roles: Sequence[str], start: Start) -> int:
    """Run the roles until SIGTERM, SIGINT or SIGHUP; returns the exit status of the supervisor."""
    stopping = threading.Event()
    for number in ending_signals():
        signal.signal(number, lambda *_: stopping.set())
    children = [Child(role, start) for role in roles]
    while not stopping.wait(_POLL_SECONDS):
        now = time.monotonic()
        for child in children:
            child.look(now)
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.process.terminate()
    for child in children:
        child.end(deadline)
    return 0


def forked(settings: Settings) -> Start:
    """Starts a role as a fork of this process; metrics ports follow each other from the one that is set (0: none)."""
    import ctrlplane_stream.stream.duty
    import ctrlplane_stream.stream.worker  # noqa: F401  so that no child has to import them

    context = multiprocessing.get_context("fork")
    ports: dict[str, int] = {}

    def start(role: str) -> BaseProcess:
        port = ports.setdefault(role, settings.metrics_port + len(ports) if settings.metrics_port else 0)
        told = msgspec.structs.replace(settings, metrics_port=port)
        process = context.Process(target=_run, args=(told, role, os.getpid()), name=f"ctrlplane-{role}")
        process.start()
        return process

    return start


def _run(settings: Settings, role: str, parent: int) -> None:
    from ctrlplane_stream.stream.logs import set_up_logs
    from ctrlplane_stream.stream.worker import run_role

    for number in ending_signals():
        signal.signal(number, signal.SIG_DFL)
    set_up_logs(settings, role)
    sys.exit(run_role(settings, role, parent))
