"""Each trace stands for one version of a service, by a draw that knows nothing of versions; all engines count as the rules say plainly."""

import random
from collections import Counter
from math import sqrt

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.telemetry.batches import Watch
from ctrlplane_stream.telemetry.drawing import lot
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.exposures import DRAWN, ELSEWHERE, POSSIBLE, UNEXPOSED, Found
from ctrlplane_stream.telemetry.half import CALLEES, Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

SETTINGS = SpanSettings(partitions=1)
ENGINES = {"reference": REFERENCE, "plain": columnar(always=True, compiled=False), "compiled": columnar(always=True)}
TO_CART = {"peer.service": "cart"}
VERSIONS = ("1", "2", "3")


def counted(engine: Engine, spans: list[SampleSpan], versions: tuple[str, ...] = VERSIONS) -> Counter[tuple[str, Found]]:
    """By version and exposure how many traces, received in pieces of some spans each."""
    chain = InMemoryChain(SETTINGS, engine, catalog={"cart": "cart"})
    for service in ("cart", "stock"):
        chain.watch(Watch("prod", service, versions))
    chain.receive([request(spans[first : first + 50]) for first in range(0, len(spans), 50)], BEGINNING_MS + 12_000)
    for seconds in (20, 40, 90):
        chain.advance(BEGINNING_MS + seconds * 1_000)
    rows = [row for part in chain.parts for row in part.exposures if row.service == "cart"]
    found = Counter[tuple[str, Found]]()
    for row in rows:
        found[row.version, Found(row.exposure, row.elsewhere)] += row.requests
    return found


def service_of(span: SampleSpan) -> str:
    return dict(span.resource)["service.name"]


def version_of(span: SampleSpan) -> str:
    return dict(span.resource)["ctrlplane.version"]


def trace_of(rng: random.Random, make: SampleTraces) -> list[SampleSpan]:
    """A request to shop that calls cart some times, each time another version; some calls fail and are lost, some lose their server."""
    root = make.span("shop", Kind.SERVER)
    spans = [root]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 10))):
        version, lost = rng.choice(VERSIONS), rng.random() < 0.15
        client = make.span("shop", Kind.CLIENT, root, attributes=TO_CART, error=lost or rng.random() < 0.1)
        server = make.span("cart", Kind.SERVER, client, version=version)
        spans += [client, *[server] * (not lost)]
        if rng.random() < 0.1:
            spans.append(make.span("cart", rng.choice((Kind.INTERNAL, Kind.CLIENT)), server, version=version))
        if not lost and rng.random() < 0.1:
            again = make.span("cart", Kind.CLIENT, server, version=version, attributes=TO_CART)
            spans += [again, make.span("cart", Kind.SERVER, again, version=rng.choice(VERSIONS))]
        if not lost and rng.random() < 0.1:
            spans.append(make.span("cart", Kind.SERVER, server, version=version))
    random_ids = {span.span: rng.randbytes(8) for span in spans} | {bytes(8): bytes(8)}
    above = {span.parent: random_ids.get(span.parent, span.parent) for span in spans}
    return [msgspec.structs.replace(span, span=random_ids[span.span], parent=above[span.parent]) for span in spans]


def said_plainly(spans: list[SampleSpan]) -> dict[str, Found]:
    """What docs/spans.md says of one trace."""
    own = [span for span in spans if service_of(span) == "cart"]
    ids, answered = {span.span for span in own}, {span.parent for span in own}
    calls = [span for span in own if span.kind in CALLEES and span.parent not in ids]
    lost = [span for span in spans if span.kind is Kind.CLIENT and service_of(span) == "shop" and span.error and span.span not in answered]
    hat = [(lot(span.trace, span.span), version_of(span)) for span in calls or own]
    hat += [(lot(span.trace, span.span), "nobody's") for span in lost if calls]
    drawn, touched = min(hat)[1] if hat else "nobody's", {version_of(span) for span in own}
    other = POSSIBLE if lost else UNEXPOSED
    return {v: DRAWN if v == drawn else ELSEWHERE if v in touched else other for v in VERSIONS}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_every_engine_counts_each_trace_as_the_rules_say(seed: int) -> None:
    rng, make = random.Random(seed), SampleTraces(seed % 1_000 + 1)
    traces = [trace_of(rng, make) for _ in range(40)]
    expected = Counter(item for spans in traces for item in said_plainly(spans).items())
    spans = [span for spans in traces for span in spans]
    for engine in ENGINES.values():
        assert counted(engine, spans) == expected
        assert counted(engine, rng.sample(spans, len(spans))) == expected


