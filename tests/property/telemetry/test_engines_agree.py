"""The columnar engine and the reference give the same, record by record, whatever comes."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.telemetry import checkpoint
from ctrlplane_stream.telemetry.batches import Batch, Watch, Watermark, decode, decoded, encode_watermark, halves
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar, default_engine
from ctrlplane_stream.telemetry.half import CALLEES, Half, Kind
from ctrlplane_stream.telemetry.halving import Batches, HalvesRecordOut, SourceRecord
from ctrlplane_stream.telemetry.in_memory import InMemoryChain, call_counts, feed, publish
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.random_traces import random_spans, tidy_spans
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.varints import varint

SETTINGS = SpanSettings(partitions=2, window_ms=10_000, lateness_ms=10_000, pairing_ms=20_000, max_trace_ms=60_000)
SEEDS = st.integers(0, 10**9)
COLUMNAR = columnar(always=True)
PLAIN = columnar(always=True, compiled=False)
"""The columnar engine as it is on a machine without a compiler."""


def placed(batches: Batches) -> dict[int, list[tuple[int, Half]]]:
    """Halves by destination with their source offsets, in their order: pieces of a record that is read again are known by it."""
    found: dict[int, list[tuple[int, Half]]] = {}
    for encoded in batches.encoded:
        batch = decode(encoded.value)
        assert isinstance(batch, Batch)
        offsets = [offset for offset, rows in batch.runs for _ in range(rows)]
        found.setdefault(encoded.partition, []).extend(zip(offsets, halves(batch), strict=True))
    return found


def read(engine: Engine, records: list[SourceRecord]) -> tuple[object, ...]:
    skipped: Counter[Skip] = Counter()
    batches = engine.source(SETTINGS).batches(records, skipped)
    return placed(batches), batches.environments, [bad.offset for bad in batches.unreadable], batches.spans, skipped


def encoded(engine: Engine, records: list[SourceRecord]) -> tuple[HalvesRecordOut, ...]:
    return engine.source(SETTINGS).batches(records, Counter()).encoded


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_both_readers_make_the_same_halves(seed: int) -> None:
    rng = random.Random(seed)
    records = [
        SourceRecord(3, 10 + i, request(random_spans(rng.randrange(10**9))), rng.choice((None, BEGINNING_MS + 20_000)))
        for i in range(rng.randint(1, 4))
    ]
    assert read(COLUMNAR, records) == read(PLAIN, records) == read(REFERENCE, records)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_with_and_without_a_compiler_usual_spans_give_the_same_bytes(seed: int) -> None:
    rng = random.Random(seed)
    records = [SourceRecord(3, 10 + i, request(tidy_spans(rng.randrange(10**9))), BEGINNING_MS) for i in range(rng.randint(1, 4))]
    assert encoded(COLUMNAR, records) == encoded(PLAIN, records)


@settings(max_examples=80, deadline=None)
@given(SEEDS)
def test_both_readers_make_the_same_of_damaged_bytes(seed: int) -> None:
    """Bytes flipped, cut, doubled or put in: the same halves, or the same refusal."""
    rng = random.Random(seed)
    records = []
    for offset in range(rng.randint(1, 3)):
        value = request(random_spans(rng.randrange(10**9), most_spans=6))
        records.append(SourceRecord(0, offset, damaged(rng, value) if rng.random() < 0.8 else value, None))
    assert read(COLUMNAR, records) == read(PLAIN, records) == read(REFERENCE, records)


GROUPS = bytes(field << 3 | wire for field in (1, 2, 6, 9, 13, 15) for wire in (3, 4))
"""Tags that begin and end one."""


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize(
    "damage", [b"\x6b\x7c", b"\x6b\x0a\x00\x7c", b"\x13\x1c", b"\x6b\x6c", b"\x6b", b"\x6c", b"\x90\x80\x80\x80\x80\x01\x01", b"\x6e"]
)
def test_what_ends_with_a_group_or_no_tag_is_read_or_refused_by_all_alike(level: int, damage: bytes) -> None:
    """Whatever it is in (a span, its scope, its resource's spans, a request), and however much comes with it."""
    spans = [SampleTraces(seed).span("shop", Kind.SERVER) for seed in range(1, 601)]
    first = TracesData.FromString(request(spans[:1])).resource_spans[0]
    found = first.scope_spans[0].spans[0].SerializeToString()
    resource = within(1, first.resource.SerializeToString())
    for at, wrap in enumerate((lambda v: within(2, v), lambda v: resource + within(2, v), lambda v: within(1, v), lambda v: v)):
        found = wrap(found + damage * (at == level))
    for beside in (b"", request(spans[1:])):
        engines = REFERENCE, PLAIN, COLUMNAR, default_engine()
        said = [read(engine, [SourceRecord(0, 0, found + beside, None)]) for engine in engines]
        assert said.count(said[0]) == len(engines)


def within(field: int, message: bytes) -> bytes:
    """A message as a field of another."""
    return bytes([field << 3 | 2]) + varint(len(message)) + message


def damaged(rng: random.Random, value: bytes) -> bytes:
    """A few bytes changed, cut out, doubled or put in."""
    found = bytearray(value)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(found) + 1)
        damage = rng.randrange(5)
        if damage == 0 and at < len(found):
            found[at] = rng.randrange(256)
        elif damage == 1:
            del found[at : at + rng.randint(1, 20)]
        elif damage == 2:
            found[at:at] = rng.randbytes(rng.randint(1, 4))
        elif damage == 3:
            found[at : at + 1] = bytes([rng.choice(GROUPS)])
        else:
            found[at:at] = found[at : at + rng.randint(1, 40)]
    return bytes(found)


