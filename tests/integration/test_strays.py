"""What somebody else wrote where roles keep what they know keeps none of them from starting, and is told with its place."""

import asyncio
import time
from collections import Counter

import msgspec
import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.model.windows import Closed, ServiceWindow, WindowPart
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.judge_records import Head
from ctrlplane_stream.wire.dead_letters import read_letter
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.topic_admin import ensure_topics

START = 1_700_000_000
DEEP = b"[" * 100_000
STRAYS = {
    "dependency-table": [(b"nix", b"garbage"), (b"live/head", b"{"), (b"live/7", DEEP), (b"\xff", b"{}")],
    "judge-state": [(b"nix", b"garbage"), (b"live/head", b'{"window":"\xff"}'), (b"live/steps-0-0", DEEP), (b"\xff", b"{}")],
    "pair-checkpoints": [(b"nix", b"garbage"), (b"0", b"\x28\xb5\x2f\xfd broken"), (b"\xff", b"{}")],
}


@pytest.fixture
def settings(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> Settings:
    """Topics of one partition."""
    told = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=1)
    asyncio.run(ensure_topics(told))
    return told


async def letters(settings: Settings) -> Counter[tuple[str, tuple[int, int]]]:
    """How many letters there are about each record."""
    found = [read_letter(r.partition, r.offset, r.value, r.headers) async for r in read_to_end(settings, "dead-letters")]
    return Counter((letter.topic, letter.origin) for letter in found)


async def judged_through(settings: Settings) -> int:
    """The last window that the judge has taken of ``live``."""
    newest = -1
    async for found in read_to_end(settings, "judge-state"):
        if found.key == b"live/head" and found.value is not None and b"\xff" not in found.value:
            newest = msgspec.json.decode(found.value, type=Head).window
    return newest


async def until_judged(settings: Settings, workers: Workers, window: int) -> None:
    """Write a whole window, and wait until the judge has taken it and spans has told its strays."""
    part = WindowPart("live", 0, window, 0, services=(ServiceWindow("shop/cart", "1", 9, 0, 9.0, 9),))
    async with producer(settings) as client:
        for record in (part, Closed("live", 0, window)):
            await client.send_and_wait(settings.topic("telemetry-windows"), msgspec.json.encode(record), key=b"live", partition=0)
    deadline = time.monotonic() + 60.0
    while await judged_through(settings) < window or len(await letters(settings)) < sum(map(len, STRAYS.values())):
        workers.check()
        assert time.monotonic() < deadline, workers.tails()
        await asyncio.sleep(0.3)


async def drive(settings: Settings, workers: Workers) -> None:
    async with producer(settings) as client:
        for topic, strays in STRAYS.items():
            for key, value in strays:
                await client.send_and_wait(settings.topic(topic), value, key=key, partition=0)
    for window in (START, START + 10):
        for role in ("judge", "spans"):
            workers.start(settings, role, role)
        await until_judged(settings, workers, window)
        for role in ("judge", "spans"):
            workers.kill(role)


@pytest.mark.timeout(180)
def test_a_stray_record_among_what_a_role_keeps_stops_no_role_and_has_one_letter(settings: Settings, workers: Workers) -> None:
    """Also at the next start, when some of them are written over."""
    asyncio.run(drive(settings, workers))
    places = {(topic, (0, offset)) for topic, strays in STRAYS.items() for offset in range(len(strays))}
    assert asyncio.run(letters(settings)) == Counter(places)
