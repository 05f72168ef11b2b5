"""What the Collector's service graph connector and Tempo's service graphs promise, restated: shapes of theirs, edges of ours.

Their tests compare metrics; a case here says which edges and counts come of the same shape. Where ours differ on purpose, the
case says why.
"""

from collections.abc import Callable

import pytest

from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import CallCounts, InMemoryChain, call_counts
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = Kind.SERVER, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER, Kind.INTERNAL


def chain_of(spans: list[SampleSpan], settings: SpanSettings | None = None) -> InMemoryChain:
    chain = InMemoryChain(settings or SpanSettings(partitions=1))
    chain.receive([request(spans)], BEGINNING_MS + 12_000)
    for seconds in (20, 40, 90):
        chain.advance(BEGINNING_MS + seconds * 1_000)
    return chain


def edges(*spans: SampleSpan) -> CallCounts:
    return call_counts(chain_of(list(spans)).parts)


@pytest.fixture
def make() -> Callable[..., SampleSpan]:
    return SampleTraces().span


def test_a_request_a_query_and_a_message_of_one_trace(make: Callable[..., SampleSpan]) -> None:
    """Their common sample: a requester calls a server that queries a database, and publishes to a recorder."""
    root = make("requester", INTERNAL)
    call = make("requester", CLIENT, root, milliseconds=45)
    server = make("server", SERVER, call, milliseconds=29)
    query = make("server", CLIENT, server, milliseconds=23, attributes={"db.system": "postgresql", "db.name": "beasts"})
    publish = make("requester", PRODUCER, root, attributes={"messaging.system": "rabbitmq", "messaging.destination": "messages"})
    record = make("recorder", CONSUMER, publish, end_ms=publish.end_ms + 20, milliseconds=10)
    chain = chain_of([root, call, server, query, publish, record])
    assert call_counts(chain.parts) == {
        ("requester", "recorder", "message"): (1, 0),
        ("requester", "server", "call"): (1, 0),
        ("server", "postgresql/beasts", "database"): (1, 0),
    }
    by_callee = {edge.callee: edge for part in chain.parts for edge in part.edges}
    assert by_callee["server"].client.quantile(0.5) == pytest.approx(45_000, rel=0.011)
    assert by_callee["server"].server.quantile(0.5) == pytest.approx(29_000, rel=0.011)
    assert by_callee["recorder"].gap.quantile(0.5) == pytest.approx(10_000, rel=0.011), "the time in the messaging system"


def test_two_successes_and_a_failure_are_three_calls_of_which_one_failed(make: Callable[..., SampleSpan]) -> None:
    clients = [make("foo", CLIENT) for _ in range(3)]
    servers = [make("bar", SERVER, client, error=i == 2) for i, client in enumerate(clients)]
    assert edges(*clients, *servers) == {("foo", "bar", "call"): (3, 1)}


def test_a_failed_query_is_a_failed_call_of_the_database(make: Callable[..., SampleSpan]) -> None:
    query = make("server", CLIENT, error=True, attributes={"db.system": "postgresql", "db.name": "beasts"})
    assert edges(query) == {("server", "postgresql/beasts", "database"): (1, 1)}


def test_a_failure_that_only_the_client_saw_is_none_of_the_server(make: Callable[..., SampleSpan]) -> None:
    """Differs: to them either side's error fails the request. The server is authoritative: a 404 is an error to clients only."""
    client = make("foo", CLIENT, error=True)
    assert edges(client, make("bar", SERVER, client)) == {("foo", "bar", "call"): (1, 0)}


def test_a_service_that_calls_itself_is_an_edge(make: Callable[..., SampleSpan]) -> None:
    client = make("some-service", CLIENT)
    assert edges(client, make("some-service", SERVER, client)) == {("some-service", "some-service", "call"): (1, 0)}


def test_a_root_server_is_traffic_from_outside_and_no_edge(make: Callable[..., SampleSpan]) -> None:
    """Differs: they draw a node "user". We count the arrival as a root, so that no service of that name can be confused with it."""
    chain = chain_of([make("server", SERVER)])
    assert call_counts(chain.parts) == {}
    assert [(row.service, row.roots) for part in chain.parts for row in part.services] == [("server", 1)]


