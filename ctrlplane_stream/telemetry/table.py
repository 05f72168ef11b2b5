"""The dependency table of one environment: adds up windows, and says what changed.

It is fed the records of ``telemetry-windows`` in order and moves in steps: when all ``span-halves`` partitions have closed a
window, that window and everything late that has come are added at once, and what changed is said: edges and services that
appeared or changed their share class, edges that faded, arrivals, and a digest of everything from time to time. An edge ages
by the windows in which its *caller* was heard of and did not use it, never by silence.

State is kept in shards, each with the step it includes, so that a crash between two writes does no harm: publish what
:meth:`DependencyTable.feed` returned, then write :meth:`DependencyTable.dirty` in order, the head last, and await them.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from ctrlplane_stream.model.facts import ArrivalsObserved, EdgeSeen, EdgesFaded, EdgesObserved, ServiceSeen
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKey
from ctrlplane_stream.model.windows import Closed, EdgeWindow, ServiceWindow, WindowPart, WindowRecord
from ctrlplane_stream.telemetry.edge_records import EdgeRecord, ServiceRecord, share_class
from ctrlplane_stream.telemetry.heard import Partitions
from ctrlplane_stream.telemetry.table_records import Head, Shard, TableRecord, shard_of
from ctrlplane_stream.telemetry.telling import few_enough, in_records
from ctrlplane_stream.wire.packing import packed

TableFact = EdgesObserved | EdgesFaded | ArrivalsObserved
_LONGEST_GAP = 10_000
_CHANGE_WINDOWS = 6
"""For so many windows after a version was last met another one is news: the arrivals of both are told."""
T = TypeVar("T")


class TableSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a dependency table; lengths are in windows."""

    partitions: int = 8
    """``span-halves`` partitions that must close a window before it counts."""
    window_seconds: int = 10
    fade_windows: int = 60_480
    """Windows of the caller without the edge after which it fades. A week at 10 s: weekly jobs are dependencies too."""
    digest_windows: int = 30
    """Windows between digests. Five minutes at 10 s: the engine's counts and rates are never older than that."""
    half_life_windows: float = 30.0
    """Half-life of "lately". Five minutes at 10 s."""
    shards: int = 256
    """Records that the state is spread over. A caller and all its edges share one."""


class Change(msgspec.Struct):
    """What a step has found so far."""

    edges: dict[str, EdgeSeen] = msgspec.field(default_factory=dict)
    services: dict[str, ServiceSeen] = msgspec.field(default_factory=dict)
    faded: list[EdgeKey] = msgspec.field(default_factory=list)
    arrivals: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)


