"""Bad input on every input topic of a running worker: nothing stops, nothing disappears, and the counts add up."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.model.verdicts import Verdict, VerdictStatus
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.decision_log import Fence, read_decision
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import PUSHED
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import OverrideData, write_control
from ctrlplane_stream.wire.dead_letters import read_letter
from ctrlplane_stream.wire.kafka_clients import producer, publish, read_to_end
from ctrlplane_stream.wire.topic_admin import ensure_topics
from ctrlplane_stream.wire.verdicts import write_verdict

PARTITIONS = 3
USERS = ("artifacts", "control", "health-verdicts", "catalog")
INTERNAL = ("facts", "decisions", "span-halves", "telemetry-windows", "otlp_spans")
BAD_PER_USER_TOPIC = 2_200
BAD_PER_INTERNAL_TOPIC = 350
BIG = 10_000_000
CHANCE = random.Random(20)
IMAGE, DIGEST = "registry.example/shop/cart", "sha256:" + "a" * 64

Place = tuple[str, int, int]


def catalog() -> CatalogRecord:
    """Two environments and one service."""
    places = {"staging": EnvironmentEntry(), "production": EnvironmentEntry()}
    cart = ServiceEntry((IMAGE,), {"staging": ServiceOverride(), "production": ServiceOverride()})
    made = Catalog(places, {"shop/cart": cart})
    return CatalogRecord(made, catalog_hash(made), None, "test")


def good(topic: str, i: int) -> bytes:
    """A record that is fine; each is also sent again, out of order, truncated and distorted."""
    if topic == "artifacts":
        return cloudevents.write(f"a{i}", "test", PUSHED, {"image": IMAGE, "digest": DIGEST[:-4] + f"{i:04x}", "environment": "staging"})
    if topic == "control":
        return write_control(f"c{i}", "test", OverrideData(OverrideVerb.PAUSE, "staging", "somebody", "to see"))
    if topic == "health-verdicts":
        verdict = Verdict(judge="outside", environment="staging", rollout="r1", step=0, attempt=0, status=VerdictStatus.PASS, reason="fine")
        return write_verdict(f"v{i}", "test", verdict)
    return msgspec.json.encode(msgspec.structs.replace(catalog(), hash=f"{i:064x}"))


def distorted(topic: str, i: int) -> bytes | None:
    """One of the ways in which a record can be wrong."""
    whole = good(topic, i)
    ways: tuple[bytes | None, ...] = (
        None,
        b"",
        CHANCE.randbytes(CHANCE.randint(1, 300)),
        whole[: CHANCE.randrange(len(whole))],
        whole.replace(b"1.0", b"9.9"),
        whole.replace(b".v1", b".v7"),
        whole.replace(b"staging", b"nowhere"),
        whole.replace(b"registry.example", b"unknown.example"),
        whole.replace(b"sha256:", b"latest:"),
        b'{"specversion":"1.0","id":"x","source":"s","type":"' + PUSHED.encode() + b'","data":{"image":"' + IMAGE.encode() + b'"}}',
        whole.replace(b'"step":0', b'"step":99999999999999999999999'),
        whole.replace(b'"id":"', b'"expires_ms":-9223372036854775808,"id":"'),
        whole.replace(b'"id":"', b'"time":"9999999-99-99","id":"'),
        b"[" * 5_000,
        whole,
        good(topic, max(0, i - CHANCE.randint(1, 50))),
    )
    return ways[i % len(ways)]


@pytest.fixture
def settings(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> Settings:
    """Topics of this test's own."""
    return Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=PARTITIONS, session_timeout_seconds=6.0)


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[ChildProcess]:
    """All roles, on topics that exist and a catalog that is applied."""
    asyncio.run(ensure_topics(settings))
    asyncio.run(publish(settings, "catalog", msgspec.json.encode(catalog()), key="catalog"))
    environ = {**os.environ, **settings.variables()}
    command = [sys.executable, "-m", "ctrlplane_stream", "worker"]
    with ChildProcess("worker", command, log=tmp_path / "worker.log", environ=environ) as child:
        yield child


async def _send_bad(settings: Settings) -> None:
    async with producer(settings) as client:
        for topic in USERS:
            for i in range(BAD_PER_USER_TOPIC):
                stamp = CHANCE.choice((None, None, 1, 4_000_000_000_000))
                await client.send(
                    settings.topic(topic), distorted(topic, i), key=str(i % 7).encode(), partition=i % PARTITIONS, timestamp_ms=stamp
                )
            await client.send_and_wait(settings.topic(topic), b'{"id":"' + b"x" * BIG, key=b"big", partition=0)
        for topic in INTERNAL:
            for i in range(BAD_PER_INTERNAL_TOPIC):
                await client.send(settings.topic(topic), b"\xff" + CHANCE.randbytes(i % 200), partition=i % PARTITIONS)
        await client.flush()


async def _places(settings: Settings, topic: str) -> set[Place]:
    return {(topic, r.partition, r.offset) async for r in read_to_end(settings, topic)}


async def _dead(settings: Settings) -> dict[Place, bytes | None]:
    letters = [read_letter(r.partition, r.offset, r.value, r.headers) async for r in read_to_end(settings, "dead-letters")]
    assert all(letter.reason for letter in letters), "a dead letter without a reason"
    return {(letter.topic, *letter.origin): letter.value for letter in letters}


