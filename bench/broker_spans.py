"""Spans from a real broker: CPU seconds a span of our worker beside the Collector's span_metrics, and of one, two and four workers.

``python -m bench.broker_spans [--quick]``. The same records (zstd, 500 spans, ten attributes) on one topic of eight partitions. CPU time is
that of whole processes, start-up not counted: of the Collector from its Kafka receiver through span_metrics into nothing, of our
spans role from ``otlp_spans`` through ``span-halves`` (written to the broker and read back) to ``telemetry-windows``, and of our judge
role, which folds the windows into the dependency table.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from bench._replay import Recorded, cpu_seconds, traffic
from ctrlplane_stream.local.collector import Collector
from ctrlplane_stream.local.kafka import open_broker
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.local.workers import start_worker
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.kafka_io import KafkaLogReader
from ctrlplane_stream.wire.topic_admin import ensure_topics

PARTITIONS = 8
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


class Site:
    """Topics of one measurement, and the workers on them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.reader = KafkaLogReader(settings)
        self._folder = folder

    @contextmanager
    def worker(self, role: str, instance: str) -> Iterator[ChildProcess]:
        """A worker as users start it."""
        told = msgspec.structs.replace(self.settings, instance=instance)
        with start_worker(told, role, self._folder / f"{role}-{instance}.log") as child:
            yield child

    async def ends(self, topic: str) -> list[int]:
        """How far each partition of a topic goes."""
        return [await self.reader.end(topic, p) for p in range(self.settings.partitions)]

    async def marked(self) -> None:
        """Until every source partition is owned: each writes a watermark into every partition of the halves."""
        while min(await self.ends("span-halves")) < self.settings.partitions:
            await asyncio.sleep(0.2)
        await asyncio.sleep(10.0)  # until the last worker has joined and the group is at rest

    async def feed(self, base: Sequence[Recorded], rounds: int) -> int:
        """The traffic, so many times, each record ending now; returns the spans."""
        client = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers, max_request_size=12_000_000, compression_type="zstd", linger_ms=5
        )
        await client.start()
        try:
            for turn in range(rounds):
                for i, one in enumerate(base):
                    value = one.again(turn * 0x9E3779B97F4A7C15 % (1 << 64), time.time_ns())
                    await client.send(self.settings.topic("otlp_spans"), value, partition=i % self.settings.partitions)
            await client.flush()
        finally:
            await client.stop()
        return rounds * sum(one.spans for one in base)

    async def counted(self, end: float, limit_seconds: float) -> int:
        """Wait until every partition has closed everything up to ``end``; returns the calls of all windows."""
        deadline, place, closed, calls = time.monotonic() + limit_seconds, {}, {}, 0
        while len(closed) < self.settings.partitions or min(closed.values()) <= end:
            assert time.monotonic() < deadline, f"closed {closed} after {limit_seconds} s, wanted {end}"
            await asyncio.sleep(0.5)
            for partition in range(self.settings.partitions):
                async for found in self.reader.read("telemetry-windows", partition, place.get(partition, 0)):
                    place[partition] = found.offset + 1
                    record = msgspec.json.decode(found.value or b"", type=WindowRecord)
                    if isinstance(record, Closed):
                        closed[record.partition] = max(closed.get(record.partition, 0), record.window)
                    elif isinstance(record, WindowPart):
                        calls += sum(edge.calls for edge in record.edges)
        return calls


@asynccontextmanager
async def site(bootstrap: str, name: str, partitions: int = PARTITIONS) -> AsyncIterator[Site]:
    """Topics of their own on the broker."""
    settings = Settings(kafka_bootstrap_servers=bootstrap, topic_prefix=f"bench-{os.getpid()}-{name}-", partitions=partitions)
    await ensure_topics(settings)
    folder = Path(tempfile.mkdtemp(prefix="bench-spans-"))
    made = Site(settings, folder)
    try:
        yield made
    finally:
        await made.reader.close()
        shutil.rmtree(folder, ignore_errors=True)


async def ours(where: Site, base: Sequence[Recorded], rounds: int, workers: int) -> tuple[int, float, float]:
    """(spans, CPU seconds of the spans role in all workers, of the judge role)."""
    with ExitStack() as running:
        spans_role = [running.enter_context(where.worker("spans", f"w{n}")) for n in range(workers)]
        judge = running.enter_context(where.worker("judge", "j"))
        await where.marked()
        before, judged = [cpu_seconds(child.pid) for child in spans_role], cpu_seconds(judge.pid)
        spans = await where.feed(base, rounds)
        calls = await where.counted(time.time(), 300.0)
        after = [cpu_seconds(child.pid) for child in spans_role]
        used = [b - a for a, b in zip(before, after, strict=True)]
        print(f"  {spans:,} spans, {calls:,} calls, CPU of each {', '.join(f'{seconds:.1f}' for seconds in used)} s")
        return spans, sum(used), cpu_seconds(judge.pid) - judged


async def collectors(where: Site, base: Sequence[Recorded], rounds: int, configuration: Path) -> tuple[int, float]:
    """(spans, CPU seconds of a Collector that reads them all), start-up not counted."""
    names = {"KAFKA_BOOTSTRAP_SERVERS": where.settings.kafka_bootstrap_servers, "TOPIC": where.settings.topic("otlp_spans")}
    with Collector(configuration, **names) as collector:
        await asyncio.sleep(3.0)
        before = cpu_seconds(collector.pid)
        spans = await where.feed(base, rounds)
        await _read_to_the_end(where)
        return spans, cpu_seconds(collector.pid) - before


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


async def measure(bootstrap: str, records: int, rounds: int) -> None:
    """Everything, side by side, on one broker."""
    base = traffic(records)
    folder = Path(tempfile.mkdtemp(prefix="bench-collector-"))
    configuration = folder / "collector.yaml"
    configuration.write_text(_COLLECTOR)
    try:
        async with site(bootstrap, "collector") as where:
            spans, cpu = await collectors(where, base, rounds, configuration)
    finally:
        shutil.rmtree(folder)
    theirs = cpu / spans * 1e6
    print(f"Collector, Kafka receiver to span_metrics: {spans:,} spans, {theirs:.2f} us of CPU a span")
    for workers in (1, 2, 4):
        async with site(bootstrap, f"w{workers}") as where:
            spans, cpu, judge = await ours(where, base, rounds, workers)
        each = cpu / spans * 1e6
        text = f"{each:.2f} us of CPU a span ({each / theirs:.2f} times the Collector's), judge role {judge / spans * 1e6:.2f} us"
        print(f"ours, {workers} workers of the spans role on {PARTITIONS} partitions: {text}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the spans")
    arguments = parser.parse_args()
    with open_broker() as broker:
        asyncio.run(measure(broker.bootstrap, 200, 2 if arguments.quick else 10))


if __name__ == "__main__":
    main()