class DependencyTable:
    """See the module. ``in_motion`` may be set at any time: the services that we move; their arrivals are told, window by window."""

    def __init__(self, environment: str, settings: TableSettings) -> None:
        self.environment = environment
        self.in_motion: frozenset[str] = frozenset()
        self.fade_windows = settings.fade_windows
        self._settings = settings
        self._head = Head()
        self._shards: dict[int, Shard] = {}
        self._dirty: set[int] = set()
        self._read = Partitions({})
        self._parts: list[tuple[int, WindowPart]] = []
        self._stepped = False

    @property
    def restart_offset(self) -> int:
        """The ``telemetry-windows`` offset to begin reading at."""
        return self._head.restart

    def edges(self) -> Iterator[EdgeRecord]:
        """Every edge, by shard and name."""
        for number in sorted(self._shards):
            edges = self._shards[number].edges
            yield from (edges[name] for name in sorted(edges))

    def services(self) -> Iterator[ServiceRecord]:
        """Every service, by shard and name."""
        for number in sorted(self._shards):
            services = self._shards[number].services
            yield from (services[name] for name in sorted(services))

    def feed(self, offset: int, record: WindowRecord) -> list[TableFact]:
        """Take in a record of this environment; returns the facts to publish, in order.

        Offsets ascend. A part that was read before (its partition emitted it twice) is dropped.
        """
        if record.environment != self.environment:
            raise ValueError(f"a record of {record.environment} was fed to the table of {self.environment}")
        if isinstance(record, Closed):
            self._read.close(record)
            return self._steps(offset)
        if self._read.is_new(record) and not (record.part == 0 and any(_is_again(record, part) for _, part in self._parts)):
            self._parts.append((offset, record))
        return []

    def _steps(self, offset: int) -> list[TableFact]:
        frontier = self._read.closed_by_all(self._settings.partitions)
        if frontier is None or (self._head.step is not None and frontier <= self._head.step):
            return []
        seconds = self._settings.window_seconds
        first = frontier
        if self._head.step is not None:
            first = max(self._head.step + seconds, frontier - _LONGEST_GAP * seconds)
        facts: list[TableFact] = []
        for window in range(first, frontier + 1, seconds):
            facts.extend(self._step(window))
        self._head.restart = min((at for at, _ in self._parts), default=offset + 1)
        self._head.progress = self._read.taken(frontier, (part for _, part in self._parts))
        return facts

    def _step(self, window: int) -> list[TableFact]:
        parts = [part for _, part in self._parts if part.window <= window]
        self._parts = [(at, part) for at, part in self._parts if part.window > window]
        change = Change()
        for number, (edges, services) in _by_shard(parts, self._settings.shards).items():
            shard = self._shards.setdefault(number, Shard())
            if shard.step < window:
                shard.step = window
                self._dirty.add(number)
                self._add(shard, window, edges, services, change)
        self._head.step = window
        self._stepped = True
        return self._facts(window, parts, change)

    def _add(
        self, shard: Shard, window: int, edges: list[tuple[int, EdgeWindow]], services: list[tuple[int, ServiceWindow]], change: Change
    ) -> None:
        callers = self._add_services(shard, window, edges, services, change)
        calls: dict[str, int] = {}
        for at, row in edges:
            key = EdgeKey(row.caller, row.callee, row.kind)
            record = shard.edges.get(str(key))
            if record is None:
                record = shard.edges[str(key)] = EdgeRecord(key, at, at)
            record.add(row, at)
            calls[str(key)] = calls.get(str(key), 0) + row.calls
        for name, count in calls.items():
            self._weigh(shard, shard.edges[name], count, window, change)
        for caller in sorted(callers):
            self._age(shard, shard.services[caller], change)

    def _add_services(
        self, shard: Shard, window: int, edges: list[tuple[int, EdgeWindow]], services: list[tuple[int, ServiceWindow]], change: Change
    ) -> dict[str, list[int]]:
        """Add arrivals and departures; returns [requests, roots, calls out] of every service heard of as a caller or callee."""
        heard: dict[str, list[int]] = {}
        news: dict[str, None] = {}
        for at, arrival in services:
            record = self._service(shard, arrival.service, at, news)
            if record.add(arrival, at):
                news[arrival.service] = None
            sums = heard.setdefault(arrival.service, [0, 0, 0])
            sums[0] += arrival.requests
            sums[1] += arrival.roots
        for at, edge in edges:
            record = self._service(shard, edge.caller, at, news)
            record.last_window = max(record.last_window, at)
            heard.setdefault(edge.caller, [0, 0, 0])[2] += edge.calls
        seconds, half_life = self._settings.window_seconds, self._settings.half_life_windows
        for name, (requests, roots, out) in heard.items():
            record = shard.services[name]
            record.reported += 1
            record.requests.add(requests, window, seconds, half_life)
            record.roots.add(roots, window, seconds, half_life)
            record.calls_out.add(out, window, seconds, half_life)
        for name in news:
            change.services[name] = shard.services[name].seen(window, seconds, half_life)
        return heard

    def _service(self, shard: Shard, name: str, at: int, news: dict[str, None]) -> ServiceRecord:
        record = shard.services.get(name)
        if record is None:
            record = shard.services[name] = ServiceRecord(name, at)
            news[name] = None
        return record

    def _weigh(self, shard: Shard, record: EdgeRecord, calls: int, window: int, change: Change) -> None:
        """Bring an edge that was seen up to date, and say so where it is new or its share class is."""
        seconds, half_life = self._settings.window_seconds, self._settings.half_life_windows
        caller = shard.services[record.edge.caller]
        record.lately.add(calls, window, seconds, half_life)
        record.reported_at_last = caller.reported
        out = caller.calls_out.at(window, seconds, half_life)
        before = record.share_class
        record.share_class = share_class(record.lately.at(window, seconds, half_life) / out if out > 0 else 1.0, before)
        if record.share_class != before:
            change.edges[str(record.edge)] = record.seen(window, seconds, half_life)

    def _age(self, shard: Shard, caller: ServiceRecord, change: Change) -> None:
        limit = self.fade_windows
        own = [(name, record) for name, record in shard.edges.items() if record.edge.caller == caller.service]
        for name in [name for name, record in own if caller.reported - record.reported_at_last >= limit]:
            change.faded.append(shard.edges.pop(name).edge)

    def _facts(self, window: int, parts: list[WindowPart], change: Change) -> list[TableFact]:
        facts: list[TableFact] = []
        if change.edges or change.services:
            facts += in_records(EdgesObserved(window, _ordered(change.edges), _ordered(change.services)))
        if change.faded:
            facts += in_records(EdgesFaded(window, tuple(sorted(change.faded))))
        if told := self._told(window, parts):
            arrivals = few_enough(_arrivals(told, window, parts))
            facts.append(ArrivalsObserved(window, float(self._settings.window_seconds), arrivals))
        if self._head.digest is None or window - self._head.digest >= self._settings.digest_windows * self._settings.window_seconds:
            self._head.digest = window
            facts += in_records(self.digest(window))
        return facts

    def _told(self, window: int, parts: list[WindowPart]) -> frozenset[str]:
        """The services in motion: those that we move, and those where another version came or went lately, whoever did that."""
        heard = {row.service for part in parts if part.window == window for row in part.services}
        return self.in_motion | {service for service in heard if self._changes(service, window)}

    def _changes(self, service: str, window: int) -> bool:
        shard = self._shards.get(zlib.crc32(service.encode()) % self._settings.shards)
        record = shard.services.get(service) if shard is not None else None
        if record is None or len(record.versions) < 2:
            return False
        since = window - _CHANGE_WINDOWS * self._settings.window_seconds
        return sum(last >= since for version, last in record.versions.items() if version != UNKNOWN_VERSION) > 1

    def digest(self, window: int) -> EdgesObserved:
        """Everything the table holds, as a fact as of a window."""
        seconds, half_life = self._settings.window_seconds, self._settings.half_life_windows
        edges = tuple(sorted((record.seen(window, seconds, half_life) for record in self.edges()), key=lambda seen: seen.edge))
        services = tuple(sorted((r.seen(window, seconds, half_life) for r in self.services()), key=lambda seen: seen.service))
        return EdgesObserved(window, edges, services, digest=True)

    def dirty(self) -> list[tuple[str, bytes]]:
        """Names and values of the records to write after a step, the head last; empty where none was made since."""
        if not self._stepped:
            return []
        self._stepped = False
        records = [(f"{self.environment}/{number}", packed(msgspec.json.encode(self._shards[number]))) for number in sorted(self._dirty)]
        self._dirty.clear()
        return [*records, (f"{self.environment}/head", msgspec.json.encode(self._head))]

    def names(self) -> list[str]:
        """The names of all records that there may be of it, the head's last."""
        return [*(f"{self.environment}/{number}" for number in sorted(self._shards)), f"{self.environment}/head"]

    def restore(self, records: Iterable[tuple[str, TableRecord]]) -> None:
        """Take over what ``table_record`` read of the records that :meth:`dirty` gave, the latest of each name, in any order."""
        for name, record in records:
            if isinstance(record, Head):
                self._head = record
                self._read = Partitions(record.progress)
            else:
                self._shards[shard_of(name)] = record


