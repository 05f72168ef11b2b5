"""Rows written out in C: what their names mean, and when, is Python's.

A window of many edges has a row for every few spans; as objects, its rows cost more than all that was done with the spans before.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, compress
from typing import Any, Generic

import msgspec

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.telemetry.half import Origin
from ctrlplane_stream.telemetry.half_columns import Numbers
from ctrlplane_stream.telemetry.native.library import address, address_of
from ctrlplane_stream.telemetry.native.pairing import KeptTallies
from ctrlplane_stream.telemetry.native.rows import Rows, RowWriter
from ctrlplane_stream.telemetry.native.structures import PLACE, Counts, Texts
from ctrlplane_stream.telemetry.settlement import Settled
from ctrlplane_stream.telemetry.written_rows import EdgeName, NameT, ServiceName, Weighed, WrittenRows

_WORDS = PLACE.size // 4
_OPEN, _CALLEE = 4, 6
"""Where in PLACE, by four bytes, it says whether a row is of what nobody answered, and whom it names."""


class NamedBy:
    """The texts that rows are named by, and the origins that are made of them. Kept from window to window: few are new in each."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        """``origins`` may grow behind our back, and keeps its order."""
        self._origins = origins
        self._numbers = Numbers([])
        self._json: list[bytes] = []
        self._order: list[int] = []
        self._who = array("I")
        self._rank, self._start, self._sorted = array("I"), array("q", [0]), bytearray()
        self.texts_in_order: list[str] = []
        self.unknown = self.number(UNKNOWN_VERSION)
        self.kinds = array("I", [self.number(EdgeKind.CALL.value), self.number(EdgeKind.MESSAGE.value)])

    def number(self, text: str) -> int:
        """The number of a text."""
        return self._numbers.number(text)

    def text(self, number: int) -> str:
        """A text by its number."""
        return str(self._numbers.values[number])

    @property
    def texts(self) -> Texts:
        """As C has it; held until a text or an origin is added."""
        for origin in self._origins[len(self._who) // 3 :]:
            self._who.extend(map(self.number, (origin.environment, origin.service, origin.version)))
        texts = self._numbers.values
        if len(self._order) < len(texts):
            self._put_in_order(texts)
        return Texts(address_of(self._rank), address(self._sorted), address_of(self._start), address_of(self._who))

    def _put_in_order(self, texts: Sequence[str]) -> None:
        fresh = range(len(self._order), len(texts))
        self._json += [msgspec.json.encode(texts[number]) for number in fresh]
        self._order = sorted((*self._order, *fresh), key=texts.__getitem__)  # all but the fresh ones are in order
        in_order = [self._json[number] for number in self._order]
        self._sorted, self._start = bytearray(b"".join(in_order)), array("q", accumulate(map(len, in_order), initial=0))
        self._rank = array("I", bytes(4 * len(texts)))
        for rank, number in enumerate(self._order):
            self._rank[number] = rank
        self.texts_in_order = [texts[number] for number in self._order]


class _Names(Sequence[NameT], Generic[NameT]):
    """The names of rows, made when they are asked for: that is seldom."""

    def __init__(self, places: memoryview, texts: Sequence[str], name: Callable[..., NameT]) -> None:
        self._places, self._texts = places, texts
        self._name: Callable[..., NameT] = name

    def __len__(self) -> int:
        return len(self._places) // PLACE.size

    def __getitem__(self, place: Any) -> Any:
        if place >= len(self):
            raise IndexError(place)
        return self._name(*[self._texts[rank] for rank in PLACE.unpack_from(self._places, PLACE.size * place)[4:]])


def _edge_name(caller: str, callee: str, kind: str, caller_version: str, callee_version: str) -> EdgeName:
    return caller, callee, EdgeKind(kind), caller_version, callee_version


def _service_name(service: str, version: str, *_: str) -> ServiceName:
    return service, version


Written = list[tuple[int, str, WrittenRows[NameT]]]
"""(Window as C numbers it, environment, rows)."""


class RowsInC:
    """Writes what was counted when a window closed. Each gives None where that cannot be done in C."""

    def __init__(self, writer: RowWriter, origins: Sequence[Origin]) -> None:
        """``origins`` may grow behind our back, and keeps its order."""
        self._writer = writer
        self._named_by = NamedBy(origins)

    def open_edges(self, found: Iterable[tuple[int, Settled]]) -> "array[int]":
        """Edges to who did not answer (caller's origin, whom it called), as C has them."""
        number, unknown = self._named_by.number, self._named_by.unknown
        return array("I", [n for origin, to in found for n in (origin, number(to.callee), number(to.kind.value), unknown)])

    def edges(self, calls: Counts, opened: Counts, edges: "array[int]", weights: Sequence[float]) -> Written[EdgeName] | None:
        """Rows of calls, and of callers that nobody answered, whose edges ``open_edges`` gave."""
        found = self._writer.edges(calls, self._named_by.kinds, opened, edges, self._named_by, array("d", weights))
        if found is None:
            return None
        kept = KeptTallies(calls), KeptTallies(opened)
        return [self._in_words(rows, _edge_name, kept, weights) for rows in found]

    def arrivals(self, counts: Counts, weights: Sequence[float]) -> Written[ServiceName] | None:
        """Rows of what arrived at each version of a service."""
        found = self._writer.arrivals(counts, self._named_by, array("d", weights))
        if found is None:
            return None
        kept = (KeptTallies(counts),)
        return [self._in_words(rows, _service_name, kept, weights) for rows in found]

    def _in_words(
        self, rows: Rows, name: Callable[..., NameT], kept: Sequence[KeptTallies], weights: Sequence[float]
    ) -> tuple[int, str, WrittenRows[NameT]]:
        def tallies(place: int) -> Weighed:
            _, _, slot, is_open, *_ = PLACE.unpack_from(rows.places, PLACE.size * place)
            return [(weights[weight], calls, errors) for weight, calls, errors in kept[is_open].of(slot)]

        texts = self._named_by.texts_in_order
        words: Sequence[int] = memoryview(rows.places).cast("I")
        is_open: list[int] = list(words[_OPEN::_WORDS])
        opened: list[int] = []
        open_to: frozenset[str] = frozenset()
        if any(is_open):
            opened = list(compress(range(len(is_open)), is_open))
            open_to = frozenset([texts[rank] for rank in {*compress(words[_CALLEE::_WORDS], is_open)}])
        names, environment = _Names(rows.places, texts, name), self._named_by.text(rows.environment)
        return rows.window, environment, WrittenRows(names, rows.value, rows.ends, rows.calls, tallies, opened, open_to)
