"""Requests to one API server as they travel, and what an answer may be that is no answer to a caller."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp
import msgspec

from ctrlplane_stream.actuators.kubernetes.access import Access
from ctrlplane_stream.actuators.kubernetes.objects import MANAGER

_REQUEST_SECONDS = 10.0
WATCH_SECONDS = 300
"""The server ends a watch after this long; a new one goes on where it ended."""
_KNOWN_SECONDS = 5.0
"""Credentials are asked for again after this long; they are renewed minutes before they end."""
_LINE_BYTES = 8 * 1024 * 1024
_LONGEST_ASKED_SECONDS = 2.0


class ApiRefused(Exception):
    """The API server will not have it, and asking again is no use; the text is the server's."""


class FieldsTaken(ApiRefused):
    """A server-side apply would take fields over that somebody else has set; the text names them and whose they are."""


class Expired(Exception):
    """A watch cannot go on from there (410 Gone): list again."""


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. ``content`` is the body's media type."""

    method: str
    path: str
    query: dict[str, str] = {}
    body: Any = None
    content: str = "application/json"


class Reply(msgspec.Struct, frozen=True):
    """Status and body of one answer, and how long a busy server asks us to stay away (``Retry-After``)."""

    status: int
    body: bytes
    retry_after_seconds: float = 0.0


class Transport(Protocol):
    """What carries requests; raises OSError, TimeoutError or aiohttp.ClientError where the answer is lost."""

    async def send(self, request: Request) -> Reply:
        """The answer to one request."""
        ...

    def lines(self, request: Request) -> AsyncIterator[bytes]:
        """An empty line once the answer begins, then its lines; raises Expired for 410, ApiRefused for any other 4xx."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class HttpTransport:
    """Requests over aiohttp, one pool of connections a server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self._known: str | None = None
        self._known_until = 0.0

    async def send(self, request: Request) -> Reply:
        """See ``Transport``."""
        body = None if request.body is None else msgspec.json.encode(request.body)
        headers, url = await self._headers(request), self._access.server + request.path
        async with self._open().request(request.method, url, params=request.query, data=body, headers=headers) as response:
            self._forget_if_refused(response.status)
            return Reply(response.status, await response.read(), _retry_after(response.headers.get("Retry-After")))

    async def lines(self, request: Request) -> AsyncIterator[bytes]:
        """See ``Transport``."""
        headers = await self._headers(request)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_REQUEST_SECONDS, sock_read=WATCH_SECONDS + 30)
        url = self._access.server + request.path
        async with self._open().get(url, params=request.query, headers=headers, timeout=timeout) as response:
            self._forget_if_refused(response.status)
            if response.status == 410:
                raise Expired(request.path)
            if 400 <= response.status < 500:
                raise ApiRefused(f"refused to let us watch {request.path}: {message_of(Reply(response.status, await response.read()))}")
            response.raise_for_status()
            yield b""
            async for line in response.content:
                yield line

    async def close(self) -> None:
        """See ``Transport``."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._access.tls or True, limit=32)
            timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_LINE_BYTES)
        return self._session

    async def _headers(self, request: Request) -> dict[str, str]:
        authorization = await self._authorization()
        headers = {"Content-Type": request.content, "Accept": "application/json", "User-Agent": MANAGER}
        return headers | ({"Authorization": authorization} if authorization else {})

    async def _authorization(self) -> str | None:
        """The header's value, in a thread since asking may read files or run a program, and therefore not for every request."""
        now = time.monotonic()
        if now >= self._known_until:
            self._known = await asyncio.to_thread(self._access.authorization)
            self._known_until = now + _KNOWN_SECONDS
        return self._known

    def _forget_if_refused(self, status: int) -> None:
        if status == 401:
            self._known_until = 0.0


def message_of(reply: Reply) -> str:
    """What an answer that is no success says, in the server's words."""
    try:
        return str(msgspec.json.decode(reply.body, type=dict[str, Any]).get("message"))
    except msgspec.DecodeError:
        return reply.body[:300].decode(errors="replace")


def fields_taken(reply: Reply) -> bool:
    """Whether it is the answer to an apply that would take over what somebody else has set; any other 409 means that something changed."""
    try:
        said = msgspec.json.decode(reply.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return False
    causes = (said.get("details") or {}).get("causes") or []
    return reply.status == 409 and any(each.get("reason") == "FieldManagerConflict" for each in causes)


def _retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, at most so many that a call of the port still ends in time; a date counts as none."""
    return min(_LONGEST_ASKED_SECONDS, float(header)) if header is not None and header.isdecimal() else 0.0
