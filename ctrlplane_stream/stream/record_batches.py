"""Kafka's record batch (version 2) as bytes: what reading and writing share of it.

    base offset i64 | length i32 | leader epoch i32 | magic i8 | CRC u32 | attributes i16 | last offset delta i32 | first and latest
    timestamp i64 each | producer id i64 | producer epoch i16 | base sequence i32 | count i32 | records

The length counts what comes after it, the CRC (CRC-32C) is that of what comes after it. Where records are compressed, all of them are
together. A record: length, attributes (one byte), timestamp and offset after those of the batch, key, value, headers; numbers are
zigzag varints, and bytes have their length before them, -1 for none.
"""

import struct
from collections.abc import Iterable
from functools import cache
from typing import Any

from aiokafka.record.util import calc_crc32c

from ctrlplane_stream.telemetry.native import library

HEADER = struct.Struct(">qiibIhiqqqhii")
LENGTH_END, CRC_AT, CRC_END = 12, 17, 21
"""Where in the header the length ends, and the checksum stands."""
MAGIC_AT, MAGIC = 16, 2
CODEC, APPEND_TIME, TRANSACTIONAL, CONTROL = 7, 8, 16, 32
"""Masks of the attributes."""
UNCOMPRESSED, ZSTD = 0, 4


@cache
def _by_instruction() -> Any | None:
    """Where the processor counts CRC-32C by itself and there is C to ask it: (checksum so far, bytes, from, to) to checksum."""
    found = library()
    return found.crc32c if found is not None and found.counts_crc32c() else None


def checksum(parts: Iterable[bytes]) -> int:
    """CRC-32C of bytes that follow each other."""
    count = _by_instruction()
    if count is None:
        return int(calc_crc32c(b"".join(parts)))
    found = 0
    for part in parts:
        found = count(found, part, 0, len(part))
    return found


def checksum_within(data: bytes, begin: int, end: int) -> int:
    """CRC-32C of a stretch of bytes."""
    count = _by_instruction()
    return int(calc_crc32c(data[begin:end]) if count is None else count(0, data, begin, end))
