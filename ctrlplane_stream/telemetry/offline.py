"""Windows of recorded traces, through the same stages that read Kafka."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec

from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.telemetry.batches import Batch, decode
from ctrlplane_stream.telemetry.engines import Engine, default_engine
from ctrlplane_stream.telemetry.halving import SourceRecord
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.recordings import Recorded, read
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.otlp import Unreadable

OFFLINE = SpanSettings(partitions=1, max_halves=20_000_000)
"""Settings for recordings: one partition, and as many halves as a large machine holds."""

_RECORDS_A_STEP = 32


class UnreadableRecording(msgspec.Struct, frozen=True):
    """A record of a file (numbered from 1) that is no OTLP, with the reason."""

    path: Path
    number: int
    reason: str


class Recording(msgspec.Struct, frozen=True):
    """What recordings hold: windows, ascending; spans in all; spans without an edge of their own; and what was unreadable."""

    parts: tuple[WindowPart, ...]
    spans: int
    skipped: dict[Skip, int]
    unreadable: tuple[UnreadableRecording, ...]


class Progress(msgspec.Struct, frozen=True):
    """How far reading has come: bytes read of the file, and spans of all files so far."""

    path: Path
    position: int
    spans: int


def windows_of(
    paths: Iterable[Path],
    settings: SpanSettings = OFFLINE,
    catalog: Mapping[str, str] | None = None,
    engine: Engine | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Recording:
    """The windows of some recordings taken together, as if all had been there at once. Raises OSError where a file cannot be opened.

    Files may overlap in time and hold spans in any order; a span found twice counts once. All halves are held until the
    end: ``settings.max_halves`` bounds them, and what is beyond is counted as evicted.
    """
    chosen = engine or default_engine()
    source = chosen.source(msgspec.structs.replace(settings, partitions=1))
    stage = PairStage(0, settings, catalog, pairing=chosen.pairing)
    skipped: Counter[Skip] = Counter()
    unreadable: list[UnreadableRecording] = []
    spans = offset = 0
    for path, records in _steps(paths):
        readable = {offset + i: record for i, record in enumerate(records) if isinstance(record.value, bytes)}
        unreadable.extend(UnreadableRecording(path, r.number, r.value.reason) for r in records if isinstance(r.value, Unreadable))
        batches = source.batches([SourceRecord(0, at, cast("bytes", record.value)) for at, record in readable.items()], skipped)
        unreadable.extend(UnreadableRecording(path, readable[bad.offset].number, bad.reason) for bad in batches.unreadable)
        spans += batches.spans
        offset += len(records)
        for encoded in batches.encoded:
            batch = decode(encoded.value)
            assert isinstance(batch, Batch)
            stage.feed(offset, batch)
        if progress is not None:
            progress(Progress(path, records[-1].position, spans))
    parts = tuple(stage.finish())
    skipped.update(stage.skipped)
    return Recording(parts, spans, dict(sorted(skipped.items())), tuple(unreadable))


def _steps(paths: Iterable[Path]) -> Iterator[tuple[Path, list[Recorded]]]:
    """Some records at a time, of one file each."""
    for path in paths:
        records = read(path)
        while step := list(islice(records, _RECORDS_A_STEP)):
            yield path, step
