"""A large catalog in parts: what an environment is told of it comes in facts that a record holds, each of which can be decided in one.

Services that move together stay in one part, or one catalog that configures them anew would have them rolled out apart.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ctrlplane_stream.model.catalog import Catalog, EnvironmentCatalog, ServiceInEnvironment

PART_BYTES = 1_000_000
"""The most of services that one fact tells. A decision keeps each of them, and a version of it where it is configured anew, and
may have ``stream.deciding.MAX_DECISION_BYTES``."""
TOGETHER_BYTES = 2 * PART_BYTES
"""The most that one service, or all that move together, may have."""
WHOLE_BYTES = 12_000_000
"""The largest catalog, as a record on the topic ``catalog``: with room for who applied it and why."""


def parts_of(view: EnvironmentCatalog) -> list[tuple[ServiceInEnvironment, ...]]:
    """The services of an environment in parts of at most ``PART_BYTES``, or of what moves together where that is more; one part
    where all of them fit, also where there are none. In order of the names of the first of each group, so always in the same parts."""
    parts: list[tuple[ServiceInEnvironment, ...]] = []
    part: tuple[ServiceInEnvironment, ...] = ()
    filled = 0
    for together, size in _together(view):
        if part and filled + size > PART_BYTES:
            parts.append(part)
            part, filled = (), 0
        part, filled = part + together, filled + size
    return [*parts, part]


def too_large(catalog: Catalog) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What of a catalog no record could hold, each with the path of its place in the file."""
    whole = len(msgspec.json.encode(catalog))
    if whole > WHOLE_BYTES:
        remedy = "give some of it a catalog, and a CTRLPLANE_TOPIC_PREFIX, of its own"
        yield (), f"the catalog has {whole} bytes, more than the {WHOLE_BYTES} that a record may have: {remedy}"
    for environment in catalog.environments:
        for together, size in _together(catalog.view(environment)):
            if size > TOGETHER_BYTES:
                first = together[0]
                what = f"all that move together as {first.moves_together}" if first.moves_together else "it"
                text = f"{what} in {environment} has {size} bytes, more than the {TOGETHER_BYTES} that are decided at once"
                yield ("services", first.service), f"service {first.service}: {text}: its configuration is too large"


def _together(view: EnvironmentCatalog) -> Iterator[tuple[tuple[ServiceInEnvironment, ...], int]]:
    """What must stay in one part, and its size in bytes."""
    groups: dict[tuple[str, bool], list[ServiceInEnvironment]] = {}
    for service in view.services:
        groups.setdefault((service.moves_together or service.service, service.moves_together is not None), []).append(service)
    for services in groups.values():
        yield tuple(services), sum(len(msgspec.json.encode(service)) for service in services)
