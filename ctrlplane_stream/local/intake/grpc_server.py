"""OTLP/gRPC: ``TraceService/Export``.

The method is registered as if the client streamed, which looks the same on the wire for one message, because a unary
handler is called only after the whole message is in memory. So we decide when a message is read: at most
``_RECEIVING`` at a time, each within the body limit and its time; the rest wait in HTTP/2's flow control.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from ctrlplane_stream.local.intake.answers import Accepted, Answer, Overloaded, Unavailable, Unreadable, grpc_code, response, status
from ctrlplane_stream.local.intake.receiver import Form, Receiver

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_RECEIVING = 4
_CONCURRENT_CALLS = 4096


class GrpcFront:
    """The gRPC side of a receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._receiving = asyncio.Semaphore(_RECEIVING)

    def server(self) -> grpc.aio.Server:
        """A server to put on a port."""
        limit = self._receiver.limits.body_bytes
        options = [("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_CONCURRENT_CALLS)
        export = grpc.stream_unary_rpc_method_handler(self._export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": export}),))
        return server

    async def _export(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        answer = await self._take(messages)
        self._receiver.metrics.answered("grpc", answer)
        if not isinstance(answer, Accepted):
            details = (("grpc-status-details-bin", status(answer).SerializeToString()),)
            await context.abort(grpc_code(answer), answer.reason, details)
        assert isinstance(answer, Accepted)
        encoded: bytes = response(answer).SerializeToString()
        return encoded

    async def _take(self, messages: AsyncIterator[bytes]) -> Answer:
        reservation = self._receiver.budget.reserve()
        if reservation is None:
            return Overloaded()
        try:
            body = await self._receive(messages)
        except BaseException:
            reservation.release()
            raise
        if not isinstance(body, bytes):
            reservation.release()
            return body
        if not reservation.grow_to(len(body)):
            reservation.release()
            return Overloaded()
        return await self._receiver.take(body, Form.PROTOBUF, reservation)

    async def _receive(self, messages: AsyncIterator[bytes]) -> bytes | Unreadable | Unavailable:
        """The one message of the call, or why there is none."""
        seconds = self._receiver.limits.receive_seconds
        try:
            async with self._receiving, asyncio.timeout(seconds):
                message = await anext(messages, None)
        except TimeoutError:
            return Unavailable(f"no message came within {seconds:g} s")
        return Unreadable("no message came") if message is None else message
