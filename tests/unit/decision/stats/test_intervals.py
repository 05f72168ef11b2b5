"""Bounds of rates, from both sides."""

import pytest

from ctrlplane_stream.decision.stats.intervals import lower_rate, ratio_of_rates, upper_rate


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
