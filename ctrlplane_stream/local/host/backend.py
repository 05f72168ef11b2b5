"""The router's side of one instance: its address, its idle connections, and how many requests it has in hand."""

import asyncio
import time
from typing import NamedTuple

_IDLE_SECONDS = 2.0
"""A connection unused for longer is not used again: servers close idle ones, and meeting that moment costs a request."""
_CONNECT_SECONDS = 2.0


class Connection(NamedTuple):
    """A connection to an instance; ``fresh`` until it has carried a request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    fresh: bool
    idle_since: float


class Backend:
    """An instance that takes requests at ``127.0.0.1:port`` until it is closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.in_flight = 0
        self._idle: list[Connection] = []
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def connect(self, *, fresh: bool = False) -> Connection:
        """A connection, an idle one where there is one and ``fresh`` does not forbid it. Raises OSError, TimeoutError."""
        while self._idle and not fresh:
            idle = self._idle.pop()
            if time.monotonic() - idle.idle_since < _IDLE_SECONDS and not (idle.reader.at_eof() or idle.writer.is_closing()):
                return idle
            idle.writer.close()
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Connection(reader, writer, fresh=True, idle_since=0.0)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection, which is between two messages, for the next request."""
        self._idle.append(Connection(connection.reader, connection.writer, fresh=False, idle_since=time.monotonic()))

    def begin(self) -> None:
        """A request is in hand."""
        self.in_flight += 1
        self._quiet.clear()

    def end(self) -> None:
        """A request is no longer in hand."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._quiet.set()

    async def drained(self, limit_seconds: float) -> bool:
        """Wait until no request is in hand; False where some still are after the limit."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().writer.close()
