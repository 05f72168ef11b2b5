"""Whenever the demo is interrupted, it leaves no process, and so no port, and no folder behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PATIENCE_SECONDS = 60.0


class Demo:
    """A demo whose temporary folders lie in one of its own, by which everything that it started is known."""

    def __init__(self, folder: Path) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._said = folder / "said"
        environ = {**os.environ, "TMPDIR": str(self.scratch), "KAFKA_BOOTSTRAP_SERVERS": "", "PYTHONUNBUFFERED": "1"}
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ctrlplane_stream", "demo"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environ, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        """Everything that it has printed."""
        return self._said.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until it has printed this."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while text not in self.said():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def interrupt(self, number: signal.Signals) -> int:
        """As Ctrl-C, or as a supervisor does; the exit status."""
        self._process.send_signal(number)
        try:
            return self._process.wait(_PATIENCE_SECONDS)
        finally:
            self._process.kill()

    def processes(self) -> list[str]:
        """What it started and still runs, by its environment."""
        mark, found = f"TMPDIR={self.scratch}".encode(), []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environ.read_bytes().split(b"\0"):
                    found.append(environ.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("The demo's policy", signal.SIGINT),
        ("== set-up", signal.SIGTERM),
        ("preparing → shifting", signal.SIGINT),
    ],
    ids=["as the broker starts", "as the parts start, by SIGTERM", "as versions start"],
)
def test_an_interrupted_demo_leaves_nothing(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    """Exit status 1, one line that says so, nothing that runs, nothing in the folder of temporary files."""
    demo = Demo(tmp_path)
    demo.wait_for(moment)
    assert demo.interrupt(number) == 1, demo.said()
    assert "interrupted; nothing is left running" in demo.said().splitlines()[-1]
    assert demo.processes() == []
    assert list(demo.scratch.iterdir()) == []
