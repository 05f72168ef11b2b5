"""Rows of edges written out in C: names and their order are kept from window to window, since most edges are seen in each.

A window of many edges has a row for every few spans; as objects, its rows cost more than all that was done with the spans before.
"""

from array import array
from collections.abc import Callable, Sequence

import msgspec

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.telemetry.half import Origin
from ctrlplane_stream.telemetry.native import NOBODY
from ctrlplane_stream.telemetry.native.pairing import KeptTallies, PairingLibrary, RowOrder, names_of
from ctrlplane_stream.telemetry.native.structures import Counts
from ctrlplane_stream.telemetry.written_rows import EdgeName, Weighed, WrittenRows

_MOST_NAMES = 1 << 18


class _Beginning(msgspec.Struct):
    """The first fields of an EdgeWindow."""

    caller: str
    callee: str
    kind: EdgeKind
    caller_version: str
    callee_version: str


class RowNames:
    """Names of edges by number, given out in order of appearance: by callers' and callee's origin, and whether it is a message."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        """``origins`` may grow behind our back, and keeps its order."""
        self._origins = origins
        self._forget()

    def _forget(self) -> None:
        self._numbers: dict[int, int] = {}
        self._order: list[int] = []
        self._ranks: list[int] = []
        self.names: list[EdgeName] = []
        self.environments: list[str] = []
        self.prefix = bytearray()
        self.start = array("q", [0])

    def numbered(self, pairs: Sequence[int], kinds: Sequence[int]) -> list[int]:
        """The numbers of edges: ``pairs`` are callers' origin << 32 | callee's, ``kinds`` odd for messages."""
        if len(self.names) + len(pairs) > _MOST_NAMES:
            self._forget()
        keys = [pair << 1 | kind & 1 for pair, kind in zip(pairs, kinds, strict=True)]
        found = list(map(self._numbers.get, keys))
        return [self._met(key) if number is None else number for key, number in zip(keys, found, strict=True)]

    def _met(self, key: int) -> int:
        number = self._numbers[key] = len(self.names)
        above, below = self._origins[key >> 33], self._origins[key >> 1 & NOBODY]
        name = (above.service, below.service, EdgeKind.MESSAGE if key & 1 else EdgeKind.CALL, above.version, below.version)
        self.names.append(name)
        self.environments.append(below.environment)
        self.prefix += msgspec.json.encode(_Beginning(*name))[:-1] + b","
        self.start.append(len(self.prefix))
        return number

    def ranks(self) -> list[int]:
        """The place of each name among all, by number."""
        if len(self._ranks) < len(self.names):
            fresh = sorted(range(len(self._ranks), len(self.names)), key=self.names.__getitem__)
            self._order = sorted(self._order + fresh, key=self.names.__getitem__)  # two runs, which are merged
            self._ranks = [0] * len(self.names)
            for rank, number in enumerate(self._order):
                self._ranks[number] = rank
        return self._ranks


def written(
    library: PairingLibrary, counts: Counts, names: RowNames, weights: Sequence[float]
) -> list[tuple[int, str, WrittenRows]] | None:
    """(Window as C numbers it, environment, rows) of the calls that were counted; None where a number cannot be written in C."""
    pairs, places = names_of(counts)
    numbers = names.numbered(pairs, places)
    ranks, environments = names.ranks(), names.environments
    groups: dict[tuple[int, str], list[int]] = {}
    for slot, (number, place) in enumerate(zip(numbers, places, strict=True)):
        groups.setdefault((place >> 1, environments[number]), []).append(ranks[number] << 32 | slot)
    kept, found = KeptTallies(counts), list[tuple[int, str, WrittenRows]]()
    for (window, environment), ranked in groups.items():
        slots = array("I", [rank & NOBODY for rank in sorted(ranked)])
        own = array("I", [numbers[slot] for slot in slots])
        rows = library.write_rows(counts, RowOrder(slots, own, names.prefix, names.start, array("d", weights)))
        if rows is None:
            return None
        found.append((window, environment, WrittenRows([names.names[n] for n in own], *rows, _tallies(kept, slots, weights))))
    return found


def _tallies(kept: KeptTallies, slots: Sequence[int], weights: Sequence[float]) -> Callable[[int], Weighed]:
    def of(place: int) -> Weighed:
        return [(weights[weight], calls, errors) for weight, calls, errors in kept.of(slots[place])]

    return of
