"""From OTLP to halves, span by span: the reference for the columnar reader, and the fallback where that cannot run."""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from google.protobuf.message import DecodeError

from ctrlplane_stream.telemetry.durations import LONGEST_US
from ctrlplane_stream.telemetry.half import CALLERS, NO_PARENT, Half, Kind, Origin
from ctrlplane_stream.telemetry.origins import LONGEST_KEY_BYTES, Origins
from ctrlplane_stream.telemetry.peers import attribute, collect, fetch_kind, peer_of
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sampling import weight
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.gen.otlp_trimmed_pb2 import Link, Span, TraceRequest
from ctrlplane_stream.wire.otlp import Unreadable, request_bytes

_ERROR = 2
NO_SPAN = Unreadable("it holds no span: metrics or logs on the wrong topic, or a writer of something else")
"""Said of a record that can be read and has nothing in it: passing it over would hide a pipeline that is set up wrongly."""
LATEST_US = (1 << 62) // 1000
"""When a span ends at the latest, where nobody says when it was received."""


class Reader:
    """Reads OTLP trace requests, either encoding, into halves. Keeps only caches: reading is a function of the bytes."""

    _MOST_CACHED = 16_384

    def __init__(self, settings: SpanSettings) -> None:
        self._settings = settings
        self._origins = Origins(settings.default_environment)
        self._attributes: dict[bytes, tuple[str, str] | None] = {}

    def read(self, value: bytes | None, received_ms: int | None, skipped: Counter[Skip]) -> tuple[int, list[Half]] | Unreadable:
        """How many spans a record holds, and their halves in order, copies for links last; what gives none is counted in ``skipped``.

        A span that ends after ``received_ms`` (a clock ahead of ours) is taken to have ended then; its duration stays.
        """
        request = request_bytes(value)
        if isinstance(request, Unreadable):
            return request
        latest_us = LATEST_US if received_ms is None else received_ms * 1000
        found: list[Half] = []
        copies: list[Half] = []
        passed: Counter[Skip] = Counter()
        spans = 0
        try:
            for resource_spans in TraceRequest.FromString(request).resource_spans:
                origin = self._origins.of(resource_spans.resource)
                for scope_spans in resource_spans.scope_spans:
                    spans += len(scope_spans.spans)
                    for span in scope_spans.spans:
                        found += self._half(span, origin, latest_us, copies, passed)
        except DecodeError as error:
            return Unreadable(f"not an OTLP trace request: {error}")
        if not spans:
            return NO_SPAN
        skipped.update(passed)
        return spans, found + copies

    def _half(self, span: Span, origin: Origin, latest_us: int, copies: list[Half], skipped: Counter[Skip]) -> tuple[Half, ...]:
        reason = unusable(span.trace_id, span.span_id, span.end_time_unix_nano)
        if reason is not None:
            skipped[reason] += 1
            return ()
        kind = Kind(span.kind) if 0 <= span.kind <= Kind.CONSUMER else Kind.UNSPECIFIED
        attributes = self._collected(span) if kind >= Kind.CLIENT else {}
        fetch = fetch_kind(attributes)
        failed = span.status.code == _ERROR or (kind in CALLERS and "error.type" in attributes)
        kind = kind if fetch is None else fetch
        links = self._links(span, skipped) if kind is Kind.CONSUMER and span.links else []
        parent = span.parent_span_id if len(span.parent_span_id) == len(NO_PARENT) else NO_PARENT
        end_us = span.end_time_unix_nano // 1000
        lasted_us = end_us - span.start_time_unix_nano // 1000 if span.start_time_unix_nano else 0
        half = Half(
            span.trace_id,
            span.span_id,
            parent,
            kind,
            failed,
            min(end_us, latest_us),
            min(max(0, lasted_us), LONGEST_US),
            origin,
            peer_of(attributes) if kind >= Kind.CLIENT else None,
            weight(span.trace_state, self._settings.sampling_multiplier),
            linked=bool(links),
            receive=fetch is not None,
        )
        copies += [linked_copy(half, trace, producer) for trace, producer in links]
        return (half,)

    def _collected(self, span: Span) -> dict[str, str]:
        return collect([self._attribute(raw) for raw in span.attributes])

    def _attribute(self, raw: bytes) -> tuple[str, str] | None:
        if raw in self._attributes:
            return self._attributes[raw]
        if len(self._attributes) >= self._MOST_CACHED:
            self._attributes.clear()
        found = attribute(raw)
        if len(raw) <= LONGEST_KEY_BYTES:
            self._attributes[raw] = found
        return found

    def _links(self, span: Span, skipped: Counter[Skip]) -> list[tuple[bytes, bytes]]:
        return links_of(span.links, span.trace_id, span.parent_span_id, self._settings.max_links, skipped)


def unusable(trace: bytes, span: bytes, end_ns: int) -> Skip | None:
    """Why a span cannot be placed at all, or None where it can."""
    if len(trace) != 16 or not any(trace):
        return Skip.NO_TRACE_ID
    if len(span) != 8 or not any(span):
        return Skip.NO_SPAN_ID
    return None if end_ns else Skip.NO_END_TIME


def links_of(raw: Iterable[bytes], trace: bytes, parent: bytes, most: int, skipped: Counter[Skip]) -> list[tuple[bytes, bytes]]:
    """The (trace, span) pairs that a consumer's links name, without its own parent, repetitions and what is no link."""
    found: dict[tuple[bytes, bytes], None] = {}
    for content in raw:
        try:
            link = Link.FromString(content)
        except DecodeError:
            continue
        if len(link.trace_id) == 16 and len(link.span_id) == 8 and any(link.span_id) and (link.trace_id, link.span_id) != (trace, parent):
            found[link.trace_id, link.span_id] = None
    if len(found) > most:
        skipped[Skip.TOO_MANY_LINKS] += len(found) - most
    return list(found)[:most]


def copy_id(trace: bytes, span: bytes) -> bytes:
    """The span id of a consumer's copies: ids are unique within a trace only, and many traces' consumers may link to one producer."""
    return blake2b(trace + span, digest_size=8).digest()


def linked_copy(half: Half, trace: bytes, producer: bytes) -> Half:
    """The copy of a consumer that stands in the producer's trace, as a child of the producer."""
    return Half(
        trace,
        copy_id(half.trace, half.span),
        producer,
        half.kind,
        half.error,
        half.end_us,
        half.duration_us,
        half.origin,
        half.peer,
        half.weight,
        link=True,
        receive=half.receive,
    )