def _arrivals(told: frozenset[str], window: int, parts: list[WindowPart]) -> dict[str, dict[str, int]]:
    arrivals: dict[str, dict[str, int]] = {service: {} for service in sorted(told)}
    for row in (row for part in parts if part.window == window for row in part.services):
        if row.service in arrivals:
            counts = arrivals[row.service]
            counts[row.version] = counts.get(row.version, 0) + row.requests
    return arrivals


def _is_again(part: WindowPart, known: WindowPart) -> bool:
    return part.partition == known.partition and part.name == known.name


def _ordered(found: dict[str, T]) -> tuple[T, ...]:
    return tuple(found[name] for name in sorted(found))


Rows = tuple[list[tuple[int, EdgeWindow]], list[tuple[int, ServiceWindow]]]


def _by_shard(parts: list[WindowPart], shards: int) -> dict[int, Rows]:
    """The rows of some parts by the shard of the caller (edges) or service, each with its window."""
    found: dict[int, Rows] = {}
    for part in parts:
        for edge in part.edges:
            found.setdefault(zlib.crc32(edge.caller.encode()) % shards, ([], []))[0].append((part.window, edge))
        for service in part.services:
            found.setdefault(zlib.crc32(service.service.encode()) % shards, ([], []))[1].append((part.window, service))
    return found
