"""The spans role under live traffic while workers die, come back, join and leave: every call is counted once, and all can be read again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.model.facts import EdgesObserved, FactRecord
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.roles.spans import span_settings
from ctrlplane_stream.telemetry.engines import default_engine
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.halving import SourceRecord
from ctrlplane_stream.telemetry.in_memory import CallCounts, InMemoryChain, call_counts, feed
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.sample_traces import SampleTraces, request
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.topic_admin import admin_client, ensure_topics

PARTITIONS, WINDOW_SECONDS = 3, 2
ROUNDS, TRACES_A_ROUND = 60, 8
RESTART_AT, JOIN_AT, LEAVE_AT = 12, 24, 44
CALLS = ROUNDS * TRACES_A_ROUND

Parts = dict[tuple[str, int, tuple[int, ...]], WindowPart]


@pytest.fixture
def settings(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> Settings:
    """Topics of this test's own, and short windows."""
    told = Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        topic_prefix=topic_prefix,
        partitions=PARTITIONS,
        window_seconds=WINDOW_SECONDS,
        lateness_seconds=2,
        pairing_seconds=6,
    )
    asyncio.run(ensure_topics(told))
    return told


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


async def send_round(client: AIOKafkaProducer, settings: Settings, traces: SampleTraces, number: int) -> None:
    """One round, callers' and callees' halves on partitions that follow each other, and the time that it stands for."""
    for place, value in enumerate(round_of_traces(traces)):
        await client.send_and_wait(settings.topic("otlp_spans"), value, partition=(number + place) % PARTITIONS)
    await asyncio.sleep(0.25)


async def drive(settings: Settings, workers: Workers) -> None:
    """Send traffic as it happens: the only worker is killed and comes back, two join it, and one of those is killed for good."""
    traces = SampleTraces()
    async with producer(settings) as client:
        for i in range(ROUNDS):
            if i == RESTART_AT:
                workers.kill("one")
                workers.start(settings, "spans", "one")
            if i == JOIN_AT:
                workers.start(settings, "spans", "two")
                workers.start(settings, "spans", "three")
            if i == LEAVE_AT:
                workers.kill("two")
            await send_round(client, settings, traces, i)


async def windows(settings: Settings) -> tuple[Parts, dict[int, int]]:
    """Parts by name, and the last window that each partition closed; a part said twice must say the same."""
    parts: Parts = {}
    closed: dict[int, int] = {}
    async for found in read_to_end(settings, "telemetry-windows"):
        record = msgspec.json.decode(found.value or b"", type=WindowRecord)
        if isinstance(record, Closed):
            closed[record.partition] = max(closed.get(record.partition, 0), record.window)
            continue
        name = record.environment, record.partition, record.name
        assert parts.setdefault(name, record) == record, f"part {name} says two things"
    return parts, closed


async def closed_through(settings: Settings, end: float, workers: Workers) -> Parts:
    """Wait until every partition has closed everything up to ``end``."""
    deadline = time.monotonic() + 120.0
    while True:
        parts, closed = await windows(settings)
        if len(closed) == PARTITIONS and min(closed.values()) > end:
            return {name: part for name, part in parts.items() if part.window <= end}
        workers.check()
        assert time.monotonic() < deadline, f"closed {closed}, wanted {end}\n{workers.tails()}"
        await asyncio.sleep(0.5)


async def halves_again(settings: Settings, end: float) -> Parts:
    """What one reader makes of ``span-halves``, read from the beginning."""
    told = span_settings(settings)
    stages = [PairStage(partition, told, pairing=default_engine().pairing) for partition in range(PARTITIONS)]
    parts: Parts = {}
    async for found in read_to_end(settings, "span-halves"):
        for record in feed(stages[found.partition], found.offset, found.value or b""):
            if isinstance(record, WindowPart) and record.window <= end:
                parts[record.environment, record.partition, record.name] = record
    return parts


async def spans_again(settings: Settings) -> CallCounts:
    """What one reader makes of ``otlp_spans``, read from the beginning with all the time in the world."""
    chain = InMemoryChain(span_settings(settings))
    async for found in read_to_end(settings, "otlp_spans"):
        chain.read([SourceRecord(found.partition, found.offset, found.value, found.timestamp)], found.timestamp)
    for seconds in (0, 60, 120):
        chain.advance(int((time.time() + seconds) * 1000))
    return call_counts(chain.parts)


