"""Which services one change concerns: what moves, what watches, what can be touched, and why, in words.

From the changed services the graph is walked: up its call edges to the entry points (*callers*), one edge down (*callees*, with the
databases and outside systems), from those one edge up again (*collateral*: other users of the same callees), and along message
edges to the consumers of a changed producer. A service has the first role that it gets, in that order.

Uncertainty never shrinks a set: an edge seen once counts as much as one seen a million times; only how it is spoken of differs.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.graph import Graph, edge_key
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.facts import EdgeSeen, ServiceSeen
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.sums import in_order
from ctrlplane_stream.model.verdicts import Guard, GuardRole

HUB_CALLERS = 20
"""From so many direct callers on a service is a hub: waiting for it would make the whole environment wait."""
THIN_CALLS = 100
"""Fewer calls than this along all edges of a changed service are called thin evidence."""
LEFT_OUT_SHOWN = 20
"""How many neighbours that are not watched are named; the rest is a number."""
LEFT_OUT_SCANNED = 100
"""How many watched services' neighbours are looked at for that."""
COUNTED = 500
"""How many guards, nearest first, are explained with the calls of their edge; farther ones by their path alone."""
_FAR = "reaches it along the path"

_DOWNWARD = (EdgeKind.CALL, EdgeKind.DATABASE, EdgeKind.EXTERNAL)


class Watched(msgspec.Struct, frozen=True, gc=False):
    """A service found by the walk: its role, the services from a changed one to it, and the last edge on that way."""

    service: str
    role: GuardRole
    path: tuple[str, ...]
    edge: EdgeKey | None = None


class Walk(msgspec.Struct, frozen=True):
    """All that the walk found, by service in the order of finding; the changed services first, with empty paths."""

    found: dict[str, Watched]
    entry_points: tuple[str, ...]


def walk(graph: Graph, changed: Iterable[str], is_entry: Callable[[str], bool] = lambda _: False) -> Walk:
    """Walk the graph from the changed services. Linear in the edges met; independent of the rest of the graph.

    ``is_entry`` says which services take requests from outside besides those that nobody calls.
    """
    names = tuple(sorted(changed))
    found = {name: Watched(name, GuardRole.CHANGED, (name,)) for name in names}
    entries = _callers(graph, names, found, is_entry)
    below = _callees(graph, names, found)
    _consumers(graph, names, found)
    _collateral(graph, below, found)
    return Walk(found, tuple(sorted(entries)))


def _callers(graph: Graph, names: tuple[str, ...], found: dict[str, Watched], is_entry: Callable[[str], bool]) -> list[str]:
    """Everybody who calls a changed service, directly or through others, breadth first; those of them where requests enter."""
    call, caller_role = EdgeKind.CALL, GuardRole.CALLER
    frontier, entries = list(names), []
    for name in frontier:
        path = found[name].path
        called = False
        for edge in graph.incoming(name):
            if edge.kind is call:
                called = True
                caller = edge.caller
                if caller not in found:
                    found[caller] = Watched(caller, caller_role, (*path, caller), edge)
                    frontier.append(caller)
        if not called or is_entry(name):
            entries.append(name)
    return entries


def _callees(graph: Graph, names: tuple[str, ...], found: dict[str, Watched]) -> list[tuple[str, ...]]:
    """Paths to what the changed services use directly, also where that has another role already."""
    below: dict[str, tuple[str, ...]] = {}
    for name in names:
        for edge in graph.outgoing(name):
            if edge.kind in _DOWNWARD and edge.callee not in below and edge.callee not in names:
                below[edge.callee] = (name, edge.callee)
                found.setdefault(edge.callee, Watched(edge.callee, GuardRole.CALLEE, (name, edge.callee), edge))
    return list(below.values())


def _consumers(graph: Graph, names: tuple[str, ...], found: dict[str, Watched]) -> None:
    """Who takes messages of a changed producer."""
    for name in names:
        for edge in graph.outgoing(name):
            if edge.kind is EdgeKind.MESSAGE:
                found.setdefault(edge.callee, Watched(edge.callee, GuardRole.CONSUMER, (name, edge.callee), edge))


def _collateral(graph: Graph, below: list[tuple[str, ...]], found: dict[str, Watched]) -> None:
    """Other users of what the changed services use."""
    for path in below:
        for edge in graph.incoming(path[-1]):
            if edge.kind in _DOWNWARD and edge.caller not in found:
                found[edge.caller] = Watched(edge.caller, GuardRole.COLLATERAL, (*path, edge.caller), edge)


