"""Laws of the whole chain, from OTLP bytes to windows, on traces of every shape."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctrlplane_stream.model.windows import Closed, EdgeWindow, ExposureWindow, ServiceWindow, WindowPart, WindowRecord
from ctrlplane_stream.telemetry import checkpoint
from ctrlplane_stream.telemetry.batches import Watch
from ctrlplane_stream.telemetry.engines import REFERENCE
from ctrlplane_stream.telemetry.half import CALLEES, Kind
from ctrlplane_stream.telemetry.halving import HalvesStage, SourceRecord
from ctrlplane_stream.telemetry.in_memory import InMemoryChain, feed
from ctrlplane_stream.telemetry.peers import fetch_kind
from ctrlplane_stream.telemetry.random_traces import random_spans
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

SETTINGS = SpanSettings(partitions=2, window_ms=10_000, lateness_ms=10_000, pairing_ms=20_000)
END_MS = BEGINNING_MS + 120_000
SEEDS = st.integers(0, 10**9)


def batches(rng: random.Random, spans: list[SampleSpan]) -> list[bytes]:
    """The spans as requests of random sizes."""
    values = []
    while spans:
        size = rng.randint(1, 12)
        values.append(request(spans[:size]))
        spans = spans[size:]
    return values


def rows(parts: list[WindowPart]) -> list[tuple[object, ...]]:
    """What the parts say, without which part said it: integer sums by environment, window and row name."""
    sums: Counter[tuple[object, ...]] = Counter()
    for part in parts:
        at = (part.environment, part.window)
        for row in (*part.edges, *part.services, *part.exposures):
            for name, count in facets(row):
                sums[(*at, *name)] += count
    return sorted((item for item in sums.items() if item[1]), key=repr)


def facets(row: EdgeWindow | ServiceWindow | ExposureWindow) -> list[tuple[tuple[object, ...], int]]:
    """Every count in a row under its own name, sketches by bucket, estimates in 1/1024."""
    match row:
        case EdgeWindow():
            name: tuple[object, ...] = ("edge", row.caller, row.callee, row.kind, row.caller_version, row.callee_version)
            counts = {"calls": row.calls, "errors": row.errors, "estimated": round(row.estimated_calls * 1024)}
            sketches = {"client": row.client, "server": row.server, "gap": row.gap}
        case ServiceWindow():
            name = ("service", row.service, row.version)
            counts = {"requests": row.requests, "errors": row.errors, "roots": row.roots}
            sketches = {"latency": row.latency}
        case ExposureWindow():
            name = ("exposure", row.entry, row.service, row.version, row.exposure, row.elsewhere)
            counts = {"requests": row.requests, "errors": row.errors}
            sketches = {"latency": row.latency}
    found = [((*name, key), count) for key, count in counts.items()]
    for key, sketch in sketches.items():
        found.append(((*name, key, "zero"), sketch.zero))
        found += [((*name, key, index), count) for index, count in zip(sketch.indices, sketch.counts, strict=True)]
    return found


def watched(chain: InMemoryChain) -> InMemoryChain:
    chain.watch(Watch("prod", "cart", ("2",)))
    return chain


def settle(chain: InMemoryChain) -> None:
    """Let everything become old enough to be settled, window by window."""
    for now_ms in range(END_MS, END_MS + 120_000, 10_000):
        chain.advance(now_ms)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
@example(2162)  # two roots of one id that end together
@example(14735)  # a client that fetched, so that it is a consumer, beside a consumer of the same id that ends together with it
def test_order_and_batching_do_not_matter_where_nothing_is_late(seed: int) -> None:
    """Any order and batching of the same spans, all received before their windows close, gives the same sums and reasons."""
    spans = consistent(random_spans(seed))
    rng = random.Random(seed)
    outcomes = []
    for shuffled in (spans, rng.sample(spans, len(spans))):
        chain = watched(InMemoryChain(SETTINGS, REFERENCE))
        for value in batches(rng, shuffled):
            chain.receive([value], END_MS, source=rng.randint(0, 1))
        settle(chain)
        outcomes.append((rows(chain.parts), chain.all_skipped))
    assert outcomes[0] == outcomes[1]


def consistent(spans: list[SampleSpan]) -> list[SampleSpan]:
    """Without different spans that claim the same id and side: of those the first to come counts, so order would matter."""
    firsts: dict[tuple[bytes, bytes, bool], SampleSpan] = {}
    for span in spans:
        firsts.setdefault((span.trace, span.span, callee(span)), span)
    return [span for span in spans if firsts[span.trace, span.span, callee(span)] == span]


def callee(span: SampleSpan) -> bool:
    """Whether a span is read as a callee: of a client or producer that fetched or settled messages, its attributes say so."""
    fetch = fetch_kind({key: str(value) for key, value in span.attributes}) if span.kind >= Kind.CLIENT else None
    return (span.kind if fetch is None else fetch) in CALLEES


def live(chain: InMemoryChain, seed: int) -> None:
    """Receive spans while time passes, many of them late."""
    rng = random.Random(seed)
    now_ms = BEGINNING_MS
    for value in batches(rng, rng.sample(spans := random_spans(seed, spread_ms=90_000), len(spans))):
        now_ms += rng.choice((0, 1_000, 5_000, 12_000))
        chain.receive([value], now_ms, source=rng.randint(0, 1))
        if rng.random() < 0.6:
            chain.advance(now_ms)
        if rng.random() < 0.1:
            chain.watch(Watch("prod", rng.choice(("cart", "stock")), rng.choice(((), ("1",), ("2",)))))
    settle(chain)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_reading_span_halves_again_gives_the_same_records(seed: int) -> None:
    """Replay from the beginning is byte for byte the same, late halves and all."""
    chain = watched(InMemoryChain(SETTINGS, REFERENCE))
    live(chain, seed)
    for partition, log in enumerate(chain.log):
        stage = chain.pair_stage(partition)
        again = [record for offset, value in enumerate(log) for record in feed(stage, offset, value)]
        assert again == chain.output[partition]


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 10**6))
def test_a_stage_rebuilt_from_any_checkpoint_goes_on_as_the_old_one(seed: int, cut: int) -> None:
    """Restart offset, silence up to the checkpoint, then exactly what would have been said; the next checkpoint agrees."""
    chain = watched(InMemoryChain(SETTINGS, REFERENCE))
    live(chain, seed)
    for partition, log in enumerate(chain.log):
        at = cut % len(log)
        old = chain.pair_stage(partition)
        for offset, value in enumerate(log[: at + 1]):
            feed(old, offset, value)
        saved = checkpoint.decode(checkpoint.encode(old.checkpoint()))
        new = chain.pair_stage(partition, saved)
        for offset in range(new.restart_offset, at + 1):
            assert feed(new, offset, log[offset]) == []
        for offset in range(at + 1, len(log)):
            assert feed(new, offset, log[offset]) == feed(old, offset, log[offset])
        assert new.checkpoint() == old.checkpoint()


Step = tuple[int, int, list[SourceRecord], bool]
"""When, which source partition, what it brought, and whether watermarks follow."""


def steps_of(seed: int, partitions: int) -> list[Step]:
    """Spans coming in from several source partitions while time passes, many of them late."""
    rng = random.Random(seed)
    spans = random_spans(seed, most_spans=60, spread_ms=90_000)
    now_ms, offsets, steps = BEGINNING_MS, Counter[int](), list[Step]()
    for value in batches(rng, rng.sample(spans, len(spans))):
        now_ms += rng.choice((0, 1_000, 5_000, 12_000))
        source = rng.randrange(partitions)
        steps.append((now_ms, source, [SourceRecord(source, offsets[source], value, now_ms)], rng.random() < 0.6))
        offsets[source] += 1
    return [*steps, *((at, 0, [], True) for at in range(END_MS, END_MS + 120_000, 10_000))]


def said(chain: InMemoryChain) -> list[tuple[object, ...]]:
    """The sums of every part once, however often it was published; twice under one name must be twice the same."""
    named: dict[tuple[object, ...], WindowPart] = {}
    for part in chain.parts:
        name = part.environment, part.partition, part.window, part.part
        assert named.setdefault(name, part) == part
    return rows(list(named.values()))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_one_worker_or_three_and_any_rebalance_between_give_the_same(seed: int) -> None:
    """Partitions move with what was last written of them, and what was not acknowledged is read again by the next owner."""
    told = msgspec.structs.replace(SETTINGS, partitions=3)
    one, three = InMemoryChain(told, REFERENCE), InMemoryChain(told, REFERENCE)
    workers = [HalvesStage(told, REFERENCE.source(told)) for _ in range(3)]
    written = [stage.checkpoint() for stage in three.pairs]
    rng = random.Random(seed + 1)
    read: dict[int, list[SourceRecord]] = {source: [] for source in range(3)}
    for now_ms, source, records, marked in steps_of(seed, 3):
        one.read(records, now_ms)
        three.halves = workers[source]
        three.read(records, now_ms)
        read[source] += records
        if marked:
            one.advance(now_ms)
            for each in range(3):
                three.mark(each, now_ms, workers[each])
        if rng.random() < 0.3:
            written[source] = three.pairs[source].checkpoint()
        if rng.random() < 0.2:
            moved = rng.randrange(3)
            three.take_over(moved, written[moved])
            workers[moved] = HalvesStage(told, REFERENCE.source(told))
            three.halves = workers[moved]
            three.read(read[moved][rng.randint(0, len(read[moved])) :], now_ms)
    assert said(three) == said(one)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(6, 24))
@example(0, 6)
def test_a_restart_counts_every_call_once_though_more_addresses_are_called_than_are_remembered(seed: int, most: int) -> None:
    """In turn, so that each would be forgotten just before it is called again; some answer, now and then. There are no more than are
    remembered, known and forgotten."""
    told = msgspec.structs.replace(SETTINGS, partitions=1, max_peers=most)
    stays, moves = InMemoryChain(told, REFERENCE), InMemoryChain(told, REFERENCE)
    rng, traces, written = random.Random(seed), SampleTraces(), moves.pairs[0].checkpoint()
    addresses, called = rng.randint(most // 2, 2 * most), 0
    for second in range(0, 240, 2):
        now_ms, spans = BEGINNING_MS + second * 1_000, list[SampleSpan]()
        for at in range(called, called + rng.randint(0, most) if second < 150 else called):
            number, called = at % addresses, at + 1
            host = {"server.address": f"host-{'xyz'[number % 3]}{number}"}
            spans.append(traces.span("shop", Kind.CLIENT, end_ms=now_ms - 100, error=True, attributes=host))
            if number % 3 == 0 and rng.random() < 0.5:
                spans.append(traces.span("cart", Kind.SERVER, spans[-1], end_ms=now_ms - 100))
        for chain in (stays, moves):
            chain.receive([request(spans)], now_ms)
            chain.advance(now_ms)
        if rng.random() < 0.1:
            written = moves.pairs[0].checkpoint()
        if rng.random() < 0.1:
            moves.take_over(0, written)
    assert said(moves) == said(stays)
    assert sum(edge.calls for part in stays.parts for edge in part.edges if edge.caller == "shop") == called


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_redelivered_records_change_nothing(seed: int) -> None:
    """A source read again from any earlier offset, batched otherwise, adds nothing to any window."""
    rng = random.Random(seed)
    values = batches(rng, random_spans(seed))
    once, twice = InMemoryChain(SETTINGS, REFERENCE), InMemoryChain(SETTINGS, REFERENCE)
    records = [SourceRecord(0, offset, value, END_MS) for offset, value in enumerate(values)]
    once.read(records, END_MS)
    cut = rng.randint(0, len(records))
    for step in (records[:cut], records[rng.randint(0, cut) :]):
        if step:
            twice.read(step, END_MS)
    settle(once)
    settle(twice)
    assert rows(once.parts) == rows(twice.parts)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_every_span_is_an_edge_or_has_a_reason(seed: int) -> None:
    """Nothing is dropped in silence: callees and callers that made no call are all counted under a reason."""
    spans = list(dict.fromkeys(random_spans(seed)))
    chain = InMemoryChain(SETTINGS, REFERENCE)
    chain.receive([request(spans)], END_MS)
    settle(chain)
    client_sides = sum(edge.client.count for part in chain.parts for edge in part.edges)
    server_sides = sum(edge.server.count for part in chain.parts for edge in part.edges)
    assert chain.spans == len(spans) <= client_sides + server_sides + sum(chain.all_skipped.values())


def test_every_window_is_closed_once_in_order_for_every_environment() -> None:
    """Closed comes for empty windows too, so that no traffic and a late partition differ."""
    chain = InMemoryChain(SETTINGS, REFERENCE)
    chain.receive([request(random_spans(3))], BEGINNING_MS + 1_000)
    for now_ms in range(BEGINNING_MS + 30_000, BEGINNING_MS + 130_000, 1_000):
        chain.advance(now_ms)
    for output in chain.output:
        closed = [record for record in output if isinstance(record, Closed) and record.environment == "prod"]
        windows = [record.window for record in closed]
        assert windows == list(range(windows[0], windows[0] + 10 * len(windows), 10))
        assert closed[-1].idle


@pytest.mark.parametrize("silent", [0, 1])
def test_nothing_closes_while_a_source_partition_is_silent(silent: int) -> None:
    """A partition whose watermark is missing holds the windows open: late is not empty."""
    chain = InMemoryChain(SETTINGS, REFERENCE)
    chain.receive([request(random_spans(5))], BEGINNING_MS)
    for now_ms in range(BEGINNING_MS, END_MS, 5_000):
        value = chain.halves.watermark(1 - silent, now_ms, whole_ms=now_ms)
        assert value is not None
        chain.log[0].append(value)
        records: list[WindowRecord] = feed(chain.pairs[0], len(chain.log[0]) - 1, value)
        assert records == []
