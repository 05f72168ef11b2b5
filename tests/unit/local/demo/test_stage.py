"""How everything of the demo is taken down."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from ctrlplane_stream.local.demo import stage
from ctrlplane_stream.local.demo.parts import Parts
from ctrlplane_stream.local.demo.stage import LeftBehind, open_stage
from ctrlplane_stream.local.kafka import NamedKafka


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to take it down, where nothing is really started: the broker is somebody else's."""
    done: list[str] = []

    async def nothing(*_: object) -> None:
        pass

    async def remove_topics(*_: object) -> None:
        await asyncio.sleep(0.1)
        done.append("topics")

    async def remove_groups(*_: object) -> None:
        await asyncio.sleep(0.1)
        done.append("groups")

    for name in ("start_host", "start_intake", "start_worker"):
        monkeypatch.setattr(Parts, name, lambda _: None)
    monkeypatch.setattr(Parts, "stop_all", lambda _: done.append("parts"))
    monkeypatch.setattr(stage.Audience, "_follow", nothing)
    for name, work in (
        ("ensure_topics", nothing),
        ("create_orders_topic", nothing),
        ("remove_topics", remove_topics),
        ("remove_groups", remove_groups),
    ):
        monkeypatch.setattr(stage, name, work)
    return done


async def _opened_and_closed(folder: Path) -> None:
    async with open_stage(NamedKafka("kafka:9092"), folder):
        pass


def test_it_is_taken_down_to_the_end_however_often_that_is_interrupted(did: list[str], tmp_path: Path) -> None:
    async def play() -> bool:
        task = asyncio.create_task(_opened_and_closed(tmp_path))
        while not task.done():
            await asyncio.sleep(0.01)
            if "parts" in did:
                task.cancel()
        return task.cancelled()

    assert asyncio.run(play())
    assert did == ["parts", "topics", "groups"]


@pytest.mark.parametrize("trouble", [KafkaConnectionError("no route"), TimeoutError()])
def test_what_a_broker_does_not_let_go_of_is_named(
    trouble: Exception, did: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it went away meanwhile; nobody else would ever remove it."""

    async def fails(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(stage, "remove_groups", fails)
    why = rf"({type(trouble).__name__}.*|.*{trouble})"
    with pytest.raises(LeftBehind, match=rf"begin with ctrlplane-demo-\d+-, may be left at kafka:9092 \({why}\): delete them there"):
        asyncio.run(_opened_and_closed(tmp_path))
    assert did == ["parts", "topics"]
