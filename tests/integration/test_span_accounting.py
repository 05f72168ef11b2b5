"""Bad input on ``otlp_spans``: every record is applied, ignored for a reason that is counted, or a dead letter; nothing stops."""

import asyncio
import json
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from ctrlplane_stream.local.processes import free_port
from ctrlplane_stream.local.workers import start_worker
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.telemetry.batches import Batch, decode
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.reading import Reader
from ctrlplane_stream.telemetry.sample_traces import SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.dead_letters import read_letter
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.otlp import Unreadable

RECORDS = 3_000
BIG = 10_000_000
SEED = 20
FAR_FUTURE_MS, LONG_AGO_MS = 4_000_000_000_000.0, 1.0
_TOPIC = "otlp_spans"

Place = tuple[int, int]


class Distorter:
    """Draws records, good ones among them, each way in turn."""

    def __init__(self) -> None:
        self._chance = random.Random(SEED)
        self._traces = SampleTraces()
        self._before: list[bytes] = [self._good()]

    def _good(self, end_ms: float | None = None, milliseconds: float = 20) -> bytes:
        end_ms = time.time() * 1000 if end_ms is None else end_ms
        root = self._traces.span("front", Kind.SERVER, end_ms=end_ms, milliseconds=milliseconds)
        call = self._traces.span("front", Kind.CLIENT, root, end_ms=end_ms, milliseconds=milliseconds)
        return request([root, call, self._traces.span("cart", Kind.SERVER, call, end_ms=end_ms, milliseconds=milliseconds)])

    def _json(self, **span: object) -> bytes:
        whole = {
            "traceId": "0a" * 16,
            "spanId": "0b" * 8,
            "kind": 2,
            "startTimeUnixNano": "1",
            "endTimeUnixNano": "1700000000000000000",
            **span,
        }
        return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [whole]}]}]}).encode()

    def record(self, i: int) -> bytes | None:
        """The i-th record."""
        good = self._good()
        self._before.append(good)
        ways: tuple[Callable[[], bytes | None], ...] = (
            lambda: None,
            lambda: b"",
            lambda: self._chance.randbytes(self._chance.randint(1, 300)),
            lambda: good[: self._chance.randrange(len(good))],
            lambda: good[:-1],
            lambda: good,
            lambda: self._before[-2],
            lambda: self._chance.choice(self._before),
            lambda: self._good(end_ms=FAR_FUTURE_MS),
            lambda: self._good(end_ms=LONG_AGO_MS, milliseconds=0),
            lambda: self._good(end_ms=0, milliseconds=0),
            lambda: good.replace(b"service.name", b"service.nome"),
            lambda: good.replace(b"\n\x10", b"\n\x0f", 1),
            lambda: self._json(),
            lambda: self._json(traceId="no hex"),
            lambda: self._json(spanId="0b"),
            lambda: self._json(endTimeUnixNano=str(1 << 70)),
            lambda: self._json(kind="SPAN_KIND_OF_ANOTHER_VERSION", status={"code": 99}),
            lambda: self._json()[:-5],
            lambda: b'{"resourceMetrics":[]}',
            lambda: b'{"resourceSpans":7}',
            lambda: b"[" * 5_000,
        )
        return ways[i % len(ways)]()

    def big(self) -> list[bytes]:
        """Ten megabytes where a name belongs, each in another place."""
        text = "x" * BIG
        odd = {"db.system.name": "redis", "db.namespace": text}
        return [
            request([self._traces.span(text, Kind.SERVER)]),
            request([self._traces.span("front", Kind.SERVER, version=text)]),
            request([self._traces.span("front", Kind.SERVER, environment=text)]),
            request([self._traces.span("front", Kind.CLIENT, attributes=odd)]),
            request([self._traces.span("front", Kind.CLIENT, attributes={"server.address": text})]),
            request([self._traces.span("front", Kind.SERVER, trace_state=text)]),
            b"\xff" * BIG,
        ]


class Spans:
    """A worker of the spans role, and what it tells Prometheus."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.port = free_port()
        told = msgspec.structs.replace(settings, metrics_port=self.port)
        self.child = start_worker(told, "spans", log)

    def told(self) -> dict[tuple[str, str], int]:
        """(family, value of its first label) → number; counters only."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10.0) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [s for f in families for s in f.samples if s.name.endswith("_total")]
        return {(s.name, next(v for k, v in s.labels.items() if k != "role")): int(s.value) for s in samples}


