"""``python -m ctrlplane_stream.stream.sweep --plans N``: play N plans on a broker, print each, exit 1 on any problem."""

import argparse
import asyncio
import sys

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.sweep.plans import plan_of
from ctrlplane_stream.stream.sweep.trial import Outcome, play


def main() -> int:
    """Play the plans and sum up; the last line is the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=300, help="how many plans to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--bootstrap", required=True, help="host:port of the broker")
    parser.add_argument("--prefix", default="sweep-", help="put before the topics, which are deleted afterwards")
    arguments = parser.parse_args()
    settings = Settings(kafka_bootstrap_servers=arguments.bootstrap, topic_prefix=arguments.prefix)
    outcomes = [asyncio.run(_play(settings, seed)) for seed in range(arguments.first, arguments.first + arguments.plans)]
    bad = [o for o in outcomes if o.problems]
    ignored, parked = sum(o.ignored_by_epoch for o in outcomes), sum(o.parked for o in outcomes)
    print(
        f"{sum(o.starts for o in outcomes)} workers started, {sum(o.facts for o in outcomes)} facts, {ignored} records of zombies, {parked} parked"
    )
    print(f"{len(outcomes)} plans, {len(bad)} failed")
    return 1 if bad else 0


async def _play(settings: Settings, seed: int) -> Outcome:
    outcome = await play(plan_of(seed), settings)
    told = "; ".join(outcome.problems) or "ok"
    print(f"{outcome.plan}: {told} ({outcome.starts} starts, {outcome.ignored_by_epoch} ignored, {outcome.seconds:.1f} s)", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