@pytest.mark.timeout(240)
def test_every_call_is_counted_once_while_workers_die_join_and_leave(settings: Settings, workers: Workers) -> None:
    """Halves of a call come on different partitions, before and after a crash and two rebalances; the sums are as if there had been none.

    And the log can be read again: ``span-halves`` gives the very windows that were published, ``otlp_spans`` the same sums.
    """
    workers.start(settings, "spans", "one")
    asyncio.run(drive(settings, workers))
    end = time.time()
    parts = asyncio.run(closed_through(settings, end, workers))
    edges = [edge for part in parts.values() for edge in part.edges]
    assert call_counts(parts.values()) == {("front", "cart", "call"): (CALLS, 0)}
    assert {(edge.caller_version, edge.callee_version) for edge in edges} == {("1", "#2")}
    assert sum(s.requests for part in parts.values() for s in part.services if s.service == "front") == CALLS
    assert asyncio.run(halves_again(settings, end)) == parts
    assert asyncio.run(spans_again(settings)) == call_counts(parts.values())


@pytest.mark.timeout(240)
def test_a_partition_that_ends_with_a_transaction_is_read_to_its_end(
    kafka: EmbeddedKafka | NamedKafka, settings: Settings, workers: Workers
) -> None:
    """Its last offset is that of a marker, which comes to no reader: no window closed any more, and the worker was taken for stalled."""
    settings = msgspec.structs.replace(settings, stall_seconds=4.0)
    workers.start(settings, "spans", "one")
    end = asyncio.run(one_transaction(settings))
    parts = asyncio.run(closed_through(settings, end, workers))
    assert call_counts(parts.values()) == {("front", "cart", "call"): (TRACES_A_ROUND * 41, 0)}
    workers.check()


async def one_transaction(settings: Settings) -> float:
    """A round on one partition, as whoever writes exactly once does, then ten seconds of plain ones on another; when they ended."""
    traces, topic = SampleTraces(), settings.topic("otlp_spans")
    writer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.topic("mirror"))
    async with writer, writer.transaction():
        for value in round_of_traces(traces):
            await writer.send_and_wait(topic, value, partition=0)
    async with producer(settings) as client:
        for _ in range(40):
            for value in round_of_traces(traces):
                await client.send_and_wait(topic, value, partition=1)
            await asyncio.sleep(0.25)
    return time.time()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("topic", ["otlp_spans", "span-halves"])
def test_a_topic_that_was_made_anew_while_nobody_ran_is_read_from_its_beginning(topic: str, settings: Settings, workers: Workers) -> None:
    """By the offsets of the one before, all that comes until it is as long would be taken for a repetition."""
    workers.start(settings, "spans", "one")
    end = asyncio.run(send_rounds(settings, 20))
    asyncio.run(closed_through(settings, end, workers))
    workers.children.pop("one").stop()
    asyncio.run(make_anew(settings, topic))
    workers.start(settings, "spans", "again")
    again = asyncio.run(send_rounds(settings, 8))
    parts = asyncio.run(closed_through(settings, again, workers))
    assert call_counts(parts.values()) == {("front", "cart", "call"): (TRACES_A_ROUND * 28, 0)}


async def send_rounds(settings: Settings, rounds: int) -> float:
    """Some rounds, spread over the partitions; when they ended."""
    traces = SampleTraces()
    async with producer(settings) as client:
        for i in range(rounds):
            await send_round(client, settings, traces, i)
    return time.time()


async def make_anew(settings: Settings, topic: str) -> None:
    """Delete a topic, and make what is missing."""
    async with admin_client(settings) as client:
        await client.delete_topics([settings.topic(topic)])
        while settings.topic(topic) in await client.list_topics():
            await asyncio.sleep(0.2)
    await ensure_topics(settings)


