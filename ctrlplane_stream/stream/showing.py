"""What readers find in Redis: one key an entry of an environment's state, as its latest decision left it.

Keys are ``<prefix>ctrlplane/<environment>/rollout/<id>``, ``…/set/<id>`` and ``…/target/<service>``, each the entry's JSON, and
``…/sequence``, the decision that all of them are as of. Redis is a view: losing it loses nothing, and its absence keeps nobody
waiting. Whatever was not shown, and whatever a Redis that started empty does not have, is made again from the log.
"""

import asyncio
import logging
from collections.abc import Iterable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.decisions import GONE, Decided
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.decision_log import TOPIC, Fence
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.recovery import fold_lines
from ctrlplane_stream.stream.snapshots import load_snapshot

log = logging.getLogger(__name__)

SHOWN = ("rollout/", "set/", "target/")
"""Kinds of state that are shown."""
_ANSWER_SECONDS = 5.0


class RedisView:
    """The view of the partitions that are ours. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = f"{settings.topic_prefix}ctrlplane"
        self._redis = Redis.from_url(settings.redis_url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS, protocol=2)
        self._reader = KafkaLogReader(settings)
        self._shown: dict[int, dict[str, int]] = {}
        self._run_id: str | None = None
        self._troubled = False
        self._writing = asyncio.Lock()

    async def show(self, partition: int, decided: Iterable[Decided]) -> None:
        """Show what these decisions changed, unless the partition is yet to be made anew; Redis being away is no error."""
        async with self._writing:  # a partition that is being made anew right now may not have these yet
            shown = self._shown.get(partition)
            fresh = [record for record in decided if shown is not None and record.sequence > shown.get(record.environment, 0)]
            if shown is None or not fresh:
                return
            try:
                await self._write(fresh)
            except (RedisError, OSError) as error:
                self._lost(error)
                return
            shown.update((record.environment, record.sequence) for record in fresh)

    async def _write(self, decided: Iterable[Decided]) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            for record in decided:
                for key, value in record.delta.items():
                    name = self._key(record.environment, key)
                    if key.startswith(SHOWN):
                        pipe.delete(name) if bytes(value) == GONE else pipe.set(name, bytes(value))
                pipe.set(self._key(record.environment, "sequence"), record.sequence)
            await pipe.execute()

    async def keep(self, partitions: Iterable[int]) -> None:
        """Make anew, from the log, what Redis cannot have: partitions that are new here, and all where Redis is another or was away."""
        try:
            run_id = str((await self._redis.info("server"))["run_id"])
            if run_id != self._run_id:
                self._shown.clear()
            for partition in partitions:
                async with self._writing:
                    if partition not in self._shown:
                        self._shown[partition] = await self._make_anew(partition)
            self._run_id = run_id
        except (RedisError, OSError) as error:
            self._lost(error)
            return
        if self._troubled:
            self._troubled = False
            log.info("Redis answers again and has everything")

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.close()
        await self._redis.aclose()

    def forget(self) -> None:
        """Partitions are about to go to others: show nothing of them until they are made anew."""
        self._shown.clear()

    async def _make_anew(self, partition: int) -> dict[str, int]:
        """Write the state of every environment of the partition, and remove what is not of it; the sequence that each is as of."""
        snapshot, lines = await load_snapshot(self._reader, partition)
        end = await self._reader.end(TOPIC, partition)
        await fold_lines(self._reader, partition, lines, Fence(snapshot.epoch), snapshot.next_offset, end)
        for environment, line in sorted(lines.items()):
            await self._replace(environment, line.state)
        return {environment: line.state.sequence for environment, line in lines.items()}

    async def _replace(self, environment: str, state: State) -> None:
        before = self._key(environment, "").encode()
        wanted = {self._key(environment, key).encode(): raw for key, raw in state.entries() if key.startswith(SHOWN)}
        async with self._redis.pipeline(transaction=True) as pipe:
            async for name in self._redis.scan_iter(match=_literally(self._key(environment, "")) + "*", count=1000):
                if name not in wanted and name.removeprefix(before).decode(errors="replace").startswith(SHOWN):
                    pipe.delete(name)
            for name, raw in wanted.items():
                pipe.set(name, raw)
            pipe.set(self._key(environment, "sequence"), state.sequence)
            await pipe.execute()

    def _key(self, environment: str, entry: str) -> str:
        return f"{self._prefix}/{environment}/{entry}"

    def _lost(self, error: Exception) -> None:
        """Say once that Redis does not answer; everything is made anew when it does."""
        self._shown.clear()
        if not self._troubled:
            self._troubled = True
            log.warning("Redis does not answer (%s); it is tried again, and everything else goes on", type(error).__name__)


def _literally(text: str) -> str:
    """A pattern of Redis that matches just this text."""
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in text)
