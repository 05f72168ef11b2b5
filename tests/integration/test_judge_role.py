"""The judge role on a real broker: what it knows of an environment may outgrow a record, and is whole after a kill."""

import asyncio
import time

import msgspec
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ctrlplane_stream.decision.judge import ClosedWindow, EnvironmentState, judge_environment
from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.windows import Closed, ServiceWindow, WindowPart
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.judge_records import Docket, JudgeRecords, environment_of, judge_record
from ctrlplane_stream.stream.window_line import Place
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.topic_admin import admin_client, ensure_topics

START, BEFORE = 1_700_000_000, 40
MOST_BYTES = 1_200_000
"""A batch of small records is below that."""
LATENCIES = sketch.of([1_000.0 * 1.03**number for number in range(200)])
NAMES = [f"shop/svc-{number:03}" for number in range(400)]
NEW = [f"shop/job-{number:03}" for number in range(400)]


def part(environment: str, number: int, names: list[str]) -> WindowPart:
    """A window of a service each."""
    rows = tuple(ServiceWindow(name, "#1", 200, 0, 200.0, 0, LATENCIES) for name in names)
    return WindowPart(environment, 0, START + number * 10, 0, services=rows)


def as_an_earlier_build_wrote_it(environment: str) -> bytes:
    """After ``BEFORE`` windows: one record, which does not say when a service was heard of."""
    known = EnvironmentState()
    for number in range(BEFORE):
        known, _ = judge_environment(known, (), ClosedWindow(START + number * 10, (part(environment, number, NAMES),)))
    old = msgspec.to_builtins(Docket(Place(0, known.window), known))
    for past in old["known"]["baseline"]["services"].values():
        del past["heard"]
    return msgspec.json.encode(old)


async def limit_records(settings: Settings) -> None:
    """As if the past were of ten times as many services."""
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic("judge-state"), configs={"max.message.bytes": str(MOST_BYTES)})
    async with admin_client(settings) as client:
        await client.alter_configs([resource])


async def known(settings: Settings) -> dict[str, Docket]:
    """What a worker that starts now would know."""
    newest: dict[str, bytes] = {}
    async for found in read_to_end(settings, "judge-state"):
        name = (found.key or b"").decode()
        newest.pop(name, None)
        if found.value is not None:
            newest[name] = found.value
    environments = sorted({environment_of(name) for name in newest})
    found = {name: judge_record(name, value) for name, value in newest.items()}
    dockets = {each: JudgeRecords(each).restore({n: r for n, r in found.items() if environment_of(n) == each}) for each in environments}
    return {each: docket for each, docket in dockets.items() if docket is not None}


async def send(settings: Settings, number: int, names: dict[str, list[str]]) -> None:
    """A whole window of each environment."""
    async with producer(settings) as client:
        for environment, heard in names.items():
            for record in (part(environment, number, heard), Closed(environment, 0, START + number * 10)):
                await client.send_and_wait(
                    settings.topic("telemetry-windows"), msgspec.json.encode(record), key=environment.encode(), partition=0
                )


async def knows_window(settings: Settings, workers: Workers, number: int) -> dict[str, Docket]:
    """Wait until both environments are judged so far."""
    deadline = time.monotonic() + 90.0
    while True:
        found = await known(settings)
        if all(docket.known.window == START + number * 10 for docket in found.values()):
            return found
        workers.check()
        assert time.monotonic() < deadline, workers.tails()
        await asyncio.sleep(0.3)


async def drive(settings: Settings, workers: Workers) -> dict[str, Docket]:
    """Windows with as many new names as would not fit into one record, and a kill between them; what is known in the end."""
    await ensure_topics(settings)
    await limit_records(settings)
    async with producer(settings) as client:
        for environment in ("large", "small"):
            value = as_an_earlier_build_wrote_it(environment)
            assert MOST_BYTES / 2 < len(value) < MOST_BYTES, len(value)
            await client.send_and_wait(settings.topic("judge-state"), value, key=environment.encode(), partition=0)
    workers.start(settings, "judge", "judge")
    await send(settings, BEFORE, {"large": [*NAMES, *NEW], "small": NAMES})
    await knows_window(settings, workers, BEFORE)
    await send(settings, BEFORE + 1, {"large": [*NAMES, *NEW], "small": NAMES})
    workers.kill("judge")
    await send(settings, BEFORE + 2, {"large": [*NAMES, *NEW], "small": NAMES})
    workers.start(settings, "judge", "judge")
    return await knows_window(settings, workers, BEFORE + 2)


def test_the_past_may_outgrow_a_record_and_takes_every_window_once(
    kafka: EmbeddedKafka | NamedKafka, topic_prefix: str, workers: Workers
) -> None:
    """It was one record of an environment: the first window with which that grew too large ended the worker, for all, again and again."""
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=1)
    found = asyncio.run(drive(settings, workers))
    pasts = {environment: docket.known.baseline for environment, docket in found.items()}
    assert {environment: len(baseline.services) for environment, baseline in pasts.items()} == {"large": 800, "small": 400}
    assert {past.totals().windows for past in pasts["small"].services.values()} == {BEFORE + 3}
    assert {pasts["large"].of(name).totals().windows for name in NAMES} == {BEFORE + 3}
    assert {pasts["large"].of(name).totals().windows for name in NEW} == {3}
    assert len(msgspec.json.encode(found["large"])) > MOST_BYTES
