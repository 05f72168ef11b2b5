"""Are these counts in the proportions they should be? A test that may be looked at after every single count.

The Bayes factor of a Dirichlet-multinomial against fixed proportions is a non-negative martingale under the null, so that by Ville's
inequality its inverse, and the running minimum of that, is a p-value at every stopping time (Lindon and Malek, "Anytime-Valid Inference
for Multinomial Count Data", NeurIPS 2022, arXiv:2011.03567, theorem 2.1). The prior is centred on the null: ``concentration * expected``.
"""

import math
from collections.abc import Sequence

_HALF_LOG_TWO_PI = 0.9189385332046727
_LARGE, _SMALL, _TERMS = 16.0, 0.1, 18
"""From where on a series is used, up to where the other is, and how many of its terms: all to the last digits."""
_LEAST = 5e-324
"""The smallest number: a prior weight must not vanish."""


def multinomial_test(counts: Sequence[float], expected: Sequence[float], concentration: float = 100.0) -> float:
    """The always-valid p-value, in [0, 1], of total ``counts`` so far against fixed proportions ``expected`` (positive, summing to 1).

    The counts are totals since the start, in any order of arrival; no counts give 1. The caller keeps the running minimum over its
    looks. A larger ``concentration`` looks for smaller departures. Raises ValueError where the lengths differ, a count is negative or the
    proportions are not proportions.
    """
    _check(counts, expected, concentration)
    if abs(math.fsum(expected) - 1.0) > 1e-9:
        raise ValueError(f"expected proportions sum to {math.fsum(expected)}, not to 1; divide them by their sum")
    return math.exp(-max(0.0, _log_bayes_factor_about(counts, expected, concentration)))


def poisson_race_test(counts: Sequence[float], weights: Sequence[float], concentration: float = 100.0) -> float:
    """The always-valid p-value, in [0, 1], that Poisson processes run at rates in the proportions ``weights`` (positive, any scale).

    The processes share one unknown intensity that may vary over time in any way (daily waves, bursts): which process has the next event
    is then multinomial whatever that intensity does (Lindon and Malek 2022, section 4). ``counts`` are events so far; the caller keeps
    the running minimum. Raises ValueError as `multinomial_test` does.
    """
    _check(counts, weights, concentration)
    largest = max(weights)
    parts = [weight / largest for weight in weights]
    total = math.fsum(parts)
    return multinomial_test(counts, [part / total for part in parts], concentration)


def log_bayes_factor(counts: Sequence[float], expected: Sequence[float], prior: Sequence[float]) -> float:
    """The natural logarithm of the evidence against ``expected``, for a Dirichlet ``prior`` (positive parameters, as many as counts)."""
    factor = math.lgamma(math.fsum(prior)) - math.lgamma(math.fsum(prior) + math.fsum(counts))
    for count, share, weight in zip(counts, expected, prior, strict=True):
        factor += math.lgamma(weight + count) - math.lgamma(weight) - count * math.log(share)
    return factor


def _log_bayes_factor_about(counts: Sequence[float], expected: Sequence[float], concentration: float) -> float:
    """`log_bayes_factor` for the prior ``concentration * expected``, to some 1e-10 for any counts up to 1e15.

    Differences of log gammas lose what they differ by: of 1e15 counts each is 3e16, and its last digit a factor of 50 in p. By Stirling's
    formula the large parts are together the divergence of the posterior mean from ``expected``, which is summed as such.
    """
    total, shares = math.fsum(counts), [share / math.fsum(expected) for share in expected]
    both = concentration + total
    parts = [_rest(concentration) - _rest(both), 0.5 * math.log1p(total / concentration)]
    for count, share in zip(counts, shares, strict=True):
        prior = max(concentration * share, _LEAST)
        parts.append(_excess(count - total * share, both * max(share, _LEAST)))
        parts += [_rest(prior + count) - _rest(prior), -0.5 * _log_ratio(count, prior)]
    return math.fsum(parts)


def _log_ratio(more: float, base: float) -> float:
    """ln(1 + more / base), of which the quotient may be too large for a number."""
    return math.log1p(more / base) if more <= base else math.log(base + more) - math.log(base)


def _excess(more: float, base: float) -> float:
    """base ((1 + d) ln(1 + d) - d) for d = more / base >= -1, as its series where the two would cancel."""
    if more > base:
        return (base + more) * _log_ratio(more, base) - more
    change = more / base
    if change <= -1.0:
        return base
    if abs(change) > _SMALL:
        return base * ((1.0 + change) * math.log1p(change) - change)
    return base * math.fsum((-change) ** k / (k * (k - 1)) for k in range(2, _TERMS))


def _rest(x: float) -> float:
    """What Stirling's formula leaves of the log gamma of a positive number: its series where the two would cancel."""
    if x < _LARGE:
        return math.lgamma(x) - ((x - 0.5) * math.log(x) - x + _HALF_LOG_TWO_PI)
    square = 1.0 / (x * x)
    return (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square * (1 / 1188 - square * 691 / 360360))))) / x


def _check(counts: Sequence[float], shares: Sequence[float], concentration: float) -> None:
    if len(counts) != len(shares) or len(counts) == 0:  # an array has no truth value
        raise ValueError(f"{len(counts)} counts for {len(shares)} proportions; give as many of one as of the other")
    if not all(map(math.isfinite, (*counts, *shares, concentration))):
        raise ValueError("counts, proportions and concentration must be finite numbers; leave out what was not measured")
    if min(counts) < 0 or min(shares) <= 0 or not concentration > 0:
        raise ValueError("counts must not be negative; proportions and concentration must be positive")
