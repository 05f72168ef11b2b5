"""A producer that copies what it sends once where aiokafka copies it into a batch and at each level of the request, eight times over.

Halves of spans leave in requests of some megabytes; making these was more than a third of the work of the thread that halves and pairs.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MethodType
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Array, Bytes, Int32, Schema

from ctrlplane_stream.stream.record_batches import CRC_END, HEADER, LENGTH_END, MAGIC, UNCOMPRESSED, checksum
from ctrlplane_stream.wire.varints import zigzag


class InParts:
    """Bytes in parts, for aiokafka, which puts ``fronts`` times something in front: with the last of it they are joined."""

    def __init__(self, parts: Sequence[bytes], fronts: int = 0) -> None:
        self.parts, self._fronts = parts, fronts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def __radd__(self, front: bytes) -> "InParts | bytes":
        parts = (front, *self.parts)
        return b"".join(parts) if self._fronts == 1 else InParts(parts, self._fronts - 1)


def parts_of(kind: Any, value: Any) -> Iterator[bytes]:
    """The serialized form of a value of a protocol type, in parts; large bytes are a part by themselves."""
    if isinstance(kind, Schema):
        for field, each in zip(kind.fields, value, strict=True):
            yield from parts_of(field, each)
    elif isinstance(kind, Array) and value is not None:
        yield Int32.encode(len(value))
        for each in value:
            yield from parts_of(kind.array_of, each)
    elif kind is Bytes and value is not None:
        yield Int32.encode(len(value))
        yield from value.parts if isinstance(value, InParts) else (value,)
    else:
        yield kind.encode(value)


def _encoded_once(request: Any) -> InParts:
    """To be joined behind the request's header and, before that, its size."""
    return InParts([*parts_of(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names])], fronts=2)


class _Request(ProduceRequest):  # type: ignore[misc]
    def build(self, request_struct_class: Any) -> Any:
        built: Any = super().build(request_struct_class)
        built.encode = MethodType(_encoded_once, built)
        return built


class _Handler(SendProduceReqHandler):  # type: ignore[misc]
    def create_request(self) -> Any:
        request = super().create_request()
        request.__class__ = _Request
        return request


class _Sender(Sender):  # type: ignore[misc]
    async def _send_produce_req(self, node_id: int, batches: Mapping[Any, Any]) -> None:
        """As aiokafka does, with another handler."""
        await _Handler(self, batches).do(node_id)
        self._in_flight.remove(node_id)
        for place in batches:
            self._muted_partitions.remove(place)


class Appended(NamedTuple):
    """A record of a batch, with what aiokafka asks of it; there is no ``crc`` since version 2."""

    offset: int
    size: int
    timestamp: int
    crc: None = None


class Batch(BatchBuilder):  # type: ignore[misc]
    """An uncompressed batch in parts: keys and values stay where they are."""

    def __init__(self, most_bytes: int) -> None:
        """A first record may be larger than ``most_bytes``."""
        self._most_bytes = most_bytes
        self._key_serializer = self._value_serializer = None
        self._closed = False
        self._buffer: InParts | None = None
        self._parts: list[bytes] = []
        self._size = HEADER.size
        self._relative_offset = 0
        self._first_ms = self._latest_ms = 0
        self._producer = (-1, -1, 0)

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]] | None = None
    ) -> Appended | None:
        """Take in a record; None where there is no room, or the batch was closed."""
        at_ms = time.time_ns() // 1_000_000 if timestamp is None else timestamp
        number = self._relative_offset
        if number == 0:
            self._first_ms = self._latest_ms = at_ms
        parts = [b"\0" + zigzag(at_ms - self._first_ms) + zigzag(number), *_sized(key), *_sized(value), zigzag(len(headers or ()))]
        for name, content in headers or ():
            parts += *_sized(name.encode()), *_sized(content)
        of_parts = sum(map(len, parts))
        length = zigzag(of_parts)
        size = len(length) + of_parts
        if self._closed or (number and self._size + size > self._most_bytes):
            self.close()
            return None
        self._parts += length, *parts
        self._size += size
        self._latest_ms = max(self._latest_ms, at_ms)
        self._relative_offset += 1
        return Appended(number, size, at_ms)

    def size(self) -> int:
        """Bytes so far, the header included."""
        return self._size

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = producer_id, producer_epoch, base_sequence

    def _build(self) -> InParts:
        self.close()
        if self._buffer is None:
            count, length = self._relative_offset, self._size - LENGTH_END
            after = count - 1, self._first_ms, self._latest_ms, *self._producer, count
            covered = HEADER.pack(0, length, -1, MAGIC, 0, UNCOMPRESSED, *after)[CRC_END:]
            found = checksum([covered, *self._parts])
            self._buffer = InParts([HEADER.pack(0, length, -1, MAGIC, found, UNCOMPRESSED, *after), *self._parts])
        return self._buffer


def _sized(content: bytes | None) -> tuple[bytes, ...]:
    return (zigzag(-1),) if content is None else (zigzag(len(content)), content)


class _Accumulator(MessageAccumulator):  # type: ignore[misc]
    def create_builder(self, key_serializer: Any = None, value_serializer: Any = None) -> Any:
        if self._compression_type or key_serializer or value_serializer:
            return super().create_builder(key_serializer, value_serializer)
        return Batch(self._batch_size)


class FrugalProducer(AIOKafkaProducer):  # type: ignore[misc]
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sender.__class__ = _Sender
        if self._txn_manager is None or self._txn_manager.transactional_id is None:
            self._message_accumulator.__class__ = _Accumulator
