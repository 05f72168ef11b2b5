"""Bounds of rates and of differences, from both sides."""

import math

import pytest

from ctrlplane_stream.decision.stats.intervals import difference_of_shares, lower_rate, ratio_of_rates, upper_rate


@pytest.mark.parametrize(("events", "exposure"), [(3, 10.0), (200, 100.0), (5000, 10_000.0)])
def test_the_bounds_of_a_rate_lie_around_it_and_close_in_with_confidence(events: int, exposure: float) -> None:
    rate = events / exposure
    wide, narrow = (
        (lower_rate(events, exposure, 0.001), upper_rate(events, exposure, 0.001)),
        (
            lower_rate(events, exposure, 0.1),
            upper_rate(events, exposure, 0.1),
        ),
    )
    assert wide[0] < narrow[0] < rate < narrow[1] < wide[1]


def test_the_ratio_of_rates_of_which_hardly_anything_was_seen_is_open_above() -> None:
    """No calls of two requests against one of three, in bunches of forty: the interval is wider than a float can say."""
    low, high = ratio_of_rates((0, 2), (1, 3), alpha=1e-5, design_effect=40.0)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high is None
    assert ratio_of_rates((300, 100), (310, 100), alpha=0.01)[1] == pytest.approx(1.3, abs=0.2)


def test_nothing_seen_bounds_a_rate_from_above_alone() -> None:
    """No event in ten: at most -ln(0.05) / 10 (Chernoff), and perhaps none at all."""
    assert lower_rate(0, 10.0, 0.05) == 0.0
    assert upper_rate(0, 10.0, 0.05) == pytest.approx(2.9957 / 10, rel=1e-3)


@pytest.mark.parametrize("alpha", [0.05, 4e-5])
@pytest.mark.parametrize("total", [300, 1242, 10_000])
def test_an_interval_leaves_the_truth_out_as_seldom_as_it_promises_however_few_the_errors(total: int, alpha: float) -> None:
    """Four in a thousand in both arms, of which the candidate's are all counts there can be, each with its binomial chance: no error in
    1,242 requests happens seven times in a thousand, and must not exclude that the shares are alike."""
    share, stable = 0.004, (400.0, 100_000.0)
    left_out = 0.0
    for events in range(200):
        low, high = difference_of_shares((float(events), float(total)), stable, alpha, 0.01)
        assert low <= events / total - share <= high
        if not low <= 0.0 <= high:
            choices = math.lgamma(total + 1) - math.lgamma(events + 1) - math.lgamma(total - events + 1)
            left_out += math.exp(choices + events * math.log(share) + (total - events) * math.log(1 - share))
    assert left_out <= alpha
