"""Latencies over the sketch's buckets: what the judge adds up, cuts and reads quantiles from after every window.

A `model.sketch.Sketch` is sparse, for the wire. What is kept of many windows is a dense `Histogram`, whose sums over ranges run at the
speed of C; the latencies of one window are added to it once, and until then stay the `Drawn` sketches that they came as.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import add

import msgspec

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

    def plus(self, other: "Histogram") -> "Histogram":
        """The counts of both."""
        if not other.counts:
            return self if not other.zero else Histogram(self.base, self.counts, self.zero + other.zero)
        if not self.counts:
            return other if not self.zero else Histogram(other.base, other.counts, self.zero + other.zero)
        base = min(self.base, other.base)
        end = max(self.base + len(self.counts), other.base + len(other.counts))
        return Histogram(base, tuple(map(add, self._padded(base, end), other._padded(base, end))), self.zero + other.zero)

    def with_sketches(self, sketches: Sequence[Sketch]) -> "Histogram":
        """The counts with all that went into the sketches."""
        zero, filled = self.zero, [sketch for sketch in sketches if sketch.indices]
        for sketch in sketches:
            zero += sketch.zero
        if not filled:
            return Histogram(self.base, self.counts, zero) if zero != self.zero else self
        first, last = filled[0].indices[0], filled[0].indices[-1]
        for sketch in filled[1:]:
            first, last = min(first, sketch.indices[0]), max(last, sketch.indices[-1])
        if self.counts:
            first, last = min(self.base, first), max(self.base + len(self.counts) - 1, last)
        counts = list(self._padded(first, last + 1)) if self.counts else [0] * (last + 1 - first)
        for sketch in filled:
            for index, count in zip(sketch.indices, sketch.counts, strict=True):
                counts[index - first] += count
        return Histogram(first, tuple(counts), zero)

    def quantiles_ms(self, quantiles: tuple[float, ...]) -> list[float | None]:
        """The quantiles in milliseconds; None where there is nothing, or a quantile is outside [0, 1)."""
        return Ranks(self).quantiles_ms(quantiles)

    def last_bucket_below(self, wanted: float) -> int | None:
        """The highest bucket with at least ``wanted`` durations above it; None where only zero and the lowest bucket are left."""
        above = 0
        for index in range(len(self.counts) - 1, -1, -1):
            above += self.counts[index]
            if above >= wanted:
                return self.base + index - 1
        return None

    def _padded(self, base: int, end: int) -> tuple[int, ...]:
        return (0,) * (self.base - base) + self.counts + (0,) * (end - self.base - len(self.counts))


NOTHING = Histogram()


class Ranks:
    """A histogram with its counts added up once, to read any number of quantiles from."""

    __slots__ = ("_base", "_reached", "total")

    def __init__(self, histogram: Histogram) -> None:
        self._base = histogram.base
        self._reached = list(accumulate(histogram.counts, initial=histogram.zero))
        self.total = self._reached[-1]

    def quantiles_ms(self, quantiles: Iterable[float]) -> list[float | None]:
        """As `Histogram.quantiles_ms`."""
        last, reached, found = self.total - 1, self._reached, list[float | None]()
        for q in quantiles:
            place = bisect_right(reached, q * last) if last >= 0 and 0.0 <= q < 1.0 else None
            found.append(None if place is None else 0.0 if place == 0 else _value_of(self._base + place - 1) / 1000.0)
        return found


class Drawn:
    """The latencies of an arm in one window, as the sketches that they came as; added up first, then read."""

    __slots__ = ("_total", "sketches")

    def __init__(self) -> None:
        self.sketches: list[Sketch] = []
        self._total = -1

    @property
    def counted(self) -> bool:
        """Whether there is any latency above zero."""
        return bool(self.sketches) and (bool(self.sketches[0].indices) or any(sketch.indices for sketch in self.sketches))

    @property
    def total(self) -> int:
        """How many durations."""
        if self._total < 0:
            self._total = 0
            for sketch in self.sketches:
                self._total += sketch.zero + sum(sketch.counts)
        return self._total

    def above(self, bucket: int) -> float:
        """How many durations lie above a bucket."""
        above = 0
        for sketch in self.sketches:
            above += sum(sketch.counts[bisect_right(sketch.indices, bucket) :])
        return float(above)

    def histogram(self) -> Histogram:
        """All of them as one dense row."""
        return NOTHING.with_sketches(self.sketches)
