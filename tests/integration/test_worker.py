"""The worker as a process: it listens on loopback alone and only when told to, restarts a role that died, and ends in order."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import ChildProcess, free_port
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.worker import EXIT_FAILED, ROLES
from ctrlplane_stream.wire.topic_admin import ensure_topics

PATIENCE_SECONDS = 90.0


@pytest.fixture
def environ(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> dict[str, str]:
    """What a worker is told: topics of this test's own."""
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=2)
    asyncio.run(ensure_topics(settings))
    return {**os.environ, **settings.variables(), "CTRLPLANE_INSTANCE": "one"}


def start(environ: dict[str, str], log: Path, *flags: str) -> ChildProcess:
    """A worker as users start it."""
    return ChildProcess("worker", [sys.executable, "-m", "ctrlplane_stream", "worker", *flags], log=log, environ=environ)


def wait_until(holds: Callable[[], bool], worker: ChildProcess) -> None:
    """Wait for something that a healthy worker brings about."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert worker.running, worker.log_tail()
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.1)


def started(log: Path) -> dict[str, list[int]]:
    """Role → process ids that said "started", in order."""
    found: dict[str, list[int]] = {}
    for role, pid in re.findall(r'"role":"(\w+)","text":"started","pid":(\d+)', log.read_text()):
        found.setdefault(role, []).append(int(pid))
    return found


def listening(pids: list[int]) -> set[str]:
    """Addresses on which these processes accept connections, as the kernel writes them (hexadecimal)."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            match = re.match(r"socket:\[(\d+)\]", os.readlink(link)) if link.is_symlink() else None
            if match:
                inodes.add(match[1])
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_without_a_port_for_metrics_nothing_listens(environ: dict[str, str], tmp_path: Path) -> None:
    """Faust's own web server and whatever else might open a port stays shut."""
    log = tmp_path / "worker.log"
    with start(environ, log) as worker:
        wait_until(lambda: set(started(log)) == set(ROLES), worker)
        assert listening([pid for pids in started(log).values() for pid in pids]) == set()


def test_every_role_has_its_metrics_on_loopback(environ: dict[str, str], metrics_port: int, tmp_path: Path) -> None:
    """The ports follow each other from the one that is set; each role tells its own lag."""
    log, port = tmp_path / "worker.log", metrics_port
    with start(environ, log, "--metrics-port", str(port)) as worker:
        wait_until(lambda: set(started(log)) == set(ROLES), worker)
        addresses = listening([pid for pids in started(log).values() for pid in pids])
        assert {address.split(":")[0] for address in addresses} == {"0100007F"}
        assert len(addresses) == len(ROLES)
        wait_until(lambda: "ctrlplane_lag_records{" in _metrics(port), worker)


def test_a_role_that_was_killed_is_started_again_and_sigterm_ends_all_in_order(environ: dict[str, str], tmp_path: Path) -> None:
    """The supervisor replaces the dead, and nothing is left when it is told to end."""
    log = tmp_path / "worker.log"
    with start(environ, log) as worker:
        wait_until(lambda: set(started(log)) == set(ROLES), worker)
        os.kill(started(log)["engine"][0], signal.SIGKILL)
        wait_until(lambda: len(started(log)["engine"]) == 2, worker)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(60.0) == 0, worker.log_tail()
        last = {role: pids[-1] for role, pids in started(log).items()}
        assert not [role for role, pid in last.items() if Path(f"/proc/{pid}").exists()]
        assert len(re.findall(r'"text":"stopping"', log.read_text())) == len(ROLES)


def test_roles_end_when_their_supervisor_is_killed(environ: dict[str, str], tmp_path: Path) -> None:
    """No orphan goes on deciding."""
    log = tmp_path / "worker.log"
    with start(environ, log) as worker:
        wait_until(lambda: set(started(log)) == set(ROLES), worker)
        pids = [pid for pids in started(log).values() for pid in pids]
        os.kill(worker.pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while [pid for pid in pids if _lives(pid)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_roles_end_though_the_broker_died_with_their_supervisor(own_kafka: EmbeddedKafka, topic_prefix: str, tmp_path: Path) -> None:
    """Nobody is left to kill them, and nobody to take their leave from: as when whoever ran all of it was killed."""
    settings = Settings(kafka_bootstrap_servers=own_kafka.bootstrap, topic_prefix=topic_prefix, partitions=2)
    asyncio.run(ensure_topics(settings))
    log = tmp_path / "worker.log"
    with start({**os.environ, **settings.variables()}, log) as worker:
        wait_until(lambda: set(started(log)) == set(ROLES), worker)
        pids = [pid for pids in started(log).values() for pid in pids]
        own_kafka.kill()
        os.kill(worker.pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while [pid for pid in pids if _lives(pid)]:
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of somebody who takes connections and never says a word, as a broker does that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told to end", "its supervisor killed"])
def test_a_role_that_waits_for_a_broker_ends_when_it_is_to(silent: str, number: signal.Signals, tmp_path: Path) -> None:
    """It has nothing in hand yet, so it waits for nothing: no orphan hangs on a broker that is gone."""
    log = tmp_path / "worker.log"
    with start({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": silent}, log) as worker:
        wait_until(lambda: len(_children(worker.pid)) == len(ROLES), worker)
        roles = _children(worker.pid)
        os.kill(worker.pid, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while [pid for pid in roles if _lives(pid)]:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    if number == signal.SIGKILL:
        assert log.read_text().count("told to end before it had started") == len(ROLES)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_a_role_without_a_broker_says_so_in_one_line(tmp_path: Path) -> None:
    """Exit status 1 and the remedy, before anything starts."""
    environ = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    worker = start(environ, tmp_path / "worker.log", "--role", "engine")
    assert worker.wait(60.0) == 1
    assert "KAFKA_BOOTSTRAP_SERVERS" in worker.log_tail()


def test_a_worker_without_topics_says_which_and_what_to_run(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str, tmp_path: Path) -> None:
    """Nothing is joined or claimed; a supervisor tries again, so that topics may be applied later."""
    environ = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "CTRLPLANE_TOPIC_PREFIX": topic_prefix}
    worker = start(environ, tmp_path / "worker.log", "--role", "engine")
    assert worker.wait(60.0) == EXIT_FAILED
    assert f"the broker has no topic {topic_prefix}artifacts: run `ctrlplane-stream topics apply`" in worker.log_tail()


def test_a_worker_says_that_it_waits_for_a_broker_and_what_to_see_to(tmp_path: Path) -> None:
    """Each role at each try, which become seldom; it ends in order when it is told to."""
    address = f"127.0.0.1:{free_port()}"
    worker = start({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": address}, tmp_path / "worker.log")
    worker.wait_ready(lambda: worker.log.read_text().count(f"engine waits, since no broker answers at {address}") > 1, 120.0)
    assert "see that it runs, and that address, protocol and credentials are right" in worker.log.read_text()
    worker.stop(60.0)
    assert worker.returncode == 0


def test_a_worker_told_another_number_of_partitions_does_not_start(environ: dict[str, str], tmp_path: Path) -> None:
    """An environment would be looked for on the wrong partition."""
    worker = start({**environ, "CTRLPLANE_PARTITIONS": "3"}, tmp_path / "worker.log", "--role", "engine")
    assert worker.wait(60.0) == EXIT_FAILED
    assert "has 2 partitions and CTRLPLANE_PARTITIONS is 3, which must be the same: set CTRLPLANE_PARTITIONS=2" in worker.log_tail()


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as answer:
        return str(answer.read().decode())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
