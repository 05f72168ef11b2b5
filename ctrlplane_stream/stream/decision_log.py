"""Which records of ``decisions`` count. Whoever reads the topic reads it through a ``Fence``.

A new owner of a partition appends a ``Claim``; its offset is the owner's epoch. A record counts only if it carries the
epoch of the latest claim before it, so an owner that lost the partition without noticing can write but not act.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from ctrlplane_stream.model.decisions import Claim, Decided, DecisionRecord, Parked
from ctrlplane_stream.stream.ports import LogReader
from ctrlplane_stream.wire.cloudevents import Unreadable, decode

TOPIC = "decisions"
NO_EPOCH = -1
CLAIM_AT_LEAST_EVERY = 10_000
"""An owner renews its claim after this many records, so that a reader who starts anywhere finds one near by."""

_LOOK_BACK = CLAIM_AT_LEAST_EVERY * 2
_decoder: msgspec.json.Decoder[DecisionRecord] = msgspec.json.Decoder(DecisionRecord)
_encode = msgspec.json.Encoder().encode


def write_decision(record: DecisionRecord) -> bytes:
    """The record's value."""
    return _encode(record)


def read_decision(value: bytes | None) -> DecisionRecord | Unreadable:
    """What a record holds, or why it cannot be read. Never raises."""
    if not value:
        return Unreadable("the record is empty")
    return decode(value, _decoder, "decision record")


class Stamped(Protocol):
    """Whatever carries the epoch under which it was written."""

    @property
    def epoch(self) -> int:
        """The offset of its owner's claim."""
        ...


class Fence:
    """The epoch in force at one place of one partition. Feed it every record, in order, from a place where ``epoch`` is known."""

    __slots__ = ("epoch",)

    def __init__(self, epoch: int = NO_EPOCH) -> None:
        self.epoch = epoch

    def admits(self, offset: int, record: Claim | Stamped) -> bool:
        """Whether the record counts; a claim always does, and changes the epoch."""
        if isinstance(record, Claim):
            self.epoch = offset
            return True
        return record.epoch == self.epoch


async def admitted(
    reader: LogReader, partition: int, start: int, end: int | None, fence: Fence
) -> AsyncIterator[tuple[int, int, Decided | Parked]]:
    """(offset, append time in ms, record) of everything that counts in a stretch; ``fence`` is moved along.

    Claims are taken in and not returned; what cannot be read is passed over (it was written by nobody of ours).
    """
    async for found in reader.read(TOPIC, partition, start, end):
        record = read_decision(found.value)
        if not isinstance(record, Unreadable) and fence.admits(found.offset, record) and not isinstance(record, Claim):
            yield found.offset, found.at_ms, record


async def fence_at(reader: LogReader, partition: int, offset: int) -> Fence:
    """The fence as it stands just before ``offset``: looks back until it meets a claim, or the beginning."""
    end = offset
    while end > 0:
        start, latest = max(0, end - _LOOK_BACK), NO_EPOCH
        async for found in reader.read(TOPIC, partition, start, end):
            if isinstance(read_decision(found.value), Claim):
                latest = found.offset
        if latest != NO_EPOCH:
            return Fence(latest)
        end = start
    return Fence()
