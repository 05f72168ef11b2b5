"""What a ``span-halves`` partition's owner writes down so that the next one can take over by reading again."""

import msgspec

from ctrlplane_stream.telemetry.batches import Watch
from ctrlplane_stream.telemetry.known_peers import Sighting


class SourceState(msgspec.Struct, frozen=True):
    """What is known of one source partition: the last offset seen of it, its watermark, and whether it was idle."""

    source: int
    through: int = -1
    time_ms: int | None = None
    written_at_ms: int = 0
    idle: bool = False


class Mark(msgspec.Struct, frozen=True):
    """Where reading may begin again: at ``offset``, with these sources and ``line``, the first window not closed before it."""

    offset: int
    line: int | None = None
    sources: tuple[SourceState, ...] = ()


class Checkpoint(msgspec.Struct, frozen=True):
    """State of one ``span-halves`` partition, to be written and awaited after what was emitted is published.

    Seek to ``restart.offset``. Everything up to and including ``through`` has been published: the stage repeats it in
    silence. ``closed_through`` is the end (seconds) of the last closed window, None where none was closed. The memory
    (``sightings``, ``names``, ``environments`` with the second in which they were heard of last, ``watches``) is that of ``through``.
    One that an older build wrote names the environments only.
    """

    partition: int
    restart: Mark
    through: int
    closed_through: int | None
    environments: tuple[tuple[str, int] | str, ...] = ()
    watches: tuple[Watch, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    names: tuple[tuple[str, str], ...] = ()


def encode(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as JSON."""
    return msgspec.json.encode(checkpoint)


def decode(value: bytes) -> Checkpoint:
    """A checkpoint from JSON. Raises msgspec.DecodeError where the bytes hold none."""
    return msgspec.json.decode(value, type=Checkpoint)
