"""A look at one environment as the log has it now: what a new owner would recover, without claiming anything."""

import msgspec

from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC, Fence, admitted
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.recovery import fold_lines
from ctrlplane_stream.stream.snapshots import load_snapshot
from ctrlplane_stream.wire.kafka_clients import partition_of


class LookedAt(msgspec.Struct, frozen=True):
    """The environment's state, every decision of it that the log still holds, with offsets, and whether it stands still."""

    partition: int
    state: State
    decisions: tuple[tuple[int, Decided], ...]
    standstill: Standstill | None = None


async def look_at_state(settings: Settings, environment: str) -> State:
    """The environment's state alone, which takes no more than what came since the last snapshot. Raises as ``look`` does."""
    partition = partition_of(environment, settings.partitions)
    reader = KafkaLogReader(settings)
    try:
        return (await _line(reader, environment, partition))[0].state
    finally:
        await reader.close()


async def look(settings: Settings, environment: str) -> LookedAt:
    """Read the environment's partition to its end. Raises KafkaError where no broker answers."""
    partition = partition_of(environment, settings.partitions)
    reader = KafkaLogReader(settings)
    try:
        line, end = await _line(reader, environment, partition)
        records = admitted(reader, partition, 0, end, Fence())
        decisions = tuple([(offset, r) async for offset, _, r in records if isinstance(r, Decided) and r.environment == environment])
    finally:
        await reader.close()
    return LookedAt(partition, line.state, decisions, line.standstill)


async def look_at_lines(settings: Settings, environment: str | None = None) -> list[Line]:
    """Where each environment stands, by its name; the one that is named alone. Raises as ``look`` does."""
    partitions = range(settings.partitions) if environment is None else (partition_of(environment, settings.partitions),)
    found: dict[str, Line] = {}
    reader = KafkaLogReader(settings)
    try:
        for partition in partitions:
            found.update((await _lines(reader, partition))[0])
    finally:
        await reader.close()
    return [line for name, line in sorted(found.items()) if environment in (None, name)]


async def look_for_standstills(settings: Settings, environment: str | None = None) -> list[Standstill]:
    """The environments that stand still, by name; whether the one that is named does. Raises as ``look`` does."""
    return [still for line in await look_at_lines(settings, environment) if (still := line.standstill) is not None]


async def _line(reader: KafkaLogReader, environment: str, partition: int) -> tuple[Line, int]:
    lines, end = await _lines(reader, partition)
    return lines.get(environment) or Line(State.empty(environment)), end


async def _lines(reader: KafkaLogReader, partition: int) -> tuple[dict[str, Line], int]:
    """Every environment's line, and the end of the log that they are as of: never before the snapshot, which is read first."""
    snapshot, lines = await load_snapshot(reader, partition)
    end = await reader.end(TOPIC, partition)
    await fold_lines(reader, partition, lines, Fence(snapshot.epoch), snapshot.next_offset, end)
    return lines, end
