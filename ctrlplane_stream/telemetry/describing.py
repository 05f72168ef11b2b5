"""What the attributes of callers and consumers say, understood once for each distinct combination; and what rows of a batch point to."""

from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import compress, islice
from typing import Any

import msgspec

from ctrlplane_stream.telemetry.batch_tables import encode_origin, encode_peer, encode_tables
from ctrlplane_stream.telemetry.half import RECEIVE, Kind, Origin, Peer
from ctrlplane_stream.telemetry.origins import LONGEST_KEY_BYTES
from ctrlplane_stream.telemetry.peers import HOSTS, URLS, attribute, collect, fetch_kind, peer_of


class Described(msgspec.Struct, frozen=True):
    """What a combination of attributes says. ``fetch``: kind and mark of a span that fetched or settled messages, else 0.
    ``homeless``: none names a host, so that a URL, if there is one besides, decides."""

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
        """What a combination says: KeyValues, or where one is a URL its key and then its host."""
        described = self._described.get(combination)
        if described is None:
            if len(self._described) >= self._MOST_CACHED:
                self._described.clear()
            described = _described(combination)
            if sum(map(len, combination)) <= LONGEST_KEY_BYTES:
                self._described[combination] = described
        return described


def _described(combination: tuple[bytes, ...]) -> Described:
    attributes = collect(_pairs(combination))
    kind = fetch_kind(attributes)
    fetch = 0 if kind is None else kind | RECEIVE
    homeless = kind is not Kind.INTERNAL and not any(host in attributes for host in HOSTS)
    peer = None if kind is Kind.INTERNAL else peer_of(attributes)
    return Described(peer, fetch, "error.type" in attributes, homeless)


def _pairs(combination: Iterable[bytes]) -> Iterator[tuple[str, str] | None]:
    rest = iter(combination)
    for one in rest:
        yield (_URL_KEYS[one], f"//{next(rest, b'').decode()}") if one in _URL_KEYS else attribute(one)


def shortened(raw: bytes) -> tuple[bytes, ...]:
    """A KeyValue as :meth:`Describer.describe` takes it: of a URL its key and its host, where that is plain."""
    if raw[2:10] not in _URL_KEYS or (found := attribute(raw)) is None or not found[1].startswith("//"):
        return (raw,)
    return found[0].encode(), found[1][2:].encode()


_URL_KEYS = {key.encode(): key for key in URLS}


class Numbering(msgspec.Struct):
    """The values that rows point to: ``origins`` by number of resource, ``peers`` by order of appearance."""

    origins: list[Origin]
    peers: dict[Peer, int]

    def peer_number(self, peer: Peer | None) -> int:
        """1 + the number of a peer, 0 for none."""
        return 0 if peer is None else number_of(peer, self.peers) + 1

    def tables(self, resources: Sequence[bool | int], peers: Sequence[bool | int], weights: Iterable[float]) -> "EncodedTables":
        """The tables of rows of which it is known, by number, which resources and (after none) which peers any of them has."""
        origins = set(compress(self.origins, resources))
        by_origin = _places(map(encode_origin, origins))
        by_peer = _places(map(encode_peer, compress(self.peers, islice(peers, 1, None))))
        return EncodedTables(
            b"".join((*by_origin, *by_peer, encode_tables((), (), weights))),
            array("I", [by_origin.get(encode_origin(origin), 0) for origin in self.origins]),
            array("I", [0, *(by_peer.get(encode_peer(peer), -1) + 1 for peer in self.peers)]),
            tuple(sorted({origin.environment for origin in origins})),
        )


def _places(entries: Iterable[bytes]) -> dict[bytes, int]:
    """Entries of tables in a fixed order, with their places."""
    return {entry: place for place, entry in enumerate(sorted(entries))}


class EncodedTables(msgspec.Struct, frozen=True):
    """Tables in a fixed order, so that records of the same services have equal ones; and their numbers.

    ``origin`` is by number of resource, ``peer`` by 1 + number of peer.
    """

    value: bytes
    origin: "array[int]"
    peer: "array[int]"
    environments: tuple[str, ...]


def number_of(value: Hashable, numbers: dict[Any, int]) -> int:
    """The number of a value, given out in order of appearance."""
    return numbers.setdefault(value, len(numbers))
