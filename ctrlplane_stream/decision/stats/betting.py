"""Bets against "the candidate is no worse than stable plus a margin", window by window, however the common rate drifts.

For n Bernoulli outcomes of a stable and m of a candidate arm in one window, with success shares s and c, and any centre (s0, c0) on the
line c0 - s0 = margin, the capital
    prod over candidate of 1 + k (y - c0)   times   prod over stable of 1 + k' (y - s0),   k' = -k m / n,
has expectation at most exp(m k (c - c0) + n k' (s - s0)) = exp(m k ((c - s) - margin)). It is therefore an e-value for "c - s <= margin"
where k > 0 and for "c - s >= margin" where k < 0, whatever s and c are, and they may be others in the next window. At the
Kullback-Leibler projection of an alternative onto the line it is the likelihood ratio against the nearest null, the fastest growing bet
of all (Turner and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional stopping", 2024, theorem 1,
and "Exact anytime-valid confidence intervals for contingency tables and beyond", 2023; as betting: Waudby-Smith and Ramdas, JRSS-B 2024).
Products over windows are test supermartingales, so that 1/alpha is crossed with probability at most alpha (Ville).
"""

# ruff: noqa: FURB136  (max and min are calls, five times the cost of a comparison, and this runs thousands of times a window)

import math
from math import log, log1p
from typing import NamedTuple

_NEVER_ALL = 0.95
"""The largest part of the admissible stake that is bet, so that no single outcome ruins the capital."""
_EDGE = 1e-9
_ALMOST_ALL = 1.0 - _EDGE


class Sample(NamedTuple):
    """Outcomes of one window: ``events`` among ``total`` trials, of the candidate and of the stable arm (floats after reweighting)."""

    candidate_events: float
    candidate_total: float
    stable_events: float
    stable_total: float


def log_capital(sample: Sample, stable: float, candidate: float, margin: float) -> float:
    """The log e-value of one window for the alternative shares (``stable``, ``candidate``) against c - s <= margin (or >= it).

    The side tested is that away from which the alternative lies: ``candidate - stable`` above the margin bets against "no worse", below it
    against "worse". Needs outcomes of both arms; 0 where one is empty. The alternative must not depend on this window. Where the line
    leaves no room on that side (stable fails always, so that nothing can be worse by the margin) there is nothing to bet on: 0.
    """
    x, m, y, n = sample
    if m <= 0 or n <= 0:
        return 0.0
    s0 = projection(stable, candidate, n, m, margin)
    c0 = s0 + margin
    if (candidate > c0) != (candidate - stable > margin):
        return 0.0
    k = (candidate - c0) / (c0 * (1.0 - c0))
    # The stake is cut so that every factor stays positive: 1 + k (y - c0) and 1 - k m / n (y - s0) for y in {0, 1}.
    ratio = m / n
    if k > 0:
        ours, theirs = c0, ratio * (1.0 - s0)
        most = _NEVER_ALL / (theirs if theirs > ours else ours)
        k = most if most < k else k
    else:
        ours, theirs = 1.0 - c0, ratio * s0
        most = _NEVER_ALL / (theirs if theirs > ours else ours)
        k = -most if -most > k else k
    back = -k * ratio
    won = (m - x) * log1p(-k * c0) + (n - y) * log1p(-back * s0)
    if x:
        won += x * log1p(k * (1.0 - c0))
    if y:
        won += y * log1p(back * (1.0 - s0))
    return won


class Thinned(NamedTuple):
    """How successes were sampled: one of the candidate's that was kept stands for ``ours`` and one of stable's for ``theirs``, as one kept
    failure of either does for itself; and ``ratio`` candidate requests to each of stable are to be expected, from earlier windows."""

    ours: float
    theirs: float
    ratio: float

    def noise(self, share: float) -> float:
        """By how much more than a share of requests that were all seen one with an estimated total scatters, at the most."""
        return 1.0 + (max(self.ours, self.theirs) - 1.0) * share


