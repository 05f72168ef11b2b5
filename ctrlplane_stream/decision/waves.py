"""In which order the services of one set take weight: callees before callers along the condensation of their graph.

A wave is a group of services that climb together: one strongly connected component, or several that do not depend on each
other. Tarjan's algorithm (SIAM J. Comput. 1(2), 1972) gives components callees first, which is the order wanted.
"""

from collections.abc import Iterable

from ctrlplane_stream.decision.graph import Graph
from ctrlplane_stream.model.facts import ReleaseOrder
from ctrlplane_stream.model.identity import EdgeKind

_ORDERING = (EdgeKind.CALL, EdgeKind.MESSAGE)
"""Kinds of edge that make one service depend on another being new first."""


def callees(graph: Graph, service: str, among: frozenset[str]) -> tuple[str, ...]:
    """The services of ``among`` that this one calls or sends to, in order of name, itself left out."""
    return tuple(
        edge.callee for edge in graph.outgoing(service) if edge.kind in _ORDERING and edge.callee in among and edge.callee != service
    )


def components(graph: Graph, services: Iterable[str]) -> list[tuple[str, ...]]:
    """Strongly connected components of the graph among ``services``, callees first, each in order of name."""
    names = tuple(sorted(services))
    among = frozenset(names)
    return _Tarjan({name: callees(graph, name, among) for name in names}).run()


class _Tarjan:
    """One run; the recursion is as deep as the set's longest chain, which declared releases keep small."""

    def __init__(self, successors: dict[str, tuple[str, ...]]) -> None:
        self._successors = successors
        self._number: dict[str, int] = {}
        self._low: dict[str, int] = {}
        self._stack: list[str] = []
        self._found: list[tuple[str, ...]] = []

    def run(self) -> list[tuple[str, ...]]:
        for name in self._successors:
            if name not in self._number:
                self._visit(name)
        return self._found

    def _visit(self, name: str) -> None:
        self._number[name] = self._low[name] = len(self._number)
        self._stack.append(name)
        for other in self._successors[name]:
            if other not in self._number:
                self._visit(other)
                self._low[name] = min(self._low[name], self._low[other])
            elif other in self._stack:
                self._low[name] = min(self._low[name], self._number[other])
        if self._low[name] == self._number[name]:
            at = self._stack.index(name)
            self._found.append(tuple(sorted(self._stack[at:])))
            del self._stack[at:]


def waves(graph: Graph, services: Iterable[str], order: ReleaseOrder) -> dict[str, int]:
    """Service to the number of its wave, from 0.

    A component's wave is one after the latest of the components that it calls. ``CALLERS_FIRST`` (a removal) turns the order round.
    """
    wave: dict[str, int] = {}
    names = frozenset(services)
    for component in components(graph, names):
        below = [wave[callee] for name in component for callee in callees(graph, name, names) if callee in wave]
        for name in component:
            wave[name] = max(below, default=-1) + 1
    if order is ReleaseOrder.CALLERS_FIRST and wave:
        last = max(wave.values())
        wave = {name: last - number for name, number in wave.items()}
    return dict(sorted(wave.items()))


def cycles(graph: Graph, services: Iterable[str]) -> list[tuple[str, ...]]:
    """Components of more than one service: they can only change together, and only if both versions get on."""
    return [component for component in components(graph, services) if len(component) > 1]