@pytest.mark.timeout(240)
def test_more_edges_in_a_window_than_a_record_takes_are_all_published_and_told(
    kafka: EmbeddedKafka | NamedKafka, topic_prefix: str, workers: Workers
) -> None:
    """In several records, of windows and of facts: whoever wrote one too large would begin with it anew for ever."""
    settings = Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        topic_prefix=topic_prefix,
        partitions=1,
        window_seconds=2,
        lateness_seconds=2,
        pairing_seconds=4,
    )
    asyncio.run(ensure_topics(settings))
    for role in ("spans", "judge"):
        workers.start(settings, role, role)
    callees = [f"{number:05}-{'cart' * 45}" for number in range(9_000)]
    end = asyncio.run(one_call_to_each(settings, callees))
    values = asyncio.run(records_once(settings, workers, "telemetry-windows", lambda value: b'"closed"' in value and _window(value) > end))
    parts = [part for part in (msgspec.json.decode(value, type=WindowRecord) for value in values) if isinstance(part, WindowPart)]
    calls = Counter({name[1]: calls for name, (calls, _) in call_counts(parts).items() if name[0] == "front"})
    calls.subtract(callees)
    assert [(callee, more) for callee, more in calls.items() if more][:3] == []
    assert max(part.piece for part in parts) > 0
    facts = asyncio.run(records_once(settings, workers, "facts", lambda value: callees[-1].encode() in value))
    seen = [fact.fact for fact in (msgspec.json.decode(value, type=FactRecord) for value in facts) if isinstance(fact.fact, EdgesObserved)]
    assert sorted({row.edge.callee for fact in seen for row in fact.edges} ^ set(callees))[:3] == []
    assert sum(len(value) for value in facts) > 4_194_304 > 2 * max(len(value) for value in facts)


async def one_call_to_each(settings: Settings, callees: list[str]) -> float:
    """One call to each, all at once and then some traffic that lets their window close; when they ended."""
    traces, now_ms = SampleTraces(), time.time() * 1000
    async with producer(settings) as client:
        for at in range(0, len(callees), 500):
            spans = []
            for callee in callees[at : at + 500]:
                call = traces.span("front", Kind.CLIENT, end_ms=now_ms, milliseconds=20)
                spans += [call, traces.span(callee, Kind.SERVER, call, end_ms=now_ms, milliseconds=10)]
            await client.send_and_wait(settings.topic("otlp_spans"), request(spans), partition=0)
    return now_ms / 1000


@pytest.mark.timeout(240)
def test_a_runaway_trace_takes_nobody_down_and_others_are_counted(settings: Settings, workers: Workers) -> None:
    """Its halves all go to one partition, and are more bytes than a record of ``span-halves`` takes."""
    end = asyncio.run(runaway_trace_and_a_call(settings))
    workers.start(settings, "spans", "spans")
    found = asyncio.run(closed_through(settings, end, workers))
    assert call_counts(found.values()) == {("front", "cart", "call"): (TRACES_A_ROUND, 0)}
    written = asyncio.run(records_once(settings, workers, "span-halves", lambda value: len(value) > 1_000_000))
    assert sum(len(value) for value in written) > 12_582_912 > 1.5 * max(len(value) for value in written)


async def runaway_trace_and_a_call(settings: Settings) -> float:
    """240,000 short spans of one trace in one record, whose halves are more than a record takes, then ordinary ones; when those ended."""
    async with producer(settings) as client:
        traces, end_ns = SampleTraces(), time.time_ns()
        step = Span(trace_id=b"runaway trace...", kind=Span.SPAN_KIND_INTERNAL, name="s", end_time_unix_nano=end_ns)
        data = TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans()])])
        for number in range(1, 240_001):
            step.span_id = number.to_bytes(8, "big")
            data.resource_spans[0].scope_spans[0].spans.append(step)
        await client.send_and_wait(settings.topic("otlp_spans"), data.SerializeToString(), partition=0)
        for value in round_of_traces(traces):
            await client.send_and_wait(settings.topic("otlp_spans"), value, partition=0)
    return time.time()


async def records_once(settings: Settings, workers: Workers, topic: str, is_last: Callable[[bytes], bool]) -> list[bytes]:
    """All that a topic holds once it holds such a record."""
    deadline = time.monotonic() + 120.0
    while True:
        values = [found.value or b"" async for found in read_to_end(settings, topic)]
        if any(is_last(value) for value in values):
            return values
        workers.check()
        assert time.monotonic() < deadline, f"{topic} has {len(values)} records\n{workers.tails()}"
        await asyncio.sleep(0.5)


def _window(value: bytes) -> int:
    return msgspec.json.decode(value, type=WindowRecord).window
