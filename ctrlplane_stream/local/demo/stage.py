"""The stage: everything of the demo running, and the few things that an act may do to it.

An act may say what a user could say (offer an artifact, change the catalog, overrule) and break what could break
(kill the worker, stop the broker, stop the telemetry). It decides nothing.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiokafka.errors import KafkaError

from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.decision.phases import ENDED
from ctrlplane_stream.ending import to_its_end
from ctrlplane_stream.local.demo.audience import Audience, NotSeen, Seen
from ctrlplane_stream.local.demo.going_on import TRIED, commands_to_paste
from ctrlplane_stream.local.demo.machine import Machine
from ctrlplane_stream.local.demo.parts import Parts
from ctrlplane_stream.local.demo.setting import demo_catalog
from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.load_report import Request, read_requests
from ctrlplane_stream.local.shop.images import Behaviour, digest
from ctrlplane_stream.local.shop.orders_topic import create_orders_topic
from ctrlplane_stream.local.shop.topology import ENTRIES, ENVIRONMENT, SERVICES, service_named
from ctrlplane_stream.model.facts import OverrideVerb, Provenance
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings, load
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import PUSHED, PushedData
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.control import OverrideData, write_control
from ctrlplane_stream.wire.editions import LINE, TOPIC
from ctrlplane_stream.wire.kafka_clients import publish
from ctrlplane_stream.wire.topic_admin import TopicError, ensure_topics, remove_groups, remove_topics

PARTITIONS = 4
RATES = {"shop/frontend": 20.0, "blog/web": 5.0}
"""Requests a second at each entry: what two cores carry with everything else that runs."""
_SOURCE = "ctrlplane-stream/demo"
_LOAD_SECONDS = 3600.0
_SETUP_SECONDS = 120.0
_DYING_SECONDS = 10.0


class LeftBehind(RuntimeError):
    """What is the demo's own could not be removed from a broker that is not; the text says what and where."""


