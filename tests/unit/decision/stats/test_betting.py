"""One window's bet: against exact expectations over all outcomes, and at the edges."""

import math
from collections.abc import Callable
from itertools import product

import pytest

from ctrlplane_stream.decision.stats.betting import (
    Sample,
    divergence,
    growth,
    log_capital,
    log_capital_against,
    log_capital_of_split,
    projection,
)


def mean_over_outcomes(m: int, n: int, stable: float, candidate: float, log_of: Callable[[Sample], float]) -> float:
    """The exact mean of a capital over all outcomes of m candidate and n stable trials."""
    mean = 0.0
    for x, y in product(range(m + 1), range(n + 1)):
        chance = math.comb(m, x) * candidate**x * (1 - candidate) ** (m - x) * math.comb(n, y) * stable**y * (1 - stable) ** (n - y)
        mean += chance * math.exp(log_of(Sample(x, m, y, n)))
    return mean


def expectation(m: int, n: int, stable: float, candidate: float, margin: float, bet: tuple[float, float]) -> float:
    """That of a bet on two shares against a margin."""
    return mean_over_outcomes(m, n, stable, candidate, lambda sample: log_capital(sample, *bet, margin))


@pytest.mark.parametrize("bet", [(0.05, 0.4), (0.3, 0.9), (0.001, 0.12)])
@pytest.mark.parametrize("stable", [0.0, 0.02, 0.5, 0.85])
@pytest.mark.parametrize("below", [0.0, 0.02, 0.1])
def test_no_harm_within_the_margin_makes_capital_on_average(stable: float, below: float, bet: tuple[float, float]) -> None:
    """Under every pair of shares within the margin the mean capital is at most 1: it is an e-value."""
    assert expectation(6, 9, stable, max(0.0, stable + 0.1 - below), 0.1, bet) <= 1 + 1e-12


@pytest.mark.parametrize("stable", [0.0, 0.1, 0.6])
def test_a_bet_on_safety_makes_no_capital_where_there_is_harm(stable: float) -> None:
    assert expectation(6, 9, stable, stable + 0.2, 0.2, (0.05, 0.05)) <= 1 + 1e-12
    assert expectation(6, 9, stable, stable + 0.35, 0.2, (0.05, 0.05)) < 1


def test_harm_makes_capital() -> None:
    assert expectation(6, 9, 0.05, 0.5, 0.1, (0.05, 0.5)) > 2


def test_a_huge_candidate_arm_beside_a_small_stable_one_stays_admissible() -> None:
    for x, y in product((0, 990), (0, 10)):
        assert math.isfinite(log_capital(Sample(x, 990, y, 10), 0.01, 0.9, 0.01))


def test_the_projection_is_where_the_divergence_is_least() -> None:
    def distance(point: float) -> float:
        return 40 * divergence(0.02, point) + 10 * divergence(0.3, point + 0.01)

    point = projection(0.02, 0.3, 40, 10, 0.01)
    assert all(distance(point) <= distance(point + step) + 1e-4 for step in (-0.01, -0.001, 0.001, 0.01))


def test_an_empty_arm_is_no_bet() -> None:
    assert log_capital(Sample(0, 0, 3, 10), 0.1, 0.4, 0.01) == 0.0
    assert log_capital(Sample(3, 10, 0, 0), 0.1, 0.4, 0.01) == 0.0


def test_a_bet_against_a_limit_is_the_likelihood_ratio() -> None:
    assert log_capital_against(3, 10, 0.4, 0.1) == pytest.approx(3 * math.log(4) + 7 * math.log(0.6 / 0.9))


def test_growth_is_the_expected_log_capital() -> None:
    """Five stable trials for each candidate trial, by the exact mean of the log."""
    mean = 0.0
    for x, y in product(range(5), range(21)):
        chance = math.comb(4, x) * 0.2**x * 0.8 ** (4 - x) * math.comb(20, y) * 0.05**y * 0.95 ** (20 - y)
        mean += chance * log_capital(Sample(x, 4, y, 20), 0.05, 0.2, 0.0)
    assert mean / 4 == pytest.approx(growth(0.05, 0.2, 0.0, 5), rel=1e-9)


@pytest.mark.parametrize(("stable", "more"), [(0.01, 0.0), (0.3, 0.0), (0.3, 0.2), (0.95, 0.0), (1.0, 0.0)])
@pytest.mark.parametrize("bet", [(0.01, 0.002), (0.3, 0.1), (0.9, 0.5)])
@pytest.mark.parametrize("arms", [(3, 9), (6, 6), (8, 2)])
def test_how_events_fall_to_the_arms_makes_no_capital_on_average_unless_the_candidate_has_less(
    stable: float, more: float, bet: tuple[float, float], arms: tuple[int, int]
) -> None:
    mean = mean_over_outcomes(*arms, stable, stable + more, lambda sample: log_capital_of_split(sample, *bet))
    assert mean <= 1.0 + 1e-12


def test_parts_of_events_count_as_little_as_on_average() -> None:
    """Ties broken by chance, and averaged over the chance: the capital of the average is no more than the average of the capitals."""
    halves = log_capital_of_split(Sample(2.5, 50, 9.5, 950), 0.01, 0.003)
    whole = [math.exp(log_capital_of_split(Sample(x, 50, y, 950), 0.01, 0.003)) for x in (2, 3) for y in (9, 10)]
    assert math.exp(halves) <= sum(whole) / 4


def test_a_window_in_which_all_is_slow_for_both_ruins_no_bet_on_how_events_fall() -> None:
    slow = Sample(500, 500, 9500, 9500)
    assert log_capital_of_split(slow, 0.01, 0.003) == pytest.approx(0.0, abs=1e-9)
    assert log_capital(slow, 0.01, 0.003, 0.0) < -100
    assert log_capital_of_split(Sample(1, 500, 95, 9500), 0.01, 0.003) > 1
    assert log_capital_of_split(Sample(0, 0, 95, 9500), 0.01, 0.003) == 0.0
