"""Which service stands behind an address: by the catalog, or learned from calls whose two halves were matched.

What was learned carries the window it was learned in and is never unlearned. A reader that repeats old records with
the memory of today therefore sees at each window exactly what was known then, which a restart from a checkpoint needs.
An address behind which two services were seen (a gateway) is nobody's.
"""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind

_OUTSIDE = ""
"""Stands for "nobody of ours": calls to the address were never answered by a span."""


class Sighting(msgspec.Struct, frozen=True, order=True, array_like=True):
    """``service`` was first seen behind ``address``, spoken to by ``caller``, in ``window``; empty service: nobody of ours."""

    environment: str
    caller: str
    address: str
    service: str
    window: int


class KnownPeers:
    """The catalog's names and addresses, and at most ``most`` learned sightings."""

    def __init__(self, catalog: Mapping[str, str], most: int, learned: tuple[Sighting, ...] = ()) -> None:
        self._catalog = catalog
        self._most = most
        self._seen: dict[tuple[str, str, str], dict[str, int]] = {}
        self._count = 0
        self.learning = True
        # False while a rebuilt stage repeats what it once knew: half-read traces must not teach it anything.
        for sighting in learned:
            self._remember((sighting.environment, sighting.caller, sighting.address), sighting.service, sighting.window)

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """Everything learned, in a fixed order."""
        return tuple(sorted(Sighting(*key, service, window) for key, found in self._seen.items() for service, window in found.items()))

    def service_behind(self, caller: Origin, peer: Peer | None, window: int) -> str | None:
        """The service that a caller's peer is, as known when ``window`` closed, or None."""
        if peer is None:
            return None
        for name in (peer.name, peer.address, peer.address.rpartition(":")[0]):
            if name and name in self._catalog:
                return self._catalog[name]
        if peer.kind is PeerKind.DESTINATION:
            return None
        found = [service for service in self._known(_key(caller, peer), window) if service != _OUTSIDE]
        return found[0] if len(found) == 1 else None

    def is_outside(self, caller: Origin, peer: Peer | None, window: int) -> bool:
        """Whether a caller's peer was known, when ``window`` closed, never to have answered with a span."""
        return peer is not None and self._known(_key(caller, peer), window) == [_OUTSIDE]

    def is_consumed(self, producer: Origin, peer: Peer | None, window: int) -> bool:
        """Whether messages to a producer's destination were known to be consumed by somebody of ours."""
        return peer is not None and any(self._known(_key(producer, peer), window))

    def producer_of(self, consumer: Origin, peer: Peer | None, window: int) -> str | None:
        """The one service known to produce to a consumer's destination, or None where there is none or several."""
        if peer is None or peer.kind is not PeerKind.DESTINATION:
            return None
        found = self._known((consumer.environment, "", peer.key), window)
        return found[0] if len(found) == 1 else None

    def learn_pair(self, caller: Origin, peer: Peer | None, callee: Origin, window: int) -> None:
        """Remember from a matched pair who stands behind the caller's address, and who produces to its destination."""
        if peer is None:
            return
        self._remember(_key(caller, peer), callee.service, window)
        if peer.kind is PeerKind.DESTINATION:
            self._remember((callee.environment, "", peer.key), caller.service, window)

    def learn_outside(self, caller: Origin, peer: Peer, window: int) -> None:
        """Remember that a call to the caller's peer was never answered, from ``window`` on."""
        self._remember(_key(caller, peer), _OUTSIDE, window)

    def _known(self, key: tuple[str, str, str], window: int) -> list[str]:
        return [service for service, first in self._seen.get(key, {}).items() if first <= window]

    def _remember(self, key: tuple[str, str, str], service: str, window: int) -> None:
        found = self._seen.get(key)
        if found is not None and service in found:
            return
        if self.learning and self._count < self._most:
            self._seen.setdefault(key, {})[service] = window
            self._count += 1


def _key(caller: Origin, peer: Peer) -> tuple[str, str, str]:
    return caller.environment, caller.service, peer.key
