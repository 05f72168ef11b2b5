"""Batches of a stream's events: by default they never wait for company, where it pays they wait a bounded while.

Whatever has arrived while the last batch was worked on is the next one, so a lone event is a batch of its own at once, and under
load batches grow to the limit. Faust's ``take_events`` waits out a time instead. Where many at once are much cheaper (spans), the
first event of a batch may wait for others: no longer than it is told, and not at all once somebody asks for the rest. Events are
acknowledged by the caller, after what they led to is safe.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
from faust import EventT

from ctrlplane_stream.stream.bundles import size_of

Events = list[EventT[Any]]


class Limits(msgspec.Struct, frozen=True):
    """How large a batch grows, and how long its first event waits for company: all three end the waiting. The last event of a
    batch may go beyond ``records`` or ``size_bytes``."""

    records: int
    size_bytes: int = 64 << 20
    seconds: float = 0.0


class Gathering:
    """The events of one stream that wait to be worked on. What waits is bounded by the limits of one batch."""

    def __init__(self, limits: Limits, patient: Callable[[], bool] = lambda: True) -> None:
        """While ``patient()`` is False, nothing waits for company."""
        self._limits, self._patient = limits, patient
        self._events: deque[EventT[Any]] = deque()
        self._records = self._bytes = 0
        self._arrived = self._worked_on = 0
        self._ended = False
        self._some, self._enough, self._room, self._progress = (asyncio.Event() for _ in range(4))

    async def batches(self, stream: Any) -> AsyncIterator[Events]:
        """Lists of events, in order, not acknowledged. Ends with the stream; raises what the stream raises."""
        pump = asyncio.create_task(self._pump(stream))
        try:
            while await self._company():
                batch = self._taken()
                yield batch
                self._worked_on += len(batch)
                self._progress.set()
            await pump
        finally:
            pump.cancel()

    def hurry(self) -> None:
        """Let what has arrived wait no longer."""
        self._enough.set()

    async def settled(self) -> None:
        """Hurry, and return when all that has arrived by now was worked on."""
        awaited = self._arrived
        while self._worked_on < awaited:
            self._enough.set()
            self._progress.clear()
            await self._progress.wait()

    async def _company(self) -> bool:
        """Wait for a first event, and for others; False where the stream has ended and nothing is left."""
        await self._some.wait()
        if self._limits.seconds and self._events and self._patient():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.seconds):
                    await self._enough.wait()
        return bool(self._events)

    def _taken(self) -> Events:
        batch = list(self._events)
        self._events.clear()
        self._records = self._bytes = 0
        if not self._ended:
            self._some.clear()
            self._enough.clear()
        self._room.set()
        return batch

    async def _pump(self, stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                records, size = size_of(event)
                self._events.append(event)
                self._arrived += 1
                self._records += records
                self._bytes += size
                self._some.set()
                if self._records >= self._limits.records or self._bytes >= self._limits.size_bytes:
                    self._enough.set()
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._ended = True
            self._some.set()
            self._enough.set()
