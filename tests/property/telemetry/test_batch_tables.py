"""Tables of a batch, decoded entry by entry, are what protobuf makes of the whole."""

from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from ctrlplane_stream.telemetry.batch_tables import BatchTables, decode_tables, encode_tables
from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind
from ctrlplane_stream.wire.gen.halves_pb2 import Tables

_TEXT = st.text(max_size=6) | st.just("v" * 200)
_ORIGINS = st.lists(st.builds(Origin, _TEXT, _TEXT, _TEXT), max_size=4)
_PEERS = st.lists(st.builds(Peer, st.sampled_from(PeerKind), _TEXT, _TEXT, _TEXT, _TEXT), max_size=4)
_WEIGHTS = st.lists(st.sampled_from([1.0, 2.0, 16.5]), max_size=3)


def _at_once(value: bytes) -> BatchTables:
    tables = Tables.FromString(value)
    return BatchTables(
        tuple(Origin(o.environment, o.service, o.version) for o in tables.origins),
        (None, *(Peer(PeerKind(p.kind), p.name, p.address, p.said, p.rpc) for p in tables.peers)),
        tuple(tables.weights),
    )


@given(origins=_ORIGINS, peers=_PEERS, weights=_WEIGHTS)
def test_what_was_encoded_comes_back(origins: list[Origin], peers: list[Peer], weights: list[float]) -> None:
    assert decode_tables(encode_tables(origins, peers, weights)) == BatchTables(tuple(origins), (None, *peers), tuple(weights))


@given(tables=st.lists(st.builds(encode_tables, _ORIGINS, _PEERS, _WEIGHTS), max_size=3), damage=st.data())
@example(tables=[b"\x0a\x80"], damage=None).via("a length that is cut off")
@example(tables=[b"\x0a\x80\x80\x00", b"\x12\x82\x00\x08\x07"], damage=None).via("long lengths, and a kind that there is not")
@example(tables=[b"\x0a\x04\x0a\x02\xff\xff"], damage=None).via("no text")
def test_damaged_and_unusual_bytes_are_understood_as_protobuf_does(tables: list[bytes], damage: st.DataObject | None) -> None:
    value = bytearray(b"".join(tables))
    if damage is not None and value:
        for _ in range(damage.draw(st.integers(0, 3))):
            value[damage.draw(st.integers(0, len(value) - 1))] = damage.draw(st.integers(0, 255))
        del value[damage.draw(st.integers(0, len(value))) :]
    try:
        wanted: BatchTables | None = _at_once(bytes(value))
    except (DecodeError, ValueError):
        wanted = None
    try:
        found: BatchTables | None = decode_tables(bytes(value))
    except (DecodeError, ValueError):
        found = None
    assert repr(found) == repr(wanted)  # not-a-number among the weights equals itself so
