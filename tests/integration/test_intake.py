"""The intake against a real broker: what senders are told, and that it is true."""

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import msgspec
import pytest
from aiokafka import ConsumerRecord
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ctrlplane_stream.local.collector import Collector
from ctrlplane_stream.local.intake import otlp_json
from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_clients import read_to_end
from ctrlplane_stream.wire.topic_admin import admin_client, apply_changes
from ctrlplane_stream.wire.topic_plan import Create

_MEBIBYTE = 1024 * 1024
_PARTITIONS = 2
_COLLECTOR_EXAMPLE = Path(__file__).parents[2] / "examples" / "otel-collector.yaml"
_READY = re.compile(r"http://127\.0\.0\.1:(\d+)/v1/traces, OTLP/gRPC on 127\.0\.0\.1:(\d+)")


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    body: bytes
    retry_after: str | None


class Intake:
    """A running intake, as its senders see it."""

    def __init__(self, settings: Settings, log: Path, *options: str) -> None:
        self.settings = settings
        arguments = ["--kafka-bootstrap-servers", settings.kafka_bootstrap_servers, "--topic-prefix", settings.topic_prefix]
        command = [sys.executable, "-m", "ctrlplane_stream", "intake", "--http-port", "0", "--grpc-port", "0", *arguments, *options]
        self.process = ChildProcess("intake", command, log=log)
        self.process.wait_ready(lambda: _READY.search(log.read_text()) is not None, 60.0)
        found = _READY.search(log.read_text())
        assert found is not None
        self.url, self.grpc = f"http://127.0.0.1:{found[1]}", f"127.0.0.1:{found[2]}"

    def post(self, body: bytes, content_type: str = "application/x-protobuf", encoding: str | None = None) -> Reply:
        """Send one request over HTTP."""
        headers = {"Content-Type": content_type} | ({"Content-Encoding": encoding} if encoding else {})
        request = urllib.request.Request(f"{self.url}/v1/traces", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Reply(response.status, response.read(), None)
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read(), error.headers["Retry-After"])

    def export(self, request: ExportTraceServiceRequest, compression: grpc.Compression | None = None) -> ExportTraceServiceResponse:
        """Send one request over gRPC, by the stub that every SDK is generated from."""
        with grpc.insecure_channel(self.grpc) as channel:
            response: ExportTraceServiceResponse = TraceServiceStub(channel).Export(request, timeout=30, compression=compression)
            return response

    def records(self) -> list[ConsumerRecord]:
        """Every record that the topic holds."""
        return asyncio.run(_records(self.settings))

    def span_names(self) -> list[str]:
        """The names of all spans that the topic holds, sorted."""
        return sorted(span.name for record in self.records() for span in _spans(ExportTraceServiceRequest.FromString(record.value)))

    def peak_bytes(self) -> int:
        """The most memory that the process ever held (Linux)."""
        line = next(x for x in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


Start = Callable[..., Intake]


@pytest.fixture
def start(tmp_path: Path, topic_prefix: str) -> Iterator[Start]:
    """Starts intakes on a broker, with their topic made."""
    started: list[Intake] = []

    def start_one(bootstrap: str, *options: str) -> Intake:
        settings = Settings(kafka_bootstrap_servers=bootstrap, topic_prefix=topic_prefix, partitions=_PARTITIONS)
        asyncio.run(_create_topic(settings))
        started.append(Intake(settings, tmp_path / f"intake-{len(started)}.log", *options))
        return started[-1]

    yield start_one
    for intake in started:
        intake.process.kill()


@pytest.fixture
def intake(start: Start, kafka: EmbeddedKafka | NamedKafka) -> Intake:
    """One intake with the defaults."""
    return start(kafka.bootstrap)


def test_every_way_in_ends_as_the_collectors_record(intake: Intake) -> None:
    """Protobuf and JSON, plain and gzipped, HTTP and gRPC: same spans out, in records without key or header."""
    assert intake.post(_request("protobuf").SerializeToString()).status == 200
    assert intake.post(gzip.compress(_request("protobuf, gzipped").SerializeToString()), encoding="gzip").status == 200
    assert intake.post(otlp_json.encode(_request("json")), "application/json").status == 200
    assert intake.post(gzip.compress(otlp_json.encode(_request("json, gzipped"))), "application/json; charset=utf-8", "gzip").status == 200
    assert intake.export(_request("grpc")) == ExportTraceServiceResponse()
    assert intake.export(_request("grpc, gzipped"), grpc.Compression.Gzip) == ExportTraceServiceResponse()
    assert intake.span_names() == ["grpc", "grpc, gzipped", "json", "json, gzipped", "protobuf", "protobuf, gzipped"]
    for record in intake.records():
        assert (record.key, record.headers) == (None, ())
        for span in _spans(ExportTraceServiceRequest.FromString(record.value)):
            assert span == next(_spans(_request(span.name)))


@pytest.mark.parametrize("protocol", ["HTTP", "gRPC"])
def test_a_port_that_is_taken_is_named_in_one_line_with_the_flag_that_takes_another(
    kafka: EmbeddedKafka | NamedKafka, topics: Settings, protocol: str
) -> None:
    """And nothing else is said, by no library either."""
    flag, other = (f"--{name.lower()}-port" for name in (protocol, "gRPC" if protocol == "HTTP" else "HTTP"))
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        command = [sys.executable, "-m", "ctrlplane_stream", "intake", flag, str(port), other, "0"]
        ended = subprocess.run(command, env={**os.environ, **topics.variables()}, capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    assert ended.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{port} for OTLP/{protocol}: ")
    assert ended.stderr.endswith(f"address already in use; give another {flag}\n")


def test_records_can_be_otlp_json(start: Start, kafka: EmbeddedKafka | NamedKafka) -> None:
    """With ``--encoding otlp_json`` the value is one JSON object whose ids are hexadecimal."""
    intake = start(kafka.bootstrap, "--encoding", "otlp_json")
    intake.export(_request("grpc"))
    intake.post(otlp_json.encode(_request("json")), "application/json")
    for record in intake.records():
        document = json.loads(record.value)
        assert list(document) == ["resourceSpans"]
        assert document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] == "01" * 16
        assert otlp_json.decode(record.value) == _request(next(_spans(otlp_json.decode(record.value))).name)


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_the_record_is_the_one_that_the_collector_writes(
    start: Start, kafka: EmbeddedKafka | NamedKafka, collector_ready: None, encoding: str
) -> None:
    """One request through both: same key, same headers, same spans to the last field, and in JSON the same document.

    One difference is the Collector's alone and means nothing: it spells out an empty status.
    """
    intake = start(kafka.bootstrap, "--encoding", encoding)
    theirs = Settings(
        kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=f"{intake.settings.topic_prefix}theirs-", partitions=_PARTITIONS
    )
    asyncio.run(_create_topic(theirs))
    body = _request_with_everything().SerializeToString()
    assert intake.post(body).status == 200
    variables = {"OTLP_SPANS_TOPIC": theirs.topic("otlp_spans"), "OTLP_SPANS_ENCODING": encoding, "PARTITION_TRACES_BY_ID": "false"}
    with Collector(_COLLECTOR_EXAMPLE, KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap, **variables) as collector:
        headers = {"Content-Type": "application/x-protobuf"}
        with urllib.request.urlopen(urllib.request.Request(f"{collector.http_endpoint}/v1/traces", body, headers), timeout=30):
            pass
        # Waited for while it runs: one that is stopped gives up what its exporter could not send at the first try.
        deadline = time.monotonic() + 60.0
        while not (written := asyncio.run(_records(theirs))) and time.monotonic() < deadline:
            time.sleep(0.2)
    (ours,), (other,) = intake.records(), written
    assert (ours.key, ours.headers) == (other.key, other.headers)
    if encoding == "otlp_json":
        assert json.loads(ours.value) == json.loads(other.value.replace(b',"status":{}', b""))
    else:
        assert ExportTraceServiceRequest.FromString(ours.value) == _without_empty_status(other.value)


def test_an_ordinary_sdk_is_served(intake: Intake) -> None:
    """What the OpenTelemetry SDK's own exporter flushes is in the topic when the flush returns."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{intake.url}/v1/traces")))
    with provider.get_tracer("test").start_as_current_span("by the SDK"):
        pass
    assert provider.force_flush()
    assert intake.span_names() == ["by the SDK"]
    provider.shutdown()


def test_small_requests_share_records(intake: Intake) -> None:
    """A hundred requests of fifty spans at once make records of about a thousand spans, and none is lost."""
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda _: intake.post(_request("small", 50).SerializeToString()), range(100)))
    assert {reply.status for reply in replies} == {200}
    assert len(intake.span_names()) == 5000
    # 5 if all were there at once; a busy machine spreads them over some windows of 0.2 s. Without batching there are 100.
    assert len(intake.records()) <= 30


def test_a_large_request_is_split_below_the_record_size(intake: Intake) -> None:
    """A batch of 8,192 spans as the Collector sends it ends in records of less than a megabyte, whole."""
    request = _request("large", 8192, attribute_bytes=300)
    assert intake.export(request) == ExportTraceServiceResponse()
    records = intake.records()
    assert len(records) > 1
    assert max(len(record.value) for record in records) <= 900_000
    assert intake.span_names() == ["large"] * 8192


def test_a_request_of_many_small_spans_is_split_into_records_of_about_a_thousand(intake: Intake) -> None:
    """It is answered once all of them are in the topic."""
    assert intake.post(_request("small", 5000).SerializeToString()).status == 200
    counts = [len(list(_spans(ExportTraceServiceRequest.FromString(record.value)))) for record in intake.records()]
    assert counts == [1000] * 5


@pytest.mark.parametrize(
    ("body", "encoding", "status", "says"),
    [
        pytest.param(b"\xff\xff\xff garbage", None, 400, "ExportTraceServiceRequest", id="garbage"),
        pytest.param(b"\x0a\x20truncated", None, 400, "ExportTraceServiceRequest", id="truncated"),
        pytest.param(b"plain words", None, 400, "ExportTraceServiceRequest", id="words"),
        pytest.param(b"no gzip", "gzip", 400, "gzip", id="not-gzip"),
        pytest.param(gzip.compress(b"\x0a\x00" * 100)[:-9], "gzip", 400, "gzip", id="truncated-gzip"),
        pytest.param(bytes(9 * _MEBIBYTE), None, 413, "smaller", id="too-large"),
        pytest.param(gzip.compress(bytes(500 * _MEBIBYTE)), "gzip", 413, "smaller", id="gzip-bomb"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_status(intake: Intake, body: bytes, encoding: str | None, status: int, says: str) -> None:
    """The sender is told what is wrong in a ``google.rpc.Status``, no memory is spent on it, and nothing reaches the topic."""
    peak_before = intake.peak_bytes()
    reply = intake.post(body, encoding=encoding)
    assert reply.status == status
    assert says in status_pb2.Status.FromString(reply.body).message
    assert reply.retry_after is None
    assert intake.records() == []
    assert intake.peak_bytes() - peak_before < 40 * _MEBIBYTE


def test_json_that_cannot_be_read_is_refused_in_json(intake: Intake) -> None:
    """The status comes in the form of the request."""
    for body in (b"[]", b"{", b'{"resourceSpans": 3}', b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}'):
        reply = intake.post(body, "application/json")
        assert reply.status == 400
        assert "JSON" in json.loads(reply.body)["message"]
    assert intake.post(b"", "text/plain").status == 415


def test_unusable_spans_are_a_partial_success(intake: Intake) -> None:
    """Spans without ids are rejected by number and reason; their neighbours are taken."""
    request = _request("usable", 3)
    request.resource_spans[0].scope_spans[0].spans.add(name="without ids")
    response = intake.export(request)
    assert response.partial_success.rejected_spans == 1
    assert "trace id" in response.partial_success.error_message
    assert intake.span_names() == ["usable"] * 3


def test_grpc_refusals_carry_their_codes(intake: Intake) -> None:
    """Garbage is INVALID_ARGUMENT; what is too large, also once unpacked, RESOURCE_EXHAUSTED and not to be repeated."""
    peak_before = intake.peak_bytes()
    with grpc.insecure_channel(intake.grpc) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        assert export(b"", timeout=30) == b"", "a request without spans is one"
        with pytest.raises(grpc.RpcError) as unreadable:
            export(b"\xff\xff garbage", timeout=30)
        assert unreadable.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for compression in (None, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as too_large:
                export(bytes(50 * _MEBIBYTE), timeout=30, compression=compression)
            assert too_large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert _retry_info(too_large.value) is None
    assert intake.records() == []
    assert intake.peak_bytes() - peak_before < 60 * _MEBIBYTE


def test_a_hung_broker_gives_backpressure_and_no_unbounded_memory(start: Start, own_kafka: EmbeddedKafka) -> None:
    """While nothing is acknowledged nothing is accepted: senders hear 503 or, when the limit is reached, 429, with a delay.

    Ten times the limit is offered meanwhile. When the broker is back, new spans are accepted again.
    """
    intake = start(own_kafka.bootstrap, "--in-flight-mebibytes", "16")
    assert intake.post(_request("before").SerializeToString()).status == 200
    peak_before = intake.peak_bytes()
    body = _request("held up", 1000, attribute_bytes=2000).SerializeToString()
    own_kafka.pause()
    with ThreadPoolExecutor(40) as pool:
        replies = list(pool.map(lambda _: intake.post(body), range(80)))
    with pytest.raises(grpc.RpcError) as refused:
        _repeat_until_refused(intake)
    assert {reply.status for reply in replies} == {429, 503}
    assert all(reply.retry_after is not None for reply in replies)
    assert intake.peak_bytes() - peak_before < 100 * _MEBIBYTE
    assert refused.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    assert (_retry_info(refused.value) or 0) > 0
    own_kafka.resume()
    while intake.post(_request("after").SerializeToString()).status != 200:
        pass
    names = intake.span_names()
    assert names.count("before") == 1
    assert "after" in names


def test_sigterm_answers_what_is_in_hand(start: Start, kafka: EmbeddedKafka | NamedKafka) -> None:
    """Requests that wait for their batch when SIGTERM comes are written and answered; the exit status is 0."""
    intake = start(kafka.bootstrap)
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(intake.post, _request("in hand").SerializeToString()) for _ in range(20)]
        while b"in_flight_bytes 0.0" in _get(f"{intake.url}/metrics"):
            pass
        intake.process.signal(signal.SIGTERM)
        answers = [_status_or_refused(future.result) for future in sent]
    assert intake.process.wait(30) == 0
    assert answers.count(200) >= 1
    assert set(answers) <= {200, 503, None}
    assert len(intake.span_names()) == answers.count(200)


def test_a_missing_topic_or_broker_is_said_in_one_line(kafka: EmbeddedKafka | NamedKafka, tmp_path: Path) -> None:
    """Without its topic or its broker the intake does not start, and says what to do."""
    for bootstrap, remedy in ((kafka.bootstrap, "topics apply"), ("127.0.0.1:1", "no broker answers at 127.0.0.1:1")):
        log = tmp_path / "intake.log"
        command = [sys.executable, "-m", "ctrlplane_stream", "intake", "--http-port", "0", "--grpc-port", "0"]
        arguments = ["--kafka-bootstrap-servers", bootstrap, "--topic-prefix", "nowhere-"]
        with ChildProcess("intake", [*command, *arguments], log=log) as process:
            assert process.wait(60) == 1
        assert remedy in log.read_text().splitlines()[-1]


def _repeat_until_refused(intake: Intake) -> None:
    while True:
        intake.export(_request("refused", 10))


def _status_or_refused(result: Callable[[], Reply]) -> int | None:
    """The status; None where the connection was refused because the intake had stopped listening."""
    try:
        return result().status
    except (urllib.error.URLError, ConnectionError):
        return None


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
        return body


def _retry_info(error: grpc.RpcError) -> float | None:
    """The delay in seconds that the status details ask for, or None."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.RetryInfo()
                if detail.Unpack(info):
                    return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def _request(name: str, spans: int = 1, attribute_bytes: int = 0) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "test"
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "scope"
    for number in range(1, spans + 1):
        span = scope_spans.spans.add(
            name=name, trace_id=b"\x01" * 16, span_id=number.to_bytes(8, "big"), start_time_unix_nano=1, end_time_unix_nano=2**63
        )
        span.links.add(trace_id=b"\x02" * 16, span_id=b"\x03" * 8)
        if attribute_bytes:
            span.attributes.add(key="long").value.string_value = "x" * attribute_bytes
    return request


def _request_with_everything() -> ExportTraceServiceRequest:
    """Two spans: one with every field and every type of value, one with as few as can be."""
    request = _request("rich", 2)
    request.resource_spans[0].schema_url = "https://schema.example/1"
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.kind, span.parent_span_id, span.trace_state, span.flags = Span.SPAN_KIND_SERVER, b"\xab" * 8, "a=b", 0x101
    span.end_time_unix_nano, span.dropped_attributes_count = 1_795_391_570_278_237_123, 2
    span.status.code, span.status.message = Status.STATUS_CODE_ERROR, "control \x01 and \xfc"
    span.events.add(name="exception", time_unix_nano=5).attributes.add(key="bool").value.bool_value = False
    span.attributes.add(key="int").value.int_value = -5
    span.attributes.add(key="double").value.double_value = 1.5
    span.attributes.add(key="whole double").value.double_value = 3.0
    span.attributes.add(key="bytes").value.bytes_value = b"\x00\xff\xfe"
    span.attributes.add(key="empty").value.string_value = ""
    span.attributes.add(key="array").value.array_value.values.add().string_value = "x"
    span.attributes.add(key="map").value.kvlist_value.values.add(key="k").value.string_value = "v"
    return request


def _without_empty_status(value: bytes) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest.FromString(value)
    for span in _spans(request):
        if not span.status.ByteSize():
            span.ClearField("status")
    return request


async def _records(settings: Settings) -> list[ConsumerRecord]:
    return [record async for record in read_to_end(settings, "otlp_spans")]


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


async def _create_topic(settings: Settings) -> None:
    async with admin_client(settings) as client:
        await apply_changes(client, [Create(settings.topic("otlp_spans"), _PARTITIONS, 1, {})])
