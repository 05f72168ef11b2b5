"""The rules of pairing, one shape a test. Each shape goes through the whole chain: OTLP bytes, halves, windows."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ServiceWindow
from ctrlplane_stream.telemetry.batches import Watch
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import CallCounts, InMemoryChain, call_counts
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = Kind.SERVER, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER, Kind.INTERNAL
SETTINGS = SpanSettings(partitions=1)
LATER_MS = BEGINNING_MS + 200_000


class Outcome:
    """What a chain made of some spans, all of them received in the order given and long settled."""

    def __init__(self, spans: list[SampleSpan], catalog: Mapping[str, str] | None = None, settings: SpanSettings = SETTINGS) -> None:
        self.chain = InMemoryChain(settings, catalog=catalog)
        for sample in spans:
            self.chain.receive([request([sample])], BEGINNING_MS + 12_000)
        self.chain.advance(BEGINNING_MS + 19_000)
        self.chain.advance(BEGINNING_MS + 60_000)
        self.chain.advance(LATER_MS)

    @property
    def calls(self) -> CallCounts:
        return call_counts(self.chain.parts)

    @property
    def edges(self) -> list[EdgeWindow]:
        return [edge for part in self.chain.parts for edge in part.edges]

    @property
    def services(self) -> list[ServiceWindow]:
        return [service for part in self.chain.parts for service in part.services]

    @property
    def skipped(self) -> dict[Skip, int]:
        return self.chain.all_skipped


@pytest.fixture
def traces() -> SampleTraces:
    return SampleTraces()


def test_a_client_and_its_server_are_one_call_with_both_versions_and_three_latencies(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT, version="#4", milliseconds=30)
    server = traces.span("cart", SERVER, client, version="#7", milliseconds=20)
    (edge,) = Outcome([client, server]).edges
    assert (edge.caller, edge.callee, edge.kind, edge.caller_version, edge.callee_version) == ("shop", "cart", "call", "#4", "#7")
    assert (edge.calls, edge.errors, edge.estimated_calls) == (1, 0, 1.0)
    for sketch, milliseconds in ((edge.client, 30), (edge.server, 20), (edge.gap, 10)):
        assert sketch.quantile(0.5) == pytest.approx(milliseconds * 1000, rel=0.011)


def test_the_server_decides_whether_a_call_failed(traces: SampleTraces) -> None:
    """A 404 is an error to the client's instrumentation and none to the server's: the server is authoritative."""
    client = traces.span("shop", CLIENT, error=True)
    other = traces.span("shop", CLIENT)
    outcome = Outcome([client, traces.span("cart", SERVER, client), other, traces.span("cart", SERVER, other, error=True)])
    assert outcome.calls == {("shop", "cart", "call"): (2, 1)}


def test_every_server_under_one_client_is_a_call(traces: SampleTraces) -> None:
    """Retries, hedging and fan-out below one client span."""
    client = traces.span("shop", CLIENT)
    servers = [traces.span("cart", SERVER, client, version=version) for version in ("1", "1", "2")]
    assert Outcome([client, *servers]).calls == {("shop", "cart", "call"): (3, 0)}


@pytest.mark.parametrize("server_first", [False, True])
def test_a_message_is_paired_by_parent_in_both_orders(traces: SampleTraces, server_first: bool) -> None:
    producer = traces.span("shop", PRODUCER, milliseconds=5)
    consumer = traces.span("mailer", CONSUMER, producer, end_ms=producer.end_ms + 40, milliseconds=10)
    outcome = Outcome([consumer, producer] if server_first else [producer, consumer])
    assert outcome.calls == {("shop", "mailer", "message"): (1, 0)}
    assert outcome.edges[0].gap.quantile(0.5) == pytest.approx(30_000, rel=0.011)


@pytest.mark.parametrize("consumer_first", [False, True])
def test_a_message_is_paired_by_span_link_across_traces(traces: SampleTraces, consumer_first: bool) -> None:
    producers = [traces.span("shop", PRODUCER) for _ in range(5)]
    batch = traces.span("mailer", CONSUMER, links=producers)
    outcome = Outcome([batch, *producers] if consumer_first else [*producers, batch])
    assert outcome.calls == {("shop", "mailer", "message"): (5, 0)}
    assert outcome.skipped == {Skip.LINKED: 1}
    assert [(service.requests, service.roots) for service in outcome.services] == [(1, 0)]


def test_consumers_of_one_message_are_told_apart_where_their_traces_number_spans_alike(traces: SampleTraces) -> None:
    """A span id is unique within its trace only."""
    producer = traces.span("shop", PRODUCER)
    consumers = [traces.span(service, CONSUMER, links=[producer]) for service in ("a", "b", "b")]
    consumers = [msgspec.structs.replace(consumer, span=b"\0" * 7 + b"\3") for consumer in consumers]
    outcome = Outcome([producer, *consumers])
    assert outcome.calls == {("shop", "a", "message"): (1, 0), ("shop", "b", "message"): (2, 0)}
    assert outcome.skipped == {Skip.LINKED: 3}


def test_a_link_to_the_parent_is_not_a_second_message(traces: SampleTraces) -> None:
    producer = traces.span("shop", PRODUCER)
    assert Outcome([producer, traces.span("mailer", CONSUMER, producer, links=[producer])]).calls == {("shop", "mailer", "message"): (1, 0)}


RECEIVE = {"messaging.operation.type": "receive"}


def test_fetching_messages_is_not_processing_them(traces: SampleTraces) -> None:
    producer = traces.span("shop", PRODUCER)
    receive = traces.span("mailer", CONSUMER, links=[producer], attributes=RECEIVE)
    process = traces.span("mailer", CONSUMER, receive, links=[producer])
    outcome = Outcome([producer, receive, process])
    assert outcome.calls == {("shop", "mailer", "message"): (1, 0)}
    assert outcome.skipped == {Skip.LINKED: 1, Skip.RECEIVE: 1, Skip.UNLINKED: 1}
    assert [(service.service, service.requests) for service in outcome.services] == [("mailer", 1)]


@pytest.mark.parametrize("kind", [CONSUMER, CLIENT])
def test_a_fetching_span_below_the_producer_is_the_consumer(traces: SampleTraces, kind: Kind) -> None:
    """Several instrumentations have no other span for a message than one that says "receive"."""
    producer = traces.span("shop", PRODUCER)
    receive = traces.span("mailer", kind, producer, attributes=RECEIVE, error=True)
    outcome = Outcome([receive, traces.span("mailer", CONSUMER, receive), producer])
    assert outcome.calls == {("shop", "mailer", "message"): (1, 1)}
    assert outcome.skipped == {Skip.NESTED_SERVER: 1}


def test_the_links_of_a_fetching_span_are_messages_where_nothing_processes_them(traces: SampleTraces) -> None:
    producers = [traces.span("shop", PRODUCER) for _ in range(3)]
    outcome = Outcome([traces.span("mailer", CLIENT, links=producers, attributes=RECEIVE), *producers])
    assert outcome.calls == {("shop", "mailer", "message"): (3, 0)}
    assert outcome.skipped == {Skip.RECEIVE: 1}


def test_a_fetching_span_below_work_of_its_own_service_is_local(traces: SampleTraces) -> None:
    loop = traces.span("mailer", CLIENT)
    receive = traces.span("mailer", CONSUMER, loop, attributes=RECEIVE)
    outcome = Outcome([loop, receive, traces.span("mailer", CONSUMER, receive, attributes={"messaging.operation.type": "settle"})])
    assert outcome.calls == {}
    assert outcome.skipped == {Skip.NO_PEER: 1, Skip.RECEIVE: 2}
    assert outcome.services == []


def test_the_client_that_carries_a_message_to_the_broker_does_not_hide_its_producer(traces: SampleTraces) -> None:
    """A queue spoken to over HTTP: the message is consumed much later all the same."""
    producer = traces.span("shop", PRODUCER)
    client = traces.span("shop", CLIENT, producer, attributes={"server.address": "queue.example"})
    consumer = traces.span("mailer", CONSUMER, producer, end_ms=producer.end_ms + 20_000)
    outcome = Outcome([producer, client, consumer])
    assert outcome.calls == {("shop", "mailer", "message"): (1, 0), ("shop", "queue.example", "external"): (1, 0)}
    assert outcome.skipped == {}


def test_a_wrapper_that_is_answered_in_a_later_window_is_no_wrapper(traces: SampleTraces) -> None:
    """It is a half of an edge, and so under no reason."""
    outer = traces.span("shop", CLIENT)
    inner = traces.span("shop", CLIENT, outer, attributes={"server.address": "proxy.example"})
    outcome = Outcome([outer, inner, traces.span("cart", SERVER, outer, end_ms=outer.end_ms + 12_000)])
    assert outcome.calls == {("shop", "cart", "call"): (1, 0), ("shop", "proxy.example", "external"): (1, 0)}
    assert outcome.skipped == {}


def test_local_spans_are_stepped_over_to_the_remote_ancestor(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT)
    outer = traces.span("cart", INTERNAL, client)
    inner = traces.span("cart", INTERNAL, outer)
    outcome = Outcome([traces.span("cart", SERVER, inner), inner, outer, client])
    assert outcome.calls == {("shop", "cart", "call"): (1, 0)}
    assert outcome.skipped == {Skip.LOCAL: 2}


ORDERS = {"messaging.system": "kafka", "messaging.destination.name": "orders"}


@pytest.mark.parametrize(
    ("kind", "callee", "attributes", "edge"),
    [(CLIENT, SERVER, {"server.address": "cart.local"}, "call"), (PRODUCER, CONSUMER, ORDERS, "message")],
)
def test_local_spans_of_the_caller_between_do_not_hide_its_client(
    traces: SampleTraces, kind: Kind, callee: Kind, attributes: dict[str, str], edge: str
) -> None:
    """It is answered, though it ends in a later window; its latency counts, and who answered is learned."""
    client = traces.span("shop", kind, end_ms=BEGINNING_MS + 11_000, attributes=attributes)
    outer = traces.span("shop", INTERNAL, client)
    inner = traces.span("shop", INTERNAL, outer)
    spans = [client, outer, inner, traces.span("cart", callee, inner)]
    for received in (spans, spans[::-1]):
        outcome = Outcome(received)
        assert outcome.calls == {("shop", "cart", edge): (1, 0)}
        assert [found.client.count for found in outcome.edges] == [1]
    failed = traces.span("shop", kind, end_ms=BEGINNING_MS + 11_500, attributes=attributes, error=True)
    assert Outcome([*spans, failed]).calls == {("shop", "cart", edge): (2, 1) if kind is CLIENT else (1, 0)}


def test_a_local_span_names_the_caller_where_its_client_is_not_there(traces: SampleTraces) -> None:
    """None was made, or it was lost: below a server, below nothing, below a client of somebody else, below a span that never came."""
    served, elsewhere = traces.span("shop", SERVER), traces.span("bank", CLIENT)
    above = [served, None, elsewhere]
    local = [*(traces.span("shop", INTERNAL, parent) for parent in above), traces.span("shop", INTERNAL, missing_parent=True)]
    outcome = Outcome([served, elsewhere, *local, *(traces.span("cart", SERVER, each) for each in local)])
    assert outcome.calls == {("shop", "cart", "call"): (4, 0)}
    assert outcome.skipped == {Skip.LOCAL: 4, Skip.ROOT: 1, Skip.NO_PEER: 1}


def test_a_remote_ancestor_without_a_client_span_still_is_the_caller(traces: SampleTraces) -> None:
    shop = traces.span("shop", SERVER)
    work = traces.span("shop", INTERNAL, shop)
    outcome = Outcome([shop, work, traces.span("cart", SERVER, work)])
    assert outcome.calls == {("shop", "cart", "call"): (1, 0)}
    assert outcome.edges[0].client.count == 0


def test_a_server_directly_below_its_own_service_is_the_same_request(traces: SampleTraces) -> None:
    outer = traces.span("shop", SERVER)
    outcome = Outcome([outer, traces.span("shop", SERVER, outer)])
    assert outcome.calls == {}
    assert outcome.skipped == {Skip.ROOT: 1, Skip.NESTED_SERVER: 1}


def test_a_service_that_calls_itself_is_an_edge_to_itself(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT)
    assert Outcome([client, traces.span("shop", SERVER, client)]).calls == {("shop", "shop", "call"): (1, 0)}


def test_a_span_that_is_its_own_parent_is_counted_as_a_loop(traces: SampleTraces) -> None:
    span = traces.span("shop", SERVER)
    loop = SampleSpan(*(span.span if name == "parent" else getattr(span, name) for name in SampleSpan.__struct_fields__))
    assert Outcome([loop]).skipped == {Skip.PARENT_LOOP: 1}


def test_a_client_around_a_client_is_a_wrapper(traces: SampleTraces) -> None:
    """An object mapper's span around the driver's: one call to the database, not two."""
    outer = traces.span("shop", CLIENT, attributes={"db.system": "postgresql"})
    inner = traces.span("shop", CLIENT, outer, attributes={"db.system": "postgresql", "db.name": "orders"})
    outcome = Outcome([outer, inner])
    assert outcome.calls == {("shop", "postgresql/orders", "database"): (1, 0)}
    assert outcome.skipped == {Skip.WRAPPED_CLIENT: 1}


@pytest.mark.parametrize("parents", ["a", "ba", "caaa"])
def test_a_client_whose_parents_lead_back_to_it_wraps_nobody(traces: SampleTraces, parents: str) -> None:
    """Its own parent, each other's, or others inside such a loop: each calls whom it names."""
    names = "abcd"[: len(parents)]
    made = [traces.span("shop", CLIENT, attributes={"server.address": f"{name}.example"}) for name in names]
    above = [made[names.index(up)] for up in parents]
    looped = [msgspec.structs.replace(one, trace=made[0].trace, parent=up.span) for one, up in zip(made, above, strict=True)]
    outcome = Outcome(looped)
    assert outcome.calls == {("shop", f"{name}.example", "external"): (1, 0) for name in names}
    assert outcome.skipped == {}


