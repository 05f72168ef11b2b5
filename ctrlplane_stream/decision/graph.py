"""Who depends on whom: neighbours of each service, kept beside the edges' entries so that a set is found by walking, not by search.

The graph holds which edges exist; how often they were seen stays in their entries. It is persistent like the state, and neighbours
come in order of name, so that whatever is derived from it is the same every time.
"""

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping
from typing import Any

from immutables import Map

from ctrlplane_stream.model.identity import EdgeKey, EdgeKind

_NONE: tuple[EdgeKey, ...] = ()


def edge_key(edge: EdgeKey) -> str:
    """The state key of an edge; names may hold anything, so the separator is escaped in them."""
    return f"edge/{edge.kind}/{_escaped(edge.caller)}|{_escaped(edge.callee)}"


def edge_of_key(key: str) -> EdgeKey:
    """The edge that a state key names; the reverse of ``edge_key``."""
    _, kind, names = key.split("/", 2)
    caller, callee = names.split("|")
    return EdgeKey(_plain(caller), _plain(callee), EdgeKind(kind))


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("|", "%7C")


def _plain(name: str) -> str:
    return name.replace("%7C", "|").replace("%25", "%")


class Graph:
    """Edges by caller and by callee, each tuple in order."""

    __slots__ = ("_incoming", "_outgoing")

    def __init__(self, outgoing: "Map[str, tuple[EdgeKey, ...]]", incoming: "Map[str, tuple[EdgeKey, ...]]") -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    @classmethod
    def empty(cls) -> "Graph":
        """A graph without edges."""
        return cls(Map(), Map())

    @classmethod
    def of(cls, edges: Iterable[EdgeKey]) -> "Graph":
        """The graph of these edges."""
        outgoing: dict[str, list[EdgeKey]] = {}
        incoming: dict[str, list[EdgeKey]] = {}
        for edge in edges:
            outgoing.setdefault(edge.caller, []).append(edge)
            incoming.setdefault(edge.callee, []).append(edge)
        return cls(
            Map({name: tuple(sorted(found)) for name, found in outgoing.items()}),
            Map({name: tuple(sorted(found)) for name, found in incoming.items()}),
        )

    def outgoing(self, service: str) -> tuple[EdgeKey, ...]:
        """What the service calls, in order of name."""
        return self._outgoing.get(service, _NONE)

    def incoming(self, service: str) -> tuple[EdgeKey, ...]:
        """Who calls the service, in order of name."""
        return self._incoming.get(service, _NONE)

    def knows(self, service: str) -> bool:
        """Whether the service is an end of any edge."""
        return service in self._outgoing or service in self._incoming

    def services(self) -> list[str]:
        """Every end of any edge, in order of name."""
        return sorted({**dict.fromkeys(self._outgoing), **dict.fromkeys(self._incoming)})

    def with_changes(self, changes: Mapping[str, Any], known: Container[str]) -> "Graph":
        """The graph after state changes; ``known`` are the keys before them. Changes of numbers alone cost nothing."""
        graph = self
        for key, value in changes.items():
            if key.startswith("edge/") and (value is None) == (key in known):
                graph = graph._with(edge_of_key(key), present=value is not None)
        return graph

    def _with(self, edge: EdgeKey, *, present: bool) -> "Graph":
        change = _inserted if present else _removed
        return Graph(
            _put(self._outgoing, edge.caller, change(self.outgoing(edge.caller), edge)),
            _put(self._incoming, edge.callee, change(self.incoming(edge.callee), edge)),
        )


def _put(index: "Map[str, tuple[EdgeKey, ...]]", name: str, edges: tuple[EdgeKey, ...]) -> "Map[str, tuple[EdgeKey, ...]]":
    return index.set(name, edges) if edges else index.delete(name)


def _inserted(edges: tuple[EdgeKey, ...], edge: EdgeKey) -> tuple[EdgeKey, ...]:
    at = bisect_left(edges, edge)
    return (*edges[:at], edge, *edges[at:])


def _removed(edges: tuple[EdgeKey, ...], edge: EdgeKey) -> tuple[EdgeKey, ...]:
    return tuple(e for e in edges if e != edge)
