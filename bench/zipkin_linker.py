"""The span engine beside Zipkin's own linker on the JVM, same spans, one run: ``python -m bench.zipkin_linker [--quick]``.

Zipkin decodes its own proto3 and never OTLP, so the spans are converted beforehand, with their ten attributes as tags: the size in bytes of
both is printed. Its linker counts calls and errors; ours makes windows, versions and latency sketches as well. CPU time of one thread,
the best of fifteen rounds there, warmed up by the others (JIT and garbage collection of other threads not counted), of three here.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bench._span_traffic import Traffic
from bench.spans import engine_run
from ctrlplane_stream.local.cache import cache_folder, cached
from ctrlplane_stream.telemetry.engines import columnar
from ctrlplane_stream.telemetry.in_memory import call_counts
from ctrlplane_stream.telemetry.settings import SpanSettings

_ROUNDS = 15
_KINDS = {Span.SPAN_KIND_CLIENT: "CLIENT", Span.SPAN_KIND_SERVER: "SERVER"}
_SOURCE = Path(__file__).parent / "zipkin" / "Peer.java"
_POM = Path(__file__).parents[1] / "tests" / "contract" / "zipkin" / "pom.xml"


def _classes() -> Path:
    def build(folder: Path) -> None:
        copy = ["mvn", "-B", "-q", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}"]
        subprocess.run(copy, check=True)
        subprocess.run(["javac", "-cp", f"{folder}/lib/*", "-d", str(folder), str(_SOURCE)], check=True)

    return cached(cache_folder() / "zipkin" / "peer", _POM.read_bytes() + _SOURCE.read_bytes(), build)


def _text(attribute: KeyValue) -> str:
    return attribute.value.string_value or str(attribute.value.int_value)


def _converted(value: bytes) -> bytes:
    """One request as Zipkin's JSON v2."""
    spans = []
    for resource in ExportTraceServiceRequest.FromString(value).resource_spans:
        name = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            spans.append(_span(span, name))
    return json.dumps(spans).encode()


def _span(span: Span, service: str) -> dict[str, object]:
    tags = {a.key: _text(a) for a in span.attributes}
    made: dict[str, object] = {
        "traceId": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "name": span.name,
        "timestamp": span.start_time_unix_nano // 1000,
        "duration": max(1, (span.end_time_unix_nano - span.start_time_unix_nano) // 1000),
        "localEndpoint": {"serviceName": service},
        "tags": tags | ({"error": ""} if span.status.code == 2 else {}),
    }
    if span.parent_span_id:
        made["parentId"] = span.parent_span_id.hex()
    if span.kind in _KINDS:
        made["kind"] = _KINDS[span.kind]
    if "db.namespace" in tags:
        made["remoteEndpoint"] = {"serviceName": tags["db.namespace"]}
    return made


def _zipkin(values: list[bytes]) -> tuple[int, int, float]:
    """(spans, calls, CPU seconds of the best round)."""
    folder = Path(tempfile.mkdtemp(prefix="bench-zipkin-"))
    try:
        converted = [_converted(value) for value in values]
        (folder / "batches").write_bytes(b"".join(len(each).to_bytes(4, "big") + each for each in converted))
        classes = _classes()
        command = ["java", "-Xmx2g", "-XX:+UseSerialGC", "-cp", f"{classes}:{classes}/lib/*", "Peer", str(folder / "batches"), str(_ROUNDS)]
        spans, calls, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return int(spans), int(calls), float(seconds)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the spans")
    arguments = parser.parse_args()
    traffic = Traffic()
    values, stamps = [], []
    for _ in range(100 if arguments.quick else 500):
        values += traffic.requests(1)
        stamps.append(traffic.now_ms + 1_000)
    spans, calls, seconds = _zipkin(values)
    print(f"Zipkin's linker: {spans:,} spans, {calls:,} calls, {spans / seconds:,.0f} spans a CPU second")
    for partitions in (1, 8):
        settings = SpanSettings(partitions=partitions, max_halves=10_000_000)
        runs = [engine_run(values, stamps, settings, columnar()) for _ in range(3)]
        halving, pairing, parts = min(runs, key=lambda run: run[0] + run[1])
        ours = sum(count for count, _ in call_counts(parts).values())
        rate = spans / (halving + pairing)
        print(
            f"ours, {partitions} partitions: {ours:,} calls, {rate:,.0f} spans a CPU second, {rate / (spans / seconds):.2f} times Zipkin's"
        )


if __name__ == "__main__":
    main()