TO_CART, ELSEWHERE = {"server.address": "cart.local", "server.port": 80}, {"server.address": "10.0.0.7"}


@pytest.mark.parametrize(
    ("attributes", "failed", "answered_by", "counts"),
    [
        ({}, True, None, True),
        (ELSEWHERE, True, None, True),
        ({"db.system": "redis"}, True, None, True),
        (TO_CART, False, None, True),
        ({"server.address": "bank.local"}, False, "bank", True),
        (TO_CART, True, None, False),
        ({"server.address": "bank.local"}, True, "bank", False),
        (ELSEWHERE, False, "cart", False),
    ],
    ids=["dns", "proxy", "cache", "connected", "token", "attempt", "gateway", "answered"],
)
def test_a_failed_call_to_a_service_is_wrapped_only_by_what_explains_it(
    traces: SampleTraces, attributes: dict[str, Any], failed: bool, answered_by: str | None, counts: bool
) -> None:
    """A look-up of the name, a token, a cache inside the call must not hide a candidate that died; an attempt is the call itself, and a
    gateway that answered with a failure tells who failed."""
    outer = traces.span("shop", CLIENT, error=True, attributes=TO_CART)
    between = traces.span("shop", INTERNAL, outer)
    inner = traces.span("shop", CLIENT, between, error=failed, attributes=attributes)
    answers = [traces.span(answered_by, SERVER, inner, error=failed)] if answered_by else []
    outcome = Outcome([outer, between, inner, *answers], catalog={"cart.local": "cart"})
    failures = [(edge.callee_version, edge.errors) for edge in outcome.edges if edge.callee == "cart" and edge.errors]
    assert failures == ([("unknown", 1)] if counts or attributes == TO_CART else [])
    assert outcome.skipped.get(Skip.WRAPPED_CLIENT, 0) == (not counts)


