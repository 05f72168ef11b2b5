"""Records of users to facts: one input record becomes one fact or more, or a dead letter. Nothing else can happen to it.

But for a registry's envelope, which tells of many things: what of it is refused makes the whole a dead letter besides, and what offers
nothing is counted. Where that letter is replayed, what was taken before is known by the ids of its events.

Each fact names its origin (topic, partition, offset, index), so that the engine knows a repetition. What the catalog does
not know is refused here, with the remedy, and can be replayed once the catalog knows it.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.routing import destinations
from ctrlplane_stream.model.catalog import no_such_environment
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, FactRecord, Origin, VerdictGiven
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.stream.catalog_book import CatalogBook, facts_of
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.artifacts import ArtifactEvent, read_artifact
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import read_control
from ctrlplane_stream.wire.editions import TAKES_OFF
from ctrlplane_stream.wire.editions import TOPIC as CATALOG
from ctrlplane_stream.wire.kafka_clients import partition_of
from ctrlplane_stream.wire.registry import is_notification, read_notification
from ctrlplane_stream.wire.verdicts import read_verdict

FACTS = "facts"
MAX_FACT_BYTES = 4_000_000
"""A larger one would be refused by the broker (``topics/facts.yaml``), again after each start: its record is a dead letter instead."""
NO_CATALOG = Unreadable("no catalog is applied yet; run `ctrlplane-stream catalog apply` and replay this record")

TAKEN_OFF = "older catalog"
"""Why a record of the topic ``catalog`` that takes one off tells nothing."""

Facts = list[tuple[str, Fact]]
"""(environment, fact) pairs."""


class Told(msgspec.Struct, frozen=True):
    """What one record comes to: facts, why it is a dead letter (None: it is none), and why it, or events of it, offer nothing."""

    facts: Facts = []
    refused: Unreadable | None = None
    left_out: tuple[str, ...] = ()


class TakenIn(msgspec.Struct, frozen=True):
    """As ``Told``, the facts as they are to be written."""

    letters: list[Letter]
    refused: Unreadable | None
    left_out: tuple[str, ...]


class Ingest:
    """Reads the input topics of users, with the catalog at hand."""

    def __init__(self, catalog: CatalogBook, partitions: int) -> None:
        self._catalog = catalog
        self._partitions = partitions
        self._fresh = False
        self._readers: dict[str, Callable[[Record], Awaitable[Told]]] = {
            "artifacts": self._artifacts,
            "catalog": self._editions,
            "control": self._control,
            "health-verdicts": self._verdicts,
        }

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that are read, by our own names."""
        return tuple(self._readers)

    async def batch(self, records: Sequence[Record]) -> list[TakenIn]:
        """What each record comes to. Raises only where the broker fails.

        A record that the catalog does not know is looked up again in the newest catalog, which is read once a batch.
        """
        self._fresh = False
        return [await self._taken_in(found) for found in records]

    async def _refresh(self) -> bool:
        """Read the newest catalog, unless this batch did; returns whether it was read."""
        if self._fresh:
            return False
        await self._catalog.refresh()
        self._fresh = True
        return True

    async def _taken_in(self, found: Record) -> TakenIn:
        told = await self._readers[found.topic](found)
        own = [self._letter(Origin(found.topic, found.partition, found.offset, i, found.at_ms), *fact) for i, fact in enumerate(told.facts)]
        if (largest := max((len(letter.value or b"") for letter in own), default=0)) > MAX_FACT_BYTES:
            own, told = [], Told(refused=Unreadable(f"what it tells has {largest} bytes, more than the {MAX_FACT_BYTES} of a fact"))
        ahead = self._untold() if own and found.topic != CATALOG else []
        return TakenIn([*ahead, *own], told.refused, told.left_out)

    def _untold(self) -> list[Letter]:
        """The catalogs that what follows relies on, and that no fact tells of yet as far as this process knows.

        An artifact pushed right after its catalog may be read first. The engine must not hear of it before the catalog, so
        the catalog's facts go ahead under their own origins, and are known as repetitions when their record is read in turn.
        """
        return [
            self._letter(Origin(CATALOG, edition.partition, edition.offset, i, edition.at_ms), *told)
            for edition in self._catalog.take_untold()
            for i, told in enumerate(facts_of(edition))
        ]

    def _letter(self, origin: Origin, environment: str, fact: Fact) -> Letter:
        return fact_letter(FactRecord(environment, fact, origin), self._partitions)

    async def _artifacts(self, found: Record) -> Told:
        if found.value is not None and is_notification(found.value):
            notified = read_notification(found.value)
            if isinstance(notified, Unreadable):
                return Told(refused=notified)
            return replace(await self._offered(notified.pushed, notified.wrong), left_out=notified.left_out)
        event = read_artifact(found.value)
        return Told(refused=event) if isinstance(event, Unreadable) else await self._offered((event,))

    async def _offered(self, events: tuple[ArtifactEvent, ...], wrong: tuple[str, ...] = ()) -> Told:
        """The facts of what the catalog knows, refused for all that is wrong or that the newest catalog does not know either."""
        facts, unknown = self._pushed(events)
        if unknown and await self._refresh():
            facts, unknown = self._pushed(events)
        why = list(dict.fromkeys((*wrong, *unknown)))
        if not why:
            return Told(facts)
        taken = f"taken but for {len(wrong) + len(unknown)} of {len(wrong) + len(events)}: " if facts else ""
        return Told(facts, Unreadable(taken + "; ".join(why)))

    def _pushed(self, events: tuple[ArtifactEvent, ...]) -> tuple[Facts, list[str]]:
        """The facts of events, and why each of the others has none."""
        catalog = self._catalog.catalog
        facts: Facts = []
        unknown: list[str] = []
        for event in events:
            places = NO_CATALOG.reason if catalog is None else destinations(catalog, event.image, event.service, event.environment)
            if isinstance(places, str):
                unknown.append(places)
            else:
                facts.extend((environment, _pushed(event, service)) for environment, service in places)
        return facts, unknown

    async def _editions(self, found: Record) -> Told:
        if found.value is None and TAKES_OFF in found.headers:
            return Told(left_out=(TAKEN_OFF,))
        edition = await self._catalog.edition(found)
        if isinstance(edition, Unreadable):
            return Told(refused=edition)
        facts: Facts = [*facts_of(edition)]
        return Told(facts) if facts else Told(refused=Unreadable("the catalog names no environment"))

    async def _control(self, found: Record) -> Told:
        event = read_control(found.value)
        if isinstance(event, Unreadable):
            return Told(refused=event)
        return await self._about(event.environment, event.override)

    async def _verdicts(self, found: Record) -> Told:
        verdict = read_verdict(found.value)
        if isinstance(verdict, Unreadable):
            return Told(refused=verdict)
        return await self._about(verdict.environment, VerdictGiven(verdict))

    async def _about(self, environment: str, fact: Fact) -> Told:
        unknown = await self._known(environment)
        return Told([(environment, fact)]) if unknown is None else Told(refused=unknown)

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
