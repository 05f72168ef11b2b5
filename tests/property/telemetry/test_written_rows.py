"""Rows written in C are what Python's encoder makes of the same counts, to the byte; and rows of both ways are put in order."""

import ctypes
import struct
from array import array

import msgspec
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.sketch import Sketch
from ctrlplane_stream.model.windows import EdgeWindow
from ctrlplane_stream.telemetry.folding import EdgeSums
from ctrlplane_stream.telemetry.native import PairingLibrary, library
from ctrlplane_stream.telemetry.native.pairing import RowOrder
from ctrlplane_stream.telemetry.native.structures import Counts, Names
from ctrlplane_stream.telemetry.written_rows import EdgeName, WrittenRows

NAME = ("shop/caller", 'cal"lee', EdgeKind.CALL, "1", "ü")
_BUCKETS = st.dictionaries(st.integers(-1, 53 * 32), st.integers(1, (1 << 32) - 1), max_size=5)
_SKETCHES = st.builds(
    lambda found, zero: Sketch(tuple(sorted(found)), tuple(found[index] for index in sorted(found)), zero), _BUCKETS, st.integers(0, 9)
)
_WEIGHTS = st.one_of(st.sampled_from([1.0, 2.0, 16.0, 1.5, 10.000000000000002]), st.floats(1.0, 1e13))
_TALLIES = st.dictionaries(_WEIGHTS, st.tuples(st.integers(0, 10**6), st.integers(0, 100)), min_size=1, max_size=5)


def written(tallies: dict[float, tuple[int, int]], sketches: tuple[Sketch, ...], prefix: bytes) -> tuple[bytes, list[int], int] | None:
    """One row by C, of counts as C has them in memory."""
    found = library()
    assert found is not None
    tally = b"".join(struct.pack("<qqII", *counts, i, i + 2 if i + 1 < len(tallies) else 0) for i, counts in enumerate(tallies.values()))
    index = array("i", [index for sketch in sketches for index in sketch.indices])
    count = array("I", [count for sketch in sketches for count in sketch.counts])
    end = array("I", [sum(len(sketch.counts) for sketch in sketches[: i + 1]) for i in range(len(sketches))])
    zero = array("I", [sketch.zero for sketch in sketches])
    kept = ctypes.create_string_buffer(tally), array("I", [1])
    counts = Counts(
        names=Names(count=1),
        width=3,
        tallies=len(tallies),
        tally_of=kept[1].buffer_info()[0],
        tally=ctypes.addressof(kept[0]),
        buckets=len(index),
        **{name: each.buffer_info()[0] for name, each in (("index", index), ("found", count), ("end", end), ("zero", zero))},
    )
    order = RowOrder(array("I", [0]), array("I", [0]), bytearray(prefix), array("q", [0, len(prefix)]), array("d", tallies))
    rows = PairingLibrary(found, 10_000_000).write_rows(counts, order)
    return None if rows is None else (rows[0], list(rows[1]), rows[2])


@given(tallies=_TALLIES, client=_SKETCHES, server=_SKETCHES, gap=_SKETCHES)
@example(tallies={1.0: (3, 1)}, client=Sketch(), server=Sketch((-1,), (1,)), gap=Sketch((), (), 2))
def test_a_row_is_what_the_encoder_makes_of_the_same_counts(
    tallies: dict[float, tuple[int, int]], client: Sketch, server: Sketch, gap: Sketch
) -> None:
    row = EdgeSums(tuple((weight, *counts) for weight, counts in tallies.items()), client, server, gap).row(NAME)
    encoded = msgspec.json.encode(row)
    found = written(tallies, (client, server, gap), encoded[: encoded.index(b'"calls"')])
    assume(found is not None)
    assert found == (encoded + b",", [len(encoded) + 1], row.calls)


def test_a_number_that_needs_an_exponent_is_left_to_python() -> None:
    assert written({1e13: (1_000, 0)}, (Sketch(),) * 3, b"{") is None
    assert written({1e13: (10, 0)}, (Sketch(),) * 3, b"{") is not None


_NAMES = st.lists(st.tuples(st.text("abc", max_size=2), *[st.just("x")] * 4), unique=True, max_size=12)


@given(names=_NAMES, others=_NAMES)
def test_rows_come_in_order_of_name_and_an_other_row_stands_for_one_of_its_name(names: list[EdgeName], others: list[EdgeName]) -> None:
    names, others = sorted(names), sorted(others)
    each = [f"[{name[0]}]".encode() for name in names]
    ends = [sum(len(row) + 1 for row in each[: i + 1]) for i in range(len(each))]
    rows = WrittenRows(names, b"".join(row + b"," for row in each), ends, 0, lambda _: ())
    both = {**dict(zip(names, each, strict=True)), **{name: f"<{name[0]}>".encode() for name in others}}
    found = rows.with_rows([(name, f"<{name[0]}>".encode()) for name in others])
    assert found == b"".join(both[name] + b"," for name in sorted(both))
    assert [rows.find(name) is not None for name in others] == [name in names for name in others]


def test_a_row_is_read_again_in_words() -> None:
    row = EdgeWindow(*NAME, 3, 1, 3.0, 1.0, Sketch((4,), (3,)))
    value = msgspec.json.encode(row) + b","
    assert WrittenRows([NAME, NAME], value + value, [len(value), 2 * len(value)], 6, lambda _: ()).read(1) == row