def changed(rng: random.Random, value: bytes) -> bytes:
    """A few bytes changed to others, so that most often a batch stays one: other ids, kinds, durations, numbers."""
    found = bytearray(value)
    for _ in range(rng.choice((1, 5, 40))):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def batches_of(seed: int) -> list[bytes]:
    """Values of span-halves, as the source without C writes them."""
    rng = random.Random(seed)
    records = [SourceRecord(0, offset, request(tidy_spans(rng.randrange(10**9), traces=3)), BEGINNING_MS + 20_000) for offset in range(2)]
    return [out.value for out in encoded(rng.choice((REFERENCE, PLAIN)), records)]


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_batches_are_read_alike_with_and_without_c_however_damaged(seed: int) -> None:
    rng = random.Random(seed)
    for value in batches_of(seed):
        for each in (value, damaged(rng, value), changed(rng, value)):
            one, other = decode(each), decoded(each)
            if isinstance(one, Batch) and isinstance(other, Batch):
                assert (one.source, one.through, one.runs, one.tables) == (other.source, other.through, other.runs, other.tables)
                assert halves(one) == halves(other)
            else:
                assert one == other


@settings(max_examples=60, deadline=None)
@given(SEEDS)
@example(1746608)  # a server that only fetched, as no reader makes one
def test_batches_with_changed_ids_kinds_and_durations_are_paired_alike(seed: int) -> None:
    rng = random.Random(seed)
    values = []
    for value in batches_of(seed):
        other = changed(rng, value)
        kept, found = decode(value), decode(other)
        assert isinstance(kept, Batch)
        same = isinstance(found, Batch) and found.columns.column("end") == kept.columns.column("end") and found.through == kept.through
        values.append(other if same else value)
    outputs = []
    for engine in (COLUMNAR, REFERENCE):
        chain = InMemoryChain(SETTINGS, engine)
        stage, out = chain.pair_stage(0), []
        for offset, value in enumerate(values):
            out += feed(stage, offset, value)
        for later_ms in range(BEGINNING_MS + 20_000, BEGINNING_MS + 150_000, 10_000):
            for source in range(SETTINGS.partitions):
                out += feed(stage, later_ms + source, encode_watermark(Watermark(source, later_ms, later_ms)))
        outputs.append((out, stage.skipped, stage.held))
    assert outputs[0] == outputs[1]


