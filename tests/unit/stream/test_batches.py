"""Batches: nothing waits unless it was told to, what waits is bounded, and whoever asks for the rest gets it at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ctrlplane_stream.stream.batches import Gathering, Limits

_FOR_EVER = 3_600.0


class Stream:
    """A stream of events that are put in by hand; None ends it, an exception is raised by it."""

    def __init__(self) -> None:
        self._put: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, *values: bytes | Exception | None) -> None:
        for value in values:
            self._put.put_nowait(value)

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Any]:
        while (value := await self._put.get()) is not None:
            if isinstance(value, Exception):
                raise value
            yield SimpleNamespace(message=SimpleNamespace(value=value))


def values(batch: list[Any]) -> list[bytes]:
    return [event.message.value for event in batch]


async def turns(count: int = 20) -> None:
    """Let every task of the loop go on as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


def opened(limits: Limits, patient: Callable[[], bool] = lambda: True) -> tuple[Stream, Gathering, AsyncIterator[list[Any]]]:
    stream, gathering = Stream(), Gathering(limits, patient)
    return stream, gathering, gathering.batches(stream)


def test_a_lone_event_is_a_batch_at_once_and_what_came_meanwhile_is_the_next() -> None:
    async def run() -> None:
        stream, _, batches = opened(Limits(10))
        stream.put(b"1")
        assert values(await anext(batches)) == [b"1"]
        stream.put(b"2", b"3")
        await turns()
        assert values(await anext(batches)) == [b"2", b"3"]

    asyncio.run(run())


@pytest.mark.parametrize("limits", [Limits(3), Limits(100, size_bytes=3)], ids=["records", "bytes"])
def test_no_more_waits_than_a_batch_may_hold(limits: Limits) -> None:
    """The rest stays where it was, with the broker in the end."""

    async def run() -> None:
        stream, _, batches = opened(limits)
        stream.put(*[b"%d" % i for i in range(7)])
        first = await anext(batches)
        await turns()
        assert [len(first), len(await anext(batches))] in ([1, 3], [3, 3])

    asyncio.run(run())


@pytest.mark.parametrize("limits", [Limits(3, seconds=_FOR_EVER), Limits(100, 3, _FOR_EVER)], ids=["records", "bytes"])
def test_a_patient_batch_is_handed_on_when_it_is_large_enough(limits: Limits) -> None:
    async def run() -> None:
        stream, _, batches = opened(limits)
        waiting = asyncio.ensure_future(anext(batches))
        stream.put(b"1", b"2")
        await turns()
        assert not waiting.done()
        stream.put(b"3")
        assert values(await waiting) == [b"1", b"2", b"3"]

    asyncio.run(run())


def test_a_patient_batch_is_handed_on_when_its_time_is_over() -> None:
    async def run() -> None:
        stream, _, batches = opened(Limits(100, seconds=0.01))
        stream.put(b"1")
        assert values(await anext(batches)) == [b"1"]

    asyncio.run(run())


def test_whoever_asks_for_the_rest_waits_until_it_was_worked_on_and_not_for_what_comes_later() -> None:
    async def run() -> None:
        stream, gathering, batches = opened(Limits(100, seconds=_FOR_EVER))
        waiting = asyncio.ensure_future(anext(batches))
        stream.put(b"1", b"2")
        await turns()
        settled = asyncio.ensure_future(gathering.settled())
        assert values(await waiting) == [b"1", b"2"]
        stream.put(b"3")
        await turns()
        assert not settled.done(), "the batch is still being worked on"
        waiting = asyncio.ensure_future(anext(batches))
        await settled
        assert not waiting.done(), "the later event may wait for company"
        gathering.hurry()
        assert values(await waiting) == [b"3"]

    asyncio.run(run())


def test_nothing_waits_where_patience_is_over() -> None:
    """As while partitions are about to go: an event that was not acknowledged holds up the whole group."""

    async def run() -> None:
        stream, _, batches = opened(Limits(100, seconds=_FOR_EVER), lambda: False)
        stream.put(b"1")
        assert values(await anext(batches)) == [b"1"]

    asyncio.run(run())


def test_the_last_events_come_before_the_end_and_before_what_the_stream_raises() -> None:
    async def run() -> None:
        stream, _, batches = opened(Limits(100, seconds=_FOR_EVER))
        stream.put(b"1", None)
        assert [values(batch) async for batch in batches] == [[b"1"]]
        stream, _, batches = opened(Limits(100))
        stream.put(b"1", RuntimeError("broken"))
        assert values(await anext(batches)) == [b"1"]
        with pytest.raises(RuntimeError, match="broken"):
            await anext(batches)

    asyncio.run(run())
