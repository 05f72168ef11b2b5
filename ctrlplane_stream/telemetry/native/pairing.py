"""Halves in memory, and what C makes of them when a window closes. Calls, and nothing else: the rules are in native_pairing.py."""

import ctypes
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import msgspec

from ctrlplane_stream.model.sketch import EMPTY, Sketch
from ctrlplane_stream.telemetry.durations import FIRST_DURATIONS
from ctrlplane_stream.telemetry.native.library import address, address_of
from ctrlplane_stream.telemetry.native.rows import RowWriter
from ctrlplane_stream.telemetry.native.structures import HALF, Block, Candidate, Closing, Counts, Names, Pool

ENDLESS = (1 << 63) - 1
"""A time that no span ends at."""
_TALLY, _NUMBER = struct.Struct("<qqII"), struct.Struct("<I")
_SIZES = {"i": 4, "I": 4, "q": 8}
_WORDS = HALF.size // 8
_WIDE, _NARROW = ("high", "low", "span", "parent", "end", "duration", "offset"), ("origin", "peer", "weight", "flags")
_GUESSES = array("i", bytes(4 * 64 * 64))
"""For each highest bit of a duration and each six bits below it: how many bounds are not above the smallest such duration."""
_BOUNDS = array("q", FIRST_DURATIONS)
NOBODY = (1 << 32) - 1


def _guess() -> None:
    found = 0
    for at in range(64 * 64):
        bit, below = divmod(at, 64)
        while found < len(FIRST_DURATIONS) and FIRST_DURATIONS[found] <= ((64 | below) << bit) >> 6:
            found += 1
        _GUESSES[at] = found


_guess()


Tallied = tuple[tuple[int, int, int], ...]
"""(Weight's number, calls, errors) by weight."""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What was counted under one name (``a``, ``b``)."""

    a: int
    b: int
    tallies: Tallied
    roots: int
    sketches: list[Sketch]


class Halves:
    """Halves one after the other, in memory of C's."""

    __slots__ = ("_library", "at", "pool")

    def __init__(self, found: ctypes.CDLL) -> None:
        self._library = found
        self.pool = Pool()
        self.at = ctypes.addressof(self.pool)

    def __len__(self) -> int:
        return int(self.pool.count)

    def __del__(self) -> None:
        self._library.free_pool(self.at)

    def make_room(self, more: int) -> None:
        """Room for so many more at once."""
        _checked(self._library.make_room(self.at, more))

    def append(self, value: bytes, start: "array[int]", rows: int, first: int, offset: int, numbers: "Sequence[array[int]]") -> None:
        """Take in the rows of a batch from ``first`` on; see pool.c."""
        tables = (address_of(each) for each in numbers)
        _checked(self._library.append_halves(self.at, value, address_of(start), rows, first, offset, *tables))

    def drop(self, many: int) -> None:
        """Give up the first ``many``."""
        self._library.drop_first(self.at, many)


class Settled:
    """Traces that were settled together, in memory of C's."""

    __slots__ = ("_library", "at", "block")

    def __init__(self, found: ctypes.CDLL, closing: Closing) -> None:
        """Takes the block over from a close."""
        self._library = found
        self.block = Block.from_buffer_copy(closing.block)
        self.at = ctypes.addressof(self.block)
        ctypes.memset(ctypes.addressof(closing.block), 0, ctypes.sizeof(Block))

    def __len__(self) -> int:
        return int(self.block.halves)

    def __del__(self) -> None:
        self._library.free_block(self.at)

    @property
    def opens(self) -> int:
        """How many callers are open."""
        return int(self.block.opens)


class KeptNames:
    """Names that keep their numbers from one close to the next, in memory of C's."""

    __slots__ = ("_at", "_library", "_names")

    def __init__(self, found: ctypes.CDLL) -> None:
        self._library = found
        self._names = Names()
        self._at = ctypes.addressof(self._names)

    def __len__(self) -> int:
        return int(self._names.count)

    def __del__(self) -> None:
        self._library.free_names(self._at)

    def numbers(self, names: Names) -> "array[int]":
        """The numbers of some names; those that are new get the next ones."""
        number = array("I", bytes(4 * names.count))
        _checked(self._library.number_names(ctypes.addressof(names), self._at, address_of(number)))
        return number


