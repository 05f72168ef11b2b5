"""Spans from a real broker: CPU seconds a span of our worker beside the Collector's span_metrics, and of one, two and four workers.

``python -m bench.broker_spans [--quick]``, two million spans each way, six minutes. The same records (zstd, 500 spans, ten
attributes) on one topic of eight partitions. CPU time is that of whole processes, start-up not counted: of the Collector from its
Kafka receiver through span_metrics into nothing; of our spans role from ``otlp_spans`` through ``span-halves`` (written to the
broker and read back) to ``telemetry-windows``, until the last window was published; and of our judge role, which folds the windows
into the dependency table. ``--accelerators``: one worker with and without Faust's Cython and uvloop.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from bench._replay import KEY, Recorded, cpu_seconds, traffic
from bench._site import PARTITIONS, Site, site
from bench.spans import as_a_worker, engine_run
from ctrlplane_stream.local.collector import Collector
from ctrlplane_stream.local.kafka import open_broker
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.telemetry.engines import default_engine
from ctrlplane_stream.telemetry.settings import SpanSettings

_IDLE_SECONDS = 15.0
_COLLECTOR = """\
receivers:
  otlp: {protocols: {grpc: {endpoint: "${env:OTLP_GRPC_ENDPOINT}"}, http: {endpoint: "${env:OTLP_HTTP_ENDPOINT}"}}}
  kafka:
    brokers: ["${env:KAFKA_BOOTSTRAP_SERVERS}"]
    group_id: bench
    initial_offset: earliest
    max_fetch_size: 12000000
    traces: {topics: ["${env:TOPIC}"], encoding: otlp_proto}
connectors:
  span_metrics: {}
exporters:
  nop: {}
service:
  pipelines:
    traces: {receivers: [otlp, kafka], exporters: [span_metrics]}
    metrics: {receivers: [span_metrics], exporters: [nop]}
