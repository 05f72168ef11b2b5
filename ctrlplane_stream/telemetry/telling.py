"""Facts of the dependency table, none larger than a record may be: what holds more is told by several, which say the same together."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.model.facts import EdgesFaded, EdgesObserved
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, version_number

MOST_BYTES = 1_000_000
"""A quarter of what a record may take on ``facts``; what is decided on it is of like size, and one record of ``decisions``."""

MOST_VERSIONS = 256
"""Versions of a service whose arrivals are told, where they fit: one a request must neither fill a record nor the engine's state."""

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


def few_enough(arrivals: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Arrivals by service and version, as many versions as a record takes: those with our labels first, then those with most arrivals. What
    arrived at the others is told as of an unknown version, so that shares stay what they are."""
    most = MOST_VERSIONS
    while True:
        told = {service: _foremost(counts, most) for service, counts in arrivals.items()}
        if most == 1 or len(msgspec.json.encode(told)) <= MOST_BYTES:
            return told
        most //= 2


def _foremost(counts: Mapping[str, int], most: int) -> dict[str, int]:
    if len(counts) <= most:
        return dict(counts)
    ordered = sorted(counts, key=lambda label: (version_number(label) is None, -counts[label], label))
    told = {label: counts[label] for label in ordered[:most]}
    told[UNKNOWN_VERSION] = told.get(UNKNOWN_VERSION, 0) + sum(counts[label] for label in ordered[most:])
    return told
