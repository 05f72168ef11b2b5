"""The topic files hold what the design says, and a plan is exactly the difference."""

from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.shipped import shipped
from ctrlplane_stream.wire.topic_plan import Alter, Counted, Create, FoundTopic, Refuse, plan, sentence
from ctrlplane_stream.wire.topics import TopicSpec, topic_specs

_SPECS = {s.name: s for s in topic_specs()}
_SETTINGS = Settings(partitions=4)
_SPEC = TopicSpec("t", "k", "v", ("p",), ("c",), {"retention.ms": "1"}, "because")


def test_the_topics_are_those_of_the_design() -> None:
    """Neither one more nor one less."""
    assert set(_SPECS) == {
        "artifacts",
        "catalog",
        "control",
        "dead-letters",
        "decisions",
        "dependency-table",
        "engine-snapshots",
        "facts",
        "health-verdicts",
        "judge-state",
        "otlp_spans",
        "pair-checkpoints",
        "rollouts",
        "span-halves",
        "telemetry-windows",
        "version-sets",
    }


@pytest.mark.parametrize("spec", _SPECS.values(), ids=lambda s: s.name)
def test_a_schema_that_a_topic_names_is_shipped(spec: TopicSpec) -> None:
    """A topic's schema is a file of ``schemas/``."""
    assert spec.schema is None or (shipped("schemas") / spec.schema).is_file()


def test_time_on_facts_is_the_brokers() -> None:
    """The append time is the engine's only clock."""
    assert _SPECS["facts"].config["message.timestamp.type"] == "LogAppendTime"


def test_what_outsiders_write_is_stamped_by_the_broker() -> None:
    """A publisher's clock must not decide when a record expires."""
    outside = [s for s in _SPECS.values() if {"users", "operators", "OpenTelemetry Collector"} & set(s.producers)]
    assert len(outside) >= 4
    assert {s.config["message.timestamp.type"] for s in outside} == {"LogAppendTime"}


def test_a_dead_letter_has_room_for_the_largest_record_of_any_input() -> None:
    """Original bytes and headers fit, whatever topic the record came from."""
    room = _SPECS["dead-letters"].max_message_bytes
    assert all(s.max_message_bytes < room for s in _SPECS.values() if s.name != "dead-letters")


def test_facts_and_decisions_are_kept_equally_long() -> None:
    """A decision is explained by its fact, a replay compares both."""
    assert _SPECS["facts"].config["retention.ms"] == _SPECS["decisions"].config["retention.ms"]


def test_an_unknown_field_in_a_topic_file_is_named(tmp_path: Path) -> None:
    """A typing error does not become a default in silence."""
    (tmp_path / "t.yaml").write_bytes(msgspec.yaml.encode({**msgspec.to_builtins(_SPEC), "retention": "1"}))
    with pytest.raises(ValueError, match=r"t\.yaml: .*retention"):
        topic_specs(tmp_path)


def test_a_missing_topic_is_created_with_the_prefix() -> None:
    """Names on the broker carry the prefix, files do not."""
    settings = Settings(partitions=4, topic_prefix="a-")
    assert plan([_SPEC], {}, settings) == [Create("a-t", 4, 1, {"retention.ms": "1"})]


def test_a_topic_as_specified_is_left_alone() -> None:
    """No difference, no change; what somebody else set is not a difference."""
    assert plan([_SPEC], {"t": FoundTopic(4, 1, {"retention.ms": "1", "flush.ms": "9"})}, _SETTINGS) == []


def test_a_difference_is_altered_and_what_is_not_specified_is_kept() -> None:
    """The alteration carries the whole configuration, because the broker replaces the whole."""
    changes = plan([_SPEC], {"t": FoundTopic(4, 1, {"retention.ms": "2", "flush.ms": "9"})}, _SETTINGS)
    assert changes == [Alter("t", {"retention.ms": ("2", "1")}, {"retention.ms": "1", "flush.ms": "9"})]
    assert sentence(changes[0]) == "alter t: retention.ms from 2 to 1"


def test_another_partition_count_is_refused() -> None:
    """It is in the plan, with the way out, and nothing changes it."""
    changes = plan([_SPEC], {"t": FoundTopic(8, 1, {"retention.ms": "1"})}, _SETTINGS)
    assert changes == [Refuse("t", Counted.PARTITIONS, 8, 4)]
    assert "CTRLPLANE_PARTITIONS=8" in sentence(changes[0])


def test_too_few_copies_are_refused_and_no_write_is_made_to_wait_for_those_that_are_not_there() -> None:
    """With `min.insync.replicas` beyond its copies a topic would take no record any more."""
    three = Settings(partitions=4, replication_factor=3)
    changes = plan([_SPEC], {"t": FoundTopic(4, 1, {"retention.ms": "1"})}, three)
    assert changes == [Refuse("t", Counted.COPIES, 1, 3)]
    assert "kafka-reassign-partitions" in sentence(changes[0])
    enough = plan([_SPEC], {"t": FoundTopic(4, 3, {"retention.ms": "1"})}, three)
    assert [sentence(change) for change in enough] == ["alter t: min.insync.replicas from the default to 2"]


def test_on_a_cluster_a_write_counts_when_all_but_one_copy_have_it() -> None:
    """Three copies, two in sync: one broker may be down."""
    (created,) = plan([_SPEC], {}, Settings(replication_factor=3))
    assert isinstance(created, Create)
    assert created.config["min.insync.replicas"] == "2"
