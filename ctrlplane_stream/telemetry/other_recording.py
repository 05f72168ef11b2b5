"""Who answers where, as known in one of two recordings that are compared: what it found itself, and what it has from the other.

A service that is silent in one recording is known by where it answered in the other, in both alike: what the two make of the same call
must not depend on which of them it is in. But what was found is of its own time: addresses are given to others, and every new instance is
dealt an IP address anew. So a recording's own evidence goes first, and what the other found counts only

- where nobody answers now who did not before: whoever is new there was given the address since. As long as nobody is, it is the same
  place (a gateway, if several answered there), and all that either found there counts;
- of an IP address, where nobody answered this caller by now, and unless the service was found at other IP addresses alone.

What does not count is displaced, as in :mod:`known_peers`: nobody's address, though it is known that there is a service of that name.
Destinations are not given to anybody: of them all counts that either found.
"""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.telemetry.known_peers import Sighting, is_ip_address

_ALWAYS = -(1 << 40)
"""A window that lies before all that can be recorded."""


class Found(msgspec.Struct, frozen=True):
    """The environments that a recording is of, and who was found where in it."""

    environments: frozenset[str]
    sightings: tuple[Sighting, ...]


class _Places:
    """Sightings of services by what is asked of them."""

    def __init__(self, sightings: Iterable[Sighting]) -> None:
        self.known: set[tuple[str, str, str, str]] = set()
        self.answering: set[tuple[str, str, str]] = set()
        self.destinations: set[tuple[str, str]] = set()
        self.instances: dict[tuple[str, str], set[str]] = {}
        for seen in sightings:
            self.known.add(_place(seen))
            self.answering.add((seen.environment, seen.caller, seen.address))
            if not seen.caller:
                self.destinations.add((seen.environment, seen.address))
            if is_ip_address(seen.address):
                self.instances.setdefault((seen.environment, seen.service), set()).add(seen.address)


def known_in(own: Found, other: Found) -> tuple[Sighting, ...]:
    """What is known in the recording of ``own`` from its beginning on, given that of ``other``."""
    mine = [seen for seen in own.sightings if _is_ours(seen)]
    theirs = [seen for seen in _as_of(own, other) if _is_ours(seen)]
    here, there = _Places(mine), _Places(theirs)
    newcomers: dict[tuple[str, str], set[str]] = {}
    for seen in mine:
        if _place(seen) not in there.known:
            newcomers.setdefault((seen.environment, seen.address), set()).add(seen.service)

    def counts(seen: Sighting) -> bool:
        at = seen.environment, seen.address
        if at in here.destinations or at in there.destinations:
            return True
        if seen.displaced is not None or newcomers.get(at, set()) - {seen.service}:
            return False
        return not is_ip_address(seen.address) or not _was_dealt(seen, here, there)

    filled = [_always(seen, counts(seen)) for seen in theirs if _place(seen) not in here.known]
    return (*(_always(seen, counts=True) for seen in mine), *filled)


def _was_dealt(seen: Sighting, here: _Places, there: _Places) -> bool:
    """Whether an IP address answers this caller by now, or its service is found at others alone."""
    of = seen.environment, seen.service
    found = here.instances.get(of, set())
    return (seen.environment, seen.caller, seen.address) in here.answering or bool(found and found.isdisjoint(there.instances[of]))


def _as_of(own: Found, other: Found) -> Iterable[Sighting]:
    """What the other found, in the environment that it is compared with: where each is of a single one (a preview of each build), they are
    taken for one. An IP address means another machine in another environment."""
    if own.environments == other.environments or {len(own.environments), len(other.environments)} != {1}:
        return other.sightings
    (environment,) = own.environments
    found = [replace(seen, environment=environment) for seen in other.sightings]
    return [_always(seen, counts=not is_ip_address(seen.address)) for seen in found]


def _is_ours(seen: Sighting) -> bool:
    """Whether it tells of a service of ours, or that somebody consumes of a destination."""
    return bool(seen.service) or not seen.caller


def _place(seen: Sighting) -> tuple[str, str, str, str]:
    return seen.environment, seen.caller, seen.address, seen.service


def _always(seen: Sighting, counts: bool) -> Sighting:
    return replace(seen, window=_ALWAYS, last=_ALWAYS, until=None, displaced=None if counts else (_ALWAYS, None))
