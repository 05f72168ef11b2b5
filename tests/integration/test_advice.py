"""Beside another tool, all parts real: its rollout is seen in spans alone, judged, and advised on by exit status."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.sample_traces import SampleSpan, SampleTraces, request
from tests.background import Background

CATALOG = """\
environments:
  lab: {actuator: dry-run, policy: beside}
policies:
  beside: {mode: advise}
services:
  cart:
    images: [registry.example/cart]
    environments: {lab: {}}
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROUNDS_A_SECOND, REQUESTS_A_ROUND = 4, 25

pytestmark = pytest.mark.timeout(400)


class OtherTool(Background):
    """Splits requests of ``front`` over versions of ``cart``, of which v2 breaks a third, and sends the spans until it is ended."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.shares: Mapping[str, int] = {"v1": 100}
        self._settings = settings

    async def _go_on(self) -> None:
        traces, topic = SampleTraces(), self._settings.topic("otlp_spans")
        async with AIOKafkaProducer(bootstrap_servers=self._settings.kafka_bootstrap_servers) as producer:
            rounds = 0
            while not self._ended.is_set():
                value = request([s for n in range(REQUESTS_A_ROUND) for s in self._request(traces, rounds * REQUESTS_A_ROUND + n)])
                with suppress(KafkaError):  # users try again; a round that a busy broker did not take is a round less
                    await producer.send_and_wait(topic, value, partition=rounds % self._settings.partitions)
                rounds += 1
                await asyncio.sleep(1 / ROUNDS_A_SECOND)

    def _request(self, traces: SampleTraces, number: int) -> list[SampleSpan]:
        at = number * 37 % 100
        version = next(v for n, v in enumerate(self.shares) if at < sum(list(self.shares.values())[: n + 1]))
        bad, end = version == "v2" and number % 3 == 0, time.time() * 1000
        entry = traces.span("front", Kind.SERVER, environment="lab", end_ms=end, milliseconds=30, error=bad)
        call = traces.span("front", Kind.CLIENT, entry, environment="lab", end_ms=end, milliseconds=20, error=bad)
        return [entry, call, traces.span("cart", Kind.SERVER, call, version=version, environment="lab", end_ms=end, error=bad)]


def test_the_rollout_of_another_tool_is_advised_to_abort(topics: Settings, run: Run, worker: ChildProcess, tmp_path: Path) -> None:
    """From spans alone to exit status 1, with the evidence on `rollout`; what the catalog names is never touched."""
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    assert run("catalog", "apply", str(tmp_path / "catalog.yaml")).returncode == 0
    with OtherTool(topics) as other:
        _until_settled(run, worker)
        assert run("advice", "lab:cart").returncode == 3
        other.shares = {"v1": 80, "v2": 20}
        said = run("advice", "lab:cart", "--wait", "120", "--json")
    assert said.returncode == 1, said.stdout + said.stderr + worker.log_tail(15)
    found = json.loads(said.stdout)
    assert (found["rollout"], found["version"], found["word"]) == ("lab/cart/v2", "v2", "abort")
    explained = json.loads(run("rollout", "lab/cart/v2", "--json").stdout)
    assert {g["guard"]["service"] for g in explained["version_set"]["guards"]} == {"cart", "front", ""}
    assert explained["verdict"]["culprit"]["version"] == "v2"


def _until_settled(run: Run, worker: ChildProcess) -> None:
    """Wait until the engine knows which version serves: the graph of the shop is known then."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        planned = run("plan", "registry.example/cart@sha256:" + "ab" * 32, "--environment", "lab")
        if "only advised on" in planned.stderr and "v1" in planned.stderr:
            return
        time.sleep(1)
    pytest.fail(f"the engine never saw who serves: {planned.stdout}{planned.stderr}{worker.log_tail(15)}")
