"""What the dependency table keeps of an edge and of a service, and how a window's rows are added to it.

Rates are exponentially weighted over windows, forward decay by half-life, brought up to date only when touched, so that a
window costs what it holds and not what the table holds.
"""

from typing import Annotated

import msgspec

from ctrlplane_stream.model.facts import EdgeSeen, ServiceSeen
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.sketch import EMPTY, Sketch, merge
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow

_MOST_PAIRS = 32
_CLASS_BOUNDS = (0.001, 0.01, 0.1)
_HYSTERESIS = 1.5


class Lately(msgspec.Struct):
    """A count per window, smoothed: ``per_window`` as of ``window``."""

    per_window: float = 0.0
    window: int | None = None

    def at(self, window: int, window_seconds: int, half_life_windows: float) -> float:
        """The smoothed count as of a window, nothing having come since."""
        if self.window is None or window <= self.window:
            return self.per_window
        return float(self.per_window * 0.5 ** ((window - self.window) / window_seconds / half_life_windows))

    def add(self, count: int, window: int, window_seconds: int, half_life_windows: float) -> None:
        """Count what came in a window; the first window counts in full."""
        if self.window is None:
            self.per_window, self.window = float(count), window
            return
        fresh = 1.0 - 0.5 ** (1.0 / half_life_windows)
        self.per_window = self.at(window, window_seconds, half_life_windows) + fresh * count
        self.window = max(window, self.window)


class VersionPair(msgspec.Struct):
    """Calls between a version of the caller and one of the callee, ever, and when they were last seen together."""

    caller_version: str
    callee_version: str
    calls: int = 0
    errors: int = 0
    first_window: int = 0
    last_window: int = 0


class EdgeRecord(msgspec.Struct):
    """An edge. ``reported_at_last`` is the caller's count of reporting windows when the edge was last seen."""

    edge: EdgeKey
    first_window: int
    last_window: int
    calls: int = 0
    errors: int = 0
    estimated_calls: float = 0.0
    lately: Lately = msgspec.field(default_factory=Lately)
    client: Sketch = EMPTY
    server: Sketch = EMPTY
    gap: Sketch = EMPTY
    pairs: list[VersionPair] = msgspec.field(default_factory=list)
    reported_at_last: int = 0
    share_class: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def add(self, row: EdgeWindow, window: int) -> None:
        """Add a window's row of this edge."""
        self.first_window = min(self.first_window, window)
        self.last_window = max(self.last_window, window)
        self.calls += row.calls
        self.errors += row.errors
        self.estimated_calls += row.estimated_calls
        self.client = merge((self.client, row.client))
        self.server = merge((self.server, row.server))
        self.gap = merge((self.gap, row.gap))
        pair = self._pair(row.caller_version, row.callee_version, window)
        pair.calls += row.calls
        pair.errors += row.errors
        pair.first_window = min(pair.first_window, window)
        pair.last_window = max(pair.last_window, window)

    def _pair(self, caller_version: str, callee_version: str, window: int) -> VersionPair:
        for pair in self.pairs:
            if pair.caller_version == caller_version and pair.callee_version == callee_version:
                return pair
        if len(self.pairs) >= _MOST_PAIRS:
            self.pairs.remove(min(self.pairs, key=lambda pair: (pair.last_window, pair.caller_version, pair.callee_version)))
        pair = VersionPair(caller_version, callee_version, first_window=window, last_window=window)
        self.pairs.append(pair)
        return pair

    def seen(self, window: int, window_seconds: int, half_life_windows: float) -> EdgeSeen:
        """The edge as a fact has it, as of a window."""
        rate = self.lately.at(window, window_seconds, half_life_windows) / window_seconds
        return EdgeSeen(self.edge, self.first_window, self.last_window, self.calls, rate)


class ServiceRecord(msgspec.Struct):
    """A service. ``reported`` counts the windows in which it was heard of at all; ``versions`` last sightings by label."""

    service: str
    last_window: int
    reported: int = 0
    requests: Lately = msgspec.field(default_factory=Lately)
    roots: Lately = msgspec.field(default_factory=Lately)
    calls_out: Lately = msgspec.field(default_factory=Lately)
    versions: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, row: ServiceWindow, window: int) -> bool:
        """Add a window's row; True where its version was not known."""
        self.last_window = max(self.last_window, window)
        fresh = row.version not in self.versions
        self.versions[row.version] = max(window, self.versions.get(row.version, window))
        if len(self.versions) > _MOST_PAIRS:
            del self.versions[min(self.versions, key=lambda version: (self.versions[version], version))]
        return fresh

    def seen(self, window: int, window_seconds: int, half_life_windows: float) -> ServiceSeen:
        """The service as a fact has it, as of a window."""
        requests = self.requests.at(window, window_seconds, half_life_windows) / window_seconds
        roots = self.roots.at(window, window_seconds, half_life_windows) / window_seconds
        return ServiceSeen(self.service, self.last_window, requests, roots, tuple(sorted(self.versions)))


def share_class(share: float, before: int | None) -> int:
    """The class of an edge's share of its caller's calls: below 0.1 %, 1 %, 10 %, or above (0 to 3).

    It leaves ``before`` only where the share is past the bound by half, so that a share near a bound does not flutter.
    """
    fresh = sum(share >= bound for bound in _CLASS_BOUNDS)
    if before is None or fresh == before:
        return fresh
    bound = _CLASS_BOUNDS[before] if fresh > before else _CLASS_BOUNDS[before - 1]
    passed = share >= bound * _HYSTERESIS if fresh > before else share < bound / _HYSTERESIS
    return fresh if passed else before
