"""Adds up what pairing finds: per window and environment, the edges, arrivals and exposures, with their sketches.

Everything added is a count of whole numbers, and estimates are summed per distinct weight in ascending order, so that the
result does not depend on the order of adding, to the last bit.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ctrlplane_stream.model.sketch import EMPTY, Sketch, bucket_index, merge
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from ctrlplane_stream.telemetry.written_rows import KINDS, NO_ROWS, EdgeName, WrittenRows

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


@dataclass(slots=True)
class Tally:
    """Spans counted by weight: calls and errors, plain and estimated."""

    by_weight: dict[float, list[int]] = field(default_factory=dict)

    def add(self, calls: int, errors: int, weight: float) -> None:
        """Count ``calls`` spans, ``errors`` of them failed, each standing for ``weight``."""
        found = self.by_weight.setdefault(weight, [0, 0])
        found[0] += calls
        found[1] += errors

    def sums(self) -> tuple[int, int, float, float]:
        """Calls, errors, estimated calls, estimated errors."""
        return sums_of([(weight, calls, errors) for weight, (calls, errors) in self.by_weight.items()])


def sums_of(tallies: Sequence[tuple[float, int, int]]) -> tuple[int, int, float, float]:
    """Calls, errors, estimated calls and estimated errors of (weight, calls, errors) by distinct weight, in any order."""
    if len(tallies) == 1:
        weight, calls, errors = tallies[0]
        return calls, errors, weight * calls, weight * errors
    ordered = sorted(tallies)
    return (
        sum(calls for _, calls, _ in ordered),
        sum(errors for _, _, errors in ordered),
        sum((weight * calls for weight, calls, _ in ordered), 0.0),
        sum((weight * errors for weight, _, errors in ordered), 0.0),
    )


class EdgeSums(msgspec.Struct, frozen=True, gc=False):
    """What one edge between two versions adds up to where it was counted at once: (weight, calls, errors) by weight, and its sketches."""

    tallies: tuple[tuple[float, int, int], ...]
    client: Sketch = EMPTY
    server: Sketch = EMPTY
    gap: Sketch = EMPTY

    def row(self, name: EdgeName) -> EdgeWindow:
        """The row that these sums make."""
        return EdgeWindow(*name, *sums_of(self.tallies), self.client, self.server, self.gap)


@dataclass(slots=True)
class EdgeCounts:
    """What one edge between two versions adds up to, counted one by one."""

    tally: Tally = field(default_factory=Tally)
    client: Counts = field(default_factory=Counts)
    server: Counts = field(default_factory=Counts)
    gap: Counts = field(default_factory=Counts)

    def put(self, sums: EdgeSums) -> None:
        """Add what was counted at once."""
        for weight, calls, errors in sums.tallies:
            self.tally.add(calls, errors, weight)
        self.client.put(sums.client)
        self.server.put(sums.server)
        self.gap.put(sums.gap)

    def row(self, name: EdgeName) -> EdgeWindow:
        """The row that these counts make."""
        return EdgeWindow(*name, *self.tally.sums(), sketch_of(self.client), sketch_of(self.server), sketch_of(self.gap))


@dataclass(slots=True)
class ArrivalCounts:
    """What arrives at one version of a service; ``roots`` of them from outside."""

    tally: Tally = field(default_factory=Tally)
    roots: int = 0
    latency: Counts = field(default_factory=Counts)


@dataclass(slots=True)
class ExposureCounts:
    """Traces that entered at one place and share an exposure."""

    requests: int = 0
    errors: int = 0
    latency: Counts = field(default_factory=Counts)


@dataclass(slots=True)
class WindowFold:
    """One window of one environment. Edges are in ``edges``, or, while nothing else was counted, in ``whole`` or ``written``."""

    edges: dict[EdgeName, EdgeCounts] = field(default_factory=dict)
    whole: dict[EdgeName, EdgeSums] = field(default_factory=dict)
    written: WrittenRows | None = None
    arrivals: dict[tuple[str, str], ArrivalCounts] = field(default_factory=dict)
    exposures: dict[tuple[str, str, str, Exposure], ExposureCounts] = field(default_factory=dict)

    def edge(self, name: EdgeName) -> EdgeCounts:
        """The counts of an edge, made where missing."""
        found = self.edges.get(name)
        if found is None:
            found = self.edges[name] = EdgeCounts()
            if name in self.whole:
                found.put(self.whole.pop(name))
        return found

    def put_edge(self, name: EdgeName, sums: EdgeSums) -> None:
        """Add what was counted of an edge at once."""
        if name in self.edges or name in self.whole:
            self.edge(name).put(sums)
        else:
            self.whole[name] = sums

    def put_rows(self, rows: WrittenRows) -> None:
        """Add rows that were written out."""
        if self.written is None:
            self.written = rows
            return
        for place, name in enumerate(rows.names):
            self.put_edge(name, _sums_of_row(rows, place))

    @property
    def edge_names(self) -> list[EdgeName]:
        """The edges that have counts, other than rows that were written out."""
        return [*self.edges, *self.whole]

    def rename_edge(self, old: EdgeName, new: EdgeName) -> None:
        """Give what was counted of an edge to another."""
        counts, into = self.edge(old), self.edge(new)
        del self.edges[old]
        for weight, (calls, errors) in counts.tally.by_weight.items():
            into.tally.add(calls, errors, weight)
        add_counts(into.client, counts.client)
        add_counts(into.server, counts.server)
        add_counts(into.gap, counts.gap)

    def arrival(self, service: str, version: str) -> ArrivalCounts:
        """The counts of a version of a service, made where missing."""
        found = self.arrivals.get((service, version))
        if found is None:
            found = self.arrivals[service, version] = ArrivalCounts()
        return found

    def exposure(self, entry: str, service: str, version: str, exposure: Exposure) -> ExposureCounts:
        """The counts of an exposure at an entry point, made where missing."""
        return self.exposures.setdefault((entry, service, version, exposure), ExposureCounts())

    def _edge_row(self, name: EdgeName) -> EdgeWindow:
        sums = self.whole.get(name)
        return self.edges[name].row(name) if sums is None else sums.row(name)

    @property
    def pairs(self) -> int:
        """How many calls were seen from both sides."""
        counted = sum(sketch_of(counts.gap).count for counts in self.edges.values()) + sum(sums.gap.count for sums in self.whole.values())
        return counted + (self.written.calls if self.written is not None else 0)

    def part(self, environment: str, partition: int, window: int, part: int) -> WindowPart:
        """The part that these counts make, rows in a fixed order."""
        if self.written is not None:
            return msgspec.json.decode(self.encoded(environment, partition, window, part), type=WindowPart)
        edges = tuple([self._edge_row(name) for name in sorted(self.edge_names)])
        return WindowPart(environment, partition, window, part, edges, *self._rows_but_edges())

    def encoded(self, environment: str, partition: int, window: int, part: int) -> bytes:
        """The part as JSON. To be asked once: it counts rows that were written out with what came for the same edges."""
        head = WindowPart(environment, partition, window, part, msgspec.Raw(self._edges()), *self._rows_but_edges())  # type: ignore[arg-type]
        return msgspec.json.encode(head)

    def _edges(self) -> bytes:
        """The rows of edges in order, as a JSON array."""
        written = self.written or NO_ROWS
        for name in [name for name in self.edge_names if name[2] in KINDS]:
            place = written.find(name)
            if place is not None:
                self.edge(name).put(_sums_of_row(written, place))
        rows = [(name, msgspec.json.encode(self._edge_row(name))) for name in sorted(self.edge_names)]
        return b"[" + written.with_rows(rows)[:-1] + b"]"

    def _rows_but_edges(self) -> tuple[tuple[ServiceWindow, ...], tuple[ExposureWindow, ...]]:
        return (
            tuple(_service_window(name, self.arrivals[name]) for name in sorted(self.arrivals)),
            tuple(
                ExposureWindow(*name, counts.requests, counts.errors, sketch_of(counts.latency))
                for name, counts in sorted(self.exposures.items(), key=lambda item: item[0])
            ),
        )


def _sums_of_row(rows: WrittenRows, place: int) -> EdgeSums:
    row = rows.read(place)
    return EdgeSums(tuple(rows.tallies(place)), row.client, row.server, row.gap)


def _service_window(name: tuple[str, str], counts: ArrivalCounts) -> ServiceWindow:
    calls, errors, estimated, _ = counts.tally.sums()
    return ServiceWindow(*name, calls, errors, estimated, counts.roots, sketch_of(counts.latency))


class Fold:
    """Windows of all environments that are being added to."""

    def __init__(self) -> None:
        self._windows: dict[tuple[int, str], WindowFold] = {}

    def at(self, window: int, environment: str) -> WindowFold:
        """The fold of a window in an environment, made where missing."""
        found = self._windows.get((window, environment))
        if found is None:
            found = self._windows[window, environment] = WindowFold()
        return found

    def drain(self, window: int | None = None) -> list[tuple[int, str, WindowFold]]:
        """Everything added since the last time, of one window or of all, by window and environment."""
        keys = sorted(key for key in self._windows if window is None or key[0] == window)
        return [(*key, self._windows.pop(key)) for key in keys]
