"""What is done in C gives what its twins in Python give, also at the edges that random traffic seldom meets."""

import random

import polars as pl
import pytest

from ctrlplane_stream.telemetry.columnar_folding import Grouping
from ctrlplane_stream.telemetry.folding import FIRST_DURATIONS, LONGEST_US, ZERO, Counts, bucket
from ctrlplane_stream.telemetry.native import Columns, library

_FOUND = library()
compiled = pytest.mark.skipif(_FOUND is None, reason="no compiled library: python scripts/compile_native.py says why")


def _edges() -> list[int]:
    near = [at + by for bound in FIRST_DURATIONS for at, by in ((bound, -1), (bound, 0), (bound, 1))]
    return [value for value in (*near, -5, 0, 1, 2, LONGEST_US) if value <= LONGEST_US]


@pytest.mark.parametrize("columns", [None, pytest.param(_FOUND and Columns(_FOUND), marks=compiled)], ids=["polars", "C"])
def test_every_duration_falls_into_the_bucket_that_the_sketch_gives_it(columns: Columns | None) -> None:
    durations = _edges()
    counts: list[Counts] = [{} for _ in durations]
    Grouping(columns).sketch(pl.Series(range(len(durations)), dtype=pl.UInt32), pl.Series(durations, dtype=pl.Int64), counts.__getitem__)
    assert [list(each) for each in counts] == [[bucket(duration)] for duration in durations]
    assert ZERO in counts[durations.index(0)]


@compiled
def test_counting_gives_every_key_once_in_ascending_order() -> None:
    chance = random.Random(5)
    keys = [chance.choice((0, 1, 2**64 - 1, chance.getrandbits(64))) for _ in range(5_000)]
    assert _FOUND is not None
    distinct, counts = Columns(_FOUND).counted(pl.Series(keys, dtype=pl.UInt64))
    assert dict(zip(distinct, counts, strict=True)) == {key: keys.count(key) for key in set(keys)}
    assert distinct.to_list() == sorted(set(keys))
