"""Latency as a share: how many are slower than a point chosen beforehand, which is exact under ties and needs no distribution.

"The candidate's quantile is at most (1 + margin) times stable's" is "no more candidate latencies lie above (1 + margin) t than stable
ones above t", at the t that is stable's quantile. Any t chosen from earlier windows gives a valid two-sample test of shares, and buckets
of a sketch are such points: a margin is a shift by whole buckets (rounded up, so that a sketch never makes harm of what exact latencies
would not).
"""

import math
from itertools import accumulate

from ctrlplane_stream.decision.judge.arms import ZERO, Histogram
from ctrlplane_stream.decision.judge.state import Counts, Tail
from ctrlplane_stream.model.sketch import SCALE, bucket_index, bucket_value
from ctrlplane_stream.model.verdicts import Metric

QUANTILES = {Metric.LATENCY_P50: 0.5, Metric.LATENCY_P99: 0.99, Metric.NETWORK_GAP: 0.9}
"""The quantile of each latency metric; the gap is looked at where both a shift of all calls and a delay of some show."""

MINIMUM_KNOWN = 30
"""Stable latencies needed before a tail is chosen; with fewer, the windows so far only teach."""

_KNOWN_CAP = 2000.0
"""The past weighs no more than this many requests against the present step's own."""


def tail_of(known: Histogram, quantile: float, margin: float, slack_microseconds: float) -> Tail | None:
    """Where slow begins by stable latencies seen so far; None where they are too few."""
    total = sum(known.values())
    if total < MINIMUM_KNOWN:
        return None
    stable = _last_bucket_below(known, (1.0 - quantile) * total)
    candidate = stable + math.ceil(math.log2(1.0 + margin) * (1 << SCALE) - 1e-9)
    if stable > ZERO + 1:
        candidate = max(candidate, bucket_index(2.0 ** ((stable + 1) / (1 << SCALE)) + slack_microseconds))
    else:
        candidate = bucket_index(max(1.0, slack_microseconds))
    scale = min(1.0, _KNOWN_CAP / total)
    expected = (count_above(known, candidate) + 0.5) / (total + 1.0)
    return Tail(stable, candidate, expected, Counts(count_above(known, stable) * scale, total * scale))


def count_above(histogram: Histogram, bucket: int) -> float:
    """How many latencies lie above a bucket."""
    return float(sum([count for index, count in histogram.items() if index > bucket]))


def quantile_ms(histogram: Histogram, q: float) -> float | None:
    """The q-quantile in milliseconds; None where empty or q is outside [0, 1)."""
    if not histogram or not 0.0 <= q < 1.0:
        return None
    indices = sorted(histogram)
    reached = list(accumulate([histogram[index] for index in indices]))
    rank = q * (reached[-1] - 1)
    place = next(i for i, seen in enumerate(reached) if rank < seen)
    return 0.0 if indices[place] == ZERO else bucket_value(indices[place]) / 1000.0


def _last_bucket_below(known: Histogram, wanted: float) -> int:
    """The highest bucket with at least ``wanted`` latencies above it."""
    above = 0
    for index in sorted(known, reverse=True):
        above += known[index]
        if above >= wanted:
            return index - 1
    return ZERO - 1
