"""OTLP's JSON is protobuf's JSON but for one thing: trace and span ids are hexadecimal, not base64.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Enumerations are numbers, 64-bit integers strings,
unknown fields are ignored. This is the slow way in and out, some 30 µs a span; protobuf is for those in a hurry.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ctrlplane_stream.wire.json_words import WrongJson, read_json

_IDS = ("traceId", "spanId", "parentSpanId")


class NotOtlpJson(ValueError):
    """The bytes are not a trace request in OTLP's JSON; the text says why."""


def decode(body: bytes) -> ExportTraceServiceRequest:
    """The request in ``body``, which is empty of ``{}`` alone, as protobuf's is of no bytes. Raises NotOtlpJson."""
    try:
        document = read_json(body, dict[str, Any])
        _rewrite_ids(document, _from_hex)
        message: ExportTraceServiceRequest = json_format.ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (WrongJson, json_format.ParseError, binascii.Error, AttributeError, TypeError, UnicodeError, RecursionError) as error:
        raise NotOtlpJson(f"not OTLP JSON: {error}") from error
    if document and not message.resource_spans and "resourceSpans" not in document:
        raise NotOtlpJson("no resourceSpans in it: are these traces?")
    return message


def encode(message: ExportTraceServiceRequest) -> bytes:
    """The request as compact OTLP JSON."""
    document = json_format.MessageToDict(message, use_integers_for_enums=True)
    _rewrite_ids(document, _to_hex)
    return msgspec.json.encode(document)


def _rewrite_ids(document: dict[str, Any], rewrite: Callable[[str], str]) -> None:
    for holder in _holders_of_ids(document):
        for name in _IDS:
            if name in holder:
                holder[name] = rewrite(holder[name])


def _holders_of_ids(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every span and every link of a request, as dictionaries."""
    for resource_spans in document.get("resourceSpans") or ():
        for scope_spans in resource_spans.get("scopeSpans") or ():
            for span in scope_spans.get("spans") or ():
                yield span
                yield from span.get("links") or ()


def _from_hex(text: str) -> str:
    return base64.b64encode(binascii.unhexlify(text)).decode()


def _to_hex(text: str) -> str:
    return base64.b64decode(text).hex()
