"""The second stage, for one partition of ``span-halves``: records in partition order in, parts of windows out.

Windows close by the records read, never by a clock: a window closes when every source partition has a watermark past its
end and the allowed lateness. So reading the partition again gives the same output, and a partition that is late is seen
to be late, not empty.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.telemetry.batches import Batch, HalvesRecord, Watch, Watermark
from ctrlplane_stream.telemetry.checkpoint import Checkpoint, Mark, SourceState
from ctrlplane_stream.telemetry.environments import Environments
from ctrlplane_stream.telemetry.exposures import Watched
from ctrlplane_stream.telemetry.folding import Fold, WindowFold
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.names import Names
from ctrlplane_stream.telemetry.pairing import ReferencePairing
from ctrlplane_stream.telemetry.pieces import in_pieces
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings

_ALWAYS = 1 << 62
_LONGEST_GAP = 10_000
"""Empty windows that are closed one by one after an outage; what lies further back is passed over."""


class Pairing(Protocol):
    """A way to hold halves and settle them window by window: the reference's or the columnar one."""

    @property
    def skipped(self) -> Counter[Skip]:
        """Spans without an edge of their own, by reason."""
        ...

    @property
    def held(self) -> int:
        """Halves in memory."""
        ...

    @property
    def windows(self) -> list[int]:
        """Windows that hold halves which are not visible yet, ascending; late ones may be among them."""
        ...

    def oldest_offset(self) -> int | None:
        """The oldest record that a half in memory came from."""
        ...

    def add(self, batch: Batch, offset: int, first: int, line: int | None) -> None:
        """Take in the rows of a batch from the ``first`` on; the others came before."""
        ...

    def close(self, window: int, fold: Fold, watched: Watched) -> None:
        """Settle a window and what came late."""
        ...


class Published(msgspec.Struct, frozen=True):
    """A record of ``telemetry-windows``, as it is written; ``pairs`` is how many calls it counts that were seen from both sides."""

    environment: str
    value: bytes
    pairs: int = 0


class _Part(NamedTuple):
    """A part of a window, and what names it."""

    fold: WindowFold
    environment: str
    partition: int
    window: int
    number: int

    def part(self) -> WindowPart:
        """In words."""
        return self.fold.part(*self[1:])

    def published(self) -> list[Published]:
        """As it is written; what it counts is told with its first piece."""
        pairs = self.fold.pairs
        first, *others = in_pieces(self.fold.encoded(*self[1:]))
        return [Published(self.environment, first, pairs), *(Published(self.environment, value) for value in others)]


def _published(one: "_Drained") -> list[Published]:
    return [Published(one.environment, msgspec.json.encode(one))] if isinstance(one, Closed) else one.published()


_Drained = _Part | Closed
_Folds = list[tuple[int, str, WindowFold]]
PairingFactory = Callable[[SpanSettings, KnownPeers], Pairing]


