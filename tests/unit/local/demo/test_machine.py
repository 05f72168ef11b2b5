"""A machine that does not keep up is told from one that does, by what was measured and not by how the acts went."""

import os
import signal
import subprocess
import sys
import time

from msgspec.structs import replace

from ctrlplane_stream.local.demo.machine import Machine, MachineReport, in_words, overload
from ctrlplane_stream.local.demo.waiting import Family, Waited
from ctrlplane_stream.local.load_report import Request

_FREE = MachineReport(2, busy_share=0.61, stolen_share=0.0, waited_share=0.3, woken_late_milliseconds=3.0, sent_late_milliseconds=4.0)


def test_each_of_the_three_alone_is_an_overload_and_none_of_them_is_none() -> None:
    assert overload(_FREE) is None
    assert overload(None) is None
    assert overload(replace(_FREE, busy_share=1.0)) is None, "by something that gives way, perhaps"
    for late in ({"waited_share": 0.9}, {"woken_late_milliseconds": 80.0}, {"sent_late_milliseconds": 180.0}):
        assert "had more to do than it could (2 cores, 61% busy; what had something to do waited" in (
            overload(replace(_FREE, **late)) or ""
        )


def test_a_report_says_what_was_measured_and_nothing_of_what_was_not() -> None:
    assert in_words(replace(_FREE, stolen_share=0.2, sent_late_milliseconds=None)) == (
        "2 cores, 61% busy and 20% taken by its host; what had something to do waited 30% of the time for a core; "
        "of 100 wake-ups 99 were at most 3 ms late"
    )
    assert in_words(MachineReport(1, None, None, None, None, None)) == "1 core"


def test_of_two_that_share_a_core_each_waits_while_the_other_runs() -> None:
    """Both want it all the time: about half of it each has, however busy the other cores are. Seen from above, by processes below."""
    (core, *_) = sorted(os.sched_getaffinity(0))
    busy = (
        f"import os, time\nos.sched_setaffinity(0, {{{core}}})\nprint(1, flush=True)\nend = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n    pass"
    )
    children = [subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        family = Family()
        before = family.read()
        while (found := family.read()).ran < 300_000_000 and all(child.poll() is None for child in children):
            time.sleep(0.05)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert before == (0, 0)
    assert found.share is not None
    assert found.share > 0.3
    assert Waited(0, 0).share is None


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
