"""The whole way of a user's spans: shop → SDK → the real Collector as in ``examples/`` → Kafka → worker → dependency graph.

Also what the worker tells Prometheus while that goes on.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ctrlplane_stream.local.collector import Collector
from ctrlplane_stream.local.demo.first_acts import expected_edges
from ctrlplane_stream.local.processes import ChildProcess, accepts, free_port
from ctrlplane_stream.local.shop.images import Behaviour, digest
from ctrlplane_stream.local.shop.orders_topic import create_orders_topic
from ctrlplane_stream.local.shop.topology import ENTRIES, ENVIRONMENT, SERVICES
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.windows import WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import look
from ctrlplane_stream.stream.metrics import Product
from ctrlplane_stream.stream.worker import ROLES
from ctrlplane_stream.wire.kafka_clients import read_to_end

_EXAMPLE = Path(__file__).parents[2] / "examples" / "otel-collector.yaml"
_FORMS = tuple(itertools.product(("otlp_proto", "otlp_json"), ("false", "true")))
_PATIENCE_SECONDS = 90.0

Edges = frozenset[tuple[str, str, str]]


class Running:
    """The shop under load and a worker of all roles, on topics of this test's own; no Collector yet."""

    def __init__(self, settings: Settings, metrics_port: int, folder: Path, stack: ExitStack) -> None:
        self.settings = settings
        self.ports = free_port(), free_port()
        self.metrics_port = metrics_port
        self._folder, self._stack = folder, stack
        self._children: list[ChildProcess] = []
        self.is_open = False
        brisk = {"window_seconds": 1, "lateness_seconds": 1, "pairing_seconds": 6, "metrics_port": metrics_port}
        self._environ = {
            **os.environ,
            **msgspec.structs.replace(settings, **brisk).variables(),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.ports[1]}",
            "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={ENVIRONMENT}",
        }
        self._start("worker", "ctrlplane_stream", "worker")

    def _start(self, name: str, module: str, *arguments: str, **environ: str) -> ChildProcess:
        command = [sys.executable, "-m", module, *arguments]
        log = self._folder / f"{name.replace('/', '-')}.log"
        child = ChildProcess(name, command, log=log, environ={**self._environ, **environ})
        self._stack.callback(child.stop)
        self._children.append(child)
        return child

    def open_shop(self) -> None:
        """Start every service and let users in; where spans go must listen already."""
        self.is_open = True
        ports = {service.name: free_port() for service in SERVICES}
        routes = json.dumps({name: f"http://127.0.0.1:{port}" for name, port in ports.items()})
        for name, port in ports.items():
            told = {"SERVICE": name, "PORT": str(port), "CTRLPLANE_ROUTES": routes, "DIGEST": digest(name, Behaviour.HEALTHY)}
            self._start(name, "ctrlplane_stream.local.shop.service", **told, CTRLPLANE_VERSION="#1")
        self.none_left(lambda: [name for name, port in ports.items() if not accepts(port)], "services that listen")
        flags = [flag for e in ENTRIES for flag in ("--entry", f"{e.service}=10@http://127.0.0.1:{ports[e.service]}")]
        self._start("load", "ctrlplane_stream.local.load", *flags, "--seconds", "600", "--out", str(self._folder / "load.jsonl"))

    def none_left(self, missing: Callable[[], Collection[object]], what: str) -> None:
        """Wait until nothing is missing of what comes about by itself."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := missing():
            said = "\n".join(f"{child.name}: {child.log_tail(3)}" for child in self._children)
            assert time.monotonic() < deadline, f"{what}: {left} missing\n{said}"
            time.sleep(0.3)

    def edges_since(self, began: float) -> Edges:
        """The edges in windows that began after this time."""
        return asyncio.run(self._edges_since(began))

    async def _edges_since(self, began: float) -> Edges:
        found: set[tuple[str, str, str]] = set()
        async for record in read_to_end(self.settings, "telemetry-windows"):
            read = msgspec.json.decode(record.value or b"", type=WindowRecord)
            if isinstance(read, WindowPart) and read.environment == ENVIRONMENT and read.window > began:
                found |= {(e.caller, e.callee, e.kind) for e in read.edges}
        return frozenset(found)

    def graph(self) -> frozenset[EdgeKey]:
        """The edges that the engine knows."""
        state = asyncio.run(look(self.settings, ENVIRONMENT)).state
        return frozenset(edge for service in SERVICES for edge in state.graph.outgoing(service.name))

    def shown(self) -> Edges:
        """The edges that `graph --live` prints."""
        command = [sys.executable, "-m", "ctrlplane_stream", "graph", "--live", ENVIRONMENT, "--json"]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=True)
        return frozenset((e["caller"], e["callee"], e["kind"]) for e in json.loads(done.stdout)["edges"])

    def told(self) -> Counter[tuple[str, str]]:
        """What the roles tell Prometheus, summed over roles and partitions: (family, value of its first label) to number."""
        told: Counter[tuple[str, str]] = Counter()
        for i in range(len(ROLES)):
            _scrape(self.metrics_port + i, told)
        return told


@pytest.fixture
def running(collector_ready: None, topics: Settings, metrics_port: int, tmp_path: Path) -> Iterator[Running]:
    asyncio.run(create_orders_topic(topics))
    with ExitStack() as stack:
        yield Running(topics, metrics_port, tmp_path, stack)


@pytest.mark.timeout(400)
def test_the_graph_is_learned_in_each_encoding_and_partitioning(running: Running) -> None:
    """With each Collector every edge of the shop's table shows in windows of its own time; the engine knows them, and none between
    services that the table lacks. Meanwhile the worker's metrics count what passed."""
    wanted = frozenset((caller, callee, str(kind)) for caller, callee, kind in expected_edges())
    for encoding, by_trace in _FORMS:
        topic = running.settings.topic("otlp_spans")
        variables = {"OTLP_SPANS_TOPIC": topic, "OTLP_SPANS_ENCODING": encoding, "PARTITION_TRACES_BY_ID": by_trace}
        bootstrap = running.settings.kafka_bootstrap_servers
        with Collector(_EXAMPLE, ports=running.ports, KAFKA_BOOTSTRAP_SERVERS=bootstrap, **variables):
            if not running.is_open:
                running.open_shop()
            running.none_left(partial(_unseen, running, wanted, time.time()), f"edges by {encoding}, by trace {by_trace}")
    names = frozenset(service.name for service in SERVICES)
    running.none_left(lambda: wanted - _between(running.graph(), names), "edges in the engine's graph")
    assert not _between(running.graph(), names) - wanted
    assert wanted <= running.shown()
    _expect_metrics(running.told())


