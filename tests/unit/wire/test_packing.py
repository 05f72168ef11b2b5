"""A large value is packed, and read as what it was; what earlier builds wrote is read as it is."""

import pytest

from ctrlplane_stream.wire import packing
from ctrlplane_stream.wire.json_words import WrongJson
from ctrlplane_stream.wire.packing import packed, unpacked

SMALL, LARGE = b'{"a":1}', b'{"a":"' + b"abc" * 2_000_000 + b'"}'


def test_a_value_is_packed_only_where_it_is_large() -> None:
    assert packed(SMALL) == SMALL
    assert len(packed(LARGE)) < packing.MOST_BYTES < len(LARGE)


@pytest.mark.parametrize("value", [b"", SMALL, LARGE])
def test_what_is_packed_is_read_as_it_was(value: bytes) -> None:
    assert unpacked(packed(value)) == value


def test_a_broken_frame_is_told_as_any_broken_value() -> None:
    with pytest.raises(WrongJson, match="broken"):
        unpacked(packed(LARGE)[:-9])


def test_so_is_one_that_says_it_holds_more_than_there_is_room_for() -> None:
    """Its head alone was enough for a MemoryError."""
    with pytest.raises(WrongJson, match="broken"):
        unpacked(b"\x28\xb5\x2f\xfd\xe0" + (1 << 62).to_bytes(8, "little") + b"garbage")