def log_capital_of_thinned(sample: Sample, stable: float, candidate: float, margin: float, thinned: Thinned) -> float:
    """As `log_capital` where of the successes only some were kept, and totals are estimates; for alternatives above the margin, which
    leaves room above stable's share.

    A kept success that stands for n counts so linearly in its factor, 1 - k n c0, as often as it was kept: with the chance 1 / n of that
    a request's factor is on average what it would be if all were seen. (A power of the factor of one success, which is what an estimated
    total comes to, is convex, and wins by noise alone.) The stake does not know how many were kept: it is the expected win over its
    variance (Kelly 1956, to second order). The centre is at stable's own share, where it matters least how many requests there were.
    """
    x, m, y, n = sample
    our_each, their_each, ratio = thinned
    c0 = stable + margin
    ours = candidate * (1.0 - c0) * (1.0 - c0) + (1.0 - candidate) * our_each * c0 * c0
    theirs = stable * (1.0 - stable) * (1.0 - stable + their_each * stable)
    k = min((candidate - c0) / (ours + ratio * theirs), _NEVER_ALL / max(our_each * c0, ratio * (1.0 - stable)))
    back = -k * ratio
    won = (m - x) / our_each * log1p(-k * our_each * c0) + (n - y) / their_each * log1p(-back * their_each * stable)
    return won + x * log1p(k * (1.0 - c0)) + y * log1p(back * (1.0 - stable))


def log_capital_of_split(sample: Sample, stable: float, candidate: float) -> float:
    """The log e-value of one window for "less of the candidate's are events than of stable's" against "not less": of how events fell to the
    two arms, given how many there were, so that a window in which all goes wrong for both ruins nothing.

    Given them, their number in the candidate's arm is hypergeometric where shares are alike, and its generating function at the odds
    ratio of the alternative, below 1, at most either binomial one (Hoeffding 1963, theorem 4: the mean of a convex function is smaller
    without replacement). Where the candidate has more it is smaller still. The shares are of the alternative, inside (0, 1), the
    candidate's below stable's. Convex in the counts, so that parts of ties count as little as on average (Jensen).
    """
    x, m, y, n = sample
    if m <= 0 or n <= 0:
        return 0.0
    odds = candidate * (1.0 - stable) / (stable * (1.0 - candidate))
    less, events, total = 1.0 - odds, x + y, m + n
    by_requests, by_events = -m * log1p(-less * (events / total)), -events * log1p(-less * (m / total))
    return x * log(odds) + (by_events if by_events > by_requests else by_requests)


def projection(stable: float, candidate: float, stable_total: float, candidate_total: float, margin: float) -> float:
    """The stable share of the point on the line c - s = margin that is nearest to an alternative in Kullback-Leibler divergence.

    Exact for margin 0 (the pooled share); otherwise by reweighted averaging, whose error costs growth and never validity.
    """
    moved = candidate - margin
    point = (stable_total * stable + candidate_total * moved) / (stable_total + candidate_total)
    if margin == 0.0:
        return _EDGE if point < _EDGE else _ALMOST_ALL if point > _ALMOST_ALL else point
    low, high = max(0.0, -margin) + _EDGE, min(1.0, 1.0 - margin) - _EDGE
    for _ in range(4):
        point = low if point < low else min(high, point)
        other = point + margin
        weight = stable_total * other * (1 - other)
        against = candidate_total * point * (1 - point)
        point = (weight * stable + against * moved) / (weight + against)
    return min(high, max(low, point))


def log_capital_against(events: float, total: float, alternative: float, limit: float) -> float:
    """The log e-value of ``events`` among ``total`` against a fixed share ``limit``: the likelihood ratio of the alternative.

    Valid for every share on the far side of the limit, since it falls as the share moves away from the alternative. Both in (0, 1).
    """
    return events * math.log(alternative / limit) + (total - events) * log1p((limit - alternative) / (1 - limit))


def growth(stable: float, candidate: float, margin: float, ratio: float) -> float:
    """Expected log capital per candidate trial, with ``ratio`` stable trials each, when the alternative is the truth: how long proof
    takes."""
    s0 = projection(stable, candidate, ratio, 1.0, margin)
    return divergence(candidate, s0 + margin) + ratio * divergence(stable, s0)


def divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of Bernoulli(p) from Bernoulli(q), in nats; q in (0, 1)."""
    first = p * math.log(p / q) if p > 0 else 0.0
    second = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return max(0.0, first + second)
