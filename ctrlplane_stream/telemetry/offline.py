"""Windows of recorded traces, through the same stages that read Kafka."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
from ctrlplane_stream.telemetry.other_recording import Found, known_in
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


Told = Callable[[Progress], None]


class _Met(msgspec.Struct):
    """What was met on the way from files to halves."""

    spans: int = 0
    skipped: Counter[Skip] = msgspec.field(default_factory=Counter)
    unreadable: list[UnreadableRecording] = msgspec.field(default_factory=list)


def windows_of(
    paths: Iterable[Path], settings: SpanSettings = OFFLINE, engine: Engine | None = None, told: Told | None = None
) -> Recording:
    """The windows of some recordings taken together, as if all had been there at once. Raises OSError where a file cannot be opened.

    Files may overlap in time and hold spans in any order; a span found twice counts once. All halves are held until the
    end: ``settings.max_halves`` bounds them, and what is beyond is counted as evicted. ``told`` is called as reading comes on.
    """
    chosen = engine or default_engine()
    met = _Met()
    return _recording(_Paired(_halves(paths, settings, chosen, met, told), settings, chosen), met)


def windows_of_both(
    one: Iterable[Path], other: Iterable[Path], settings: SpanSettings = OFFLINE, engine: Engine | None = None, told: Told | None = None
) -> tuple[Recording, Recording]:
    """As :func:`windows_of`, of two recordings that are compared: each has what the other knows of who answers where
    (:mod:`other_recording`). Which of the two is named first makes no difference.

    Files are read once, as a pipe can be; their halves are held, and paired twice: to learn who answers, and with what is known then.
    """
    chosen = engine or default_engine()
    met = _Met(), _Met()
    halves = [list(_halves(paths, settings, chosen, of_one, told)) for paths, of_one in zip((one, other), met, strict=True)]
    first, second = (_Paired(of_one, settings, chosen).found() for of_one in halves)
    return (
        _recording(_Paired(halves[0], settings, chosen, known_in(first, second)), met[0]),
        _recording(_Paired(halves[1], settings, chosen, known_in(second, first)), met[1]),
    )


class _Paired:
    """Halves of a recording, paired as if all had been there at once; ``known``: who answers where, from the beginning on."""

    def __init__(self, halves: Iterable[bytes], settings: SpanSettings, engine: Engine, known: tuple[Sighting, ...] = ()) -> None:
        stage = PairStage(0, settings, None, Checkpoint(0, Mark(0), -1, None, sightings=known), engine.pairing)
        for offset, value in enumerate(halves):
            batch = decode(value)
            assert isinstance(batch, Batch)
            stage.feed(offset, batch)
        self.parts = tuple(stage.finish())
        self.skipped = stage.skipped
        self._sightings = stage.checkpoint().sightings

    def found(self) -> Found:
        """Who was found where."""
        return Found(frozenset(part.environment for part in self.parts), self._sightings)


def _recording(paired: _Paired, met: _Met) -> Recording:
    skipped = met.skipped + Counter(paired.skipped)
    return Recording(paired.parts, met.spans, dict(sorted(skipped.items())), tuple(met.unreadable))


def _halves(paths: Iterable[Path], settings: SpanSettings, engine: Engine, met: _Met, told: Told | None) -> Iterator[bytes]:
    """The halves of recordings as they travel, in batches; what else was met is noted in ``met``."""
    source = engine.source(msgspec.structs.replace(settings, partitions=1))
    offset = 0
    for path, records in _steps(paths):
        readable = {offset + i: record for i, record in enumerate(records) if isinstance(record.value, bytes)}
        met.unreadable.extend(UnreadableRecording(path, r.number, r.value.reason) for r in records if isinstance(r.value, Unreadable))
        batches = source.batches([SourceRecord(0, at, cast("bytes", record.value)) for at, record in readable.items()], met.skipped)
        met.unreadable.extend(UnreadableRecording(path, readable[bad.offset].number, bad.reason) for bad in batches.unreadable)
        met.spans += batches.spans
        offset += len(records)
        yield from (encoded.value for encoded in batches.encoded)
        if told is not None:
            told(Progress(path, records[-1].position, met.spans))


def _steps(paths: Iterable[Path]) -> Iterator[tuple[Path, list[Recorded]]]:
    """Some records at a time, of one file each."""
    for path in paths:
        records = read(path)
        while step := list(islice(records, _RECORDS_A_STEP)):
            yield path, step
