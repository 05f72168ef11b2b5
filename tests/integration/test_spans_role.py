"""The spans role killed in the middle of live traffic: every call is counted once, and no window says two things."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.sample_traces import SampleTraces, request
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.topic_admin import ensure_topics

PARTITIONS, WINDOW_SECONDS = 3, 2
ROUNDS, TRACES_A_ROUND, KILL_AFTER = 60, 8, (20, 40)
CALLS = ROUNDS * TRACES_A_ROUND


@pytest.fixture
def settings(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> Settings:
    """Topics of this test's own, and short windows."""
    told = Settings(
        kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=PARTITIONS, window_seconds=WINDOW_SECONDS
    )
    asyncio.run(ensure_topics(told))
    return told


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator["Restarted"]:
    """A worker of the spans role that can be killed."""
    worker = Restarted(settings, tmp_path / "spans.log")
    yield worker
    worker.child.stop()


class Restarted:
    """The spans role, a static member, as a supervisor would keep it."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        self._environ = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "CTRLPLANE_TOPIC_PREFIX": settings.topic_prefix,
            "CTRLPLANE_PARTITIONS": str(PARTITIONS),
            "CTRLPLANE_WINDOW_SECONDS": str(WINDOW_SECONDS),
            "CTRLPLANE_LATENESS_SECONDS": "2",
            "CTRLPLANE_PAIRING_SECONDS": "6",
            "CTRLPLANE_INSTANCE": "one",
        }
        self.child = self._start()

    def _start(self) -> ChildProcess:
        command = [sys.executable, "-m", "ctrlplane_stream", "worker", "--role", "spans"]
        return ChildProcess("spans", command, log=self._log, environ=self._environ)

    def kill(self) -> None:
        """SIGKILL, and at once another."""
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.kill()
        self.child = self._start()


def round_of_traces(traces: SampleTraces) -> tuple[bytes, bytes]:
    """Callers' halves in one record and callees' in another, as two collectors would send them."""
    now_ms = time.time() * 1000
    callers, callees = [], []
    for _ in range(TRACES_A_ROUND):
        root = traces.span("front", Kind.SERVER, end_ms=now_ms, milliseconds=30)
        call = traces.span("front", Kind.CLIENT, root, end_ms=now_ms - 2, milliseconds=20)
        callers += [root, call]
        callees.append(traces.span("cart", Kind.SERVER, call, version="#2", end_ms=now_ms - 4, milliseconds=10))
    return request(callers), request(callees)


async def drive(settings: Settings, worker: Restarted) -> None:
    """Send traffic as it happens, and kill the worker in the middle of it."""
    traces = SampleTraces()
    async with producer(settings) as client:
        for i in range(ROUNDS):
            for place, value in enumerate(round_of_traces(traces)):
                await client.send_and_wait(settings.topic("otlp_spans"), value, partition=(i + place) % PARTITIONS)
            if i in KILL_AFTER:
                worker.kill()
            await asyncio.sleep(0.25)


async def windows(settings: Settings) -> tuple[dict[tuple[str, int, int, int], WindowPart], dict[int, int]]:
    """Parts by name, and the last window that each partition closed; a part said twice must say the same."""
    parts: dict[tuple[str, int, int, int], WindowPart] = {}
    closed: dict[int, int] = {}
    async for found in read_to_end(settings, "telemetry-windows"):
        record = msgspec.json.decode(found.value or b"", type=WindowRecord)
        if isinstance(record, Closed):
            closed[record.partition] = max(closed.get(record.partition, 0), record.window)
            continue
        name = record.environment, record.partition, record.window, record.part
        assert parts.setdefault(name, record) == record, f"part {name} says two things"
    return parts, closed


async def closed_through(settings: Settings, end: float, worker: Restarted) -> dict[tuple[str, int, int, int], WindowPart]:
    """Wait until every partition has closed everything up to ``end``."""
    deadline = time.monotonic() + 120.0
    while True:
        parts, closed = await windows(settings)
        if len(closed) == PARTITIONS and min(closed.values()) > end:
            return parts
        assert worker.child.running, worker.child.log_tail()
        assert time.monotonic() < deadline, f"closed {closed}, wanted {end}\n{worker.child.log_tail()}"
        await asyncio.sleep(0.5)


@pytest.mark.timeout(240)
def test_every_call_is_counted_once_though_the_worker_was_killed_twice(settings: Settings, worker: Restarted) -> None:
    """Halves of a call come on different partitions, before and after a crash; the sums are as if there had been none."""
    asyncio.run(drive(settings, worker))
    parts = asyncio.run(closed_through(settings, time.time(), worker))
    edges = [edge for part in parts.values() for edge in part.edges if (edge.caller, edge.callee) == ("front", "cart")]
    assert sum(edge.calls for edge in edges) == CALLS
    assert {edge.callee_version for edge in edges} == {"#2"}
    assert sum(s.requests for part in parts.values() for s in part.services if s.service == "front") == CALLS
