"""A large value is packed, and read as what it was; what earlier builds wrote is read as it is."""

import msgspec
import pytest

from ctrlplane_stream.wire import packing
from ctrlplane_stream.wire.packing import packed, unpacked

SMALL, LARGE = b'{"a":1}', b'{"a":"' + b"abc" * 2_000_000 + b'"}'


def test_a_value_is_packed_only_where_it_is_large() -> None:
    assert packed(SMALL) == SMALL
    assert len(packed(LARGE)) < packing.MOST_BYTES < len(LARGE)


@pytest.mark.parametrize("value", [b"", SMALL, LARGE])
def test_what_is_packed_is_read_as_it_was(value: bytes) -> None:
    assert unpacked(packed(value)) == value


def test_a_broken_frame_is_told_as_any_broken_value() -> None:
    with pytest.raises(msgspec.DecodeError, match="broken"):
        unpacked(packed(LARGE)[:-9])
