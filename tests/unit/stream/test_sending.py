"""What the frugal producer sends is what aiokafka would have sent, copied once."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Schema
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.stream.sending import Batch, FrugalProducer, InParts, parts_of

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
        sent.append(b"size" + (b"header" + request.prepare({0: (0, 7)}).encode()))

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
    assert sent == [b"sizeheader\xff\xff\xff\xff\x00\x00\x9c\x40\x00\x00\x00\x00"]


_HEADERS = st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=2)
_RECORDS = st.lists(
    st.tuples(st.integers(0, 1 << 40), st.none() | st.binary(max_size=200), st.none() | st.binary(max_size=300), _HEADERS),
    min_size=1,
    max_size=6,
)


@given(records=_RECORDS, most=st.integers(70, 1_000), producer=st.tuples(st.integers(-1, 1 << 40), st.integers(-1, 99), st.integers(0, 99)))
def test_a_batch_in_parts_is_the_one_that_aiokafka_builds_and_is_full_no_sooner(
    records: list[Any], most: int, producer: tuple[int, int, int]
) -> None:
    theirs, ours = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, most), Batch(most)
    for at_ms, key, value, headers in records:
        want = theirs.append(ours.record_count(), at_ms, key, value, headers)
        made = ours.append(timestamp=at_ms, key=key, value=value, headers=headers)
        if want is None and made is not None:
            assert ours.size() == most  # what fits exactly goes into aiokafka's next batch
            return
        assert (made is None) == (want is None)
        if want is None or made is None:
            break
        assert (made.offset, made.size, made.timestamp, made.crc) == (want.offset, want.size, want.timestamp, want.crc)
        assert ours.size() == theirs.size()
    theirs.set_producer_state(*producer)
    ours._set_producer_state(*producer)
    built = ours._build()
    assert b"".join(built.parts) == bytes(theirs.build())
    assert len(built) == ours.size()
    assert ours.closed()
    assert ours.append(timestamp=1, key=None, value=b"late", headers=[]) is None


def test_what_aiokafka_puts_in_front_is_joined_once() -> None:
    value = b"v" * 1_000_000
    request = _VERSIONS[-1](None, -1, 40_000, [("span-halves", [(3, value)])])
    batch = Batch(1 << 20)
    assert batch.append(timestamp=None, key=None, value=value)
    built = batch._build()
    assert any(part is value for part in built.parts)
    request.topics = [("span-halves", [(3, built)])]
    parts = [*parts_of(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names])]
    assert any(part is value for part in parts)
    whole = InParts(parts, fronts=2)
    headed = b"header" + whole
    assert isinstance(headed, InParts)
    assert len(headed) == len(whole) + 6
    assert b"size" + headed == b"sizeheader" + b"".join(parts)


def test_batches_that_are_compressed_are_left_to_aiokafka() -> None:
    async def made(codec: str | None) -> Any:
        producer = FrugalProducer(bootstrap_servers="127.0.0.1:1", acks="all", enable_idempotence=True, compression_type=codec)
        producer._closed = True
        return producer._message_accumulator.create_builder()

    assert isinstance(asyncio.run(made(None)), Batch)
    assert not isinstance(asyncio.run(made("gzip")), Batch)
