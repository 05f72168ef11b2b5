"""Latencies of one window and of many: however they are kept, they are counted alike."""

import random

import pytest

from ctrlplane_stream.decision.judge.histograms import NOTHING, Drawn, Histogram
from ctrlplane_stream.model import sketch


def drawn(rng: random.Random, many: int) -> Drawn:
    """Some sketches of some latencies; of an empty one, of one with durations of zero alone, and of far apart ones too."""
    arm = Drawn()
    for _ in range(many):
        median = rng.choice((3e2, 2e4, 9e6))
        arm.sketches.append(
            sketch.of([median * rng.lognormvariate(0, 0.5) for _ in range(rng.choice((0, 1, 30)))] + [0.0] * rng.randint(0, 2))
        )
    return arm


@pytest.mark.parametrize("seed", range(20))
def test_sketches_of_a_window_count_as_the_histogram_that_they_become(seed: int) -> None:
    rng = random.Random(seed)
    arm = drawn(rng, rng.randint(0, 4))
    whole = arm.histogram()
    assert arm.counted == bool(whole.counts)
    for bucket in range(200, 900, 7):
        assert arm.above(bucket) == (whole.above(bucket), whole.total)


@pytest.mark.parametrize("seed", range(20))
def test_windows_added_one_after_another_are_all_windows_at_once(seed: int) -> None:
    rng = random.Random(100 + seed)
    arms = [drawn(rng, rng.randint(0, 3)) for _ in range(5)]
    one_by_one, pairwise = NOTHING, NOTHING
    for arm in arms:
        one_by_one, pairwise = one_by_one.with_sketches(arm.sketches), pairwise.plus(arm.histogram())
    everything = [s for arm in arms for s in arm.sketches]
    assert one_by_one == pairwise == NOTHING.with_sketches(everything)
    assert one_by_one.total == sketch.merge(everything).count


def test_a_quantile_is_that_of_the_sketch() -> None:
    rng = random.Random(5)
    merged = sketch.merge(drawn(rng, 6).sketches)
    histogram = NOTHING.with_sketches([merged])
    wanted = (0.0, 0.1, 0.5, 0.9, 0.99)
    for q, found in zip(wanted, histogram.quantiles_ms(wanted), strict=True):
        exact = merged.quantile(q)
        assert exact is not None
        assert found == pytest.approx(exact / 1000.0, rel=0.03)


def test_of_nothing_there_is_no_quantile() -> None:
    assert NOTHING.quantiles_ms((0.5,)) == [None]
    assert Histogram(zero=3).quantiles_ms((0.5, 1.5)) == [0.0, None]
