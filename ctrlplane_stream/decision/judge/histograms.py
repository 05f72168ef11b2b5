"""Latencies as dense counts over the sketch's buckets: what the judge adds up, cuts and reads quantiles from after every window.

A `model.sketch.Sketch` is sparse, for the wire; here the work is sums over ranges, which a dense row does at the speed of C.
"""

from bisect import bisect_right
from itertools import accumulate
from operator import add

import msgspec

from ctrlplane_stream.model.sketch import Sketch, bucket_value


class Histogram(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``counts[i]`` durations in bucket ``base + i``, and ``zero`` of zero or less."""

    base: int = 0
    counts: tuple[int, ...] = ()
    zero: int = 0

    @property
    def total(self) -> int:
        """How many durations."""
        return self.zero + sum(self.counts)

    def above(self, bucket: int) -> float:
        """How many durations lie above a bucket."""
        start = bucket + 1 - self.base
        return float(sum(self.counts[start:] if start > 0 else self.counts))

    def plus(self, other: "Histogram") -> "Histogram":
        """The counts of both."""
        if not other.counts:
            return self if not other.zero else Histogram(self.base, self.counts, self.zero + other.zero)
        if not self.counts:
            return other if not self.zero else Histogram(other.base, other.counts, self.zero + other.zero)
        base = min(self.base, other.base)
        end = max(self.base + len(self.counts), other.base + len(other.counts))
        return Histogram(base, tuple(map(add, self._padded(base, end), other._padded(base, end))), self.zero + other.zero)

    def quantiles_ms(self, quantiles: tuple[float, ...]) -> list[float | None]:
        """The quantiles in milliseconds; None where there is nothing, or a quantile is outside [0, 1)."""
        reached = list(accumulate(self.counts, initial=self.zero))
        last = reached[-1] - 1
        return [self._value(bisect_right(reached, q * last)) if last >= 0 and 0.0 <= q < 1.0 else None for q in quantiles]

    def last_bucket_below(self, wanted: float) -> int | None:
        """The highest bucket with at least ``wanted`` durations above it; None where only zero and the lowest bucket are left."""
        above = 0
        for index in range(len(self.counts) - 1, -1, -1):
            above += self.counts[index]
            if above >= wanted:
                return self.base + index - 1
        return None

    def _value(self, place: int) -> float:
        return 0.0 if place == 0 else bucket_value(self.base + place - 1) / 1000.0

    def _padded(self, base: int, end: int) -> tuple[int, ...]:
        return (0,) * (self.base - base) + self.counts + (0,) * (end - self.base - len(self.counts))


NOTHING = Histogram()


def histogram(sketch: Sketch) -> Histogram:
    """A sketch as a dense row."""
    if not sketch.indices:
        return Histogram(zero=sketch.zero) if sketch.zero else NOTHING
    base = sketch.indices[0]
    counts = [0] * (sketch.indices[-1] - base + 1)
    for index, count in zip(sketch.indices, sketch.counts, strict=True):
        counts[index - base] = count
    return Histogram(base, tuple(counts), sketch.zero)