URL, RPC = {"http.url": "http://cart.local:8080/items/1"}, {"rpc.system": "grpc", "rpc.service": "shop.Cart"}
BY_PERSON = {"peer.service": "the-cart"}


@pytest.mark.parametrize(
    ("answered", "failed"),
    [
        (URL | {"net.peer.ip": "10.0.0.5"}, URL),
        (URL | {"net.sock.peer.addr": "10.0.0.5", "net.sock.peer.port": 8080}, URL),
        (RPC | {"net.peer.ip": "10.0.0.5", "net.peer.port": 8080}, RPC),
        (RPC | {"server.address": "10.0.0.5", "server.port": 8080}, RPC | {"server.address": "10.0.0.9", "server.port": 8080}),
        (RPC | {"network.peer.address": "fd00::5"}, RPC | {"network.peer.address": "fd00::9"}),
        (RPC | {"server.address": "cart.local"}, RPC),
        (BY_PERSON | {"server.address": "10.0.0.5"}, BY_PERSON),
        (BY_PERSON | {"server.address": "cart-1.local"}, BY_PERSON | {"server.address": "cart-2.local"}),
    ],
)
@pytest.mark.parametrize("engine", [REFERENCE, columnar(always=True), columnar(always=True, compiled=False)], ids=["plain", "c", "columns"])
def test_who_answered_is_known_by_all_that_a_call_names_also_where_none_was_connected(
    traces: SampleTraces, engine: Engine, answered: dict[str, Any], failed: dict[str, Any]
) -> None:
    """A candidate that dies takes no connection, or its instance has an address that never answered: its calls must not become external."""
    client = traces.span("shop", CLIENT, attributes=answered)
    chain = InMemoryChain(SETTINGS, engine)
    for spans, seconds in (
        ([client, traces.span("cart", SERVER, client)], 12),
        ([traces.span("shop", CLIENT, error=True, end_ms=BEGINNING_MS + 31_000, attributes=failed)], 42),
    ):
        chain.receive([request(spans)], BEGINNING_MS + seconds * 1_000)
        chain.advance(BEGINNING_MS + (seconds + 20) * 1_000)
    assert call_counts(chain.parts) == {("shop", "cart", "call"): (2, 1)}


