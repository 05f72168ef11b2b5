"""A command says that its broker is gone, and does not wait for it for ever."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire import kafka_clients
from ctrlplane_stream.wire.kafka_clients import publish


class Waiting:
    """A producer whose broker went as it began: it neither writes nor stops."""

    client = None

    def __init__(self, **_: Any) -> None:
        """Takes every option."""

    async def start(self) -> None:
        """As ever."""

    async def send_and_wait(self, *_: Any, **__: Any) -> None:
        """It asks for its number, again and again."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """It waits for what it could not write."""
        await asyncio.Event().wait()


async def _topics(*_: Any) -> dict[str, int]:
    return {"catalog": 1}


def test_what_no_broker_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_clients, "AIOKafkaProducer", Waiting)
    monkeypatch.setattr(kafka_clients, "topic_counts", _topics)
    monkeypatch.setattr(kafka_clients, "_WRITE_SECONDS", 0.05)
    monkeypatch.setattr(kafka_clients, "_STOP_SECONDS", 0.05)
    with pytest.raises(KafkaTimeoutError):
        asyncio.run(asyncio.wait_for(publish(Settings(kafka_bootstrap_servers="127.0.0.1:1"), "catalog", b"x"), 20.0))
