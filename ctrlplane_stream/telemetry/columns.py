"""The only module that knows how bytes become columns: ``ptars`` for protobuf, ``pyarrow`` for nesting, ``polars`` for the work.

``ptars`` is young: it is pinned, wrapped here, and fuzzed against the reference reader.
"""

import os

# A worker is one core: its work must neither wait for nor take the others'. Polars reads this once, when it is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
import ptars
import pyarrow as pa
import pyarrow.compute as pc

from ctrlplane_stream.wire.gen.otlp_trimmed_pb2 import DESCRIPTOR, TraceRequest

_HANDLER = ptars.HandlerPool([DESCRIPTOR]).get_for_message(TraceRequest.DESCRIPTOR)


@dataclass(slots=True)
class SpanColumns:
    """Spans of some requests, in order. ``record`` and ``resource`` are a span's request and resource by index."""

    spans: Any
    record: pl.Series
    resource: pl.Series
    resources: list[bytes]

    def __len__(self) -> int:
        return len(self.spans)

    def field(self, name: str) -> Any:
        """An Arrow array of one field of the spans."""
        return self.spans.field(name)

    def numbers(self, name: str) -> pl.Series:
        """A number field."""
        return cast("pl.Series", pl.from_arrow(self.spans.field(name)))

    def status_codes(self) -> pl.Series:
        """The status code of each span; null or 0 where it has none."""
        return cast("pl.Series", pl.from_arrow(pc.struct_field(self.spans.field("status"), 0))).fill_null(0)

    def keep(self, mask: pl.Series) -> "SpanColumns":
        """Only the spans where ``mask`` is true."""
        return SpanColumns(self.spans.filter(mask.to_arrow()), self.record.filter(mask), self.resource.filter(mask), self.resources)


def decode_requests(values: Sequence[bytes]) -> SpanColumns:
    """The spans of serialized requests. Raises ValueError where one of them is not well-formed."""
    batch = _HANDLER.list_to_record_batch(list(values))
    by_request = batch.column(0)
    resources = by_request.flatten()
    scopes = resources.field("scope_spans").flatten()
    nested = scopes.field("spans")
    record_of_resource = _integers(pc.list_parent_indices(by_request))
    resource_of_scope = _integers(pc.list_parent_indices(resources.field("scope_spans")))
    scope_of_span = _integers(pc.list_parent_indices(nested))
    distinct = resources.field("resource").dictionary_encode()
    resource = resource_of_scope.gather(scope_of_span)
    return SpanColumns(
        nested.flatten(), record_of_resource.gather(resource), _integers(distinct.indices).gather(resource), distinct.dictionary.to_pylist()
    )


def _integers(array: Any) -> pl.Series:
    return cast("pl.Series", pl.from_arrow(array)).cast(pl.UInt32)


def lengths(array: Any) -> pl.Series:
    """Bytes of each element of a binary array."""
    return cast("pl.Series", pl.from_arrow(pc.binary_length(array)))


