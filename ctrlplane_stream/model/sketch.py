"""A mergeable latency sketch: OpenTelemetry's exponential histogram at scale 5, in microseconds.

Bucket ``i`` holds the durations in ``(base**i, base**(i+1)]`` with ``base = 2**(2**-5)``; a value is reported as the
harmonic-style midpoint ``2*low*high/(low+high)``, so its relative error is at most ``(base-1)/(base+1) < 1.09%``
(Masson, Rim, Lee: DDSketch, VLDB 2019, section 2.1, with the bucket bases of OpenTelemetry's data model).
Merging is addition of counts: associative, commutative, and exact. Durations of zero or less (clock skew) are counted
apart in ``zero``.
"""

import math
from collections.abc import Iterable

import msgspec

SCALE = 5
_BUCKETS_PER_DOUBLING = 1 << SCALE
BASE: float = 2.0 ** (1.0 / _BUCKETS_PER_DOUBLING)
RELATIVE_ERROR = (BASE - 1.0) / (BASE + 1.0)


def bucket_index(microseconds: float) -> int:
    """The bucket of a positive duration in microseconds."""
    return math.ceil(math.log2(microseconds) * _BUCKETS_PER_DOUBLING) - 1


def bucket_value(index: int) -> float:
    """The duration in microseconds that stands for everything in a bucket, within RELATIVE_ERROR."""
    low = math.exp2(index / _BUCKETS_PER_DOUBLING)
    high = low * BASE
    return 2.0 * low * high / (low + high)


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """Counts by bucket: parallel ``indices`` (ascending) and ``counts`` (positive), and the count of ``zero``."""

    indices: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    zero: int = 0

    @property
    def count(self) -> int:
        """How many durations went in."""
        return self.zero + sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The q-quantile (0 <= q <= 1) in microseconds, or None where nothing was counted."""
        total = self.count
        if total == 0:
            return None
        rank = q * (total - 1)
        seen = self.zero
        if rank < seen:
            return 0.0
        for index, count in zip(self.indices, self.counts, strict=True):
            seen += count
            if rank < seen:
                return bucket_value(index)
        return bucket_value(self.indices[-1])


EMPTY = Sketch()


def merge(sketches: Iterable[Sketch]) -> Sketch:
    """The sketch of all durations that went into any of the sketches; EMPTY for none."""
    totals: dict[int, int] = {}
    zero = 0
    for sketch in sketches:
        zero += sketch.zero
        for index, count in zip(sketch.indices, sketch.counts, strict=True):
            totals[index] = totals.get(index, 0) + count
    indices = tuple(sorted(totals))
    return Sketch(indices, tuple(totals[i] for i in indices), zero)


def of(durations_microseconds: Iterable[float]) -> Sketch:
    """The sketch of these durations in microseconds."""
    totals: dict[int, int] = {}
    zero = 0
    for duration in durations_microseconds:
        if duration <= 0:
            zero += 1
        else:
            index = bucket_index(duration)
            totals[index] = totals.get(index, 0) + 1
    indices = tuple(sorted(totals))
    return Sketch(indices, tuple(totals[i] for i in indices), zero)