@pytest.mark.parametrize("engine", [REFERENCE, columnar(always=True), columnar(always=True, compiled=False)], ids=["one", "C", "columns"])
def test_the_first_calls_of_a_caller_to_where_one_service_answers_all_others_are_calls_to_it(traces: SampleTraces, engine: Engine) -> None:
    """They may meet a candidate that is dead. But each caller's own machine is another place."""
    chain = InMemoryChain(SETTINGS, engine)
    basket, own = ({"server.address": host, "server.port": 80} for host in ("basket.shop.svc", "localhost"))
    spans = []
    for caller in ("shop", "bank"):
        for attributes in (basket, own):
            client = traces.span(caller, CLIENT, attributes=attributes)
            spans += [client, traces.span("cart" if attributes is basket else "proxy", SERVER, client)]
    chain.receive([request(spans)], BEGINNING_MS + 2_000)
    chain.advance(BEGINNING_MS + 21_000)
    failed = [traces.span("late", CLIENT, error=True, end_ms=BEGINNING_MS + 25_000, attributes=each) for each in (basket, own)]
    chain.receive([request(failed)], BEGINNING_MS + 26_000)
    chain.advance(LATER_MS)
    found = {edge: count for edge, count in call_counts(chain.parts).items() if edge[0] == "late"}
    assert found == {("late", "cart", "call"): (1, 1), ("late", "localhost", "external"): (1, 1)}
    assert {edge.callee_version for part in chain.parts for edge in part.edges if edge.caller == "late"} == {"unknown"}


@pytest.mark.parametrize(
    ("answered", "other"),
    [
        (RPC | {"server.address": "cart.local"}, RPC | {"server.address": "partner.example"}),
        (URL | {"net.peer.ip": "127.0.0.1"}, {"http.url": "http://partner.example/", "net.peer.ip": "127.0.0.1"}),
        (RPC | {"net.peer.ip": "10.0.0.5"}, {"rpc.service": "other.Cart", "net.peer.ip": "10.0.0.9"}),
    ],
    ids=["host", "proxy", "service"],
)
def test_what_has_another_name_is_not_the_service_that_shares_a_lesser_one(
    traces: SampleTraces, answered: dict[str, Any], other: dict[str, Any]
) -> None:
    client = traces.span("shop", CLIENT, attributes=answered)
    spans = [client, traces.span("cart", SERVER, client), traces.span("shop", CLIENT, end_ms=BEGINNING_MS + 11_000, attributes=other)]
    (calls, elsewhere) = sorted(Outcome(spans).calls.items())
    assert (calls, elsewhere[0][2]) == ((("shop", "cart", "call"), (1, 0)), "external")


def test_an_answer_that_comes_late_inside_a_call_that_was_counted_adds_none(traces: SampleTraces) -> None:
    outer = traces.span("shop", CLIENT, attributes=TO_CART)
    inner = traces.span("shop", CLIENT, outer, attributes=ELSEWHERE)
    chain = InMemoryChain(SETTINGS, catalog={"cart.local": "cart"})
    for spans, seconds in (([outer, inner], 12), ([traces.span("cart", SERVER, inner, error=True)], 35)):
        chain.receive([request(spans)], BEGINNING_MS + seconds * 1_000)
        chain.advance(BEGINNING_MS + (seconds + 20) * 1_000)
    assert call_counts(chain.parts) == {("shop", "cart", "call"): (1, 1)}


def test_a_client_and_server_that_share_a_span_id_are_a_call(traces: SampleTraces) -> None:
    """Zipkin's B3 propagation; the Collector keeps the shared id."""
    root = traces.span("edge", SERVER)
    client = traces.span("shop", CLIENT, root)
    server = traces.span("cart", SERVER, root)
    shared = SampleSpan(*(client.span if name == "span" else getattr(server, name) for name in SampleSpan.__struct_fields__))
    below = traces.span("cart", CLIENT, shared, attributes={"db.system": "redis"})
    outcome = Outcome([shared, below, client, root])
    assert outcome.calls == {("cart", "redis", "database"): (1, 0), ("shop", "cart", "call"): (1, 0)}


def test_a_root_server_is_traffic_from_outside(traces: SampleTraces) -> None:
    outcome = Outcome([traces.span("shop", SERVER, milliseconds=40, error=True)])
    (service,) = outcome.services
    assert (service.service, service.version, service.requests, service.errors, service.roots) == ("shop", "1", 1, 1, 1)
    assert outcome.skipped == {Skip.ROOT: 1}


def test_a_missing_parent_is_counted_not_forgotten(traces: SampleTraces) -> None:
    outcome = Outcome([traces.span("shop", SERVER, missing_parent=True)])
    assert outcome.skipped == {Skip.MISSING_PARENT: 1}
    assert [service.requests for service in outcome.services] == [1]


