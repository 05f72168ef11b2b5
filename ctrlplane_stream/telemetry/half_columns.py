"""Halves as columns: what one partition holds of them, with origins, peers and weights as numbers."""

from array import array
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from ctrlplane_stream.telemetry.batch_tables import BatchTables
from ctrlplane_stream.telemetry.batches import Batch
from ctrlplane_stream.telemetry.columns import bytes_of, numbers_of
from ctrlplane_stream.telemetry.half import ERROR, LINK, LINKED, RECEIVE, Half, Kind
from ctrlplane_stream.telemetry.native.structures import HALF

TRACE_FACTOR = 0x9E3779B97F4A7C15
"""Odd constant by which ids are spread before they are folded into one word."""

_WIDE = {"high": pa.uint64(), "low": pa.uint64(), "span": pa.uint64(), "parent": pa.uint64(), "end": pa.int64(), "duration": pa.int64()}
SCHEMA = {name: pl.UInt64 if dtype == pa.uint64() else pl.Int64 for name, dtype in _WIDE.items()} | {
    "flags": pl.UInt8,
    "origin": pl.UInt32,
    "peer": pl.UInt32,
    "weight": pl.UInt32,
    "offset": pl.Int64,
}
NAMES = list(SCHEMA)
ARROW = _WIDE | {name: pa.uint32() for name in ("flags", "origin", "peer", "weight")} | {"offset": pa.int64()}
"""Types as C has them."""


@dataclass(slots=True)
class Numbers:
    """Values and the numbers that stand for them, given out in order of appearance."""

    values: list[Any]
    by_value: dict[Hashable, int] = field(default_factory=dict)

    def number(self, value: Hashable) -> int:
        """The number of a value."""
        found = self.by_value.get(value)
        if found is None:
            found = self.by_value[value] = len(self.values)
            self.values.append(value)
        return found

    def numbers(self, values: Sequence[Hashable]) -> "array[int]":
        """The numbers of values, most of which have theirs already."""
        found = list(map(self.by_value.get, values))
        return array("I", [self.number(value) if each is None else each for value, each in zip(values, found, strict=True)])


_Numbered = tuple["array[int]", "array[int]", "array[int]"]
_MOST_KNOWN = 512


