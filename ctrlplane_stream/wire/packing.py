"""Values of our own that are packed where they are large, so that what a state grows to by names alone does not outgrow a record.

Whoever wrote one too large would be refused by the broker at every start, and stand still for ever.
"""

import zstandard

from ctrlplane_stream.wire.json_words import WrongJson

MOST_BYTES = 4_000_000
"""A third of what a record may take: nearly all values are far smaller, and are written as they are, to be read with any tool."""

_FRAME = b"\x28\xb5\x2f\xfd"
"""What zstd begins with, and no JSON."""


def packed(value: bytes) -> bytes:
    """JSON as it is, or one frame of zstd where it has more than ``MOST_BYTES``."""
    return value if len(value) <= MOST_BYTES else zstandard.compress(value)


def unpacked(value: bytes) -> bytes:
    """JSON from what :func:`packed` gave. Raises WrongJson where a frame is broken."""
    if not value.startswith(_FRAME):
        return value
    try:
        return zstandard.decompress(value)
    except (zstandard.ZstdError, MemoryError) as error:  # the latter of a frame that says it holds more than there is room for
        raise WrongJson(f"a packed value is broken: {error}") from error
