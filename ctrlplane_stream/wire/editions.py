"""Which of the records on the topic ``catalog`` is in force, and which nobody needs any more.

A record is accepted only if it is based on the catalog in force, so two people who edit at once cannot overwrite each other
unawares. Of a topic from which older ones were taken off, what is read first is accepted, whatever it says it is based on.

Each record has a key of its own: of two under one key the broker would keep the later, which may be the refused one, and whoever reads
the topic after that would begin with it. So what nobody needs has to be taken off by name. Whoever applies a catalog does that, in an
order in which the broker may forget any part of it at any time: refused ones first, since an accepted one that was read first would
make them the first otherwise; then accepted ones, the oldest first.
"""

import msgspec

from ctrlplane_stream.wire.catalog_file import CatalogRecord, overwrites_unawares, read_catalog_record
from ctrlplane_stream.wire.cloudevents import Unreadable

TOPIC = "catalog"
LINE = "catalog"
"""All records lie on the partition of this key, by Kafka's own hash: there earlier builds wrote theirs, under that key."""

TAKES_OFF = ("takes-off", b"refused or replaced")
"""The header of a record that `catalog apply` takes another off with: an empty one without it is somebody's mistake."""

Place = tuple[int, bytes | None]
"""Partition and key."""


class InForce(msgspec.Struct, frozen=True):
    """An accepted catalog, where it stands, and when the broker got it (ms since the epoch)."""

    place: Place
    record: CatalogRecord
    at_ms: int


class Editions:
    """The records of the topic in their order, as far as they were read."""

    def __init__(self) -> None:
        self.in_force: InForce | None = None
        self._refused: dict[Place, None] = {}
        self._replaced: dict[Place, None] = {}

    def take(self, place: Place, value: bytes | None, at_ms: int) -> InForce | Unreadable:
        """Read the next record: an edition that is in force from now on, or why it is none. An empty one takes off what its key held."""
        for kept in (self._refused, self._replaced):
            kept.pop(place, None)
        record = self._accepted(value)
        if isinstance(record, Unreadable):
            if value is not None:
                self._refused[place] = None
            return record
        if self.in_force is not None:
            self._replaced[self.in_force.place] = None
        self.in_force = InForce(place, record, at_ms)
        return self.in_force

    def _accepted(self, value: bytes | None) -> CatalogRecord | Unreadable:
        record, current = read_catalog_record(value), self.in_force.record if self.in_force is not None else None
        if isinstance(record, Unreadable) or not overwrites_unawares(record, current):
            return record
        now = current.hash if current is not None else None
        return Unreadable(f"based on catalog {record.based_on}, but {now} is in force: run `ctrlplane-stream catalog diff` and apply again")

    @property
    def needless(self) -> list[Place]:
        """What can be taken off, in that order."""
        own = self.in_force.place if self.in_force is not None else None
        return [place for place in (*self._refused, *self._replaced) if place != own]
