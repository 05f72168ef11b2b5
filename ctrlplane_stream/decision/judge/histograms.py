"""Latencies over the sketch's buckets: what the judge adds up, cuts and reads quantiles from after every window.

A `model.sketch.Sketch` is sparse, for the wire. What is kept of many windows is a dense `Histogram`, whose sums over ranges run at the
speed of C; the latencies of one window are added to it once, and until then stay the `Drawn` sketches that they came as.
"""

import math
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import add

import msgspec

from ctrlplane_stream.decision.native import compiled
from ctrlplane_stream.decision.stats.intervals import radius_at
from ctrlplane_stream.model.sketch import Sketch, bucket_value

_value_of = lru_cache(maxsize=4096)(bucket_value)


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

    def slow(self, bucket: int, part: float) -> float:
        """How many lie above a bucket, of those in the next one up only a part."""
        return self.above(bucket) if part == 1.0 else part * self.above(bucket) + (1.0 - part) * self.above(bucket + 1)

    def plus(self, other: "Histogram") -> "Histogram":
        """The counts of both."""
        if not other.counts:
            return self if not other.zero else Histogram(self.base, self.counts, self.zero + other.zero)
        if not self.counts:
            return other if not self.zero else Histogram(other.base, other.counts, self.zero + other.zero)
        base = min(self.base, other.base)
        end = max(self.base + len(self.counts), other.base + len(other.counts))
        return Histogram(base, tuple(map(add, self.padded(base, end), other.padded(base, end))), self.zero + other.zero)

    def with_sketches(self, sketches: list[Sketch]) -> "Histogram":
        """The counts with all that went into the sketches."""
        return _with_sketches(self, sketches)

    def quantiles_ms(self, wanted: tuple[float, ...]) -> list[float | None]:
        """As `quantiles`."""
        return quantiles(self, wanted)

    def last_bucket_below(self, wanted: float) -> int | None:
        """The highest bucket with at least ``wanted`` durations above it; None where only zero and the lowest bucket are left."""
        above = 0
        for index in range(len(self.counts) - 1, -1, -1):
            above += self.counts[index]
            if above >= wanted:
                return self.base + index - 1
        return None

    def padded(self, base: int, end: int) -> tuple[int, ...]:
        """The counts of the buckets from ``base`` to before ``end``, which must cover all that are filled."""
        return (0,) * (self.base - base) + self.counts + (0,) * (end - self.base - len(self.counts))


NOTHING = Histogram()


def with_sketches(histogram: Histogram, sketches: list[Sketch]) -> Histogram:
    """A histogram with all that went into the sketches."""
    zero, filled = histogram.zero, [sketch for sketch in sketches if sketch.indices]
    for sketch in sketches:
        zero += sketch.zero
    if not filled:
        return Histogram(histogram.base, histogram.counts, zero) if zero != histogram.zero else histogram
    first, last = min(sketch.indices[0] for sketch in filled), max(sketch.indices[-1] for sketch in filled)
    if histogram.counts:
        first, last = min(histogram.base, first), max(histogram.base + len(histogram.counts) - 1, last)
    counts = list(histogram.padded(first, last + 1)) if histogram.counts else [0] * (last + 1 - first)
    for sketch in filled:
        for index, count in zip(sketch.indices, sketch.counts, strict=True):
            counts[index - first] += count
    return Histogram(first, tuple(counts), zero)


def quantiles(histogram: Histogram, wanted: tuple[float, ...]) -> list[float | None]:
    """The quantiles in milliseconds; None where there is nothing, or a quantile is outside [0, 1)."""
    reached = list(accumulate(histogram.counts, initial=histogram.zero))
    last, found = reached[-1] - 1, list[float | None]()
    for q in wanted:
        place = bisect_right(reached, q * last) if last >= 0 and 0.0 <= q < 1.0 else None
        found.append(None if place is None else 0.0 if place == 0 else _value_of(histogram.base + place - 1) / 1000.0)
    return found