@pytest.mark.parametrize(
    ("attributes", "callee", "kind"),
    [
        ({"db.system.name": "postgresql", "db.namespace": "orders"}, "postgresql/orders", "database"),
        ({"db.system": "mysql", "server.address": "db-1.internal"}, "mysql/db-1.internal", "database"),
        ({"peer.service": "ledger", "db.system": "mysql"}, "ledger", "database"),
        ({"peer.service": "bank"}, "bank", "external"),
        ({"peer.service": "https://api.bank.example/pay/4711?token=secret"}, "api.bank.example", "external"),
        ({"peer.service": "session-9f8e7d6c5b4a"}, "session-*", "external"),
        ({"rpc.service": "ledger.v1.Ledger"}, "ledger.v1.Ledger", "external"),
        ({"service.peer.name": "bank", "service.peer.namespace": "pay", "peer.service": "x"}, "pay/bank", "external"),
        ({"db.system.name": "mongodb", "db.namespace": "t_550E8400-e29b-41d4-a716-446655440000"}, "mongodb/t_*", "database"),
        ({"db.system": "postgresql", "server.address": "/run/.s.PGSQL.5432"}, "postgresql/unix-socket", "database"),
        ({"server.address": "http://api.bank.example:80/pay/4711"}, "api.bank.example", "external"),
        ({"server.address": "api.bank.example", "server.port": 443}, "api.bank.example", "external"),
        ({"net.peer.name": "API.bank.example."}, "api.bank.example", "external"),
        ({"url.full": "https://api.bank.example./pay"}, "api.bank.example", "external"),
        ({"http.url": "https://api.bank.example/pay/4711?token=secret"}, "api.bank.example", "external"),
        ({"server.address": "10.1.2.3", "server.port": 80}, "ip-address", "external"),
        ({"server.address": "i-0abc12345def.compute.example"}, "*.compute.example", "external"),
        ({"rpc.service": "bank.Ledger"}, "bank.Ledger", "external"),
        ({"server.address": "ip-10-0-3-77.ec2.internal"}, "*.ec2.internal", "external"),
        ({"server.address": "10-0-3-77.default.pod.cluster.local"}, "*.default.pod.cluster.local", "external"),
        ({"server.address": "10.0.3.77.nip.io"}, "*.nip.io", "external"),
        ({"server.address": "redis-master-0.redis"}, "redis-master-0.redis", "external"),
        ({"server.address": "node-1"}, "node-1", "external"),
        ({"server.address": "me:secret@bank.example"}, "bank.example", "external"),
        ({"server.address": "jdbc:mysql://me:secret@bank.example/x"}, "bank.example", "external"),
        ({"peer.service": "amqp://me:secret@bank.example/x"}, "bank.example", "external"),
        ({"peer.service": "me:secret@bank"}, "bank", "external"),
        ({"peer.service": "me@bank.example"}, "bank.example", "external"),
        ({"peer.service": "app=bank"}, "app=*", "external"),
        ({"server.address": "bank.example;password=secret"}, "bank.example", "external"),
        ({"server.address": "bank.example?api_key=secret", "server.port": 80}, "bank.example", "external"),
        ({"server.address": "bank;password=secret@1", "rpc.service": "Pay"}, "Pay", "external"),
        ({"server.address": "dns:///bank.example:8080"}, "bank.example", "external"),
        ({"server.address": "dns://8.8.8.8/bank.example"}, "bank.example", "external"),
        ({"server.address": "dns:bank.example:8080"}, "bank.example", "external"),
        ({"server.address": "xds:///bank.example"}, "bank.example", "external"),
        ({"server.address": "ipv4:1.2.3.4:80,5.6.7.8:80"}, "ip-address", "external"),
        ({"server.address": "ipv6:[::1]:80"}, "ip-address", "external"),
        ({"server.address": "[::1]:80"}, "ip-address", "external"),
        ({"server.address": "dns:53"}, "dns", "external"),
        ({"peer.service": "dns:///bank.example:8080"}, "bank.example", "external"),
        ({"db.system": "mssql", "db.name": "Server=h;Password=secret"}, "mssql/Server=*", "database"),
        ({"peer.service": "bank@2.1"}, "bank@2.1", "external"),
        ({"peer.service": "pay/bank@canary"}, "pay/bank@canary", "external"),
        ({"peer.service": "me@corp:secret@bank:5672"}, "bank:*", "external"),
        ({"peer.service": "me:sec@ret@bank"}, "bank", "external"),
        ({"peer.service": "//me:sec/ret@bank"}, "bank", "external"),
        ({"peer.service": "server/me:secret@bank"}, "bank", "external"),
        ({"peer.service": "me:sec=ret@bank"}, "*", "external"),
        ({"peer.service": "bank:80/x?key=sec@ret"}, "*", "external"),
        ({"peer.service": "Server=bank:80;Password=sec@ret"}, "Server=*", "external"),
        ({"rpc.service": "me/secret@bank:80"}, "bank:80", "external"),
        ({"db.system": "oracle", "db.name": "scott/tiger@h:1521/orcl"}, "oracle/h:*/orcl", "database"),
        ({"db.system": "oracle", "db.name": "scott/ti@g=er@orcl"}, "oracle/orcl", "database"),
        ({"db.system": "oracle", "db.name": "scott/tiger@//h/orcl"}, "oracle///h/orcl", "database"),
        ({"db.system": "postgresql", "db.name": "postgresql://me:secret@db/shop"}, "postgresql/shop", "database"),
        ({"db.system": "postgresql", "db.name": "postgresql://me:sec/ret@db/shop"}, "postgresql/*", "database"),
        ({"db.system": "postgresql", "db.name": "postgresql://me:sec?ret@db/shop"}, "postgresql/*", "database"),
        ({"db.system": "postgresql", "db.name": "jdbc:postgresql://db:5432/shop?password=secret"}, "postgresql/shop", "database"),
        ({"db.system": "mssql", "db.name": "jdbc:sqlserver://db:1433;databaseName=x;password=secret"}, "mssql/db", "database"),
        ({"db.system": "oracle", "db.name": "jdbc:oracle:thin:scott/tiger@db:1521:ORCL"}, "oracle/db:*:ORCL", "database"),
        ({"db.system": "mongodb", "db.name": "mongodb://me:secret@h1:27017,h2:27017/shop"}, "mongodb/shop", "database"),
        ({"db.system": "mongodb", "db.name": "backup-2024-11-27"}, "mongodb/backup-*", "database"),
        ({"db.system": "sqlite", "db.name": "/data/shop.db"}, "sqlite//data/shop.db", "database"),
    ],
)
def test_an_unanswered_client_is_named_by_its_attributes(traces: SampleTraces, attributes: dict[str, Any], callee: str, kind: str) -> None:
    assert Outcome([traces.span("shop", CLIENT, attributes=attributes)]).calls == {("shop", callee, kind): (1, 0)}


