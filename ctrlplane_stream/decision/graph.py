"""Who depends on whom: neighbours of each service, kept beside the edges' entries so that a set is found by walking, not by search.

The graph holds which edges exist; how often they were seen stays in their entries. It is persistent like the state, and neighbours
come in order of name, so that whatever is derived from it is the same every time.
"""

from collections.abc import Callable, Container, Iterable, Mapping
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
        keys = [key for key in changes if key.startswith("edge/") and (changes[key] is None) == (key in known)]
        if not keys:
            return self
        present = {edge_of_key(key): changes[key] is not None for key in keys}
        outgoing = _merged(self._outgoing, present, lambda edge: edge.caller)
        return Graph(outgoing, _merged(self._incoming, present, lambda edge: edge.callee))


def _merged(
    index: "Map[str, tuple[EdgeKey, ...]]", present: dict[EdgeKey, bool], end: Callable[[EdgeKey], str]
) -> "Map[str, tuple[EdgeKey, ...]]":
    """The index with edges put (True) or taken away (False), each service touched once."""
    touched: dict[str, list[EdgeKey]] = {}
    for edge in present:
        touched.setdefault(end(edge), []).append(edge)
    changed = index.mutate()
    for name, edges in touched.items():
        kept = [edge for edge in index.get(name, _NONE) if edge not in present]
        now = sorted([*kept, *(edge for edge in edges if present[edge])])
        if now:
            changed[name] = tuple(now)
        elif name in changed:
            del changed[name]
    return changed.finish()
