"""Many small requests into few records: pieces wait a moment for company, and their senders for the acknowledgement."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import msgspec

from ctrlplane_stream.local.intake.payload import Piece


class NotWritten(Exception):
    """The broker did not take a record; the text says why."""


class Sink(Protocol):
    """Where records go."""

    async def write(self, pieces: Iterable[Piece]) -> None:
        """Write one record made of these pieces; return once it is acknowledged. Raises NotWritten."""
        ...


class Size(msgspec.Struct, frozen=True):
    """When a batch is full: at ``spans`` or more, and so below twice as many; it never exceeds ``max_bytes``. ``wait_seconds``: how long it
    stays open."""

    spans: int = 1000
    max_bytes: int = 900_000
    wait_seconds: float = 0.2


class _Batch:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.spans = 0
        self.size = 0
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A failure belongs to the waiting senders; where all of them have left, nobody needs to hear of it.
        self.written.add_done_callback(lambda future: future.cancelled() or future.exception())

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.spans += piece.spans
        self.size += len(piece.data)


class Batcher:
    """Collects pieces into batches and writes each as one record.

    Pieces keep their order within a batch. ``add`` never blocks and bounds nothing: that is the budget's part.
    """

    def __init__(self, sink: Sink, size: Size) -> None:
        self._sink = sink
        self._size = size
        self._open: _Batch | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._hurried = False

    def add(self, piece: Piece) -> "asyncio.Future[None]":
        """Put a piece into a batch; the future ends with the acknowledgement of its record, or with NotWritten."""
        if self._open is not None and self._open.size + len(piece.data) > self._size.max_bytes:
            self._close(self._open)
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            asyncio.get_running_loop().call_later(self._size.wait_seconds, self._close, batch)
        batch.add(piece)
        if batch.spans >= self._size.spans or self._hurried:
            self._close(batch)
        return batch.written

    def hurry(self) -> None:
        """From now on nothing waits for company: what is open is written, what comes is written at once."""
        self._hurried = True
        if self._open is not None:
            self._close(self._open)

    async def finish(self) -> None:
        """Write what is open and wait until everything was acknowledged or refused."""
        self.hurry()
        if self._writing:
            await asyncio.wait(self._writing)

    def _close(self, batch: _Batch) -> None:
        """Hand the batch to the sink, unless that was done."""
        if batch is not self._open:
            return
        self._open = None
        task = asyncio.create_task(self._write(batch))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, batch: _Batch) -> None:
        try:
            await self._sink.write(batch.pieces)
        except NotWritten as error:
            batch.written.set_exception(error)
        except BaseException as error:
            batch.written.set_exception(NotWritten(f"the intake failed: {error!r}"))
            raise
        else:
            batch.written.set_result(None)
