"""Rows of windows named, put in order and written out by placing.c and writing.c. Calls, and nothing else."""

import ctypes
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

from ctrlplane_stream.telemetry.native.library import address, address_of
from ctrlplane_stream.telemetry.native.structures import PLACE, Counts, Texts, Writing


class TextTable(Protocol):
    """Texts and origins as C has them; what ``texts`` points to is held as long as the table is not added to."""

    @property
    def texts(self) -> Texts: ...


class Rows(NamedTuple):
    """The rows of one window and environment: ``places`` says what each is called, ``ends`` where it ends, a comma included.

    ``calls`` is how many calls they count that were answered.
    """

    places: memoryview
    value: memoryview
    ends: "array[int]"
    calls: int

    @property
    def window(self) -> int:
        """As C numbers it."""
        return int(PLACE.unpack_from(self.places)[0])

    @property
    def environment(self) -> int:
        """A text, by number."""
        return int(PLACE.unpack_from(self.places)[1])


class RowWriter:
    """The functions of C that name and write rows. Each gives None where that cannot be done in C."""

    def __init__(self, found: ctypes.CDLL) -> None:
        self._library = found

    def edges(
        self, calls: Counts, kinds: "array[int]", opened: Counts, edges: "array[int]", table: TextTable, weights: "array[float]"
    ) -> list[Rows] | None:
        """Rows of calls, whose ``kinds`` are texts, and of callers that nobody answered, whose ``edges`` are as placing.h has them."""
        many, more = calls.names.count, opened.names.count
        places, texts = bytearray(PLACE.size * (many + more)), table.texts
        at, of_texts = address(places), ctypes.addressof(texts)
        if many:
            self._library.place_calls(ctypes.addressof(calls), of_texts, address_of(kinds), at)
        if more:
            self._library.place_open(ctypes.addressof(opened), of_texts, address_of(edges), at + PLACE.size * many)
        writing = Writing(ctypes.addressof(calls), ctypes.addressof(opened), of_texts, address_of(weights))
        return self._written(places, writing, are_edges=True)

    def arrivals(self, counts: Counts, table: TextTable, weights: "array[float]") -> list[Rows] | None:
        """Rows of what arrived."""
        places, texts = bytearray(PLACE.size * counts.names.count), table.texts
        if places:
            self._library.place_arrivals(ctypes.addressof(counts), ctypes.addressof(texts), address(places))
        writing = Writing(ctypes.addressof(counts), None, ctypes.addressof(texts), address_of(weights))
        return self._written(places, writing, are_edges=False)

    def _written(self, places: bytearray, writing: Writing, are_edges: bool) -> list[Rows] | None:
        found: list[Rows] = []
        for group in self._groups(places):
            at, many = ctypes.addressof(ctypes.c_uint8.from_buffer(group)), len(group) // PLACE.size
            into = bytearray(self._library.room_for_rows(ctypes.addressof(writing), at, many))
            ends = array("q", bytes(8 * many))
            calls = self._library.write_rows(ctypes.addressof(writing), at, many, are_edges, address(into), address_of(ends))
            if calls < 0:
                return None
            found.append(Rows(group, memoryview(into)[: ends[-1]], ends, calls))
        return found

    def _groups(self, places: bytearray) -> Iterator[memoryview]:
        """The places of each window and environment, in order of name."""
        many = len(places) // PLACE.size
        if not many:
            return
        begins = array("q", bytes(8 * many))
        groups = self._library.sort_places(address(places), many, address_of(begins))
        bounds = [begin * PLACE.size for begin in (*begins[:groups], many)]
        for begin, end in pairwise(bounds):
            yield memoryview(places)[begin:end]
