"""Fetching seldom, and what was fetched as records at half of what it costs in aiokafka: checksums by the processor's own instruction, and
zstd in one go into memory of the right size instead of memory that grows.

The broker answers at once with a record or two of each partition, and what travels through Faust together costs as much as some
hundred spans. So after an answer that brought little the next request waits a moment in which more comes. It is the request that waits and
not what was answered, so nothing that has come is later for it.

Only what everybody writes is read here: batches of version 2, uncompressed or of one frame of zstd. All else (other codecs, older
versions, control batches, whatever does not fit) is read by aiokafka, whose word also counts on what is damaged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

import zstandard
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from ctrlplane_stream.stream.record_batches import (
    APPEND_TIME,
    CODEC,
    CONTROL,
    CRC_END,
    HEADER,
    LENGTH_END,
    MAGIC,
    MAGIC_AT,
    TRANSACTIONAL,
    UNCOMPRESSED,
    ZSTD,
    checksum_within,
)
from ctrlplane_stream.wire.varints import read_zigzag

_LEAST_FACTOR, _MOST_FACTOR = 16, 256
_LEAST_BATCH = 14 + LENGTH_END
"""Bytes of the smallest batch that aiokafka takes for one."""


class FetchedRecord(NamedTuple):
    """A record with the fields that aiokafka asks for; ``timestamp`` is -1 where there is none, and no ``checksum`` since version 2."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class Unpacker:
    """Unpacks zstd, with memory that is kept from batch to batch. Not thread-safe."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor()
        self._factor = _LEAST_FACTOR

    def unpacked(self, packed: memoryview) -> bytes:
        """What a frame holds. Raises ZstdError where it is none, is more than one, or holds more than ``_MOST_FACTOR`` times its size."""
        if zstandard.frame_content_size(packed) > _MOST_FACTOR * len(packed):  # memory would be taken for all that a frame says of itself
            raise zstandard.ZstdError("the frame says that it holds more than frames do")
        while True:
            try:
                return self._zstd.decompress(packed, max_output_size=self._factor * len(packed), allow_extra_data=False)
            except zstandard.ZstdError:
                if self._factor >= _MOST_FACTOR:
                    self._factor = _LEAST_FACTOR
                    raise
                self._factor *= 4  # most writers do not say how much it is; what they write is much alike from batch to batch


class FetchedBatch:
    """A batch of version 2, uncompressed or of zstd, with what aiokafka asks of one."""

    def __init__(self, data: bytes, begin: int, end: int, unpacker: Unpacker) -> None:
        """The batch stands in ``data`` from ``begin`` to ``end``."""
        self._data, self._begin, self._end, self._unpacker = data, begin, end, unpacker
        (
            self.base_offset,
            _,
            _,
            _,
            self._crc,
            self._attributes,
            last,
            self._first_ms,
            self._latest_ms,
            self.producer_id,
            _,
            _,
            self._count,
        ) = HEADER.unpack_from(data, begin)
        self.next_offset: int = self.base_offset + last + 1
        self.is_transactional = bool(self._attributes & TRANSACTIONAL)
        self.is_control_batch = False

    def validate_crc(self) -> bool:
        """Whether the bytes are those that were written."""
        return checksum_within(self._data, self._begin + CRC_END, self._end) == int(self._crc)

    def __iter__(self) -> Iterator[Any]:
        """The records; raises CorruptRecordException as aiokafka does."""
        try:
            return iter(self._read())
        except (IndexError, ValueError, zstandard.ZstdError):
            return iter(DefaultRecordBatch(memoryview(self._data)[self._begin : self._end]))

    def _read(self) -> list[FetchedRecord]:
        data, at, end = self._data, self._begin + HEADER.size, self._end
        if self._attributes & CODEC:
            data = self._unpacker.unpacked(memoryview(data)[at:end])
            at, end = 0, len(data)
        found: list[FetchedRecord] = []
        for _ in range(self._count):
            record, at = self._record(data, at)
            found.append(record)
        if at != end:
            raise ValueError(f"{end - at} bytes beside the records")
        return found

    def _record(self, data: bytes, at: int) -> tuple[FetchedRecord, int]:
        size, at = read_zigzag(data, at)
        end = at + size
        if data[at]:  # to Kafka a byte, of which aiokafka makes a longer number
            raise ValueError("attributes of a record, which are not in use")
        after_ms, at = read_zigzag(data, at + 1)
        number, at = read_zigzag(data, at)
        key, at = _bytes(data, at)
        value, at = _bytes(data, at)
        many, at = read_zigzag(data, at)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(many):
            name, at = _bytes(data, at)
            content, at = _bytes(data, at)
            if name is None:
                raise ValueError("a header without a name")
            headers.append((name.decode(), content))
        if at != end or many < 0:
            raise ValueError(f"a record of {size} bytes does not end where it should")
        by_broker = self._attributes & APPEND_TIME
        at_ms = self._latest_ms if by_broker else self._first_ms + after_ms
        return FetchedRecord(self.base_offset + number, at_ms, 1 if by_broker else 0, key, value, headers), at


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = read_zigzag(data, at)
    return (None, at) if size < 0 else (data[at : at + size], at + size)


class FetchedRecords:
    """The batches that a fetch brought of a partition, with what aiokafka asks of them."""

    def __init__(self, data: bytes, unpacker: Unpacker) -> None:
        self._data, self._unpacker = data, unpacker
        self._at, self._end = 0, self._end_of(0)

    def size_in_bytes(self) -> int:
        """Of all, the last and unfinished one included."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether there is another whole batch."""
        return self._end is not None

    def next_batch(self) -> Any:
        """The next batch, or None; raises CorruptRecordException where it is too small to be one."""
        begin, end = self._at, self._end
        if end is None:
            return None
        if end - begin < _LEAST_BATCH:
            raise CorruptRecordException(f"a batch of {end - begin} bytes is too small to be one")
        self._at, self._end = end, self._end_of(end)
        magic = int.from_bytes(self._data[begin + MAGIC_AT : begin + MAGIC_AT + 1], "big", signed=True)
        slice_of_it = memoryview(self._data)[begin:end]
        if magic < MAGIC:
            return LegacyRecordBatch(slice_of_it, magic)
        if end - begin >= HEADER.size:
            attributes = HEADER.unpack_from(self._data, begin)[5]
            if not attributes & CONTROL and attributes & CODEC in (UNCOMPRESSED, ZSTD):
                return FetchedBatch(self._data, begin, end, self._unpacker)
        return DefaultRecordBatch(slice_of_it)

    def _end_of(self, begin: int) -> int | None:
        """Where the batch that begins there says it ends; None where it is not all there."""
        if len(self._data) - begin < LENGTH_END:
            return None
        end = begin + LENGTH_END + int.from_bytes(self._data[begin + 8 : begin + LENGTH_END], "big", signed=True)
        return end if end <= len(self._data) else None


