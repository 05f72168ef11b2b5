"""Batches of halves that were taken in and not looked at yet: what is in them counts once a window closes."""

from collections import Counter

from ctrlplane_stream.telemetry.batches import Batch
from ctrlplane_stream.telemetry.pairing import count_redelivered
from ctrlplane_stream.telemetry.reasons import Skip

Arrived = tuple[int, int, Batch]
"""(offset of the record, the first row that was not counted before, batch)."""


class Arrivals:
    """Batches in the order they came; ``rows`` is how many halves of them count."""

    def __init__(self) -> None:
        self.rows = 0
        self._batches: list[Arrived] = []

    def add(self, batch: Batch, offset: int, first: int, skipped: Counter[Skip]) -> bool:
        """Take in the rows from the ``first`` on, count the others as redelivered; whether there were any to take in."""
        if first:
            count_redelivered(skipped, batch, first)
        if first == batch.rows:
            return False
        self._batches.append((offset, first, batch))
        self.rows += batch.rows - first
        return True

    def oldest_offset(self) -> int | None:
        """The record that the first of them came from, or None."""
        return self._batches[0][0] if self._batches else None

    def taken(self) -> list[Arrived]:
        """All of them, which are not held here any more."""
        taken, self._batches, self.rows = self._batches, [], 0
        return taken
