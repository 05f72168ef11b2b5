"""The dependency table: what it says and when, and that a crash between two of its writes does no harm."""

import msgspec

from ctrlplane_stream.model.facts import ArrivalsObserved, EdgesFaded, EdgesObserved
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.windows import Closed, EdgeWindow, ServiceWindow, WindowPart, WindowRecord
from ctrlplane_stream.telemetry.edge_records import share_class
from ctrlplane_stream.telemetry.table import DependencyTable, TableFact, TableSettings
from ctrlplane_stream.telemetry.table_records import table_record

SETTINGS = TableSettings(partitions=2, fade_windows=3, digest_windows=1_000, half_life_windows=2, shards=4)


def edge(caller: str, callee: str, calls: int = 10) -> EdgeWindow:
    return EdgeWindow(caller, callee, EdgeKind.CALL, "1", "2", calls, 1, float(calls), 1.0)


def service(name: str, version: str = "1", requests: int = 10) -> ServiceWindow:
    return ServiceWindow(name, version, requests, 0, float(requests), 0)


def window(at: int, *rows: EdgeWindow | ServiceWindow, part: int = 0, partition: int = 0) -> WindowPart:
    edges = tuple(row for row in rows if isinstance(row, EdgeWindow))
    return WindowPart("prod", partition, at, part, edges, tuple(row for row in rows if isinstance(row, ServiceWindow)))


def closed(at: int) -> list[WindowRecord]:
    return [Closed("prod", 0, at), Closed("prod", 1, at)]


class Log:
    """A ``telemetry-windows`` partition, and a table that reads it."""

    def __init__(self) -> None:
        self.records: list[WindowRecord] = []
        self.table = DependencyTable("prod", SETTINGS)

    def write(self, *records: WindowRecord) -> list[TableFact]:
        facts: list[TableFact] = []
        for record in records:
            facts += [fact for fact in self.table.feed(len(self.records), record) if not getattr(fact, "digest", False)]
            self.records.append(record)
        return facts


def test_an_edge_is_said_once_all_partitions_closed_its_window() -> None:
    log = Log()
    assert log.write(window(100, edge("shop", "cart")), window(100, edge("shop", "cart"), partition=1), Closed("prod", 0, 100)) == []
    (fact,) = log.write(Closed("prod", 1, 100))
    assert isinstance(fact, EdgesObserved)
    assert [(seen.edge, seen.first_window, seen.calls, seen.calls_per_second) for seen in fact.edges] == [
        (EdgeKey("shop", "cart", EdgeKind.CALL), 100, 20, 2.0)
    ]
    assert log.write(window(110, edge("shop", "cart")), *closed(110)) == []


def test_an_edge_fades_by_windows_in_which_its_caller_reported_and_not_by_silence() -> None:
    log = Log()
    log.write(window(100, edge("shop", "cart"), edge("shop", "stock")), *closed(100))
    assert log.write(*(record for at in range(110, 500, 10) for record in closed(at))) == []
    facts = log.write(*(record for at in range(500, 530, 10) for record in (window(at, edge("shop", "stock")), *closed(at))))
    faded = [fact for fact in facts if isinstance(fact, EdgesFaded)]
    assert faded == [EdgesFaded(520, (EdgeKey("shop", "cart", EdgeKind.CALL),))]


def test_how_long_an_edge_lives_unused_can_be_told_anew() -> None:
    """As a policy that changes: what is rare is kept for as long as it says, from then on."""
    log = Log()
    log.table.fade_windows = 20
    log.write(window(100, edge("shop", "cart"), edge("shop", "stock")), *closed(100))
    assert log.write(*(record for at in range(110, 210, 10) for record in (window(at, edge("shop", "stock")), *closed(at)))) == []
    log.table.fade_windows = 5
    assert log.write(window(210, edge("shop", "stock")), *closed(210)) == [EdgesFaded(210, (EdgeKey("shop", "cart", EdgeKind.CALL),))]


def test_a_new_version_of_a_service_is_said() -> None:
    log = Log()
    log.write(window(100, service("cart")), *closed(100))
    assert log.write(window(110, service("cart")), *closed(110)) == []
    fact = log.write(window(120, service("cart", "2")), *closed(120))[0]
    assert isinstance(fact, EdgesObserved)
    assert [seen.versions for seen in fact.services] == [("1", "2")]


