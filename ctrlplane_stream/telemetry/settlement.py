"""What is said of a half without its other side: of a caller that nobody answered, and of a callee without a caller."""

import msgspec

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.telemetry.half import Half, Origin, Peer, PeerKind
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.traces import NoCaller

_NO_CALLER = {NoCaller.ROOT: Skip.ROOT, NoCaller.NESTED: Skip.NESTED_SERVER, NoCaller.LOOP: Skip.PARENT_LOOP}


class Settled(msgspec.Struct, frozen=True):
    """What an unanswered caller's edge leads to."""

    callee: str
    kind: EdgeKind


def why_without(callee: Half, found: NoCaller | None) -> Skip:
    """Why a callee has no caller; None: the span that its search waited for never came."""
    if callee.receive:
        return Skip.RECEIVE
    if callee.linked:
        return Skip.LINKED
    return Skip.MISSING_PARENT if found is None else _NO_CALLER[found]


def settle_now(peers: KnownPeers, origin: Origin, peer: Peer | None, window: int) -> Settled | None:
    """What can be said of an unanswered caller at the close of its window, whatever may still come; None: wait."""
    service = peers.service_behind(origin, peer, window)
    if service is not None:
        return Settled(service, EdgeKind.CALL)
    if peer is not None and (peer.kind is PeerKind.DATABASE or peers.is_outside(origin, peer, window)):
        return Settled(peer.name, peer.kind.edge_kind)
    return None


def settle_finally(peers: KnownPeers, origin: Origin, peer: Peer | None, window: int, window_seconds: int) -> Settled | Skip:
    """What is said of a caller that nobody answered within the pairing time; a peer that never answers is remembered."""
    if peer is None:
        return Skip.NO_PEER
    service = peers.service_behind(origin, peer, window)
    if service is not None:
        return Settled(service, EdgeKind.CALL)
    if peers.is_consumed(origin, peer, window):
        return Skip.UNCONSUMED
    peers.learn_outside(origin, peer, window + window_seconds)
    return Settled(peer.name, peer.kind.edge_kind)
