"""However much the dependency table has to say at once, no fact of it is larger than a record may be."""

import msgspec
import pytest

from ctrlplane_stream.model.facts import EdgeSeen, EdgesFaded, EdgesObserved, ServiceSeen
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.telemetry import telling
from ctrlplane_stream.telemetry.telling import in_records

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
