"""What the frugal producer sends is what aiokafka would have sent, copied once."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Schema
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.stream.sending import FrugalProducer, parts_of

_VERSIONS = ProduceRequest._CLASSES
_TOPICS = st.lists(st.tuples(st.text(max_size=8), st.lists(st.tuples(st.integers(0, 9), st.none() | st.binary(max_size=64)))))


@given(topics=_TOPICS, transaction=st.none() | st.text(max_size=5), version=st.sampled_from(_VERSIONS))
def test_parts_are_what_every_version_of_the_request_serializes_to(
    topics: Any, transaction: str | None, version: type[RequestStruct]
) -> None:
    own: tuple[Any, ...] = (transaction,) if "transactional_id" in version.SCHEMA.names else ()
    request = version(*own, -1, 40_000, topics)
    assert b"".join(parts_of(version.SCHEMA, [getattr(request, name) for name in version.SCHEMA.names])) == request.encode()


def test_a_large_value_is_a_part_by_itself() -> None:
    value = b"v" * 1_000_000
    request = _VERSIONS[-1](None, -1, 40_000, [("span-halves", [(3, value)])])
    assert [part for part in parts_of(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names]) if part is value]


def test_the_producer_serializes_its_requests_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to where aiokafka serializes, level by level: that is not used any more."""
    sent: list[bytes] = []

    async def serialized(_: int, request: ProduceRequest) -> None:
        monkeypatch.setattr(Schema, "encode", None)
        sent.append(request.prepare({0: (0, 7)}).encode())

    async def produce() -> None:
        producer = FrugalProducer(bootstrap_servers="127.0.0.1:1", acks="all", enable_idempotence=True)
        monkeypatch.setattr(producer.client, "send", serialized)
        sender: Any = producer._sender
        monkeypatch.setattr(sender, "_message_accumulator", None)
        sender._in_flight.add(1)
        with suppress(AttributeError):  # there is no answer
            await sender._send_produce_req(1, {})
        producer._closed = True

    asyncio.run(produce())
    assert sent == [b"\xff\xff\xff\xff\x00\x00\x9c\x40\x00\x00\x00\x00"]
