"""A terminal that is closed ends what it shows, also where nobody tells it so."""

import os
import pty
import subprocess
import sys

_PROGRAM = """
import signal, sys, time
from ctrlplane_stream.local.demo.terminal import end_with_terminal
signal.signal(signal.SIGHUP, {handler})
end_with_terminal()
print("ready", flush=True)
time.sleep({seconds})
"""
_LEADER = "import os, signal, subprocess, sys; signal.signal(signal.SIGHUP, lambda *_: None); sys.exit(subprocess.call(sys.argv[1:]))"
"""Whoever leads the session, as make does: hears of the end and waits for its child."""


def _run(handler: str, seconds: float) -> tuple[int, int]:
    """A program under such a leader in a terminal of its own: the leader's process id, and our end of the terminal."""
    program = _PROGRAM.format(handler=handler, seconds=seconds)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", _LEADER, sys.executable, "-c", program])
    said = b""
    while b"ready\r\n" not in said:
        said += os.read(terminal, 1024)
    return pid, terminal


def test_a_program_whose_terminal_is_closed_is_told_though_its_leader_waits_for_it() -> None:
    pid, terminal = _run("lambda *_: sys.exit(7)", 60)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_one_that_ignores_hang_ups_goes_on() -> None:
    pid, terminal = _run("signal.SIG_IGN", 3)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_one_without_a_terminal_is_not_watched() -> None:
    program = _PROGRAM.format(handler="lambda *_: sys.exit(7)", seconds=1.5)
    done = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, check=False
    )
    assert done.returncode == 0
