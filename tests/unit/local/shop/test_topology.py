"""The shop has the shapes that it promises, and its table holds together."""

import networkx as nx

from ctrlplane_stream.local.shop.topology import ENTRIES, SERVICES, Publish, Query, service_named
from ctrlplane_stream.model.identity import ServiceKind


def _graph() -> "nx.DiGraph[str]":
    """Who calls, or sends messages to, whom; a table is a node of its own."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    consumers = {s.consumes: s.name for s in SERVICES if s.consumes}
    for service in SERVICES:
        graph.add_node(service.name)
        graph.add_edges_from((service.name, call.service) for call in service.calls)
        for operation in service.operations:
            for action in (a for stage in operation.stages for a in stage):
                if isinstance(action, Publish):
                    graph.add_edge(service.name, consumers[action.topic])
                if isinstance(action, Query):
                    graph.add_edge(service.name, f"database of {service.name}")
    return graph


def test_every_call_has_somebody_to_answer_it() -> None:
    """Calls, stray ones too, name an operation that exists, never of the caller itself."""
    for service in SERVICES:
        for call in (*service.calls, *((service.stray,) if service.stray else ())):
            callee = service_named(call.service)
            assert callee is not None
            assert callee.operation(call.operation) is not None
            assert callee is not service


def test_every_entry_asks_for_operations_that_exist() -> None:
    """And its shares sum to one."""
    for entry in ENTRIES:
        service = service_named(entry.service)
        assert service is not None
        assert all(service.operation(name) for name in entry.mix)
        assert sum(entry.mix.values()) == 1.0


def test_nobody_calls_in_circles() -> None:
    """Not even versions with wrong calls do, one at a time: a request must end."""
    graph = _graph()
    assert nx.is_directed_acyclic_graph(graph)
    for service in SERVICES:
        if service.stray:
            wrong = nx.DiGraph(graph)
            wrong.add_edge(service.name, service.stray.service)
            assert nx.is_directed_acyclic_graph(wrong)


def test_the_shop_has_every_shape_that_a_graph_can_trip_over() -> None:
    """At least eight services, a fan-out, a chain of four, a shared dependency, a retry, a database, a consumer behind a topic."""
    graph = _graph()
    assert len(SERVICES) >= 8
    assert max(len({c.service for c in s.calls}) for s in SERVICES) >= 3
    assert nx.has_path(graph, "shop/frontend", "shop/inventory")
    assert max(len(path) for path in nx.all_simple_paths(graph, "shop/frontend", "shop/inventory")) >= 4
    assert graph.in_degree("shop/inventory") >= 3
    assert any(call.attempts > 1 for s in SERVICES for call in s.calls)
    assert any(s.queries for s in SERVICES)
    assert [s.name for s in SERVICES if s.kind is ServiceKind.CONSUMER and s.consumes] == ["shop/fulfilment"]


def test_the_second_group_has_nothing_to_do_with_the_first() -> None:
    """Nothing connects them, in either direction; stray calls stay within their group too."""
    groups = sorted(sorted(c) for c in nx.weakly_connected_components(_graph()))
    assert [{name.partition("/")[0].rpartition(" ")[2] for name in group} for group in groups] == [{"blog"}, {"shop"}]
    for service in SERVICES:
        if service.stray:
            assert service.stray.service.partition("/")[0] == service.name.partition("/")[0]
