"""Whenever the demo is interrupted, or a part of it dies, it leaves no process, and so no port, and no folder behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import free_port
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topic_admin import admin_client

_PATIENCE_SECONDS = 90.0


class Demo:
    """A demo whose temporary folders lie in one of its own, by which everything that it started is known."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._said = folder / "said"
        environ = {**os.environ, "TMPDIR": str(self.scratch), "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PYTHONUNBUFFERED": "1"}
        environ["PYTHONFAULTHANDLER"] = "1"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ctrlplane_stream", "demo"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environ, start_new_session=True,
                preexec_fn=_heeds_hang_ups,
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

    def interrupt(self, number: signal.Signals, times: int) -> int:
        """As Ctrl-C of somebody who presses it again and again, as a supervisor, or as a terminal that is closed does; the exit status."""
        for at in range(times):
            time.sleep(0.5 if at and number is signal.SIGINT else 0.0)
            self._process.send_signal(number)  # nothing happens where it has ended
        return self.end()

    def end(self) -> int:
        """The exit status with which it ends by itself; where it does not, it is made to say where it stands."""
        try:
            return self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            return self._process.wait(_PATIENCE_SECONDS)
        finally:
            self._process.kill()

    def kill(self, part: str) -> None:
        """SIGKILL for its own child with this in the command line."""
        (pid,) = (pid for pid, command in self._children().items() if part in command and _parent(pid) == self._process.pid)
        os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[str]:
        """The command lines of what it started and still runs."""
        return list(self._children().values())

    def _children(self) -> dict[int, str]:
        """Process id to command line, found by the environment."""
        mark, found = f"TMPDIR={self.scratch}".encode(), {}
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environ.read_bytes().split(b"\0"):
                    command = environ.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(environ.parent.name)] = command
            except OSError:
                continue
        return found

    async def left(self, bootstrap: str) -> list[str]:
        """Its topics and groups on a broker: they begin with its process id, since other demos may use the broker too."""
        async with admin_client(Settings(kafka_bootstrap_servers=bootstrap)) as client:
            names = [*await client.list_topics(), *(name for name, *_ in await client.list_consumer_groups())]
        return [name for name in names if name.startswith(f"ctrlplane-demo-{self._process.pid}-")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("moment", "number", "times", "shared"),
    [
        ("The demo's policy", signal.SIGINT, 4, False),
        ("== set-up", signal.SIGTERM, 1, False),
        ("preparing → shifting", signal.SIGHUP, 2, True),
        ("preparing → shifting", signal.SIGINT, 12, True),
    ],
    ids=[
        "as the broker starts, again and again",
        "as the parts start, by SIGTERM",
        "as versions start, on somebody else's broker, by SIGHUP",
        "as versions start, on somebody else's broker, again and again while it cleans up",
    ],
)
def test_an_interrupted_demo_leaves_nothing(
    moment: str, number: signal.Signals, times: int, shared: bool, tmp_path: Path, kafka: EmbeddedKafka | NamedKafka
) -> None:
    """Exit status 1, one line that says so, nothing that runs, no temporary file, and no topic or group on a broker that is not its own."""
    demo = Demo(tmp_path, kafka.bootstrap if shared else "")
    demo.wait_for(moment)
    assert not shared or asyncio.run(demo.left(kafka.bootstrap)), "a shared broker is worked on under a prefix"
    assert demo.interrupt(number, times) == 1, demo.said()
    assert "interrupted; nothing is left running" in demo.said().splitlines()[-1]
    assert demo.processes() == []
    assert list(demo.scratch.iterdir()) == []
    assert asyncio.run(demo.left(kafka.bootstrap)) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("part", "said"),
    [("kafka.Kafka", "Kafka ended with status -9"), ("worker --role all", "worker ended with status -9")],
    ids=["the broker", "the worker"],
)
def test_a_part_that_dies_is_named_instead_of_waited_for(part: str, said: str, tmp_path: Path) -> None:
    """Long before the time is up within which the set-up must be done, with its last words; nothing is left."""
    demo = Demo(tmp_path, "")
    demo.wait_for("== set-up")
    demo.kill(part)
    assert demo.end() == 1, demo.said()
    assert said in demo.said()
    assert demo.processes() == []
    assert list(demo.scratch.iterdir()) == []


def test_a_demo_in_a_shell_that_names_a_broker_that_is_gone_says_where_the_name_comes_from(tmp_path: Path) -> None:
    """As in one that still has the exports of a demo that was kept and has ended."""
    demo = Demo(tmp_path, f"127.0.0.1:{free_port()}")
    assert demo.end() == 1
    assert "which KAFKA_BOOTSTRAP_SERVERS is set to in this shell: unset it" in demo.said().splitlines()[-1]
    assert list(demo.scratch.iterdir()) == []


def _heeds_hang_ups() -> None:
    """Under `nohup` everything has SIGHUP ignored, and a demo leaves it so."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
