"""Rows written in C are what Python's encoder makes of the same counts, to the byte; and rows of both ways are put in order."""

import ctypes
import struct
from array import array
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.sketch import EMPTY, Sketch
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow
from ctrlplane_stream.telemetry.folding import EdgeSums, WindowFold, sums_of
from ctrlplane_stream.telemetry.half import Origin
from ctrlplane_stream.telemetry.names import Names as KnownNames
from ctrlplane_stream.telemetry.native import library
from ctrlplane_stream.telemetry.native.rows import RowWriter
from ctrlplane_stream.telemetry.native.structures import Counts, Names
from ctrlplane_stream.telemetry.native_rows import RowsInC
from ctrlplane_stream.telemetry.settlement import Settled
from ctrlplane_stream.telemetry.written_rows import EdgeName, WrittenRows, array_of

NAME = ("shop/caller", 'cal"lee', EdgeKind.CALL, "1", "ü")
ORIGINS = [Origin("prod", "shop/caller", "1"), Origin("prod", 'cal"lee', "ü"), Origin("dev", "shop/caller", "2")]
WINDOW = 17
_BUCKETS = st.dictionaries(st.integers(-1, 53 * 32), st.integers(1, (1 << 32) - 1), max_size=5)
_SKETCHES = st.builds(
    lambda found, zero: Sketch(tuple(sorted(found)), tuple(found[index] for index in sorted(found)), zero), _BUCKETS, st.integers(0, 9)
)
_WEIGHTS = st.one_of(st.sampled_from([1.0, 2.0, 16.0, 1.5, 10.000000000000002]), st.floats(1.0, 1e13))
_TALLIES = st.dictionaries(_WEIGHTS, st.tuples(st.integers(0, 10**6), st.integers(0, 100)), min_size=1, max_size=5)


_Tallies = dict[float, tuple[int, int]]
_Found = list[tuple[int, str, list[object], bytes]]


class _Counted:
    """Counts as C has them in memory: for each name (two words) the same tallies and sketches. To be held while they are used."""

    def __init__(self, names: Sequence[tuple[int, int]], tallies: _Tallies, sketches: Sequence[Sketch], roots: int = 0) -> None:
        following = [i + 2 if i + 1 < len(tallies) else 0 for i in range(len(tallies))]
        tally = [struct.pack("<qqII", *counts, i, following[i]) for i, counts in enumerate(tallies.values())]
        every = [sketch for _ in names for sketch in sketches]
        index = array("i", [index for sketch in every for index in sketch.indices])
        count = array("I", [count for sketch in every for count in sketch.counts])
        end = array("I", [sum(len(sketch.counts) for sketch in every[: i + 1]) for i in range(len(every))])
        zero = array("I", [sketch.zero for sketch in every])
        words = array("Q", [word for name in names for word in name])
        arrays = {"index": index, "found": count, "end": end, "zero": zero, "roots": array("I", [roots] * len(names))}
        self._held = ctypes.create_string_buffer(b"".join(tally)), array("I", [1] * len(names)), words, arrays
        self.counts = Counts(
            names=Names(count=len(names), name=words.buffer_info()[0]),
            width=len(sketches),
            tallies=len(tallies),
            tally_of=self._held[1].buffer_info()[0],
            tally=ctypes.addressof(self._held[0]),
            buckets=len(index),
            **{name: each.buffer_info()[0] for name, each in arrays.items()},
        )


def _rows() -> RowsInC:
    found = library()
    assert found is not None
    return RowsInC(RowWriter(found), ORIGINS)


def _call(caller: int, callee: int, window: int = WINDOW, message: bool = False) -> tuple[int, int]:
    return caller << 32 | callee, window << 1 | message


_NONE_OPEN = _Counted([], {1.0: (1, 0)}, [Sketch()])
_NO_CALLS = _Counted([], {1.0: (1, 0)}, [Sketch()] * 3)


@given(tallies=_TALLIES, client=_SKETCHES, server=_SKETCHES, gap=_SKETCHES)
@example(tallies={1.0: (3, 1)}, client=Sketch(), server=Sketch((-1,), (1,)), gap=Sketch((), (), 2))
def test_a_row_of_an_edge_is_what_the_encoder_makes_of_the_same_counts(
    tallies: _Tallies, client: Sketch, server: Sketch, gap: Sketch
) -> None:
    row = EdgeSums(tuple((weight, *counts) for weight, counts in tallies.items()), client, server, gap).row(NAME)
    calls = _Counted([_call(0, 1)], tallies, (client, server, gap))
    found = _rows().edges(calls.counts, _NONE_OPEN.counts, array("I"), list(tallies))
    assume(found is not None)
    ((window, environment, rows),) = found or []
    assert (window, environment, list(rows.names), rows.value, rows.calls) == (
        WINDOW,
        "prod",
        [NAME],
        msgspec.json.encode(row) + b",",
        row.calls,
    )
    assert sorted(rows.tallies(0)) == sorted((weight, *counts) for weight, counts in tallies.items())


