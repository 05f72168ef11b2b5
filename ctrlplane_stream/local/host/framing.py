"""Just enough of HTTP/1.1 to pass messages on untouched: where a head ends and how its body is framed (RFC 9112).

Nothing is rewritten, so all that matters is where a message ends and whether the connection lives on. Ambiguous
framing is refused rather than guessed.
"""

import asyncio
from enum import Enum
from typing import NamedTuple

_CHUNK = 65_536


class BadMessage(ValueError):
    """The peer sent what cannot be framed; the text says what."""


class Body(Enum):
    """How a body's end is known, where it is not a number of bytes."""

    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class Head(NamedTuple):
    """A message head with its blank line, and the same in lower case to search in."""

    raw: bytes
    lower: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the sender leaves the connection open after this message."""
        connection = self.value(b"connection") or b""
        old = b"http/1.0" in self.lower[: self.lower.index(b"\r\n")]
        return b"keep-alive" in connection if old else b"close" not in connection

    def value(self, name: bytes) -> bytes | None:
        """The first value of a header (its name in lower case), in lower case itself, or None."""
        start = self.lower.find(b"\r\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 3
        return self.lower[start : self.lower.index(b"\r\n", start)].strip()

    @property
    def method(self) -> bytes:
        """The method of a request."""
        return self.raw[: self.raw.index(b" ")]

    @property
    def status(self) -> int:
        """The status of a response. Raises BadMessage."""
        try:
            return int(self.raw[9:12])
        except ValueError:
            raise BadMessage(f"no status in {self.raw[:40]!r}") from None

    def _length(self) -> int | Body | None:
        encoding, length = self.value(b"transfer-encoding"), self.value(b"content-length")
        if encoding is not None:
            if length is not None or encoding != b"chunked":
                raise BadMessage("transfer-encoding must be chunked and stand alone")
            return Body.CHUNKED
        if length is None:
            return None
        if not length.isdigit() or self.lower.count(b"\r\ncontent-length:") > 1:
            raise BadMessage("content-length must be one number")
        return int(length)

    def request_body(self) -> int | Body:
        """How the body of a request is framed. Raises BadMessage."""
        length = self._length()
        return 0 if length is None else length

    def response_body(self, method: bytes) -> int | Body:
        """How the body of the response to such a request is framed. Raises BadMessage."""
        if method == b"HEAD" or self.status in (204, 304) or self.status < 200:
            return 0
        length = self._length()
        return Body.UNTIL_CLOSE if length is None else length


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next message head; None where the peer closed before it began one. Raises BadMessage, ConnectionError."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadMessage("the message ends within its head") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadMessage("the head is longer than 64 KiB") from None
    if raw.find(b" ") < 0:
        raise BadMessage(f"no message begins with {raw[:40]!r}")
    return Head(raw, raw.lower())


async def pass_body(body: int | Body, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass a body on. Raises BadMessage where it ends early, ConnectionError."""
    try:
        match body:
            case Body.CHUNKED:
                await _pass_chunks(reader, writer)
            case Body.UNTIL_CLOSE:
                while piece := await reader.read(_CHUNK):
                    writer.write(piece)
                    await writer.drain()
            case length:
                await _pass_bytes(length, reader, writer)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadMessage("the message ends within its body") from None


async def _pass_bytes(length: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while length > 0:
        piece = await reader.read(min(length, _CHUNK))
        if not piece:
            raise BadMessage("the message ends within its body")
        length -= len(piece)
        writer.write(piece)
        await writer.drain()


async def _pass_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
        try:
            size = int(line.split(b";", 1)[0], 16)
        except ValueError:
            raise BadMessage(f"no chunk begins with {line[:40]!r}") from None
        if size == 0:
            break
        await _pass_bytes(size + 2, reader, writer)
    while line != b"\r\n":
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