@pytest.fixture
def worker(topics: Settings, tmp_path: Path) -> Iterator[Spans]:
    """One, that is ended with the test."""
    made = Spans(topics, tmp_path / "spans.log")
    yield made
    made.child.stop()


async def _send(settings: Settings) -> None:
    distorter = Distorter()
    async with producer(settings) as client:
        for i in range(RECORDS):
            await client.send(settings.topic(_TOPIC), distorter.record(i), key=b"k", partition=i % settings.partitions)
        for i, value in enumerate(distorter.big()):
            await client.send_and_wait(settings.topic(_TOPIC), value, key=b"k", partition=i % settings.partitions)
        await client.flush()
    packing = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, compression_type="zstd", max_request_size=3 * BIG)
    async with packing:  # small enough for the topic as it travels, and larger than any record once it is unpacked
        await packing.send_and_wait(settings.topic(_TOPIC), b'{"resourceSpans": [' + b" " * 2 * BIG, key=b"k", partition=0)


async def _held(settings: Settings) -> dict[Place, tuple[bytes | None, int]]:
    return {(r.partition, r.offset): (r.value, r.timestamp) async for r in read_to_end(settings, _TOPIC)}


async def _dead(settings: Settings) -> dict[Place, bytes | None]:
    letters = [read_letter(r.partition, r.offset, r.value, r.headers) async for r in read_to_end(settings, "dead-letters")]
    assert all(letter.reason and letter.topic == _TOPIC for letter in letters), "a dead letter without a reason, or of another topic"
    return {letter.origin: letter.value for letter in letters}


async def _applied(settings: Settings) -> set[Place]:
    """Records of which a half went on."""
    records = [decode(r.value) async for r in read_to_end(settings, "span-halves")]
    return {(batch.source, offset) for batch in records if isinstance(batch, Batch) for offset, _ in batch.runs}


def _consumed(worker: Spans, settings: Settings) -> int:
    try:
        return worker.told().get(("ctrlplane_consumed_records_total", _TOPIC), 0)
    except OSError:
        return 0  # it does not serve yet


def _reasons(settings: Settings, held: dict[Place, tuple[bytes | None, int]]) -> dict[Place, Counter[str]]:
    """Why spans of a readable record gave no half, by the reference: reading is a function of the bytes."""
    reader, found = Reader(SpanSettings(partitions=settings.partitions)), dict[Place, Counter[str]]()
    for place, (value, received_ms) in held.items():
        skipped: Counter[str] = Counter()
        if not isinstance(reader.read(value, received_ms, skipped), Unreadable):  # type: ignore[arg-type]
            found[place] = skipped
    return found


@pytest.mark.timeout(300)
def test_every_span_record_is_applied_ignored_or_a_dead_letter_and_the_counts_add_up(topics: Settings, worker: Spans) -> None:
    """Three thousand records and ten-megabyte names; the three sets of places are apart and together all that the topic holds."""
    asyncio.run(_send(topics))
    held = asyncio.run(_held(topics))
    deadline = time.monotonic() + 120.0
    while (consumed := _consumed(worker, topics)) < len(held):
        assert worker.child.running, worker.child.log_tail()
        assert time.monotonic() < deadline, f"{consumed} of {len(held)} consumed\n{worker.child.log_tail()}"
        time.sleep(0.3)
    dead, applied, reasons = asyncio.run(_dead(topics)), asyncio.run(_applied(topics)), _reasons(topics, held)
    ignored = held.keys() - dead.keys() - applied
    assert not dead.keys() & applied, "both applied and a dead letter"
    assert all(reasons[place] for place in ignored), "ignored without a reason"
    assert len(dead) + len(applied) + len(ignored) == len(held)
    assert min(len(dead), len(applied), len(ignored)) > RECORDS / 30, (len(dead), len(applied), len(ignored))
    assert all(value == held[place][0] for place, value in dead.items()), "a dead letter lost its original bytes"

    told, summed = worker.told(), sum(reasons.values(), Counter[str]())
    assert {label: n for (family, label), n in told.items() if family == "ctrlplane_skipped_spans_total"} == dict(summed)
    assert told["ctrlplane_dead_letters_total", _TOPIC] == len(dead)
    assert told["ctrlplane_consumed_records_total", _TOPIC] == len(held)
