"""What is done in C gives what its twins in Python give, also at the edges that random traffic seldom meets."""

import random
from ctypes import CDLL, addressof, c_int64, c_uint64, c_void_p

import polars as pl
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ctrlplane_stream.model.sketch import Sketch
from ctrlplane_stream.telemetry.columnar_folding import Grouping
from ctrlplane_stream.telemetry.columnar_pairing import ColumnarPairing
from ctrlplane_stream.telemetry.describing import Describer, shortened
from ctrlplane_stream.telemetry.durations import FIRST_DURATIONS, LONGEST_US, ZERO, Counts, bucket, sketch_of
from ctrlplane_stream.telemetry.engines import Engine, columnar
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain
from ctrlplane_stream.telemetry.native import SpanReader, library
from ctrlplane_stream.telemetry.native.pairing import counted, prepared
from ctrlplane_stream.telemetry.native_pairing import NativePairing
from ctrlplane_stream.telemetry.peers import KEYS, URLS, peer_of
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

_FOUND = library()
compiled = pytest.mark.skipif(_FOUND is None, reason="no compiled library: python scripts/compile_native.py says why")


def _edges() -> list[int]:
    near = [at + by for bound in FIRST_DURATIONS for at, by in ((bound, -1), (bound, 0), (bound, 1))]
    return [value for value in (*near, -5, 0, 1, 2, LONGEST_US) if value <= LONGEST_US]


def test_every_duration_falls_into_the_bucket_that_the_sketch_gives_it_in_columns() -> None:
    durations = _edges()
    counts = [Counts() for _ in durations]
    Grouping().sketch(pl.Series(range(len(durations)), dtype=pl.UInt32), pl.Series(durations, dtype=pl.Int64), counts.__getitem__)
    assert [list(each) for each in counts] == [[bucket(duration)] for duration in durations]
    assert ZERO in counts[durations.index(0)]


def _sketches(found: CDLL, durations: list[list[int]]) -> list[Sketch]:
    """What C makes of some durations each."""
    found.slot_of.argtypes = c_void_p, c_uint64, c_uint64
    found.observe.argtypes = c_void_p, c_int64, c_int64, c_int64
    found.lay_out.argtypes = (c_void_p,)
    counts = prepared(1)
    for number, each in enumerate(durations):
        slot = found.slot_of(addressof(counts), number, 0)
        for duration in each:
            assert found.observe(addressof(counts), slot, 0, duration) == 0
    assert found.lay_out(addressof(counts)) == 0
    sketches = [row.sketches[0] for row in counted(counts)]
    found.free_counts(addressof(counts))
    return sketches


def _counted(durations: list[int]) -> Sketch:
    counts = Counts()
    for duration in durations:
        counts[bucket(duration)] = counts.get(bucket(duration), 0) + 1
    return sketch_of(counts)


@compiled
def test_every_duration_falls_into_the_bucket_that_the_sketch_gives_it_in_c() -> None:
    assert _FOUND is not None
    durations = [[duration] for duration in _edges()]
    assert _sketches(_FOUND, durations) == [_counted(each) for each in durations]


@compiled
def test_sketches_of_few_and_of_many_durations_are_those_of_the_reference() -> None:
    """Around the number at which a sketch of C begins to count by bucket; near each other and from one end of time to the other."""
    assert _FOUND is not None
    chance = random.Random(5)
    near = [[int(chance.lognormvariate(9, 1)) for _ in range(many)] for many in range(40)]
    far = [
        [chance.choice((-1, 0, 1, LONGEST_US, chance.randrange(1 << chance.randrange(1, 53)))) for _ in range(many)] for many in range(40)
    ]
    assert _sketches(_FOUND, near + far) == [_counted(each) for each in near + far]


@pytest.mark.parametrize("engine", [columnar(always=True), columnar(always=True, compiled=False)], ids=["C", "polars"])
def test_addresses_that_no_half_in_memory_has_are_forgotten(engine: Engine) -> None:
    """Clients that speak to ever new addresses: what stands for them is given up with their traces."""
    settings = SpanSettings(partitions=1, window_ms=1_000, lateness_ms=1_000, pairing_ms=2_000)
    chain, traces, now_ms = InMemoryChain(settings, engine), SampleTraces(), BEGINNING_MS
    for turn in range(40):
        attributes = [{"server.address": f"host{turn}-{i}.example"} for i in range(5)]
        chain.receive([request([traces.span("shop", Kind.CLIENT, end_ms=now_ms, attributes=each) for each in attributes])], now_ms)
        now_ms += 1_000
        chain.advance(now_ms)
    pairing = chain.pairs[0]._pairing
    assert isinstance(pairing, ColumnarPairing | NativePairing)
    assert pairing._tables.size < 80


