"""Traces written by hand: for tests, benchmarks and anyone who wants to see what the engine makes of a shape.

>>> traces = SampleTraces()
>>> shop = traces.span("shop", Kind.SERVER, milliseconds=30)
>>> call = traces.span("shop", Kind.CLIENT, parent=shop, milliseconds=20)
>>> cart = traces.span("cart", Kind.SERVER, parent=call, milliseconds=10)
>>> value = request([shop, call, cart])
"""

from collections.abc import Iterable, Mapping

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from ctrlplane_stream.telemetry.half import Kind

BEGINNING_MS = 1_700_000_000_000
"""When sample spans end unless told otherwise: the start of a ten-second window."""


class SampleSpan(msgspec.Struct, frozen=True):
    """A span before it is OTLP. Times are in milliseconds since the epoch."""

    resource: tuple[tuple[str, str], ...]
    trace: bytes
    span: bytes
    parent: bytes
    kind: Kind
    end_ms: float
    milliseconds: float
    error: bool
    attributes: tuple[tuple[str, str | int], ...]
    links: tuple[tuple[bytes, bytes], ...]
    trace_state: str


class SampleTraces:
    """Numbers traces and spans, so that the same calls give the same bytes."""

    def __init__(self, seed: int = 1) -> None:
        self._next = seed << 32

    def _number(self) -> int:
        self._next += 1
        return self._next

    def span(
        self,
        service: str,
        kind: Kind,
        parent: SampleSpan | None = None,
        *,
        version: str = "1",
        environment: str = "prod",
        end_ms: float = BEGINNING_MS + 1_000,
        milliseconds: float = 10,
        error: bool = False,
        attributes: Mapping[str, str | int] | None = None,
        links: Iterable[SampleSpan] = (),
        trace_state: str = "",
        missing_parent: bool = False,
    ) -> SampleSpan:
        """A span below ``parent``, or of a trace of its own; ``missing_parent`` names a parent that nobody has."""
        trace = parent.trace if parent else (self._number() * 0x9E3779B97F4A7C15 % (1 << 128)).to_bytes(16, "big")
        above = self._number().to_bytes(8, "big") if missing_parent else bytes(8)
        return SampleSpan(
            (("service.name", service), ("ctrlplane.version", version), ("deployment.environment.name", environment)),
            trace,
            self._number().to_bytes(8, "big"),
            parent.span if parent else above,
            kind,
            end_ms,
            milliseconds,
            error,
            tuple((attributes or {}).items()),
            tuple((link.trace, link.span) for link in links),
            trace_state,
        )


def request(spans: Iterable[SampleSpan]) -> bytes:
    """Spans as a serialized ExportTraceServiceRequest, one ResourceSpans for each run of spans of one resource."""
    data = TracesData()
    before: tuple[tuple[str, str], ...] | None = None
    for sample in spans:
        if sample.resource != before:
            data.resource_spans.append(ResourceSpans(resource=Resource(attributes=_attributes(sample.resource))))
            data.resource_spans[-1].scope_spans.add()
            before = sample.resource
        data.resource_spans[-1].scope_spans[0].spans.append(_span(sample))
    return data.SerializeToString()


def _span(sample: SampleSpan) -> Span:
    end_ns = round(sample.end_ms * 1_000_000)
    span = Span(
        trace_id=sample.trace,
        span_id=sample.span,
        parent_span_id=b"" if sample.parent == bytes(8) else sample.parent,
        trace_state=sample.trace_state,
        kind=sample.kind.value,  # type: ignore[arg-type]
        start_time_unix_nano=end_ns - round(sample.milliseconds * 1_000_000),
        end_time_unix_nano=end_ns,
        attributes=_attributes(sample.attributes),
        links=[Span.Link(trace_id=trace, span_id=span) for trace, span in sample.links],
    )
    if sample.error:
        span.status.code = 2  # type: ignore[assignment]
    return span


def _attributes(pairs: Iterable[tuple[str, str | int]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in pairs]


def _value(value: str | int) -> AnyValue:
    return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
