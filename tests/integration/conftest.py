"""Topics of a test's own on the session's broker, and what else is real."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local import collector
from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import ChildProcess, accepts, free_port
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.worker import ROLES
from ctrlplane_stream.wire.topic_admin import ensure_topics

_numbers = itertools.count(1)


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test uses, also on a broker that outlives this session."""
    return f"t{os.getpid()}-{next(_numbers)}-"


@pytest.fixture
def kafka_settings(kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> Settings:
    """Settings for topics of this test's own on the session's broker, which are yet to be made."""
    return Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix, partitions=4)


@pytest.fixture
def topics(kafka_settings: Settings) -> Settings:
    """The same, with all topics of ``topics/`` made, four partitions each."""
    asyncio.run(ensure_topics(kafka_settings))
    return kafka_settings


@pytest.fixture
def environ(topics: Settings) -> dict[str, str]:
    """What a user would export to reach them, with windows of a second."""
    brisk = msgspec.structs.replace(topics, window_seconds=1, lateness_seconds=1)
    return {**os.environ, **brisk.variables()}


@pytest.fixture
def run(environ: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs `ctrlplane-stream` with these words, and returns its exit status and what it said."""

    def command(*words: str) -> "subprocess.CompletedProcess[str]":
        whole = [sys.executable, "-m", "ctrlplane_stream", *words]
        return subprocess.run(whole, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)

    return command


@pytest.fixture
def worker(environ: dict[str, str], tmp_path: Path) -> Iterator[ChildProcess]:
    """All roles of the worker."""
    command = [sys.executable, "-m", "ctrlplane_stream", "worker"]
    with ChildProcess("worker", command, log=tmp_path / "worker.log", environ=environ) as child:
        yield child


@pytest.fixture(scope="session")
def collector_ready(require: Callable[[list[str]], None]) -> None:
    """A real Collector can start, built if need be: use ``Collector(configuration, …)`` in the test."""
    require(collector.missing_parts())
    collector.collector_binary()


@pytest.fixture
def metrics_port() -> int:
    """The first of as many ports in a row as a worker has roles, all free now."""
    while True:
        port = free_port()
        if not any(accepts(port + i) for i in range(len(ROLES))):
            return port


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Workers that end with the test."""
    made = Workers(tmp_path)
    yield made
    for child in made.children.values():
        child.stop()
