"""Batches that never wait for company: whatever has arrived while the last batch was worked on is the next one.

So a lone event is a batch of its own at once, and under load batches grow to the limit. Faust's ``take_events`` waits out a time
instead. Events are acknowledged by the caller, after what they led to is safe.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from faust import EventT


async def batches(stream: Any, most: int) -> AsyncIterator[list[EventT[Any]]]:
    """Lists of 1 to ``most`` events, in order, not acknowledged. Ends with the stream; raises what the stream raises."""
    waiting: asyncio.Queue[EventT[Any] | None] = asyncio.Queue(most)
    pump = asyncio.create_task(_pump(stream, waiting))
    try:
        while (first := await waiting.get()) is not None:
            batch = [first]
            while len(batch) < most and not waiting.empty():
                event = waiting.get_nowait()
                if event is None:
                    yield batch
                    await pump
                    return
                batch.append(event)
            yield batch
        await pump
    finally:
        pump.cancel()


async def _pump(stream: Any, waiting: "asyncio.Queue[EventT[Any] | None]") -> None:
    try:
        async for event in stream.noack().events():
            await waiting.put(event)
    finally:
        await waiting.put(None)
