"""The latency sketch."""

import random

import pytest

from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.sketch import EMPTY, RELATIVE_ERROR


@pytest.mark.parametrize("q", [0.0, 0.25, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_within_the_promised_relative_error(q: float) -> None:
    """Against the exact order statistic of the same rank."""
    draw = random.Random(7)
    durations = [draw.lognormvariate(8, 2) for _ in range(5001)]
    exact = sorted(durations)[int(q * 5000)]
    found = sketch.of(durations).quantile(q)
    assert found == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9)


def test_merging_is_the_sketch_of_everything() -> None:
    """Exact, in any order and grouping."""
    draw = random.Random(8)
    parts = [[draw.expovariate(1e-4) for _ in range(100)] + [0.0] for _ in range(5)]
    whole = sketch.of(d for part in parts for d in part)
    assert sketch.merge(sketch.of(p) for p in reversed(parts)) == whole
    assert sketch.merge([whole, EMPTY]) == whole
    assert whole.count == 505


def test_an_empty_sketch_has_no_quantile() -> None:
    """Nothing is invented where nothing was seen."""
    assert EMPTY.quantile(0.5) is None


def test_durations_that_a_skewed_clock_made_negative_count_as_zero() -> None:
    """They are kept apart and rank below everything."""
    some = sketch.of([-5.0, 0.0, 100.0])
    assert (some.zero, some.quantile(0.0)) == (2, 0.0)
    assert some.quantile(1.0) == pytest.approx(100.0, rel=0.05)