def test_an_unconsumed_message_goes_to_its_destination(traces: SampleTraces) -> None:
    attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    assert Outcome([traces.span("shop", PRODUCER, attributes=attributes)]).calls == {("shop", "kafka/orders", "external"): (1, 0)}


@pytest.mark.parametrize(
    ("destination", "shown"),
    [
        ("amqp://me:secret@h.example/orders", "orders"),
        ("https://sqs.us-east-1.amazonaws.com/123456789012/orders?token=secret", "orders"),
        ("inbox/joe@shop.example", "inbox/shop.example"),
        ("orders@node1", "orders@node1"),
        ("shop/orders@v2", "shop/orders@v2"),
        ("ghcr.io/shop/orders@sha256:12ab", "ghcr.io/shop/orders@sha256:12ab"),
        ("me/secret@h:61616/orders", "h:*/orders"),
        ("arn:aws:sns:us-east-1:123456789012:orders", "arn:aws:sns:us-east-1:*:orders"),
        ("amq.gen-JzTY20BRgKO-HjmUJj0wLg", "amq.gen-*"),
        ("spring.gen-4PjVZ2lqQ5e", "spring.gen-*"),
        ("next.gen-orders", "next.gen-orders"),
        ("orders.anonymous.B1kPQXNDRwOKPmDhyLwb1Q", "orders.anonymous.*"),
        ("_INBOX.xyz.1", "_INBOX.*"),
        ("temp-queue://ID:host-41234-1700000000-1:1:1", "*"),
        ("persistent://public/default/orders", "persistent://public/default/orders"),
        ("orders.v2.retry-5m", "orders.v2.retry-5m"),
    ],
)
def test_a_destination_is_shown_without_secrets_and_ids(traces: SampleTraces, destination: str, shown: str) -> None:
    attributes = {"messaging.system": "x", "messaging.destination.name": destination}
    assert Outcome([traces.span("shop", PRODUCER, attributes=attributes)]).calls == {("shop", f"x/{shown}", "external"): (1, 0)}


def test_an_unconsumed_message_to_a_consumed_destination_is_counted_as_such(traces: SampleTraces) -> None:
    attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    taken = traces.span("shop", PRODUCER, attributes=attributes)
    outcome = Outcome([taken, traces.span("mailer", CONSUMER, taken), traces.span("shop", PRODUCER, attributes=attributes)])
    assert outcome.calls == {("shop", "mailer", "message"): (1, 0)}
    assert outcome.skipped == {Skip.UNCONSUMED: 1}


@pytest.mark.parametrize("context", ["follows", "is lost", "is not propagated"])
@pytest.mark.parametrize("producer", ["shop", "admin"])
def test_a_message_to_what_anybody_consumes_goes_to_nobody_outside(traces: SampleTraces, context: str, producer: str) -> None:
    """Whoever produced it, and whether or not the context of what was consumed is known: the destination is one of ours."""
    attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    taken = traces.span("shop", PRODUCER, attributes=attributes) if context == "follows" else None
    consumer = traces.span("mailer", CONSUMER, taken, missing_parent=context == "is lost", attributes=attributes)
    spans = [consumer, traces.span(producer, PRODUCER, attributes=attributes)]
    outcome = Outcome([taken, *spans] if taken else spans)
    assert {kind for _, _, kind in outcome.calls} <= {"message"}
    assert outcome.skipped[Skip.UNCONSUMED] == 1


def test_a_message_that_waited_too_long_is_of_the_one_known_producer(traces: SampleTraces) -> None:
    attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    taken = traces.span("shop", PRODUCER, attributes=attributes)
    orphan = traces.span("mailer", CONSUMER, missing_parent=True, attributes=attributes)
    outcome = Outcome([taken, traces.span("mailer", CONSUMER, taken, attributes=attributes), orphan])
    assert outcome.calls == {("shop", "mailer", "message"): (2, 0)}


def test_a_client_that_names_nobody_is_counted(traces: SampleTraces) -> None:
    assert Outcome([traces.span("shop", CLIENT)]).skipped == {Skip.NO_PEER: 1}


def test_a_failed_call_to_a_service_of_the_catalog_is_a_failed_call_of_unknown_version(traces: SampleTraces) -> None:
    """A candidate that dies emits no server span: that must be the loudest signal."""
    client = traces.span("shop", CLIENT, error=True, attributes={"server.address": "cart.shop.svc", "server.port": 8080})
    (edge,) = Outcome([client], catalog={"cart.shop.svc": "cart"}).edges
    assert (edge.callee, edge.kind, edge.callee_version, edge.calls, edge.errors) == ("cart", "call", "unknown", 1, 1)


