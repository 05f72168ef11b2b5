"""Are these counts in the proportions they should be? A test that may be looked at after every single count.

The Bayes factor of a Dirichlet-multinomial against fixed proportions is a non-negative martingale under the null, so that by Ville's
inequality its inverse, and the running minimum of that, is a p-value at every stopping time (Lindon and Malek, "Anytime-Valid Inference
for Multinomial Count Data", NeurIPS 2022, arXiv:2011.03567, theorem 2.1). The prior is centred on the null: ``concentration * expected``.
"""

import math
from collections.abc import Sequence


def multinomial_test(counts: Sequence[float], expected: Sequence[float], concentration: float = 100.0) -> float:
    """The always-valid p-value, in [0, 1], of total ``counts`` so far against fixed proportions ``expected`` (positive, summing to 1).

    The counts are totals since the start, in any order of arrival; no counts give 1. The caller keeps the running minimum over its
    looks. A larger ``concentration`` looks for smaller departures. Raises ValueError where the lengths differ, a count is negative or the
    proportions are not proportions.
    """
    _check(counts, expected, concentration)
    if abs(math.fsum(expected) - 1.0) > 1e-9:
        raise ValueError(f"expected proportions sum to {math.fsum(expected)}, not to 1; divide them by their sum")
    prior = [concentration * share for share in expected]
    return math.exp(-max(0.0, log_bayes_factor(counts, expected, prior)))


def poisson_race_test(counts: Sequence[float], weights: Sequence[float], concentration: float = 100.0) -> float:
    """The always-valid p-value, in [0, 1], that Poisson processes run at rates in the proportions ``weights`` (positive, any scale).

    The processes share one unknown intensity that may vary over time in any way (daily waves, bursts): which process has the next event
    is then multinomial whatever that intensity does (Lindon and Malek 2022, section 4). ``counts`` are events so far; the caller keeps
    the running minimum. Raises ValueError as `multinomial_test` does.
    """
    _check(counts, weights, concentration)
    total = math.fsum(weights)
    return multinomial_test(counts, [weight / total for weight in weights], concentration)


def log_bayes_factor(counts: Sequence[float], expected: Sequence[float], prior: Sequence[float]) -> float:
    """The natural logarithm of the evidence against ``expected``, for a Dirichlet ``prior`` (positive parameters, as many as counts)."""
    factor = math.lgamma(math.fsum(prior)) - math.lgamma(math.fsum(prior) + math.fsum(counts))
    for count, share, weight in zip(counts, expected, prior, strict=True):
        factor += math.lgamma(weight + count) - math.lgamma(weight) - count * math.log(share)
    return factor


def _check(counts: Sequence[float], shares: Sequence[float], concentration: float) -> None:
    if len(counts) != len(shares) or not counts:
        raise ValueError(f"{len(counts)} counts for {len(shares)} proportions; give as many of one as of the other")
    if min(counts) < 0 or min(shares) <= 0 or not concentration > 0:
        raise ValueError("counts must not be negative; proportions and concentration must be positive")
