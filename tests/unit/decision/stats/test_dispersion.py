"""The design effect: from nothing known to much known, and what may not move it."""

import pytest

from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect, of_two_arms, residual_of_rate, residual_of_share


def scattered(size: float, windows: int, largest: float = 3.0) -> Dispersion:
    """Residuals of this size and alternating pairs of signs, so that neighbours are uncorrelated."""
    found = Dispersion()
    for number in range(windows):
        found = found.after(size if number % 4 < 2 else -size, largest)
    return found


def test_where_nothing_is_known_outcomes_are_taken_to_come_in_pairs() -> None:
    assert design_effect(Dispersion()) == 2.0


def test_windows_that_scatter_as_independent_outcomes_do_wear_the_prior_off() -> None:
    effects = [design_effect(scattered(1.0, windows)) for windows in range(20)]
    assert effects == sorted(effects, reverse=True)
    assert effects[-1] == 1.0


def test_a_quiet_past_wears_it_off_before_the_first_window() -> None:
    assert design_effect(Dispersion(), scattered(1.0, 45)) == 1.0


def test_a_past_of_bunches_counts_from_the_first_window_on() -> None:
    """Residuals of three standard deviations are a design effect of nine, less what the prior and the sampling noise take off."""
    assert 7.5 < design_effect(Dispersion(), scattered(3.0, 45, largest=5.0)) <= 9.0


def test_a_step_that_quietens_down_outweighs_a_long_past() -> None:
    """The past counts as thirty windows at most, however many it had."""
    past = scattered(3.0, 60)
    assert design_effect(scattered(1.0, 60), past) < design_effect(scattered(1.0, 10), past) / 1.5


def test_a_drift_of_the_past_does_not_count_side_by_side() -> None:
    """A level that shifted once for all is in a comparison with the past, and in no difference of two arms in the same windows."""
    shifted = Dispersion()
    for number in range(45):
        shifted = shifted.after(3.0 if number >= 25 else 0.0, 5.0)
    assert design_effect(Dispersion(), of_two_arms(shifted, drifting=False)) < 1.2
    assert design_effect(Dispersion(), shifted) > 10


def test_bunches_within_windows_count_side_by_side_as_well() -> None:
    bunched = scattered(3.0, 45, largest=5.0)
    assert design_effect(Dispersion(), of_two_arms(bunched, drifting=False)) == pytest.approx(design_effect(Dispersion(), bunched), rel=0.1)


def test_one_wild_window_counts_as_three_standard_deviations() -> None:
    assert Dispersion().after(50.0) == Dispersion().after(3.0)


def test_bunches_that_outlast_a_window_count_more_than_ones_that_do_not() -> None:
    lasting = Dispersion()
    for number in range(40):
        lasting = lasting.after(1.5 if number % 20 < 10 else -1.5)
    assert design_effect(lasting) > 2 * design_effect(scattered(1.5, 40))


def test_nothing_to_compare_with_is_no_residual() -> None:
    assert residual_of_share(1, 10, 0, 0) is None
    assert residual_of_rate(5, 0, 50, 100) is None
    assert Dispersion().after(None) == Dispersion()


def test_a_rate_that_stays_has_a_residual_of_one_on_average() -> None:
    """Twice the calls per request of a hundred requests, in standard errors: (2 - 1) / sqrt(rate (1/100 + 1/10000))."""
    rate = (10_000 + 200 + 0.5) / 10_100
    assert residual_of_rate(200, 100, 10_000, 10_000) == pytest.approx(1 / (rate * (1 / 100 + 1 / 10_000)) ** 0.5)