def test_a_service_of_the_catalog_is_known_by_a_name_that_looks_generated(traces: SampleTraces) -> None:
    """What may be shown and what is recognised are two things."""
    client = traces.span("shop", CLIENT, error=True, attributes={"peer.service": "legacy-20041231"})
    assert Outcome([client], catalog={"legacy-20041231": "legacy-20041231"}).calls == {("shop", "legacy-20041231", "call"): (1, 1)}


def test_a_failed_call_to_a_learned_address_is_a_failed_call_in_its_own_window(traces: SampleTraces) -> None:
    address = {"server.address": "127.0.0.1", "server.port": 8081}
    good = traces.span("shop", CLIENT, attributes=address)
    dead = traces.span("shop", CLIENT, error=True, attributes=address)
    outcome = Outcome([good, traces.span("cart", SERVER, good), dead])
    assert outcome.calls == {("shop", "cart", "call"): (2, 1)}
    failed = [(part.part, edge.calls) for part in outcome.chain.parts for edge in part.edges if edge.callee_version == "unknown"]
    assert failed == [(0, 1)]


B80 = {"server.address": "b.local", "server.port": 80}


@pytest.mark.parametrize(
    ("failed", "callee", "kind"),
    [
        ({"peer.service": "cart"}, "cart", "call"),
        ({"peer.service": "cart", "server.address": "mesh.local", "server.port": 15_001}, "cart", "call"),
        ({"server.address": "cart", "server.port": 80}, "cart", "call"),
        ({"server.address": "b.local"}, "cart", "call"),
        ({"server.address": "b.local", "server.port": 81}, "b.local", "external"),
        ({"server.address": "c.local"}, "c.local", "external"),
        ({"server.address": "d.local", "server.port": 80}, "cart", "call"),
        ({"server.address": "e.local", "server.port": 80}, "e.local", "external"),
        ({"server.address": "dns:///b.local:80"}, "cart", "call"),
        ({"peer.service": "bank"}, "bank", "external"),
        ({"peer.service": "cart", "db.system": "mysql", "server.address": "b.local"}, "cart", "database"),
    ],
)
def test_a_failed_call_is_of_the_service_that_its_name_or_host_certainly_is(
    traces: SampleTraces, failed: dict[str, Any], callee: str, kind: str
) -> None:
    """A service that answered in this environment, whoever asked, is known by its name; a host with one service on its ports by itself, and
    one that answered without a port on any."""
    client, other = (
        traces.span("shop", CLIENT, attributes=B80),
        traces.span("shop", CLIENT, attributes={"server.address": "c.local", "server.port": 1}),
    )
    answers = [traces.span("cart", SERVER, client), traces.span("stock", SERVER, other)]
    more: list[dict[str, str | int]] = [
        {"server.address": "c.local", "server.port": 2},
        {"server.address": "d.local"},
        {"server.address": "e.local"},
        {"server.address": "e.local", "server.port": 81},
    ]
    others = [traces.span("shop", CLIENT, attributes=attributes) for attributes in more]
    answers += [traces.span(service, SERVER, each) for service, each in zip(("cart", "cart", "cart", "stock"), others, strict=True)]
    dead = traces.span("shop", CLIENT, attributes=failed, error=True)
    outcome = Outcome([client, other, *answers, *others, dead])
    expected = {("shop", "cart", "call"): [4, 0], ("shop", "stock", "call"): [2, 0]}
    for place in (0, 1):
        expected.setdefault(("shop", callee, kind), [0, 0])[place] += 1
    assert outcome.calls == {edge: tuple(counts) for edge, counts in sorted(expected.items())}


def test_a_service_of_another_environment_is_not_known_by_its_name(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT, attributes=B80)
    dead = traces.span("shop", CLIENT, attributes={"peer.service": "cart"}, environment="staging", error=True)
    outcome = Outcome([client, traces.span("cart", SERVER, client), dead])
    assert outcome.calls == {("shop", "cart", "call"): (1, 0), ("shop", "cart", "external"): (1, 1)}


def test_an_address_of_two_services_is_nobodys(traces: SampleTraces) -> None:
    gateway = {"server.address": "gateway"}
    calls = [traces.span("shop", CLIENT, attributes=gateway) for _ in range(3)]
    answers = [traces.span("cart", SERVER, calls[0]), traces.span("stock", SERVER, calls[1])]
    assert Outcome([*calls, *answers]).calls[("shop", "gateway", "external")] == (1, 0)


def test_a_server_that_answers_after_its_caller_gave_up_adds_no_call(traces: SampleTraces) -> None:
    """The caller timed out in an earlier window and was counted there; the sum stays exact."""
    client = traces.span("shop", CLIENT, error=True, attributes={"peer.service": "cart"}, milliseconds=500)
    server = traces.span("cart", SERVER, client, end_ms=client.end_ms + 20_000, milliseconds=20_400)
    outcome = Outcome([client, server], catalog={"cart": "cart"})
    assert outcome.calls == {("shop", "cart", "call"): (1, 1)}
    assert sum(edge.server.count for edge in outcome.edges) == 1


@pytest.mark.parametrize(("caller_fails", "callee_fails"), [(True, True), (True, False), (False, True), (False, False)])
def test_an_answer_that_is_later_than_the_window_of_its_call_loses_no_failure(
    traces: SampleTraces, caller_fails: bool, callee_fails: bool
) -> None:
    client = traces.span("shop", CLIENT, error=caller_fails, attributes={"peer.service": "cart"})
    server = traces.span("cart", SERVER, client, error=callee_fails, end_ms=client.end_ms + 20_000)
    outcome = Outcome([client, server], catalog={"cart": "cart"})
    assert outcome.calls == {("shop", "cart", "call"): (1, int(caller_fails or callee_fails))}


