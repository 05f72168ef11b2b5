"""Records of users to facts: one input record becomes one fact or more, or a dead letter. Nothing else can happen to it.

Each fact names its origin (topic, partition, offset, index), so that the engine knows a repetition. What the catalog does
not know is refused here, with the remedy, and can be replayed once the catalog knows it.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ctrlplane_stream.decision.routing import destinations
from ctrlplane_stream.model.catalog import no_such_environment
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, FactRecord, Origin, VerdictGiven
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.stream.catalog_book import TOPIC as CATALOG
from ctrlplane_stream.stream.catalog_book import CatalogBook, facts_of
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.artifacts import ArtifactEvent, read_artifacts
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import read_control
from ctrlplane_stream.wire.kafka_clients import partition_of
from ctrlplane_stream.wire.verdicts import read_verdict

FACTS = "facts"
NO_CATALOG = Unreadable("no catalog is applied yet; run `ctrlplane-stream catalog apply` and replay this record")

Facts = list[tuple[str, Fact]]
"""(environment, fact) pairs, at least one."""


class Ingest:
    """Reads the input topics of users, with the catalog at hand."""

    def __init__(self, catalog: CatalogBook, partitions: int) -> None:
        self._catalog = catalog
        self._partitions = partitions
        self._fresh = False
        self._readers: dict[str, Callable[[Record], Awaitable[Facts | Unreadable]]] = {
            "artifacts": self._artifacts,
            "catalog": self._editions,
            "control": self._control,
            "health-verdicts": self._verdicts,
        }

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that are read, by our own names."""
        return tuple(self._readers)

    async def batch(self, records: Sequence[Record]) -> list[list[Letter] | Unreadable]:
        """For each record its facts as they are to be written, or why there are none. Raises only where the broker fails.

        A record that the catalog does not know is looked up again in the newest catalog, which is read once a batch.
        """
        self._fresh = False
        return [await self._letters(found) for found in records]

    async def _refresh(self) -> bool:
        """Read the newest catalog, unless this batch did; returns whether it was read."""
        if self._fresh:
            return False
        await self._catalog.refresh()
        self._fresh = True
        return True

    async def _letters(self, found: Record) -> list[Letter] | Unreadable:
        facts = await self._readers[found.topic](found)
        if isinstance(facts, Unreadable):
            return facts
        own = [self._letter(Origin(found.topic, found.partition, found.offset, i), *told) for i, told in enumerate(facts)]
        return own if found.topic == CATALOG else [*self._untold(), *own]

    def _untold(self) -> list[Letter]:
        """The catalogs that what follows relies on, and that no fact tells of yet as far as this process knows.

        An artifact pushed right after its catalog may be read first. The engine must not hear of it before the catalog, so
        the catalog's facts go ahead under their own origins, and are known as repetitions when their record is read in turn.
        """
        return [
            self._letter(Origin(CATALOG, edition.partition, edition.offset, i), *told)
            for edition in self._catalog.take_untold()
            for i, told in enumerate(facts_of(edition))
        ]

    def _letter(self, origin: Origin, environment: str, fact: Fact) -> Letter:
        return fact_letter(FactRecord(environment, fact, origin), self._partitions)

    async def _artifacts(self, found: Record) -> Facts | Unreadable:
        events = read_artifacts(found.value)
        if isinstance(events, Unreadable):
            return events
        facts = self._pushed(events)
        if isinstance(facts, Unreadable) and await self._refresh():
            facts = self._pushed(events)
        return facts

    def _pushed(self, events: tuple[ArtifactEvent, ...]) -> Facts | Unreadable:
        catalog = self._catalog.catalog
        if catalog is None:
            return NO_CATALOG
        facts: Facts = []
        for event in events:
            places = destinations(catalog, event.image, event.service, event.environment)
            if isinstance(places, str):
                return Unreadable(places)
            facts.extend((environment, _pushed(event, service)) for environment, service in places)
        return facts

    async def _editions(self, found: Record) -> Facts | Unreadable:
        edition = await self._catalog.edition(found)
        if isinstance(edition, Unreadable):
            return edition
        return list(facts_of(edition)) or Unreadable("the catalog names no environment")

    async def _control(self, found: Record) -> Facts | Unreadable:
        event = read_control(found.value)
        if isinstance(event, Unreadable):
            return event
        return await self._known(event.environment) or [(event.environment, event.override)]

    async def _verdicts(self, found: Record) -> Facts | Unreadable:
        verdict = read_verdict(found.value)
        if isinstance(verdict, Unreadable):
            return verdict
        return await self._known(verdict.environment) or [(verdict.environment, VerdictGiven(verdict))]

    async def _known(self, environment: str) -> Unreadable | None:
        """Why the environment cannot be told anything, or None where the catalog knows it."""
        if self._knows(environment) or (await self._refresh() and self._knows(environment)):
            return None
        if self._catalog.catalog is None:
            return NO_CATALOG
        wrong = no_such_environment(environment, self._catalog.catalog)
        return Unreadable(wrong) if wrong is not None else None

    def _knows(self, environment: str) -> bool:
        catalog = self._catalog.catalog
        return catalog is not None and environment in catalog.environments


def _pushed(event: ArtifactEvent, service: str) -> ArtifactPushed:
    artifact = Artifact(service, event.image, event.digest)
    return ArtifactPushed(event.event_id, artifact, event.release, event.release_size, event.order, event.provenance)


def fact_letter(fact: FactRecord, partitions: int) -> Letter:
    """A fact as it is to be written: on its environment's partition."""
    return Letter(FACTS, partition_of(fact.environment, partitions), fact.environment.encode(), msgspec.json.encode(fact))