def test_a_server_whose_client_is_lost_is_no_traffic_from_outside(make: Callable[..., SampleSpan]) -> None:
    """Differs: to them any server whose client did not come in time is called by "user". A lost half is not a visitor."""
    chain = chain_of([make("server", SERVER, missing_parent=True)])
    assert call_counts(chain.parts) == {}
    assert chain.all_skipped == {Skip.MISSING_PARENT: 1}


@pytest.mark.parametrize(
    ("attributes", "callee", "kind"),
    [
        ({"peer.service": "payments"}, "payments", "external"),
        ({"service.peer.name": "payments"}, "payments", "external"),
        ({"service.peer.name": "payments", "peer.service": "old-name"}, "payments", "external"),
        ({"db.system": "postgresql", "db.name": "orders"}, "postgresql/orders", "database"),
        ({"db.system": "postgresql", "db.namespace": "orders"}, "postgresql/orders", "database"),
        ({"db.system": "postgresql", "db.namespace": "orders", "db.name": "old"}, "postgresql/orders", "database"),
        ({"db.system.name": "postgresql", "db.system": "other_sql", "db.name": "orders"}, "postgresql/orders", "database"),
        ({"db.system": "redis"}, "redis", "database"),
        ({"db.system": "mysql", "server.address": "db.example", "network.peer.address": "10.0.0.9"}, "mysql/db.example", "database"),
        ({"db.system": "mysql", "network.peer.address": "10.0.0.9", "network.peer.port": 3306}, "mysql/ip-address", "database"),
        ({"peer.service": "ledger", "db.system": "mysql", "db.name": "x"}, "ledger", "database"),
        ({"server.address": "payments.example", "server.port": 443}, "payments.example", "external"),
    ],
)
def test_an_uninstrumented_peer_is_named_by_its_attributes(
    make: Callable[..., SampleSpan], attributes: dict[str, str | int], callee: str, kind: str
) -> None:
    """Their virtual nodes and database names, in the order of preference that they take."""
    assert edges(make("server", CLIENT, attributes=attributes)) == {("server", callee, kind): (1, 0)}


def test_a_database_name_without_a_system_makes_no_database(make: Callable[..., SampleSpan]) -> None:
    """Differs: to Tempo `db.name` suffices. The system is what both conventions require, and a name alone tells no database apart."""
    assert edges(make("server", CLIENT, attributes={"db.name": "orders", "server.address": "x.example"})) == {
        ("server", "x.example", "external"): (1, 0)
    }


def test_a_message_of_a_producer_that_is_not_instrumented_makes_no_edge(make: Callable[..., SampleSpan]) -> None:
    """Differs: Tempo names the producer by the consumer's `peer.service`. To the one known producer of its destination it is counted
    (see the rules of pairing); beyond that a name in an attribute is not a service of ours."""
    chain = chain_of([make("consumer", CONSUMER, attributes={"peer.service": "external-producer"}, missing_parent=True)])
    assert call_counts(chain.parts) == {}
    assert chain.all_skipped == {Skip.MISSING_PARENT: 1}


def test_halves_that_stay_alone_expire_and_are_counted(make: Callable[..., SampleSpan]) -> None:
    """Their expired edges: nothing is held beyond the pairing time."""
    chain = chain_of([make("a", CLIENT), make("b", SERVER, missing_parent=True)])
    assert chain.all_skipped == {Skip.MISSING_PARENT: 1, Skip.NO_PEER: 1}
    assert [stage.held for stage in chain.pairs] == [0]


def test_a_full_store_drops_with_a_count(make: Callable[..., SampleSpan]) -> None:
    """They refuse what does not fit. We give up the oldest, and say how many."""
    spans = [make("a", CLIENT, end_ms=BEGINNING_MS + i) for i in range(30)]
    chain = chain_of(spans, SpanSettings(partitions=1, max_halves=8))
    assert chain.all_skipped == {Skip.EVICTED: 29, Skip.NO_PEER: 1}


@pytest.mark.parametrize("milliseconds", [0.0, 25_000_000.0, 125_000_000.0])
def test_no_latency_is_out_of_range(make: Callable[..., SampleSpan], milliseconds: float) -> None:
    client = make("foo", CLIENT, milliseconds=milliseconds)
    (edge,) = [edge for part in chain_of([client, make("bar", SERVER, client)]).parts for edge in part.edges]
    assert edge.client.quantile(0.5) == pytest.approx(milliseconds * 1_000, rel=0.011)
