"""The published worked examples, to 1e-9, and the edges of the domain."""

import math

import numpy as np
import pytest

from ctrlplane_stream.decision.stats import multinomial_test, poisson_race_test
from ctrlplane_stream.decision.stats.multinomial import log_bayes_factor


def test_the_multinomial_example_of_savvi_is_met() -> None:
    """savvi, examples/Multinomial (Lindon and Malek 2022): 402 units against (0.1, 0.4, 0.5), concentration 100."""
    assert multinomial_test([40, 129, 233], [0.1, 0.4, 0.5]) == pytest.approx(0.04845591105969517, abs=1e-9)


def test_the_inhomogeneous_poisson_example_of_savvi_is_met() -> None:
    """savvi, examples/InhomogeneousPoissonProcess: a software canary, 210 events of two processes with weights 0.8 and 0.2."""
    assert poisson_race_test([148, 62], [0.8, 0.2]) == pytest.approx(0.045579631759249686, abs=1e-9)


def test_counts_may_be_an_array() -> None:
    """Whoever has telemetry in Python has arrays, which are neither true nor false."""
    assert multinomial_test(np.array([40, 129, 233]), np.array([0.1, 0.4, 0.5])) == multinomial_test([40, 129, 233], [0.1, 0.4, 0.5])
    with pytest.raises(ValueError, match="0 counts for 0 proportions"):
        multinomial_test(np.array([]), np.array([]))


@pytest.mark.parametrize(
    ("counts", "alternative", "null"),
    [
        ((20, 17, 9), -7.028201432058012, -4.0776406466061985),
        ((38, 38, 17), -11.947847738358888, -8.265946861099877),
        ((60, 63, 32), -19.96484521090386, -15.781031228536165),
    ],
)
def test_the_time_aggregated_example_of_ssrm_is_met(counts: tuple[int, ...], alternative: float, null: float) -> None:
    """optimizely/ssrm, its test of sequential posteriors (arXiv:2011.03567v1): uniform prior against (0.4, 0.4, 0.2), aggregated counts."""
    assert log_bayes_factor(counts, (0.4, 0.4, 0.2), (1.0, 1.0, 1.0)) == pytest.approx(alternative - null, abs=1e-9)


def test_no_counts_are_no_evidence() -> None:
    assert multinomial_test([0, 0], [0.5, 0.5]) == 1.0


def test_weights_of_a_race_have_no_scale() -> None:
    assert poisson_race_test([30, 90], [1, 1]) == pytest.approx(poisson_race_test([30, 90], [50.0, 50.0]), abs=1e-12)


def test_overwhelming_evidence_does_not_overflow() -> None:
    assert multinomial_test([10_000_000, 0], [0.5, 0.5]) == 0.0
    assert multinomial_test([5, 5], [1e-310, 1 - 1e-310]) == 0.0
    assert math.isfinite(log_bayes_factor([1e12, 1.0], (0.5, 0.5), (50.0, 50.0)))


@pytest.mark.parametrize(
    ("counts", "expected"), [([1, 2], [1.0]), ([], []), ([-1, 2], [0.5, 0.5]), ([1, 2], [0.0, 1.0]), ([1, 2], [0.5, 0.6])]
)
def test_what_are_no_proportions_is_refused(counts: list[float], expected: list[float]) -> None:
    with pytest.raises(ValueError, match="proportion"):
        multinomial_test(counts, expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_refused_and_no_absence_of_evidence(bad: float) -> None:
    """A count that was not measured gave p = 1."""
    for counts, expected, concentration in (([bad, 2], [0.5, 0.5], 100.0), ([1, 2], [bad, 0.5], 100.0), ([1, 2], [0.5, 0.5], bad)):
        for test in (multinomial_test, poisson_race_test):
            with pytest.raises(ValueError, match="finite numbers"):
                test(counts, expected, concentration)


@pytest.mark.parametrize(
    ("counts", "expected", "concentration", "known"),
    [
        ([7, 3], [0.25, 0.75], 1000000000000000.0, 0.999999999999957),
        ([5005643, 4994357], [0.5, 0.5], 100.0, 0.5435354023824881),
        ([500069753, 499930247], [0.5, 0.5], 100.0, 0.18835755151966896),
        ([125001671799, 874998328201], [0.125, 0.875], 100.0, 0.2845131561092412),
        ([250000076000000, 749999924000000], [0.25, 0.75], 100.0, 0.6490461270759167),
    ],
)
def test_p_is_right_to_1e_9_for_counts_of_any_size(counts: list[int], expected: list[float], concentration: float, known: float) -> None:
    """Known from the closed form with 60 digits. Of 1e15 counts p was off by a factor of 50; of a concentration of 1e15 also of ten."""
    assert multinomial_test(counts, expected, concentration) == pytest.approx(known, abs=1e-9)
