"""Requests become pieces that join into requests again, and what cannot is said."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ctrlplane_stream.local.intake import otlp_json
from ctrlplane_stream.local.intake.answers import Unreadable
from ctrlplane_stream.local.intake.payload import Most, Payload, read_json, read_protobuf

_MOST = Most(data_bytes=1000, spans=100)
_KEYS = ["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "links", "attributes", "value", "stringValue", "kind", "name"]


def _request(resources: list[list[int]]) -> ExportTraceServiceRequest:
    """A request of so many resources; each number is a span with an attribute of that many bytes."""
    request = ExportTraceServiceRequest()
    number = 0
    for lengths in resources:
        resource_spans = request.resource_spans.add(schema_url="schema")
        resource_spans.resource.attributes.add(key="service.name").value.string_value = "service"
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "scope"
        for length in lengths:
            number += 1
            span = scope_spans.spans.add(name=f"span {number}", trace_id=b"\x01" * 16, span_id=number.to_bytes(8, "big"))
            span.attributes.add(key="long").value.string_value = "x" * length
    return request


def _spans(data: bytes) -> Iterator[Span]:
    for resource_spans in ExportTraceServiceRequest.FromString(data).resource_spans:
        assert resource_spans.resource.attributes[0].value.string_value == "service"
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


def test_what_fits_a_record_is_passed_on_as_the_bytes_that_came() -> None:
    """No byte is changed, unknown fields included."""
    body = _request([[10, 10], [10]]).SerializeToString() + b"\xfa\x01\x03new"
    payload = read_protobuf(body, _MOST)
    assert isinstance(payload, Payload)
    assert [(p.data, p.spans) for p in payload.pieces] == [(body, 3)]


@given(st.lists(st.lists(st.integers(0, 400), max_size=12), max_size=5), st.integers(250, 2000), st.integers(1, 30))
def test_pieces_join_to_the_spans_that_came(resources: list[list[int]], max_bytes: int, max_spans: int) -> None:
    """Every span is in one piece under its resource, in the order it came, or counted as rejected; no piece is too large."""
    request = _request(resources)
    payload = read_protobuf(request.SerializeToString(), Most(max_bytes, max_spans))
    assert isinstance(payload, Payload)
    assert all(len(piece.data) <= max_bytes and piece.spans <= max_spans for piece in payload.pieces)
    joined = list(_spans(b"".join(piece.data for piece in payload.pieces)))
    sent = list(_spans(request.SerializeToString()))
    assert len(joined) == sum(piece.spans for piece in payload.pieces) == len(sent) - payload.rejected
    assert [span for span in sent if span in joined] == joined
    assert all(len(span.SerializeToString()) > max_bytes - 100 for span in sent if span not in joined)


def test_a_request_of_many_small_spans_is_cut_into_pieces_of_as_many_as_a_record_has() -> None:
    """However few their bytes are: a record is what a worker takes in hand at once."""
    payload = read_protobuf(_request([[0] * 250, [0] * 30]).SerializeToString(), Most(1_000_000, 100))
    assert isinstance(payload, Payload)
    assert [piece.spans for piece in payload.pieces] == [100, 100, 50, 30]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Garbage never raises, in either form."""
    for payload in (read_protobuf(body, _MOST), read_json(body, _MOST)):
        assert isinstance(payload, Payload | Unreadable)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda x: st.lists(x) | st.dictionaries(st.sampled_from(_KEYS), x)))
def test_any_json_is_read_or_refused(document: object) -> None:
    """JSON of the wrong shape never raises."""
    assert isinstance(read_json(msgspec.json.encode({"resourceSpans": document}), _MOST), Payload | Unreadable)


@pytest.mark.parametrize("trace_id", [b"", b"\x01" * 15, bytes(16)])
def test_spans_without_ids_are_rejected_by_number(trace_id: bytes) -> None:
    """A span whose ids are missing, of a wrong length or zero is left out and counted; its neighbours stay."""
    request = _request([[1, 1]])
    request.resource_spans[0].scope_spans[0].spans.add(trace_id=trace_id, span_id=b"\x01" * 8, name="unusable")
    payload = read_protobuf(request.SerializeToString(), _MOST)
    assert isinstance(payload, Payload)
    assert (payload.rejected, [s.name for s in _spans(payload.pieces[0].data)]) == (1, ["span 1", "span 2"])


def test_nothing_to_write_makes_no_piece() -> None:
    """An empty request, and one of resources without spans, is accepted and writes no record."""
    assert read_protobuf(b"", _MOST) == Payload(())
    assert read_protobuf(_request([[], []]).SerializeToString(), _MOST) == Payload(())
    assert read_json(b"{}", _MOST) == Payload(())
    assert read_json(b'{"resourceSpans":[]}', _MOST) == Payload(())


@pytest.mark.parametrize("body", [b'{"resourceMetrics":[{}]}', b'{"resourceLogs":[]}', b'{"a":1}'])
def test_json_of_something_else_is_refused_as_protobuf_of_it_is(body: bytes) -> None:
    """Metrics that are sent to the address of traces are not taken and dropped."""
    assert read_json(body, _MOST) == Unreadable("no resourceSpans in it: are these traces?")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"resourceSpans":' + b"[" * 5_000])
def test_json_that_is_nested_too_deep_is_refused(body: bytes) -> None:
    """And no error of ours: its sender is told what is wrong with it."""
    found = read_json(body, _MOST)
    assert isinstance(found, Unreadable)
    assert found.reason.startswith("not OTLP JSON: ")


def test_json_is_the_same_request() -> None:
    """What is encoded as OTLP JSON reads back equal; its ids are hexadecimal, and read in either case."""
    request = _request([[5], [6, 7]])
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = b"\xab" * 16
    text = otlp_json.encode(request)
    assert b'"traceId":"' + b"ab" * 16 in text
    assert otlp_json.decode(text) == otlp_json.decode(text.replace(b"abab", b"ABAB")) == request
