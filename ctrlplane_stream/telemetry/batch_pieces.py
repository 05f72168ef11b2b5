"""Batches of halves that are too large for a record of ``span-halves``, in pieces that are not.

A trace has one destination. So a loop of short spans, or links to one trace, make what a broker would refuse, and whoever halves would
begin anew with the same record for ever.

A piece may end within a source record; how many rows of it went before is written down, so that pairing knows each row by its number
(:class:`~ctrlplane_stream.telemetry.checkpoint.SourceState`), also where a record that is read again is cut elsewhere.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import TypeVar

from ctrlplane_stream.telemetry.batch_tables import encode_tables
from ctrlplane_stream.telemetry.batches import WIDTHS, Batch, decode
from ctrlplane_stream.wire.gen.halves_pb2 import HalfRecord

ValueT = TypeVar("ValueT")

MOST_BYTES = 8_000_000
"""Two thirds of what a record may take."""

_FIELDS = {
    "high": "traces_high",
    "low": "traces_low",
    "span": "spans",
    "parent": "parents",
    "end": "ends",
    "duration": "durations",
    "flags": "flags",
}


def in_pieces(value: bytes) -> Sequence[bytes]:
    """A batch as it was written, or pieces that say the same, in the order of its rows; none above ``MOST_BYTES`` but of one row."""
    if len(value) <= MOST_BYTES:
        return (value,)
    batch = decode(value)
    if not isinstance(batch, Batch):
        raise TypeError(f"a record of span-halves that was just written holds no batch: {batch}")
    return [*_cut(batch, 0, batch.rows)]


def _cut(batch: Batch, first: int, end: int) -> Iterator[bytes]:
    value = _piece(batch, first, end)
    if len(value) <= MOST_BYTES or end - first < 2:
        yield value
    else:
        middle = (first + end) // 2
        yield from _cut(batch, first, middle)
        yield from _cut(batch, middle, end)


def _piece(batch: Batch, first: int, end: int) -> bytes:
    """The rows from ``first`` to before ``end``, with what they point to."""
    record = HalfRecord()
    piece = record.batch
    piece.source = batch.source
    piece.through, piece.before = batch.through, 0
    at = 0
    for number, (offset, rows) in enumerate(batch.runs):
        begin, stop = max(first, at), min(end, at + rows)
        if begin < stop:
            if not piece.offsets:
                piece.before = begin - at + (batch.before if number == 0 else 0)
            piece.offsets.append(offset)
            piece.rows.append(stop - begin)
            if end < batch.rows:
                piece.through = offset if stop == at + rows else offset - 1
        at += rows
    for name, field in _FIELDS.items():
        setattr(piece, field, _column(batch, name, first, end))
    piece.origin_rows, origins = _numbered(_column(batch, "origin", first, end), batch.tables.origins)
    piece.peer_rows, peers = _numbered(_column(batch, "peer", first, end), batch.tables.peers, always=(0,))
    piece.weight_rows = _column(batch, "weight", first, end)
    piece.tables = encode_tables(origins, (peer for peer in peers if peer is not None), batch.tables.weights)
    return record.SerializeToString()


def _column(batch: Batch, name: str, first: int, end: int) -> bytes:
    return batch.columns.column(name)[WIDTHS[name] * first : WIDTHS[name] * end]


def _numbered(column: bytes, values: Sequence[ValueT], always: Sequence[int] = ()) -> tuple[bytes, list[ValueT]]:
    """A column of numbers of ``values`` with those of the values that it uses, and these; those numbered ``always`` are among them."""
    numbers = memoryview(column).cast("I")
    used = sorted({*numbers, *always})
    places = {number: place for place, number in enumerate(used)}
    return array("I", map(places.__getitem__, numbers)).tobytes(), [values[number] for number in used]
