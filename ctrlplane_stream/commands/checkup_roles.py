"""The check of ``doctor`` for a role of the worker: whether somebody works on it, and how much is waiting."""

from collections import defaultdict
from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NoError, NotCoordinatorForGroupError, for_code
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from ctrlplane_stream.commands.findings import Finding, ok, wrong
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_access import client_options

_NOT_YET = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
_DEAD = "Dead"
"""The state of a group that there is not."""


class Group(msgspec.Struct, frozen=True):
    """What the broker says of a consumer group: how many members it has, and whether there is or was one at all."""

    members: int
    known: bool


# The first question about a group makes the broker create its internal topic, and a broker that just started reads it: both take a moment.
@retry(retry=retry_if_exception_type(_NOT_YET), wait=wait_fixed(0.1), stop=stop_after_delay(10), reraise=True)
async def check_role(client: AIOKafkaAdminClient, settings: Settings, role: str) -> list[Finding]:
    """One finding. Raises KafkaError where the broker does not tell of the group."""
    name = group_of(settings, role)
    # In this order: of a group whose coordinator is still loading, the offsets come as if there were none, and without an error.
    group = read_group((await client.describe_consumer_groups([name]))[0].groups[0])
    committed = await client.list_consumer_group_offsets(name)
    ends, waiting = await _ends(settings, set(committed)), defaultdict[str, int](int)
    for place, done in committed.items():
        waiting[place.topic.removeprefix(settings.topic_prefix)] += max(0, ends.get(place, 0) - max(done.offset, 0))
    return [role_finding(role, group, waiting)]


def group_of(settings: Settings, role: str) -> str:
    """The consumer group of a role of the worker."""
    return f"{settings.topic_prefix}ctrlplane-{role}"


def read_group(described: tuple[object, ...]) -> Group:
    """A group as DescribeGroups has it: (error code, name, state, …, …, members, …). Raises the KafkaError of its code."""
    code, _, state, _, _, members, *_ = described
    if (error := for_code(code)) is not NoError:
        raise error
    assert isinstance(members, list)
    return Group(len(members), state != _DEAD)


def role_finding(role: str, group: Group, waiting: Mapping[str, int]) -> Finding:
    """What to say of a role whose group is so, with so many records waiting by topic (none: nothing was ever committed)."""
    lag = ", ".join(f"{count} on {topic}" for topic, count in sorted(waiting.items()) if count) or "nothing"
    if group.members == 0:
        said = f"has stopped; waiting: {lag}" if waiting or group.known else "has never run"
        return wrong(f"worker {role}", said, f"start `ctrlplane-stream worker --role {role}`")
    return ok(f"worker {role}", f"{group.members} running; waiting: {lag if waiting else 'unknown, since nothing was committed yet'}")


async def _ends(settings: Settings, places: set[TopicPartition]) -> dict[TopicPartition, int]:
    if not places:
        return {}
    async with AIOKafkaConsumer(group_id=None, **client_options(settings)) as client:
        ends: dict[TopicPartition, int] = await client.end_offsets(sorted(places))
    return ends
