"""A catalog in parts: each small enough to be decided at once, and all of them together the whole of it."""

import msgspec

from ctrlplane_stream.model.catalog import (
    Catalog,
    EnvironmentCatalog,
    EnvironmentEntry,
    ServiceEntry,
    ServiceInEnvironment,
    ServiceOverride,
)
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash, read_catalog_file, read_catalog_record, write_catalog_file
from ctrlplane_stream.wire.catalog_parts import PART_BYTES, TOGETHER_BYTES, parts_of, too_large
from ctrlplane_stream.wire.cloudevents import Unreadable


def _catalog(services: int, *, group: int = 0, text: str = "") -> Catalog:
    """So many services, the last ``group`` of which move together, each configured by ``text``."""
    entries = {
        f"s{i:05d}": ServiceEntry(
            (f"registry.example/s{i:05d}",),
            {"production": ServiceOverride()},
            configuration={"TEXT": text} if text else {},
            moves_together="them" if i >= services - group else None,
        )
        for i in range(services)
    }
    return Catalog({"production": EnvironmentEntry()}, entries)


def _size(part: tuple[ServiceInEnvironment, ...]) -> int:
    return len(msgspec.json.encode(part))


def test_ten_thousand_services_come_in_parts_that_a_record_holds_each_service_once() -> None:
    view = _catalog(10_000).view("production")
    parts = parts_of(view)
    assert len(parts) > 1
    assert max(map(_size, parts)) < PART_BYTES * 1.01
    assert sorted(s.service for part in parts for s in part) == [s.service for s in view.services]


def test_a_usual_catalog_and_an_empty_one_are_one_part() -> None:
    view = _catalog(300).view("production")
    assert parts_of(view) == [view.services]
    assert parts_of(EnvironmentCatalog("production", ())) == [()]


def test_what_moves_together_stays_together() -> None:
    parts = parts_of(_catalog(1_200, group=900).view("production"))
    together = [part for part in parts if any(s.moves_together for s in part)]
    assert len(parts) == 2
    assert sum(s.moves_together is not None for s in together[0]) == 900


def test_what_no_record_holds_is_refused_where_it_stands() -> None:
    """By the file's check, with its line, and by whoever reads the topic, whoever wrote there."""
    catalog = _catalog(3, text="x" * TOGETHER_BYTES)
    assert [path for path, _ in too_large(catalog)] == [("services", f"s{i:05d}") for i in range(3)]
    found = read_catalog_file(write_catalog_file(catalog))
    assert isinstance(found, tuple)
    assert "more than the 2000000 that are decided at once: its configuration is too large" in found[0].text
    record = CatalogRecord(catalog, catalog_hash(catalog), None, "tests")
    read = read_catalog_record(msgspec.json.encode(record))
    assert isinstance(read, Unreadable)
    assert "too large" in read.reason


def test_a_catalog_that_its_topic_does_not_take_is_refused_as_a_whole() -> None:
    found = list(too_large(_catalog(10, text="x" * 1_300_000)))
    assert [path for path, _ in found] == [()]
    assert "more than the 12000000 that a record may have" in found[0][1]