class Stage:
    """What an act can see and do. Made by ``open_stage``."""

    def __init__(self, kafka: EmbeddedKafka | NamedKafka, parts: Parts, settings: Settings, audience: Audience, machine: Machine) -> None:
        self._kafka = kafka
        self._parts = parts
        self._settings = settings
        self._catalog_hash: str | None = None
        self._configuration: dict[str, dict[str, str]] = {}
        self._builds: dict[str, int] = {}
        self._requests = parts.folder / "requests.jsonl"
        self.audience, self.machine = audience, machine
        audience.troubles = self.troubles
        self.setup_ended_ms = 0
        self.last_rollout: Rollout | None = None

    # What a user could say.

    async def configure(self, service: str, configuration: dict[str, str]) -> None:
        """Apply the catalog with this configuration over the service's own."""
        self._configuration[service] = configuration
        await self.apply_catalog()

    async def apply_catalog(self) -> None:
        """Put the demo's catalog into force."""
        catalog = demo_catalog(self._configuration)
        record = CatalogRecord(catalog, catalog_hash(catalog), self._catalog_hash, "demo")
        await publish(self._settings, TOPIC, msgspec.json.encode(record), key=str(uuid.uuid4()), beside=LINE)
        self._catalog_hash = record.hash

    async def push(self, service: str, behaviour: Behaviour) -> str:
        """Offer the next build of a service with this behaviour; returns its digest."""
        build = self._builds[service] = self._builds.get(service, 0) + 1
        image = service_named(service)
        assert image is not None
        data = PushedData(image.image, digest(service, behaviour, build), environment=ENVIRONMENT, provenance=Provenance(build=str(build)))
        value = cloudevents.write(str(uuid.uuid4()), _SOURCE, PUSHED, data)
        await publish(self._settings, "artifacts", value, key=image.image)
        return data.digest

    async def release(self, service: str, behaviour: Behaviour) -> Rollout:
        """Offer a new artifact and wait until the engine has made a rollout of it."""
        pushed = await self.push(service, behaviour)

        def begun() -> Rollout | None:
            label = self.audience.version_of(service, pushed)
            return self.audience.moving(service, label) if label else None

        await self.audience.until(lambda: begun() is not None, 20, f"a rollout of {service} to a {behaviour} image")
        rollout = begun()
        assert rollout is not None
        self.last_rollout = rollout
        return rollout

    async def override(self, verb: OverrideVerb, why: str, *, rollout: str | None = None, all_steps: bool = False) -> None:
        """Overrule the engine, as `ctrlplane-stream control` does."""
        data = OverrideData(verb=verb, environment=ENVIRONMENT, who="demo", why=why, rollout=rollout, all_steps=all_steps)
        await publish(self._settings, "control", write_control(str(uuid.uuid4()), _SOURCE, data), environment=ENVIRONMENT)

    async def ended(self, rollout_id: str, seconds: float) -> Rollout:
        """Wait until the rollout has ended, one way or the other."""

        def done() -> bool:
            found = self.audience.rollout(rollout_id)
            return found is not None and found.phase in ENDED

        await self.audience.until(done, seconds, f"the end of {rollout_id}")
        found = self.audience.rollout(rollout_id)
        assert found is not None
        return found

    # What could break.

    def kill_worker(self) -> None:
        """SIGKILL for every process of the worker."""
        self._parts.kill("worker")

    async def start_worker(self) -> None:
        """Start the worker again."""
        await asyncio.to_thread(self._parts.start_worker)

    def stop_intake(self) -> None:
        """No telemetry arrives from here on."""
        self._parts.stop("intake")

    async def start_intake(self) -> None:
        """Telemetry arrives again."""
        await asyncio.to_thread(self._parts.start_intake)

    @property
    def owns_broker(self) -> bool:
        """Whether the broker is ours to stop."""
        return isinstance(self._kafka, EmbeddedKafka)

    def stop_broker(self) -> None:
        """The broker is gone."""
        assert isinstance(self._kafka, EmbeddedKafka)
        self._kafka.stop()

    async def start_broker(self) -> None:
        """The broker is back, with its data."""
        assert isinstance(self._kafka, EmbeddedKafka)
        await asyncio.to_thread(self._kafka.start)

    # What can be seen.

    def troubles(self) -> list[str]:
        """A line for each part that ended by itself."""
        broker = self._kafka.trouble if isinstance(self._kafka, EmbeddedKafka) else None
        return [*self._parts.troubles(), *([broker] if broker else [])]

    async def deaths(self) -> list[str]:
        """The same where a connection broke: a process that is killed closes its sockets a moment before it is seen to have ended."""
        until = time.monotonic() + (_DYING_SECONDS if self.owns_broker else 0.0)
        while not (troubles := self.troubles()) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        return troubles

    def requests(self) -> list[Request]:
        """Every request of the load generator that has ended."""
        return read_requests(self._requests) if self._requests.exists() else []

    def since_setup(self) -> list[Seen]:
        """The decisions since the set-up ended."""
        return [seen for seen in self.audience.decisions if seen.decided.at_ms >= self.setup_ended_ms]

    async def world_shows(self, service: str, weights: dict[str, int], seconds: float, what: str) -> None:
        """Wait until the host itself, asked directly, shows these weights and no others; NotSeen where it does not in time."""
        deadline, shown = time.monotonic() + seconds, {}
        async with ProcessHost(self._parts.host_url) as host:
            while time.monotonic() < deadline:
                with suppress(WorldUnreachable):
                    observed = await host.observe(Target(ENVIRONMENT, service))
                    shown = {v.label: v.weight for v in observed.versions if v.weight}
                    if shown == weights:
                        return
                await asyncio.sleep(0.5)
        raise NotSeen(f"{what}: the host shows {shown} after {seconds:g} s")

    def how_to_go_on(self) -> list[str]:
        """What somebody types in another terminal to go on with what runs here."""
        return commands_to_paste(self._parts.told, self.audience.target(TRIED).newest, self._builds.get(TRIED, 0), self._parts.folder)

    # Set-up.

    async def set_up(self) -> None:
        """Bring the first version of every service up through the engine, then let users in and the first bakes end."""
        await self._reserve_routes()
        await self.apply_catalog()
        for service in SERVICES:
            await self.push(service.name, Behaviour.HEALTHY)
        names = [s.name for s in SERVICES]
        await self.audience.until(
            lambda: all(self._at_full_weight(n) for n in names), _SETUP_SECONDS, "the first version of every service at weight 100"
        )
        await self.open_doors()
        good = self.audience.target
        await self.audience.until(
            lambda: all(good(n).last_known_good is not None for n in names), _SETUP_SECONDS, "a last known good version of every service"
        )
        self.setup_ended_ms = int(time.time() * 1000)

    def _at_full_weight(self, service: str) -> bool:
        return any(v.weight == 100 for v in self.audience.target(service).observed)

    async def _reserve_routes(self) -> None:
        """Make every router first: a version is told its callees' addresses when it starts, whoever starts first."""
        async with ProcessHost(self._parts.host_url) as host:
            for service in SERVICES:
                await host.reserve(Target(ENVIRONMENT, service.name))

    async def open_doors(self) -> None:
        """Let users in, for an hour; those who are in already are replaced."""
        async with ProcessHost(self._parts.host_url) as host:
            routes = await host.routes(ENVIRONMENT)
        entries = {e.service: (RATES[e.service], routes[e.service]) for e in ENTRIES}
        await asyncio.to_thread(self._parts.start_load, entries, _LOAD_SECONDS, self._requests)


@asynccontextmanager
async def open_stage(kafka: EmbeddedKafka | NamedKafka, folder: Path) -> AsyncIterator[Stage]:
    """Everything running until the end of the `with`; then nothing of it is left."""
    shared = isinstance(kafka, NamedKafka)
    parts = Parts(folder, kafka.bootstrap, PARTITIONS, shared=shared)
    settings = load(parts.environ)
    try:
        await ensure_topics(settings)
        await create_orders_topic(settings)
        await asyncio.gather(*(asyncio.to_thread(start) for start in (parts.start_host, parts.start_intake, parts.start_worker)))
        with Machine() as machine:
            async with Audience(settings, ENVIRONMENT) as audience:
                yield Stage(kafka, parts, settings, audience, machine)
    finally:
        await to_its_end(_take_down(parts, settings, shared=shared))


async def _take_down(parts: Parts, settings: Settings, *, shared: bool) -> None:
    """Raises LeftBehind where a broker that is somebody else's does not let go of what is ours."""
    await asyncio.to_thread(parts.stop_all)
    if not shared:
        return
    try:
        await remove_topics(settings, settings.topic_prefix)
        await remove_groups(settings, settings.topic_prefix)
    except (KafkaError, TopicError, OSError) as error:
        raise LeftBehind(
            f"topics and consumer groups of this demo, which begin with {settings.topic_prefix}, may be left at "
            f"{settings.kafka_bootstrap_servers} ({str(error) or type(error).__name__}): delete them there"
        ) from error
