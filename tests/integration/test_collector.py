"""The real Collector with the configuration of ``examples/``: what goes in as OTLP is in ``otlp_spans``, each span once."""

import asyncio
import json
import secrets
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from ctrlplane_stream.local.collector import Collector
from ctrlplane_stream.settings import Settings

_EXAMPLE = Path(__file__).parents[2] / "examples" / "otel-collector.yaml"
_TRACES, _SPANS = 40, 5


@pytest.fixture(params=["otlp_proto", "otlp_json"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["false", "true"], ids=["batched", "by-trace"])
def by_trace(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def collector(collector_ready: None, topics: Settings, encoding: str, by_trace: str) -> Iterator[Collector]:
    variables = {"OTLP_SPANS_TOPIC": topics.topic("otlp_spans"), "OTLP_SPANS_ENCODING": encoding, "PARTITION_TRACES_BY_ID": by_trace}
    with Collector(_EXAMPLE, KAFKA_BOOTSTRAP_SERVERS=topics.kafka_bootstrap_servers, **variables) as running:
        yield running


def test_every_span_arrives_once_in_each_encoding_and_partitioning(
    collector: Collector, topics: Settings, encoding: str, by_trace: str
) -> None:
    """The span ids on the topic are those that were sent; by trace, a record holds one trace and is keyed by it."""
    sent = _request()
    _post(collector, sent)
    records = asyncio.run(_read(topics, _TRACES * _SPANS, encoding))
    spans = [span for record in records for span in record[1]]
    assert sorted(spans) == sorted((s.trace_id.hex(), s.span_id.hex()) for s in _spans(sent))
    if by_trace == "true":
        assert [record[0] for record in records] == [record[1][0][0].encode() for record in records]
        assert {len({trace for trace, _ in record[1]}) for record in records} == {1}
    else:
        assert len(records) < _TRACES


def _request() -> ExportTraceServiceRequest:
    now = time.time_ns()
    spans = [
        Span(trace_id=trace, span_id=secrets.token_bytes(8), name="work", start_time_unix_nano=now - 1000, end_time_unix_nano=now)
        for trace in (secrets.token_bytes(16) for _ in range(_TRACES))
        for _ in range(_SPANS)
    ]
    resource = ResourceSpans()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.scope_spans.add().spans.extend(spans)
    return ExportTraceServiceRequest(resource_spans=[resource])


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def _post(collector: Collector, request: ExportTraceServiceRequest) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    post = urllib.request.Request(f"{collector.http_endpoint}/v1/traces", request.SerializeToString(), headers)
    with urllib.request.urlopen(post) as answer:
        assert answer.status == 200


async def _read(settings: Settings, expected: int, encoding: str) -> list[tuple[bytes | None, list[tuple[str, str]]]]:
    """(key, [(trace id, span id)]) of each record, read until there are as many spans as expected."""
    decode = _ids_of_protobuf if encoding == "otlp_proto" else _ids_of_json
    records: list[tuple[bytes | None, list[tuple[str, str]]]] = []
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(settings.topic("otlp_spans"), p) for p in range(settings.partitions)])
        while sum(len(spans) for _, spans in records) < expected:
            message = await consumer.getone()
            records.append((message.key, decode(message.value)))
    return records


def _ids_of_protobuf(value: bytes) -> list[tuple[str, str]]:
    return [(s.trace_id.hex(), s.span_id.hex()) for s in _spans(ExportTraceServiceRequest.FromString(value))]


def _ids_of_json(value: bytes) -> list[tuple[str, str]]:
    document = json.loads(value)
    return [(s["traceId"], s["spanId"]) for r in document["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"]]
