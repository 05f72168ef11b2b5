"""Records of ``telemetry-windows`` as everybody reads them."""

import msgspec
import pytest

from ctrlplane_stream.model.windows import Closed
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.windows import read_window


def test_a_window_reads_back() -> None:
    record = Closed("production", 3, 1_700_000_000)
    assert read_window(msgspec.json.encode(record)) == record


@pytest.mark.parametrize(
    "value",
    [None, b"", b"garbage", b"[]", b'{"type":"else"}', b'{"type":"\xff\xfe"}', b'{"a":' * 5_000, b"[" * 100_000],
    ids=["nothing", "empty", "no JSON", "no object", "another word", "no UTF-8", "deep objects", "deep lists"],
)
def test_what_holds_no_window_is_said_and_never_raised(value: bytes | None) -> None:
    found = read_window(value)
    assert isinstance(found, Unreadable)
    assert found.reason.startswith("not a readable window record: ")