"""


class Cost(msgspec.Struct, frozen=True):
    """What a run cost: spans, CPU seconds of all workers of a role from the first span until the last window, and how much of it they
    would have taken in that time without a span."""

    spans: int
    cpu_seconds: float
    idle_seconds: float = 0.0

    @property
    def us(self) -> float:
        """Microseconds of CPU a span, everything included."""
        return self.cpu_seconds / self.spans * 1e6

    def __str__(self) -> str:
        return f"{self.us:.2f} us of CPU a span, {self.idle_seconds / self.spans * 1e6:.2f} of it what idle workers take"


async def ours(where: Site, base: Sequence[Recorded], rounds: int, workers: int, **environ: str) -> tuple[Cost, Cost]:
    """Cost in the spans role, in all workers together; and in the judge role."""
    with ExitStack() as running:
        spans_role = [running.enter_context(where.worker("spans", f"w{n}", **environ)) for n in range(workers)]
        judge = running.enter_context(where.worker("judge", "j", **environ))
        await where.marked()
        at_rest, begun = _cpu(spans_role), time.monotonic()
        await asyncio.sleep(_IDLE_SECONDS)
        before, judged, idle = _cpu(spans_role), _cpu([judge]), (_cpu(spans_role) - at_rest) / (time.monotonic() - begun)
        begun = time.monotonic()
        spans = await where.feed(base, rounds)
        calls = await where.counted(time.time(), 300.0)
        cost = Cost(spans, _cpu(spans_role) - before, idle * (time.monotonic() - begun))
        print(f"  {spans:,} spans, {calls:,} calls, {time.monotonic() - begun:.0f} s, idle {100 * idle:.2f}% of a core")
        return cost, Cost(spans, _cpu([judge]) - judged)


def _cpu(children: Sequence[ChildProcess]) -> float:
    return sum(cpu_seconds(child.pid) for child in children)


def in_process(base: Sequence[Recorded], rounds: int) -> Cost:
    """The same spans without a broker, halves and pairs as ``bench.spans`` runs them; the better of two runs."""
    as_a_worker()
    end_ms = 1_700_000_000_000
    stamps = [end_ms + i * 5 for i in range(len(base) * rounds)]
    values = [base[i % len(base)].again(i // len(base) * KEY % (1 << 64), at * 1_000_000) for i, at in enumerate(stamps)]
    settings = SpanSettings(partitions=PARTITIONS)
    runs = [sum(engine_run(values, stamps, settings, default_engine())[:2]) for _ in range(2)]
    return Cost(rounds * sum(one.spans for one in base), min(runs))


async def collectors(where: Site, base: Sequence[Recorded], rounds: int, configuration: Path) -> Cost:
    """Cost in a Collector that reads them all, start-up not counted."""
    broker, topic = where.settings.kafka_bootstrap_servers, where.settings.topic("otlp_spans")
    with Collector(configuration, KAFKA_BOOTSTRAP_SERVERS=broker, TOPIC=topic) as collector:
        await asyncio.sleep(3.0)
        before = cpu_seconds(collector.pid)
        spans = await where.feed(base, rounds)
        await _read_to_the_end(where)
        return Cost(spans, cpu_seconds(collector.pid) - before)


async def _read_to_the_end(where: Site) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=where.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        wanted = sum(await where.ends("otlp_spans"))
        while True:
            offsets = await admin.list_consumer_group_offsets("bench")
            read = sum(
                found.offset for place, found in offsets.items() if place.topic == where.settings.topic("otlp_spans") and found.offset > 0
            )
            if read >= wanted:
                return
            await asyncio.sleep(0.5)
    finally:
        await admin.close()


async def beside_a_collector(bootstrap: str, base: Sequence[Recorded], rounds: int) -> None:
    """A Collector, the engine in process, and ours with one, two and four workers, one after the other on one broker."""
    folder = Path(tempfile.mkdtemp(prefix="bench-collector-"))
    configuration = folder / "collector.yaml"
    configuration.write_text(_COLLECTOR)
    try:
        async with site(bootstrap, "collector") as where:
            theirs = await collectors(where, base, rounds, configuration)
    finally:
        shutil.rmtree(folder)
    print(f"Collector, Kafka receiver to span_metrics: {theirs.spans:,} spans, {theirs.us:.2f} us of CPU a span", flush=True)
    bare = in_process(base, max(rounds // 5, 1))
    print(f"the engine in process: {bare.spans:,} spans, {bare.us:.2f} us", flush=True)
    for workers in (1, 2, 4):
        async with site(bootstrap, f"w{workers}") as where:
            cost, judge = await ours(where, base, rounds, workers)
        count, ratios = (
            f"{workers} workers of the spans role on {PARTITIONS} partitions",
            f"{cost.us / theirs.us:.2f} times the Collector's, {cost.us / bare.us:.2f} times that in process",
        )
        print(
            f"ours, {count}: {cost} ({ratios}); judge role {judge.us:.2f} us",
            flush=True,
        )


def _plain_uvloop(folder: Path) -> None:
    """A module that is found before the real uvloop and gives Python's own event loop."""
    (folder / "uvloop.py").write_text("from asyncio import new_event_loop\n")


async def accelerators(bootstrap: str, base: Sequence[Recorded], rounds: int) -> None:
    """One worker with Faust's Cython and with uvloop, and without each, side by side."""
    with tempfile.TemporaryDirectory(prefix="bench-plain-") as folder:
        _plain_uvloop(Path(folder))
        plain_loop, plain_python = {"PYTHONPATH": folder}, {"NO_CYTHON": "1"}
        ways = {"both": {}, "without uvloop": plain_loop, "without Cython": plain_python, "without both": plain_loop | plain_python}
        for name, environ in ways.items():
            async with site(bootstrap, name.replace(" ", "-")) as where:
                cost, _ = await ours(where, base, rounds, 1, **environ)
            print(f"{name}: {cost}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the spans")
    parser.add_argument("--accelerators", action="store_true", help="only what Faust's Cython and uvloop are good for")
    arguments = parser.parse_args()
    rounds = 2 if arguments.quick else 20
    work = accelerators if arguments.accelerators else beside_a_collector
    with open_broker() as broker:
        asyncio.run(work(broker.bootstrap, traffic(200), rounds))


if __name__ == "__main__":
    main()