def _unseen(running: Running, wanted: Edges, began: float) -> Edges:
    return wanted - running.edges_since(began)


def _between(edges: frozenset[EdgeKey], names: frozenset[str]) -> Edges:
    return frozenset((e.caller, e.callee, str(e.kind)) for e in edges if e.caller in names and e.callee in names)


def _expect_metrics(told: Counter[tuple[str, str]]) -> None:
    made = {what: told["ctrlplane_produced_total", what] for what in Product}
    flowing = (Product.SPANS, Product.PAIRS, Product.WINDOWS, Product.FACTS, Product.DECISIONS)
    assert all(made[what] > 0 for what in flowing), made
    assert made[Product.PAIRS] < made[Product.SPANS], "a pair is two spans"
    assert frozenset(Product) == frozenset(label for family, label in told if family == "ctrlplane_produced_total")
    assert told["ctrlplane_consumed_records_total", "otlp_spans"] > 0
    assert not [label for family, label in told if family == "ctrlplane_dead_letters_total"], "nothing was unreadable"
    for family in ("ctrlplane_lag_records", "ctrlplane_commit_age_seconds"):
        assert (family, "span-halves") in told, family


def _scrape(port: int, told: Counter[tuple[str, str]]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    for sample in (s for family in families for s in family.samples if not s.name.endswith("_created")):
        label = next((value for name, value in sample.labels.items() if name in ("what", "topic", "reason")), "")
        told[sample.name, label] += int(sample.value)
