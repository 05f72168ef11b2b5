"""The engine role on a real broker: facts a second, latency of a lone fact, an abort behind a queue, back to work after a kill.

``python -m bench.engine [--quick] [--json]``. Everything runs on this machine: broker, worker and the measuring process
share its cores, so the figures are lower bounds. All facts are decided by the product's own rules.
"""

import argparse
import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from bench._figures import show
from ctrlplane_stream.local.kafka import open_broker
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.local.workers import start_worker
from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.model.facts import CatalogApplied, EdgeSeen, EdgesObserved, Fact, FactRecord, OverrideVerb, TimePassed, VerdictGiven
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Verdict, VerdictStatus
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import read_decision
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.control import OverrideData, write_control
from ctrlplane_stream.wire.kafka_clients import partition_of, producer
from ctrlplane_stream.wire.topic_admin import ensure_topics

PARTITIONS = 8
Figures = dict[str, float]


def fact(environment: str, i: int) -> Fact:
    """What an engine hears in ordinary operation: mostly edges and verdicts, sometimes only time."""
    if i % 10 < 5:
        edges = tuple(EdgeSeen(EdgeKey(f"s{i % 40}", f"s{(i + j) % 40}", EdgeKind.CALL), i, i, 100 + i, 2.5) for j in (1, 7, 11))
        return EdgesObserved(i * 10, edges)
    if i % 10 < 8:
        verdict = Verdict(
            judge=OUR_JUDGE,
            environment=environment,
            rollout="r-none",
            step=0,
            attempt=0,
            status=VerdictStatus.INCONCLUSIVE,
            reason="too early",
        )
        return VerdictGiven(verdict)
    return TimePassed()


def catalog(environments: int) -> Catalog:
    """Environments with three services each."""
    names = [f"env-{i}" for i in range(environments)]
    everywhere = {name: ServiceOverride() for name in names}
    services = {f"s{i}": ServiceEntry((f"registry.example/s{i}",), everywhere) for i in range(3)}
    return Catalog({name: EnvironmentEntry() for name in names}, services)


class Bench:
    """A broker's topics, a worker, and the means to feed and watch them."""

    def __init__(self, settings: Settings, client: AIOKafkaProducer, folder: Path) -> None:
        self.settings = settings
        self.client = client
        self.reader = KafkaLogReader(settings)
        self._folder = folder

    @contextmanager
    def worker(self, instance: str) -> Iterator[ChildProcess]:
        """An engine worker as users start it."""
        told = msgspec.structs.replace(self.settings, instance=instance)
        with start_worker(told, "engine", self._folder / f"{instance}.log") as child:
            yield child

    async def feed(self, environments: int, each: int, start: int = 0) -> int:
        """Append facts round-robin; returns how many."""
        for i in range(start, start + each):
            for e in range(environments):
                await self.send(f"env-{e}", fact(f"env-{e}", i))
        await self.client.flush()
        return environments * each

    async def send(self, environment: str, what: Fact) -> "asyncio.Future[object]":
        """Append one fact."""
        value = msgspec.json.encode(FactRecord(environment, what))
        place = partition_of(environment, PARTITIONS)
        sent: asyncio.Future[object] = await self.client.send(
            self.settings.topic("facts"), value, key=environment.encode(), partition=place
        )
        return sent

    async def apply_catalog(self, environments: int) -> None:
        """Give every environment its catalog, as facts, and ingest the same by its topic."""
        made = catalog(environments)
        for name in made.environments:
            await self.send(name, CatalogApplied(made.view(name), catalog_hash(made), "bench"))
        value = msgspec.json.encode(CatalogRecord(made, catalog_hash(made), None, "bench"))
        await self.client.send_and_wait(self.settings.topic("catalog"), value, key=b"catalog", partition=0)

    async def ends(self, topic: str) -> int:
        """Records that a topic holds."""
        return sum([await self.reader.end(topic, p) for p in range(PARTITIONS)])

    async def until(self, records: int) -> float:
        """Wait until ``decisions`` holds so many records; returns the time."""
        while await self.ends("decisions") < records:
            await asyncio.sleep(0.02)
        return time.monotonic()


