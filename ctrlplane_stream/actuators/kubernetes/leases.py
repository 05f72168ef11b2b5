"""Leases honoured without the engine, without Kafka and without the placement file: by the memories in a namespace alone.

A partial weight that nobody renews in time goes to stable, whatever was wanted of it. Run it apart from the workers
(``ctrlplane-stream leases``), so that it survives whatever they die of; several may run, and a worker may be faster:
compare-and-set sees to that.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.due import has_arrived
from ctrlplane_stream.actuators.kubernetes.memory import MEMORY, Memory, MemoryUnreadable, read_memory
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest, revision_of
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused
from ctrlplane_stream.actuators.kubernetes.watching import Copy
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.model.identity import Target

log = logging.getLogger(__name__)
_LONGEST_SECONDS = 60.0
_AGAIN_SECONDS = 1.0


async def expire_leases(cluster: Cluster, namespace: str, clock: Callable[[], float] = time.time) -> tuple[Target, ...]:
    """Bring every target of the namespace whose lease ran out to stable, once; those targets.

    Raises WorldUnreachable where the namespace cannot be read, and after all were tried an ExceptionGroup of it for those
    that could not be brought there.
    """
    memories, _ = await cluster.select(Kind.CONFIG_MAP, namespace, MEMORY)
    return await _Expiry(cluster, clock).of(memories)


async def watch_leases(cluster: Cluster, namespace: str, clock: Callable[[], float] = time.time) -> None:
    """Do so whenever a lease runs out, until cancelled: one watch, and no request while nothing is due nor waits for Pods."""
    copy, expiry = Copy(cluster, Kind.CONFIG_MAP, namespace, MEMORY), _Expiry(cluster, clock)
    keeping = asyncio.create_task(copy.run())
    try:
        while True:
            copy.changed.clear()
            pause = None
            try:
                await expiry.of(copy.all())
            except ExceptionGroup as failed:
                log.error("leases in %s: %s", namespace, "; ".join(str(each) for each in failed.exceptions))
                pause = _AGAIN_SECONDS
            pause = pause or (_AGAIN_SECONDS if expiry.waits else _until_next(copy.all(), clock()))
            await _changed_within(copy.changed, pause)
    finally:
        await end_tasks([keeping])


class _Expiry:
    """Brings to stable what must go there without the engine, and knows what has arrived.

    A lease is noted as run out before the weights move; whoever dies in between leaves the rest to the next who looks.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._actuator = Kubernetes(lambda _: None, lambda _: cluster, clock=clock)
        self._clock = clock
        self._arrived: dict[Target, str] = {}
        """The revision of the memory at which nothing was left to do."""
        self.waits = False
        """Whether some target waits for Pods that are to be ready, or gone: nothing tells when they are."""

    async def of(self, memories: tuple[Manifest, ...]) -> tuple[Target, ...]:
        """The targets whose lease ran out just now. Raises an ExceptionGroup of WorldUnreachable when all were tried."""
        failed, expired = [], []
        self.waits = False
        for memory, revision in _readable(memories):
            until = memory.ledger.lease_until
            over = until is not None and until <= self._clock()
            if not over and (not _has_fallen_back(memory) or self._arrived.get(memory.target) == revision):
                continue
            try:
                sight, _ = await self._actuator.settle(memory.target, memory.place)
                if has_arrived(sight):
                    self._arrived[memory.target] = revision
                else:
                    self.waits = True
            except (WorldUnreachable, ApiRefused, MemoryUnreadable) as error:
                failed.append(WorldUnreachable(f"{memory.target}: {error}"))
                continue
            except Exception as error:  # whatever a damaged memory leads to, the leases of all others are honoured
                log.exception("%s", memory.target)
                failed.append(WorldUnreachable(f"{memory.target}: {error!r}"))
                continue
            if over and sight.memory is not None and sight.memory.ledger.lease_expired:
                expired.append(memory.target)
                log.warning("%s: nobody renewed the lease in time, so it goes to stable", memory.target)
        if failed:
            raise ExceptionGroup("leases that could not be honoured", failed)
        return tuple(expired)


def _has_fallen_back(memory: Memory) -> bool:
    return memory.ledger.lease_expired or memory.ledger.broken_glass is not None


def _until_next(memories: tuple[Manifest, ...], now: float) -> float:
    """Seconds until the next lease runs out; an expired one that is still there is tried again soon."""
    ends = [memory.ledger.lease_until for memory, _ in _readable(memories) if memory.ledger.lease_until is not None]
    return min(_LONGEST_SECONDS, max(_AGAIN_SECONDS, min(ends) - now)) if ends else _LONGEST_SECONDS


def _readable(memories: tuple[Manifest, ...]) -> list[tuple[Memory, str]]:
    """Each memory with the revision that it was read at."""
    found = []
    for manifest in memories:
        try:
            found.append((read_memory(manifest), revision_of(manifest)))
        except MemoryUnreadable as error:
            log.error("%s", error)
    return found


async def _changed_within(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        pass  # Time alone may have made a lease run out.
