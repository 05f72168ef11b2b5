"""What roles keep on compacted topics is read again, whatever somebody else wrote among it."""

import asyncio
import random
from typing import Any

import pytest

from ctrlplane_stream.stream.kept import Strays, read_kept
from ctrlplane_stream.stream.ports import Letter
from ctrlplane_stream.wire.json_words import read_json

TOPIC = "dependency-table"
DEEP = b"[" * 100_000


def number(key: str, value: bytes) -> int:
    """What these tests keep."""
    return read_json(value, int)


def read(broker: Any, *written: tuple[bytes | None, bytes | None]) -> tuple[dict[str, int], Strays]:
    """After these keys and values were written."""
    for key, value in written:
        broker.intrude(Letter(TOPIC, 0, key, value))
    return asyncio.run(read_kept(broker, TOPIC, 0, number))


def test_the_newest_of_each_key_counts_and_what_was_deleted_does_not(broker: Any) -> None:
    assert read(broker, (b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4"), (b"c", None), (None, None)) == ({"b": 2, "a": 3}, [])


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xff", DEEP])
@pytest.mark.parametrize("key", [None, b"", b"nix", b"\xff"])
def test_a_record_that_somebody_else_wrote_is_passed_over_and_told_with_its_place(key: bytes | None, garbage: bytes, broker: Any) -> None:
    kept, ((stray, why),) = read(broker, (b"a", b"1"), (key, garbage), (b"b", b"2"))
    assert kept == {"a": 1, "b": 2}
    assert (stray.topic, stray.partition, stray.offset, stray.key, stray.value) == (TOPIC, 0, 1, key, garbage)
    assert why.reason.startswith("not a record of dependency-table: ")


def test_where_it_took_the_place_of_ours_what_was_there_before_counts(broker: Any) -> None:
    """Unless the broker has dropped that, or it was deleted."""
    kept, strays = read(
        broker, (b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"a", b"x"), (b"a", b"y"), (b"b", None), (b"b", b"z"), (b"c", b"?")
    )
    assert kept == {"a": 3}
    assert [stray.offset for stray, _ in strays] == [3, 4, 6, 7]


def test_what_was_written_over_it_since_counts(broker: Any) -> None:
    assert read(broker, (b"a", b"1"), (b"a", b"x"), (b"a", b"2"), (b"b", b"y"), (b"b", None)) == ({"a": 2}, [])


@pytest.mark.parametrize("seed", range(20))
def test_strays_change_nothing_of_what_is_kept(seed: int, broker: Any) -> None:
    """Whatever is written and deleted, and wherever strays come between."""
    drawn = random.Random(seed)
    ours = [(drawn.choice([b"a", b"b", b"c"]), drawn.choice([b"1", b"2", b"3", None])) for _ in range(drawn.randrange(12))]
    expected: dict[str, int] = {}
    for key, value in ours:
        expected.pop(key.decode(), None)
        if value is not None:
            expected[key.decode()] = int(value)
    for _ in range(drawn.randrange(1, 5)):
        ours.insert(drawn.randrange(len(ours) + 1), (drawn.choice([b"a", b"b", b"c", b"nix"]), b"garbage"))
    kept, strays = read(broker, *ours)
    assert kept == expected
    assert [stray.offset for stray, _ in strays] == sorted(stray.offset for stray, _ in strays)
    assert all(stray.value == b"garbage" for stray, _ in strays)
