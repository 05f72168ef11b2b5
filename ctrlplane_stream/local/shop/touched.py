"""The response header that says which versions a request touched: how the load generator knows without telemetry.

``shop/cart=#2, shop/pricing=#1``: every service joins what its callees answered and adds itself. A call that got no
answer adds its callee as ``unknown``.
"""

from collections.abc import Iterable

from ctrlplane_stream.model.identity import UNKNOWN_VERSION

HEADER = "x-versions-touched"

Touched = frozenset[tuple[str, str]]
"""Pairs of service and version label."""

NOTHING: Touched = frozenset()


def itself(service: str, version: str) -> Touched:
    """What a service adds: its own version, ``unknown`` where it has no label."""
    return frozenset({(service, version or UNKNOWN_VERSION)})


def write(touched: Touched) -> str:
    """The header's value, in the order of the names."""
    return ", ".join(f"{service}={label}" for service, label in sorted(touched))


def read(header: str) -> Touched:
    """The pairs of a header's value; what does not read as a pair is left out."""
    pairs = (part.strip().partition("=") for part in header.split(","))
    return frozenset((service, label) for service, equals, label in pairs if equals and service and label)


def join(parts: Iterable[Touched]) -> Touched:
    """Everything that any of the parts touched."""
    return NOTHING.union(*parts)
