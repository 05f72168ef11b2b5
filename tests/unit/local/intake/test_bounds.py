"""Nothing grows without bound: bodies, reservations and what waits in a batch."""

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.local.intake.answers import Overloaded, TooLarge, Unavailable, Unreadable
from ctrlplane_stream.local.intake.batcher import Batcher, NotWritten, Size
from ctrlplane_stream.local.intake.body import read_body
from ctrlplane_stream.local.intake.budget import FLOOR_BYTES, Budget, Reservation
from ctrlplane_stream.local.intake.payload import Piece

_LARGE = 10 * FLOOR_BYTES


def _read(body: bytes, *, gzipped: bool, step: int, max_bytes: int = _LARGE, limit: int = _LARGE) -> object:
    """What ``read_body`` makes of a body that arrives in chunks of ``step`` bytes."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    reservation = Budget(limit).reserve()
    assert reservation is not None
    return asyncio.run(read_body(chunks(), gzipped=gzipped, max_bytes=max_bytes, within_seconds=60.0, reservation=reservation))


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_a_body_is_what_was_sent_however_it_is_cut(body: bytes, step: int) -> None:
    """Plain and gzipped bodies come out whole for any chunking."""
    assert _read(body, gzipped=False, step=step) == body
    assert _read(gzip.compress(body), gzipped=True, step=step) == body


@given(st.binary(min_size=1, max_size=500), st.integers(1, 100), st.data())
def test_a_gzipped_body_cut_short_is_unreadable(body: bytes, step: int, data: st.DataObject) -> None:
    """No prefix of a gzip stream passes for the whole."""
    packed = gzip.compress(body)
    assert isinstance(_read(packed[: data.draw(st.integers(0, len(packed) - 1))], gzipped=True, step=step), Unreadable)


@given(st.lists(st.binary(max_size=500), min_size=1, max_size=5), st.integers(1, 200))
def test_a_gzipped_body_in_several_members_is_all_of_them(parts: list[bytes], step: int) -> None:
    """As ``gzip -d`` has it: what is compressed in pieces and joined is the pieces, joined."""
    assert _read(b"".join(map(gzip.compress, parts)), gzipped=True, step=step) == b"".join(parts)


@given(st.binary(max_size=500), st.binary(min_size=1, max_size=50), st.integers(1, 100))
def test_what_follows_a_gzipped_body_and_is_none_is_unreadable(body: bytes, more: bytes, step: int) -> None:
    """What would be dropped is refused instead."""
    assert isinstance(_read(gzip.compress(body) + b"no gzip " + more, gzipped=True, step=step), Unreadable)


def test_a_body_that_does_not_come_is_given_up() -> None:
    """A sender that is gone would hold its share of the budget for as long as its connection is open."""

    async def stalled() -> AsyncIterator[bytes]:
        yield b"the beginning"
        await asyncio.Event().wait()

    async def read() -> object:
        return await read_body(stalled(), gzipped=False, max_bytes=_LARGE, within_seconds=0.01, reservation=Reservation(Budget(_LARGE)))

    assert isinstance(asyncio.run(read()), Unavailable)


def test_a_gzip_bomb_is_refused_after_its_first_bytes() -> None:
    """It is unpacked up to the limit and no further: the second chunk is never asked for."""
    bomb = gzip.compress(bytes(100_000_000))
    asked = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal asked
        for start in range(0, len(bomb), 2000):
            asked += 1
            yield bomb[start : start + 2000]

    async def read() -> object:
        reservation = Reservation(Budget(_LARGE))
        return await read_body(chunks(), gzipped=True, max_bytes=_LARGE, within_seconds=60.0, reservation=reservation)

    assert isinstance(asyncio.run(read()), TooLarge)
    assert asked == 1


def test_a_body_for_which_there_is_no_room_is_refused() -> None:
    """The budget, not the body limit, ends it."""
    assert isinstance(_read(bytes(3 * FLOOR_BYTES), gzipped=False, step=1000, limit=2 * FLOOR_BYTES), Overloaded)


@given(st.lists(st.integers(0, 5 * FLOOR_BYTES)))
def test_a_budget_is_never_overdrawn_and_gets_everything_back(sizes: list[int]) -> None:
    """Whatever is reserved and grown, use stays within the limit; when all is released, nothing is used."""
    budget = Budget(_LARGE)
    reservations = []
    for size in sizes:
        reservation = budget.reserve()
        if reservation is not None:
            reservations.append(reservation)
            before = budget.used
            assert reservation.grow_to(size) or budget.used == before
        assert budget.used <= _LARGE
    for reservation in reservations * 2:
        reservation.release()
    assert budget.used == 0


class _Shelf:
    """A sink in memory: keeps each record's pieces, refuses those of the numbers it was told."""

    def __init__(self, refuses: Iterable[int] = ()) -> None:
        self.records: list[list[Piece]] = []
        self._refuses = set(refuses)

    async def write(self, pieces: Iterable[Piece]) -> None:
        await asyncio.sleep(0)
        self.records.append(list(pieces))
        if len(self.records) - 1 in self._refuses:
            raise NotWritten("refused")


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 90)), max_size=60), st.booleans())
def test_batches_hold_every_piece_once_in_order_and_within_their_size(sizes: list[tuple[int, int]], hurried: bool) -> None:
    """Whatever comes: nothing is lost or repeated, no record exceeds its bytes, none is closed later than it must be."""
    pieces = [Piece(bytes(size), spans) for spans, size in sizes]
    shelf = _Shelf()

    async def run() -> None:
        batcher = Batcher(shelf, Size(spans=100, max_bytes=300, wait_seconds=60.0))
        if hurried:
            batcher.hurry()
        futures = [batcher.add(piece) for piece in pieces]
        await batcher.finish()
        assert all(future.done() and future.exception() is None for future in futures)

    asyncio.run(run())
    assert list(itertools.chain(*shelf.records)) == pieces
    for record in shelf.records:
        assert sum(len(piece.data) for piece in record) <= 300
        assert sum(piece.spans for piece in record[:-1]) < 100
        assert len(record) == 1 or not hurried


def test_a_lone_piece_is_written_after_its_wait() -> None:
    """Without company a batch closes by itself."""
    shelf = _Shelf()

    async def run() -> None:
        await Batcher(shelf, Size(wait_seconds=0.01)).add(Piece(b"lone", 1))

    asyncio.run(run())
    assert shelf.records == [[Piece(b"lone", 1)]]


def test_a_refused_record_fails_its_own_senders_only() -> None:
    """Each future ends as the record that holds its piece."""

    async def run() -> None:
        batcher = Batcher(_Shelf(refuses=[0]), Size(spans=2, wait_seconds=0.01))
        first, second, third = (batcher.add(Piece(b"piece", 1)) for _ in range(3))
        await third
        assert first is second
        with pytest.raises(NotWritten):
            await first

    asyncio.run(run())
