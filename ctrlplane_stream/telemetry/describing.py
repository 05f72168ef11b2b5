"""What the attributes of callers and consumers say, understood once for each distinct combination; and what rows of a batch point to."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ctrlplane_stream.telemetry.batches import encode_tables
from ctrlplane_stream.telemetry.half import RECEIVE, Kind, Origin, Peer
from ctrlplane_stream.telemetry.origins import LONGEST_KEY_BYTES
from ctrlplane_stream.telemetry.peers import HOSTS, URLS, attribute, collect, fetch_kind, peer_of


class Described(msgspec.Struct, frozen=True):
    """What a combination of attributes says. ``fetch``: kind and mark of a span that fetched or settled messages, else 0.
    ``homeless``: none names a host, so that a URL, if there is one, decides."""

    peer: Peer | None
    fetch: int
    failed: bool
    homeless: bool


class Describer:
    """Understands combinations of serialized attributes by the reference's own rules. Keeps only a cache."""

    _MOST_CACHED = 16_384

    def __init__(self) -> None:
        self._described: dict[tuple[bytes, ...], Described] = {}

    def describe(self, combination: tuple[bytes, ...]) -> Described:
        """What a combination says, URLs left aside: each of them is seldom seen twice."""
        described = self._described.get(combination)
        if described is None:
            if len(self._described) >= self._MOST_CACHED:
                self._described.clear()
            described = _described(combination)
            if sum(map(len, combination)) <= LONGEST_KEY_BYTES:
                self._described[combination] = described
        return described


def _described(combination: tuple[bytes, ...]) -> Described:
    attributes = {key: value for key, value in collect(map(attribute, combination)).items() if key not in URLS}
    kind = fetch_kind(attributes)
    fetch = 0 if kind is None else kind | RECEIVE
    homeless = kind is not Kind.INTERNAL and not any(host in attributes for host in HOSTS)
    peer = None if kind is Kind.INTERNAL else peer_of(attributes)
    return Described(peer, fetch, "error.type" in attributes, homeless)


def peer_by_all(attributes: Sequence[bytes]) -> Peer | None:
    """The peer that all attributes of a span name, its URLs among them."""
    return peer_of(collect(map(attribute, attributes)))


class ChunkTables(msgspec.Struct):
    """The values that rows of a chunk point to: ``origins`` by number of resource, ``peers`` and ``weights`` by order of appearance."""

    origins: list[Origin]
    peers: dict[Peer, int]
    weights: dict[float, int]

    @property
    def many_weights(self) -> bool:
        """Whether rows differ in weight."""
        return len(self.weights) > 1

    def peer_number(self, peer: Peer | None) -> int:
        """1 + the number of a peer, 0 for none."""
        return 0 if peer is None else number_of(peer, self.peers) + 1

    def encoded(self, used: Sequence[int]) -> tuple[bytes, list[int], list[int]]:
        """The tables as bytes, in order of value, so that records of the same services have equal ones; ``used`` are the origins of rows.

        With them, by number in here, the numbers in there: of origins, and of peers, where 0 is none.
        """
        origins = sorted({self.origins[number] for number in used})
        peers = sorted(self.peers)
        by_origin, by_peer = {origin: i for i, origin in enumerate(origins)}, {peer: i + 1 for i, peer in enumerate(peers)}
        encoded = _encoded(tuple(origins), tuple(peers), tuple(self.weights))
        return encoded, [by_origin.get(origin, 0) for origin in self.origins], [0, *(by_peer[peer] for peer in self.peers)]


@lru_cache(maxsize=64)
def _encoded(origins: tuple[Origin, ...], peers: tuple[Peer, ...], weights: tuple[float, ...]) -> bytes:
    """Chunks of the same services have the same tables."""
    return encode_tables(origins, peers, weights)


def number_of(value: Hashable, numbers: dict[Any, int]) -> int:
    """The number of a value, given out in order of appearance."""
    return numbers.setdefault(value, len(numbers))
