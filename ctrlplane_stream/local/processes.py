"""Child processes that cannot outlive us: start, readiness, stop, and what they wrote.

Three nets, each for what the one before cannot catch: ``stop`` (or leaving the ``with``), ``atexit`` for a way out
that forgot it, and the kernel's parent-death signal (``launcher.py``) for a parent that was killed with SIGKILL.
Each child leads its own process group, so that a Ctrl-C in the terminal reaches only us, and a stop reaches its
children too. What a child prints goes to a file, never to our terminal.

A child that has ended stays with the kernel until ``stop`` or ``kill``: only so long is its id nobody else's, and a signal to its
group meant for what is left of it. On a machine that starts many processes ids come round within minutes.

The kernel's signal follows the *thread* that started the child: start from the main thread, or from one that lives as
long as the process (the pool behind ``asyncio.to_thread`` does).
"""

import atexit
import contextlib
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_SECONDS = 0.02

_PORTS = (20000, 32000)
_chance = random.SystemRandom()
_given: set[int] = set()
"""Ports that ``free_port`` gave in the life of this process: what is meant to listen there may not do so yet."""

_alive: "weakref.WeakSet[ChildProcess]" = weakref.WeakSet()
_DISK_FULL = os.strerror(errno.ENOSPC)


class ChildFailed(RuntimeError):
    """A child ended or did not become ready; the text names it and ends with the last lines that it wrote."""


class ChildProcess:
    """One program in its own process group, running from construction until ``stop`` or ``kill``.

    ``environ`` replaces the whole environment where given. ``log`` is appended to, so that a restarted program keeps
    its history. A program that cannot be found ends with exit status 127 and says so in its log.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                launch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ) if environ is not None else None,
                cwd=cwd,
                start_new_session=True,
            )
        _alive.add(self)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        if self._process.returncode is not None:
            return self._process.returncode
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.returncode is None

    def wait(self, timeout_seconds: float) -> int | None:
        """The exit status, or None where it still runs after this long."""
        deadline = time.monotonic() + timeout_seconds
        while (status := self.returncode) is None and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_POLL_SECONDS, left))
        return status

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask the group to end (SIGTERM), and kill what is left of it after the grace. Harmless when repeated."""
        if self.running:
            self.signal(signal.SIGTERM)
            self.wait(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End the group at once (SIGKILL) and wait for the child. Harmless when repeated."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        _alive.discard(self)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; nothing happens where it is gone, or was killed."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it wrote, and before them that a disk is full where that was said earlier: it is why all else went wrong."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        last = text.splitlines()[-lines:]
        full = next((line for line in reversed(text.splitlines()[:-lines]) if _DISK_FULL in line), None)
        return "\n".join(last if full is None or any(_DISK_FULL in line for line in last) else [full, *last])

    def wait_ready(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until ``ready()`` holds; raises ChildFailed where the child ends first or the time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            status = self.wait(_POLL_SECONDS)
            if status is not None:
                raise ChildFailed(f"{self.name} ended with status {status} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} was not ready after {timeout_seconds:g} s:\n{self.log_tail()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def free_port() -> int:
    """A TCP port that is free on loopback now and that this process has not given before; whoever binds it first has it.

    It lies below those that the kernel gives to outgoing connections (by default from 32768 on), which would else take it before
    the program that it is meant for listens.
    """
    while True:
        port = _chance.randrange(*_PORTS)
        if port not in _given and _can_bind(port):
            _given.add(port)
            return port


def _can_bind(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody takes connections on the port."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


@atexit.register
def _kill_what_is_left() -> None:
    for child in list(_alive):
        child.kill()
