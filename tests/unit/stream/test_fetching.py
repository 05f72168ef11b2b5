"""What a fetch brought is read as aiokafka reads it, and what is damaged is refused as aiokafka refuses it."""

import asyncio
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import example, given
from hypothesis import strategies as st

from ctrlplane_stream.stream import fetching, record_batches
from ctrlplane_stream.stream.fetching import FetchedBatch, FetchedRecords, FrugalFetcher, Unpacker
from ctrlplane_stream.stream.record_batches import checksum, checksum_within
from ctrlplane_stream.wire.varints import read_zigzag, zigzag

_CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_RECORDS = st.lists(
    st.tuples(
        st.integers(0, 1 << 40),
        st.none() | st.binary(max_size=5),
        st.none() | st.binary(max_size=300),
        st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=2),
    ),
    min_size=1,
    max_size=5,
)
_Records = list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]


def batch(records: _Records, codec: str = "none", base_offset: int = 0) -> bytes:
    """A batch as a broker hands it on."""
    builder = DefaultRecordBatchBuilder(2, _CODECS[codec], 0, -1, -1, 0, 1 << 30)
    for number, (at_ms, key, value, headers) in enumerate(records):
        assert builder.append(number, at_ms, key, value, headers)
    return base_offset.to_bytes(8, "big") + bytes(builder.build())[8:]


def spans(many: int) -> bytes:
    """A value that shrinks well."""
    return b"".join(b"span %d of a trace " % (i * 7919 % 997) for i in range(many))


def read(found: Any) -> Any:
    """What is in a fetch, batch by batch; or how it is refused. Records before the refusal are not told: both may have read more."""
    batches = []
    try:
        while found.has_next():
            one = found.next_batch()
            whole = one.validate_crc()
            records = [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers, r.checksum) for r in one] if whole else None
            batches.append((records, one.next_offset, one.is_control_batch))
    except Exception as error:  # whatever aiokafka raises
        return type(error), len(batches)
    return batches, found.size_in_bytes()


@given(records=_RECORDS, others=_RECORDS, codec=st.sampled_from(list(_CODECS)), cut=st.integers(0, 40))
def test_batches_of_every_codec_are_read_as_aiokafka_reads_them(records: _Records, others: _Records, codec: str, cut: int) -> None:
    """The last batch of a fetch is seldom whole."""
    data = batch(records, codec, 70) + batch(others, codec, 80) + batch(records)[:cut]
    assert read(FetchedRecords(data, Unpacker())) == read(MemoryRecords(data))


@given(seed=st.integers(0, 1 << 32), codec=st.sampled_from(["none", "zstd"]), mended=st.booleans())
@example(seed=161, codec="zstd", mended=False)  # a magic byte below 0
@example(seed=8062770, codec="zstd", mended=True)  # a frame that says it holds more than there is memory
@example(seed=1014238, codec="none", mended=True)  # a record that was written at -1
@example(seed=631068336, codec="none", mended=True)  # a record's attributes beyond 127, of which aiokafka reads more than the one byte
def test_damaged_batches_are_read_or_refused_as_aiokafka_does_it(seed: int, codec: str, mended: bool) -> None:
    """Also where the checksum is right, as when the writer was wrong."""
    chance = random.Random(seed)
    data = bytearray(batch([(5, b"k", spans(30), [("h", b"x")]), (6, None, None, [])], codec))
    for _ in range(chance.choice((1, 1, 3))):
        data[chance.randrange(8, len(data))] = chance.randrange(256)
    if mended:
        data[17:21] = checksum([bytes(data[21:])]).to_bytes(4, "big")
    assert read(FetchedRecords(bytes(data), Unpacker())) == read(MemoryRecords(bytes(data)))


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_record_that_nobody_stamped_is_told_so(codec: str) -> None:
    """As Kafka writes it, -1, which its brokers take where a topic keeps the writer's time: None would end the role that reads it."""
    data = bytearray(batch([(5, None, b"v", []), (-1, None, b"v", [])], codec))
    assert [record.timestamp for record in FetchedRecords(bytes(data), Unpacker()).next_batch()] == [5, -1]
    assert read(FetchedRecords(bytes(data), Unpacker())) == read(MemoryRecords(bytes(data)))


def test_a_batch_of_the_usual_codecs_is_not_left_to_aiokafka(monkeypatch: pytest.MonkeyPatch) -> None:
    records: _Records = [(5, None, spans(2_000), []), (6, b"key", None, [("why", None)])]
    for codec in ("none", "zstd"):
        found = FetchedRecords(batch(records, codec), Unpacker()).next_batch()
        assert isinstance(found, FetchedBatch)
        monkeypatch.setattr("ctrlplane_stream.stream.fetching.DefaultRecordBatch", None)
        assert [(each.key, each.value) for each in found] == [(None, spans(2_000)), (b"key", None)]
        monkeypatch.undo()


def test_what_shrank_more_than_any_before_is_unpacked_and_what_grows_without_end_is_left_to_aiokafka() -> None:
    usual, empty = spans(500), bytes(100_000)
    unpacker = Unpacker()
    for value in (usual, empty, usual):
        (record,) = FetchedRecords(batch([(5, None, value, [])], "zstd"), unpacker).next_batch()
        assert record.value == value
    with pytest.raises(zstandard.ZstdError):
        unpacker.unpacked(memoryview(zstandard.compress(bytes(1 << 20))[:-1]))