class PairingLibrary:
    """The functions of C that pair. Each raises MemoryError where there is no memory."""

    def __init__(self, found: ctypes.CDLL, window_us: int) -> None:
        self._library = found
        self._window_us = window_us
        self.rows = RowWriter(found)

    def halves(self) -> Halves:
        """Memory for halves."""
        return Halves(self._library)

    def names(self) -> KeptNames:
        """Memory for names."""
        return KeptNames(self._library)

    @contextmanager
    def closing(self, waiting: Halves, before_us: int) -> Iterator[Closing]:
        """Move the halves that end before a time out of those that wait, and tell their traces apart."""
        closing = Closing(arrivals=prepared(1), calls=prepared(3))
        at = ctypes.addressof(closing)
        try:
            _checked(self._library.move_ended(waiting.at, before_us, at))
            _checked(self._library.find_traces(at))
            yield closing
        finally:
            self._library.end_closing(at)

    def mark_held(self, closing: Closing, keys: "array[int]") -> None:
        """Traces of which the reference holds something go to it."""
        self._library.mark_held(ctypes.addressof(closing), address_of(keys), len(keys))

    def take_met(self, closing: Closing, kept: Settled, into: Halves) -> None:
        """Move the traces of which something has come since out of what was settled before."""
        _checked(self._library.take_met(ctypes.addressof(closing), kept.at, into.at))

    def settle(self, closing: Closing, most: int, origins: int) -> Settled:
        """Settle the traces of usual shape and of at most ``most`` halves; ``origins`` is how many there are."""
        _checked(self._library.settle(ctypes.addressof(closing), self._window_us, most, origins))
        return Settled(self._library, closing)

    def spoken(self, kept: Settled, many: int) -> "array[int]":
        """How many open callers spoke to each of so many."""
        of = array("q", bytes(8 * many))
        self._library.count_spoken(kept.at, address_of(of))
        return of

    @contextmanager
    def counted_open(self, kept: Settled, edges: "array[int]", from_us: int, before_us: int) -> Iterator[Counts]:
        """Count the open callers that ended between two times and whose edge (by whom they spoke to: 1 + its number) is not 0. a: edge; b:
        window; one sketch: durations."""
        with self._counts(1) as counts:
            arguments = address_of(edges), from_us, before_us, self._window_us, ctypes.addressof(counts)
            _checked(self._library.count_open(kept.at, *arguments))
            yield counts

    def count_exposures(
        self,
        kept: Settled,
        candidates: Sequence[tuple[int, int, int]],
        environments: "array[int]",
        services: "array[int]",
        called: "array[int]",
    ) -> list[Counted]:
        """Count the traces that entered, by candidate (origin, environment, service); those of a service follow each other. See opens.c."""
        watched = (Candidate * len(candidates))(*(Candidate(*each) for each in candidates))
        with self._counts(1) as counts:
            numbers = (address_of(each) for each in (environments, services, called))
            arguments = *numbers, self._window_us, ctypes.addressof(counts)
            _checked(self._library.count_exposures(kept.at, watched, len(candidates), *arguments))
            return counted(counts)

    def windows(self, pool: Halves) -> list[int]:
        """The windows that halves end in, by number, ascending."""
        names = Names()
        at = ctypes.addressof(names)
        try:
            _checked(self._library.find_windows(pool.at, self._window_us, at))
            return sorted(window for window, _ in pairs_of(names))
        finally:
            self._library.free_names(at)

    def mark_numbers(self, pool: Halves | Settled, used: Sequence[bytearray]) -> None:
        """Mark the numbers of origins, peers and weights that the halves have."""
        self._library.mark_numbers(pool.at, *map(address, used))

    def renumber(self, pool: Halves | Settled, numbers: "Sequence[array[int]]") -> None:
        """Give the halves other numbers."""
        self._library.renumber(pool.at, *map(address_of, numbers))

    @contextmanager
    def _counts(self, width: int) -> Iterator[Counts]:
        counts = prepared(width)
        try:
            yield counts
        finally:
            self._library.free_counts(ctypes.addressof(counts))


def prepared(width: int) -> Counts:
    """Counts with so many sketches a name."""
    bounds, guess = address_of(_BOUNDS), address_of(_GUESSES)
    return Counts(width=width, bounds=bounds, most=len(_BOUNDS), guess=guess)


