"""What a ``span-halves`` partition's owner writes down so that the next one can take over by reading again."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

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
    (``sightings``, ``names``, ``environments`` with the second in which they were heard of last, ``watches``, ``read``) is that of
    ``through``. One that an older build wrote names the environments only.
    """

    partition: int
    restart: Mark
    through: int
    closed_through: int | None
    environments: tuple[tuple[str, int] | str, ...] = ()
    watches: tuple[Watch, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    read: tuple[tuple[int, int], ...] = ()
    """Each source partition with the last offset seen of it."""


def on_other_logs(checkpoint: Checkpoint, sources: Mapping[int, int], halves: int) -> Checkpoint | None:
    """The checkpoint to go on from where a log that it names was deleted and made anew, or None where they are what they were.

    ``sources`` are the ends of the source partitions, ``halves`` is the end of its own. What was read lies below the end of a log for as
    long as that is the same log; of another one all offsets are new, and by those of the old one they would be taken for repetitions. What
    was waiting for its other half is lost; names, peers, environments and what is watched stay known.
    """
    if checkpoint.through >= halves:
        return replace(checkpoint, restart=Mark(0, checkpoint.closed_through), through=-1)
    if any(through >= sources.get(source, 0) for source, through in checkpoint.read):
        return replace(checkpoint, restart=Mark(checkpoint.through + 1, checkpoint.closed_through))
    return None


def encode(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as JSON."""
    return msgspec.json.encode(checkpoint)


def decode(value: bytes) -> Checkpoint:
    """A checkpoint from JSON. Raises msgspec.DecodeError where the bytes hold none."""
    return msgspec.json.decode(value, type=Checkpoint)
