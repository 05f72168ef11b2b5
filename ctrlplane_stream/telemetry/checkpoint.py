"""What a ``span-halves`` partition's owner writes down so that the next one can take over by reading again."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.telemetry.batches import Batch, Watch
from ctrlplane_stream.telemetry.known_peers import Catalogs, Sighting
from ctrlplane_stream.wire.json_words import read_json
from ctrlplane_stream.wire.packing import packed, unpacked


class SourceState(msgspec.Struct, frozen=True):
    """What is known of one source partition: the last offset seen of it, its watermark, and whether it was idle; and of a record whose rows
    did not come all yet, the offset and how many of them did.

    The rows of a record are the same in the same order whenever it is read, so what comes again is known by its number, however it is cut.
    """

    source: int
    through: int = -1
    time_ms: int | None = None
    written_at_ms: int = 0
    idle: bool = False
    begun: int = -1
    rows: int = 0

    def known(self, batch: Batch) -> int:
        """How many rows of a batch came before: they are its first, since offsets ascend."""
        if batch.runs and batch.runs[0][0] > max(self.through, self.begun):
            return 0
        return sum(self._known(offset, batch.before if at == 0 else 0, rows) for at, (offset, rows) in enumerate(batch.runs))

    def _known(self, offset: int, before: int, rows: int) -> int:
        if offset <= self.through:
            return rows
        return min(rows, max(0, self.rows - before)) if offset == self.begun else 0

    def having(self, batch: Batch) -> "SourceState":
        """The state once a batch was taken in."""
        through, begun, rows = max(self.through, batch.through), self.begun, self.rows
        offset, last = batch.runs[-1] if batch.runs else (-1, 0)
        if offset > through:
            came = last + (batch.before if len(batch.runs) == 1 else 0)
            begun, rows = offset, max(came, rows if offset == begun else 0)
        if begun <= through:
            begun, rows = -1, 0
        return SourceState(self.source, through, self.time_ms, self.written_at_ms, self.idle, begun, rows)


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
    shared_from: int | None = None
    """The first window in which callers are told what answered others; of an older build, which did not tell them, None."""
    numbered_from: int = 0
    """What is added to an offset to number a late part: the log is another one than that in which numbers began."""
    catalogs: Catalogs = ()
    """What was known of catalogs at ``through``; an older build did not say."""


_LOG_LENGTH = 1 << 32
"""Numbers of late parts that each log has for itself, so that none is taken for one of the log before; more where that was longer."""


def on_other_logs(checkpoint: Checkpoint, sources: Mapping[int, int], halves: int) -> Checkpoint | None:
    """The checkpoint to go on from where a log that it names was deleted and made anew, or None where they are what they were.

    ``sources`` are the ends of the source partitions, ``halves`` is the end of its own. What was read lies below the end of a log for as
    long as that is the same log; of another one all offsets are new, and by those of the old one they would be taken for repetitions. What
    was waiting for its other half is lost; names, peers, environments and what is watched stay known, and what was read of the sources
    where those are the same.
    """
    are_others = any(through >= sources.get(source, 0) for source, through in checkpoint.read)
    if checkpoint.through < halves:
        return replace(checkpoint, restart=Mark(checkpoint.through + 1, checkpoint.closed_through)) if are_others else None
    anew = replace(checkpoint, restart=Mark(0, checkpoint.closed_through), through=-1)
    if are_others:
        return anew
    read = tuple(SourceState(source, through) for source, through in checkpoint.read)
    numbered_from = ((checkpoint.numbered_from + checkpoint.through) // _LOG_LENGTH + 1) * _LOG_LENGTH
    return replace(anew, restart=Mark(0, checkpoint.closed_through, read), numbered_from=numbered_from)


def encode(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as JSON, packed where it is large."""
    return packed(msgspec.json.encode(checkpoint))


def decode(value: bytes) -> Checkpoint:
    """A checkpoint from what :func:`encode` gave. Raises WrongJson where the bytes hold none."""
    return read_json(unpacked(value), Checkpoint)
