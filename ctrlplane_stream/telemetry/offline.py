"""Windows of recorded traces, through the same stages that read Kafka."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec

from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.telemetry.batches import Batch, decode
from ctrlplane_stream.telemetry.checkpoint import Checkpoint, Mark
from ctrlplane_stream.telemetry.engines import Engine, default_engine
from ctrlplane_stream.telemetry.halving import SourceRecord
from ctrlplane_stream.telemetry.known_peers import Sighting
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.recordings import Recorded, read
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.wire.otlp import Unreadable

OFFLINE = SpanSettings(partitions=1, max_halves=20_000_000)
"""Settings for recordings: one partition, and as many halves as a large machine holds."""

_RECORDS_A_STEP = 32
_BEFORE_ALL = -(1 << 40)
"""A window that lies before all that can be recorded."""


class UnreadableRecording(msgspec.Struct, frozen=True):
    """A record of a file (numbered from 1) that is no OTLP, with the reason."""

    path: Path
    number: int
    reason: str


class Recording(msgspec.Struct, frozen=True):
    """What recordings hold: windows, ascending; spans in all; spans without an edge of their own; what was unreadable; and who answered
    whom from which address, for a recording of later."""

    parts: tuple[WindowPart, ...]
    spans: int
    skipped: dict[Skip, int]
    unreadable: tuple[UnreadableRecording, ...]
    answered: tuple[Sighting, ...] = ()


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
    answered: Iterable[Sighting] = (),
) -> Recording:
    """The windows of some recordings taken together, as if all had been there at once. Raises OSError where a file cannot be opened.

    Files may overlap in time and hold spans in any order; a span found twice counts once. All halves are held until the
    end: ``settings.max_halves`` bounds them, and what is beyond is counted as evicted. ``answered`` is what an earlier recording knows, as
    a worker would that had seen it: who is silent by now is still known by its address.
    """
    chosen = engine or default_engine()
    source = chosen.source(msgspec.structs.replace(settings, partitions=1))
    stage = PairStage(0, settings, catalog, Checkpoint(0, Mark(0), -1, None, sightings=tuple(answered)), chosen.pairing)
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
    return Recording(parts, spans, dict(sorted(skipped.items())), tuple(unreadable), _from_the_beginning(stage.checkpoint().sightings))


def names_of(parts: tuple[WindowPart, ...]) -> dict[str, str]:
    """Service names as addresses, with and without their namespace: who is silent in a later recording is known to its callers by them."""
    services = sorted({row.service for part in parts for row in part.services})
    return {**{service.rpartition("/")[2]: service for service in services}, **{service: service for service in services}}


def _from_the_beginning(sightings: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
    """Those of services, as known all along; that nobody answered may be otherwise in another recording."""
    replace = msgspec.structs.replace
    return tuple(replace(seen, window=_BEFORE_ALL, last=_BEFORE_ALL) for seen in sightings if seen.service and seen.until is None)


def _steps(paths: Iterable[Path]) -> Iterator[tuple[Path, list[Recorded]]]:
    """Some records at a time, of one file each."""
    for path in paths:
        records = read(path)
        while step := list(islice(records, _RECORDS_A_STEP)):
            yield path, step
