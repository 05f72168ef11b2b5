"""What is missing for a broker is said before anything starts; a broker that is named needs nothing."""

from pathlib import Path

import pytest

from ctrlplane_stream.local.kafka import MissingPart, broker_jars, missing_parts, open_broker
from ctrlplane_stream.local.processes import free_port


def test_a_machine_without_java_and_maven_is_told_both_with_remedies(tmp_path: Path) -> None:
    """One line each: what, how to get it, and the way without."""
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    java, maven = missing_parts(bare)
    assert java.startswith("java is missing: install Java 17")
    assert maven.startswith("mvn is missing: install Maven")
    assert all("KAFKA_BOOTSTRAP_SERVERS" in line and "\n" not in line for line in (java, maven))
    with pytest.raises(MissingPart, match="java is missing"):
        broker_jars(bare)


def test_a_broker_that_is_named_and_gone_is_said_to_come_from_the_shell(tmp_path: Path) -> None:
    """Whoever kept a demo, and ended it, has its exports still: the variable is named, and how to get rid of it."""
    named = f"127.0.0.1:{free_port()}"
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path), "KAFKA_BOOTSTRAP_SERVERS": named}
    assert missing_parts(environ) == []
    with (
        pytest.raises(MissingPart, match=f"{named}, which KAFKA_BOOTSTRAP_SERVERS is set to in this shell: unset it"),
        open_broker(environ),
    ):
        pass
