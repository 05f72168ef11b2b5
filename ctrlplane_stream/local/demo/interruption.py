"""How the demo ends before its end: once.

Whoever sees nothing happen for some seconds presses Ctrl-C again, and the shell and the kernel both send SIGHUP where a terminal is
closed. The first of the signals that end us begins the end; a further one would break the clean-up, and is not heard.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ctrlplane_stream.ending import end_tasks, ending_signals

T = TypeVar("T")


class Interruption:
    """The first of the signals that end us, from ``heed`` on: a KeyboardInterrupt, unless something else was asked for."""

    def __init__(self) -> None:
        self._end: Callable[[], object] = _interrupt

    def heed(self) -> None:
        """Hear the signals; also SIGINT, which a shell that starts us in the background has ignored."""
        for number in ending_signals():
            signal.signal(number, self._first)

    def heed_no_more(self) -> None:
        """From here on there is only to clean up, which nobody may break."""
        for number in ending_signals():
            signal.signal(number, _not_again)

    def ends_by(self, end: Callable[[], object]) -> None:
        """Let it call ``end`` in the running event loop."""
        loop = asyncio.get_running_loop()
        self._end = lambda: loop.call_soon_threadsafe(end)

    def run(self, work: Coroutine[Any, Any, T], told: Callable[[], object]) -> T:
        """Run ``work`` to its end; where the signal comes, say so by ``told`` and cancel it. Nothing is heard from its end on.

        Raises KeyboardInterrupt once what was cancelled has cleaned up.
        """
        try:
            return asyncio.run(self._heeding(work, told))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self.heed_no_more()

    async def _heeding(self, work: Coroutine[Any, Any, T], told: Callable[[], object]) -> T:
        task, came = asyncio.create_task(work), asyncio.Event()
        self.ends_by(came.set)
        coming = asyncio.create_task(came.wait())
        await asyncio.wait([task, coming], return_when=asyncio.FIRST_COMPLETED)
        self._end = _interrupt
        if not task.done():
            try:
                told()
            finally:
                await end_tasks([task])
        await end_tasks([coming])
        return await task

    def _first(self, *_: object) -> None:
        self.heed_no_more()
        self._end()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _not_again(*_: object) -> None:
    """A handler, and not SIG_IGN: children that are started meanwhile would inherit that."""