class FrugalFetcher(fetcher.Fetcher):  # type: ignore[misc]
    """Fetches less often and reads what came as the module says. Made of aiokafka's by ``__class__`` and ``begin``."""

    def begin(self, pause_seconds: float) -> None:
        """How long to let more gather in the broker after an answer that brought some, but of no partition as much as it may."""
        self._pause_seconds = pause_seconds
        self._gathers: set[Any] = set()
        self._unpacker = Unpacker()

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool:
        if node_id in self._gathers:
            try:
                await asyncio.sleep(self._pause_seconds)
            except asyncio.CancelledError:
                return False  # as aiokafka: it is closing, or the partitions are another's
        sizes: list[int] = []

        def records(data: bytes) -> FetchedRecords:
            sizes.append(len(data))
            return FetchedRecords(data, self._unpacker)

        found = await _processed_by(records)(self, assignment, node_id, request)
        self._gathers.discard(node_id)
        if 0 < max(sizes, default=0) < self._max_partition_fetch_bytes // 2:
            self._gathers.add(node_id)
        return bool(found)


def _processed_by(records: Callable[[bytes], FetchedRecords]) -> Callable[..., Awaitable[bool]]:
    """aiokafka's own handling of a request, by other records: it names its own class in its module, which all consumers share."""
    return FunctionType(fetcher.Fetcher._proc_fetch_request.__code__, {**vars(fetcher), "MemoryRecords": records})


class FrugalConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """See the module. Made of aiokafka's by ``__class__``, before it starts."""

    pause_seconds = 0.0

    async def start(self) -> None:
        """As aiokafka does."""
        await super().start()
        self._fetcher.__class__ = FrugalFetcher
        self._fetcher.begin(self.pause_seconds)
