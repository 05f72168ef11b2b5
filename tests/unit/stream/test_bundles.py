"""Bundles: every record once and in order, and what is committed is never ahead of what was acknowledged."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from ctrlplane_stream.stream.bundles import BundlingConsumer, messages_of, size_of
from ctrlplane_stream.stream.framework import ONE_BY_ONE

PLACE, OTHER = TP("otlp_spans", 3), TP("span-halves", 3)


def message(offset: int, place: TP = PLACE) -> Any:
    return ConsumerMessage(place.topic, place.partition, offset, 1.0, 0, None, None, b"12345", None, tp=place, generation_id=7)


def consumer(position: int | None) -> Any:
    """Only what bundling touches of Faust's consumer."""
    made: Any = object.__new__(BundlingConsumer)
    made._read_offset = {PLACE: position, OTHER: position}
    made.flow_active, made.app = True, SimpleNamespace(consumer_generation_id=7, reading=ONE_BY_ONE)
    made._acked, made._acked_index = defaultdict(list), defaultdict(set)
    return made


def test_what_a_fetch_brought_of_a_partition_is_one_message_with_the_last_offset() -> None:
    (bundle,) = consumer(None)._bundles(PLACE, [message(offset) for offset in (4, 5, 9)])
    event: Any = SimpleNamespace(message=bundle)
    assert [found.offset for found in messages_of(event)] == [4, 5, 9]
    assert (bundle.offset, bundle.generation_id, bundle.tp) == (9, 7, PLACE)
    assert size_of(event) == (3, 15)


def test_a_long_fetch_is_several_bundles_and_none_leaves_a_gap_to_faust() -> None:
    """Faust takes offsets that it did not see for a gap in the topic; before each bundle it stands right in front of the last record."""
    reading, seen = consumer(1_000), list[int]()
    for bundle in reading._bundles(PLACE, [message(offset) for offset in range(1_000, 1_450)]):
        assert reading._read_offset[PLACE] == bundle.offset - 1
        seen += [found.offset for found in bundle.records]
    assert seen == list(range(1_000, 1_450))


def test_records_before_the_position_are_dropped() -> None:
    """What was fetched before a seek, or twice, as Faust drops it one by one."""
    (bundle,) = consumer(6)._bundles(PLACE, [message(offset) for offset in (4, 5, 6, 7)])
    assert [found.offset for found in bundle.records] == [6, 7]
    assert list(consumer(8)._bundles(PLACE, [message(7)])) == []


def test_everything_up_to_the_last_acknowledged_record_is_committed_and_once() -> None:
    reading = consumer(None)
    assert reading._new_offset(PLACE) is None
    for offset in (7, 15):
        reading._acked[PLACE].append(offset)
        reading._acked_index[PLACE].add(offset)
    assert reading._new_offset(PLACE) == 16
    assert reading._new_offset(PLACE) is None
    assert not reading._acked_index[PLACE]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust hands over two records of each of two partitions in turn."""

    async def getmany(self: object, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        for offset in (0, 1):
            for place in (PLACE, OTHER):
                yield place, message(offset, place)

    monkeypatch.setattr(driver.Consumer, "getmany", getmany)


@pytest.mark.usefixtures("fetched")
def test_each_partition_of_a_fetch_is_a_bundle_of_its_own() -> None:
    async def run() -> None:
        bundles = [bundle async for _, bundle in consumer(None).getmany(1.0)]
        assert [(b.tp, [found.offset for found in b.records]) for b in bundles] == [(PLACE, [0, 1]), (OTHER, [0, 1])]

    asyncio.run(run())


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize(
    "change",
    [{"flow_active": False}, {"app": SimpleNamespace(consumer_generation_id=8, reading=ONE_BY_ONE)}],
    ids=["stopped", "generation"],
)
def test_what_is_left_of_a_fetch_when_a_rebalance_begins_is_not_handed_on(change: dict[str, Any]) -> None:
    """Its new owner reads it; handed on, it would be worked on twice and hold up the rebalance."""

    async def run() -> None:
        reading = consumer(None)
        seen = []
        async for place, _ in reading.getmany(1.0):
            seen.append(place)
            vars(reading).update(change)
        assert seen == [PLACE]

    asyncio.run(run())
