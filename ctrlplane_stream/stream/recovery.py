"""Taking a partition: claim it, fold what counts up to the claim, and know where to go on.

The claim comes first: from then on whatever a former owner still writes is ignored by everybody, so what lies before the
claim can no longer change.
"""

from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.decisions import Claim
from ctrlplane_stream.stream.deciding import Decider, Rules
from ctrlplane_stream.stream.decision_log import TOPIC, Fence, admitted, write_decision
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.ownership import OwnedPartition, Refuse, Tuning
from ctrlplane_stream.stream.ports import Letter, LogReader, Outbox
from ctrlplane_stream.stream.snapshots import load_snapshot


class Taker:
    """Takes partitions for one worker process."""

    def __init__(
        self,
        outbox: Outbox,
        reader: LogReader,
        rules: Rules,
        refuse: Refuse,
        *,
        partitions: int,
        owner: str,
        build: str,
        tuning: Tuning | None = None,
    ) -> None:
        self._outbox, self._reader, self._rules, self._refuse = outbox, reader, rules, refuse
        self._partitions = partitions
        self._owner, self._build = owner, build
        self._tuning = tuning

    async def take(self, partition: int) -> OwnedPartition:
        """Claim and recover; when this returns, deciding may go on from ``position``."""
        claim = Letter(TOPIC, partition, None, write_decision(Claim(self._owner, self._build)))
        epoch = (await self._outbox.send([claim]))[0].offset
        snapshot, lines = await load_snapshot(self._reader, partition)
        await fold_lines(self._reader, partition, lines, Fence(snapshot.epoch), snapshot.next_offset, epoch)
        decider = Decider(partition, self._partitions, epoch, self._build, lines, self._rules)
        owned = OwnedPartition(
            partition,
            decider,
            self._outbox,
            self._reader,
            self._refuse,
            next_offset=epoch + 1,
            owner=self._owner,
            snapshot=snapshot,
            tuning=self._tuning,
        )
        await owned.announce_build()
        return owned


async def fold_lines(reader: LogReader, partition: int, lines: dict[str, Line], fence: Fence, start: int, end: int) -> None:
    """Fold every record that counts in ``[start, end)`` of ``decisions`` into ``lines``; new environments appear in it."""
    async for offset, _, record in admitted(reader, partition, start, end, fence):
        line = lines.get(record.environment)
        if line is None:
            line = lines[record.environment] = Line(State.empty(record.environment))
        line.take(record, offset)
