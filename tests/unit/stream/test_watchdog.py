"""A stalled consumer is noticed, and a quiet one is not taken for stalled."""

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream import watchdog
from ctrlplane_stream.stream.watchdog import Stalled, Watchdog


class Worker:
    """What the watchdog sees of a role: one partition, its end and what was committed."""

    def __init__(self) -> None:
        self.end, self.committed = 10, 10
        self.failures: list[BaseException] = []
        self.metrics = SimpleNamespace(lag=lambda *_: None, commit_age=lambda *_: None)
        self.settings = Settings()
        self.place = TP("facts", 0)
        self.app = SimpleNamespace(holding=True, seeking=False, _consumer=self)
        self.reader = SimpleNamespace(records_read=0)

    @property
    def _committed_offset(self) -> dict[TP, int]:
        return {self.place: self.committed}

    def assignment(self) -> set[TP]:
        """The one partition."""
        return {self.place}

    def waiting(self, _: TP, done: int) -> int:
        """How many records there are beyond."""
        return self.end - done

    def fail(self, error: BaseException) -> None:
        """Noted."""
        self.failures.append(error)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def look(worker: Any, clock: list[float], seconds: int, every: Any = lambda: None) -> None:
    """Let so many seconds pass under the dog's eyes, at a limit of ten."""
    dog = Watchdog(worker, 10.0)
    for _ in range(seconds):
        clock[0] += 1.5
        every()
        dog.look()


def test_a_quiet_topic_is_no_stall(clock: list[float]) -> None:
    worker = Worker()
    look(worker, clock, 60)
    assert worker.failures == []


def test_a_backlog_that_moves_is_no_stall(clock: list[float]) -> None:
    worker = Worker()
    worker.end = 1_000

    def commit() -> None:
        worker.committed += 1

    look(worker, clock, 60, commit)
    assert worker.failures == []


def test_records_that_wait_while_nothing_is_committed_are_a_stall(clock: list[float]) -> None:
    worker = Worker()
    worker.end = 11
    look(worker, clock, 12)
    assert isinstance(worker.failures[0], Stalled)
    assert "facts" in str(worker.failures[0])


def test_a_worker_that_never_hears_of_its_partitions_is_a_stall(clock: list[float]) -> None:
    """Seen in the crash sweep: a group joined while the broker restarted never answered."""
    worker = Worker()
    worker.app.holding = False
    look(worker, clock, 12)
    assert isinstance(worker.failures[0], Stalled)


def test_a_recovery_that_reads_nothing_is_a_stall(clock: list[float]) -> None:
    """Seen in the crash sweep: a worker that began while the broker restarted claimed nothing and said nothing."""
    worker = Worker()
    worker.app.seeking = True
    look(worker, clock, 12)
    assert "partitions stands still" in str(worker.failures[0])


def test_a_long_recovery_that_reads_on_is_no_stall(clock: list[float]) -> None:
    worker = Worker()
    worker.app.seeking = True

    def read() -> None:
        worker.reader.records_read += 1

    look(worker, clock, 60, read)
    assert worker.failures == []


def test_no_limit_means_no_verdict(clock: list[float]) -> None:
    worker = Worker()
    worker.end = 11
    dog = Watchdog(worker, 0.0)  # type: ignore[arg-type]
    for _ in range(100):
        clock[0] += 10.0
        dog.look()
    assert worker.failures == []
