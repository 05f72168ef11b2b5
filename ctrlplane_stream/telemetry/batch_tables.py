"""The values that rows of a batch of halves point to: origins, peers and weights, as bytes and back.

A batch of many services names some thousand of them, and nearly all were named by the batch before. So each is encoded and decoded by
itself, once: serialized tables put end to end are the tables of all, in that order.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind
from ctrlplane_stream.wire.gen.halves_pb2 import Origin as OriginEntry
from ctrlplane_stream.wire.gen.halves_pb2 import Peer as PeerEntry
from ctrlplane_stream.wire.gen.halves_pb2 import Tables

_MOST_ENTRIES = 32_768
_ORIGIN, _PEER, _WEIGHTS = 0x0A, 0x12, 0x1A
"""The first bytes of the three kinds of entries: field and length."""


class BatchTables(msgspec.Struct, frozen=True):
    """The values that rows point to; the first peer is none."""

    origins: tuple[Origin, ...]
    peers: tuple[Peer | None, ...]
    weights: tuple[float, ...]


def encode_tables(origins: Iterable[Origin], peers: Iterable[Peer], weights: Iterable[float]) -> bytes:
    """The values, in this order."""
    encoded: bytes = Tables(weights=weights).SerializeToString()
    return b"".join((*map(encode_origin, origins), *map(encode_peer, peers), encoded))


@lru_cache(maxsize=_MOST_ENTRIES)
def encode_origin(origin: Origin) -> bytes:
    """The tables of one origin."""
    entry = OriginEntry(environment=origin.environment, service=origin.service, version=origin.version)
    encoded: bytes = Tables(origins=[entry]).SerializeToString()
    return encoded


@lru_cache(maxsize=_MOST_ENTRIES)
def encode_peer(peer: Peer) -> bytes:
    """The tables of one peer."""
    entry = PeerEntry(kind=peer.kind.name, name=peer.name, address=peer.address, said=peer.said, rpc=peer.rpc)
    encoded: bytes = Tables(peers=[entry]).SerializeToString()
    return encoded


@lru_cache(maxsize=512)
def decode_tables(value: bytes) -> BatchTables:
    """Equal tables are decoded once. Raises DecodeError, and ValueError for a kind of peer that there is not."""
    origins, peers, weights = list[Origin](), list[Peer | None]([None]), list[float]()
    for entry in _entries(value):
        if entry[0] == _ORIGIN:
            origins += _origins(entry)
        elif entry[0] == _PEER:
            peers += _peers(entry)
        else:
            found = Tables.FromString(entry)
            origins += map(_origin, found.origins)
            peers += map(_peer, found.peers)
            weights += found.weights
    return BatchTables(tuple(origins), tuple(peers), tuple(weights))


def _entries(value: bytes) -> Iterator[bytes]:
    """The entries of tables; from the first on that has no known kind or does not end where it should, the rest as one."""
    at, end = 0, len(value)
    while at + 2 <= end and value[at] in (_ORIGIN, _PEER):
        size, begin = value[at + 1], at + 2
        if size >= 128 and begin < end:
            size, begin = size & 127 | value[begin] << 7, begin + 1
        if size >= 1 << 14 or begin + size > end:
            break
        yield value[at : begin + size]
        at = begin + size
    if at < end:
        yield b"\x1a\x00" + value[at:]


def _origin(entry: OriginEntry) -> Origin:
    return Origin(entry.environment, entry.service, entry.version)


def _peer(entry: PeerEntry) -> Peer:
    return Peer(PeerKind(entry.kind), entry.name, entry.address, entry.said, entry.rpc)


@lru_cache(maxsize=_MOST_ENTRIES)
def _origins(entry: bytes) -> tuple[Origin, ...]:
    return tuple(map(_origin, Tables.FromString(entry).origins))


@lru_cache(maxsize=_MOST_ENTRIES)
def _peers(entry: bytes) -> tuple[Peer, ...]:
    return tuple(map(_peer, Tables.FromString(entry).peers))
