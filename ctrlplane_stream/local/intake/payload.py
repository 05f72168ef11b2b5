"""A trace request as pieces that can be joined into records without another look at them.

A protobuf message whose only field is repeated is the concatenation of its parts: any of our pieces, put one after the
other, are the bytes of one ``ExportTraceServiceRequest`` (and of one ``TracesData``, which has the same field). So a
request that fits a record is checked, counted and passed on as the very bytes that came. Only one that is too large
for a record, in bytes or spans, or that holds spans nobody could ever read, is taken apart.
"""

from collections.abc import Iterator

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from ctrlplane_stream.local.intake import otlp_json
from ctrlplane_stream.local.intake.answers import Unreadable

_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_NO_TRACE, _NO_SPAN = bytes(_TRACE_ID_BYTES), bytes(_SPAN_ID_BYTES)


class Piece(msgspec.Struct, frozen=True):
    """A part of a request that is a request by itself, as protobuf."""

    data: bytes
    spans: int


class Most(msgspec.Struct, frozen=True):
    """What one piece holds at most."""

    data_bytes: int
    spans: int


class Payload(msgspec.Struct, frozen=True):
    """What came in, in pieces that each fit a record. ``rejected`` spans are left out, for the ``reason``."""

    pieces: tuple[Piece, ...]
    rejected: int = 0
    reason: str = ""


def read_protobuf(body: bytes, most: Most) -> Payload | Unreadable:
    """The payload of a protobuf body."""
    try:
        message = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        return Unreadable(f"not an ExportTraceServiceRequest: {error}")
    if body and not message.resource_spans:
        return Unreadable("not an ExportTraceServiceRequest: no resource spans in it")
    return _payload(message, body, most)


def read_json(body: bytes, most: Most) -> Payload | Unreadable:
    """The payload of a JSON body, in pieces of protobuf."""
    try:
        message = otlp_json.decode(body)
    except otlp_json.NotOtlpJson as error:
        return Unreadable(str(error))
    return _payload(message, message.SerializeToString(), most)


def _payload(message: ExportTraceServiceRequest, encoded: bytes, most: Most) -> Payload:
    unusable = _drop_unusable(message)
    if unusable:
        encoded = message.SerializeToString()
    spans = sum(map(_spans_of, message.resource_spans))
    reason = "spans without a 16-byte trace id and an 8-byte span id other than zero" if unusable else ""
    if len(encoded) <= most.data_bytes and spans <= most.spans:
        return Payload((Piece(encoded, spans),) if spans else (), unusable, reason)
    pieces = tuple(piece for resource in message.resource_spans for piece in _take_apart(resource, most))
    oversized = spans - sum(piece.spans for piece in pieces)
    reasons = [reason] if reason else []
    if oversized:
        reasons.append(f"spans that with their resource are larger than a record of {most.data_bytes} bytes")
    return Payload(pieces, unusable + oversized, "; ".join(reasons))


def _drop_unusable(message: ExportTraceServiceRequest) -> int:
    """Take out the spans that no reader could place in a trace; how many they were."""
    dropped = 0
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            if all(map(_usable, scope.spans)):
                continue
            usable = [span for span in scope.spans if _usable(span)]
            dropped += len(scope.spans) - len(usable)
            del scope.spans[:]
            scope.spans.extend(usable)
    return dropped


def _usable(span: Span) -> bool:
    trace_id, span_id = span.trace_id, span.span_id
    return len(trace_id) == _TRACE_ID_BYTES and len(span_id) == _SPAN_ID_BYTES and trace_id != _NO_TRACE and span_id != _NO_SPAN


def _spans_of(resource: ResourceSpans) -> int:
    return sum(len(scope.spans) for scope in resource.scope_spans)


def _take_apart(resource: ResourceSpans, most: Most) -> Iterator[Piece]:
    """Pieces of one resource's spans; a span that does not fit a piece even alone is in none of them."""
    whole, spans = _encode(resource), _spans_of(resource)
    if len(whole) <= most.data_bytes and spans <= most.spans:
        yield Piece(whole, spans)
        return
    for scope in resource.scope_spans:
        for start in range(0, len(scope.spans), most.spans):
            yield from _halve(resource, scope, list(scope.spans[start : start + most.spans]), most.data_bytes)


def _halve(resource: ResourceSpans, scope: ScopeSpans, spans: list[Span], max_bytes: int) -> Iterator[Piece]:
    """Pieces of one scope's spans, in halves of halves until each fits."""
    part = ScopeSpans(scope=scope.scope, schema_url=scope.schema_url, spans=spans)
    data = _encode(ResourceSpans(resource=resource.resource, schema_url=resource.schema_url, scope_spans=[part]))
    if len(data) <= max_bytes:
        yield Piece(data, len(spans))
    elif len(spans) > 1:
        middle = len(spans) // 2
        yield from _halve(resource, scope, spans[:middle], max_bytes)
        yield from _halve(resource, scope, spans[middle:], max_bytes)


def _encode(resource: ResourceSpans) -> bytes:
    encoded: bytes = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
    return encoded
