"""Durations in whole microseconds, counted by the buckets of a sketch."""

from bisect import bisect_right

from ctrlplane_stream.model.sketch import EMPTY, Sketch, bucket_index, merge

ZERO = -(1 << 30)
"""Stands for "zero or less" among the buckets."""

LONGEST_US = (1 << 53) - 1
"""The longest duration in microseconds; longer ones are taken for it (285 years)."""


def _first_durations() -> list[int]:
    """For each bucket from 0 on, the smallest whole number of microseconds that falls into it or a later one."""
    bounds = []
    for index in range(53 * 32):
        guess = max(2, int(2.0 ** (index / 32)))
        while guess > 2 and bucket_index(guess - 1) >= index:
            guess -= 1
        while bucket_index(guess) < index:
            guess += 1
        bounds.append(guess)
    return bounds


FIRST_DURATIONS = _first_durations()


def bucket(duration_us: int) -> int:
    """The sketch bucket of a whole number of microseconds, or ZERO; the same as ``model.sketch`` gives, without a logarithm."""
    return bisect_right(FIRST_DURATIONS, duration_us) - 1 if duration_us > 0 else ZERO


class Counts(dict[int, int]):
    """Durations counted by bucket, one by one; and those that were counted all at once, ``whole``."""

    whole: Sketch = EMPTY

    def count(self, duration_us: int) -> None:
        """Count one duration."""
        index = bucket(duration_us)
        self[index] = self.get(index, 0) + 1

    def put(self, sketch: Sketch) -> None:
        """Add durations that were counted at once."""
        self.whole = sketch if self.whole is EMPTY else merge((self.whole, sketch))


def sketch_of(counts: Counts) -> Sketch:
    """The sketch that these counts make."""
    if not counts:
        return counts.whole
    indices = sorted(counts)[1:] if ZERO in counts else sorted(counts)
    found = Sketch(tuple(indices), tuple(map(counts.__getitem__, indices)), counts.get(ZERO, 0))
    return found if counts.whole is EMPTY else merge((counts.whole, found))


def add_counts(into: Counts, counts: Counts) -> None:
    """Add counts by bucket to others."""
    for index, count in counts.items():
        into[index] = into.get(index, 0) + count
    if counts.whole is not EMPTY:
        into.put(counts.whole)
