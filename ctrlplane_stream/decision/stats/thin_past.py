"""A share of before that few trials tell of, held against now without bounds: what both say together of every share that it may have been.

Bounds of a past of 450 calls without one loss reach up to 2.4% at the levels of this judge, and a loss of 5% takes a quarter of an hour to
rise above that. The likelihood of past and present together knows better: under "now is at most before plus a margin" every share p that
before may have had gives the two of them a probability, and E = q(past) q(present) / max over p of that probability is at most 1 on
average, whatever p is, where q are probabilities too: of the past a mixture over all shares, of the present the bets made window by window
(universal inference: Wasserman, Ramdas, Balakrishnan, PNAS 2020). It is an e-value at every look. Against a long past bounds cost less.
"""

import math

MOST_TRIALS = 5000.0
"""A past of more trials is bounded instead: the mixture would cost more than bounds that are narrow."""

_RARE, _ELSE = 0.1, 1.0
"""Mixture of shares of the past (a beta distribution): most that can be lost or fail hardly ever does."""
_STEPS = 40


def log_mixture(events: float, total: float) -> float:
    """The log probability of the past's outcomes, in their order, under the mixture."""
    return _log_beta(_RARE + events, _ELSE + total - events) - _log_beta(_RARE, _ELSE)


def correction(past: tuple[float, float], now: tuple[float, float], margin: float, reference: float, shrink: float) -> float:
    """What is to be added to the log capital of bets against ``reference`` so that it is evidence against every share of the past.

    ``past`` and ``now`` are (events, total), those of now divided by the design effects that the bets were; ``shrink`` is that of the past.
    ``reference`` is a share in (0, 1). 0 or less, give or take what the reference was chosen too high.
    """
    events, total = past
    highest = _highest(past, now, margin, reference, shrink)
    return log_mixture(events, total) / shrink - highest


def _highest(past: tuple[float, float], now: tuple[float, float], margin: float, reference: float, shrink: float) -> float:
    """The largest log likelihood of both, that of now against the reference's, over shares p before and at most p + margin now."""
    (k, n), (x, m) = past, now
    own, present = k / n, x / m if m > 0 else 0.0
    if present > own + margin:
        own, present = _on_the_line(past, now, margin, shrink)
    return _log_likelihood(k, n, own) / shrink + _log_likelihood(x, m, present) - _log_likelihood(x, m, reference)


def _on_the_line(past: tuple[float, float], now: tuple[float, float], margin: float, shrink: float) -> tuple[float, float]:
    """Where the likelihood is largest if now is exactly the margin above before: its slope falls all the way, so halving finds it."""
    (k, n), (x, m) = past, now
    low, high = k / n, min(x / m, 1.0) - margin
    for _ in range(_STEPS):
        p = (low + high) / 2
        c = p + margin
        slope = (k / p - (n - k) / (1 - p)) / shrink + x / c - (m - x) / (1 - c)
        low, high = (p, high) if slope > 0 else (low, p)
    return low, low + margin


def _log_likelihood(events: float, total: float, share: float) -> float:
    found = events * math.log(share) if events > 0 else 0.0
    return found + (total - events) * math.log1p(-share) if total > events else found


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
