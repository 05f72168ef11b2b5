"""Adds whole columns of calls and arrivals to a fold: the same sums as one by one, grouped first."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import polars as pl

from ctrlplane_stream.telemetry.folding import FIRST_DURATIONS, ZERO, Counts, Tally

_BUCKETS = 2_048
_NONE = _BUCKETS - 1
_BOUNDS = pl.Series(FIRST_DURATIONS, dtype=pl.Int64)


def buckets(durations: pl.Series) -> pl.Series:
    """Sketch buckets of whole microseconds, plus one; zero or less becomes the last code."""
    found = _BOUNDS.search_sorted(durations, side="right").cast(pl.UInt64)
    if int(cast("int", durations.min() or 0)) > 0:
        return found
    return found.zip_with(durations > 0, pl.repeat(_NONE, len(durations), dtype=pl.UInt64, eager=True))


def numbered(rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.Series, list[tuple[Any, ...]]]:
    """For each row the number of its combination of small integers in ``columns``, and the combinations."""
    key = pl.zeros(len(rows), dtype=pl.UInt64, eager=True)
    sizes = []
    for name in columns:
        size = int(cast("int", rows[name].max() or 0)) + 1
        sizes.append(size)
        key = key * size + rows[name].cast(pl.UInt64)
    distinct = key.unique().sort()
    return distinct.search_sorted(key), [_parts(code, sizes) for code in distinct]


def _parts(code: int, sizes: list[int]) -> tuple[int, ...]:
    parts = []
    for size in reversed(sizes):
        code, part = divmod(code, size)
        parts.append(part)
    return tuple(reversed(parts))


def tally(number: pl.Series, failed: pl.Series, weight: pl.Series, weights: Sequence[float], into: Callable[[int], Tally]) -> None:
    """Count rows by number, failure and weight into the tally that ``into`` gives for a number."""
    key = (number.cast(pl.UInt64) * len(weights) + weight) * 2 + failed
    for code, count in _counted(key):
        rest, error = divmod(code, 2)
        which, at = divmod(rest, len(weights))
        into(which).add(count, count * error, weights[at])


def sketch(number: pl.Series, found: pl.Series, into: Callable[[int], Counts]) -> None:
    """Count rows by number and bucket (as :func:`buckets` gives them) into the counts that ``into`` gives for a number."""
    for code, count in _counted(number.cast(pl.UInt64) * _BUCKETS + found):
        which, index = divmod(code, _BUCKETS)
        counts = into(which)
        at = ZERO if index == _NONE else index - 1
        counts[at] = counts.get(at, 0) + count


def _counted(key: pl.Series) -> list[tuple[int, int]]:
    return key.alias("key").value_counts().rows()