@dataclass(slots=True)
class Tables:
    """What the numbers in the columns mean. Peer 0 is none."""

    origins: Numbers = field(default_factory=lambda: Numbers([]))
    peers: Numbers = field(default_factory=lambda: Numbers([None], {None: 0}))
    weights: Numbers = field(default_factory=lambda: Numbers([]))
    _known: dict[int, tuple[BatchTables, _Numbered]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many values are remembered."""
        return len(self.origins.values) + len(self.peers.values) + len(self.weights.values)

    def numbers_of(self, tables: BatchTables) -> _Numbered:
        """The numbers of a batch's origins, peers and weights; for the same tables looked up once."""
        known = self._known.get(id(tables))
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            numbered = (
                self.origins.numbers(tables.origins),
                self.peers.numbers(tables.peers),
                self.weights.numbers(tables.weights),
            )
            known = self._known[id(tables)] = (tables, numbered)
        return known[1]


def moved(rows: pl.DataFrame, old: Tables, new: Tables) -> pl.DataFrame:
    """The rows with the numbers of ``new`` in place of those of ``old``: so that values which no row has any more can be forgotten."""
    found = []
    for name, before, after in (("origin", old.origins, new.origins), ("peer", old.peers, new.peers), ("weight", old.weights, new.weights)):
        used = rows[name].unique().to_list()
        numbers = pl.Series([after.number(before.values[number]) for number in used], dtype=pl.UInt32)
        table = pl.zeros(len(before.values), dtype=pl.UInt32, eager=True).scatter(used, numbers)
        found.append(table[rows[name]].alias(name))
    return rows.with_columns(found)


def falses(rows: int) -> pl.Series:
    """So many times False."""
    return pl.Series([False]).new_from_index(0, rows)


def frame_of(batches: Sequence[tuple[int, int, Batch]], tables: Tables) -> pl.DataFrame:
    """The rows of some batches (offset, first row, batch), in order, with ``SCHEMA``."""
    which = _repeated([batch.rows - first for _, first, batch in batches])
    total = len(which)
    columns = {
        name: numbers_of(b"".join(batch.columns.column(name)[8 * first :] for _, first, batch in batches), dtype, total)
        for name, dtype in _WIDE.items()
    }
    flags = numbers_of(b"".join(batch.columns.column("flags")[first:] for _, first, batch in batches), pa.uint8(), total)
    offsets = pl.Series([offset for offset, _, _ in batches], dtype=pl.Int64)[which]
    found = [tables.numbers_of(batch.tables) for _, _, batch in batches]
    origins, peers, weights = [one[0] for one in found], [one[1] for one in found], [one[2] for one in found]
    local = {
        "origin": (origins, b"".join(batch.columns.column("origin")[4 * first :] for _, first, batch in batches)),
        "peer": (peers, b"".join(batch.columns.column("peer")[4 * first :] for _, first, batch in batches)),
        "weight": (weights, b"".join(_weight_rows(batch)[4 * first :] for _, first, batch in batches)),
    }
    numbered = {name: _global(numbers, rows, which, total) for name, (numbers, rows) in local.items()}
    found_columns = {**columns, "flags": flags, **numbered, "offset": offsets}
    return pl.DataFrame([found_columns[name].alias(name) for name in NAMES])


def _repeated(counts: list[int]) -> pl.Series:
    """0, 1, 2 … each as often as ``counts`` (all positive) says."""
    return pl.select(pl.int_range(0, len(counts), dtype=pl.UInt32).repeat_by(pl.Series(counts)).explode()).to_series()


def chosen(rows: pl.DataFrame, mask: pl.Series, names: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows where ``mask`` is true, of some columns or of all. What ``DataFrame.filter`` gives, without its planner."""
    return pl.DataFrame([rows[name].filter(mask) for name in (rows.columns if names is None else names)])


def _weight_rows(batch: Batch) -> bytes:
    return batch.columns.column("weight") or bytes(4 * batch.rows)


def _global(numbers: Sequence["array[int]"], rows: bytes, which: pl.Series, total: int) -> pl.Series:
    """Batch-local numbers as global ones."""
    bases, base = [], 0
    for found in numbers:
        bases.append(base)
        base += len(found)
    table = pl.Series([number for found in numbers for number in found], dtype=pl.UInt32)
    local = numbers_of(rows, pa.uint32(), total)
    if all(found is numbers[0] for found in numbers):
        return table[local]
    return table[pl.Series(bases, dtype=pl.UInt32).gather(which) + local]


def halves_of(rows: pl.DataFrame, tables: Tables) -> list[tuple[int, Half]]:
    """Rows as (offset, half), for the reference."""
    high, low, span, parent = (bytes(bytes_of(rows[name])) for name in ("high", "low", "span", "parent"))
    numbers = rows.select("end", "duration", "offset", "origin", "peer", "weight", "flags").iter_rows()
    cuts = (slice(8 * i, 8 * i + 8) for i in range(len(rows)))
    found = ((high[cut] + low[cut], span[cut], parent[cut], *row) for cut, row in zip(cuts, numbers, strict=True))
    return _halves(found, tables)


def halves_in(memory: bytes, tables: Tables) -> list[tuple[int, Half]]:
    """Halves as C has them in memory, as (offset, half), for the reference."""
    return _halves(HALF.iter_unpack(memory), tables)


def _halves(rows: Iterable[tuple[Any, ...]], tables: Tables) -> list[tuple[int, Half]]:
    origins, peers, weights = tables.origins.values, tables.peers.values, tables.weights.values
    return [
        (
            offset,
            Half(
                trace,
                span,
                parent,
                Kind(flags & 7),
                bool(flags & ERROR),
                end,
                duration,
                origins[origin],
                peers[peer],
                weights[weight],
                bool(flags & LINK),
                bool(flags & LINKED),
                bool(flags & RECEIVE),
            ),
        )
        for trace, span, parent, end, duration, offset, origin, peer, weight, flags in rows
    ]


def trace_key(trace: bytes) -> int:
    """A trace id folded into one word, as :func:`trace_keys` does."""
    high, low = int.from_bytes(trace[:8], "little"), int.from_bytes(trace[8:], "little")
    return low ^ (high * TRACE_FACTOR & 0xFFFFFFFFFFFFFFFF)


def trace_keys() -> pl.Expr:
    """Trace ids folded into one word. Different traces may rarely share one: whoever uses it must not mind."""
    return pl.col("low") ^ (pl.col("high") * TRACE_FACTOR)


def span_keys(span: str) -> pl.Expr:
    """A trace and a span id of it, folded into one word; compare the parts where it matters."""
    return pl.col("trace") ^ (pl.col(span) * TRACE_FACTOR)