_SPOKEN_TO = {
    "databases": [{"db.system.name": "postgresql", "db.namespace": name} for name in ("carts", "ledger", "orders", "stock")],
    "services of ours": [{"server.address": name} for name in ("carts", "ledger", "orders", "stock")],
}


@pytest.mark.parametrize("engine", [columnar(always=True), columnar(always=True, compiled=False)], ids=["C", "polars"])
@pytest.mark.parametrize("spoken_to", _SPOKEN_TO.values(), ids=_SPOKEN_TO)
def test_callers_that_nobody_answered_count_under_whom_they_spoke_to(spoken_to: list[dict[str, str]], engine: Engine) -> None:
    """Each another number of times, and for another duration: none may count under a neighbour's name."""
    settings = SpanSettings(partitions=1, window_ms=1_000, lateness_ms=1_000, pairing_ms=2_000)
    names = ("carts", "ledger", "orders", "stock")
    chain, traces = InMemoryChain(settings, engine, catalog={name: name for name in names}), SampleTraces()
    spans = [
        traces.span("shop", Kind.CLIENT, end_ms=BEGINNING_MS, milliseconds=10**times, attributes=attributes)
        for times, attributes in enumerate(spoken_to, start=1)
        for _ in range(times)
    ]
    chain.receive([request(spans)], BEGINNING_MS)
    for later in range(1, 8):
        chain.advance(BEGINNING_MS + later * 1_000)
    edges = [edge for part in chain.parts for edge in part.edges]
    assert [(edge.callee.removeprefix("postgresql/"), edge.calls, edge.client) for edge in edges] == [
        (name, times, _counted([10**times * 1_000] * times)) for times, name in enumerate(names, start=1)
    ]


_HOSTS = ("", "cart", "cart:80", "[::1]:80", "me:secret@cart", "a@b@cart", "c" * 250)
_PLAIN_URLS = [
    f"{scheme}//{host}{rest}" for scheme in ("http:", "https:", "") for host in _HOSTS for rest in ("", "/1", "?2@3", "#4", "/@?#")
]
_ODD_URLS = [
    "",
    "/",
    "/1",
    "cart",
    "http",
    "http:",
    "http:/",
    "https",
    "https:/5",
    "httpx://cart/6",
    "HTTP://cart/7",
    "dns:///cart",
    "//é",
    "http://cart/é",
]


@compiled
@pytest.mark.parametrize("url", [*_PLAIN_URLS, *_ODD_URLS])
def test_of_a_url_the_host_is_read_as_python_does(url: str) -> None:
    assert _FOUND is not None
    span = SampleTraces().span("shop", Kind.CLIENT, attributes={"http.url": url})
    read = SpanReader(_FOUND, sorted(KEYS), frozenset(URLS)).read([request([span])], [LONGEST_US])
    assert read is not None
    (combination,) = read.combinations
    raw = KeyValue(key="http.url", value=AnyValue(string_value=url)).SerializeToString()
    assert Describer().describe(combination) == Describer().describe(shortened(raw)) == Describer().describe((raw,))
    assert Describer().describe((raw,)).peer == peer_of({"http.url": url[:200]} if url else {})


@compiled
def test_ids_in_urls_do_not_have_each_span_understood_by_itself() -> None:
    """Understanding takes some 30 µs in Python, a hundred times what the span takes."""
    assert _FOUND is not None
    traces = SampleTraces()
    spans = [traces.span("shop", Kind.CLIENT, attributes={"http.url": f"http://cart:80/{number}?{number}"}) for number in range(100)]
    read = SpanReader(_FOUND, sorted(KEYS), frozenset(URLS)).read([request(spans)], [LONGEST_US])
    assert read is not None
    assert (read.rows, read.combinations) == (100, [(b"http.url", b"cart:80")])
