"""Which service, environment and version a resource speaks for."""

import json
from base64 import b64decode

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain
from ctrlplane_stream.telemetry.origins import origin_of
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

DIGEST = "sha256:" + "a" * 64
EVERYTHING = {
    "ctrlplane.version": "#7",
    "container.image.repo_digests": f"registry.example/cart@{DIGEST}",
    "k8s.pod.label.pod-template-hash": "5f6585d649",
    "service.version": "1.2.3",
}


def version(attributes: dict[str, str]) -> str:
    return origin_of(attributes, "default").version


def test_a_version_is_the_first_that_is_set_of_four() -> None:
    """Injected, image digest, pod-template hash, and last what the application says of itself."""
    left = dict(EVERYTHING)
    for name, expected in zip(EVERYTHING, ("#7", DIGEST, "5f6585d649", "1.2.3"), strict=True):
        assert version(left) == expected
        del left[name]
    assert version(left) == "unknown"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"oci.manifest.digest": DIGEST}, DIGEST),
        ({"container.image.id": DIGEST}, DIGEST),
        ({"container.image.id": "not-a-digest", "service.version": "1"}, "1"),
        ({"k8s.replicaset.name": "cart-579f59597d", "service.version": "1"}, "579f59597d"),
        ({"k8s.replicaset.name": "cart", "service.version": "1"}, "1"),
        ({"ctrlplane.version": "", "service.version": "1"}, "1"),
    ],
)
def test_a_version_where_some_are_set(attributes: dict[str, str], expected: str) -> None:
    assert version(attributes) == expected


@pytest.mark.parametrize(
    ("attributes", "environment", "service"),
    [
        ({"service.name": "cart", "service.namespace": "shop", "deployment.environment.name": "prod"}, "prod", "shop/cart"),
        ({"service.name": "cart", "deployment.environment": "prod"}, "prod", "cart"),
        ({"service.name": "cart"}, "default", "cart"),
        ({}, "default", "unknown_service"),
    ],
)
def test_a_service_and_its_environment(attributes: dict[str, str], environment: str, service: str) -> None:
    origin = origin_of(attributes, "default")
    assert (origin.environment, origin.service) == (environment, service)


@pytest.mark.parametrize(
    "engine", [REFERENCE, columnar(always=True), columnar(always=True, compiled=False)], ids=lambda engine: engine.name
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_text_that_is_no_utf_8_takes_nothing_but_itself(as_json: bool, engine: Engine) -> None:
    """A Collector cuts texts within a character and checks none; a batch holds the spans of many services."""
    traces = SampleTraces()
    client = traces.span("shop", Kind.CLIENT)
    spans = [client, traces.span("cart", Kind.SERVER, client), traces.span("batch-XX", Kind.SERVER, version="XX")]
    value = request(spans)
    if as_json:
        value = otlp_json(value)
    chain = InMemoryChain(SpanSettings(partitions=1), engine)
    assert chain.receive([value.replace(b"XX", b"\xc3(")], BEGINNING_MS + 2_000) == []
    chain.advance(BEGINNING_MS + 30_000)
    assert {(edge.caller, edge.callee) for part in chain.parts for edge in part.edges} == {("shop", "cart")}
    assert {(row.service, row.version) for part in chain.parts for row in part.services} == {("cart", "1"), ("batch-\ufffd(", "\ufffd(")}


def otlp_json(value: bytes) -> bytes:
    """A request in the other encoding."""
    document = MessageToDict(TracesData.FromString(value), use_integers_for_enums=True)
    for span in (span for spans in document["resourceSpans"] for span in spans["scopeSpans"][0]["spans"]):
        span.update({name: b64decode(span[name]).hex() for name in ("traceId", "spanId", "parentSpanId") if name in span})
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("state", "estimated"),
    [("", 10.0), ("ot=th:0", 1.0), ("ot=th:8", 2.0), ("x=1,ot=rv:0123456789abcd;th:fd70a4", 100.0), ("ot=th:zz", 10.0), ("ot=rv:1", 10.0)],
)
def test_a_span_stands_for_what_its_threshold_says_else_for_the_multiplier(state: str, estimated: float) -> None:
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1, sampling_multiplier=10.0))
    client = traces.span("shop", Kind.CLIENT)
    chain.receive([request([client, traces.span("cart", Kind.SERVER, client, trace_state=state)])], BEGINNING_MS + 2_000)
    chain.advance(BEGINNING_MS + 30_000)
    ((calls, found),) = [(edge.calls, edge.estimated_calls) for part in chain.parts for edge in part.edges]
    assert calls == 1
    assert found == pytest.approx(estimated, rel=1e-6)
