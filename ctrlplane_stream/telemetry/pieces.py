"""Parts of windows that are too large for a record, in pieces that are not: a service of ours more, or a version, must not be what a broker
refuses, since whoever writes would begin anew with the same part for ever.

What is cut depends on the bytes of the part alone, so that a part that is written again is cut at the same places.
"""

from collections.abc import Iterable, Iterator

import msgspec

MOST_BYTES = 2_000_000
"""Half of what a record may take on the topics that it is written to: a single row, however long its names, comes on top."""


class _Rows(msgspec.Struct, tag_field="type", tag="part"):
    """A part whose rows stay as they are written."""

    environment: str
    partition: int
    window: int
    part: int
    edges: list[msgspec.Raw] = []
    services: list[msgspec.Raw] = []
    exposures: list[msgspec.Raw] = []
    piece: int = 0


_decoder = msgspec.json.Decoder(_Rows)


def in_pieces(value: bytes) -> list[bytes]:
    """A part of a window as JSON, or pieces that add up to it, in the order of its rows, none much above ``MOST_BYTES``."""
    if len(value) <= MOST_BYTES:
        return [value]
    whole = _decoder.decode(value)
    named = [(kind, row) for kind in ("edges", "services", "exposures") for row in getattr(whole, kind)]
    return [msgspec.json.encode(_piece(whole, number, rows)) for number, rows in enumerate(_cut(named))]


def _cut(named: Iterable[tuple[str, msgspec.Raw]]) -> Iterator[list[tuple[str, msgspec.Raw]]]:
    rows: list[tuple[str, msgspec.Raw]] = []
    size = 0
    for kind, row in named:
        if rows and size + len(memoryview(row)) > MOST_BYTES:
            yield rows
            rows, size = [], 0
        rows.append((kind, row))
        size += len(memoryview(row))
    yield rows


def _piece(whole: _Rows, number: int, named: Iterable[tuple[str, msgspec.Raw]]) -> _Rows:
    piece = _Rows(whole.environment, whole.partition, whole.window, whole.part, piece=number)
    for kind, row in named:
        getattr(piece, kind).append(row)
    return piece
