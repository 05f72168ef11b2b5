"""Intervals that hold at every look at once (confidence sequences), and bounds for samples that are complete.

The radius is the normal mixture of Robbins as an asymptotic confidence sequence: with an estimate of standard error e after information I
= 1/e**2, and k = I / tuning, the true value lies within e * sqrt((1 + 1/k) * (2 log(1/alpha) + log(1 + k))) at all times (Waudby-Smith,
Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024,
theorem 2.2; Howard et al. 2021, eq. 14). The decision rests on the e-values; the interval says how large the effect may be.
"""

import math
from functools import lru_cache

from ctrlplane_stream.decision.stats.betting import divergence

_LARGEST_LOG = 20.0
"""Half a billion times as many is no bound that tells anybody anything."""

_TUNED_FOR = 0.25
"""The variance at which `surely` is tightest."""


def radius(standard_error: float, alpha: float, tuned_for: float) -> float:
    """Half the width of the confidence sequence at this standard error; tightest near standard error ``tuned_for`` (same unit,
    positive)."""
    return radius_at(standard_error, *of_level(alpha), tuned_for)


def radius_at(standard_error: float, nats: float, tuning: float, tuned_for: float) -> float:
    """As `radius`, with what `of_level` says of the level."""
    k = (tuned_for / standard_error) ** 2 * tuning
    return standard_error * math.sqrt((1.0 + 1.0 / k) * (nats + math.log1p(k)))


@lru_cache(maxsize=256)
def of_level(alpha: float) -> tuple[float, float]:
    """What a level asks for: 2 log(1/alpha), and the same with its own logarithm, at which the radius is tightest."""
    nats = 2.0 * math.log(1.0 / alpha)
    return nats, nats + math.log(1.0 + nats)


def _variance(events: float, total: float) -> float:
    """Of a share, with half an event added on each side so that none in n is not taken for never."""
    p = (events + 0.5) / (total + 1.0)
    return p * (1 - p) / total


def difference_of_shares(
    candidate: tuple[float, float], stable: tuple[float, float], alpha: float, margin: float, design_effect: float = 1.0
) -> tuple[float, float]:
    """The interval of candidate share minus stable share from (events, total) of each; totals must be positive.

    The width in standard errors is the sequence's; the error is that of the limits and not of the shares seen (Wilson's limits of each arm,
    put together by Newcombe, Statistics in Medicine 1998, method 10), without which none in a thousand would exclude four.
    """
    nats, tuning = of_level(alpha)
    k = (max(margin, 1e-4) / 4) ** 2 / (design_effect * (_variance(*candidate) + _variance(*stable))) * tuning
    squares = (1.0 + 1.0 / k) * (nats + math.log1p(k)) * design_effect
    ours, ours_below, ours_above = _limits(*candidate, squares)
    theirs, theirs_below, theirs_above = _limits(*stable, squares)
    effect = ours - theirs
    return max(-1.0, effect - math.hypot(ours_below, theirs_above)), min(1.0, effect + math.hypot(ours_above, theirs_below))


def _limits(events: float, total: float, squares: float) -> tuple[float, float, float]:
    """A share, and how far below and above it Wilson's limits lie, so many squared standard errors away by their own variance."""
    share, added = events / total, squares / total
    middle, half = added * (0.5 - share), math.sqrt(share * (1 - share) * added + added * added / 4)
    return share, (half - middle) / (1 + added), (half + middle) / (1 + added)


def surely(excess: float, variance: float, alpha: float) -> float:
    """What lies behind a sum of differences at least, at all times at once with probability 1 - alpha: the same sequence on the scale of
    sums, tightest where hardly anything is left to chance. All but two of it where nothing is, at usual levels; a variance below 0, which
    nothing has, counts as 0."""
    nats, _ = of_level(alpha)
    variance = max(variance, 0.0)
    return excess - math.sqrt((variance + _TUNED_FOR) * (nats + math.log1p(variance / _TUNED_FOR)))


def ratio_of_rates(
    candidate: tuple[float, float], stable: tuple[float, float], alpha: float, design_effect: float = 1.0
) -> tuple[float, float | None]:
    """The interval of the ratio of two rates from (events, requests) of each, on the log scale; requests must be positive. None for an
    upper end beyond all reason, where hardly anything was seen."""
    x, y = candidate[0] + 0.5, stable[0] + 0.5
    error = math.sqrt(design_effect * (1 / x + 1 / y))
    half = radius(error, alpha, 0.05)
    log_ratio = math.log(x / candidate[1]) - math.log(y / stable[1])
    return math.exp(log_ratio - half), math.exp(log_ratio + half) if log_ratio + half < _LARGEST_LOG else None


def upper_share(events: float, total: float, alpha: float) -> float:
    """An upper bound of the share behind a complete sample, at confidence 1 - alpha (Chernoff's bound inverted); 1 for an empty one."""
    if total <= 0:
        return 1.0
    observed = min(1.0, events / total)
    low, high = observed, 1.0 - 1e-12
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if total * divergence(observed, middle) < -math.log(alpha) else (low, middle)
    return high


def lower_share(events: float, total: float, alpha: float) -> float:
    """A lower bound of the share behind a complete sample, at confidence 1 - alpha; 0 for an empty one."""
    return 1.0 - upper_share(total - events, total, alpha) if total > 0 else 0.0


@lru_cache(maxsize=4096)  # of a past that stands still, and asked anew after every window
def upper_rate(events: float, exposure: float, alpha: float) -> float:
    """An upper bound of a Poisson rate per unit of a complete, positive exposure, at confidence 1 - alpha (Chernoff's bound inverted)."""
    low, high = events, 2 * events + 4 * math.log(1 / alpha)
    for _ in range(40):
        middle = (low + high) / 2
        distance = middle - events + (events * math.log(events / middle) if events > 0 else 0.0)
        low, high = (middle, high) if distance < -math.log(alpha) else (low, middle)
    return high / exposure


@lru_cache(maxsize=4096)
def lower_rate(events: float, exposure: float, alpha: float) -> float:
    """A lower bound of a Poisson rate per unit of a complete, positive exposure, at confidence 1 - alpha; 0 where nothing was seen."""
    low, high = 0.0, events
    for _ in range(40 if events > 0 else 0):
        middle = (low + high) / 2
        distance = middle - events + events * math.log(events / middle)
        low, high = (middle, high) if distance > -math.log(alpha) else (low, middle)
    return low / exposure
