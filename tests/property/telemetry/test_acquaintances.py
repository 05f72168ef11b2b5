"""Pairs and consumers that were met before are learned as if each were looked up, also where more addresses are in use than are kept."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.telemetry.acquaintances import Acquaintances
from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind
from ctrlplane_stream.telemetry.half_columns import Tables
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.native import NOBODY, library
from ctrlplane_stream.telemetry.native.pairing import PairingLibrary
from ctrlplane_stream.telemetry.native.structures import Names

_ORIGINS = [Origin("prod", service, version) for service in ("shop", "cart") for version in ("1", "2")]
_KINDS = (PeerKind.EXTERNAL, PeerKind.DESTINATION)
_NAMED = [Peer(PeerKind.EXTERNAL, "name", f"10.0.1.{i}:80", said, "shop.Cart") for i in range(2) for said in ("", "cart")]
_PEERS = [None, *(Peer(kind, "name", f"10.0.0.{i}:80") for i in range(8) for kind in _KINDS), *_NAMED]
_CALLS = st.tuples(st.sampled_from([0, 1, 2, 3, NOBODY]), st.integers(0, 3), st.integers(0, len(_PEERS) - 1))
MOST, KEEP = 4, 3


@pytest.mark.skipif(library() is None, reason="no compiled library: python scripts/compile_native.py says why")
@given(windows=st.lists(st.lists(_CALLS, unique=True, max_size=12), max_size=12), resumed=st.booleans())
def test_pairs_met_again_are_learned_as_if_looked_up(windows: list[list[tuple[int, int, int]]], resumed: bool) -> None:
    found = library()
    assert found is not None
    tables = Tables()
    tables.origins.numbers(_ORIGINS)
    tables.peers.numbers(_PEERS)
    plain, peers = KnownPeers({}, MOST), KnownPeers({}, MOST)
    met = Acquaintances(PairingLibrary(found, 10_000_000), peers, tables)
    for number, calls in enumerate(windows):
        plain.learning = peers.learning = not resumed or number > 2
        words = array("Q", [word for above, below, peer in calls for word in (above << 32 | below, peer)])
        met.meet(Names(count=len(calls), name=words.buffer_info()[0]), 10 * number)
        for above, below, peer in calls:
            if above == NOBODY:
                plain.learn_consumer(_ORIGINS[below], _PEERS[peer], 10 * number)
            else:
                plain.learn_pair(_ORIGINS[above], _PEERS[peer], _ORIGINS[below], 10 * number)
        for each in (plain, peers):
            each.learn_outside(_ORIGINS[0], Peer(PeerKind.EXTERNAL, "name", f"10.0.0.{number % 8}:80"), 10 * number)
            each.settle(10 * number, KEEP, 10)
        assert peers.sightings == plain.sightings
