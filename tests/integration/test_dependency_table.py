"""The dependency table on a real broker: it outlives its worker, moves with its partition, and ages by the catalog's word."""

import asyncio
import time
from collections import Counter

import msgspec
import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry
from ctrlplane_stream.model.facts import EdgesFaded, EdgesObserved, Fact, Origin
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.windows import Closed, EdgeWindow, WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.telemetry.edge_records import EdgeRecord
from ctrlplane_stream.telemetry.table_records import Head, Shard
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import partition_of, producer, read_to_end
from ctrlplane_stream.wire.topic_admin import ensure_topics

PARTITIONS, SECONDS, ENVIRONMENT = 3, 2, "prod"
BEGINNING, WINDOWS, FADE_WINDOWS = 1_700_000_000, 40, 5
STEADY, RARE, SILENT = (EdgeKey(*names, EdgeKind.CALL) for names in (("front", "cart"), ("front", "rare"), ("batch", "cart")))


@pytest.fixture
def settings(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> Settings:
    """Topics of this test's own, and a catalog that lets an unused edge live for five windows."""
    told = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=PARTITIONS, window_seconds=SECONDS)
    asyncio.run(ensure_topics(told))
    catalog = Catalog({ENVIRONMENT: EnvironmentEntry(edges_fade_days=FADE_WINDOWS * SECONDS / 86_400)}, {})
    record = CatalogRecord(catalog, catalog_hash(catalog), None, "test")
    asyncio.run(send(told, "catalog", 0, [msgspec.json.encode(record)]))
    return told


async def send(settings: Settings, topic: str, partition: int, values: list[bytes]) -> None:
    async with producer(settings) as client:
        for value in values:
            await client.send_and_wait(settings.topic(topic), value, key=topic.encode(), partition=partition)


def window(number: int) -> list[WindowRecord]:
    """One window as three partitions say it: one has traffic, all close it."""
    at = BEGINNING + number * SECONDS
    used = [STEADY] + [RARE] * (number < 3) + [SILENT] * (number == 0)
    rows = tuple(EdgeWindow(edge.caller, edge.callee, edge.kind, "1", "2", 3, 0, 3.0, 0.0) for edge in used)
    part = WindowPart(ENVIRONMENT, number % PARTITIONS, at, 0, rows)
    return [part, *(Closed(ENVIRONMENT, partition, at) for partition in range(PARTITIONS))]


def publish(settings: Settings, numbers: range) -> None:
    values = [msgspec.json.encode(record) for number in numbers for record in window(number)]
    asyncio.run(send(settings, "telemetry-windows", partition_of(ENVIRONMENT, PARTITIONS), values))


async def table(settings: Settings) -> tuple[Head, dict[EdgeKey, EdgeRecord]]:
    """The table as its topic has it."""
    latest: dict[str, bytes] = {}
    async for found in read_to_end(settings, "dependency-table"):
        latest[(found.key or b"").decode()] = found.value or b""
    head = msgspec.json.decode(latest.pop(f"{ENVIRONMENT}/head", b"{}"), type=Head)
    shards = [msgspec.json.decode(value, type=Shard) for value in latest.values()]
    return head, {record.edge: record for shard in shards for record in shard.edges.values()}


def table_through(settings: Settings, number: int, workers: Workers) -> dict[EdgeKey, EdgeRecord]:
    """Wait until the table includes a window."""
    deadline = time.monotonic() + 90.0
    while True:
        head, edges = asyncio.run(table(settings))
        if head.step is not None and head.step >= BEGINNING + number * SECONDS:
            return edges
        workers.check()
        assert time.monotonic() < deadline, f"the table stands at {head.step}\n{workers.tails()}"


async def facts(settings: Settings) -> dict[Origin, Fact]:
    """What was said of the graph, each fact once: a repetition has the origin of the first."""
    said: dict[Origin, Fact] = {}
    async for found in read_to_end(settings, "facts"):
        record = read_fact(found.value)
        assert not isinstance(record, Unreadable)
        if isinstance(record.fact, EdgesObserved | EdgesFaded):
            assert said.setdefault(record.origin, record.fact) == record.fact
    return said


@pytest.mark.timeout(240)
def test_the_table_is_the_same_though_its_worker_was_killed_and_another_took_over(settings: Settings, workers: Workers) -> None:
    """Sums and sightings are those of every window once; an unused edge fades by the catalog's word, and never by its caller's silence."""
    workers.start(settings, "judge", "one")
    publish(settings, range(15))
    table_through(settings, 1, workers)
    workers.kill("one")
    publish(settings, range(15, 30))
    workers.start(settings, "judge", "two")
    publish(settings, range(30, WINDOWS))
    edges = table_through(settings, WINDOWS - 1, workers)
    assert {edge: record.calls for edge, record in edges.items()} == {STEADY: 3 * WINDOWS, SILENT: 3}
    steady = edges[STEADY]
    assert (steady.first_window, steady.last_window) == (BEGINNING, BEGINNING + (WINDOWS - 1) * SECONDS)
    said = asyncio.run(facts(settings))
    faded = [fact for fact in said.values() if isinstance(fact, EdgesFaded)]
    assert faded == [EdgesFaded(BEGINNING + (2 + FADE_WINDOWS) * SECONDS, (RARE,))]
    appeared = Counter(
        seen.edge for fact in said.values() if isinstance(fact, EdgesObserved) and not fact.digest for seen in fact.edges if seen.calls == 3
    )
    assert appeared == {STEADY: 1, RARE: 1, SILENT: 1}
