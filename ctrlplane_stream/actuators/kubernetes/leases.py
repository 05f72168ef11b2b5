"""Leases honoured without the engine, without Kafka and without the placement file: by the memories in a namespace alone.

A partial weight that nobody renews in time goes to stable. Run it apart from the workers (``ctrlplane-stream leases``),
so that it survives whatever they die of; several may run, and a worker may be faster: compare-and-set sees to that.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.memory import MEMORY, Memory, MemoryUnreadable, read_memory
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.watching import Copy
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.identity import Target

log = logging.getLogger(__name__)
_LONGEST_SECONDS = 60.0
_AGAIN_SECONDS = 1.0


async def expire_leases(cluster: Cluster, namespace: str, clock: Callable[[], float] = time.time) -> tuple[Target, ...]:
    """Bring every target of the namespace whose lease ran out to stable, once; those targets. Raises WorldUnreachable."""
    memories, _ = await cluster.select(Kind.CONFIG_MAP, namespace, MEMORY)
    return await _expire(cluster, memories, clock)


async def watch_leases(cluster: Cluster, namespace: str, clock: Callable[[], float] = time.time) -> None:
    """Do so whenever a lease runs out, until cancelled: one watch, and no request while nothing is due."""
    copy = Copy(cluster, Kind.CONFIG_MAP, namespace, MEMORY)
    keeping = asyncio.create_task(copy.run())
    try:
        while True:
            copy.changed.clear()
            try:
                for target in await _expire(cluster, copy.all(), clock):
                    log.warning("%s: nobody renewed the lease in time, so it goes to stable", target)
                pause = _until_next(copy.all(), clock())
            except WorldUnreachable as error:
                log.warning("leases in %s: %s", namespace, error)
                pause = _AGAIN_SECONDS
            await _changed_within(copy.changed, pause)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _expire(cluster: Cluster, memories: tuple[Manifest, ...], clock: Callable[[], float]) -> tuple[Target, ...]:
    expired = [memory for memory in _readable(memories) if memory.ledger.lease_until is not None and memory.ledger.lease_until <= clock()]
    actuator = Kubernetes(lambda _: None, lambda _: cluster, clock=clock)
    for memory in expired:
        await actuator.settle(memory.target, memory.place)
    return tuple(memory.target for memory in expired)


def _until_next(memories: tuple[Manifest, ...], now: float) -> float:
    """Seconds until the next lease runs out; an expired one that is still there is tried again soon."""
    ends = [memory.ledger.lease_until for memory in _readable(memories) if memory.ledger.lease_until is not None]
    return min(_LONGEST_SECONDS, max(_AGAIN_SECONDS, min(ends) - now)) if ends else _LONGEST_SECONDS


def _readable(memories: tuple[Manifest, ...]) -> list[Memory]:
    found = []
    for manifest in memories:
        try:
            found.append(read_memory(manifest))
        except MemoryUnreadable as error:
            log.error("%s", error)
    return found


async def _changed_within(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        pass  # Time alone may have made a lease run out.
