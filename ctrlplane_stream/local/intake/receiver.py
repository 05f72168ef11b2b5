"""From a body to an answer: what both protocols do with a request once they have its bytes."""

import asyncio
from enum import StrEnum
from typing import assert_never

import msgspec

from ctrlplane_stream.local.intake.answers import Accepted, Answer, Unavailable, Unreadable
from ctrlplane_stream.local.intake.batcher import Batcher, NotWritten, Size
from ctrlplane_stream.local.intake.budget import Budget, Reservation
from ctrlplane_stream.local.intake.metrics import Metrics
from ctrlplane_stream.local.intake.payload import Most, Payload, read_json, read_protobuf


class Form(StrEnum):
    """How a request is written."""

    PROTOBUF = "protobuf"
    JSON = "json"


class Limits(msgspec.Struct, frozen=True):
    """What the intake holds at most and how long it waits.

    ``body_bytes``: one request, unpacked. ``in_flight_bytes``: all requests that are not yet acknowledged.
    ``receive_seconds``: the 10 s after which exporters give up by default: who takes longer is not there any more.
    ``acknowledge_seconds``: less than those, so that they hear why.
    """

    body_bytes: int = 8 * 1024 * 1024
    in_flight_bytes: int = 64 * 1024 * 1024
    receive_seconds: float = 10.0
    acknowledge_seconds: float = 8.0
    batch: Size = Size()


class Receiver:
    """Takes bodies in; ``budget`` is what their reservations are made from."""

    def __init__(self, batcher: Batcher, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.budget = Budget(limits.in_flight_bytes)
        self.metrics = metrics
        self._batcher = batcher
        self._json_turn = asyncio.Semaphore(1)
        metrics.watch_bytes_in_flight(lambda: self.budget.used)

    async def take(self, body: bytes, form: Form, reservation: Reservation) -> Answer:
        """Write the spans of ``body`` and answer when they are acknowledged. The reservation is released in any case."""
        try:
            payload = await self._read(body, form)
        except BaseException:
            reservation.release()
            raise
        if isinstance(payload, Unreadable) or not payload.pieces:
            reservation.release()
            return payload if isinstance(payload, Unreadable) else Accepted(payload.rejected, payload.reason)
        written = [self._batcher.add(piece) for piece in payload.pieces]
        _when_all_done(written, reservation)
        done, late = await asyncio.wait(written, timeout=self.limits.acknowledge_seconds)
        if late:
            return Unavailable(f"the broker did not acknowledge within {self.limits.acknowledge_seconds:g} s")
        failures = [error for error in (future.exception() for future in done) if error is not None]
        if failures:
            assert isinstance(failures[0], NotWritten)
            return Unavailable(str(failures[0]))
        self.metrics.accepted(sum(piece.spans for piece in payload.pieces), payload.rejected)
        return Accepted(payload.rejected, payload.reason)

    async def _read(self, body: bytes, form: Form) -> Payload | Unreadable:
        most = Most(self.limits.batch.max_bytes, self.limits.batch.spans)
        match form:
            case Form.PROTOBUF:
                return read_protobuf(body, most)
            case Form.JSON:
                # In a thread, since it takes its time; one at a time, since it takes ten times the body's memory.
                async with self._json_turn:
                    return await asyncio.to_thread(read_json, body, most)
            case _:
                assert_never(form)


def _when_all_done(futures: list["asyncio.Future[None]"], reservation: Reservation) -> None:
    left = len(futures)

    def one_done(_: "asyncio.Future[None]") -> None:
        nonlocal left
        left -= 1
        if left == 0:
            reservation.release()

    for future in futures:
        future.add_done_callback(one_done)
