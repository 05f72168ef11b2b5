"""Whole OTLP trace requests, told by content: protobuf as it is, JSON turned into protobuf.

OTLP/JSON differs from protobuf's JSON: trace and span ids are hexadecimal, enums are numbers (names are accepted), unknown
fields are ignored (OpenTelemetry protocol specification, "JSON Protobuf Encoding"). Only what the engine reads is converted.
Traces as Tempo hands them out are read too: protobuf's own JSON, with base64 ids and ``batches`` for ``resourceSpans``.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from google.protobuf.message import Error as ProtobufError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status, TracesData

from ctrlplane_stream.wire.json_words import WrongJson, read_json

_ID_BYTES = 16
_SHOWN = 100
_BASE64_LENGTHS = {24, 12}
"""Of 16 and 8 bytes; in hexadecimal they take 32 and 16."""
_KINDS = {
    f"SPAN_KIND_{name}": number for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
_AFTER_BLANK_LINES = re.compile(rb"\s*\{\s*\"")
_CODES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}


class Unreadable(msgspec.Struct, frozen=True):
    """A record that is not OTLP: ``reason`` says what was wrong, for the dead letter."""

    reason: str


def request_bytes(value: bytes | None) -> bytes | Unreadable:
    """A record's value as a serialized ExportTraceServiceRequest; protobuf is not checked here.

    JSON is told by its first character: no protobuf request begins with a brace.
    """
    if value is None:
        return Unreadable("the record has no value")
    if not is_json(value):
        return value
    try:
        return _request_from_json(_document(value.removeprefix(b"\xef\xbb\xbf"))).SerializeToString()
    except (ValueError, ProtobufError, RecursionError) as error:  # the last two: values in values, too deep
        return Unreadable(f"not an OTLP/JSON trace request: {error}")


def _document(value: bytes) -> Any:
    """JSON; where a text in it is no UTF-8, as text is that was cut within a character, with that replaced."""
    try:
        return read_json(value, object)
    except WrongJson:
        return read_json(value.decode(errors="replace"), object)


def is_json(beginning: bytes) -> bool:
    """Whether a value or file that begins so is JSON.

    A line feed is the tag of protobuf's first field too, and a brace could be its length: blank lines are only skipped where a name in
    quotes follows, which in protobuf would be a field that OTLP does not have.
    """
    text = beginning.removeprefix(b"\xef\xbb\xbf")
    return text.lstrip(b" \t\r")[:1] == b"{" or _AFTER_BLANK_LINES.match(text) is not None


def _wrong(what: str, found: object) -> ValueError:
    """Says of a document what cannot be read, in its own words."""
    return ValueError(f"{what} cannot be {msgspec.json.encode(found)[:_SHOWN].decode(errors='ignore')}")


def _request_from_json(document: Mapping[str, Any]) -> TracesData:
    items = (item for name in ("resourceSpans", "batches") for item in _items(document, name))
    return TracesData(resource_spans=[_resource_spans(item) for item in items])


def _items(message: Mapping[str, Any], name: str) -> Iterable[Any]:
    found = _field(message, name, ()) or ()
    if not isinstance(found, (list, tuple)):
        raise _wrong(name, found)
    return found


def _number(message: Mapping[str, Any], name: str, kind: Callable[[Any], Any] = int) -> Any:
    found = _field(message, name, 0) or 0
    try:
        return kind(found)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(name, found) from None


def _field(message: Mapping[str, Any], name: str, default: Any) -> Any:
    """A field by its lowerCamelCase name, or by the proto's own snake_case name, which some writers use."""
    try:
        if name in message:
            return message[name]
        return message.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name), default)
    except (AttributeError, TypeError):
        raise _wrong(f"what would hold {name}", message) from None


def _resource_spans(item: Mapping[str, Any]) -> ResourceSpans:
    result = ResourceSpans(resource=Resource(attributes=_attributes(_field(item, "resource", None) or {})))
    for name in ("scopeSpans", "instrumentationLibrarySpans"):
        for scope in _items(item, name):
            result.scope_spans.add(spans=[_span(span) for span in _items(scope, "spans")])
    return result


def _span(item: Mapping[str, Any]) -> Span:
    status = _field(item, "status", None) or {}
    return Span(
        trace_id=_identifier(item, "traceId"),
        span_id=_identifier(item, "spanId"),
        parent_span_id=_identifier(item, "parentSpanId"),
        trace_state=str(_field(item, "traceState", "") or ""),
        kind=_enum(item, "kind", _KINDS),
        start_time_unix_nano=_number(item, "startTimeUnixNano"),
        end_time_unix_nano=_number(item, "endTimeUnixNano"),
        attributes=_attributes(item),
        links=[_link(link) for link in _items(item, "links")],
        status=Status(code=_enum(status, "code", _CODES)),
    )


def _link(item: Mapping[str, Any]) -> Span.Link:
    return Span.Link(trace_id=_identifier(item, "traceId"), span_id=_identifier(item, "spanId"))


def _identifier(message: Mapping[str, Any], name: str) -> bytes:
    """An id's bytes: hexadecimal as OTLP/JSON says, base64 as protobuf's JSON does; raises ValueError for anything else."""
    value = _field(message, name, None) or ""
    try:
        if len(value) in _BASE64_LENGTHS and value.endswith("="):
            return b64decode(value, validate=True)
        if len(value) <= 2 * _ID_BYTES:
            return bytes.fromhex(value)
    except (TypeError, ValueError, AttributeError):
        pass
    raise _wrong(name, value)


def _enum(message: Mapping[str, Any], name: str, names: Mapping[str, int]) -> Any:
    value = _field(message, name, 0)
    if isinstance(value, str) and not value.lstrip("-").isdecimal():
        return names.get(value, 0)
    return _number(message, name)


def _attributes(item: Mapping[str, Any]) -> list[KeyValue]:
    return [_attribute(pair) for pair in _items(item, "attributes")]


def _attribute(pair: Mapping[str, Any]) -> KeyValue:
    try:
        return KeyValue(key=pair.get("key") or "", value=_value(pair.get("value") or {}))
    except (AttributeError, TypeError):
        raise _wrong("an attribute", pair) from None


def _value(item: Mapping[str, Any]) -> AnyValue:
    """A value as far as the engine reads values: text, numbers, truth and the first element of an array."""
    for name, content in item.items():
        match name:
            case "stringValue" | "string_value":
                return AnyValue(string_value=str(content))
            case "intValue" | "int_value":
                return AnyValue(int_value=_number(item, name))
            case "boolValue" | "bool_value":
                return AnyValue(bool_value=bool(content))
            case "doubleValue" | "double_value":
                return AnyValue(double_value=_number(item, name, float))
            case "arrayValue" | "array_value":
                result = AnyValue()
                result.array_value.values.extend(_value(element) for element in _items(content, "values"))
                return result
            case _:
                continue
    return AnyValue()
