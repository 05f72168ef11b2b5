"""Adds up what pairing finds: per window and environment, the edges, arrivals and exposures, with their sketches.

Everything added is a count of whole numbers, and estimates are summed per distinct weight in ascending order, so that the
result does not depend on the order of adding, to the last bit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.sketch import EMPTY, Sketch
from ctrlplane_stream.model.sums import in_order
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from ctrlplane_stream.telemetry.durations import Counts, add_counts, sketch_of
from ctrlplane_stream.telemetry.written_rows import NO_EDGES, NO_SERVICES, EdgeName, ServiceName, WrittenRows, array_of


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
        in_order(weight * calls for weight, calls, _ in ordered),
        in_order(weight * errors for weight, _, errors in ordered),
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
    """One window of one environment. Counts are by name, or, while nothing else was counted, in ``whole``, ``written``, ``arrived``."""

    edges: dict[EdgeName, EdgeCounts] = field(default_factory=dict)
    whole: dict[EdgeName, EdgeSums] = field(default_factory=dict)
    written: WrittenRows[EdgeName] = NO_EDGES
    renamed: set[int] = field(default_factory=set)
    """Places of rows in ``written`` that do not count: what was counted of them has another name."""
    arrivals: dict[ServiceName, ArrivalCounts] = field(default_factory=dict)
    arrived: WrittenRows[ServiceName] = NO_SERVICES
    exposures: dict[tuple[str, str, str, Exposure, bool], ExposureCounts] = field(default_factory=dict)

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

    def put_rows(self, rows: WrittenRows[EdgeName]) -> None:
        """Add edges that were written out."""
        if self.written is NO_EDGES:
            self.written = rows
            return
        for place, name in enumerate(rows.names):
            self.put_edge(name, _edge_sums(rows, place))

    def put_arrivals(self, rows: WrittenRows[ServiceName]) -> None:
        """Add arrivals that were written out."""
        if self.arrived is NO_SERVICES:
            self.arrived = rows
            return
        for place, name in enumerate(rows.names):
            _add_arrivals(self.arrival(*name), rows, place)

    def callees_of(self, kinds: Collection[EdgeKind]) -> set[str]:
        """Whom edges of some kinds lead to, none of which a service of ours answers."""
        return {name[1] for name in (*self.edges, *self.whole) if name[2] in kinds} | self.written.open_to

    def edges_to(self, callees: Collection[str], kinds: Collection[EdgeKind]) -> list[EdgeName]:
        """The edges of some kinds, none of which a service of ours answers, to some callees."""
        written = (self.written.names[place] for place in self.written.open)
        return list(dict.fromkeys(name for name in (*self.edges, *self.whole, *written) if name[2] in kinds and name[1] in callees))

    def rename_edge(self, old: EdgeName, new: EdgeName) -> None:
        """Give what was counted of an edge to another."""
        counts, into = self.edge(old), self.edge(new)
        place = self._place(old)
        if place is not None:
            counts.put(_edge_sums(self.written, place))
            self.renamed.add(place)
        del self.edges[old]
        for weight, (calls, errors) in counts.tally.by_weight.items():
            into.tally.add(calls, errors, weight)
        add_counts(into.client, counts.client)
        add_counts(into.server, counts.server)
        add_counts(into.gap, counts.gap)

    def _place(self, name: EdgeName) -> int | None:
        place = self.written.find(name)
        return None if place in self.renamed else place

    def arrival(self, service: str, version: str) -> ArrivalCounts:
        """The counts of a version of a service, made where missing."""
        found = self.arrivals.get((service, version))
        if found is None:
            found = self.arrivals[service, version] = ArrivalCounts()
        return found

    def exposure(self, entry: str, service: str, version: str, exposure: Exposure, elsewhere: bool) -> ExposureCounts:
        """The counts of an exposure at an entry point, made where missing."""
        return self.exposures.setdefault((entry, service, version, exposure, elsewhere), ExposureCounts())

    @property
    def pairs(self) -> int:
        """How many calls were seen from both sides."""
        counted = sum(sketch_of(counts.gap).count for counts in self.edges.values()) + sum(sums.gap.count for sums in self.whole.values())
        return counted + self.written.calls

    def part(self, environment: str, partition: int, window: int, part: int) -> WindowPart:
        """The part that these counts make, rows in a fixed order."""
        if self.written is NO_EDGES and self.arrived is NO_SERVICES:
            edges = tuple(self._edge_row(name) for name in self._edge_names())
            services = tuple(_service_row(name, self.arrivals[name]) for name in sorted(self.arrivals))
            return WindowPart(environment, partition, window, part, edges, services, self._exposure_rows())
        return msgspec.json.decode(self.encoded(environment, partition, window, part), type=WindowPart)

    def encoded(self, environment: str, partition: int, window: int, part: int) -> bytes:
        """The part as JSON. To be asked once: it counts rows that were written out with what came for the same names."""
        head = msgspec.json.encode(WindowPart(environment, partition, window, part)).removesuffix(_WITHOUT_ROWS)
        exposures = msgspec.json.encode(self._exposure_rows())
        parts = b'"edges":', *self._edges(), b',"services":', *self._services(), b',"exposures":', exposures, _AFTER_ROWS
        return b"".join((head, *parts))

    def _edge_names(self) -> list[EdgeName]:
        return sorted((*self.edges, *self.whole))

    def _edge_row(self, name: EdgeName) -> EdgeWindow:
        sums = self.whole.get(name)
        return self.edges[name].row(name) if sums is None else sums.row(name)

    def _edges(self) -> Sequence[bytes | memoryview]:
        for name in self._edge_names() if self.written.names else ():
            place = self._place(name)
            if place is not None:
                self.edge(name).put(_edge_sums(self.written, place))
        rows = [(name, msgspec.json.encode(self._edge_row(name))) for name in self._edge_names()]
        return array_of(self.written.with_rows(rows, self.renamed))

    def _services(self) -> Sequence[bytes | memoryview]:
        for name, counts in self.arrivals.items():
            place = self.arrived.find(name)
            if place is not None:
                _add_arrivals(counts, self.arrived, place)
        rows = [(name, msgspec.json.encode(_service_row(name, self.arrivals[name]))) for name in sorted(self.arrivals)]
        return array_of(self.arrived.with_rows(rows))

    def _exposure_rows(self) -> tuple[ExposureWindow, ...]:
        return tuple(
            ExposureWindow(entry, service, version, exposure, counts.requests, counts.errors, sketch_of(counts.latency), elsewhere)
            for (entry, service, version, exposure, elsewhere), counts in sorted(self.exposures.items(), key=lambda item: item[0])
        )


_AFTER_ROWS = b',"piece":0}'
_WITHOUT_ROWS = b'"edges":[],"services":[],"exposures":[]' + _AFTER_ROWS


def _edge_sums(rows: WrittenRows[EdgeName], place: int) -> EdgeSums:
    row = rows.read(place, EdgeWindow)
    return EdgeSums(tuple(rows.tallies(place)), row.client, row.server, row.gap)


def _add_arrivals(into: ArrivalCounts, rows: WrittenRows[ServiceName], place: int) -> None:
    row = rows.read(place, ServiceWindow)
    for weight, calls, errors in rows.tallies(place):
        into.tally.add(calls, errors, weight)
    into.roots += row.roots
    into.latency.put(row.latency)


def _service_row(name: ServiceName, counts: ArrivalCounts) -> ServiceWindow:
    requests, errors, estimated, estimated_errors = counts.tally.sums()
    return ServiceWindow(*name, requests, errors, estimated, counts.roots, sketch_of(counts.latency), estimated_errors)


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
