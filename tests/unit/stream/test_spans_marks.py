"""A source partition counts as read to its end as of when the broker was asked where that is, and as of no later time."""

import asyncio
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.framework import PositionedConsumer
from ctrlplane_stream.stream.ports import Letter, Written
from ctrlplane_stream.stream.roles import spans
from ctrlplane_stream.stream.roles.spans import Spans
from ctrlplane_stream.telemetry.batches import Watermark, decode

PLACE = TP("otlp_spans", 0)
BEGUN_MS = 1_000_000


class Scene:
    """A spans role with one source partition, and a broker that says where it ends; ``now_ms`` is everybody's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms, self.end, self.requests = BEGUN_MS, 5, 0
        self.answer_takes_ms, self.answers = 0, True
        self.written: list[Watermark] = []
        monkeypatch.setattr(spans, "wall_clock_ms", lambda: self.now_ms)
        self.role: Any = Spans(Settings(partitions=1, window_seconds=10, lateness_seconds=10))
        self.role.reader, self.role.outbox = self, self
        self.consumer: Any = object.__new__(PositionedConsumer)
        self.consumer._reached, self.consumer._handed = {}, {}
        self.role.app = SimpleNamespace(
            consumer=SimpleNamespace(assignment=lambda: {PLACE}), is_through=lambda *found: self.consumer.is_through(*found)
        )
        self.role._halved = {0: 5}

    async def ends(self, _: str, partitions: Iterable[int]) -> dict[int, int]:
        """Where the partition ends when the question arrives; the answer may take a while."""
        self.requests += 1
        if not self.answers:
            raise KafkaTimeoutError
        found = dict.fromkeys(partitions, self.end)
        self.now_ms += self.answer_takes_ms
        return found

    async def send(self, letters: Sequence[Letter]) -> list[Written]:
        """Keep the watermarks."""
        self.written += [record for letter in letters if isinstance(record := decode(letter.value or b""), Watermark)]
        return [Written(0, 0) for _ in letters]

    def look(self) -> list[int]:
        """Let the role look whether a window may close; the times of the watermarks that it wrote."""
        self.written.clear()
        asyncio.run(self.role._mark())
        return [mark.time_ms for mark in self.written]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_what_is_written_while_the_answer_is_under_way_is_not_taken_for_read(scene: Scene) -> None:
    """As where the worker is stopped, or its network hangs, between question and answer."""
    scene.answer_takes_ms = 60_000
    assert scene.look() == [BEGUN_MS]
    assert scene.written[0].written_at_ms == BEGUN_MS + 60_000


def test_a_source_with_a_backlog_is_whole_once_what_there_was_when_asked_is_read(scene: Scene) -> None:
    """That may be less than there is by then; and the broker is not asked again meanwhile."""
    scene.end = 8
    assert scene.look() == []
    scene.now_ms, scene.end = BEGUN_MS + 5_000, 20
    scene.role._halved[0] = 7
    assert scene.look() == []
    scene.role._halved[0] = 8
    assert scene.look() == [BEGUN_MS]
    assert scene.requests == 1


def test_the_broker_is_asked_once_a_window_where_nothing_comes(scene: Scene) -> None:
    written = []
    for scene.now_ms in range(BEGUN_MS, BEGUN_MS + 100_000, 250):
        written += scene.look()
    assert scene.requests == len(written) == 10


def test_a_marker_at_the_end_which_comes_to_no_reader_is_no_backlog(scene: Scene) -> None:
    """Offset 5 is that of a transaction's end: reading has come to 6, and all that was handed on is done."""
    scene.end = 6
    assert scene.look() == []
    scene.consumer._reached[PLACE], scene.consumer._handed[PLACE] = 6, 5
    assert scene.look() == [BEGUN_MS]


def test_without_the_brokers_word_nothing_is_said_and_the_next_look_asks_again(scene: Scene) -> None:
    scene.answers = False
    assert scene.look() == []
    scene.answers, scene.now_ms = True, BEGUN_MS + 40_000
    assert scene.look() == [BEGUN_MS + 40_000]


def test_what_the_last_owner_heard_is_forgotten_with_the_partitions(scene: Scene) -> None:
    scene.end = 8
    scene.look()
    asyncio.run(scene.role._on_revoked())
    assert scene.look() == []
    scene.role._halved, scene.now_ms = {0: 8}, BEGUN_MS + 3_000
    assert scene.look() == [BEGUN_MS + 3_000]
