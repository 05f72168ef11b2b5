"""A producer that copies what it sends once where aiokafka copies it at each level of the request, six times over.

Halves of spans leave in requests of some megabytes; making these was more than a third of the work of the thread that halves and pairs.
"""

from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Array, Bytes, Int32, Schema


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
        yield value
    else:
        yield kind.encode(value)


def _encoded_once(request: Any) -> bytes:
    return b"".join(parts_of(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names]))


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


class FrugalProducer(AIOKafkaProducer):  # type: ignore[misc]
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sender.__class__ = _Sender