def guards(state: State, walked: Walk) -> tuple[e.GuardWhy, ...]:
    """The guards in words. Required are the changed services and the pooled exposure at the entry points."""
    changed = GuardRole.CHANGED
    watched = list(walked.found.values())
    spoken = [e.GuardWhy(Guard(w.service, w.role, w.role is changed), _why(state, w), w.path) for w in watched[:COUNTED]]
    spoken += [e.GuardWhy(Guard(w.service, w.role), _FAR, w.path) for w in watched[COUNTED:]]
    entries = walked.entry_points
    named = ", ".join(entries[:5]) + (f" and {len(entries) - 5} more" if len(entries) > 5 else "")
    pooled = f"requests that enter at {named}, served by the candidate against served by stable" if entries else "all requests"
    return (*spoken, e.GuardWhy(Guard("", GuardRole.ENTRY, required=True), pooled))


_VERBS = {
    GuardRole.CALLER: "calls it",
    GuardRole.CALLEE: "is used by it",
    GuardRole.COLLATERAL: "shares a callee with it",
    GuardRole.CONSUMER: "takes its messages",
}


def _why(state: State, watched: Watched) -> str:
    """The way from the changed service, and the calls along its last edge."""
    if watched.edge is None:
        return "changes"
    seen = state.find(edge_key(watched.edge), EdgeSeen)
    calls = "never counted" if seen is None else f"{seen.calls} calls, {seen.calls_per_second:g}/s"
    far = "" if len(watched.path) == 2 else f" in {len(watched.path) - 1} hops"
    return f"{_VERBS[watched.role]}{far}: {watched.edge.caller} -{watched.edge.kind}-> {watched.edge.callee} ({calls})"


def left_out(graph: Graph, walked: Walk) -> tuple[tuple[e.LeftOut, ...], int]:
    """Neighbours of the nearest watched services that are not watched, with the reason: the first of them, and how many more."""
    near: dict[str, str] = {}
    for name, watched in list(walked.found.items())[:LEFT_OUT_SCANNED]:
        for edge in graph.outgoing(name):
            if edge.callee not in walked.found:
                near.setdefault(edge.callee, f"used by {name} ({watched.role.value}), but not by a changed service itself")
        for edge in graph.incoming(name):
            if edge.caller not in walked.found:
                near.setdefault(edge.caller, _unharmed(edge, name, watched.role))
    shown = tuple(e.LeftOut(name, why) for name, why in list(near.items())[:LEFT_OUT_SHOWN])
    return shown, max(0, len(near) - LEFT_OUT_SHOWN)


def _unharmed(edge: EdgeKey, name: str, role: GuardRole) -> str:
    if edge.kind is EdgeKind.MESSAGE:
        return f"sends messages to {name} ({role.value}): it waits for no answer, so nothing comes back to it"
    return f"calls {name} ({role.value}): no request through it can meet the candidate"


def confidence(state: State, changed: Iterable[str]) -> tuple[str, str]:
    """How far the set is to be trusted (``observed``, ``thin``, ``none``) and the sentence that says why."""
    for name in sorted(changed):
        edges = (*state.graph.incoming(name), *state.graph.outgoing(name))
        traffic = state.find(f"traffic/{name}", ServiceSeen)
        if not edges and traffic is None:
            return "none", f"{name} was never seen in a trace, so nobody knows who depends on it"
        calls = sum(seen.calls for edge in edges if (seen := state.find(edge_key(edge), EdgeSeen)) is not None)
        if edges and calls < THIN_CALLS:
            return "thin", f"only {calls} calls to and from {name} were seen so far"
    return "observed", "every changed service was seen in traces"


def traffic_share(state: State, weights: Mapping[str, int], services_rps: float) -> float:
    """The share (0..1) of the environment's requests that candidates with these weights in percent take, by service: an upper bound, never
    above 1."""
    met = in_order(
        seen.requests_per_second * weight / 100
        for name, weight in weights.items()
        if (seen := state.find(f"traffic/{name}", ServiceSeen)) is not None
    )
    return min(1.0, met / services_rps) if services_rps > 0 else 0.0


def neighbours(graph: Graph, services: Iterable[str]) -> dict[str, EdgeKey]:
    """Who shares an edge with one of the services, and the first such edge; in order of the services, those that they call first."""
    found: dict[str, EdgeKey] = {}
    for name in sorted(services):
        for edge in (*graph.outgoing(name), *graph.incoming(name)):
            found.setdefault(edge.callee if edge.caller == name else edge.caller, edge)
    return found


def is_hub(graph: Graph, service: str) -> bool:
    """Whether so many services call this one that serialising behind it would hold up the environment."""
    return sum(1 for edge in graph.incoming(service) if edge.kind is EdgeKind.CALL) >= HUB_CALLERS