class PairStage:
    """Pairs the halves of one partition and emits its windows. One instance per owned partition; not thread-safe."""

    def __init__(
        self,
        partition: int,
        settings: SpanSettings,
        catalog: Mapping[str, str] | None = None,
        checkpoint: Checkpoint | None = None,
        pairing: PairingFactory = ReferencePairing,
    ) -> None:
        """Begin at the start of the partition, or where ``checkpoint`` says.

        ``catalog`` maps the names and addresses that callers use (service names, host names, ``host:port``) to services.
        """
        self.partition = partition
        self._settings = settings
        start = checkpoint or Checkpoint(partition, Mark(0), -1, None)
        self._silent_through = start.through
        self._numbered_from = start.numbered_from
        self._through = start.restart.offset - 1
        self._line = start.restart.line
        self._sources = {state.source: state for state in start.restart.sources}
        self._marks: deque[Mark] = deque([start.restart])
        heard = [(found, start.restart.line or 0) if isinstance(found, str) else found for found in start.environments]
        self._environments = Environments(settings.max_environments, heard)
        self._watches = {(watch.environment, watch.service): watch for watch in start.watches}
        shared_from = start.shared_from if start.shared_from is not None else start.closed_through or 0
        self._peers = KnownPeers(catalog or {}, settings.max_peers, start.sightings, shared_from, start.catalogs)
        self._said_before = start.closed_through or 0
        self.know(catalog or {})
        self._names = Names(settings.max_names, start.names)
        self._pairing = pairing(settings, self._peers)
        self._fold = Fold()

    def know(self, catalog: Mapping[str, str]) -> None:
        """From here on take these names and addresses for services of ours, also where what was said before is repeated in silence."""
        self._peers.know(catalog, max(self._line or 0, self._said_before))

    @property
    def restart_offset(self) -> int:
        """Where to begin reading: the restart offset of the checkpoint given, else 0."""
        return self._marks[0].offset

    @property
    def held(self) -> int:
        """Halves in memory."""
        return self._pairing.held

    @property
    def skipped(self) -> dict[Skip, int]:
        """Spans that made no edge, by reason, since this instance began; of what it only repeated in silence, those that it gave up."""
        forgotten = {Skip.PEER_FORGOTTEN: self._peers.forgotten} if self._peers.forgotten else {}
        return dict(sorted({**self._pairing.skipped, **forgotten}.items()))

    def feed(self, offset: int, record: HalvesRecord) -> list[WindowRecord]:
        """As :meth:`publish`, in words."""
        return [one if isinstance(one, Closed) else one.part() for one in self._taken_in(offset, record)]

    def publish(self, offset: int, record: HalvesRecord) -> list[Published]:
        """Take in the record at ``offset`` (ascending; below the restart offset nothing happens) and return what to publish.

        The returned order is the order to publish in. While a rebuilt stage repeats what was published, nothing is returned.
        """
        return [published for one in self._taken_in(offset, record) for published in _published(one)]

    def _taken_in(self, offset: int, record: HalvesRecord) -> list[_Drained]:
        if offset <= self._through:
            return []
        self._through = offset
        records = self._fed(offset, record)
        if offset <= self._silent_through:
            self._forget_repeated()
        return records

    def _forget_repeated(self) -> None:
        """Count nothing twice that was counted before, but for what was given up: whoever was here before may have had room for it."""
        skipped = self._pairing.skipped
        given_up = skipped[Skip.EVICTED]
        skipped.clear()
        if given_up:
            skipped[Skip.EVICTED] = given_up

    def _fed(self, offset: int, record: HalvesRecord) -> list[_Drained]:
        match record:
            case Batch():
                return self._take(offset, record)
            case Watch():
                return self._watch(record)
            case Watermark():
                return self._advance(offset, record)

    def _take(self, offset: int, batch: Batch) -> list[_Drained]:
        state = self._source(batch.source)
        self._pairing.add(batch, offset, state.known(batch), self._line)
        self._sources[batch.source] = state.having(batch)
        return []

    def _watch(self, watch: Watch) -> list[_Drained]:
        self._hear((watch.environment,), self._line or 0, silent_before=_ALWAYS)
        if watch.versions:
            self._watches[watch.environment, watch.service] = watch
        else:
            self._watches.pop((watch.environment, watch.service), None)
        return []

    def _hear(self, environments: Sequence[str], seconds: int, silent_before: int) -> None:
        if environments and self._through > self._silent_through:
            self._environments.hear(environments, seconds, silent_before, self._watched_in())

    def _watched_in(self) -> frozenset[str]:
        """The environments in which something is watched."""
        return frozenset(environment for environment, _ in self._watches)

    def _source(self, source: int) -> SourceState:
        return self._sources.get(source, SourceState(source))

    def _advance(self, offset: int, mark: Watermark) -> list[_Drained]:
        state = self._source(mark.source)
        time_ms = mark.time_ms if state.time_ms is None else max(state.time_ms, mark.time_ms)
        told = {"time_ms": time_ms, "written_at_ms": mark.written_at_ms, "idle": mark.idle}
        self._sources[mark.source] = msgspec.structs.replace(state, **told)
        seconds = time_ms // 1000
        self._hear(mark.environments, seconds, seconds - 2 * self._settings.window_seconds)
        line = self._line_now()
        if line is None or (self._line is not None and line <= self._line):
            return []
        records = self._close_up_to(line, offset)
        self._marks.append(Mark(offset + 1, line, tuple(self._sources[source] for source in sorted(self._sources))))
        return records if offset > self._silent_through else []

    def _line_now(self) -> int | None:
        """The first window that may not close yet, or None while a source has not been heard of."""
        times = [state.time_ms for state in self._sources.values() if state.time_ms is not None]
        if len(times) < self._settings.partitions:
            return None
        return (min(times) - self._settings.lateness_ms) // self._settings.window_ms * self._settings.window_seconds

    def _close_up_to(self, line: int, offset: int) -> list[_Drained]:
        self._peers.learning = offset > self._silent_through
        records: list[_Drained] = []
        first = self._first_to_close(line)
        if first != self._line:
            from_line = [window for window in self._pairing.windows if self._line is None or window >= self._line]
            for passed_over in [window for window in from_line if window < first]:
                self._pairing.close(passed_over, self._fold, self._watched())
        for window in range(first, line, self._settings.window_seconds):
            self._pairing.close(window, self._fold, self._watched())
            records.extend(self._drained(self._taken(self._fold.drain(window)), part=0))
            records.extend(self._closed(window))
            self._peers.settle(window, self._settings.reach_windows, self._settings.window_seconds)
        self._line = line
        late = self._drained(self._taken(self._fold.drain()), part=self._numbered_from + offset + 1)
        if self._peers.learning:
            self._environments.forget(line - self._settings.environment_ms // 1000, self._watched_in())
            self._names.keep(self._environments.names)
        return [*late, *records]

    def _first_to_close(self, line: int) -> int:
        """The first window of this step; at the very beginning, what is within reach of it, so that older halves are late."""
        seconds = self._settings.window_seconds
        if self._line is not None:
            return max(self._line, line - _LONGEST_GAP * seconds)
        reach = (self._settings.lateness_ms + self._settings.pairing_ms) // self._settings.window_ms + 1
        return max(line - reach * seconds, min([*self._pairing.windows, line - seconds]))

    def _taken(self, folds: _Folds) -> _Folds:
        """Those of environments whose windows are closed; what nobody closes would pile up with whoever reads it."""
        taken = [fold for fold in folds if not self._environments.refuses(fold[1])]
        if len(taken) < len(folds):
            self._pairing.skipped[Skip.TOO_MANY_ENVIRONMENTS] += len(folds) - len(taken)
        return taken

    def _drained(self, folds: _Folds, part: int) -> list[_Part]:
        if not self._peers.learning:
            return []
        for _, environment, fold in folds:
            self._names.cap(environment, fold)
        return [_Part(fold, environment, self.partition, window, part) for window, environment, fold in folds]

    def _closed(self, window: int) -> list[Closed]:
        lag_ms = max(state.written_at_ms - (state.time_ms or 0) for state in self._sources.values())
        idle = all(state.idle for state in self._sources.values())
        return [Closed(name, self.partition, window, max(0, lag_ms) / 1000, idle) for name in self._environments.names]

    def _watched(self) -> Watched:
        watched: dict[str, dict[str, tuple[str, ...]]] = {}
        for (environment, service), watch in sorted(self._watches.items()):
            watched.setdefault(environment, {})[service] = watch.versions
        return watched

    def finish(self) -> list[WindowPart]:
        """Close everything at once, as at the end of a recording; the stage must not be fed afterwards.

        All is visible together, so that a call is paired however long it took, and whoever answered once is known all along.
        """
        windows = self._pairing.windows
        beyond = self._settings.pairing_ms // self._settings.window_ms + 2
        for window in [windows[-1], windows[-1] + beyond * self._settings.window_seconds] if windows else []:
            self._pairing.close(window, self._fold, self._watched())
        return [found.part() for found in self._drained(self._fold.drain(), part=0)]

    def checkpoint(self) -> Checkpoint:
        """What to write down now, after everything returned so far was published and acknowledged."""
        oldest = self._pairing.oldest_offset()
        while len(self._marks) > 1 and (oldest is None or self._marks[1].offset <= oldest):
            self._marks.popleft()
        return Checkpoint(
            self.partition,
            self._marks[0],
            max(self._through, self._silent_through),
            self._line,
            self._environments.heard,
            tuple(self._watches[key] for key in sorted(self._watches)),
            self._peers.sightings,
            self._names.admitted,
            tuple((source, max(state.through, state.begun)) for source, state in sorted(self._sources.items())),
            self._peers.shared_from,
            self._numbered_from,
            self._peers.catalogs,
        )
