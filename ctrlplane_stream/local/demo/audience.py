"""Watches the log of record as anybody could: folds `decisions` and waits for what an act promises.

Nothing here talks to the engine. What the report says comes from the topics, so a demo cannot claim what did not happen.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.state import State, fold
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.model.decisions import Claim, Decided, DecisionRecord, Parked
from ctrlplane_stream.model.facts import EdgeSeen
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.cloudevents import Unreadable, decode
from ctrlplane_stream.wire.kafka_clients import NoBroker, reader

_decisions: msgspec.json.Decoder[DecisionRecord] = msgspec.json.Decoder(DecisionRecord)
_POLL_MS = 100
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.5
"""How often whoever waits looks by itself: where a part has died, no record comes that would wake it."""


class Seen(msgspec.Struct, frozen=True):
    """One decision and where it stands on the topic."""

    partition: int
    offset: int
    decided: Decided


class NotSeen(Exception):
    """What was promised did not show on the topics in time; the text says what was awaited and what is there instead."""


class Audience:
    """Follows `decisions` from its beginning; `state` is the environment as the log has it by now."""

    def __init__(self, settings: Settings, environment: str) -> None:
        self._settings = settings
        self._environment = environment
        self._epochs: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.state = State.empty(environment)
        self.decisions: list[Seen] = []
        self.parked: list[Parked] = []
        self.troubles: Callable[[], list[str]] = list

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await end_tasks([self._task])

    async def _follow(self) -> None:
        """Read on for ever, and wake whoever waits where that fails."""
        try:
            await self._follow_on()
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _follow_on(self) -> None:
        """Read on; a broker that went away is waited for."""
        while True:
            with contextlib.suppress(KafkaError, NoBroker, OSError):
                async with reader(self._settings, ["decisions"]) as consumer:
                    for place in consumer.assignment():
                        consumer.seek(place, self._positions.get(place.partition, 0))
                    await self._read(consumer)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for place, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                async with self._changed:
                    for record in records:
                        self._take(place.partition, record.offset, record.value)
                        self._positions[place.partition] = record.offset + 1
                    self._changed.notify_all()

    def _take(self, partition: int, offset: int, value: bytes) -> None:
        record = decode(value, _decisions, "decision record")
        if isinstance(record, Unreadable):
            return
        if isinstance(record, Claim):
            self._epochs[partition] = offset
        elif record.environment != self._environment or record.epoch != self._epochs.get(partition):
            return
        elif isinstance(record, Decided):
            self.state = fold(self.state, record)
            self.decisions.append(Seen(partition, offset, record))
        else:
            self.parked.append(record)

    async def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until ``holds()``; NotSeen with what was awaited when the time is up, or as soon as a part ended by itself."""

        def done() -> bool:
            return holds() or bool(self.troubles()) or (self._task is not None and self._task.done())

        until = time.monotonic() + seconds
        while not done():
            _heed_what_got_lost()
            left = until - time.monotonic()
            if left <= 0:
                raise NotSeen(f"{what}: not seen within {seconds:g} s; rollouts: {self._summary()}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_SECONDS)), self._changed:
                    await self._changed.wait()
        if self._task is not None and self._task.done():
            self._task.result()
        if not holds():
            raise NotSeen(f"{what}: not seen; {'; '.join(self.troubles())}")

    def rollouts(self) -> list[e.Rollout]:
        """Every rollout that the state still holds, in the order of their beginning."""
        index = self.state.find("index", e.Index) or e.Index()
        found = (self.state.find(f"rollout/{name}", e.Rollout) for name in (*index.ended, *index.rollouts))
        return sorted((r for r in found if r is not None), key=lambda r: (r.began_ms, r.id))

    def rollout(self, rollout_id: str) -> e.Rollout | None:
        """A rollout by its id."""
        return self.state.find(f"rollout/{rollout_id}", e.Rollout)

    def moving(self, service: str, label: str) -> e.Rollout | None:
        """The latest rollout that moves this service to this version."""
        fitting = (r for r in self.rollouts() if any(u.service == service and u.candidate == label for u in r.units))
        return max(fitting, key=lambda r: (r.began_ms, r.attempt, r.id), default=None)

    def version_set(self, rollout_id: str) -> e.VersionSet | None:
        """What the rollout moves and watches."""
        return self.state.find(f"set/{rollout_id}", e.VersionSet)

    def target(self, service: str) -> e.TargetEntry:
        """What the engine knows of a service."""
        return self.state.find(f"target/{service}", e.TargetEntry) or e.TargetEntry(service)

    def version_of(self, service: str, digest: str) -> str | None:
        """The newest version label that an artifact of the service has, or None where the engine has not numbered it."""
        for number in range(self.target(service).newest, 0, -1):
            entry = self.state.find(f"version/{service}/#{number}", e.VersionEntry)
            if entry is not None and entry.artifact.digest == digest:
                return entry.label
        return None

    def edges(self) -> list[EdgeSeen]:
        """Every edge that the engine knows, in the order of its keys."""
        keys = [key for key, _ in self.state.entries() if key.startswith("edge/")]
        return [edge for key in keys if (edge := self.state.find(key, EdgeSeen)) is not None]

    def about(self, rollout_id: str) -> list[tuple[Seen, str]]:
        """Every reason that names the rollout, with the decision it belongs to."""
        return [(seen, reason.text) for seen in self.decisions for reason in seen.decided.reasons if reason.rollout == rollout_id]

    def _summary(self) -> str:
        lines = [f"{r.id} {r.phase} step {r.step + 1}" + "".join(f" [held: {h.text}]" for h in r.holds) for r in self.rollouts()[-3:]]
        return "; ".join(lines) or "none"


def _heed_what_got_lost() -> None:
    """End where whoever waits was told to and did not hear it, as ``end_tasks`` says: a demo would play on after Ctrl-C."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
