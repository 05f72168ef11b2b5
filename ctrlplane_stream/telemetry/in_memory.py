"""The first two stages with topics in memory: for tests, backtests and trying things out. No clock but the one passed in."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ctrlplane_stream.model.windows import WindowPart, WindowRecord
from ctrlplane_stream.telemetry.batches import HalvesRecord, Watch, decode, encode_watch
from ctrlplane_stream.telemetry.checkpoint import Checkpoint
from ctrlplane_stream.telemetry.engines import Engine, default_engine
from ctrlplane_stream.telemetry.halving import HalvesStage, SourceRecord
from ctrlplane_stream.telemetry.pair import PairStage, Published
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.otlp import Unreadable


class InMemoryChain:
    """``otlp_spans`` to ``telemetry-windows``. ``log`` is span-halves, a list of values a partition; ``output`` what was emitted."""

    def __init__(self, settings: SpanSettings, engine: Engine | None = None, catalog: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.engine = engine or default_engine()
        self.catalog = catalog
        self.halves = HalvesStage(settings, self.engine.source(settings))
        self.pairs = [self.pair_stage(partition) for partition in range(settings.partitions)]
        self.log: list[list[bytes]] = [[] for _ in range(settings.partitions)]
        self.output: list[list[WindowRecord]] = [[] for _ in range(settings.partitions)]
        self.skipped: Counter[Skip] = Counter()
        self.spans = 0
        self._offsets: dict[int, int] = {}

    def pair_stage(self, partition: int, checkpoint: Checkpoint | None = None) -> PairStage:
        """A stage for a partition as this chain has them, new or rebuilt."""
        return PairStage(partition, self.settings, self.catalog, checkpoint, self.engine.pairing)

    def receive(self, values: Sequence[bytes | None], now_ms: int, source: int = 0) -> list[str]:
        """Take in values of ``otlp_spans`` in one step; returns why some were unreadable."""
        first = self._offsets.get(source, 0)
        self._offsets[source] = first + len(values)
        return self.read([SourceRecord(source, first + i, value, now_ms) for i, value in enumerate(values)], now_ms)

    def read(self, records: Iterable[SourceRecord], now_ms: int) -> list[str]:
        """Take in records, new or redelivered."""
        halved = self.halves.process(records, now_ms)
        self.spans += halved.spans
        self.skipped.update(halved.skipped)
        for record in halved.records:
            self._publish(record.partition, record.value)
        return [bad.reason for bad in halved.unreadable]

    def advance(self, now_ms: int) -> None:
        """Every source partition writes its watermark, having been read to its end."""
        for source in range(self.settings.partitions):
            self.mark(source, now_ms, self.halves)

    def mark(self, source: int, now_ms: int, halves: HalvesStage) -> None:
        """The worker ``halves`` writes the watermark of one source partition."""
        value = halves.watermark(source, now_ms, whole_ms=now_ms)
        for partition in range(self.settings.partitions) if value is not None else ():
            self._publish(partition, value or b"")

    def take_over(self, partition: int, checkpoint: Checkpoint) -> None:
        """Another worker goes on with a partition from a checkpoint, and publishes again what came after it."""
        stage = self.pairs[partition] = self.pair_stage(partition, checkpoint)
        for offset in range(stage.restart_offset, len(self.log[partition])):
            self.output[partition].extend(feed(stage, offset, self.log[partition][offset]))

    def watch(self, watch: Watch) -> None:
        """Name the candidates of a target on every partition."""
        for partition in range(self.settings.partitions):
            self._publish(partition, encode_watch(watch))

    def know(self, catalog: Mapping[str, str]) -> None:
        """From here on every partition takes these names and addresses for services of ours."""
        self.catalog = catalog
        for stage in self.pairs:
            stage.know(catalog)

    def _publish(self, partition: int, value: bytes) -> None:
        self.log[partition].append(value)
        self.output[partition].extend(feed(self.pairs[partition], len(self.log[partition]) - 1, value))

    @property
    def parts(self) -> list[WindowPart]:
        """The parts emitted so far, partition by partition."""
        return [record for records in self.output for record in records if isinstance(record, WindowPart)]

    @property
    def all_skipped(self) -> dict[Skip, int]:
        """Spans without an edge of their own, of both stages."""
        total = Counter(self.skipped)
        for stage in self.pairs:
            total.update(stage.skipped)
        return dict(sorted(total.items()))


def feed(stage: PairStage, offset: int, value: bytes) -> list[WindowRecord]:
    """Decode a value of span-halves and feed it. Raises ValueError where it is unreadable."""
    return stage.feed(offset, _decoded(value))


def publish(stage: PairStage, offset: int, value: bytes) -> list[Published]:
    """As :func:`feed`; returns what a worker writes."""
    return stage.publish(offset, _decoded(value))


def _decoded(value: bytes) -> HalvesRecord:
    record = decode(value)
    if isinstance(record, Unreadable):
        raise ValueError(record.reason)
    return record


CallCounts = dict[tuple[str, str, str], tuple[int, int]]


def call_counts(parts: Iterable[WindowPart]) -> CallCounts:
    """(Calls, errors) by caller, callee and kind, over all versions and windows."""
    sums: CallCounts = {}
    for row in (row for part in parts for row in part.edges):
        key = (row.caller, row.callee, row.kind.value)
        calls, errors = sums.get(key, (0, 0))
        sums[key] = (calls + row.calls, errors + row.errors)
    return dict(sorted(sums.items()))
