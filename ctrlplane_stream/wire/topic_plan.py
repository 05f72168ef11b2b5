"""What is between the topics as specified and as a broker has them: planned purely, carried out by ``topic_admin``.

Three kinds of difference: a topic that is missing, configuration that differs, and a partition count that differs.
The first two are applied. The last is refused: more partitions move keys to other places and would tear every
environment in two (its history on one partition, its future on another). Changing N is a migration, not a setting.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

import msgspec

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topics import TopicSpec


class FoundTopic(msgspec.Struct, frozen=True):
    """A topic as the broker has it; ``config`` is what is set on the topic itself, not what it inherits."""

    partitions: int
    config: dict[str, str]


class Create(msgspec.Struct, frozen=True, tag_field="change", tag="create"):
    """The topic is missing."""

    topic: str
    partitions: int
    replication_factor: int
    config: dict[str, str]


class Alter(msgspec.Struct, frozen=True, tag_field="change", tag="alter"):
    """``differs``: per key, what the broker has (None: nothing of its own) and what it should. ``config``: all keys to set."""

    topic: str
    differs: dict[str, tuple[str | None, str]]
    config: dict[str, str]


class Refuse(msgspec.Struct, frozen=True, tag_field="change", tag="refuse"):
    """The partition count differs, and nothing is changed about it."""

    topic: str
    found: int
    wanted: int


Change = Create | Alter | Refuse


def plan(specs: Sequence[TopicSpec], found: Mapping[str, FoundTopic], settings: Settings) -> list[Change]:
    """Every difference, in the order of the specifications; empty where the broker is as specified.

    Configuration that somebody set on a topic and that the specification does not name is theirs, and kept.
    """
    changes: list[Change] = []
    for spec in specs:
        name, wanted = settings.topic(spec.name), _config(spec, settings)
        topic = found.get(name)
        if topic is None:
            changes.append(Create(name, settings.partitions, settings.replication_factor, wanted))
            continue
        differs = {key: (topic.config.get(key), value) for key, value in wanted.items() if topic.config.get(key) != value}
        if differs:
            changes.append(Alter(name, differs, {**topic.config, **wanted}))
        if topic.partitions != settings.partitions:
            changes.append(Refuse(name, topic.partitions, settings.partitions))
    return changes


def sentence(change: Change) -> str:
    """One change in words."""
    match change:
        case Create(topic, partitions, replication_factor, _):
            return f"create {topic}: {partitions} partitions, {replication_factor} copies"
        case Alter(topic, differs, _):
            parts = (f"{key} from {was or 'the default'} to {wanted}" for key, (was, wanted) in differs.items())
            return f"alter {topic}: {', '.join(parts)}"
        case Refuse(topic, _, _):
            reason, remedy = refusal(change)
            return f"refuse {topic}: {reason}; {remedy}"
    assert_never(change)


def refusal(change: Refuse) -> tuple[str, str]:
    """Why a partition count is not changed, and what to do instead."""
    reason = f"{change.topic} has {change.found} partitions and {change.wanted} are set, which would tear an environment in two"
    return reason, f"set CTRLPLANE_PARTITIONS={change.found}, or migrate to a new CTRLPLANE_TOPIC_PREFIX"


def _config(spec: TopicSpec, settings: Settings) -> dict[str, str]:
    """The configuration of a topic; with three copies or more, a write counts when all but one have it."""
    if settings.replication_factor < 3:
        return dict(spec.config)
    return {**spec.config, "min.insync.replicas": str(settings.replication_factor - 1)}
