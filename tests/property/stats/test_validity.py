"""Validity under optional stopping, by seeded simulation at the boundary of the null, where it is hardest to keep.

The expected number of crossings is at most alpha times the runs; a bound of four binomial standard deviations makes a lucky pass of an
invalid test unlikely and a false alarm of a valid one impossible, since the seeds are fixed.
"""

import math
import random
from collections.abc import Callable

import pytest

from ctrlplane_stream.decision.stats import multinomial_test
from ctrlplane_stream.decision.stats.betting import Sample
from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect, residual_of_shares
from ctrlplane_stream.decision.stats.harm import Evidence, Past, released, weigh
from ctrlplane_stream.decision.stats.intervals import difference_of_shares, lower_share, upper_share

ALPHA = 0.05


def at_most(alpha: float, runs: int) -> float:
    return alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


def crossings(
    shares: Callable[[int], tuple[float, float]], margin: float, seed: int, runs: int = 250, bunch: int = 1, corrected: bool = True
) -> tuple[float, float]:
    """The share of runs in which harm and safety ever crossed 1/ALPHA in 25 windows of 20 candidate and 60 stable requests."""
    rng = random.Random(seed)
    harm = safety = 0
    for _ in range(runs):
        evidence, past, dispersion = Evidence(), Past(), Dispersion()
        for window in range(25):
            stable, candidate = shares(window)
            x = sum(bunch * (rng.random() < candidate) for _ in range(20 // bunch))
            y = sum(bunch * (rng.random() < stable) for _ in range(60 // bunch))
            effect = design_effect(dispersion) if corrected else 1.0
            evidence = weigh(released(evidence, window), Sample(x, 20, y, 60), past, margin, effect)
            residual = residual_of_shares(
                (x, 20), (y, 60), (past.candidate_events, past.candidate_total), (past.stable_events, past.stable_total)
            )
            dispersion = dispersion.after(residual)
            past = Past(past.candidate_events + x, past.candidate_total + 20, past.stable_events + y, past.stable_total + 60)
        harm += evidence.best_harm >= math.log(1 / ALPHA)
        safety += evidence.best_safety >= math.log(1 / ALPHA)
    return harm / runs, safety / runs


@pytest.mark.parametrize("stable", [0.0, 0.02, 0.4])
def test_harm_at_the_margin_is_found_no_oftener_than_alpha(stable: float) -> None:
    """A candidate exactly at the margin is not yet harm, at any of 25 looks."""
    harm, safety = crossings(lambda _: (stable, stable + 0.05), 0.05, seed=11)
    assert harm <= at_most(ALPHA, 250)
    assert safety <= at_most(ALPHA, 250)


def test_a_rate_that_drifts_for_both_arms_alike_is_no_harm() -> None:
    """A wave from 1% to 31% errors that both arms ride, and the candidate sits on the margin throughout."""

    def wave(window: int) -> tuple[float, float]:
        stable = 0.16 + 0.15 * math.sin(window / 4)
        return stable, stable + 0.05

    harm, safety = crossings(wave, 0.05, seed=12)
    assert harm <= at_most(ALPHA, 250)
    assert safety <= at_most(ALPHA, 250)


def test_harm_that_begins_late_is_found() -> None:
    """After fifteen windows without any, which ruin a bet that was there from the first on."""
    harm, _ = crossings(lambda window: (0.02, 0.02 if window < 15 else 0.4), 0.05, seed=13)
    assert harm >= 0.95


def test_harm_beyond_the_margin_is_found() -> None:
    """The test of the test: it can fail. Ten points beyond the margin are found in nearly every run, and safety hardly ever."""
    harm, safety = crossings(lambda _: (0.02, 0.25), 0.05, seed=13)
    assert harm >= 0.95
    assert safety <= at_most(ALPHA, 250)


@pytest.mark.parametrize("bunch", [2, 4])
def test_failures_that_come_in_bunches_do_not_cry_wolf(bunch: int) -> None:
    """Every outcome counted two or four times over, identical versions, no margin and no past: the scatter between windows gives it
    away."""
    harm, _ = crossings(lambda _: (0.2, 0.2), 0.0, seed=14, bunch=bunch)
    assert harm <= at_most(ALPHA, 250)


def test_bunches_are_told_only_by_the_design_effect() -> None:
    """The test of that test: taken for independent, outcomes counted four times over cry wolf in one run of four."""
    harm, _ = crossings(lambda _: (0.2, 0.2), 0.0, seed=14, bunch=4, corrected=False)
    assert harm >= 0.2


def test_the_multinomial_test_may_be_looked_at_after_every_unit() -> None:
    """The running minimum over 400 looks falls below alpha in at most alpha of the runs."""
    rng = random.Random(15)
    alarms = 0
    for _ in range(150):
        counts = [0, 0, 0]
        lowest = 1.0
        for _ in range(400):
            counts[rng.choices((0, 1, 2), (0.1, 0.3, 0.6))[0]] += 1
            lowest = min(lowest, multinomial_test(counts, (0.1, 0.3, 0.6)))
        alarms += lowest <= ALPHA
    assert alarms / 150 <= at_most(ALPHA, 150)


def test_the_confidence_sequence_covers_the_effect_at_all_looks_at_once() -> None:
    """The true difference leaves the interval at any of 40 looks in at most alpha of the runs."""
    rng = random.Random(16)
    misses = 0
    for _ in range(200):
        x = y = missed = 0
        for window in range(1, 41):
            x += sum(rng.random() < 0.06 for _ in range(20))
            y += sum(rng.random() < 0.04 for _ in range(60))
            low, high = difference_of_shares((x, 20 * window), (y, 60 * window), ALPHA, 0.01)
            missed |= not low <= 0.02 <= high
        misses += missed
    assert misses / 200 <= at_most(ALPHA, 200)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_bounds_of_a_complete_sample_hold_it(share: float) -> None:
    rng = random.Random(17)
    wrong = 0
    for _ in range(400):
        events = sum(rng.random() < share for _ in range(200))
        wrong += not lower_share(events, 200, ALPHA) <= share <= upper_share(events, 200, ALPHA)
    assert wrong / 400 <= at_most(2 * ALPHA, 400)
