"""Reading the body of an HTTP request without ever holding more than was reserved for it, or for longer than its sender waits.

Gzip is unpacked here, a bounded step at a time, because a kilobyte of it can stand for a megabyte.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

from ctrlplane_stream.local.intake.answers import Overloaded, TooLarge, Unavailable, Unreadable
from ctrlplane_stream.local.intake.budget import Reservation

_GZIP = 16 + zlib.MAX_WBITS
_STEP_BYTES = 64 * 1024


async def read_body(
    chunks: AsyncIterator[bytes], *, gzipped: bool, max_bytes: int, within_seconds: float, reservation: Reservation
) -> bytes | Unreadable | TooLarge | Overloaded | Unavailable:
    """The body, unpacked, of at most ``max_bytes``, where all of it comes in time; or why there is none."""
    try:
        async with asyncio.timeout(within_seconds):
            return await _whole(chunks, _Gunzip() if gzipped else None, max_bytes, reservation)
    except TimeoutError:
        return Unavailable(f"the body did not come within {within_seconds:g} s")
    except zlib.error as error:
        return Unreadable(f"not gzip: {error}")


async def _whole(
    chunks: AsyncIterator[bytes], unpack: "_Gunzip | None", max_bytes: int, reservation: Reservation
) -> bytes | Unreadable | TooLarge | Overloaded:
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        for part in unpack.feed(chunk) if unpack else (chunk,):
            size += len(part)
            if size > max_bytes:
                return TooLarge(f"the body is larger than {max_bytes} bytes unpacked: send smaller batches")
            if not reservation.grow_to(size):
                return Overloaded()
            parts.append(part)
    if unpack is not None and not unpack.whole:
        return Unreadable("not gzip: it ends too soon")
    return b"".join(parts)


class _Gunzip:
    """Unpacks a gzip file, which is one member after another (RFC 1952, 2.2): some senders compress a body in pieces."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)

    @property
    def whole(self) -> bool:
        return self._stream.eof

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self._stream.eof:
                self._stream = zlib.decompressobj(_GZIP)
            yield self._stream.decompress(packed, _STEP_BYTES)
            packed = self._stream.unused_data or self._stream.unconsumed_tail
