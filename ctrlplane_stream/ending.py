"""How a process of ours ends in good order: by which signals, and with its tasks."""

import asyncio
import signal
from collections.abc import Coroutine, Iterable
from typing import Any


def ending_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, SIGINT, and SIGHUP of a terminal that is gone: unless whoever started us has that ignored, as `nohup` does."""
    hang_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGINT, *hang_up)


async def end_tasks(tasks: Iterable[asyncio.Future[Any]], again_seconds: float = 5.0) -> None:
    """Cancel tasks, and return once all have ended, whatever they ended with.

    They are asked again while any goes on. A cancellation can be lost: before Python 3.12 ``asyncio.wait_for`` gives what it waited for
    where that came in the same moment, and a connection that is closed on the way out may raise an error that whoever reads on takes
    for the broker's.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=again_seconds)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, or the event loop would report it as an error that nobody saw


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do what must not be left half done. A cancellation that comes meanwhile, however often, is raised once it is done."""
    task, cancelled = asyncio.create_task(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
