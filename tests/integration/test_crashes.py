"""The engine killed at the boundaries of its protocol on a real broker: nothing lost, doubled, divergent or stuck."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.sweep.crew import end_children
from ctrlplane_stream.stream.sweep.plans import Boundary, Plan, Twist
from ctrlplane_stream.stream.sweep.trial import Outcome, play

PLANS = (
    Plan(1, Twist.KILLS, ((Boundary.READ, 2), (Boundary.DECIDE, 9), (Boundary.FOLD, 5))),
    Plan(2, Twist.KILLS, ((Boundary.PUBLISH, 2), (Boundary.SEEK, 1))),
    Plan(3, Twist.KILLS, ((Boundary.UNACKNOWLEDGED, 2), (Boundary.CLAIM, 2))),
    Plan(4, Twist.KILLS, ((Boundary.PUBLISHED, 3), (Boundary.CLAIMED, 2))),
    Plan(5, Twist.KILLS, ((Boundary.COMMIT, 2), (Boundary.INGEST, 1))),
    Plan(6, Twist.KILLS, ((Boundary.CHUNK, 2), (Boundary.CHUNK, 1))),
    Plan(7, Twist.KILLS, ((Boundary.MANIFEST, 1), (Boundary.SNAPSHOT, 1), (Boundary.FOLD, 20))),
    Plan(8, Twist.TWO_WORKERS, ((Boundary.PUBLISHED, 2), (Boundary.DECIDE, 7))),
    Plan(9, Twist.THREE_WORKERS, ((Boundary.UNACKNOWLEDGED, 1),)),
    Plan(10, Twist.ZOMBIE, ()),
    Plan(11, Twist.UPGRADE, ((Boundary.DECIDE, 30),)),
    Plan(12, Twist.RAISE, ((Boundary.CLAIM, 1),)),
    Plan(13, Twist.SKIP, ((Boundary.PUBLISHED, 1),)),
)


AT_ONCE = 4


@pytest.fixture(scope="module")
def outcomes(kafka: EmbeddedKafka | NamedKafka) -> Iterator[dict[Plan, Outcome]]:
    """Every plan, played side by side on one broker: they mostly wait for each other's time-outs."""
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=f"crashes-{os.getpid()}-")

    async def all_of_them() -> list[Outcome]:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(plan: Plan) -> Outcome:
            async with places:
                return await play(plan, settings)

        return await asyncio.gather(*(one(plan) for plan in PLANS))

    yield dict(zip(PLANS, asyncio.run(all_of_them()), strict=True))
    end_children()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_what_is_on_the_log_after_a_crash_is_what_would_be_there_without(plan: Plan, outcomes: dict[Plan, Outcome]) -> None:
    """Every input decided once and once in effect, equal to the replay; a zombie's records are written and ignored."""
    outcome = outcomes[plan]
    assert outcome.problems == ()
    assert outcome.missed_kills == 0
    if plan.twist is Twist.ZOMBIE:
        assert outcome.ignored_by_epoch > 0, "the zombie wrote nothing: the test has lost its point"
    if plan.twist in (Twist.RAISE, Twist.SKIP):
        assert outcome.parked > 0


def test_a_restarted_broker_costs_nothing_but_time(own_kafka: EmbeddedKafka, topic_prefix: str) -> None:
    """Workers outlive the broker's absence, or are started again; either way the log is whole."""
    plan = Plan(14, Twist.BROKER_RESTART, ((Boundary.PUBLISHED, 2),))
    settings = Settings(kafka_bootstrap_servers=own_kafka.bootstrap, topic_prefix=topic_prefix)
    outcome = asyncio.run(play(plan, settings, own_kafka.restart))
    end_children()
    assert outcome.problems == ()
