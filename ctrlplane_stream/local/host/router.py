"""The weighted router in front of one service: a port of its own, one version a trace, messages passed on untouched.

What an instance cannot answer is answered here and counted: 503 where the chosen version has no ready instance (a
request is never passed to another version: that would hide the fault), 502 where it breaks the connection, 504 where it does
not begin to answer in time.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.local.host.backend import Backend, Connection
from ctrlplane_stream.local.host.framing import BadMessage, Body, Head, pass_body, read_head
from ctrlplane_stream.local.host.split import Split, trace_id

_HEAD_LIMIT = 65_536
_REPEATABLE = frozenset((b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"))
_REASONS = {400: "Bad Request", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class _Answered(Exception):
    """The router answers in the place of an instance; the connection to the caller does not outlive that."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _CutShort(Exception):
    """An instance broke off within its response: too late to answer in its place."""


class Router:
    """A reverse proxy on 127.0.0.1. ``counts``: requests by (version label or "", status that we answered or 0: passed)."""

    def __init__(self, service: str, *, response_seconds: float, dice: random.Random | None = None) -> None:
        self.port = 0
        self.counts: Counter[tuple[str, int]] = Counter()
        self._service = service
        self._response_seconds = response_seconds
        self._dice = dice or random.Random()  # noqa: S311  a bucket for a request without a trace is no secret
        self._split = Split(service, {})
        self._backends: dict[str, list[Backend]] = {}
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where callers find the service, whichever version answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen, on the port given where it is free."""
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_HEAD_LIMIT)
        except OSError:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and drop every connection."""
        if self._server is not None:
            self._server.close()
        await end_tasks(self._serving)

    def steer(self, weights: Mapping[str, int], backends: Mapping[str, Sequence[Backend]]) -> None:
        """From the next request on, these weights in percent, and these ready instances of each version."""
        self._split = Split(self._service, weights)
        self._backends = {label: list(ready) for label, ready in backends.items()}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One caller's connection, request after request."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, BadMessage, asyncio.CancelledError):
            pass  # The caller went away, or cannot be understood any more, or we are stopping: nobody to answer.
        finally:
            self._serving.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; whether another may follow."""
        label = ""
        try:
            head = await _read_request(reader)
            if head is None:
                return False
            label = self._choose(head)
            backend = self._pick(label)
            backend.begin()
            try:
                lives = await self._pass(head, backend, reader, writer)
            finally:
                backend.end()
        except _CutShort:
            self.counts[label, 502] += 1
            return False
        except _Answered as answer:
            self.counts[label, answer.status] += 1
            writer.write(_response(answer.status, f"{self._service} {label}: {answer}"))
            await writer.drain()
            return False
        self.counts[label, 0] += 1
        return lives

    def _choose(self, head: Head) -> str:
        trace = trace_id(head.value(b"traceparent") or b"")
        bucket = self._dice.randrange(100) if trace is None else self._split.bucket(trace)
        label = self._split.version(bucket)
        if label is None:
            raise _Answered(503, "no version has weight")
        return label

    def _pick(self, label: str) -> Backend:
        ready = self._backends.get(label)
        if not ready:
            raise _Answered(503, "no instance is ready")
        self._turn += 1
        return ready[self._turn % len(ready)]

    async def _pass(self, head: Head, backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass the request to the instance and its response back; whether the caller's connection lives on."""
        connection, response = await self._exchange(head, backend, reader, writer)
        try:
            writer.write(response.raw)
            body = response.response_body(head.method)
            await pass_body(body, connection.reader, writer)
            await writer.drain()
        except BaseException as error:
            connection.writer.close()
            if isinstance(error, BadMessage) or connection.reader.exception() is not None:
                raise _CutShort from None
            raise
        lives = head.keeps_alive and response.keeps_alive and body is not Body.UNTIL_CLOSE
        if lives:
            backend.give_back(connection)
        else:
            connection.writer.close()
        return lives

    async def _exchange(
        self, head: Head, backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Connection, Head]:
        """Send the request; the connection used and the head of the response. A stale connection is no failure of the instance."""
        bodiless = head.request_body() == 0
        for attempt in (1, 2):
            connection = await _connect(backend, fresh=attempt == 2)
            try:
                return connection, await self._ask(head, connection, reader, writer)
            except (ConnectionError, BadMessage) as error:
                connection.writer.close()
                if connection.fresh or not bodiless or head.method not in _REPEATABLE:
                    raise _Answered(502, f"the instance broke the connection ({error})") from None
            except BaseException:
                connection.writer.close()
                raise
        raise AssertionError("a fresh connection either answers or raises")

    async def _ask(self, head: Head, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Head:
        connection.writer.write(head.raw)
        if (head.value(b"expect") or b"") == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await _send_body(head, reader, connection)
        try:
            async with asyncio.timeout(self._response_seconds):
                while (response := await read_head(connection.reader)) is not None and 100 <= response.status < 200:
                    pass  # An interim response: the caller was told to continue already.
        except TimeoutError:
            raise _Answered(504, f"no answer within {self._response_seconds:g} s") from None
        if response is None:
            raise ConnectionError("closed without an answer")
        return response


async def _read_request(reader: asyncio.StreamReader) -> Head | None:
    """The next request, checked for what cannot be passed on."""
    try:
        head = await read_head(reader)
        if head is not None:
            head.request_body()
    except BadMessage as error:
        raise _Answered(400, str(error)) from None
    if head is not None and (head.method in (b"CONNECT", b"PRI") or head.value(b"upgrade") is not None):
        raise _Answered(501, "this router speaks HTTP/1.1 only, without tunnels and upgrades")
    return head


async def _send_body(head: Head, reader: asyncio.StreamReader, connection: Connection) -> None:
    """Pass the caller's body on; what the caller breaks off is not held against the instance."""
    try:
        await pass_body(head.request_body(), reader, connection.writer)
        await connection.writer.drain()
    except BadMessage as error:
        raise _Answered(400, str(error)) from None
    except ConnectionError:
        if reader.exception() is None:
            raise
        raise _Answered(400, "the caller went away") from None


async def _connect(backend: Backend, *, fresh: bool) -> Connection:
    try:
        return await backend.connect(fresh=fresh)
    except (OSError, TimeoutError) as error:
        raise _Answered(502, f"the instance takes no connection ({error})") from None


def _response(status: int, text: str) -> bytes:
    body = f"{text}\n".encode("ascii", "replace")
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