@pytest.mark.parametrize("ids", ["counted", "counted by each version for itself", "random"])
@pytest.mark.parametrize("calls", [1, 3, 10])
def test_a_version_is_drawn_as_often_as_its_weight_however_often_a_request_calls(calls: int, ids: str) -> None:
    """And every call of a request as often as any other, whatever an SDK makes of its ids."""
    rng, weight, traces = random.Random(calls), 0.05, 20_000
    exposed, at, counters = 0, Counter[int](), Counter({False: 1, True: 1 << 63})
    for _ in range(traces):
        trace, ours, spans = rng.randbytes(16), [rng.random() < weight for _ in range(calls)], []
        for number, version in enumerate(ours):
            counters[version] += 1
            spans.append({"counted": number + 1, "random": rng.getrandbits(64)}.get(ids, counters[version]).to_bytes(8, "big"))
        drawn = min(range(calls), key=lambda number: lot(trace, spans[number]))
        exposed += ours[drawn]
        at[drawn] += 1
    assert abs(exposed - traces * weight) < 4 * sqrt(traces * weight)
    assert max(at.values()) - min(at[number] for number in range(calls)) < 8 * sqrt(traces / calls)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_failures_that_are_tried_again_are_a_versions_by_its_weight(engine: Engine) -> None:
    """A tenth of the requests fail whoever serves them, and are tried three times: by what they touched a version with a twentieth of the
    calls had three times as many of them as there are."""
    rng, make, spans, weight, requests = random.Random(1), SampleTraces(), [], 0.05, 3_000
    failing = 0
    for _ in range(requests):
        ill = rng.random() < 0.1
        root = make.span("shop", Kind.SERVER, error=ill)
        spans.append(root)
        for _ in range(3 if ill else 1):
            client = make.span("shop", Kind.CLIENT, root, error=ill, attributes=TO_CART)
            version = "2" if rng.random() < weight else "1"
            spans += [client, make.span("cart", Kind.SERVER, client, version=version, error=ill)]
        failing += ill
    chain = InMemoryChain(SETTINGS, engine)
    chain.watch(Watch("prod", "cart", ("1", "2")))
    chain.receive([request(spans)], BEGINNING_MS + 12_000)
    chain.advance(BEGINNING_MS + 60_000)
    failed = Counter[tuple[str, Found]]()
    for row in (row for part in chain.parts for row in part.exposures):
        failed[row.version, Found(row.exposure, row.elsewhere)] += row.errors
    assert failed["1", DRAWN] + failed["2", DRAWN] == failing
    assert failed["2", DRAWN] < 2 * weight * failing < failed["2", DRAWN] + failed["2", ELSEWHERE]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_a_call_whose_server_died_at_work_is_its_versions_by_what_that_called(engine: Engine) -> None:
    """And so is one that nobody else answered: the loudest failures must not be in neither arm."""
    make = SampleTraces()
    root = make.span("shop", Kind.SERVER, error=True)
    client = make.span("shop", Kind.CLIENT, root, error=True, attributes=TO_CART)
    dead = make.span("cart", Kind.SERVER, client, version="2")
    left = make.span("cart", Kind.CLIENT, dead, version="2", attributes={"db.system": "redis"})
    assert counted(engine, [root, client, left], ("1", "2")) == {("2", DRAWN): 1, ("1", POSSIBLE): 1}
