"""A recording of real processes whose edges are known beforehand gives exactly those edges and counts.

`tests/recordings/shop.otlp.zst` is what the intake received from the sample shop, eleven processes with the ordinary SDK, under four
seconds of load. What happened is known twice: from what the load generator was answered and the shop's own table of who
calls whom, without any telemetry; and from a plain count of the spans.
"""

import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ctrlplane_stream.local.shop.topology import SERVICES, Call, Publish, Query, service_named
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import call_counts
from ctrlplane_stream.telemetry.offline import Recording, windows_of
from ctrlplane_stream.telemetry.reasons import Skip
from tests.plain_graph import Edge, Plain, PlainGraph

RECORDINGS = Path(__file__).parents[2] / "recordings"
ENTRIES = {"browse": "shop/frontend", "checkout": "shop/frontend", "read": "blog/web"}


@pytest.fixture(scope="module")
def recording() -> Recording:
    return windows_of([RECORDINGS / "shop.otlp.zst"])


@pytest.fixture(scope="module")
def plain() -> list[Plain]:
    """Every span, read with OpenTelemetry's own schema."""
    data = zstandard.ZstdDecompressor().stream_reader((RECORDINGS / "shop.otlp.zst").read_bytes()).read()
    spans = []
    while data:
        length = int.from_bytes(data[:4], "big")
        for resource_spans in TracesData.FromString(data[4 : 4 + length]).resource_spans:
            resource = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
            place = resource["deployment.environment.name"], f"{resource['service.namespace']}/{resource['service.name']}"
            for span in (span for scope in resource_spans.scope_spans for span in scope.spans):
                attributes = {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes}
                kind = Kind(span.kind)
                failed = span.status.code == 2 or (kind in {Kind.CLIENT, Kind.PRODUCER} and "error.type" in attributes)
                links = tuple((link.trace_id, link.span_id) for link in span.links)
                parent = span.parent_span_id or bytes(8)
                spans.append(Plain(span.trace_id, span.span_id, parent, kind, failed, place, attributes, links))
        data = data[4 + length :]
    return spans


def asked(operation: str, answered_well: bool | None = None) -> int:
    """Requests that users made, as the load generator wrote them down."""
    rows = json.loads((RECORDINGS / "shop-requests.json").read_text())
    return sum(r["requests"] for r in rows if r["operation"] == operation and answered_well in {None, r["answered_well"]})


def leads_to(service: str, operation: str, times: int) -> Counter[Edge]:
    """The edges that so many requests walk along by the shop's table, retries and messages left out."""
    walked: Counter[Edge] = Counter()
    found = service_named(service)
    assert found is not None
    told = found.operation(operation)
    assert told is not None
    for action in (action for stage in told.stages for action in stage):
        match action:
            case Call():
                walked[service, action.service, "call"] += times
                walked.update(leads_to(action.service, action.operation, times))
            case Query():
                walked[service, f"sqlite/{service}", "database"] += times
            case Publish():
                pass
    return walked


def test_the_engine_counts_what_the_users_requests_led_to(recording: Recording, plain: list[Plain]) -> None:
    """By request and table alone; of payment the number of attempts is chance, and taken from its own server spans."""
    expected: Counter[Edge] = Counter()
    for operation, service in ENTRIES.items():
        expected.update(leads_to(service, operation, asked(operation)))
    (consumer,) = (service for service in SERVICES if service.consumes)
    orders = asked("checkout", answered_well=True)
    expected["shop/checkout", consumer.name, "message"] = orders
    expected.update(leads_to(consumer.name, consumer.operations[0].name, orders))
    charges = [span for span in plain if span.place[1] == "shop/payment" and span.kind is Kind.SERVER]
    expected["shop/checkout", "shop/payment", "call"] = len(charges)
    found = call_counts(recording.parts)
    assert {edge: calls for edge, (calls, _) in found.items()} == dict(expected)
    failed = {edge: errors for edge, (_, errors) in found.items() if errors}
    assert failed == {
        ("shop/checkout", "shop/payment", "call"): sum(span.failed for span in charges),
        ("shop/frontend", "shop/checkout", "call"): asked("checkout", answered_well=False),
    }


def test_the_engine_counts_what_a_plain_count_of_the_spans_does(recording: Recording, plain: list[Plain]) -> None:
    """Edges, errors and reasons; nothing is left over."""
    count = PlainGraph(plain).count
    assert recording.spans == len(plain)
    assert call_counts(recording.parts) == dict(sorted(count.edges.items()))
    assert recording.skipped == dict(sorted(count.reasons.items()))
    assert recording.skipped[Skip.ROOT] == sum(map(asked, ENTRIES))


def test_every_row_is_between_the_versions_that_ran(recording: Recording) -> None:
    """Each process was told a version of its own, after its place in the table."""
    versions = {service.name: f"#{number}" for number, service in enumerate(SERVICES, start=1)}
    rows = {(row.caller, row.callee, row.caller_version, row.callee_version) for part in recording.parts for row in part.edges}
    assert rows
    assert all(of == versions[caller] and at == versions.get(callee, "unknown") for caller, callee, of, at in rows)
