"""Children end with us, whatever way we end, and say what went wrong where they do not start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctrlplane_stream.local.processes import ChildFailed, ChildProcess

_SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


def _gone(pid: int) -> bool:
    """Whether the process has ended (a zombie, which its parent has yet to reap, has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_leaving_the_block_ends_the_child(tmp_path: Path) -> None:
    """After the ``with`` the child has ended by SIGTERM."""
    with ChildProcess("sleeper", _SLEEPER, log=tmp_path / "log") as child:
        child.wait_ready(lambda: child.log_tail() == "up", 10)
        assert child.running
    assert child.returncode == -signal.SIGTERM


def test_a_stop_reaches_the_children_of_the_child(tmp_path: Path) -> None:
    """The whole process group ends, not only its leader."""
    with ChildProcess("parent", [sys.executable, "-c", _PARENT], log=tmp_path / "log") as child:
        child.wait_ready(lambda: child.log_tail().isdecimal(), 10)
        grandchild = int(child.log_tail())
        assert not _gone(grandchild)
    while not _gone(grandchild):
        time.sleep(0.01)


def test_the_id_of_a_child_that_ended_is_nobody_elses_until_it_is_stopped_and_is_signalled_no_more_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = ChildProcess("short", [sys.executable, "-c", "raise SystemExit(3)"], log=tmp_path / "log")
    assert child.wait(10.0) == 3
    assert (child.running, Path(f"/proc/{child.pid}").exists()) == (False, True)
    child.kill()
    assert (child.returncode, Path(f"/proc/{child.pid}").exists()) == (3, False)
    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: signalled.append(group))
    child.kill()
    child.stop()
    assert signalled == []


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    """A stop always ends: with SIGKILL where the program does not want to."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    child = ChildProcess("stubborn", [sys.executable, "-c", stubborn], log=tmp_path / "log")
    child.wait_ready(lambda: child.log_tail() == "up", 10)
    child.stop(grace_seconds=0.1)
    assert child.returncode == -signal.SIGKILL


def test_a_child_that_ends_before_it_is_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    """The error carries what the program wrote, so that nobody has to look for its log."""
    child = ChildProcess("doomed", [sys.executable, "-c", "raise SystemExit('no such table')"], log=tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"(?s)doomed ended with status 1.*no such table"):
        child.wait_ready(lambda: False, 10)
    child.stop()


def test_a_full_disk_is_among_the_last_words_however_much_followed(tmp_path: Path) -> None:
    """A broker goes on for pages after the line that matters."""
    said = "java.io.IOException: No space left on device\n" + "\n".join(f"consequence {n}" for n in range(50))
    with ChildProcess("broker", [sys.executable, "-c", f"print({said!r})"], log=tmp_path / "log") as child:
        assert child.wait(10) == 0
        assert child.log_tail(2).splitlines() == [said.splitlines()[0], "consequence 48", "consequence 49"]


def test_a_program_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    """A missing program is a ChildFailed with the reason, not a traceback of the launcher."""
    child = ChildProcess("absent", ["/no/such/program"], log=tmp_path / "log")
    with pytest.raises(ChildFailed, match="cannot start /no/such/program"):
        child.wait_ready(lambda: False, 10)
    child.stop()


_STARTER = """
import sys, time
from pathlib import Path
from ctrlplane_stream.local.processes import ChildProcess
log = Path(sys.argv[1])
child = ChildProcess("sleeper", [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"], log=log)
if sys.argv[2] == "once it is up":
    child.wait_ready(lambda: child.log_tail() == "up", 10)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("moment", ["once it is up", "while it is being launched"])
def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path, moment: str) -> None:
    """SIGKILL of the parent, where no clean-up of ours can run, still ends the child, however far it has come."""
    parent = subprocess.Popen([sys.executable, "-c", _STARTER, str(tmp_path / "log"), moment], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    while not _gone(child):
        time.sleep(0.01)


def test_a_way_out_that_forgot_the_child_ends_it_too(tmp_path: Path) -> None:
    """An interpreter that exits by an exception, outside any ``with``, kills its children at exit."""
    script = (
        "import sys; from pathlib import Path; from ctrlplane_stream.local.processes import ChildProcess\n"
        "child = ChildProcess('sleeper', [sys.executable, '-c', 'import time; time.sleep(600)'], log=Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); raise SystemExit(3)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert _gone(int(done.stdout))
