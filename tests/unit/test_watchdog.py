"""The watchdog of ``tests/conftest.py`` can fail: a test that leaves a process behind fails the session."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

_CONFTEST = Path(__file__).parents[1] / "conftest.py"
_LEAVES_A_GRANDCHILD = """
import subprocess, sys
def test_it():
    orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    subprocess.run([sys.executable, "-c", orphan])
"""
_LEAVES_NOTHING = """
import subprocess, sys
def test_it():
    subprocess.run([sys.executable, "-c", ""])
"""


@pytest.mark.parametrize(
    ("body", "status", "workers"),
    [(_LEAVES_A_GRANDCHILD, 1, "0"), (_LEAVES_NOTHING, 0, "0"), (_LEAVES_A_GRANDCHILD, 1, "1"), (_LEAVES_NOTHING, 0, "1")],
    ids=["an orphaned grandchild", "nothing", "an orphaned grandchild of a worker's", "nothing by a worker"],
)
def test_a_session_fails_where_a_test_leaves_a_process_running(tmp_path: Path, body: str, status: int, workers: str) -> None:
    """Orphans are named, and the exit status tells; a session that leaves nothing passes."""
    (tmp_path / "conftest.py").write_text(_CONFTEST.read_text())
    (tmp_path / "test_leak.py").write_text(body)
    # In a group of its own, so that what it leaves behind can be ended here.
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-n", workers, str(tmp_path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output = session.communicate(timeout=60)[0]
    finally:
        _end_group(session.pid)
    assert session.returncode == status, output
    assert output.count("left running by the tests") == status
    assert output.count("time.sleep(60)") == status, "named once"


def _end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, 9)
