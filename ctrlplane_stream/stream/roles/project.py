"""The project role: decisions to what people and tools read, and to the people who must know."""

from ctrlplane_stream.model.commands import Notify
from ctrlplane_stream.model.decisions import Decided, DecisionRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC, Fence, fence_at, read_decision
from ctrlplane_stream.stream.duty import Duty
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.metrics import Product
from ctrlplane_stream.stream.notifying import Notifier, body_of
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.stream.projecting import letters_of, notices_of
from ctrlplane_stream.stream.refusals import dead_letter
from ctrlplane_stream.stream.showing import RedisView
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.dead_letters import TOPIC as DEAD_LETTERS

_VIEW_SECONDS = 1.0
"""How soon a Redis that was away, or a partition that is new, is shown again."""


class Project(Duty):
    """Projects decisions that count. Repeating a projection changes nothing: its ids are the decision's."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "project")
        self._fences: dict[int, Fence] = {}
        self._fence_reader = KafkaLogReader(settings)
        self._notifier = Notifier()
        self._view = RedisView(settings) if settings.redis_url else None
        self.consume(TOPIC, self._take)
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        for cleanup in (self._fence_reader.close, self._notifier.close):
            self.at_end(cleanup)
        if self._view is not None:
            self.at_end(self._view.close)
            self.every(_VIEW_SECONDS, self._keep_view)

    async def _on_revoked(self, *_: object, **__: object) -> None:
        self._fences.clear()
        if self._view is not None:
            self._view.forget()

    async def _take(self, records: list[Record]) -> None:
        counted: list[tuple[Record, Decided]] = []
        told: list[tuple[Record, Notify]] = []
        letters: list[Letter] = []
        for found in records:
            record = read_decision(found.value)
            if isinstance(record, Unreadable):
                letters += await self.refuse(found, record)
            elif await self._counts(found, record):
                if isinstance(record, Decided):
                    counted.append((found, record))
                told += [(found, notice) for notice in notices_of(record)]
        letters += [letter for _, record in counted for letter in letters_of(record, self.settings.partitions)]
        self.metrics.produced(Product.PROJECTIONS, sum(letter.topic != DEAD_LETTERS for letter in letters))
        letters += await self._notify(told)
        await self.outbox.send(letters)
        await self._show(counted)

    async def _counts(self, found: Record, record: DecisionRecord) -> bool:
        """Whether the record counts: whether it carries the epoch of the latest claim before it."""
        fence = self._fences.get(found.partition)
        if fence is None:
            fence = self._fences[found.partition] = await fence_at(self._fence_reader, found.partition, found.offset)
        return fence.admits(found.offset, record)

    async def _notify(self, told: list[tuple[Record, Notify]]) -> list[Letter]:
        """Tell the webhooks; a dead letter, holding what was to be posted, for each that did not take it."""
        failures = await self._notifier.tell([notification for _, notification in told])
        posted = [n for (_, n), why in zip(told, failures, strict=True) if n.webhook is not None and why is None]
        self.metrics.produced(Product.NOTIFICATIONS, len(posted))
        letters = []
        for (found, notification), why in zip(told, failures, strict=True):
            if why is not None:
                lost = Record(found.topic, found.partition, found.offset, found.at_ms, None, body_of(notification))
                letters.append(dead_letter(lost, why, found.at_ms, self.settings.partitions))
        return letters

    async def _show(self, counted: list[tuple[Record, Decided]]) -> None:
        if self._view is not None:
            by_partition: dict[int, list[Decided]] = {}
            for found, record in counted:
                by_partition.setdefault(found.partition, []).append(record)
            for partition, decided in by_partition.items():
                await self._view.show(partition, decided)

    async def _keep_view(self) -> None:
        if self._view is not None:
            topic = self.settings.topic(TOPIC)
            await self._view.keep(sorted(tp.partition for tp in self.app.consumer.assignment() if tp.topic == topic))
