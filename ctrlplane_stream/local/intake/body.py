"""Reading the body of an HTTP request without ever holding more than was reserved for it.

Gzip is unpacked here, a bounded step at a time, because a kilobyte of it can stand for a megabyte.
"""

import zlib
from collections.abc import AsyncIterator, Iterator

from ctrlplane_stream.local.intake.answers import Overloaded, TooLarge, Unreadable
from ctrlplane_stream.local.intake.budget import Reservation

_GZIP = 16 + zlib.MAX_WBITS
_STEP_BYTES = 64 * 1024


async def read_body(
    chunks: AsyncIterator[bytes], *, gzipped: bool, max_bytes: int, reservation: Reservation
) -> bytes | Unreadable | TooLarge | Overloaded:
    """The body, unpacked, of at most ``max_bytes``; or why there is none."""
    parts: list[bytes] = []
    size = 0
    unpack = _Gunzip() if gzipped else None
    try:
        async for chunk in chunks:
            for part in unpack.feed(chunk) if unpack else (chunk,):
                size += len(part)
                if size > max_bytes:
                    return TooLarge(f"the body is larger than {max_bytes} bytes unpacked: send smaller batches")
                if not reservation.grow_to(size):
                    return Overloaded()
                parts.append(part)
    except zlib.error as error:
        return Unreadable(f"not gzip: {error}")
    if unpack is not None and not unpack.whole:
        return Unreadable("not gzip: it ends too soon")
    return b"".join(parts)


class _Gunzip:
    """Unpacks one gzip stream; bytes after its end are ignored, as by gzip itself."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)

    @property
    def whole(self) -> bool:
        return self._stream.eof

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while packed and not self._stream.eof:
            yield self._stream.decompress(packed, _STEP_BYTES)
            packed = self._stream.unconsumed_tail