class KeptTallies:
    """What was counted by name and weight, for when the counts are gone."""

    def __init__(self, counts: Counts) -> None:
        many = counts.names.count
        self._first = ctypes.string_at(counts.tally_of, 4 * many) if many else b""
        self._tallies = ctypes.string_at(counts.tally, _TALLY.size * counts.tallies) if many else b""

    def of(self, slot: int) -> Tallied:
        """The tallies of a name, by its number."""
        own: Tallied = ()
        (following,) = _NUMBER.unpack_from(self._first, 4 * slot)
        while following:
            calls, errors, weight, following = _TALLY.unpack_from(self._tallies, _TALLY.size * (following - 1))
            own += ((weight, calls, errors),)
        return own


def names_of(counts: Counts) -> tuple[list[int], list[int]]:
    """The two words of each name, by number."""
    words = _numbers(counts.names.name, "q", 2 * counts.names.count)
    return words[::2], words[1::2]


def counted(counts: Counts) -> list[Counted]:
    """What was counted and laid out, by order of appearance."""
    many, width = counts.names.count, counts.width
    names, roots = names_of(counts), _numbers(counts.roots, "I", many)
    sketches = _sketches(counts, many * width)
    by_sketch = [sketches[at : at + width] for at in range(0, many * width, width)]
    return list(map(Counted, *names, _tallies(counts, many), roots, by_sketch))


def _tallies(counts: Counts, many: int) -> list[Tallied]:
    """The tallies of each name."""
    if not many:
        return []
    found = list(_TALLY.iter_unpack(ctypes.string_at(counts.tally, _TALLY.size * counts.tallies)))
    tallies: list[Tallied] = []
    for at in _numbers(counts.tally_of, "I", many):
        own: Tallied = ()
        following = at
        while following:
            calls, errors, weight, following = found[following - 1]
            own += ((weight, calls, errors),)
        tallies.append(own)
    return tallies


_ONCE = [Sketch((index,), (1,)) for index in range(-1, len(FIRST_DURATIONS))]
"""Sketches of a single duration, by 1 + its bucket: where there are many edges most are of this kind."""


def _sketches(counts: Counts, many: int) -> list[Sketch]:
    index, found = _numbers(counts.index, "i", counts.buckets), _numbers(counts.found, "I", counts.buckets)
    made, begin = [], 0
    for end, zero in zip(_numbers(counts.end, "I", many), _numbers(counts.zero, "I", many), strict=True):
        if zero:
            made.append(Sketch(tuple(index[begin:end]), tuple(found[begin:end]), zero))
        elif end == begin + 1 and found[begin] == 1:
            made.append(_ONCE[index[begin] + 1])
        else:
            made.append(Sketch(tuple(index[begin:end]), tuple(found[begin:end])) if end > begin else EMPTY)
        begin = end
    return made


def pairs_of(names: Names, which: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """The names, by number; or some of them."""
    if which is not None and not which:
        return []
    words = _numbers(names.name, "q", 2 * names.count)
    pairs = list(zip(words[::2], words[1::2], strict=True))
    return pairs if which is None else [pairs[number] for number in which]


def memory_of(pool: Pool, many: int | None = None) -> bytes:
    """The first ``many`` halves, or all, as bytes."""
    count = pool.count if many is None else many
    return ctypes.string_at(pool.half, HALF.size * count) if count else b""


def column_of(memory: bytes, name: str) -> bytes:
    """One column of halves, of eight bytes a half, or of four: ``origin``, ``peer``, ``weight``, ``flags``."""
    if name in _WIDE:
        return memoryview(memory).cast("q")[_WIDE.index(name) :: _WORDS].tobytes()
    return memoryview(memory).cast("I")[2 * len(_WIDE) + _NARROW.index(name) :: 2 * _WORDS].tobytes()


def _numbers(at: int | None, code: Literal["i", "I", "q"], many: int) -> list[int]:
    if not many or at is None:
        return []
    return memoryview(ctypes.string_at(at, many * _SIZES[code])).cast(code).tolist()


def _checked(failed: int) -> None:
    if failed < 0:
        raise MemoryError("no memory left to pair halves in")
