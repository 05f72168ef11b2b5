"""All roles as children of one process: one that fails is started again, with growing pauses; they end together.

Each role is its own process because each has its own consumer group, its own pace and its own libraries: a stalled or
crashed one never takes another along.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_AFTER_SECONDS = 30.0

Start = Callable[[str], "subprocess.Popen[bytes]"]


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
        status = self.process.poll()
        if status is None:
            return
        if now - self._started_at > HEALTHY_AFTER_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        log.error("role %s ended with status %d; starting it again in %.1f s", self.role, status, self._pause)
        self._due_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def end(self) -> None:
        """Ask it to finish the event in hand and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait until it has ended; kill it at the deadline."""
        try:
            self.process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            log.error("role %s did not end in time; killing it", self.role)
            self.process.kill()
            self.process.wait()


def supervise(roles: Sequence[str], start: Start) -> int:
    """Run the roles until SIGTERM or SIGINT; returns the exit status of the supervisor."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    children = [Child(role, start) for role in roles]
    while not stopping.wait(_POLL_SECONDS):
        now = time.monotonic()
        for child in children:
            child.look(now)
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.end()
    for child in children:
        child.wait(deadline)
    return 0


def start_with(environ: Mapping[str, str], port: int) -> Start:
    """Starts a role as ``worker --role ROLE`` of this interpreter; metrics ports follow each other from ``port`` on (0: none)."""
    ports: dict[str, int] = {}

    def start(role: str) -> "subprocess.Popen[bytes]":
        ports.setdefault(role, port + len(ports) if port else 0)
        command = [sys.executable, "-m", "ctrlplane_stream", "worker", "--role", role, "--follow", str(os.getpid())]
        return subprocess.Popen(command, env={**environ, "CTRLPLANE_METRICS_PORT": str(ports[role])}, stdin=subprocess.DEVNULL)

    return start