@given(tallies=_TALLIES, client=_SKETCHES)
def test_a_row_of_an_edge_that_nobody_answered_is_what_the_encoder_makes_of_the_same_counts(tallies: _Tallies, client: Sketch) -> None:
    name = ("shop/caller", "orders", EdgeKind.DATABASE, "2", UNKNOWN_VERSION)
    rows = _rows()
    edges = rows.open_edges([(0, Settled("none", EdgeKind.EXTERNAL)), (2, Settled("orders", EdgeKind.DATABASE))])
    opened = _Counted([(1, WINDOW)], tallies, (client,))
    found = rows.edges(_NO_CALLS.counts, opened.counts, edges, list(tallies))
    assume(found is not None)
    row = EdgeSums(tuple((weight, *counts) for weight, counts in tallies.items()), client).row(name)
    ((window, environment, made),) = found or []
    assert (window, environment, list(made.names), made.value) == (WINDOW, "dev", [name], msgspec.json.encode(row) + b",")
    assert (made.calls, made.open, made.open_to) == (0, [0], {"orders"})
    assert sorted(made.tallies(0)) == sorted((weight, *counts) for weight, counts in tallies.items())


@given(tallies=_TALLIES, latency=_SKETCHES, roots=st.integers(0, 1 << 31))
def test_a_row_of_a_service_is_what_the_encoder_makes_of_the_same_counts(tallies: _Tallies, latency: Sketch, roots: int) -> None:
    arrived = _Counted([(1, WINDOW)], tallies, (latency,), roots)
    found = _rows().arrivals(arrived.counts, list(tallies))
    assume(found is not None)
    calls, errors, estimated, estimated_errors = sums_of([(weight, *counts) for weight, counts in tallies.items()])
    row = ServiceWindow('cal"lee', "ü", calls, errors, estimated, roots, latency, estimated_errors)
    ((window, environment, rows),) = found or []
    assert (window, environment, list(rows.names), rows.value) == (WINDOW, "prod", [('cal"lee', "ü")], msgspec.json.encode(row) + b",")


def test_a_number_that_needs_an_exponent_is_left_to_python() -> None:
    for calls, is_written in ((10, True), (1_000, False)):
        counted = _Counted([_call(0, 1)], {1e13: (calls, 0)}, (Sketch(),) * 3), _Counted([(0, WINDOW)], {1e13: (calls, 0)}, (Sketch(),))
        assert (_rows().edges(counted[0].counts, _NONE_OPEN.counts, array("I"), [1e13]) is not None) == is_written
        assert (_rows().arrivals(counted[1].counts, [1e13]) is not None) == is_written


_ORIGINS = st.builds(
    Origin, st.sampled_from(["prod", "prod", "dev"]), st.sampled_from(['a"', "é"]), st.sampled_from(["1", "10", "2", "call"])
)
_OPEN = st.builds(Settled, st.text('aé"', max_size=2), st.sampled_from([EdgeKind.DATABASE, EdgeKind.EXTERNAL]))


@given(origins=st.lists(_ORIGINS, unique=True, min_size=3, max_size=8), calls=st.data())
def test_rows_are_told_apart_by_window_and_environment_and_come_in_order_of_name(origins: list[Origin], calls: st.DataObject) -> None:
    """Texts that are new to the writer later than others come in order with them; two rows of one name, of callers in two environments,
    are left to Python."""
    number = st.integers(0, len(origins) - 1)
    found = library()
    assert found is not None
    rows = RowsInC(RowWriter(found), origins)
    for _ in range(2):
        called = calls.draw(st.lists(st.tuples(number, number, st.integers(-1, 1), st.booleans()), unique=True, max_size=12))
        opened = calls.draw(st.lists(st.tuples(number, _OPEN), unique=True, max_size=6))
        names = [_call(*one) for one in called]
        first = _Counted([(a, b % (1 << 64)) for a, b in names], {1.0: (1, 0)}, (Sketch(),) * 3)
        second = _Counted([(edge, 0) for edge in range(len(opened))], {1.0: (1, 0)}, (Sketch(),))
        made = rows.edges(first.counts, second.counts, rows.open_edges(opened), [1.0])
        want: dict[tuple[int, str], list[EdgeName]] = {}
        for caller, callee, window, message in called:
            above, below, kind = origins[caller], origins[callee], EdgeKind.MESSAGE if message else EdgeKind.CALL
            want.setdefault((window, below.environment), []).append((above.service, below.service, kind, above.version, below.version))
        for caller, to in opened:
            above = origins[caller]
            want.setdefault((0, above.environment), []).append((above.service, to.callee, to.kind, above.version, UNKNOWN_VERSION))
        assert (made is None) == any(len(set(named)) < len(named) for named in want.values())
        if made is None:
            continue
        assert {(window, environment): list(each.names) for window, environment, each in made} == {k: sorted(v) for k, v in want.items()}
        for _, _, each in made:
            read = msgspec.json.decode(b"".join(array_of([each.value])), type=list[EdgeWindow])
            assert [(row.caller, row.callee, row.kind, row.caller_version, row.callee_version) for row in read] == list(each.names)
            assert [name for name in each.names if name[2] in {"database", "external"}] == [each.names[place] for place in each.open]


