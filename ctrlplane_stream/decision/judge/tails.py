"""Latency as a share: how many are slower than a point chosen beforehand, which is exact under ties and needs no distribution.

"The candidate's quantile is at most (1 + margin) times stable's" is "no more candidate latencies lie above (1 + margin) t than stable
ones above t", at the t that is stable's quantile. Any t chosen from earlier windows gives a valid two-sample test of shares, and buckets
of a sketch are such points: a margin is a shift by whole buckets (rounded up, so that a sketch never makes harm of what exact latencies
would not).

Where very many latencies are alike (a clock of whole milliseconds, a cache, a sleep) the quantile lies among them: above their bucket
there is hardly one of stable's, and above the one below it nearly all, of which no candidate can have more. Then as many of those in the
bucket count as slow as make up the quantile's share, the same part of them in both arms. That is the test of shares with ties broken by
chance, averaged over the chance; a bet on counts between 0 and 1 wins no more than the average of bets on 0 and 1 (log1p is concave).

Where a machine is slow for a minute now and then, the 99th percentile of all times is that of these minutes, above which there is nothing
in any other. So slow begins lower, at the quantile of the window before, where that is the lower of the two.
"""

import math

from ctrlplane_stream.decision.judge.histograms import NOTHING, Histogram
from ctrlplane_stream.decision.judge.state import Counts, Tail
from ctrlplane_stream.model.sketch import SCALE, bucket_index

MINIMUM_KNOWN = 30
"""Stable latencies needed before a tail is chosen; with fewer, the windows so far only teach."""

_MOST_TIMES, _MOST_OF_REST = 10.0, 0.5
"""Stable's share of slow latencies is at most so many times the quantile's, and leaves at least so much of the rest to be worse than it:
beyond either, only a part of the bucket counts."""

_LEAST_SLOW = 4.0
"""So many latencies beyond the quantile must a window have for its own quantile to be one."""

_KNOWN_CAP = 2000.0
"""The past weighs no more than this many requests against the present step's own."""


def tail_of(known: Histogram, quantile: float, margin: float, slack_microseconds: float, lately: Histogram = NOTHING) -> Tail | None:
    """Where slow begins by stable latencies seen so far, ``lately`` those of the last window among them; None where they are too few."""
    total, rest = known.total, 1.0 - quantile
    if total < MINIMUM_KNOWN:
        return None
    stable, told_by = _quantile_bucket(known, rest), known
    if rest * lately.total >= _LEAST_SLOW and (lower := _quantile_bucket(lately, rest)) < stable:
        stable, told_by = lower, lately
    shift = math.ceil(math.log2(1.0 + margin) * (1 << SCALE) - 1e-9)
    candidate = max(stable + shift, bucket_index(2.0 ** ((stable + 1) / (1 << SCALE)) + slack_microseconds))
    scale, part = min(1.0, _KNOWN_CAP / total), _part(told_by, stable, rest)
    expected = (known.slow(candidate, part) + 0.5) / (total + 1.0)
    return Tail(stable, candidate, expected, Counts(known.slow(stable, part) * scale, total * scale), part)


def _quantile_bucket(known: Histogram, rest: float) -> int:
    bucket = known.last_bucket_below(rest * known.total)
    return bucket_index(1.0) if bucket is None else bucket


def _part(known: Histogram, bucket: int, share: float) -> float:
    """How much of the bucket above one, in which the quantile lies, counts as slow."""
    total, all_of_it, none_of_it = known.total, known.above(bucket), known.above(bucket + 1)
    if all_of_it <= total * min(_MOST_TIMES * share, 1.0 - _MOST_OF_REST * (1.0 - share)):
        return 1.0
    return (share * total - none_of_it) / (all_of_it - none_of_it)