def test_arrivals_are_said_for_services_in_motion_also_where_nothing_came() -> None:
    log = Log()
    log.table.in_motion = frozenset({"cart"})
    facts = log.write(window(100, service("cart", "2", 7)), window(100, service("cart", "2", 5), partition=1), *closed(100), *closed(110))
    assert [fact.arrivals for fact in facts if isinstance(fact, ArrivalsObserved)] == [{"cart": {"2": 12}}, {"cart": {}}]


def test_arrivals_are_said_while_versions_change_by_whoevers_hand_and_for_a_minute_after() -> None:
    log = Log()
    log.write(window(100, service("cart", "1", 9)), *closed(100))
    told = [log.write(window(at, service("cart", "2", 7)), *closed(at)) for at in range(110, 200, 10)]
    arrived = [[fact.arrivals for fact in facts if isinstance(fact, ArrivalsObserved)] for facts in told]
    assert arrived == [[{"cart": {"2": 7}}]] * 6 + [[]] * 3


def test_the_edges_of_a_caller_of_many_over_many_versions_fit_a_record_and_are_read_again() -> None:
    """A webhook sender that was deployed 32 times, each time under another digest."""
    log = Log()
    digests = [f"sha256:{number:064}" for number in range(32)]
    for at, digest in enumerate(digests):
        rows = [EdgeWindow("hooks", f"{n:04}.customer.example", EdgeKind.EXTERNAL, digest, "unknown", 7, 1, 7.0, 1.0) for n in range(2_200)]
        log.write(window(100 + 10 * at, *rows), *closed(100 + 10 * at))
    written = log.table.dirty()
    assert sum(len(msgspec.json.encode(edge)) for edge in log.table.edges()) > 12_582_912 > 2 * max(len(value) for _, value in written)
    again = DependencyTable("prod", SETTINGS)
    again.restore((name, table_record(name, value)) for name, value in written)
    assert list(again.edges()) == list(log.table.edges())


def test_a_version_for_each_request_makes_no_fact_that_is_larger_than_a_record() -> None:
    log = Log()
    log.write(window(100, service("cart", "#1")), *closed(100))
    facts = log.write(window(110, service("cart", "#1"), *(service("cart", f"{n:0100}", 1) for n in range(50_000))), *closed(110))
    assert max(len(msgspec.json.encode(fact)) for fact in facts) < 4_194_304
    ((arrived,),) = [fact.arrivals.values() for fact in facts if isinstance(fact, ArrivalsObserved)]
    assert arrived["#1"] == 10
    assert sum(arrived.values()) == 50_010


def test_spans_without_a_version_are_no_other_version() -> None:
    log = Log()
    facts = log.write(window(100, service("cart", "1"), service("cart", "unknown")), *closed(100))
    assert not any(isinstance(fact, ArrivalsObserved) for fact in facts)


def test_a_late_part_adds_up_and_a_repeated_part_does_not() -> None:
    log = Log()
    late = window(100, edge("shop", "cart", 1), part=31)
    log.write(window(100, edge("shop", "cart")), window(100, edge("shop", "cart")), *closed(100), late, late, *closed(110))
    log.write(late, window(100, edge("shop", "cart")), *closed(120))
    assert [record.calls for record in log.table.edges()] == [11]


def test_a_crash_between_any_two_writes_does_no_harm() -> None:
    """Whatever prefix of the last writes was made, reading from the restart offset gives the same table."""
    log = Log()
    rows = [edge("shop", "cart"), edge("cart", "stock"), edge("stock", "bank"), service("cart"), service("bank")]
    log.write(window(100, *rows), *closed(100))
    stored = dict(log.table.dirty())
    log.write(window(110, *rows[:3]), window(120, edge("shop", "bank")), *closed(110))
    writes = log.table.dirty()
    log.write(window(100, edge("shop", "cart"), part=9), *closed(120))
    expected = [(record.edge, record.calls, record.last_window) for record in log.table.edges()]
    for cut in range(len(writes) + 1):
        again = DependencyTable("prod", SETTINGS)
        again.restore((name, table_record(name, value)) for name, value in (stored | dict(writes[:cut])).items())
        for offset in range(again.restart_offset, len(log.records)):
            again.feed(offset, log.records[offset])
        assert [(record.edge, record.calls, record.last_window) for record in again.edges()] == expected


def test_a_share_near_a_bound_does_not_flutter() -> None:
    assert [share_class(share, None) for share in (0.0005, 0.005, 0.05, 0.5)] == [0, 1, 2, 3]
    assert share_class(0.11, 2) == 2
    assert share_class(0.16, 2) == 3
    assert share_class(0.09, 3) == 3
    assert share_class(0.06, 3) == 2
