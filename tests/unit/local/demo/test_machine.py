"""A machine that does not keep up is told from one that does, by what was measured and not by how the acts went."""

import os
import signal
import subprocess
import sys
import time

from msgspec.structs import replace

from ctrlplane_stream.local.demo.machine import Machine, MachineReport, in_words, overload
from ctrlplane_stream.local.load_report import Request

_FREE = MachineReport(cores=2, busy_share=0.61, stolen_share=0.0, woken_late_milliseconds=3.0, sent_late_milliseconds=4.0)


def test_either_lateness_alone_is_an_overload_and_neither_is_none() -> None:
    assert overload(_FREE) is None
    assert overload(None) is None
    for late in (replace(_FREE, woken_late_milliseconds=80.0), replace(_FREE, sent_late_milliseconds=180.0)):
        assert "had more to do than it could (2 cores, 61% busy; of 100 wake-ups" in (overload(late) or "")


def test_a_report_says_what_was_measured_and_nothing_of_what_was_not() -> None:
    assert in_words(replace(_FREE, stolen_share=0.2, sent_late_milliseconds=None)) == (
        "2 cores, 61% busy and 20% taken by its host; of 100 wake-ups 99 were at most 3 ms late"
    )
    assert in_words(MachineReport(1, None, None, None, None)) == "1 core"


def test_requests_are_of_the_time_that_is_asked_for() -> None:
    """The generator says of each how late it was sent; the worst of a hundred is left out, and those of other times are."""
    with Machine() as machine:
        pass
    requests = [Request(float(at), "e", "o", 200, 1.0, sent_late_milliseconds=float(at)) for at in range(200)]
    found = machine.between(0.0, 100.0, requests)
    assert (found.sent_late_milliseconds, found.woken_late_milliseconds, found.busy_share) == (99.0, None, None)


def test_a_process_that_was_not_let_run_was_woken_late() -> None:
    """Stopped for a while by a signal, as by a machine that has others to run: it says so itself afterwards."""
    script = (
        "import sys, time\n"
        "from ctrlplane_stream.local.demo.machine import Machine\n"
        "began = time.time()\n"
        "with Machine() as machine:\n"
        "    print('watching', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    time.sleep(0.2)\n"
        "print(machine.between(began, time.time(), ()).woken_late_milliseconds)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "watching\n"
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        time.sleep(0.5)  # for how long it is not let run
        child.send_signal(signal.SIGCONT)
        said, _ = child.communicate("on\n")
    assert float(said) > 300.0
