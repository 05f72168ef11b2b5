"""The cases of the public test suite of Zipkin's DependencyLinker that OpenTelemetry has a form for, restated.

Each is played to Zipkin itself and to the engine. ``same`` are its links and ours at once; a case that ``differs`` gives both,
with the reason. Left out: spans without a service (OpenTelemetry gives ``unknown_service``), remote endpoints of
servers (a server's attributes do not name its client's service), logging, and its merging of links.
"""

from typing import Any

import msgspec
import pytest

from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain, call_counts
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

Links = dict[tuple[str, str], tuple[int, int]]
S, C, P, K, NONE = Kind.SERVER, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER, Kind.UNSPECIFIED


class Said(msgspec.Struct, frozen=True):
    """A span of a case: id, parent id ("" for a root), kind, service, and what else it says."""

    id: str
    parent: str
    kind: Kind
    service: str
    remote: str = ""
    error: bool = False
    shared: bool = False


class Case(msgspec.Struct, frozen=True):
    """Spans, Zipkin's links, and ours where they differ, with the reason."""

    name: str
    spans: tuple[Said, ...]
    zipkin: Links
    ours: Links | None = None
    why: str = ""


CASES = (
    Case(
        "web calls app with one span id for both sides, app fails to reach its database",
        (
            Said("a", "", S, "web"),
            Said("b", "a", C, "web"),
            Said("b", "a", S, "app", shared=True),
            Said("c", "b", C, "app", "db", error=True),
        ),
        {("web", "app"): (1, 0), ("app", "db"): (1, 1)},
    ),
    Case(
        "a shared server half without its parent id",
        (Said("a", "", S, "arn"), Said("b", "a", C, "arn"), Said("b", "", S, "link", shared=True)),
        {("arn", "link"): (1, 0)},
    ),
    Case(
        "a shared server half whose client half was never sent",
        (Said("a", "", S, "web"), Said("b", "a", S, "app", shared=True), Said("c", "b", C, "app", "db", error=True)),
        {("web", "app"): (1, 0), ("app", "db"): (1, 1)},
    ),
    Case(
        "a message with a broker on the producer's side",
        (Said("a", "", P, "producer", "kafka"), Said("b", "a", K, "consumer")),
        {("producer", "kafka"): (1, 0)},
        {("producer", "consumer"): (1, 0)},
        "an edge of ours joins producer and consumer, whom a release concerns; the broker is on the way",
    ),
    Case(
        "a message with a broker on both sides",
        (Said("a", "", P, "producer", "kafka"), Said("b", "a", K, "consumer", "kafka")),
        {("producer", "kafka"): (1, 0), ("kafka", "consumer"): (1, 0)},
        {("producer", "consumer"): (1, 0)},
        "as before",
    ),
    Case(
        "a message without a broker",
        (Said("a", "", P, "producer"), Said("b", "a", K, "consumer")),
        {},
        {("producer", "consumer"): (1, 0)},
        "as before: who was asked to keep the message does not matter",
    ),
    Case(
        "a server below a producer is a call",
        (Said("a", "", P, "producer"), Said("b", "a", S, "server")),
        {("producer", "server"): (1, 0)},
    ),
    Case(
        "a consumer below a client",
        (Said("a", "", C, "client"), Said("b", "a", K, "consumer")),
        {},
        {("client", "consumer"): (1, 0)},
        "the conventions let a client send: the parent is what says so, not its kind",
    ),
    Case("a root client that names its server", (Said("a", "", C, "client", "server"),), {("client", "server"): (1, 0)}),
    Case(
        "two calls of one server",
        (Said("a", "", S, "client"), Said("b", "a", C, "client", "server"), Said("c", "a", C, "client", "server")),
        {("client", "server"): (2, 0)},
    ),
    Case("a client and a server are one call", (Said("a", "", C, "web"), Said("b", "a", S, "app")), {("web", "app"): (1, 0)}),
    Case(
        "both sides failed: one error",
        (Said("a", "", C, "client", error=True), Said("b", "a", S, "server", error=True)),
        {("client", "server"): (1, 1)},
    ),
    Case(
        "both sides failed, with one span id",
        (Said("a", "", C, "client", error=True), Said("a", "", S, "server", error=True, shared=True)),
        {("client", "server"): (1, 1)},
    ),
    Case(
        "only the client failed",
        (Said("a", "", C, "web", error=True), Said("b", "a", S, "app")),
        {("web", "app"): (1, 1)},
        {("web", "app"): (1, 0)},
        "the server decides: a 404 is an error to the client and none of the server",
    ),
    Case(
        "the server's own name wins over what the client calls it",
        (Said("a", "", C, "client", "alias"), Said("b", "a", S, "server")),
        {("client", "server"): (1, 0)},
    ),
    Case(
        "two servers below one client, one of them failed",
        (Said("a", "", C, "client", "alias"), Said("b", "a", S, "server", error=True), Said("c", "a", S, "server")),
        {("client", "server"): (2, 1)},
    ),
    Case(
        "clients of another service below a local span",
        (Said("a", "", S, "client"), Said("b", "a", NONE, "client"), Said("c", "b", C, "server"), Said("d", "b", C, "server")),
        {("client", "server"): (2, 0)},
        {},
        "Zipkin takes a client of another service for a call that it missed. In OpenTelemetry two services meet in a server half: without "
        "one they are two resources in one process, or a lost span. A guess would be a wrong edge",
    ),
    Case("a service that calls itself by name", (Said("a", "", C, "service", "service"),), {("service", "service"): (1, 0)}),
    Case(
        "spans of no kind that name a peer",
        (Said("a", "", NONE, "some-client", "web"), Said("b", "a", NONE, "web", "app"), Said("c", "b", NONE, "app", "db")),
        {("some-client", "web"): (1, 0), ("web", "app"): (1, 0), ("app", "db"): (1, 0)},
        {},
        "OpenTelemetry takes no kind for local work, and every SDK sets the kind of a call",
    ),
    Case("a server by itself", (Said("a", "", S, "server"),), {}),
    Case("a client by itself that names nobody", (Said("a", "", C, "client"),), {}),
    Case("unrelated servers below a lost root", (Said("b", "a", S, "service1"), Said("c", "a", S, "service2")), {}),
    Case(
        "a server below a server below a lost root",
        (Said("b", "a", S, "service1"), Said("c", "b", S, "service2")),
        {("service1", "service2"): (1, 0)},
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_zipkins_own_suite(zipkin: Any, case: Case) -> None:
    assert zipkin.links([[line(said) for said in case.spans]]) == case.zipkin
    assert ours(case) == (case.zipkin if case.ours is None else case.ours)
    assert (case.ours is None) == (not case.why), "a difference has a reason"


def line(said: Said) -> str:
    kind = "-" if said.kind is NONE else said.kind.name
    shared, error = "shared" if said.shared else "-", "error" if said.error else "-"
    return f"{'a' * 32} {said.id * 16} {said.parent * 16 or '-'} {kind} {shared} {said.service} {said.remote or '-'} {error}"


def ours(case: Case) -> Links:
    chain = InMemoryChain(SpanSettings(partitions=1))
    chain.receive([request([span(said) for said in case.spans])], BEGINNING_MS + 12_000)
    for seconds in (20, 40, 90):
        chain.advance(BEGINNING_MS + seconds * 1_000)
    return {(caller, callee): counts for (caller, callee, _), counts in call_counts(chain.parts).items()}


def span(said: Said) -> SampleSpan:
    made = SampleTraces().span(said.service, said.kind, error=said.error, attributes={"peer.service": said.remote} if said.remote else None)
    parent = bytes.fromhex(said.parent * 16) if said.parent else bytes(8)
    return msgspec.structs.replace(made, trace=b"\xaa" * 16, span=bytes.fromhex(said.id * 16), parent=parent)
