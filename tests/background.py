"""Something that goes on in a thread of its own while a test looks, from ``with`` to its end."""

import asyncio
import threading
from types import TracebackType
from typing import Self


class Background:
    """Runs ``_go_on`` in an event loop of its own; it is to return soon after ``self._ended`` is set."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._go_on()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    async def _go_on(self) -> None:
        raise NotImplementedError
