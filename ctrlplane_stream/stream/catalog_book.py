"""The catalog as every ingesting process knows it: tailed from its topic, in no group, by whoever needs it."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.model.catalog import Catalog, EnvironmentCatalog
from ctrlplane_stream.model.facts import CatalogApplied
from ctrlplane_stream.stream.ports import LogReader, Record
from ctrlplane_stream.wire.catalog_file import CatalogRecord
from ctrlplane_stream.wire.catalog_parts import parts_of
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.editions import TOPIC, Editions


class Edition(msgspec.Struct, frozen=True):
    """An accepted catalog: where it stands, what it replaced, and how its record is dated."""

    partition: int
    offset: int
    record: CatalogRecord
    before: Catalog | None
    at_ms: int


class CatalogBook:
    """Editions in their order, as far as they were read."""

    def __init__(self, reader: LogReader, partitions: int) -> None:
        self._reader = reader
        self._next = dict.fromkeys(range(partitions), 0)
        self._read = Editions()
        self._editions: dict[tuple[int, int], Edition | Unreadable] = {}
        self._untold: list[Edition] = []

    @property
    def catalog(self) -> Catalog | None:
        """The catalog in force as far as it was read; None before the first."""
        return self._read.in_force.record.catalog if self._read.in_force is not None else None

    async def refresh(self) -> None:
        """Read on to the end of the topic."""
        for partition, start in self._next.items():
            async for found in self._reader.read(TOPIC, partition, start):
                self._take(found)
                self._next[partition] = found.offset + 1

    async def edition(self, found: Record) -> Edition | Unreadable:
        """What became of the record at this place."""
        place = found.partition, found.offset
        if place not in self._editions:
            await self.refresh()
        return self._editions.get(place, Unreadable("the record was replaced by a later one before it was read"))

    def _take(self, found: Record) -> None:
        before = self.catalog
        taken = self._read.take((found.partition, found.key), found.value, found.at_ms)
        place = found.partition, found.offset
        if isinstance(taken, Unreadable):
            self._editions[place] = taken
            return
        edition = self._editions[place] = Edition(found.partition, found.offset, taken.record, before, found.at_ms)
        self._untold.append(edition)

    def take_untold(self) -> list[Edition]:
        """Accepted editions that were not asked for before, in order: tell them before anything that relies on them."""
        untold, self._untold = self._untold, []
        return untold


def facts_of(edition: Edition) -> list[tuple[str, CatalogApplied]]:
    """What each environment is told, in order of name, also where the new catalog has nothing left of it; a large one in several facts."""
    record = edition.record
    gone = set(edition.before.environments) - set(record.catalog.environments) if edition.before is not None else set()
    views = [record.catalog.view(name) for name in record.catalog.environments]
    views += [EnvironmentCatalog(name, ()) for name in gone]
    return [(v.environment, fact) for v in sorted(views, key=lambda v: v.environment) for fact in _told(v, record)]


def _told(view: EnvironmentCatalog, record: CatalogRecord) -> Iterator[CatalogApplied]:
    *first, last = parts_of(view)
    for part in first:
        yield CatalogApplied(EnvironmentCatalog(view.environment, part), record.hash, record.who, record.why, more=True)
    names = tuple(s.service for s in view.services) if first else None
    yield CatalogApplied(replace(view, services=last), record.hash, record.who, record.why, names=names)
