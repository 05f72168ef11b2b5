"""The replay of many partitions at once: environments share nothing, so each process takes partitions of its own."""

import asyncio
import heapq
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.stream.deciding import CORE
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.replaying import Replay, Tally
from ctrlplane_stream.stream.worker import collect_seldom

WORTH_A_PROCESS = 5_000
"""Decisions that take longer to replay than a process takes to start."""


def replay_all(settings: Settings, partitions: Sequence[int], processes: int | None = None) -> Tally:
    """Replay the partitions in as many processes as there are cores (or ``processes``), what was found in the order of the partitions.

    Call it where no event loop runs: the processes are forked. Raises what reading the broker raises.
    """
    sizes = asyncio.run(_sizes(settings, partitions))
    wanted = processes or min(os.cpu_count() or 1, 1 + sum(sizes.values()) // WORTH_A_PROCESS)
    shares = [share for share in shared_out(sizes, wanted) if share]
    if len(shares) < 2:
        found = _replay_share(settings, partitions)
    else:
        with ProcessPoolExecutor(len(shares), multiprocessing.get_context("fork")) as pool:
            found = {}
            for done in pool.map(_in_a_process, [settings] * len(shares), shares):
                found.update(done)
    tally = Tally()
    for partition in partitions:
        tally.add(found[partition])
    return tally


def shared_out(sizes: dict[int, int], processes: int) -> list[list[int]]:
    """Partitions by process, so that each has about as many records: the largest first, each to whom has least."""
    shares: list[list[int]] = [[] for _ in range(processes)]
    load = [(0, number) for number in range(processes)]
    for partition in sorted(sizes, key=lambda p: (-sizes[p], p)):
        least, number = heapq.heappop(load)
        shares[number].append(partition)
        heapq.heappush(load, (least + sizes[partition], number))
    return shares


async def _sizes(settings: Settings, partitions: Sequence[int]) -> dict[int, int]:
    reader = KafkaLogReader(settings)
    try:
        return {partition: await reader.end("decisions", partition) for partition in partitions}
    finally:
        await reader.close()


def _in_a_process(settings: Settings, partitions: Sequence[int]) -> dict[int, Tally]:
    collect_seldom()
    return _replay_share(settings, partitions)


def _replay_share(settings: Settings, partitions: Sequence[int]) -> dict[int, Tally]:
    return asyncio.run(_replay_each(settings, partitions))


async def _replay_each(settings: Settings, partitions: Sequence[int]) -> dict[int, Tally]:
    decisions, facts = KafkaLogReader(settings), KafkaLogReader(settings)
    found: dict[int, Tally] = {}
    try:
        for partition in partitions:
            one = Replay(decisions, facts, CORE, partition=partition, partitions=settings.partitions, build=build_id())
            found[partition] = await one.run()
    finally:
        await decisions.close()
        await facts.close()
    return found