def _differing_in(name: str, last: bool) -> tuple[Origin, Origin]:
    """Caller and callee; the second pair has a higher text for one of the names that a row is put in order by."""
    text = dict.fromkeys(("caller", "callee", "caller_version", "callee_version"), "a") | ({name: "b"} if last else {})
    return Origin("prod", text["caller"], text["caller_version"]), Origin("prod", text["callee"], text["callee_version"])


@pytest.mark.parametrize("first_counted", ["the first", "the last"])
@pytest.mark.parametrize("name", ["caller", "callee", "caller_version", "callee_version"])
def test_rows_that_differ_in_one_name_come_in_order_of_it_whichever_was_counted_first(name: str, first_counted: str) -> None:
    found = library()
    assert found is not None
    pairs = [_differing_in(name, last) for last in (False, True)]
    if first_counted == "the last":
        pairs.reverse()
    rows = RowsInC(RowWriter(found), [origin for pair in pairs for origin in pair])
    calls = _Counted([_call(0, 1), _call(2, 3)], {1.0: (1, 0)}, (Sketch(),) * 3)
    ((_, _, made),) = rows.edges(calls.counts, _NONE_OPEN.counts, array("I"), [1.0]) or []
    want = sorted((above.service, below.service, EdgeKind.CALL, above.version, below.version) for above, below in pairs)
    assert list(made.names) == want
    assert [(row.callee, row.callee_version) for row in msgspec.json.decode(b"".join(array_of([made.value])), type=list[EdgeWindow])] == [
        (each[1], each[4]) for each in want
    ]


@pytest.mark.parametrize("message_first", [False, True])
def test_a_call_and_a_message_between_the_same_come_in_order_of_kind_whichever_was_counted_first(message_first: bool) -> None:
    calls = _Counted([_call(0, 1, message=message_first), _call(0, 1, message=not message_first)], {1.0: (1, 0)}, (Sketch(),) * 3)
    ((_, _, made),) = _rows().edges(calls.counts, _NONE_OPEN.counts, array("I"), [1.0]) or []
    assert [kind for _, _, kind, _, _ in made.names] == [EdgeKind.CALL, EdgeKind.MESSAGE]


def test_what_was_written_of_a_name_too_many_counts_under_the_other_name() -> None:
    rows = _rows()
    databases = [Settled(name, EdgeKind.DATABASE) for name in ("a", "b", "c")]
    opened = _Counted([(edge, WINDOW) for edge in range(3)], {1.0: (4, 1)}, (Sketch((5,), (4,)),))
    ((_, environment, made),) = rows.edges(_NO_CALLS.counts, opened.counts, rows.open_edges([(0, to) for to in databases]), [1.0]) or []
    fold = WindowFold()
    fold.put_rows(made)
    fold.edge(("shop/caller", "c", EdgeKind.DATABASE, "1", UNKNOWN_VERSION)).tally.add(1, 0, 1.0)
    KnownNames(1).cap(environment, fold)
    part = fold.part(environment, 0, 0, 0)
    assert [(row.callee, row.calls, row.errors, row.client) for row in part.edges] == [
        ("a", 4, 1, Sketch((5,), (4,))),
        ("other", 9, 2, Sketch((5,), (8,))),
    ]
    assert part.edges[1].server == EMPTY


_NAMES = st.lists(st.tuples(st.text("abc", max_size=2), *[st.just("x")] * 4), unique=True, max_size=12)


@given(names=_NAMES, others=_NAMES, without=st.sets(st.integers(0, 11)))
def test_rows_come_in_order_of_name_and_an_other_row_stands_for_one_of_its_name(
    names: list[EdgeName], others: list[EdgeName], without: set[int]
) -> None:
    names, others = sorted(names), sorted(others)
    without = {place for place in without if place < len(names)}
    each = [f"[{name[0]}]".encode() for name in names]
    ends = [sum(len(row) + 1 for row in each[: i + 1]) for i in range(len(each))]
    rows = WrittenRows(names, b"".join(row + b"," for row in each), ends, 0, lambda _: ())
    kept = {name: row for place, (name, row) in enumerate(zip(names, each, strict=True)) if place not in without}
    both = {**kept, **{name: f"<{name[0]}>".encode() for name in others}}
    found = rows.with_rows([(name, f"<{name[0]}>".encode()) for name in others], without)
    assert b"".join(found) == b"".join(both[name] + b"," for name in sorted(both))
    assert b"".join(array_of(found)) == b"[" + b",".join(both[name] for name in sorted(both)) + b"]"
    assert [rows.find(name) is not None for name in others] == [name in names for name in others]


def test_a_row_is_read_again_in_words() -> None:
    row = EdgeWindow(*NAME, 3, 1, 3.0, 1.0, Sketch((4,), (3,)))
    value = msgspec.json.encode(row) + b","
    assert WrittenRows([NAME, NAME], value + value, [len(value), 2 * len(value)], 6, lambda _: ()).read(1, EdgeWindow) == row
