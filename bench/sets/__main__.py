"""Measure version sets: ``python -m bench.sets [--graph FILE …] [--seed N]`` prints the tables of ``docs/version-sets.md``.

A fault is injected into the changed service and its harm spread by rules of its own, not by the walk that makes the sets:

- *up*: wrong or slow answers reach everybody who calls it, directly or through others (errors, latency, death, missing calls);
- *below*: what it uses is overloaded (retry storm, more calls), which its other users feel at once;
- *onward*: bad messages reach the consumers.

``inside`` counts faults all of whose first victims are guards: those who touch the harmed service themselves, and all on the way of the
requests that met the candidate. ``whole`` counts faults of which not even the callers of first victims lie outside.
"""

import argparse
import random
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.sets.systems import System, generated, recorded
from ctrlplane_stream.decision.graph import Graph
from ctrlplane_stream.decision.version_sets import is_hub, neighbours, walk
from ctrlplane_stream.model.identity import EdgeKind

ROLLOUT_MINUTES = 45
"""A rollout by the default policy at good traffic: four steps and the bake, of which 35 minutes are before it is verified at 100."""
VERIFIED_MINUTES = 35
FAULTS = 300
_USES = (EdgeKind.CALL, EdgeKind.DATABASE, EdgeKind.EXTERNAL)


class Row(NamedTuple):
    """What one system measured."""

    system: str
    services: int
    inside: float
    whole: float
    guards: tuple[float, float, float]
    rollouts: tuple[int, int]


def main() -> None:
    """Measure every system and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", type=Path, action="append", default=[], help="A recording's graph, as graph --json prints it.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    systems = [generated(n, fan, team, options.seed) for n, fan, team in ((20, 2, 4), (100, 2, 5), (500, 3, 8), (2000, 3, 10))]
    systems += [recorded(path) for path in options.graph]
    print(
        "| system | services | faults inside | whole | guards: median, p90, largest share of all | rollouts a day: sets / one at a time |"
    )
    print("|---|---|---|---|---|---|")
    for system in systems:
        row = measure(system, options.seed)
        shares = ", ".join(f"{share:.1%}" for share in row.guards)
        gain = row.rollouts[0] / max(1, row.rollouts[1])
        print(
            f"| {row.system} | {row.services} | {row.inside:.1%} | {row.whole:.1%} | {shares} | "
            f"{row.rollouts[0]} / {row.rollouts[1]} ({gain:.1f} times) |"
        )


def measure(system: System, seed: int) -> Row:
    """All figures of one system; the same seed gives the same row."""
    rng = random.Random(seed)
    inside = whole = 0
    for _ in range(FAULTS):
        changed = rng.choice(system.services)
        guards = set(walk(system.graph, (changed,)).found)
        first = victims(system.graph, changed, rng.choice(("up", "up", "up", "below", "onward")))
        inside += first <= guards
        whole += _upstream(system.graph, first) <= guards
    sizes = sorted(len(walk(system.graph, (name,)).found) / len(system.services) for name in system.services)
    shares = (statistics.median(sizes), sizes[int(0.9 * (len(sizes) - 1))], sizes[-1])
    return Row(system.name, len(system.services), inside / FAULTS, whole / FAULTS, shares, (a_day(system, rng), 24 * 60 // ROLLOUT_MINUTES))


def victims(graph: Graph, changed: str, way: str) -> set[str]:
    """The services that feel a fault of ``changed`` first, itself included."""
    if way == "below":
        used = [edge.callee for edge in graph.outgoing(changed) if edge.kind in _USES]
        users = {edge.caller for name in used for edge in graph.incoming(name) if edge.kind in _USES}
        return {changed, *used, *users, *_upstream(graph, {changed})}
    if way == "onward":
        return {changed, *(edge.callee for edge in graph.outgoing(changed) if edge.kind is EdgeKind.MESSAGE)}
    return _upstream(graph, {changed})


def _upstream(graph: Graph, names: Iterable[str]) -> set[str]:
    """These services and everybody who calls them, directly or not."""
    found = set(names)
    frontier = list(found)
    while frontier:
        frontier = [e.caller for name in frontier for e in graph.incoming(name) if e.kind is EdgeKind.CALL and e.caller not in found]
        found.update(frontier)
    return found


def a_day(system: System, rng: random.Random) -> int:
    """Rollouts that end in a day when commits never run out: first come, first served, each waiting only for what it is joined to."""
    commits = [rng.choice(system.services) for _ in range(4_000)]
    free: dict[str, int] = {}
    verified: list[tuple[str, int]] = []
    done = 0
    for service in commits:
        start, near = free.get(service, 0), neighbours(system.graph, (service,))
        for other, until in verified:
            hub = is_hub(system.graph, service) or is_hub(system.graph, other)
            if until > start and not hub and other in near:
                start = max(start, until)
        if start + ROLLOUT_MINUTES > 24 * 60:
            continue
        free[service] = start + ROLLOUT_MINUTES
        verified = [*verified[-2000:], (service, start + VERIFIED_MINUTES)]
        done += 1
    return done


if __name__ == "__main__":
    main()
