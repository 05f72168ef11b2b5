"""What is done in C gives what its twins in Python give, also at the edges that random traffic seldom meets."""

import random

import polars as pl
import pytest

from ctrlplane_stream.telemetry.columnar_folding import Grouping
from ctrlplane_stream.telemetry.columnar_pairing import ColumnarPairing
from ctrlplane_stream.telemetry.engines import Engine, columnar
from ctrlplane_stream.telemetry.folding import FIRST_DURATIONS, LONGEST_US, ZERO, Counts, bucket
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain
from ctrlplane_stream.telemetry.native import Columns, library
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

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


@pytest.mark.parametrize("engine", [columnar(always=True), columnar(always=True, compiled=False)], ids=["C", "polars"])
def test_addresses_that_no_half_in_memory_has_are_forgotten(engine: Engine) -> None:
    """Clients that speak to ever new addresses: what stands for them is given up with their traces."""
    settings = SpanSettings(partitions=1, window_ms=1_000, lateness_ms=1_000, pairing_ms=2_000)
    chain, traces, now_ms = InMemoryChain(settings, engine), SampleTraces(), BEGINNING_MS
    for turn in range(40):
        attributes = [{"server.address": f"host{turn}-{i}.example"} for i in range(5)]
        chain.receive([request([traces.span("shop", Kind.CLIENT, end_ms=now_ms, attributes=each) for each in attributes])], now_ms)
        now_ms += 1_000
        chain.advance(now_ms)
    pairing = chain.pairs[0]._pairing
    assert isinstance(pairing, ColumnarPairing)
    assert pairing._tables.size < 80
