"""The replay of a whole log from a real broker, in one process and in several."""

import asyncio

import msgspec
import pytest

from ctrlplane_stream.model.decisions import Claim, Decided
from ctrlplane_stream.model.facts import FactRecord, TimePassed
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.stream.deciding import CORE, Decider, Recorded
from ctrlplane_stream.stream.decision_log import write_decision
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