@asynccontextmanager
async def bench_on(bootstrap: str, prefix: str) -> AsyncIterator[Bench]:
    """Topics of their own."""
    settings = Settings(kafka_bootstrap_servers=bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
    await ensure_topics(settings)
    folder = Path(tempfile.mkdtemp(prefix="bench-engine-"))
    try:
        async with producer(settings) as client:
            bench = Bench(settings, client, folder)
            yield bench
            await bench.reader.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def throughput(bench: Bench, facts: int) -> Figures:
    """Facts a second over 100 environments, from a backlog, everything acknowledged; the start of the worker is not counted."""
    await bench.apply_catalog(100)
    with bench.worker("one"):
        await bench.until(PARTITIONS + 100)
        before = await bench.ends("decisions")
        fed = await bench.feed(100, facts // 100)
        begun = time.monotonic()
        ahead = await bench.ends("decisions") - before
        done = await bench.until(before + fed)
    return {"facts": fed, "facts_per_second": (fed - ahead) / (done - begun)}


async def lone_fact(bench: Bench, tries: int) -> Figures:
    """Milliseconds from sending a fact to reading its decision back, with nothing else going on."""
    waits = []
    with bench.worker("one"):
        await asyncio.sleep(8.0)
        partition = partition_of("env-1", PARTITIONS)
        for i in range(tries):
            end = await bench.reader.end("decisions", partition)
            begun = time.monotonic()
            await bench.send("env-1", fact("env-1", i))
            async for _ in _tail(bench, partition, end):
                break
            waits.append((time.monotonic() - begun) * 1000)
            await asyncio.sleep(0.02)
    waits.sort()
    return {"p50_ms": waits[len(waits) // 2], "p99_ms": waits[int(len(waits) * 0.99)], "tries": tries}


async def _tail(bench: Bench, partition: int, start: int) -> AsyncIterator[None]:
    while await bench.reader.end("decisions", partition) <= start:
        await asyncio.sleep(0.001)
    yield


async def abort_behind_queue(bench: Bench, queued: int) -> Figures:
    """Seconds from writing ``control abort`` to its decision, with so many facts queued before it in the same environment."""
    with bench.worker("one") as worker:
        await asyncio.sleep(8.0)
        worker.signal(signal.SIGSTOP)
        for i in range(queued):
            await bench.send("env-1", fact("env-1", i))
        await bench.client.flush()
        worker.signal(signal.SIGCONT)
        partition = partition_of("env-1", PARTITIONS)
        start = await bench.reader.end("decisions", partition)
        value = write_control("abort-1", "bench", OverrideData(OverrideVerb.ABORT, "env-1", "bench", "to measure"))
        await bench.client.send_and_wait(bench.settings.topic("control"), value, partition=0)
        begun = time.monotonic()
        while True:
            async for found in bench.reader.read("decisions", partition, start):
                start = found.offset + 1
                record = read_decision(found.value)
                if isinstance(record, Decided) and b"abort-1" in (found.value or b""):
                    return {"queued": queued, "seconds": time.monotonic() - begun, "lane_ahead": float(record.lane == "ahead")}
            await asyncio.sleep(0.01)


async def back_to_work(bench: Bench, environments: int, each: int) -> Figures:
    """Seconds from SIGKILL to the first decision after it: the same static member restarted, and another worker taking over."""
    await bench.apply_catalog(environments)
    await bench.feed(environments, each)
    total = await bench.ends("facts")
    figures: Figures = {"environments": environments, "facts": total}
    with bench.worker("one") as worker:
        await bench.until(total + PARTITIONS)
        worker.kill()
        figures["same_member_seconds"] = await _first_decision(bench, "one")
    with bench.worker("one") as worker:
        await _first_decision(bench, None)
        worker.kill()
        figures["takeover_seconds"] = await _first_decision(bench, "two")
    return figures


async def _first_decision(bench: Bench, starts: str | None) -> float:
    """From now: start a worker (or trust the one that runs), and wait until a fact sent now is decided on every partition."""
    begun = time.monotonic()
    names = {partition_of(f"env-{i}", PARTITIONS): f"env-{i}" for i in range(1000)}
    ends = {p: await bench.reader.end("facts", p) for p in names}
    for name in names.values():
        await (await bench.send(name, TimePassed()))

    async def all_decided() -> None:
        for partition, end in ends.items():
            while not await _has_decided(bench, partition, end):
                await asyncio.sleep(0.05)

    if starts is None:
        await all_decided()
    else:
        with bench.worker(starts):
            await all_decided()
    return time.monotonic() - begun


async def _has_decided(bench: Bench, partition: int, fact_offset: int) -> bool:
    end = await bench.reader.end("decisions", partition)
    async for found in bench.reader.read("decisions", partition, max(0, end - 100)):
        record = read_decision(found.value)
        if isinstance(record, Decided) and record.fact_offset >= fact_offset:
            return True
    return False


async def measure(bootstrap: str, quick: bool) -> dict[str, Figures]:
    """All figures."""
    figures: dict[str, Figures] = {}
    scale = 10 if quick else 1
    async with bench_on(bootstrap, f"bench-{os.getpid()}-a-") as bench:
        figures["throughput"] = await throughput(bench, 20_000 // scale)
        figures["lone fact"] = await lone_fact(bench, 500 // scale)
        figures["abort behind a queue"] = await abort_behind_queue(bench, 10_000 // scale)
    async with bench_on(bootstrap, f"bench-{os.getpid()}-b-") as bench:
        figures["back to work"] = await back_to_work(bench, 1_000 // scale, 100)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with open_broker() as broker:
        figures = asyncio.run(measure(broker.bootstrap, arguments.quick))
    show(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