@pytest.mark.parametrize("caller_fails", [False, True])
def test_an_answer_that_ends_a_moment_after_the_window_of_its_caller_is_the_answer(traces: SampleTraces, caller_fails: bool) -> None:
    """Clocks differ, and a server may go on for a moment: its version and its word count, and nothing is counted twice."""
    client = traces.span("shop", CLIENT, end_ms=BEGINNING_MS + 9_100, error=caller_fails, attributes={"peer.service": "cart"})
    server = traces.span("cart", SERVER, client, end_ms=BEGINNING_MS + 10_099, version="#2")
    outcome = Outcome([client, server], catalog={"cart": "cart"})
    assert [(edge.callee_version, edge.calls, edge.errors, edge.client.count) for edge in outcome.edges] == [("#2", 1, 0, 1)]


def test_what_nobody_answered_in_the_last_moment_of_a_window_counts_in_a_late_part_of_it(traces: SampleTraces) -> None:
    """What ended before that moment is not waited for: a dead candidate is known when its window closes."""
    dead = [
        traces.span("shop", CLIENT, end_ms=BEGINNING_MS + end_ms, error=True, attributes={"peer.service": "cart"})
        for end_ms in (8_999, 9_000)
    ]
    outcome = Outcome(dead, catalog={"cart": "cart"})
    found = [(part.window * 1000, part.part > 0, edge.calls, edge.errors) for part in outcome.chain.parts for edge in part.edges]
    assert found == [(BEGINNING_MS, True, 1, 1), (BEGINNING_MS, False, 1, 1)]


@pytest.mark.parametrize(("answered", "exposure"), [(False, Exposure.POSSIBLE), (True, Exposure.UNEXPOSED)])
def test_a_trace_may_have_touched_a_candidate_as_long_as_nobody_else_answered(
    traces: SampleTraces, answered: bool, exposure: Exposure
) -> None:
    root = traces.span("shop", SERVER, end_ms=BEGINNING_MS + 10_200)
    client = traces.span("shop", CLIENT, root, end_ms=BEGINNING_MS + 9_900, error=True, attributes={"peer.service": "cart"})
    server = traces.span("cart", SERVER, client, end_ms=BEGINNING_MS + 10_100, version="1")
    chain = InMemoryChain(SETTINGS, catalog={"cart": "cart"})
    chain.watch(Watch("prod", "cart", ("2",)))
    chain.receive([request([root, client, *[server] * answered])], BEGINNING_MS + 12_000)
    chain.advance(BEGINNING_MS + 20_000)
    chain.advance(BEGINNING_MS + 60_000)
    assert [row.exposure for part in chain.parts for row in part.exposures] == [exposure]


def test_skewed_clocks_never_give_negative_latencies(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT, milliseconds=10)
    server = traces.span("cart", SERVER, client, milliseconds=-3, end_ms=BEGINNING_MS + 3_600_000)
    (edge,) = Outcome([client, server]).edges
    assert (edge.server.zero, edge.gap.count) == (1, 1)


def test_sampling_is_corrected_by_the_threshold_in_the_trace_state(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT)
    server = traces.span("cart", SERVER, client, trace_state="vendor=1,ot=th:c;rv:abcdef01234567", error=True)
    (edge,) = Outcome([client, server]).edges
    assert (edge.calls, edge.errors, edge.estimated_calls, edge.estimated_errors) == (1, 1, 4.0, 4.0)


@pytest.mark.parametrize(("threshold", "spans"), [("fffff", 1 << 20), ("fffff8", 1), ("f" * 14, 1), ("f" * 15, 1), ("x", 1), ("0", 1)])
def test_a_threshold_that_nobody_can_mean_is_none(traces: SampleTraces, threshold: str, spans: int) -> None:
    client = traces.span("shop", CLIENT)
    (edge,) = Outcome([client, traces.span("cart", SERVER, client, trace_state=f"ot=th:{threshold}")]).edges
    assert edge.estimated_calls == spans


def test_a_repeated_span_counts_once(traces: SampleTraces) -> None:
    client = traces.span("shop", CLIENT)
    server = traces.span("cart", SERVER, client)
    outcome = Outcome([client, server, server, client])
    assert outcome.calls == {("shop", "cart", "call"): (1, 0)}
    assert outcome.skipped == {Skip.DUPLICATE: 2}


def test_of_two_spans_that_claim_one_id_the_same_is_held_whichever_came_first(traces: SampleTraces) -> None:
    """Two services, or the same with other attributes."""
    bank = {"server.address": "bank.example"}
    first = traces.span("shop", CLIENT, attributes=bank)
    for service, attributes in (("cart", bank), ("shop", {"server.address": "post.example"})):
        other = traces.span(service, CLIENT, attributes=attributes)
        second = SampleSpan(**{name: getattr(other, name) for name in other.__struct_fields__} | {"trace": first.trace, "span": first.span})
        assert Outcome([first, second]).calls == Outcome([second, first]).calls


def test_environments_are_kept_apart(traces: SampleTraces) -> None:
    spans = []
    for environment in ("prod", "staging"):
        client = traces.span("shop", CLIENT, environment=environment)
        spans += [client, traces.span("cart", SERVER, client, environment=environment)]
    outcome = Outcome(spans)
    assert sorted(part.environment for part in outcome.chain.parts if part.edges) == ["prod", "staging"]


def test_names_of_external_peers_are_capped(traces: SampleTraces) -> None:
    names = ["beta", "alpha", "gamma", "delta"]
    spans = [traces.span("shop", CLIENT, attributes={"peer.service": name}) for name in names]
    outcome = Outcome(spans, settings=SpanSettings(partitions=1, max_names=2))
    assert outcome.calls == {("shop", name, "external"): (count, 0) for name, count in (("alpha", 1), ("beta", 1), ("other", 2))}