def words(array: Any, width: int) -> pl.Series:
    """A binary array whose elements are all ``width`` bytes long as little-endian unsigned words, ``width / 8`` an element."""
    data = array.buffers()[2]
    return words_of(b"" if data is None else data, len(array) * width // 8, array.offset * width // 8)


def words_of(data: Any, count: int, offset: int = 0) -> pl.Series:
    """Bytes as little-endian unsigned words."""
    array = pa.Array.from_buffers(pa.uint64(), count, [None, pa.py_buffer(data)], offset=offset)
    return cast("pl.Series", pl.from_arrow(array))


def numbers_of(data: bytes, dtype: Any, count: int) -> pl.Series:
    """Bytes as little-endian numbers of an Arrow type."""
    return cast("pl.Series", pl.from_arrow(pa.Array.from_buffers(dtype, count, [None, pa.py_buffer(data)])))


def bytes_of(series: pl.Series) -> memoryview:
    """The memory of a numeric series without nulls, little-endian."""
    array = series.rechunk().to_arrow()
    data = memoryview(array.buffers()[1]).cast("B")
    width = array.type.bit_width // 8
    return data[array.offset * width : (array.offset + len(array)) * width]


def or_zeros(array: Any, width: int) -> Any:
    """A binary array with what is not ``width`` bytes long replaced by zeros."""
    return pc.if_else(pc.equal(pc.binary_length(array), width), array, pa.scalar(bytes(width), pa.binary()))


@dataclass(slots=True)
class FlatLists:
    """The elements of chosen rows of a list of binary, flattened: ``element`` and ``row`` (index into the chosen) by index."""

    elements: Any
    element: pl.Series
    row: pl.Series


def flattened(lists: Any, rows: pl.Series) -> FlatLists:
    """The elements of some rows of a list array, without copying any."""
    offsets = cast("pl.Series", pl.from_arrow(lists.offsets))
    starts, ends = offsets.gather(rows), offsets.gather(rows + 1)
    numbers = pl.int_range(0, len(rows), dtype=pl.UInt32, eager=True)
    exploded = pl.DataFrame({"row": numbers, "element": pl.int_ranges(starts, ends, eager=True)}).filter(ends > starts).explode("element")
    return FlatLists(lists.values, exploded["element"], exploded["row"])


def keyed(flat: FlatLists, keys: Sequence[str]) -> FlatLists:
    """The elements that may be a serialized KeyValue with one of ``keys``: a few others may be among them.

    A KeyValue begins with its key: tag 0x0A, length, text. Length, first and last letter are compared; what does not begin
    so (legal, though nobody writes it) is kept.
    """
    offsets, data = _binary(flat.elements)
    start = offsets.gather(flat.element)
    size = offsets.gather(flat.element + 1) - start
    long = size > 4
    if not long.all():
        start, element, row = start.filter(long), flat.element.filter(long), flat.row.filter(long)
        flat = FlatLists(flat.elements, element, row)
        size = size.filter(long)
    tag, length, first = data.gather(start), data.gather(start + 1), data.gather(start + 2)
    odd = (tag != 0x0A) | (length.cast(pl.Int64) + 2 > size)
    code = length.cast(pl.UInt16) * 256 + first
    heads = pl.Series(sorted({len(key) * 256 + ord(key[0]) for key in keys}), dtype=pl.UInt16)
    likely = code.is_in(heads.implode()) | odd
    start, length, odd = start.filter(likely), length.filter(likely), odd.filter(likely)
    element, row = flat.element.filter(likely), flat.row.filter(likely)
    last = data.gather(pl.select(pl.when(odd).then(start).otherwise(start + 1 + length)).to_series())
    tails = pl.Series(sorted({len(key) * 256 + ord(key[-1]) for key in keys}), dtype=pl.UInt16)
    sure = (length.cast(pl.UInt16) * 256 + last).is_in(tails.implode()) | odd
    return FlatLists(flat.elements, element.filter(sure), row.filter(sure))


def _binary(array: Any) -> tuple[pl.Series, pl.Series]:
    buffers = array.buffers()
    offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, buffers[1]], offset=array.offset)
    data = pa.Array.from_buffers(pa.uint8(), 0 if buffers[2] is None else len(buffers[2]), [None, buffers[2]])
    return cast("pl.Series", pl.from_arrow(offsets)).cast(pl.Int64), cast("pl.Series", pl.from_arrow(data))


def combinations(flat: FlatLists, rows: int) -> tuple[pl.Series, list[tuple[bytes, ...]]]:
    """For each of ``rows`` rows the index of its combination of elements, in order; and the combinations."""
    distinct = pc.take(flat.elements, flat.element.to_arrow()).dictionary_encode()
    codes = distinct.indices.cast(pa.int32())
    counts = flat.row.value_counts().sort("row")
    per_row = pl.zeros(rows, dtype=pl.Int32, eager=True).scatter(counts["row"], counts["count"].cast(pl.Int32))
    ends = (per_row.cum_sum() * 4).cast(pl.Int32)
    offsets = pl.concat([pl.Series([0], dtype=pl.Int32), ends]).rechunk().to_arrow()
    listed = pa.Array.from_buffers(pa.binary(), rows, [None, offsets.buffers()[1], codes.buffers()[1]])
    encoded = listed.dictionary_encode()
    elements = distinct.dictionary.to_pylist()
    found = [tuple(elements[i] for i in memoryview(codes).cast("i")) for codes in encoded.dictionary.to_pylist()]
    return _integers(encoded.indices), found
