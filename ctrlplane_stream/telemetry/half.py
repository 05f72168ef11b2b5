"""A half: what the engine keeps of one span. Two of them, the caller's and the callee's, make a call.

Times are integer microseconds. Everything that repeats (``Origin``, ``Peer``) is a value shared by many halves.
"""

from enum import IntEnum

import msgspec

from ctrlplane_stream.model.identity import EdgeKind

NO_PARENT = b"\0" * 8
"""Parent id of a root span."""


ERROR, LINK, LINKED, RECEIVE = 8, 16, 32, 64
"""Marks of a half in its byte of flags; the kind is in the lower three bits."""


class Kind(IntEnum):
    """Span kinds with OTLP's own numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


CALLERS = frozenset({Kind.CLIENT, Kind.PRODUCER})
CALLEES = frozenset({Kind.SERVER, Kind.CONSUMER})


class Origin(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """Who made a span: a version of a service in an environment."""

    environment: str
    service: str
    version: str


class PeerKind(IntEnum):
    """What a caller's attributes say it spoke to."""

    EXTERNAL = 0
    DATABASE = 1
    DESTINATION = 2

    @property
    def edge_kind(self) -> EdgeKind:
        """The kind of edge to such a peer where no service of ours answered."""
        return EdgeKind.DATABASE if self is PeerKind.DATABASE else EdgeKind.EXTERNAL


class Peer(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The other side by a caller's attributes: ``name`` for people (few), ``address`` to recognise a service by (many).

    ``said`` and ``rpc`` are names of it that a service is recognised by as well: how its service was called, and which RPC service was.
    """

    kind: PeerKind
    name: str
    address: str = ""
    said: str = ""
    rpc: str = ""

    @property
    def key(self) -> str:
        """What a service behind this peer is remembered under."""
        return self.address or self.name


class Half(msgspec.Struct, frozen=True, gc=False):
    """One side of a call, or a local span that lies between two.

    ``trace`` (16 bytes), ``span`` and ``parent`` (8 bytes) are as on the wire. ``link`` marks the copy of a consumer that
    stands in the producer's trace with the producer as parent and an id of its own; ``linked`` marks the consumer that has such copies;
    ``receive`` marks a span that did not process messages: as a consumer it fetched them, as a local span it settled them.
    ``weight`` is how many spans this one stands for.
    """

    trace: bytes
    span: bytes
    parent: bytes
    kind: Kind
    error: bool
    end_us: int
    duration_us: int
    origin: Origin
    peer: Peer | None = None
    weight: float = 1.0
    link: bool = False
    linked: bool = False
    receive: bool = False

    @property
    def flags(self) -> int:
        """Kind and marks in one byte, as on the wire."""
        return self.kind | self.error * ERROR | self.link * LINK | self.linked * LINKED | self.receive * RECEIVE
