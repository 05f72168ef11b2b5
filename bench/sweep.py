"""The crash sweep: ``python -m bench.sweep --plans N`` (``make sweep``) plays N plans on a real broker, prints each, and sums up.

The broker is one of its own, which some plans restart; with KAFKA_BOOTSTRAP_SERVERS it is that one, which is left alone.
Exit status 1 on any problem; the last line is the summary.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence

from ctrlplane_stream.local.kafka import EmbeddedKafka, open_broker
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.sweep.plans import Twist, plan_of
from ctrlplane_stream.stream.sweep.trial import Outcome, play

_BLOCK = 24


def main() -> int:
    """Play the plans and sum up; the last line is the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=300, help="how many plans to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--at-once", type=int, default=2, help="how many plans to play side by side")
    parser.add_argument("--within", type=float, default=float("inf"), help="start no more plans after so many seconds")
    arguments = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    seeds = range(arguments.first, arguments.first + arguments.plans)
    with open_broker() as broker:
        settings = Settings(kafka_bootstrap_servers=broker.bootstrap, topic_prefix=f"sweep-{os.getpid()}-")
        restart = broker.restart if isinstance(broker, EmbeddedKafka) else None
        outcomes = asyncio.run(_play_all(settings, seeds, arguments.at_once, restart, time.monotonic() + arguments.within))
    bad = [o for o in outcomes if o.problems]
    starts, facts, parked = (sum(getattr(o, name) for o in outcomes) for name in ("starts", "facts", "parked"))
    ignored, missed = sum(o.ignored_by_epoch for o in outcomes), sum(o.missed_kills for o in outcomes)
    print(f"{starts} workers started, {missed} kills missed, {facts} facts, {ignored} records of zombies ignored, {parked} parked")
    print(f"{len(outcomes)} plans, {len(bad)} failed")
    return 1 if bad else 0


async def _play_all(
    settings: Settings, seeds: Sequence[int], at_once: int, restart: Callable[[], None] | None, deadline: float
) -> list[Outcome]:
    """Play block after block, in each first what can be played side by side and then what takes the broker away from all others."""
    outcomes: list[Outcome] = []
    for start in range(0, len(seeds), _BLOCK):
        block = seeds[start : start + _BLOCK]
        if time.monotonic() > deadline:
            print(f"seeds from {block[0]} on are left")
            break
        restarting = [seed for seed in block if plan_of(seed).twist is Twist.BROKER_RESTART]
        outcomes += await _side_by_side(settings, [seed for seed in block if seed not in restarting], at_once, restart)
        outcomes += [await _play(settings, seed, restart) for seed in restarting]
    return outcomes


async def _side_by_side(settings: Settings, seeds: Sequence[int], at_once: int, restart: Callable[[], None] | None) -> list[Outcome]:
    places = asyncio.Semaphore(at_once)

    async def one(seed: int) -> Outcome:
        async with places:
            return await _play(settings, seed, restart)

    return await asyncio.gather(*(one(seed) for seed in seeds))


async def _play(settings: Settings, seed: int, restart: Callable[[], None] | None) -> Outcome:
    outcome = await play(plan_of(seed), settings, restart)
    told = "; ".join(outcome.problems) or "ok"
    details = f"{outcome.starts} starts, {outcome.missed_kills} kills missed, {outcome.ignored_by_epoch} ignored, {outcome.seconds:.1f} s"
    print(f"{outcome.plan}: {told} ({details})", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
