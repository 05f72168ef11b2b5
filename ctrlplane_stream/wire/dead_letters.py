"""A record of ``dead-letters``: what could not be used, whole, and why.

The value is the original value, byte for byte, and may be absent as the original's may. Headers say where it was
(``topic``, our own name without prefix; ``partition``; ``offset``), why it ended here (``reason``) and when
(``at_ms``, milliseconds since the epoch); ``key`` is the original key where there was one, and each original header
follows with ``origin.`` before its name. So a letter replays as what it was.

A record may hold more than a letter takes: what a topic allows is counted as it was compressed. A value of more than
``MOST_BYTES`` is kept as one frame of zstd, which the header ``packed`` says.
"""

from collections.abc import Iterable, Sequence

import msgspec
import zstandard

TOPIC = "dead-letters"
MAX_REASON_BYTES = 2000
MOST_BYTES = 12_582_912
_MOST_UNPACKED = 1 << 30
"""Foreign writers may say anything of a frame."""
_ORIGIN = "origin."
_PACKED, _ZSTD = "packed", b"zstd"

Headers = tuple[tuple[str, bytes], ...]


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter. ``place`` is its own (partition, offset), ``origin`` the (partition, offset) that it had on ``topic``.

    ``topic`` is empty and ``origin`` (-1, -1) where the headers cannot be read, which only a foreign writer can cause.
    """

    place: tuple[int, int]
    topic: str
    origin: tuple[int, int]
    reason: str
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def readable(self) -> bool:
        """Whether it says where it came from, and so can go back."""
        return bool(self.topic)


def letter_headers(
    topic: str, partition: int, offset: int, reason: str, at_ms: int, *, key: bytes | None = None, headers: Iterable[tuple[str, bytes]] = ()
) -> Headers:
    """The headers of the dead letter of a record; a long reason is cut."""
    found = [
        ("topic", topic.encode()),
        ("partition", str(partition).encode()),
        ("offset", str(offset).encode()),
        ("reason", reason.encode()[:MAX_REASON_BYTES]),
        ("at_ms", str(at_ms).encode()),
    ]
    if key is not None:
        found.append(("key", key))
    return (*found, *((_ORIGIN + name, value) for name, value in headers))


def letter_value(value: bytes | None) -> tuple[bytes | None, Headers]:
    """The value of the dead letter of a record, and the headers that tell how it is kept."""
    if value is None or len(value) <= MOST_BYTES:
        return value, ()
    return zstandard.compress(value), ((_PACKED, _ZSTD),)


def _original(value: bytes | None, packed: bytes | None) -> bytes | None:
    if value is None or packed != _ZSTD:
        return value
    try:
        return zstandard.decompress(value) if zstandard.frame_content_size(value) <= _MOST_UNPACKED else value
    except zstandard.ZstdError:
        return value


def read_letter(partition: int, offset: int, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> DeadLetter:
    """The dead letter that a record of ``dead-letters`` is. Never raises: what says nothing of its origin is one too."""
    named = {name: value or b"" for name, value in headers}
    try:
        topic, origin, at_ms = named["topic"].decode(), (int(named["partition"]), int(named["offset"])), int(named["at_ms"])
    except (KeyError, ValueError):
        return DeadLetter((partition, offset), "", (-1, -1), "this record's own headers cannot be read", 0, None, value, ())
    original = tuple((name.removeprefix(_ORIGIN), value or b"") for name, value in headers if name.startswith(_ORIGIN))
    reason = named.get("reason", b"").decode(errors="replace")
    value = _original(value, named.get(_PACKED))
    return DeadLetter((partition, offset), topic, origin, reason, at_ms, named.get("key"), value, original)