def around_a_windows_end(rng: random.Random, span: SampleSpan) -> SampleSpan:
    """Callers end just before it, and callees on either side."""
    end_ms = span.end_ms // 10_000 * 10_000 + rng.choice((9_000, 9_900, 9_999, 10_100) if span.kind in CALLEES else (8_999, 9_000, 9_999))
    return msgspec.structs.replace(span, end_ms=end_ms)


CATALOGS: tuple[dict[str, str], ...] = {}, {"stock": "stock"}, {"gateway": "cart", "stock": "bank", "orders": "mailer"}


def live(engine: Engine, seed: int, told: bool = False, **bounds: int) -> InMemoryChain:
    """A chain that received several batches of traces while time passed, some late, some repeated, with candidates watched; ``told`` now
    and then of another catalog."""
    rng = random.Random(seed)
    chain = InMemoryChain(msgspec.structs.replace(SETTINGS, **bounds), engine, catalog={"stock": "stock"})
    chain.watch(Watch("prod", "cart", ("2",)))
    now_ms = BEGINNING_MS
    for _ in range(rng.randint(2, 5)):
        shape = rng.choice((random_spans, tidy_spans))
        spans = shape(rng.randrange(10**9), spread_ms=rng.choice((3_000, 60_000)))
        if rng.random() < 0.3:
            spans = [around_a_windows_end(rng, span) for span in spans]
        size = rng.choice((7, len(spans)))
        for first in range(0, len(spans), size):
            now_ms += rng.choice((0, 0, 2_000, 12_000))
            chain.receive(
                [request(spans[first : first + size]), request(spans[first : first + rng.choice((0, 2))])], now_ms, rng.randint(0, 1)
            )
        if rng.random() < 0.7:
            chain.advance(now_ms)
        if rng.random() < 0.2:
            chain.watch(Watch("prod", rng.choice(("cart", "stock")), rng.choice(((), ("1", "2"), ("2",)))))
        if told and rng.random() < 0.3:
            chain.know(rng.choice(CATALOGS))
    for later_ms in range(now_ms, now_ms + 130_000, 10_000):
        chain.advance(later_ms)
    return chain


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([SETTINGS.max_peers, 4, 1]), st.booleans())
@example(18182, 1, False)
def test_both_engines_emit_the_same_records_for_the_same_reasons(seed: int, max_peers: int, told: bool) -> None:
    other = live(REFERENCE, seed, told, max_peers=max_peers)
    for one in (live(COLUMNAR, seed, told, max_peers=max_peers), live(PLAIN, seed, told, max_peers=max_peers)):
        assert one.output == other.output
        assert one.all_skipped == other.all_skipped
        assert [stage.held for stage in one.pairs] == [stage.held for stage in other.pairs] == [0, 0]


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([3, 8]))
@example(12, 8)  # ids that sort otherwise as bytes than as numbers
@example(18, 3)
def test_all_engines_keep_the_same_halves_of_a_runaway_trace(seed: int, max_trace_halves: int) -> None:
    other = live(REFERENCE, seed, max_trace_halves=max_trace_halves)
    for one in (live(COLUMNAR, seed, max_trace_halves=max_trace_halves), live(PLAIN, seed, max_trace_halves=max_trace_halves)):
        assert one.output == other.output
        assert one.all_skipped == other.all_skipped


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
def test_a_call_is_counted_once_though_who_is_behind_its_address_was_dropped_before_more_of_its_trace_comes(engine: Engine) -> None:
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1, max_peers=1), engine)

    def call(address: str, seconds: float, answered: bool = True) -> list[SampleSpan]:
        end_ms = BEGINNING_MS + seconds * 1_000
        client = traces.span("shop", Kind.CLIENT, end_ms=end_ms, attributes={"server.address": address})
        return [client, traces.span("stock", Kind.SERVER, client, end_ms=end_ms)] if answered else [client]

    (client,) = call("a", 15, answered=False)
    more = traces.span("shop", Kind.INTERNAL, client, end_ms=BEGINNING_MS + 25_000)
    windows = [call("a", 5), [client, *(span for address in "bcde" for span in call(address, 15))], [more]]
    for at, spans in enumerate(windows):
        chain.receive([request(spans)], BEGINNING_MS + at * 10_000 + 7_000)
        chain.advance(BEGINNING_MS + at * 10_000 + 20_000)
    for later in range(50, 140, 10):
        chain.advance(BEGINNING_MS + later * 1_000)
    assert chain.all_skipped[Skip.PEER_FORGOTTEN] == 4
    assert call_counts(chain.parts) == {("shop", "stock", "call"): (6, 0)}


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
@pytest.mark.parametrize("seconds", [5, 9.5], ids=["at once", "awaited"])
@pytest.mark.parametrize(("before", "after"), [({"stock": "stock"}, {}), ({}, {"stock": "stock"}), ({"stock": "bank"}, {"stock": "stock"})])
def test_a_call_is_counted_once_whatever_becomes_known_before_more_of_its_trace_comes(
    engine: Engine, seconds: float, before: dict[str, str], after: dict[str, str]
) -> None:
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1), engine, before)
    client = traces.span("shop", Kind.CLIENT, end_ms=BEGINNING_MS + seconds * 1_000, attributes={"server.address": "stock"})
    chain.receive([request([client])], BEGINNING_MS + 12_000)
    chain.advance(BEGINNING_MS + 30_000)
    chain.know(after)
    chain.receive([request([traces.span("shop", Kind.INTERNAL, client, end_ms=BEGINNING_MS + 21_000)])], BEGINNING_MS + 32_000)
    for later in range(40, 140, 10):
        chain.advance(BEGINNING_MS + later * 1_000)
    (called,) = {*before.values()} or {*after.values()}
    assert call_counts(chain.parts) == {("shop", called, "call"): (1, 0)}


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
def test_a_database_that_answers_in_a_later_window_is_called_and_stays_a_database(engine: Engine) -> None:
    """Two edges, and on neither is the call missing."""
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1), engine)
    attributes = {"db.system": "postgresql", "db.name": "orders"}
    client = traces.span("shop", Kind.CLIENT, end_ms=BEGINNING_MS + 9_900, attributes=attributes)
    server = traces.span("proxy", Kind.SERVER, client, end_ms=BEGINNING_MS + 10_100, error=True)
    chain.receive([request([client, server])], BEGINNING_MS + 12_000)
    for seconds in range(20, 120, 10):
        chain.advance(BEGINNING_MS + seconds * 1_000)
    assert call_counts(chain.parts) == {("shop", "postgresql/orders", "database"): (1, 0), ("shop", "proxy", "call"): (1, 1)}


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
def test_callers_of_two_environments_that_call_into_one_are_one_row(engine: Engine) -> None:
    """A row names the caller without its environment."""
    traces, chain, spans = SampleTraces(), InMemoryChain(SpanSettings(partitions=1), engine), []
    for environment in ("prod", "staging"):
        client = traces.span("shop", Kind.CLIENT, environment=environment)
        spans += [client, traces.span("cart", Kind.SERVER, client)]
    chain.receive([request(spans)], BEGINNING_MS + 12_000)
    chain.advance(BEGINNING_MS + 60_000)
    (rows,) = [part.edges for part in chain.parts if part.edges]
    assert [(row.caller, row.callee, row.calls) for row in rows] == [("shop", "cart", 2)]


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
def test_a_destination_that_was_outside_is_so_no_longer_when_somebody_consumes(engine: Engine) -> None:
    """Also where no producer of what was consumed is known."""
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1), engine)
    attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    for seconds, service, kind in ((1, "shop", Kind.PRODUCER), (101, "mailer", Kind.CONSUMER), (201, "shop", Kind.PRODUCER)):
        span = traces.span(service, kind, end_ms=BEGINNING_MS + seconds * 1_000, attributes=attributes)
        chain.receive([request([span])], BEGINNING_MS + seconds * 1_000)
        chain.advance(BEGINNING_MS + (seconds + 80) * 1_000)
    assert call_counts(chain.parts) == {("shop", "kafka/orders", "external"): (1, 0)}
    assert chain.all_skipped == {Skip.ROOT: 1, Skip.UNCONSUMED: 1}


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
@pytest.mark.parametrize("above", [None, Kind.SERVER, Kind.CLIENT], ids=["root", "asynchronous", "inside-a-client"])
def test_a_client_that_shares_its_servers_id_and_ends_in_a_later_window_is_one_call_with_it(engine: Engine, above: Kind | None) -> None:
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1), engine)
    around = [] if above is None else [traces.span("shop", above, end_ms=BEGINNING_MS + 9_000)]
    client = traces.span("shop", Kind.CLIENT, *around, end_ms=BEGINNING_MS + 11_000, attributes={"server.address": "cart"})
    server = traces.span("cart", Kind.SERVER, *around, end_ms=BEGINNING_MS + 9_000)
    server = msgspec.structs.replace(server, trace=client.trace, span=client.span)
    for span in (*around, server, client):
        chain.receive([request([span])], BEGINNING_MS + 12_000)
    for seconds in range(20, 120, 10):
        chain.advance(BEGINNING_MS + seconds * 1_000)
    assert call_counts(chain.parts) == {("shop", "cart", "call"): (1, 0)}


