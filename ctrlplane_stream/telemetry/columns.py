"""The only module that knows how bytes become columns: ``ptars`` for protobuf, ``pyarrow`` for nesting, ``polars`` for the work.

``ptars`` is young: it is pinned, wrapped here, and fuzzed against the reference reader.
"""

import os

# A worker is one core: its work must neither wait for nor take the others'. Polars reads this once, when it is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from collections.abc import Iterable, Sequence
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
    """The spans of serialized requests. Raises DecodeError where one of them is not well-formed, ValueError where ``ptars`` finds so alone.

    ``ptars`` takes some that are not: a group that another field's end closes, a tag beyond 32 bits. So protobuf's own parser is asked
    first, whose word it is in the reference too.
    """
    for value in values:
        TraceRequest.FromString(value)
    batch = _HANDLER.list_to_record_batch(list(values))
    by_request = batch.column(0)
    resources = by_request.flatten()
    scopes = resources.field("scope_spans").flatten()
    nested = scopes.field("spans")
    record_of_resource = _integers(pc.list_parent_indices(by_request))
    resource_of_scope = _integers(pc.list_parent_indices(resources.field("scope_spans")))
    scope_of_span = _integers(pc.list_parent_indices(nested))
    distinct = resources.field("resource").dictionary_encode()
    resource = resource_of_scope[scope_of_span]
    return SpanColumns(
        nested.flatten(), record_of_resource[resource], _integers(distinct.indices)[resource], distinct.dictionary.to_pylist()
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

    def only(self, mask: pl.Series) -> "FlatLists":
        """The elements where ``mask`` is true."""
        return FlatLists(self.elements, self.element.filter(mask), self.row.filter(mask))

    def items(self) -> Iterable[tuple[int, bytes]]:
        """Row and bytes of each element."""
        return zip(self.row, pc.take(self.elements, self.element.to_arrow()).to_pylist(), strict=True)


def flattened(lists: Any, rows: pl.Series) -> FlatLists:
    """The elements of some rows of a list array, without copying any."""
    offsets = cast("pl.Series", pl.from_arrow(lists.offsets)).cast(pl.UInt32)
    starts, ends = offsets[rows], offsets[rows + 1]
    numbers = pl.int_range(0, len(rows), dtype=pl.UInt32, eager=True)
    exploded = (
        pl.DataFrame({"row": numbers, "element": pl.int_ranges(starts, ends, dtype=pl.UInt32, eager=True)})
        .filter(ends > starts)
        .explode("element")
    )
    return FlatLists(lists.values, exploded["element"], exploded["row"])


class KeyFilter:
    """Finds the serialized KeyValues with certain keys among many, by what their bytes begin with.

    A KeyValue begins with its key: tag 0x0A, length, text. Length and first letter are compared, then length and last letter:
    a few others may be found too. What does not begin so (legal, though nobody writes it) is found as well.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._heads = _marked(len(key) * 256 + ord(key[0]) for key in keys)
        self._tails = tails_of(keys)

    def find(self, flat: FlatLists) -> "FoundKeys":
        """The elements that may have one of the keys. Raises PolarsError where the bytes of some element end before its key."""
        offsets, data = _binary(flat.elements)
        start = offsets[flat.element]
        odd = data[start] != _KEY_TAG
        code = data[start + 1].cast(pl.UInt32) * 256 + data[start + 2]
        likely = self._heads[code] | odd
        element, row, start, odd = flat.element.filter(likely), flat.row.filter(likely), start.filter(likely), odd.filter(likely)
        length = data[start + 1].cast(pl.UInt32)
        last = data[start + (length + 1) * ~odd]
        tail = length * 256 + last
        sure = self._tails[tail] | odd
        return FoundKeys(FlatLists(flat.elements, element.filter(sure), row.filter(sure)), tail.filter(sure), odd.filter(sure))


@dataclass(slots=True)
class FoundKeys:
    """Elements that may have one of the keys looked for; ``tail`` is length and last letter of the key, ``odd`` an unusual beginning."""

    flat: FlatLists
    tail: pl.Series
    odd: pl.Series

    def split(self, tails: pl.Series) -> tuple[FlatLists, FlatLists]:
        """The elements whose key's tail is marked in ``tails`` (see :func:`tails_of`), and the others; unusual ones are among both."""
        among = tails[self.tail]
        return self.flat.only(among | self.odd), self.flat.only(~among | self.odd)


_KEY_TAG = 0x0A


def tails_of(keys: Iterable[str]) -> pl.Series:
    """A table of key tails, true at those of ``keys``."""
    return _marked(len(key) * 256 + ord(key[-1]) for key in keys)


def _marked(codes: Iterable[int]) -> pl.Series:
    """A table of sixteen-bit codes, true at those given."""
    wanted = set(codes)
    return pl.Series([code in wanted for code in range(1 << 16)])


def _binary(array: Any) -> tuple[pl.Series, pl.Series]:
    buffers = array.buffers()
    offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, buffers[1]], offset=array.offset)
    data = pa.Array.from_buffers(pa.uint8(), 0 if buffers[2] is None else len(buffers[2]), [None, buffers[2]])
    return cast("pl.Series", pl.from_arrow(offsets)).cast(pl.UInt32), cast("pl.Series", pl.from_arrow(data))


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
