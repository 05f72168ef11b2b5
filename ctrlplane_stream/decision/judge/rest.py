"""Which windows may become the past: those in which neither a service moved nor what it lives among.

A version that has weight and is not accepted yet harms, if it does, whoever calls it and whoever shares what it calls. So from its first
weight until the last of it has drained the past of all these stands still; and where it was gone back from, nothing stays of windows that
were taken all the same. When that was is said by the log of record (`Unrest`), whom it concerns by the calls that are made.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.judge.baseline import Baseline, ServicePast
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.state import edge_named
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind

_FORGOTTEN_MS = 86_400_000
"""After a day what was gone back from has left the past of an earlier build by itself, which is of 60 windows at most."""


class Left(msgspec.Struct, frozen=True):
    """That what served a service between two times was gone back from, by a verdict or a person: no such window is a yardstick."""

    from_ms: int
    until_ms: int


class Unrest(msgspec.Struct, frozen=True):
    """When a service was last served by what nobody had accepted: until before ``until_ms``, or to this day (None).

    ``alone`` says that this is a hand's doing, which concerns the past of the service itself only; ``left`` is what was last gone back
    from.
    """

    until_ms: int | None
    alone: bool = False
    left: Left | None = None


def moved_in(rows: Rows, unrest: Mapping[str, Unrest]) -> frozenset[str]:
    """The services whose past does not take this window: what was not at rest all through it, and all around."""
    moved = {name: u.alone for name, u in unrest.items() if u.until_ms is None or rows.window * 1000 < u.until_ms}
    return around([name for name, alone in moved.items() if not alone], rows.edges) | moved.keys()


def without_left(baseline: Baseline, unrest: Mapping[str, Unrest], last: int, rows: Rows, held: Collection[str]) -> Baseline:
    """The baseline before it takes this window, which comes after the one that began at ``last``: without what it took while something
    served that was gone back from since. Those in ``held`` hold this window already.

    What an earlier build kept does not say of which windows it is, and begins anew where anything around was gone back from in the day
    before.
    """
    undated = [name for name, past in baseline.services.items() if past.taken is None]
    found = {name: u.left for name, u in unrest.items() if u.left is not None}
    fresh = {name: left for name, left in found.items() if left.until_ms > last * 1000}
    if not fresh and not undated:
        return baseline
    edges = [*rows.edges, *(edge_named(name) for past in baseline.services.values() for name in past.totals().calls)]
    services = dict(baseline.services)
    for name, left in fresh.items():
        for service in sorted(around([name], edges) & services.keys() - set(held)):
            services[service] = services[service].before(left.from_ms)
    if undated:
        anew = around([name for name, left in found.items() if left.until_ms > last * 1000 - _FORGOTTEN_MS], edges)
        for service in undated:
            services[service] = ServicePast(taken=-1) if service in anew else replace(services[service], taken=last, turned=last)
    return Baseline(services)


def around(services: Collection[str], edges: Iterable[EdgeKey]) -> frozenset[str]:
    """The services, all that call them however far away, what they call, whoever else calls that, and who takes their messages: whom a
    version set of theirs would watch (`version_sets.walk`)."""
    if not services:
        return frozenset()
    callers: dict[str, list[str]] = {}
    called: list[str] = []
    consumers: list[str] = []
    for edge in edges:
        if edge.caller in services:
            (consumers if edge.kind is EdgeKind.MESSAGE else called).append(edge.callee)
        if edge.kind is not EdgeKind.MESSAGE:
            callers.setdefault(edge.callee, []).append(edge.caller)
    found, fresh = set(services), list(services)
    while fresh:
        for caller in callers.get(fresh.pop(), ()):
            if caller not in found:
                found.add(caller)
                fresh.append(caller)
    return frozenset([*found, *called, *consumers, *(user for callee in called for user in callers.get(callee, ()))])
