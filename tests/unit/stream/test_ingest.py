"""What becomes of a record that tells of many things: each part is a fact, or refused, or counted, and no part keeps another."""

import asyncio
import json
from typing import Any
from unittest.mock import patch

import msgspec

from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied, OverrideVerb
from ctrlplane_stream.stream.catalog_book import CatalogBook
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.ingest import TAKEN_OFF, Ingest, TakenIn
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import OVERRIDE, OverrideData
from ctrlplane_stream.wire.editions import TAKES_OFF
from ctrlplane_stream.wire.registry import LeftOut
from tests.unit.stream.conftest import MemoryBroker

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

DATA = OverrideData(OverrideVerb.PAUSE, "production", "ada", "errors in the till")


def _catalog(*names: str) -> CatalogRecord:
    services = {name: ServiceEntry((f"registry.example/{name}",), {"production": ServiceOverride()}) for name in names}
    made = Catalog({"production": EnvironmentEntry()}, services)
    return CatalogRecord(made, catalog_hash(made), None, "tests")


def _pushed(name: str, number: int, media_type: str = _MANIFEST) -> dict[str, Any]:
    digest = f"sha256:{number:064x}"
    target = {"mediaType": media_type, "repository": name, "digest": digest, **({"tag": "1"} if media_type == _MANIFEST else {})}
    return {"id": f"e{number}", "action": "push", "target": target, "request": {"host": "registry.example"}}


def _taken_in(broker: MemoryBroker, *events: dict[str, Any]) -> TakenIn:
    value = json.dumps({"events": events}, indent=3).encode()
    record = Record("artifacts", 0, 0, 0, None, value)
    return asyncio.run(Ingest(CatalogBook(broker, 1), 1).batch([record]))[0]


def _artifacts(taken: TakenIn) -> list[str]:
    facts = [read_fact(letter.value) for letter in taken.letters]
    return [f.fact.artifact.service for f in facts if not isinstance(f, Unreadable) and isinstance(f.fact, ArtifactPushed)]


def _with(*names: str) -> MemoryBroker:
    broker = MemoryBroker()
    broker.intrude(Letter("catalog", 0, b"catalog", msgspec.json.encode(_catalog(*names))))
    return broker


def test_what_the_catalog_does_not_know_of_an_envelope_is_refused_and_keeps_nothing_else() -> None:
    taken = _taken_in(_with("cart", "pay"), _pushed("cart", 1), _pushed("alpine", 2), _pushed("pay", 3))
    assert _artifacts(taken) == ["cart", "pay"]
    assert taken.refused is not None
    assert taken.refused.reason.startswith("taken but for 1 of 3: no service of the catalog takes images from registry.example/alpine")


def test_an_envelope_of_layers_alone_is_no_dead_letter_and_counted() -> None:
    taken = _taken_in(_with("cart"), _pushed("cart", 1, "application/octet-stream"), {**_pushed("cart", 2), "action": "pull"})
    assert taken == TakenIn([], None, (LeftOut.NO_MANIFEST, LeftOut.NO_PUSH))


def test_an_envelope_of_which_nothing_is_known_is_a_dead_letter_that_says_so() -> None:
    taken = _taken_in(_with("cart"), _pushed("alpine", 1), _pushed("alpine", 2))
    assert taken.letters == []
    assert taken.refused is not None
    assert taken.refused.reason == "no service of the catalog takes images from registry.example/alpine; add it to the service's images"


def test_an_envelope_before_any_catalog_is_refused_with_the_remedy() -> None:
    taken = _taken_in(MemoryBroker(), _pushed("cart", 1))
    assert taken.refused is not None
    assert "catalog apply" in taken.refused.reason


def test_a_large_catalog_is_told_in_facts_that_a_record_holds() -> None:
    """One fact of all of them would be larger than ``facts`` takes, and ingest would end by it again and again."""
    broker = _with(*(f"s{i:05d}" for i in range(4_000)))
    record = Record("catalog", 0, 0, 0, b"catalog", broker.logs["catalog", 0][0].value)
    taken = asyncio.run(Ingest(CatalogBook(broker, 1), 1).batch([record]))[0]
    facts = [f for letter in taken.letters if not isinstance(f := read_fact(letter.value), Unreadable)]
    told = [f.fact for f in facts if isinstance(f.fact, CatalogApplied)]
    assert max(len(letter.value or b"") for letter in taken.letters) < 1_100_000
    assert [f.origin.index for f in facts if f.origin is not None] == list(range(len(told)))
    assert [fact.more for fact in told] == [True] * (len(told) - 1) + [False]
    assert told[-1].names == tuple(sorted(s.service for fact in told for s in fact.catalog.services))
    assert len(told[-1].names) == 4_000


def test_a_record_that_takes_an_older_catalog_off_is_counted_and_changes_nothing() -> None:
    """It follows what `catalog apply` has written, and whoever reads the topic from the beginning finds the newest without the older."""
    broker = _with("cart")
    broker.intrude(Letter("catalog", 0, b"catalog", None))
    broker.intrude(Letter("catalog", 0, b"another", msgspec.json.encode(_catalog("pay"))))
    broker.intrude(Letter("catalog", 0, b"gone before", None))
    ours = Record("catalog", 0, 3, 0, b"gone before", None, (TAKES_OFF,))
    taken = asyncio.run(Ingest(CatalogBook(broker, 1), 1).batch([ours]))[0]
    assert taken == TakenIn([], None, (TAKEN_OFF,))


def test_an_empty_record_that_somebody_else_wrote_under_the_catalog_is_a_dead_letter() -> None:
    broker = _with("cart")
    broker.intrude(Letter("catalog", 0, b"stray", None))
    taken = asyncio.run(Ingest(CatalogBook(broker, 1), 1).batch([Record("catalog", 0, 1, 0, b"stray", None)]))[0]
    assert taken.refused is not None
    assert taken.refused.reason.startswith("the record is empty")


def test_what_tells_more_than_a_fact_may_have_is_a_dead_letter() -> None:
    """Whatever it is: the broker would refuse the fact, and ingest would begin with its record again and again."""
    broker = _with("cart")
    event = {"specversion": "1.0", "id": "e1", "source": "/tests", "type": OVERRIDE, "data": msgspec.to_builtins(DATA)}
    record = Record("control", 0, 0, 0, None, json.dumps(event).encode())
    with patch("ctrlplane_stream.stream.ingest.MAX_FACT_BYTES", 100):
        taken = asyncio.run(Ingest(CatalogBook(broker, 1), 1).batch([record]))[0]
    assert taken.letters == []
    assert taken.refused is not None
    assert "more than the 100 of a fact" in taken.refused.reason
