"""``topics plan`` and ``topics apply`` against a real broker."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner, Result

from ctrlplane_stream.cli import main
from ctrlplane_stream.commands.advice import NOTHING_KNOWN
from ctrlplane_stream.commands.topics import topics
from ctrlplane_stream.local.processes import free_port
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topic_admin import admin_client, apply_changes, find_topics, plan_topics
from ctrlplane_stream.wire.topic_plan import Alter, FoundTopic
from ctrlplane_stream.wire.topics import topic_specs


def _run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(topics, arguments, env=settings.variables())


_IMAGE = f"registry.example/shop/cart@sha256:{'ab' * 32}"
_CATALOG = str(Path(__file__).parents[2] / "examples" / "catalog.yaml")


@pytest.mark.parametrize(
    "command",
    [
        ("rollouts", "lab"),
        ("rollout", "lab/shop-cart/1"),
        ("plan", _IMAGE, "--environment", "lab"),
        ("replay",),
        ("control", "freeze", "lab", "--why", "to see"),
        ("artifact", "push", _IMAGE),
        ("artifact", "push", _IMAGE, "--wait", "0"),
    ],
    ids=" ".join,
)
def test_a_command_says_at_once_that_the_topics_were_never_made(command: tuple[str, ...], kafka_settings: Settings) -> None:
    """A Kafka client waits 40 s for a topic that it is asked about."""
    said = CliRunner().invoke(main, command, env=kafka_settings.variables())
    assert (said.exit_code, "run `ctrlplane-stream topics apply`" in said.stderr) == (1, True), said.stderr


@pytest.mark.parametrize("set_to", [3, 9], ids=["fewer are set", "more are set"])
@pytest.mark.parametrize(
    "command",
    [
        ("rollouts", "lab"),
        ("rollout", "lab/shop-cart/1"),
        ("plan", _IMAGE, "--environment", "lab"),
        ("advice", "lab:shop/cart"),
        ("graph", "--live", "lab"),
        ("replay",),
        ("dead-letters", "list"),
        ("dead-letters", "replay", "--all"),
        ("catalog", "show"),
        ("catalog", "diff", _CATALOG),
        ("catalog", "apply", _CATALOG, "--wait", "0"),
        ("control", "abort", "lab", "--why", "to see"),
        ("control", "abort", "lab", "--why", "to see", "--wait", "0"),
        ("artifact", "push", _IMAGE),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_command_says_at_once_that_the_topics_have_another_number_of_partitions(
    command: tuple[str, ...], set_to: int, topics: Settings
) -> None:
    """With more set than there are a Kafka client waits 40 s for them to come; with fewer an environment is looked for elsewhere."""
    said = CliRunner().invoke(main, command, env=msgspec.structs.replace(topics, partitions=set_to).variables())
    assert said.exit_code == (NOTHING_KNOWN if command[0] == "advice" else 1)
    assert f"has 4 partitions and CTRLPLANE_PARTITIONS is {set_to}, which must be the same: set CTRLPLANE_PARTITIONS=4" in said.stderr


def test_a_plan_changes_nothing_and_an_apply_is_complete(kafka_settings: Settings) -> None:
    """Plan says every topic is missing, apply makes them, and then plan finds nothing left."""
    specified = {kafka_settings.topic(s.name) for s in topic_specs()}
    for _ in range(2):
        planned = _run(kafka_settings, "plan", "--json")
        assert planned.exit_code == 3
        assert {c["topic"] for c in json.loads(planned.stdout)} == specified
    assert _run(kafka_settings, "apply").exit_code == 0
    done = _run(kafka_settings, "plan")
    assert (done.exit_code, done.stdout.strip()) == (0, "every topic is as specified")


def test_the_broker_has_each_topic_as_its_file_says(kafka_settings: Settings) -> None:
    """Partitions and every key of the configuration, as the broker reports them."""
    assert _run(kafka_settings, "apply").exit_code == 0
    found = asyncio.run(_find(kafka_settings))
    for spec in topic_specs():
        topic = found[kafka_settings.topic(spec.name)]
        assert topic.partitions == 4
        assert topic.config == spec.config


def test_configuration_that_drifted_is_set_back_and_what_is_not_ours_is_kept(kafka_settings: Settings) -> None:
    """A hand-made change of a specified key is undone; a key that the specification does not name stays."""
    assert _run(kafka_settings, "apply").exit_code == 0
    name = kafka_settings.topic("facts")
    asyncio.run(_alter(kafka_settings, name, {"retention.ms": "1000", "flush.ms": "12345"}))
    said = _run(kafka_settings, "apply")
    assert "alter" in said.stdout
    assert "retention.ms from 1000 to 7776000000" in said.stdout
    config = asyncio.run(_find(kafka_settings))[name].config
    assert (config["retention.ms"], config["flush.ms"]) == ("7776000000", "12345")


def test_another_partition_count_is_refused_with_a_way_out(kafka_settings: Settings) -> None:
    """Neither plan nor apply changes a count; both say why and what to do."""
    assert _run(kafka_settings, "apply").exit_code == 0
    refused = _run(kafka_settings, "apply", "--partitions", "5")
    assert refused.exit_code == 1
    assert "CTRLPLANE_PARTITIONS=4" in refused.stdout
    assert asyncio.run(_find(kafka_settings))[kafka_settings.topic("facts")].partitions == 4


def test_two_applies_at_once_agree(kafka_settings: Settings) -> None:
    """Whoever comes second finds the topic made and does not fail."""

    async def race() -> None:
        async with admin_client(kafka_settings) as one, admin_client(kafka_settings) as two:
            plans = await asyncio.gather(plan_topics(one, kafka_settings), plan_topics(two, kafka_settings))
            await asyncio.gather(apply_changes(one, plans[0]), apply_changes(two, plans[1]))

    asyncio.run(race())
    assert _run(kafka_settings, "plan").exit_code == 0


def test_no_broker_is_one_line_with_the_remedy() -> None:
    """Nobody there, or nobody named: status 1 and what to set."""
    nobody = CliRunner().invoke(topics, ["plan"], env={"KAFKA_BOOTSTRAP_SERVERS": ""})
    assert (nobody.exit_code, "set KAFKA_BOOTSTRAP_SERVERS" in nobody.stderr) == (1, True)
    absent = CliRunner().invoke(topics, ["plan", "--kafka-bootstrap-servers", f"127.0.0.1:{free_port()}"])
    assert (absent.exit_code, "no broker answers at 127.0.0.1" in absent.stderr) == (1, True)


async def _find(settings: Settings) -> dict[str, FoundTopic]:
    async with admin_client(settings) as client:
        return await find_topics(client, [settings.topic(s.name) for s in topic_specs()])


async def _alter(settings: Settings, topic: str, config: dict[str, str]) -> None:
    client: AIOKafkaAdminClient
    async with admin_client(settings) as client:
        await apply_changes(client, [Alter(topic, {}, config)])
