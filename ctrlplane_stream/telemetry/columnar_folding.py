"""Adds whole columns of calls and arrivals to a fold: the same sums as one by one, grouped first."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, cast

import polars as pl

from ctrlplane_stream.telemetry.durations import FIRST_DURATIONS, ZERO, Counts
from ctrlplane_stream.telemetry.folding import Tally
from ctrlplane_stream.telemetry.half import ERROR

_CODES = 2_048
_NONE = _CODES - 1
_BOUNDS = pl.Series(FIRST_DURATIONS, dtype=pl.Int64)


class Grouping:
    """Numbers and counts rows by what they have in common."""

    def numbered(self, rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.Series, list[tuple[Any, ...]]]:
        """For each row the number of its combination of small integers in ``columns``, and the combinations."""
        sizes = [int(cast("int", rows[name].max() or 0)) + 1 for name in columns]
        key = rows[columns[0]].cast(pl.UInt64)
        for name, size in zip(columns[1:], sizes[1:], strict=True):
            if size == 1:
                continue
            key = key * size + rows[name].cast(pl.UInt64)
        distinct = key.unique().sort()
        number = distinct.search_sorted(key).cast(pl.UInt32)
        return number, _parts(distinct, columns, sizes)

    def counted(self, number: pl.Series) -> list[tuple[int, int]]:
        """How often each number is there."""
        distinct, counts = self._counted(number.cast(pl.UInt64))
        return list(zip(distinct, counts, strict=True))

    def tally(
        self, number: pl.Series, failed: pl.Series, weight: pl.Series, weights: Sequence[float], into: Callable[[int], Tally]
    ) -> None:
        """Count rows by number, failure and weight into the tally that ``into`` gives for a number."""
        key = number.cast(pl.UInt64)
        if len(weights) > 1:
            key = key * len(weights) + weight
        distinct, counts = self._counted(key * 2 + failed)
        for code, count in zip(distinct, counts, strict=True):
            rest, error = divmod(code, 2)
            which, at = divmod(rest, len(weights))
            into(which).add(count, count * error, weights[at])

    def sketch(self, number: pl.Series, durations: pl.Series, into: Callable[[int], Counts]) -> None:
        """Count rows by number and sketch bucket of whole microseconds into the counts that ``into`` gives for a number."""
        key = number.cast(pl.UInt64) * _CODES + _codes(durations)
        distinct, counts = self._counts(key)
        indices = ((distinct % _CODES).cast(pl.Int64) - 1).to_list()
        listed = counts.to_list()
        begun = 0
        for which, run in groupby((distinct // _CODES).to_list()):
            ended = begun + sum(1 for _ in run)
            if indices[ended - 1] == _NONE - 1:
                indices[ended - 1] = ZERO
            _add(into(which), indices[begun:ended], listed[begun:ended])
            begun = ended

    def _counts(self, key: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The distinct keys, ascending, and how often each is there."""
        found = key.alias("key").value_counts().sort("key")
        return found["key"], found["count"]

    def _counted(self, key: pl.Series) -> tuple[list[int], list[int]]:
        distinct, counts = self._counts(key)
        return distinct.to_list(), counts.to_list()


def placed(rows: pl.DataFrame, window_seconds: int) -> pl.DataFrame:
    """The rows with their windows as small numbers, ``place``."""
    least = cast("int", rows["window"].min())
    return rows.hstack([((rows["window"] - least) // window_seconds).alias("place")])


def windows_at(rows: pl.DataFrame, window_seconds: int) -> Callable[[int], int]:
    """The window of a ``place`` among these rows."""
    least = cast("int", rows["window"].min())
    return lambda place: least + place * window_seconds


def errors_of(rows: pl.DataFrame) -> pl.Series:
    """1 where a row failed, else 0."""
    return (rows["flags"] & ERROR) // ERROR


def _add(counts: Counts, indices: list[int], found: list[int]) -> None:
    if not counts:
        counts.update(zip(indices, found, strict=True))
        return
    for index, count in zip(indices, found, strict=True):
        counts[index] = counts.get(index, 0) + count


def _codes(durations: pl.Series) -> pl.Series:
    """Sketch buckets of whole microseconds, plus one; zero or less becomes the last code."""
    found = _BOUNDS.search_sorted(durations, side="right").cast(pl.UInt64)
    return found.zip_with(durations > 0, pl.repeat(_NONE, len(durations), dtype=pl.UInt64, eager=True))


def _parts(distinct: pl.Series, columns: Sequence[str], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    found = {}
    for name, size in zip(reversed(columns[1:]), reversed(sizes[1:]), strict=True):
        found[name], distinct = distinct % size, distinct // size
    return pl.DataFrame([distinct.alias(columns[0]), *(found[name].alias(name) for name in columns[1:])]).rows()
