"""Systems to measure version sets on: generated ones of several shapes, and the graphs of recordings as ``graph --json`` prints them.

Generated systems have tiers, as request paths of shops have: services call some of the tier below, teams mostly their own, popular
ones are called by everybody; databases at the bottom; some producers and consumers.
"""

import json
import random
from pathlib import Path
from typing import NamedTuple

from ctrlplane_stream.decision.graph import Graph
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind


class System(NamedTuple):
    """A graph and the services of it that can be released."""

    name: str
    graph: Graph
    services: tuple[str, ...]


def generated(services: int, fan_out: float, team: int, seed: int) -> System:
    """A system of about so many services; ``team`` is how many neighbours share their callees."""
    rng = random.Random(seed)
    tiers = 5
    size = max(2, services // tiers)
    edges: dict[EdgeKey, None] = {}
    for tier in range(tiers - 1):
        for at in range(size):
            for _ in range(max(1, round(rng.expovariate(1 / fan_out)))):
                edges[EdgeKey(_name(tier, at), _callee(rng, tier, at, size, team), _kind(rng))] = None
    for at in range(size):
        if rng.random() < 0.5:
            edges[EdgeKey(_name(tiers - 1, at), f"db{at // 3}", EdgeKind.DATABASE)] = None
    names = tuple(_name(tier, at) for tier in range(tiers) for at in range(size))
    return System(f"generated, {len(names)} services, fan-out {fan_out:g}, teams of {team}", Graph.of(edges), names)


def _name(tier: int, at: int) -> str:
    return f"t{tier}-{at}"


def _kind(rng: random.Random) -> EdgeKind:
    return EdgeKind.MESSAGE if rng.random() < 0.08 else EdgeKind.CALL


def _callee(rng: random.Random, tier: int, at: int, size: int, team: int) -> str:
    if rng.random() < 0.1:
        return _name(tier + 1, int(size * rng.random() ** 3))
    first = at // team * team
    return _name(tier + 1, min(size - 1, first + rng.randrange(team)))


def recorded(path: Path) -> System:
    """The system of a recording: the output of ``ctrlplane-stream graph --from … --json``."""
    told = json.loads(path.read_text())
    edges = [EdgeKey(edge["caller"], edge["callee"], EdgeKind(edge["kind"])) for edge in told["edges"]]
    services = {edge.caller: None for edge in edges} | {
        edge.callee: None for edge in edges if edge.kind in (EdgeKind.CALL, EdgeKind.MESSAGE)
    }
    return System(f"recorded, {path.stem}", Graph.of(edges), tuple(sorted(services)))
