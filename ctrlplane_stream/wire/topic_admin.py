"""Topics of a real broker: find them, carry out a plan.

Only what a plan (``topic_plan``) says is done, and every answer of the broker is looked at: aiokafka's admin client
returns errors as codes instead of raising them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupIdNotFound, KafkaError, NoError, NonEmptyGroup, TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_access import client_options
from ctrlplane_stream.wire.topic_plan import Alter, Change, Create, FoundTopic, plan
from ctrlplane_stream.wire.topics import TopicSpec, topic_specs

_SEEN_SECONDS = 15.0
_SET_ON_TOPIC = 1  # DescribeConfigs: ConfigSource.DYNAMIC_TOPIC_CONFIG


class TopicError(RuntimeError):
    """The broker refused; the text names the topic and the broker's reason."""


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client; raises KafkaError where no broker answers."""
    client = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=15_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def find_topics(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, FoundTopic]:
    """Those of ``names`` that the broker has."""
    wanted = set(names)
    counts = {
        t["topic"]: (len(t["partitions"]), min(len(p["replicas"]) for p in t["partitions"]))
        for t in await client.describe_topics()
        if t["topic"] in wanted
    }
    if not counts:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(counts)]
    found: dict[str, FoundTopic] = {}
    for response in await client.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            _raise_for(name, code, message)
            found[name] = FoundTopic(*counts[name], {entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC})
    return found


async def plan_topics(client: AIOKafkaAdminClient, settings: Settings, specs: Sequence[TopicSpec] | None = None) -> list[Change]:
    """What ``apply_changes`` would do to bring the broker to the specification; empty where nothing is."""
    specs = topic_specs() if specs is None else specs
    return plan(specs, await find_topics(client, (settings.topic(s.name) for s in specs)), settings)


async def apply_changes(client: AIOKafkaAdminClient, changes: Sequence[Change]) -> None:
    """Create and alter as planned, and wait until it is seen; what the plan refuses stays as it is.

    Raises TopicError for the broker's refusal. A topic that somebody else made meanwhile with the
    same configuration is as good as ours; with another one, TimeoutError.
    """
    new = [NewTopic(c.topic, c.partitions, c.replication_factor, topic_configs=c.config) for c in changes if isinstance(c, Create)]
    if new:
        response = await client.create_topics(new)
        for name, code, message in response.topic_errors:
            if code != TopicAlreadyExistsError.errno:
                _raise_for(name, code, message)
    altered = [ConfigResource(ConfigResourceType.TOPIC, c.topic, c.config) for c in changes if isinstance(c, Alter)]
    if altered:
        for response in await client.alter_configs(altered):
            for code, message, _, name in response.resources:
                _raise_for(name, code, message)
    await _await_seen(client, [c for c in changes if isinstance(c, Create | Alter)])


async def ensure_topics(settings: Settings) -> list[Change]:
    """Plan and apply in one go; returns what was planned."""
    async with admin_client(settings) as client:
        changes = await plan_topics(client, settings)
        await apply_changes(client, changes)
    return changes


async def remove_topics(settings: Settings, prefix: str) -> list[str]:
    """Delete every topic whose name begins so, and say which; an empty prefix, which would be all of them, is a ValueError."""
    if not prefix:
        raise ValueError("topics are removed by a prefix of their own")
    async with admin_client(settings) as client:
        names = sorted(name for name in await client.list_topics() if name.startswith(prefix))
        for name, code, *message in (await client.delete_topics(names)).topic_error_codes if names else ():
            _raise_for(name, code, message[0] if message else None)
    return names


async def remove_groups(settings: Settings, prefix: str) -> None:
    """Delete every consumer group whose name begins so; an empty prefix is a ValueError.

    A member of a name of its own (`CTRLPLANE_INSTANCE`) belongs to its group until its session has timed out, which is waited for.
    """
    if not prefix:
        raise ValueError("groups are removed by a prefix of their own")
    async with admin_client(settings) as client, asyncio.timeout(settings.session_timeout_seconds + _SEEN_SECONDS):
        while names := [name for name, *_ in await client.list_consumer_groups() if name.startswith(prefix)]:
            for name in names:
                await _remove_group(client, name)
            await asyncio.sleep(0.2)


async def _remove_group(client: AIOKafkaAdminClient, name: str) -> None:
    response = await client._send_request(DeleteGroupsRequest([name]), await client.find_coordinator(name))
    for _, code in response.results:
        if code not in (NoError.errno, NonEmptyGroup.errno, GroupIdNotFound.errno):
            raise for_code(code)(f"group {name} is not deleted")


async def _await_seen(client: AIOKafkaAdminClient, changes: Sequence[Create | Alter]) -> None:
    """Wait until the broker shows what it acknowledged: its controller answers before its brokers know."""
    names = {c.topic for c in changes}
    async with asyncio.timeout(_SEEN_SECONDS):
        while not (await _led(client, names) and _as_set(await find_topics(client, names), changes)):
            await asyncio.sleep(0.02)


async def _led(client: AIOKafkaAdminClient, names: set[str]) -> bool:
    topics = [t for t in await client.describe_topics() if t["topic"] in names]
    return len(topics) == len(names) and all(p["leader"] >= 0 for t in topics for p in t["partitions"])


def _as_set(found: dict[str, FoundTopic], changes: Sequence[Create | Alter]) -> bool:
    return all(c.topic in found and c.config.items() <= found[c.topic].config.items() for c in changes)


def _raise_for(name: str, code: int, message: str | None) -> None:
    if code:
        error: type[KafkaError] = for_code(code)
        raise TopicError(f"topic {name}: {message or error.description or error.__name__}")
