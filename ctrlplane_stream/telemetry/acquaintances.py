"""Learns from calls who stands behind an address, where most of it is known: pairs that were met before are not looked up again."""

from ctrlplane_stream.telemetry.half_columns import Tables
from ctrlplane_stream.telemetry.known_peers import KnownPeers, Seen
from ctrlplane_stream.telemetry.native import NOBODY
from ctrlplane_stream.telemetry.native.pairing import PairingLibrary, pairs_of
from ctrlplane_stream.telemetry.native.structures import Names

_MOST_PAIRS = 1 << 18


class Acquaintances:
    """What :class:`KnownPeers` learned: of each pair of a caller with its address and a callee, and of each consumer."""

    def __init__(self, library: PairingLibrary, peers: KnownPeers, tables: Tables) -> None:
        """``tables`` may grow, and keep their numbers."""
        self._library, self._peers, self._tables = library, peers, tables
        self._forget()

    def _forget(self) -> None:
        self._met = self._library.names()
        self._seen: list[Seen | None] = []

    def meet(self, pairs: Names, window: int) -> None:
        """Learn pairs (callers' origin << 32 | callees'; callers' peer) and consumers (NOBODY << 32 | origin; peer) in their order."""
        if not self._peers.learning:
            return
        if len(self._met) + pairs.count > _MOST_PAIRS:
            self._forget()
        numbers, seen_of = self._met.numbers(pairs), self._seen
        seen_of += [None] * (len(self._met) - len(seen_of))
        missing = list[int]()
        for place, number in enumerate(numbers):
            seen = seen_of[number]
            if seen is None or (seen.until is not None and seen.dropped):
                missing.append(place)
            elif seen.last < window:
                seen.last = window
        for place, (both, peer) in zip(missing, pairs_of(pairs, missing), strict=True):
            seen_of[numbers[place]] = self._learn(both, peer, window)

    def _learn(self, both: int, peer: int, window: int) -> Seen | None:
        origins, spoken_to = self._tables.origins.values, self._tables.peers.values[peer]
        above, below = both >> 32 & NOBODY, both & NOBODY
        if above == NOBODY:
            return self._peers.learn_consumer(origins[below], spoken_to, window)
        return self._peers.learn_pair(origins[above], spoken_to, origins[below], window)
