"""The inputs of one trial: numbered, so that every one of them has one effect that can be counted."""

import asyncio

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, FactRecord, Origin, OverrideRequested, OverrideVerb
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.control import OverrideData, write_control
from ctrlplane_stream.wire.kafka_clients import partition_of

_BY_CONTROL = 4
"""Every fourth input goes the whole way, through ``control`` and ingest."""
_ARTIFACTS = 6
"""Of six inputs one offers an artifact, so that rollouts are under way, commands are issued and time is asked for."""
_LATE = 24
"""By so many inputs a repeated delivery is late, every second time; it comes at once otherwise."""


class Feeding:
    """Sends inputs over all environments of a trial; ``sent`` is how many there were, repeated deliveries not counted."""

    def __init__(self, client: AIOKafkaProducer, settings: Settings, environments: int) -> None:
        self.sent = 0
        self._client, self._settings, self._environments = client, settings, environments

    def environment(self, i: int) -> str:
        """The environment of input ``i``."""
        return f"env-{i % self._environments}"

    async def apply_catalog(self) -> int:
        """One service in every environment; returns how many facts that makes."""
        names = [self.environment(i) for i in range(self._environments)]
        everywhere = {name: ServiceOverride() for name in names}
        catalog = Catalog({name: EnvironmentEntry() for name in names}, {"shop": ServiceEntry(("registry.example/shop",), everywhere)})
        value = msgspec.json.encode(CatalogRecord(catalog, catalog_hash(catalog), None, "sweep"))
        await self._client.send_and_wait(self._settings.topic("catalog"), value, key=b"catalog", partition=0)
        return len(names)

    async def feed(self, count: int) -> None:
        """Inputs over all environments; some are delivered twice, at once or late, as a fact and on the way through ``control``."""
        for _ in range(count):
            number = self.sent
            await self._send(number)
            if number % (3 * _BY_CONTROL) == 1:
                late = _LATE * (number // (3 * _BY_CONTROL) % 2)
                await self._append(max(number - late, 1))
            if number % (3 * _BY_CONTROL) == 0:
                await self._by_control(number)
        await self._client.flush()

    async def say(self, environment: str, verb: OverrideVerb, why: str = "sweep", fact_offset: int | None = None) -> int:
        """One more input, which an operator says; returns the offset of its fact."""
        number = self.sent
        self.sent += 1
        fact = OverrideRequested(f"id-{number}", verb, "sweep", why, fact_offset=fact_offset)
        return int((await (await self._append(number, fact, environment))).offset)

    async def _send(self, number: int) -> None:
        """Input ``number``, the way that its number says."""
        self.sent = number + 1
        if number % _BY_CONTROL == 0:
            await self._by_control(number)
        else:
            await self._append(number)

    async def _by_control(self, number: int) -> None:
        data = OverrideData(OverrideVerb.PAUSE, self.environment(number), "sweep", "sweep")
        value = write_control(f"id-{number}", "sweep", data)
        await self._client.send(self._settings.topic("control"), value, partition=number % self._settings.partitions)

    async def _append(self, number: int, fact: Fact | None = None, environment: str | None = None) -> "asyncio.Future[RecordMetadata]":
        """Send the fact that is made of input record ``number``."""
        if fact is None and number % _ARTIFACTS == _ARTIFACTS - 1:
            fact = ArtifactPushed(f"id-{number}", Artifact("shop", "registry.example/shop", f"sha256:{number:064x}"))
        fact = fact or OverrideRequested(f"id-{number}", OverrideVerb.PAUSE, "sweep", "sweep")
        name = environment or self.environment(number)
        origin = Origin("artifacts" if isinstance(fact, ArtifactPushed) else "control", -1, number)
        record = msgspec.json.encode(FactRecord(name, fact, origin))
        topic, partition = self._settings.topic("facts"), partition_of(name, self._settings.partitions)
        sent: asyncio.Future[RecordMetadata] = await self._client.send(topic, record, key=name.encode(), partition=partition)
        return sent
