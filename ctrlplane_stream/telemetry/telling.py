"""Facts of the dependency table, none larger than a record may be: what holds more is told by several, which say the same together."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.model.facts import EdgesFaded, EdgesObserved

MOST_BYTES = 1_000_000
"""A quarter of what a record may take on ``facts``; what is decided on it is of like size, and one record of ``decisions``."""

Told = EdgesObserved | EdgesFaded


def in_records(fact: Told) -> Iterator[Told]:
    """The fact, or several that together say the same, in its order."""
    if _rows(fact) < 2 or len(msgspec.json.encode(fact)) <= MOST_BYTES:
        yield fact
    else:
        for half in _halves(fact):
            yield from in_records(half)


def _rows(fact: Told) -> int:
    return len(fact.edges) + (len(fact.services) if isinstance(fact, EdgesObserved) else 0)


def _halves(fact: Told) -> list[Told]:
    """Two facts with half of the rows each; edges before services where there is one of each."""
    edges = fact.edges[: (len(fact.edges) + 1) // 2], fact.edges[(len(fact.edges) + 1) // 2 :]
    if isinstance(fact, EdgesFaded):
        return [replace(fact, edges=half) for half in edges]
    services = fact.services[: len(fact.services) // 2], fact.services[len(fact.services) // 2 :]
    return [replace(fact, edges=those, services=these) for those, these in zip(edges, services, strict=True)]
