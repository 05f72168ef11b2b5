"""Requests to one API server as they travel, and what an answer may be that is no answer to a caller."""

import asyncio
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import aiohttp
import msgspec

from ctrlplane_stream.actuators.kubernetes.access import Access
from ctrlplane_stream.actuators.kubernetes.objects import MANAGER
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_REQUEST_SECONDS = 10.0
WATCH_SECONDS = 300
"""The server ends a watch after this long; a new one goes on where it ended."""
_KNOWN_SECONDS = 5.0
"""Credentials are asked for again after this long; they are renewed minutes before they end."""
_RENEWED_SECONDS = 1.0
"""Credentials that were not good are found anew no sooner again than this."""
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


class _Cause(msgspec.Struct, frozen=True):
    reason: str | None = None


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] | None = None


class _Status(msgspec.Struct, frozen=True):
    """What the API server answers instead of an object."""

    message: str | None = None
    details: _Details | None = None


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
    """Requests over aiohttp, one pool of connections a server.

    Access may be had later: it is then looked for with the first request, in a thread, since that may run a program.
    """

    def __init__(self, access: Access | Callable[[], Access]) -> None:
        self._find = access if not isinstance(access, Access) else None
        self._access = access if isinstance(access, Access) else None
        self._session: aiohttp.ClientSession | None = None
        self._known: str | None = None
        self._known_until = 0.0
        self._renewed_at = -math.inf
        self._renewing = asyncio.Lock()

    async def send(self, request: Request) -> Reply:
        """See ``Transport``."""
        access = await self._found()
        reply = await self._send(request, access)
        return await self._send(request, await self._found()) if reply.status == 401 and await self._is_renewed(access) else reply

    async def _send(self, request: Request, access: Access) -> Reply:
        headers = await self._headers(request, access)
        body = None if request.body is None else msgspec.json.encode(request.body)
        try:
            async with self._request(request, access, headers, data=body) as response:
                return Reply(response.status, await response.read(), _retry_after(response.headers.get("Retry-After")))
        except (aiohttp.ClientError, OSError) as error:
            if _is_of_tls(error):
                await self._is_renewed(access)
            raise

    async def lines(self, request: Request) -> AsyncIterator[bytes]:
        """See ``Transport``."""
        access = await self._found()
        headers = await self._headers(request, access)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_REQUEST_SECONDS, sock_read=WATCH_SECONDS + 30)
        status = 0
        try:
            async with self._request(request, access, headers, timeout=timeout) as response:
                status = response.status
                if status == 410:
                    raise Expired(request.path)
                if 400 <= status < 500:
                    raise ApiRefused(f"refused to let us watch {request.path}: {message_of(Reply(status, await response.read()))}")
                response.raise_for_status()
                yield b""
                async for line in response.content:
                    yield line
        except (aiohttp.ClientError, OSError, ApiRefused) as error:
            if status == 401 or _is_of_tls(error):
                await self._is_renewed(access)
            raise

    async def close(self) -> None:
        """See ``Transport``."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _found(self) -> Access:
        """Access as it is now. Raises AccessError where it was to be had later and is not to be had."""
        async with self._renewing:
            if self._access is None:
                assert self._find is not None
                self._access = await asyncio.to_thread(self._find)
            return self._access

    def _request(
        self, request: Request, access: Access, headers: dict[str, str], **more: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        more |= {"params": request.query, "headers": headers, "server_hostname": access.server_name, "proxy": access.proxy}
        return self._open(access).request(request.method, access.server + request.path, **more)

    def _open(self, access: Access) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=access.tls or True, limit=32)
            timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_LINE_BYTES)
        return self._session

    async def _headers(self, request: Request, access: Access) -> dict[str, str]:
        authorization = await self._authorization(access)
        headers = {"Content-Type": request.content, "Accept": "application/json", "User-Agent": MANAGER}
        return headers | ({"Authorization": authorization} if authorization else {})

    async def _authorization(self, access: Access) -> str | None:
        """The header's value, in a thread since asking may read files or run a program, and therefore not for every request."""
        now = time.monotonic()
        if now >= self._known_until:
            self._known = await asyncio.to_thread(access.authorization)
            self._known_until = now + _KNOWN_SECONDS
        return self._known

    async def _is_renewed(self, access: Access) -> bool:
        """Whether there are other credentials and certificates than these by now, with which the server did not know us or we not it; new
        connections go with them, for one stays what its certificate was."""
        self._known_until = 0.0
        async with self._renewing:
            now = time.monotonic()
            if self._access is not access or access.renewed is None or now < self._renewed_at + _RENEWED_SECONDS:
                return self._access is not access
            self._renewed_at = now
            self._access = await asyncio.to_thread(access.renewed)
            self._known_until = 0.0
            await self.close()
            return True


def _is_of_tls(error: BaseException) -> bool:
    """Whether that is why a connection failed: one of the two certificates, at the beginning or by an alert later."""
    return isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError)


def message_of(reply: Reply) -> str:
    """What an answer that is no success says, in the server's words, or in those of whatever answered in its place."""
    return _status(reply).message or reply.body[:300].decode(errors="replace")


def fields_taken(reply: Reply) -> bool:
    """Whether it is the answer to an apply that would take over what somebody else has set; any other 409 means that something changed."""
    details = _status(reply).details or _Details()
    return reply.status == 409 and any(each.reason == "FieldManagerConflict" for each in details.causes or ())


def _status(reply: Reply) -> _Status:
    """Empty where the body is none, as of a proxy in between."""
    try:
        return read_json(reply.body, _Status)
    except WrongJson:
        return _Status()


def _retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, at most so many that a call of the port still ends in time; a date counts as none."""
    return min(_LONGEST_ASKED_SECONDS, float(header)) if header is not None and header.isdecimal() else 0.0
