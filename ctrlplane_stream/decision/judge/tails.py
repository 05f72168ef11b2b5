"""Latency as a share: how many are slower than a point chosen beforehand, which is exact under ties and needs no distribution.

"The candidate's quantile is at most (1 + margin) times stable's" is "no more candidate latencies lie above (1 + margin) t than stable
ones above t", at the t that is stable's quantile. Any t chosen from earlier windows gives a valid two-sample test of shares, and buckets
of a sketch are such points: a margin is a shift by whole buckets (rounded up, so that a sketch never makes harm of what exact latencies
would not).
"""

import math

from ctrlplane_stream.decision.judge.histograms import Histogram
from ctrlplane_stream.decision.judge.state import Counts, Tail
from ctrlplane_stream.model.sketch import SCALE, bucket_index

MINIMUM_KNOWN = 30
"""Stable latencies needed before a tail is chosen; with fewer, the windows so far only teach."""

_KNOWN_CAP = 2000.0
"""The past weighs no more than this many requests against the present step's own."""


def tail_of(known: Histogram, quantile: float, margin: float, slack_microseconds: float) -> Tail | None:
    """Where slow begins by stable latencies seen so far; None where they are too few."""
    total = known.total
    if total < MINIMUM_KNOWN:
        return None
    stable = known.last_bucket_below((1.0 - quantile) * total)
    if stable is None:
        stable = bucket_index(1.0)
    shift = math.ceil(math.log2(1.0 + margin) * (1 << SCALE) - 1e-9)
    candidate = max(stable + shift, bucket_index(2.0 ** ((stable + 1) / (1 << SCALE)) + slack_microseconds))
    scale = min(1.0, _KNOWN_CAP / total)
    expected = (known.above(candidate) + 0.5) / (total + 1.0)
    return Tail(stable, candidate, expected, Counts(known.above(stable) * scale, total * scale))
