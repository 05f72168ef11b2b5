"""The engine comes to what the rules say plainly, edge by edge and reason by reason, and no span is without one."""

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.telemetry.engines import REFERENCE, columnar
from ctrlplane_stream.telemetry.half import CALLEES, Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain, call_counts
from ctrlplane_stream.telemetry.random_traces import random_spans, tidy_spans
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, request
from ctrlplane_stream.telemetry.settings import SpanSettings
from tests.plain_graph import Count, Plain, PlainGraph

SETTINGS = SpanSettings(partitions=3)
ENGINES = (REFERENCE, columnar(always=True))


def plain(span: SampleSpan) -> Plain:
    resource = dict(span.resource)
    attributes = {key: str(value) for key, value in span.attributes}
    failed = span.error or (span.kind in {Kind.CLIENT, Kind.PRODUCER} and "error.type" in attributes)
    place = resource["deployment.environment.name"], resource["service.name"]
    return Plain(span.trace, span.span, span.parent, span.kind, failed, place, attributes, span.links)


def replaced(span: SampleSpan, **changes: Any) -> SampleSpan:
    return msgspec.structs.replace(span, **changes)


def shape(seed: int) -> list[SampleSpan]:
    """Spans of every shape that all end in one window; some repeated, none claiming the id and side of another."""
    rng = random.Random(seed)
    spans = [*random_spans(seed, most_spans=60), *tidy_spans(seed, traces=4)]
    spans = [replaced(span, end_ms=BEGINNING_MS + 5_000 + span.end_ms % 1_000) for span in spans]
    # One trace, one partition of span-halves: what is learned of peers is learned where the trace is.
    firsts: dict[tuple[bytes, bytes, bool], SampleSpan] = {}
    for span in spans:
        firsts.setdefault((span.trace, span.span, plain(span).role in CALLEES), span)
    spans = [span for span in spans if firsts[span.trace, span.span, plain(span).role in CALLEES] == span]
    return rng.sample(spans, len(spans))


def counted(seed: int, partitions: int) -> tuple[Count, int, InMemoryChain]:
    spans = shape(seed)
    chain = InMemoryChain(msgspec.structs.replace(SETTINGS, partitions=partitions), ENGINES[seed % 2])
    cut = random.Random(seed).randint(0, len(spans))
    for source, some in enumerate((spans[:cut], spans[cut:])):
        chain.receive([request(some)], BEGINNING_MS + 12_000, source % partitions)
    for seconds in (20, 40, 90):
        chain.advance(BEGINNING_MS + seconds * 1_000)
    # Of several answers to a call that was counted before, the first adds none: so they come as they ended.
    ended = sorted(spans, key=lambda span: (round(span.end_ms * 1_000), span.trace, span.span, span.kind))
    return PlainGraph([plain(span) for span in ended]).count, len(spans), chain


@settings(max_examples=150)
@given(seed=st.integers(0, 10**9))
def test_every_edge_and_every_reason_is_what_the_rules_say(seed: int) -> None:
    """Calls, errors and reasons, exactly; and every span is a half of an edge or counted under one reason, never both, never neither."""
    expected, spans, chain = counted(seed, partitions=1)
    assert call_counts(chain.parts) == dict(sorted(expected.edges.items()))
    assert chain.all_skipped == dict(sorted(expected.reasons.items()))
    of_spans = sum(count for reason, count in chain.all_skipped.items() if reason.counts == "spans")
    assert spans == expected.own_edge + of_spans