def quantile_interval(
    histogram: Histogram, q: float, nats: float, tuning: float, design_effect: float
) -> tuple[int, float | None, float | None, float | None]:
    """How many durations, and of their q-quantile a lower bound, itself and an upper bound, in milliseconds; None as in `quantiles`.

    The bounds hold after every window at once, at the level that ``nats`` and ``tuning`` stand for (`intervals.of_level`): a confidence
    sequence of the share below the quantile, read as quantiles.
    """
    total = histogram.total
    if total == 0:
        return 0, None, None, None
    half = radius_at(math.sqrt(design_effect * q * (1 - q) / total), nats, tuning, 0.25 * (1 - q))
    low, middle, high = quantiles(histogram, (max(0.0, q - half), q, q + half))
    return total, low, middle, high


def above(sketches: list[Sketch], bucket: int) -> tuple[float, float]:
    """How many of the durations that went into sketches lie above a bucket, and how many there are."""
    slow = total = 0
    for sketch in sketches:
        slow += sum(sketch.counts[bisect_right(sketch.indices, bucket) :])
        total += sketch.zero + sum(sketch.counts)
    return float(slow), float(total)


_with_sketches, _above, quantile_bounds = compiled(with_sketches), compiled(above), compiled(quantile_interval)


def without(sketches: list[Sketch], others: list[Sketch]) -> Sketch:
    """What some durations are beyond others that were drawn from them."""
    counts: dict[int, int] = {}
    for sign, drawn in ((1, sketches), (-1, others)):
        for sketch in drawn:
            for index, count in zip(sketch.indices, sketch.counts, strict=True):
                counts[index] = counts.get(index, 0) + sign * count
    left = {index: counts[index] for index in sorted(counts) if counts[index] > 0}
    zero = sum(sketch.zero for sketch in sketches) - sum(sketch.zero for sketch in others)
    return Sketch(tuple(left), tuple(left.values()), max(0, zero))


class Drawn(msgspec.Struct, gc=False):
    """The latencies of an arm in one window, as the sketches that they came as; added up first, then read. ``weighed`` are those of which
    each counts for more or less than one."""

    sketches: list[Sketch] = []
    weighed: list[tuple[float, "Drawn"]] = []

    @property
    def counted(self) -> bool:
        """Whether there is any latency above zero."""
        if self.sketches and (self.sketches[0].indices or any(sketch.indices for sketch in self.sketches)):
            return True
        return any(drawn.counted for _, drawn in self.weighed)

    def above(self, bucket: int) -> tuple[float, float]:
        """How many durations lie above a bucket, and how many there are."""
        slow, total = _above(self.sketches, bucket)
        for weight, drawn in self.weighed:
            more, of = drawn.above(bucket)
            slow, total = slow + weight * more, total + weight * of
        return slow, total

    def slow(self, bucket: int, part: float) -> tuple[float, float]:
        """As `above`, of those in the next bucket up only a part."""
        slow, total = self.above(bucket)
        return (slow if part == 1.0 else part * slow + (1.0 - part) * self.above(bucket + 1)[0]), total

    def histogram(self) -> Histogram:
        """All of them as one dense row, of which what is weighed is rounded to whole ones: it is shown, and slow begins by it."""
        if not self.weighed:
            return NOTHING.with_sketches(self.sketches)
        return NOTHING.with_sketches([*self.sketches, *(_thinned(drawn.histogram(), weight) for weight, drawn in self.weighed)])


def _thinned(histogram: Histogram, weight: float) -> Sketch:
    """So many times as many durations, each quantile where it was."""
    reached = [round(weight * below) for below in accumulate(histogram.counts, initial=histogram.zero)]
    counts = [(histogram.base + place, b - a) for place, (a, b) in enumerate(pairwise(reached)) if b > a]
    return Sketch(tuple(index for index, _ in counts), tuple(count for _, count in counts), reached[0])
