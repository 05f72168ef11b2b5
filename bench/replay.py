"""How fast ``ctrlplane-stream replay`` derives a long log again: facts a second, from its first look at a real broker to the tally.

    python -m bench.replay [--facts 200000] [--processes 1,2] [--json]

The log is of 100 environments on 8 partitions, facts as in ``bench.engine``, decided here by the product's own rules. The broker
shares the machine. CPU is that of the replaying processes, children and all, without the start of Python.
"""

import argparse
import asyncio
import os
import resource
import time

from bench._figures import show
from bench.engine import PARTITIONS, Bench, Figures, bench_on
from ctrlplane_stream.local.kafka import open_broker
from ctrlplane_stream.model.decisions import Claim
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.build_id import build_id
from ctrlplane_stream.stream.deciding import CORE, Decider, Recorded
from ctrlplane_stream.stream.decision_log import write_decision
from ctrlplane_stream.stream.replaying_all import replay_all

ENVIRONMENTS = 100


async def write(bootstrap: str, facts: int) -> Settings:
    """Write so many facts and their decisions to topics of their own; returns where."""
    async with bench_on(bootstrap, f"bench-{os.getpid()}-") as bench:
        await bench.apply_catalog(ENVIRONMENTS)
        await bench.feed(ENVIRONMENTS, facts // ENVIRONMENTS)
        for partition in range(PARTITIONS):
            await _decide(bench, partition)
        await bench.client.flush()
        return bench.settings


async def _decide(bench: Bench, partition: int) -> None:
    """Write the decisions of a partition's facts, as an owner that claimed it once."""
    topic, decider = bench.settings.topic("decisions"), Decider(partition, PARTITIONS, 0, build_id(), {}, CORE)
    await bench.client.send(topic, write_decision(Claim("bench", build_id())), partition=partition)
    async for fact in bench.reader.read("facts", partition, 0):
        answer = decider.in_turn(fact)
        assert isinstance(answer, Recorded), "every fact of this log is decided"
        await bench.client.send(topic, answer.value, key=answer.environment.encode(), partition=partition)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def replayed(settings: Settings, processes: int) -> Figures:
    """One replay of everything; AssertionError where it finds anything."""
    cpu, begun = cpu_seconds(), time.monotonic()
    tally = replay_all(settings, range(PARTITIONS), processes)
    seconds, cpu = time.monotonic() - begun, cpu_seconds() - cpu
    assert not tally.found, tally.found[0]
    return {"facts": tally.facts, "facts_per_second": tally.facts / seconds, "cpu_microseconds_a_fact": cpu / tally.facts * 1e6}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=int, default=200_000)
    parser.add_argument("--processes", default="1,2", help="numbers of processes to try, with commas")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with open_broker() as broker:
        settings = asyncio.run(write(broker.bootstrap, options.facts))
        figures = {f"{count} processes": replayed(settings, int(count)) for count in options.processes.split(",")}
    show(figures, as_json=options.json, decimals=1)


if __name__ == "__main__":
    main()
