"""Whether the gateways of a route do what it says: the conditions that their controllers write into its status. Pure.

A rule's weights are words until a gateway acts on them. One that says it does not (the route is not attached, a backend cannot be found, a
rule was dropped) is believed; one that says nothing, as where nobody looks after the route, is not: arrivals tell of it then. A
condition of an older generation is the last that is known, and counts.
"""

from collections.abc import Iterator

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Manifest, name_of

_NO = (
    ("Accepted", "False", "is not accepted"),
    ("ResolvedRefs", "False", "has a backend that is not found"),
    ("PartiallyInvalid", "True", "is in force in parts"),
)
"""Condition, the status by which it says no, and that in words."""


class No(msgspec.Struct, frozen=True):
    """That a gateway does not do what a route says. ``condition`` and ``reason`` are its controller's, ``words`` are for people."""

    condition: str
    reason: str
    words: str


def refused(kind: str, route: Manifest) -> str | None:
    """Which gateways do not do what the route says, and why, in their controllers' words; None where none says so.

    ``kind``: the route's, which lists leave out.
    """
    return "; ".join(f"{kind} {name_of(route)} {no.words}" for no in refusals(route)) or None


def refusals(route: Manifest) -> tuple[No, ...]:
    """Each gateway's no, once. What is said of a parent that the route no longer names is a leftover, and says nothing."""
    found = (
        No(kind, str(conditions[kind].get("reason")), f"{words} by {gateway}: {_reason(conditions[kind])}")
        for gateway, conditions in _said(route)
        for kind, no, words in _NO
        if kind in conditions and conditions[kind].get("status") == no
    )
    return tuple(dict.fromkeys(found))


def accepting(route: Manifest) -> tuple[str, ...]:
    """The gateways that say that they accept the route, in their order."""
    said = (gateway for gateway, conditions in _said(route) if conditions.get("Accepted", {}).get("status") == "True")
    return tuple(dict.fromkeys(said))


def _said(route: Manifest) -> Iterator[tuple[str, dict[str, Manifest]]]:
    """Name and conditions by their type of each parent that the route names and a controller speaks of."""
    parents = {_parent(route, each): each for each in route["spec"].get("parentRefs") or []}
    for each in (route.get("status") or {}).get("parents") or []:
        of = _parent(route, each.get("parentRef") or {})
        if of in parents:
            yield _name(parents[of]), {str(condition.get("type")): condition for condition in each.get("conditions") or []}


def _parent(route: Manifest, reference: Manifest) -> tuple[str, ...]:
    """What a reference to a parent means, with what it leaves out filled in as the API defines it."""
    kind = f"{reference.get('group', 'gateway.networking.k8s.io')}/{reference.get('kind', 'Gateway')}"
    namespace = reference.get("namespace") or route["metadata"].get("namespace") or ""
    return (kind, str(namespace), *(str(reference.get(key, "")) for key in ("name", "sectionName", "port")))


def _name(reference: Manifest) -> str:
    kind = str(reference.get("kind", "Gateway"))
    listener = f", listener {reference['sectionName']}" if reference.get("sectionName") else ""
    return f"{kind} {reference.get('name')}{listener}"


def _reason(condition: Manifest) -> str:
    return f"{condition.get('reason')}: {condition.get('message') or ''}".rstrip(": ")