def test_frames_that_follow_each_other_are_all_read() -> None:
    """A writer may flush frame by frame; the shortcut takes one."""
    whole = batch([(5, None, b"a" * 100, []), (6, None, b"b" * 100, [])])
    head, records = bytearray(whole[:61]), whole[61:]
    packed = zstandard.compress(records[:50]) + zstandard.compress(records[50:])
    head[22] |= 4
    data = head[:8] + (len(head) - 12 + len(packed)).to_bytes(4, "big") + head[12:] + packed
    data[17:21] = checksum([bytes(data[21:])]).to_bytes(4, "big")
    assert [record.value for record in FetchedRecords(bytes(data), Unpacker()).next_batch()] == [b"a" * 100, b"b" * 100]


def test_older_versions_and_control_batches_are_left_to_aiokafka() -> None:
    old = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    assert old.append(0, timestamp=5, key=b"k", value=b"v")
    data = bytes(old.build())
    assert read(FetchedRecords(data, Unpacker()))[0][0][0] == read(MemoryRecords(data))[0][0][0]
    control = bytearray(batch([(5, b"\0\0\0\1", b"", [])]))
    control[22] |= 32
    assert isinstance(FetchedRecords(bytes(control), Unpacker()).next_batch(), DefaultRecordBatch)


@pytest.mark.parametrize("by_instruction", [True, False])
@given(parts=st.lists(st.binary(max_size=70), max_size=4))
def test_the_checksum_is_that_of_aiokafka_with_and_without_the_processors_instruction(by_instruction: bool, parts: list[bytes]) -> None:
    found = record_batches._by_instruction() if by_instruction else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_batches, "_by_instruction", lambda: found)
        data = b"".join(parts)
        theirs = calc_crc32c(data)
        assert checksum(parts) == theirs
        assert checksum_within(b"before" + data + b"after", 6, 6 + len(data)) == theirs
        assert checksum([b"123456789"]) == 0xE3069283


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    assert read_zigzag(b"x" + zigzag(number) + b"x", 1) == (number, 1 + len(zigzag(number)))


_PLACE = TopicPartition("otlp_spans", 3)
_MOST = 10_000
"""Bytes of a partition in an answer."""


def a_fetcher(answers: Sequence[bytes], pause_seconds: float | None = None) -> Any:
    """Only what handling an answer touches of aiokafka's fetcher; ours where there is a pause."""
    coming = iter(answers)

    async def answer(*_: Any) -> Any:
        return SimpleNamespace(API_VERSION=4, topics=[(_PLACE.topic, [(_PLACE.partition, 0, 41, 41, [], next(coming))])])

    made: Any = object.__new__(Fetcher)
    vars(made).update(
        _client=SimpleNamespace(send=answer), _client_rack=None, _rack_warning_logged=False, _records={}, _key_deserializer=None,
        _value_deserializer=None, _check_crcs=True, _isolation_level=0, _prefetch_backoff=0.1, _closed=True,
        _max_partition_fetch_bytes=_MOST,
    )  # fmt: skip
    if pause_seconds is not None:
        made.__class__ = FrugalFetcher
        made.begin(pause_seconds)
    return made


async def fetch(made: Any) -> list[ConsumerRecord]:
    """Ask once."""
    state = SimpleNamespace(has_valid_position=True, position=40)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    request = SimpleNamespace(topics=[(_PLACE.topic, [(_PLACE.partition, 40, _MOST)])])
    if not await made._proc_fetch_request(assignment, 0, request):
        return []
    return list(made._records.pop(_PLACE)._partition_records)


def test_a_fetcher_of_ours_reads_as_the_module_says_and_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = batch([(5, None, spans(100), [])], "zstd", 40)
    made = list[bytes]()

    def records(found: bytes, unpacker: Unpacker) -> FetchedRecords:
        made.append(found)
        return FetchedRecords(found, unpacker)

    monkeypatch.setattr(fetching, "FetchedRecords", records)
    for one, seen in ((a_fetcher([data]), []), (a_fetcher([data], pause_seconds=0.0), [data])):
        (record,) = asyncio.run(fetch(one))
        assert (record.offset, record.value, record.timestamp) == (40, spans(100), 5)
        assert made == seen


@pytest.mark.parametrize(
    ("sizes", "pauses"),
    [([5, 5], [0.1]), ([5, 0, 5, 5], [0.1, 0.1]), ([_MOST // 2, 5], []), ([0, 0, 5], [])],
    ids=["little came", "nothing came after", "much came", "nothing came"],
)
def test_only_after_an_answer_that_brought_little_more_may_gather(
    sizes: list[int], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone record is read at once; records that trickle in come together, and a backlog is read without a pause."""
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def run() -> None:
        made = a_fetcher([batch([(5, None, bytes(size), [])], base_offset=40) if size else b"" for size in sizes], pause_seconds=0.1)
        for size in sizes:
            assert len(await fetch(made)) == (size > 0)

    monkeypatch.setattr(fetching, "asyncio", SimpleNamespace(sleep=sleep, CancelledError=asyncio.CancelledError))
    asyncio.run(run())
    assert slept == pauses


def test_a_fetcher_that_is_stopped_while_more_gathers_says_that_nothing_came() -> None:
    """As aiokafka's own does; an exception would leave its closing."""

    async def run() -> None:
        made = a_fetcher([batch([(5, None, b"v", [])], base_offset=40)], pause_seconds=60.0)
        assert len(await fetch(made)) == 1
        waiting = asyncio.ensure_future(fetch(made))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await waiting == []

    asyncio.run(run())
