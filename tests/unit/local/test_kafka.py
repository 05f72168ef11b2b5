"""What is missing for a broker is said before anything starts; a broker that is named needs nothing."""

from pathlib import Path

import pytest

from ctrlplane_stream.local.kafka import MissingPart, NamedKafka, broker_jars, missing_parts, open_broker


def test_a_machine_without_java_and_maven_is_told_both_with_remedies(tmp_path: Path) -> None:
    """One line each: what, how to get it, and the way without."""
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    java, maven = missing_parts(bare)
    assert java.startswith("java is missing: install Java 17")
    assert maven.startswith("mvn is missing: install Maven")
    assert all("KAFKA_BOOTSTRAP_SERVERS" in line and "\n" not in line for line in (java, maven))
    with pytest.raises(MissingPart, match="java is missing"):
        broker_jars(bare)


def test_a_named_broker_needs_nothing_of_this_machine(tmp_path: Path) -> None:
    """It is handed out as it was named, and nothing is started."""
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path), "KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2"}
    assert missing_parts(environ) == []
    with open_broker(environ) as kafka:
        assert kafka == NamedKafka("a:1,b:2")
