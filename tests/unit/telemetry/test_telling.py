"""However much the dependency table has to say at once, no fact of it is larger than a record may be."""

import msgspec
import pytest

from ctrlplane_stream.model.facts import EdgeSeen, EdgesFaded, EdgesObserved, ServiceSeen
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.telemetry import telling
from ctrlplane_stream.telemetry.telling import few_enough, in_records

EDGES = tuple(EdgeKey("shop", f"cart-{number}", EdgeKind.CALL) for number in range(100))
SEEN = tuple(EdgeSeen(edge, 10, 20, 5, 0.5) for edge in EDGES)
SERVICES = tuple(ServiceSeen(f"cart-{number}", 20, 1.0, 0.0) for number in range(30))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a thousand bytes."""
    monkeypatch.setattr(telling, "MOST_BYTES", 1_000)


@pytest.mark.parametrize(("edges", "services"), [(SEEN, SERVICES), (SEEN, ()), ((), SERVICES), (SEEN[:1], SERVICES)])
def test_several_say_together_what_one_says(edges: tuple[EdgeSeen, ...], services: tuple[ServiceSeen, ...]) -> None:
    found = list(in_records(EdgesObserved(20, edges, services, digest=True)))
    assert len(found) > 2
    assert tuple(row for fact in found if isinstance(fact, EdgesObserved) for row in fact.edges) == edges
    assert tuple(row for fact in found if isinstance(fact, EdgesObserved) for row in fact.services) == services
    assert all(isinstance(fact, EdgesObserved) and fact.digest and fact.window == 20 for fact in found)
    assert all(len(msgspec.json.encode(fact)) <= 1_000 for fact in found)


def test_so_is_what_fades() -> None:
    found = list(in_records(EdgesFaded(20, EDGES)))
    assert len(found) > 2
    assert tuple(edge for fact in found for edge in fact.edges) == EDGES


def test_what_fits_is_told_as_it_is_and_a_single_row_cannot_be_divided() -> None:
    empty, one = EdgesObserved(20, ()), EdgesObserved(20, (EdgeSeen(EdgeKey("a" * 2_000, "b", EdgeKind.CALL), 10, 20, 5, 0.5),))
    assert list(in_records(empty)) == [empty]
    assert list(in_records(one)) == [one]


def test_arrivals_at_too_many_versions_name_ours_and_the_most_frequent_and_add_up() -> None:
    flood = {f"{number:04}": 1 for number in range(3_000)} | {"blue": 90, "#3": 0, "#12": 1, "unknown": 5}
    told = few_enough({"cart": flood, "shop": {"#1": 7}, "mail": {}})
    assert len(msgspec.json.encode(told)) <= 1_000
    assert told["shop"] == {"#1": 7}
    assert told["mail"] == {}
    assert {label: told["cart"][label] for label in ("#3", "#12", "blue")} == {"#3": 0, "#12": 1, "blue": 90}
    assert sum(told["cart"].values()) == sum(flood.values())
    assert told["cart"]["unknown"] > 2_900


def test_arrivals_at_few_versions_are_told_as_they_are() -> None:
    arrivals = {"cart": {"#1": 7, "unknown": 2}, "shop": {}}
    assert few_enough(arrivals) == arrivals
