"""What is between the topics as specified and as a broker has them: planned purely, carried out by ``topic_admin``.

Four kinds of difference: a topic that is missing, configuration that differs, a partition count that differs, and too few
copies. The first two are applied. The others are refused. More partitions move keys to other places and would tear every
environment in two (its history on one partition, its future on another): changing N is a migration, not a setting. Copies are
placed by whoever knows the brokers, with Kafka's own tool.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import assert_never

import msgspec

from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.topics import TopicSpec


class FoundTopic(msgspec.Struct, frozen=True):
    """A topic as the broker has it; ``config`` is what is set on the topic itself, not what it inherits. ``copies`` are those of
    the partition that has fewest."""

    partitions: int
    copies: int
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


class Counted(StrEnum):
    """What a topic has a number of that is not changed."""

    PARTITIONS = "partitions"
    COPIES = "copies"


class Refuse(msgspec.Struct, frozen=True, tag_field="change", tag="refuse"):
    """The partition count differs or there are too few copies, and nothing is changed about it."""

    topic: str
    of: Counted
    found: int
    wanted: int


Change = Create | Alter | Refuse


def plan(specs: Sequence[TopicSpec], found: Mapping[str, FoundTopic], settings: Settings) -> list[Change]:
    """Every difference, in the order of the specifications; empty where the broker is as specified.

    Configuration that somebody set on a topic and that the specification does not name is theirs, and kept.
    """
    changes: list[Change] = []
    for spec in specs:
        name, copies = settings.topic(spec.name), settings.replication_factor
        topic = found.get(name)
        if topic is None:
            changes.append(Create(name, settings.partitions, copies, _config(spec, copies)))
            continue
        wanted = _config(spec, min(copies, topic.copies))
        differs = {key: (topic.config.get(key), value) for key, value in wanted.items() if topic.config.get(key) != value}
        if differs:
            changes.append(Alter(name, differs, {**topic.config, **wanted}))
        if topic.partitions != settings.partitions:
            changes.append(Refuse(name, Counted.PARTITIONS, topic.partitions, settings.partitions))
        if topic.copies < copies:
            changes.append(Refuse(name, Counted.COPIES, topic.copies, copies))
    return changes


def sentence(change: Change) -> str:
    """One change in words."""
    match change:
        case Create(topic, partitions, replication_factor, _):
            return f"create {topic}: {counted(partitions, 'partition')}, {counted(replication_factor, 'copy', 'copies')}"
        case Alter(topic, differs, _):
            parts = (f"{key} from {was or 'the default'} to {wanted}" for key, (was, wanted) in differs.items())
            return f"alter {topic}: {', '.join(parts)}"
        case Refuse(topic, _, _, _):
            reason, remedy = refusal(change)
            return f"refuse {topic}: {reason}; {remedy}"
    assert_never(change)


def refusal(change: Refuse) -> tuple[str, str]:
    """Why a number is not changed, and what to do instead."""
    match change.of:
        case Counted.PARTITIONS:
            there = counted(change.found, "partition")
            reason = f"{change.topic} has {there} and {change.wanted} are set, which would tear an environment in two"
            return reason, f"set CTRLPLANE_PARTITIONS={change.found}, or migrate to a new CTRLPLANE_TOPIC_PREFIX"
        case Counted.COPIES:
            reason = f"{change.topic} has {change.found} of the {change.wanted} copies that are set: what its brokers lose is lost"
            return reason, f"give it more with kafka-reassign-partitions, or set CTRLPLANE_REPLICATION_FACTOR={change.found}"
    assert_never(change.of)


def _config(spec: TopicSpec, copies: int) -> dict[str, str]:
    """The configuration of a topic; with three copies or more, a write counts when all but one have it."""
    if copies < 3:
        return dict(spec.config)
    return {**spec.config, "min.insync.replicas": str(copies - 1)}