async def _origins(settings: Settings) -> dict[Place, int]:
    """Input records that became facts, with the number of their facts."""
    found: Counter[Place] = Counter()
    async for record in read_to_end(settings, "facts"):
        fact = read_fact(record.value)
        if not isinstance(fact, Unreadable) and fact.origin is not None:
            found[fact.origin.topic, fact.origin.partition, fact.origin.offset] += 1
    return dict(found)


async def _undecided(settings: Settings) -> int:
    """Readable facts without a decision that says applied or ignored, and why."""
    decided: set[tuple[int, int]] = set()
    fences = {p: Fence() for p in range(PARTITIONS)}
    async for record in read_to_end(settings, "decisions"):
        read = read_decision(record.value)
        if not isinstance(read, Unreadable) and fences[record.partition].admits(record.offset, read) and isinstance(read, Decided):
            assert read.reasons or read.outputs or read.delta, "ignored without a reason"
            decided.add((record.partition, read.fact_offset))
    facts = [(r.partition, r.offset) async for r in read_to_end(settings, "facts") if not isinstance(read_fact(r.value), Unreadable)]
    return len(set(facts) - decided)


async def _held(settings: Settings) -> set[Place]:
    """Every record that users' topics hold now."""
    return set().union(*[await _places(settings, topic) for topic in USERS])


async def _unaccounted(settings: Settings, held: set[Place]) -> dict[str, int]:
    """What of ``held`` is neither fact nor dead letter yet, garbage elsewhere without a dead letter, and facts undecided."""
    dead, origins = await _dead(settings), await _origins(settings)
    left = Counter(topic for topic, _, _ in held - set(dead) - set(origins))
    for topic in INTERNAL:
        left[topic] = BAD_PER_INTERNAL_TOPIC - sum(1 for place in dead if place[0] == topic)
    left["undecided"] = await _undecided(settings)
    return {what: count for what, count in left.items() if count}


async def _settled(settings: Settings, worker: ChildProcess, held: set[Place]) -> None:
    left: dict[str, int] = {}
    try:
        async with asyncio.timeout(200):
            while left := await _unaccounted(settings, held):
                assert worker.running, f"the worker ended with {left} unaccounted:\n{worker.log_tail()}"
                await asyncio.sleep(1.0)
    except TimeoutError:
        pytest.fail(f"unaccounted in the end: {left}")


@pytest.mark.timeout(420)
def test_every_record_ends_as_applied_ignored_or_dead_letter_and_the_counts_add_up(settings: Settings, worker: ChildProcess) -> None:
    """More than 10,000 records, most of them bad, over all input topics, to a worker of all roles."""
    asyncio.run(_send_bad(settings))
    held = asyncio.run(_held(settings))
    asyncio.run(_settled(settings, worker, held))

    dead, facts = asyncio.run(_dead(settings)), asyncio.run(_origins(settings))
    refused, origins = held & set(dead), held & set(facts)
    assert len(held) + len(INTERNAL) * BAD_PER_INTERNAL_TOPIC > 10_000
    assert not refused & origins, "both a fact and a dead letter"
    assert len(refused) + len(origins) == len(held), "some record became nothing"
    assert all(any(topic == place[0] for place in dead) for topic in (*USERS, *INTERNAL)), "a topic's garbage was never refused"
    assert any(place[0] == "artifacts" for place in origins), "the good ones among the bad did not get through"
    big = [value for value in dead.values() if value is not None and len(value) >= BIG]
    assert len(big) == len(USERS), "a 10 MB record lost its original bytes"


def _told(number: int, image: str, media_type: str) -> dict[str, object]:
    """An event of a registry; only manifests have a tag."""
    host, _, name = image.partition("/")
    target = {
        "mediaType": media_type,
        "digest": f"sha256:{number:064x}",
        "repository": name,
        "tag": "1" if "manifest" in media_type else "",
    }
    return {"id": f"r{number}", "action": "push", "target": target, "request": {"host": host}}


async def _send_in_order(settings: Settings, *values: bytes) -> None:
    async with producer(settings) as client:
        for value in values:
            await client.send_and_wait(settings.topic("artifacts"), value, key=b"k", partition=0)


async def _read_up_to(settings: Settings, worker: ChildProcess, last: Place) -> None:
    async with asyncio.timeout(100):
        while last not in await _origins(settings):
            assert worker.running, worker.log_tail()
            await asyncio.sleep(0.5)


@pytest.mark.timeout(180)
def test_of_a_registrys_envelope_each_part_is_taken_refused_or_left_out(settings: Settings, worker: ChildProcess) -> None:
    """Layers alone are no dead letter; what the catalog does not know makes one, whole, and does not keep what it knows."""
    layer, manifest = "application/octet-stream", "application/vnd.oci.image.manifest.v1+json"
    layers, both = (
        [_told(1, IMAGE, layer)],
        [_told(2, IMAGE, layer), _told(3, IMAGE, manifest), _told(4, "registry.example/other", manifest)],
    )
    values = [json.dumps({"events": events}, indent=3).encode() for events in (layers, both)]
    asyncio.run(_send_in_order(settings, *values, good("artifacts", 5)))
    asyncio.run(_read_up_to(settings, worker, ("artifacts", 0, 2)))
    facts = {place: count for place, count in asyncio.run(_origins(settings)).items() if place[0] == "artifacts"}
    assert facts == {("artifacts", 0, 1): 2, ("artifacts", 0, 2): 1}  # the manifest in both environments, and what is for one of them
    assert asyncio.run(_dead(settings)) == {("artifacts", 0, 1): values[1]}
