"""What the topics of one trial say at its end: what is left to decide, what a replay would have decided, how often each effect was told."""

import msgspec

from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Command, Notify
from ctrlplane_stream.model.decisions import Claim, Decided, Parked
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.decision_log import Fence, admitted, read_decision
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.replaying import Found, Problem, Replay, Tally
from ctrlplane_stream.stream.sweep.child import Orders, SweepRules
from ctrlplane_stream.wire.cloudevents import Unreadable


class Checking:
    """Reads ``facts`` and ``decisions`` of one trial, with clients of its own."""

    def __init__(self, settings: Settings) -> None:
        self._decisions, self._facts = KafkaLogReader(settings), KafkaLogReader(settings)
        self._partitions = settings.partitions
        self._settled: dict[int, int] = {}

    async def close(self) -> None:
        """Close the clients."""
        await self._decisions.close()
        await self._facts.close()

    async def claimed_by(self, name: str, partition: int) -> bool:
        """Whether a worker has ever claimed a partition."""
        async for found in self._decisions.read("decisions", partition, 0):
            record = read_decision(found.value)
            if isinstance(record, Claim) and record.owner.startswith(f"{name}/"):
                return True
        return False

    async def parked(self, partition: int) -> bool:
        """Whether a fact of a partition was ever parked."""
        async for found in self._decisions.read("decisions", partition, 0):
            if isinstance(read_decision(found.value), Parked):
                return True
        return False

    async def undecided(self) -> list[int]:
        """How many facts are left to decide, by partition. Time goes on being told meanwhile."""
        return [await self._undecided(partition) for partition in range(self._partitions)]

    async def replayed(self) -> tuple[Tally, list[str]]:
        """A replay of everything by the reference build, and the problems that it finds."""
        tally, problems = Tally(), []
        rules = SweepRules(Orders(mended=False), lambda _: None)
        for partition in range(self._partitions):
            replay = Replay(self._decisions, self._facts, rules, partition=partition, partitions=self._partitions, build="build-1")
            found = await replay.run(settled=True)
            tally.add(found)
            problems += [_in_words(f) for f in found.found if self._is_problem(partition, f)]
        return tally, problems

    async def effects(self) -> dict[str, int]:
        """How often each effect and each command is told by records that count, by its id."""
        counts: dict[str, int] = {}
        for partition in range(self._partitions):
            async for _, _, record in admitted(self._decisions, partition, 0, None, Fence()):
                for output in record.outputs if isinstance(record, Decided) else ():
                    if isinstance(output, Command) or (isinstance(output, Notify) and output.event == "effect"):
                        counts[output.id] = counts.get(output.id, 0) + 1
        return counts

    async def _undecided(self, partition: int) -> int:
        lines: dict[str, Line] = {}
        end = self._settled[partition] = await self._facts.end("facts", partition)
        async for _, _, record in admitted(self._decisions, partition, 0, None, Fence()):
            _note(lines, record)
        left = 0
        async for found in self._facts.read("facts", partition, 0, end):
            fact = read_fact(found.value)
            if not isinstance(fact, Unreadable):
                line = lines.get(fact.environment)
                left += line is None or not line.has_decided(found.offset)
        return left

    def _is_problem(self, partition: int, found: Found) -> bool:
        """Everything but what another build decides otherwise, and time that was told after all was settled."""
        still_told = found.problem is Problem.UNDECIDED and found.fact_offset >= self._settled[partition]
        return found.problem is not Problem.OTHER_BUILD and not still_told


def _in_words(found: Found) -> str:
    where = f"{found.environment} fact {found.fact_offset} decision {found.decision_offset}"
    return f"{found.problem}: {where}: {found.recorded[:300]} | {found.derived[:300]}"


def _note(lines: dict[str, Line], record: Decided | Parked) -> None:
    """Fold a record's place in line, without its state."""
    line = lines.setdefault(record.environment, Line(State.empty(record.environment)))
    line.take(msgspec.structs.replace(record, delta={}) if isinstance(record, Decided) else record, 0)