@pytest.mark.parametrize("engine", [REFERENCE, PLAIN, COLUMNAR], ids=["reference", "plain", "compiled"])
def test_a_span_that_does_not_say_when_it_began_lasts_no_time(engine: Engine) -> None:
    """Not since 1970: one of them would be the 99th percentile of a hundred."""
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1), engine)
    client = traces.span("shop", Kind.CLIENT, milliseconds=BEGINNING_MS, end_ms=BEGINNING_MS)
    chain.receive([request([client, traces.span("cart", Kind.SERVER, client)])], BEGINNING_MS + 12_000)
    chain.advance(BEGINNING_MS + 60_000)
    assert [(row.client.zero, row.server.zero) for part in chain.parts for row in part.edges] == [(1, 0)]


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_a_worker_writes_the_very_bytes_that_the_words_of_the_reference_encode_to(seed: int) -> None:
    chain = live(REFERENCE, seed)
    for partition, log in enumerate(chain.log):
        stage = PairStage(partition, SETTINGS, chain.catalog, None, COLUMNAR.pairing)
        found = [one for offset, value in enumerate(log) for one in publish(stage, offset, value)]
        assert [one.value for one in found] == [msgspec.json.encode(record) for record in chain.output[partition]]
        assert [one.environment for one in found] == [record.environment for record in chain.output[partition]]
        pairs = [sum(edge.gap.count for edge in part.edges) for part in chain.output[partition] if isinstance(part, WindowPart)]
        assert sum(one.pairs for one in found) == sum(pairs)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(0, 10**6))
def test_a_columnar_stage_rebuilt_from_any_checkpoint_goes_on_as_the_old_one(seed: int, cut: int) -> None:
    chain = live(COLUMNAR, seed)
    for partition, log in enumerate(chain.log):
        at = cut % len(log)
        old = chain.pair_stage(partition)
        for offset, value in enumerate(log[: at + 1]):
            feed(old, offset, value)
        new = chain.pair_stage(partition, checkpoint.decode(checkpoint.encode(old.checkpoint())))
        for offset in range(new.restart_offset, at + 1):
            assert feed(new, offset, log[offset]) == []
        for offset in range(at + 1, len(log)):
            assert feed(new, offset, log[offset]) == feed(old, offset, log[offset])
