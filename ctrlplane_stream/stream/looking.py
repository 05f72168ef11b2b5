"""A look at one environment as the log has it now: what a new owner would recover, without claiming anything."""

import msgspec

from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC, Fence, admitted
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.recovery import fold_lines
from ctrlplane_stream.stream.snapshots import load_snapshot
from ctrlplane_stream.wire.kafka_clients import partition_of


class LookedAt(msgspec.Struct, frozen=True):
    """The environment's state, and every decision of it that the log still holds, with offsets."""

    partition: int
    state: State
    decisions: tuple[tuple[int, Decided], ...]


async def look_at_state(settings: Settings, environment: str) -> State:
    """The environment's state alone, which takes no more than what came since the last snapshot. Raises as ``look`` does."""
    partition = partition_of(environment, settings.partitions)
    reader = KafkaLogReader(settings)
    try:
        return (await _state(reader, environment, partition))[0]
    finally:
        await reader.close()


async def look(settings: Settings, environment: str) -> LookedAt:
    """Read the environment's partition to its end. Raises KafkaError where no broker answers."""
    partition = partition_of(environment, settings.partitions)
    reader = KafkaLogReader(settings)
    try:
        state, end = await _state(reader, environment, partition)
        records = admitted(reader, partition, 0, end, Fence())
        decisions = tuple([(offset, r) async for offset, _, r in records if isinstance(r, Decided) and r.environment == environment])
    finally:
        await reader.close()
    return LookedAt(partition, state, decisions)


async def _state(reader: KafkaLogReader, environment: str, partition: int) -> tuple[State, int]:
    """The state, and the end of the log that it is as of: never before the snapshot, which is read first."""
    snapshot, lines = await load_snapshot(reader, partition)
    end = await reader.end(TOPIC, partition)
    await fold_lines(reader, partition, lines, Fence(snapshot.epoch), snapshot.next_offset, end)
    line = lines.get(environment)
    return (line.state if line is not None else State.empty(environment)), end
