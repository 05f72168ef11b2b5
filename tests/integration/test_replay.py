"""The replay of a whole log from a real broker, in one process and in several, and under another policy."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.model.decisions import Claim, Decided
from ctrlplane_stream.model.facts import FactRecord, TimePassed
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.stream.deciding import CORE, Decider, Recorded
from ctrlplane_stream.stream.decision_log import Fence, admitted, write_decision
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.replaying import Problem
from ctrlplane_stream.stream.replaying_all import replay_all, shared_out
from ctrlplane_stream.wire.kafka_clients import partition_of, producer

FACTS = 300
PLANTED = (1, 7)
"""The partition and the offset of a fact whose decision is written otherwise than it was decided."""


@pytest.fixture
def decided(topics: Settings) -> Settings:
    """A log of facts on every partition, decided by the product's rules, with one decision that was not."""
    asyncio.run(_write(topics))
    return topics


async def _write(settings: Settings) -> None:
    names = {partition_of(f"env-{i}", settings.partitions): f"env-{i}" for i in range(40)}
    reader = KafkaLogReader(settings)
    async with producer(settings) as client:
        for partition, name in sorted(names.items()):
            fact = msgspec.json.encode(FactRecord(name, TimePassed()))
            for _ in range(FACTS // (partition + 1)):
                await client.send(settings.topic("facts"), fact, key=name.encode(), partition=partition)
            await client.send(settings.topic("decisions"), write_decision(Claim("test", build_id())), partition=partition)
            await client.flush()
            decider = Decider(partition, settings.partitions, 0, build_id(), {}, CORE)
            async for record in reader.read("facts", partition, 0):
                answer = decider.in_turn(record)
                assert isinstance(answer, Recorded)
                assert isinstance(answer.record, Decided)
                value = answer.value
                if (partition, record.offset) == PLANTED:
                    value = write_decision(msgspec.structs.replace(answer.record, wake_at_ms=1))
                await client.send(settings.topic("decisions"), value, key=name.encode(), partition=partition)
    await reader.close()


def test_one_process_and_several_find_the_same_and_exactly_the_decision_that_is_another(decided: Settings) -> None:
    """Everything is read and compared, wherever it is done."""
    partitions = list(range(decided.partitions))
    alone, together = replay_all(decided, partitions, 1), replay_all(decided, partitions, 3)
    assert together == alone
    assert alone.facts == alone.decisions == sum(FACTS // (partition + 1) for partition in partitions)
    (found,) = alone.found
    assert (found.problem, partition_of(found.environment, decided.partitions), found.fact_offset) == (Problem.DIFFERENT, *PLANTED)
    assert '"wake_at_ms":1' in found.recorded
    assert '"wake_at_ms":1' not in found.derived


def test_partitions_are_shared_out_by_what_they_hold() -> None:
    """The longest decides how long it takes; every partition goes to exactly one."""
    assert shared_out({0: 10, 1: 90, 2: 40, 3: 50}, 2) == [[1, 0], [3, 2]]
    assert shared_out({0: 5, 1: 0}, 3) == [[0], [1], []]


POLICY = """\
steps: [{weight: 50, min_seconds: 0}, {weight: 100, min_seconds: 0}]
bake_seconds: 1
drain_seconds: 0
drain_limit_seconds: 1
on_unknown_service: soak
"""
CATALOG = """\
environments: {lab: {actuator: dry-run, policy: quick}}
policies:
  quick: {QUICK}
services:
  shop/cart: {images: [registry.example/shop/cart], configuration: {PAGE: "1"}, environments: {lab: {}}}
"""


@pytest.mark.timeout(400)
def test_under_the_policy_in_force_all_ends_alike_also_where_the_engine_was_killed(
    run: Callable[..., "subprocess.CompletedProcess[str]"], topics: Settings, workers: Workers, tmp_path: Path
) -> None:
    """A new owner has both revisions of the catalog written into `facts` again, and the artifacts: the engine drops them."""
    catalog, policy = tmp_path / "catalog.yaml", tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    catalog.write_text(CATALOG.replace("{QUICK}", f"{{{', '.join(POLICY.splitlines())}}}"))
    brisk = msgspec.structs.replace(topics, window_seconds=1, lateness_seconds=1)

    def done(*words: str) -> str:
        said = run(*words)
        assert said.returncode == 0, said.stdout + said.stderr + workers.tails()
        return said.stdout

    def until(holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline, f"{what}: {done('rollouts', 'lab')}{workers.tails()}"
            time.sleep(0.5)

    def completed() -> set[str]:
        return {r["id"] for r in json.loads(done("rollouts", "lab", "--all", "--json")) if r["phase"] == "completed"}

    def completes(rollout: str) -> None:
        done("control", "force", rollout, "--why", "nobody judges here", "--wait", "90")
        until(lambda: rollout in completed(), f"{rollout} completes")

    for role in ("actuate", "engine"):
        workers.start(brisk, role, role)
    done("catalog", "apply", str(catalog), "--wait", "90")
    done("artifact", "push", f"registry.example/shop/cart@sha256:{'1' * 64}", "--wait", "90")
    completes("lab/shop-cart/1")
    catalog.write_text(catalog.read_text().replace('PAGE: "1"', 'PAGE: "2"'))
    done("catalog", "apply", str(catalog), "--wait", "90")
    completes("lab/shop-cart/2")
    for _ in range(2):
        workers.kill("engine")
        workers.start(brisk, "engine", "engine")
        done("control", "freeze", "lab", "--why", "what a new owner hears comes after what it cannot know to be told", "--wait", "120")
    assert asyncio.run(_repeated(topics)) >= 4, "both revisions of the catalog came again, twice"
    (told,) = json.loads(done("replay", "--policy", str(policy), "--json"))
    sides = [
        (one["changed"]["shop/cart"], [one[side] and one[side]["phase"] for side in ("recorded", "other")]) for one in told["rollouts"]
    ]
    assert sides == [("nothing -> #1", ["completed", "completed"]), ("#1 -> #2", ["completed", "completed"])], told
    assert told["differences"] == {"shop/cart": []}


async def _repeated(settings: Settings) -> int:
    """How many facts the engine dropped as repetitions."""
    reader, found = KafkaLogReader(settings), 0
    partition = partition_of("lab", settings.partitions)
    async for _, _, record in admitted(reader, partition, 0, None, Fence()):
        found += isinstance(record, Decided) and any(reason.code == "repeated" for reason in record.reasons)
    await reader.close()
    return found
