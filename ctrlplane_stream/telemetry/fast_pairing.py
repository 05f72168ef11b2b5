"""What both fast ways of pairing have in common, by columns and in C: when things are done, and what is held.

Halves wait until their window closes. Traces of usual shape are then settled together and kept for the pairing time, in case something
comes to them later; all others go to the reference. How halves are kept and settled is the part of each way.
"""

from abc import ABC, abstractmethod
from collections import Counter
from typing import Generic, Protocol, TypeVar

from ctrlplane_stream.telemetry.arrivals import Arrivals
from ctrlplane_stream.telemetry.batches import Batch
from ctrlplane_stream.telemetry.bounding import Bounds
from ctrlplane_stream.telemetry.exposures import Watched
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half_columns import Tables
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.pairing import Fresh, ReferencePairing
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings


class Kept(Protocol):
    """Traces that were settled the fast way when ``window`` closed; ``opens`` is how many of their callers are still to be settled."""

    @property
    def window(self) -> int: ...

    @property
    def asked_again(self) -> bool:
        """Whether those whose answer may have ended after their window were asked after once more."""
        ...

    @property
    def first_offset(self) -> int: ...

    @property
    def opens(self) -> int: ...

    def __len__(self) -> int:
        """Halves in memory."""
        ...


KeptT = TypeVar("KeptT", bound=Kept)


class FastPairing(ABC, Generic[KeptT]):
    """A :class:`~ctrlplane_stream.telemetry.pair.Pairing`."""

    def __init__(self, settings: SpanSettings, peers: KnownPeers, least_rows: int, most_values: int) -> None:
        """Where fewer than ``least_rows`` become visible, the reference takes them all: it is as fast with few.

        Beyond ``most_values`` origins and peers those that no half in memory has are forgotten: callers that speak to ever new addresses
        must not fill it.
        """
        self._settings = settings
        self._least_rows = least_rows
        self._peers = peers
        self._slow = ReferencePairing(settings, peers)
        self._bounds = Bounds(settings, self._slow)
        self._tables = Tables()
        self._most_values = self._forget_values_at = most_values
        self._arrivals = Arrivals()
        self._kept: list[KeptT] = []

    @property
    def skipped(self) -> Counter[Skip]:
        """Spans without an edge of their own, by reason."""
        return self._slow.skipped

    @property
    def held(self) -> int:
        """Halves in memory."""
        return self._arrivals.rows + self._waiting_rows() + sum(map(len, self._kept)) + self._slow.held

    def oldest_offset(self) -> int | None:
        """The oldest record that a half in memory came from, or None where nothing is held."""
        found = [self._slow.oldest_offset(), self._arrivals.oldest_offset(), self._oldest_waiting()]
        return min((offset for offset in (*found, *(kept.first_offset for kept in self._kept)) if offset is not None), default=None)

    def add(self, batch: Batch, offset: int, first: int, line: int | None) -> None:
        """Take in the rows of a batch from the ``first`` on; they are looked at when a window closes."""
        if self._arrivals.add(batch, offset, first, self.skipped):
            self._evict()

    def close(self, window: int, fold: Fold, watched: Watched) -> None:
        """Settle what becomes visible with this window, and what came late, into ``fold``; then forget silent traces."""
        fresh = self._settle_before((window * 1000 + self._settings.window_ms) * 1000, window, fold, watched)
        self._slow.settle_awaited(window, fold)
        self._slow.decide(fresh, window, fold, watched)
        for kept in self._kept:
            if kept.window < window and not kept.asked_again:
                self._settle_awaited(kept, window, fold)
        line_ms = window * 1000 + self._settings.window_ms
        while self._kept and self._kept[0].window * 1000 + self._settings.window_ms + self._settings.pairing_ms <= line_ms:
            self._settle_last(self._kept.pop(0), window, fold)
        self._slow.forget(window, fold, watched)
        if self._tables.size > self._forget_values_at:
            old, self._tables = self._tables, Tables()
            self._renumber(old)
            self._forget_values_at = max(self._most_values, 2 * self._tables.size)

    def _evict(self) -> None:
        """Give up the oldest halves beyond the cap: settled traces first, then what arrived first."""
        surplus = self.held - self._settings.max_halves
        while surplus > 0 and self._kept:
            oldest = self._kept.pop(0)
            self.skipped[Skip.EVICTED] += oldest.opens
            surplus -= len(oldest)
        if surplus > 0:
            surplus -= self._slow.evict(surplus)
        if surplus > 0:
            self._drop_waiting(surplus)

    @property
    @abstractmethod
    def windows(self) -> list[int]:
        """Windows that hold halves and have not been closed, ascending."""

    @abstractmethod
    def _waiting_rows(self) -> int:
        """How many halves wait, other than those that nobody looked at."""

    @abstractmethod
    def _oldest_waiting(self) -> int | None:
        """The record that the first of them came from."""

    @abstractmethod
    def _settle_before(self, end_us: int, window: int, fold: Fold, watched: Watched) -> Fresh:
        """Settle and keep what ended before a time; returns what went to the reference."""

    @abstractmethod
    def _settle_awaited(self, kept: KeptT, window: int, fold: Fold) -> None:
        """Settle the callers whose answer was waited for past the end of their window."""

    @abstractmethod
    def _settle_last(self, kept: KeptT, window: int, fold: Fold) -> None:
        """Settle the callers of traces that were silent for the pairing time; they are dropped then."""

    @abstractmethod
    def _drop_waiting(self, many: int) -> None:
        """Give up so many of those that wait, the first that arrived first, and count them as evicted."""

    @abstractmethod
    def _renumber(self, old: Tables) -> None:
        """Give the halves in memory numbers of the new tables in place of those of ``old``."""
