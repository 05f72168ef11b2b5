"""Children that fail are started again with growing pauses, and all end together."""

from typing import Any

from ctrlplane_stream.stream.supervisor import FIRST_PAUSE_SECONDS, HEALTHY_AFTER_SECONDS, LONGEST_PAUSE_SECONDS, Child


class Process:
    """What a child sees of its process."""

    exitcode: int | None = None


def child_of(started: list[Process]) -> Child:
    """A child whose processes are noted."""

    def start(_: str) -> Any:
        started.append(Process())
        return started[-1]

    return Child("engine", start)


def test_a_child_that_ended_is_started_again_after_its_pause() -> None:
    started: list[Process] = []
    child = child_of(started)
    started[0].exitcode = 70
    child.look(100.0)
    child.look(100.0 + FIRST_PAUSE_SECONDS / 2)
    assert len(started) == 1
    child.look(100.0 + FIRST_PAUSE_SECONDS)
    assert len(started) == 2
    assert child.restarts == 1


def test_a_child_that_keeps_failing_is_started_ever_more_slowly_up_to_a_limit() -> None:
    started: list[Process] = []
    child, now, pauses = child_of(started), 0.0, []
    for _ in range(12):
        started[-1].exitcode = 1
        child.look(now)
        ended = now
        while started[-1].exitcode is not None:
            now += 0.05
            child.look(now)
        pauses.append(round(now - ended, 1))
    assert pauses == sorted(pauses)
    assert pauses[-1] < LONGEST_PAUSE_SECONDS + 0.1


def test_a_child_that_was_healthy_for_long_is_started_again_at_once() -> None:
    started: list[Process] = []
    child = child_of(started)
    for now in (0.0, 1.0, 5.0, 20.0):
        started[-1].exitcode = 1
        child.look(now)
        child.look(now + LONGEST_PAUSE_SECONDS)
    started[-1].exitcode = 1
    later = 30.0 + HEALTHY_AFTER_SECONDS + 1.0
    child.look(later)
    child.look(later + FIRST_PAUSE_SECONDS)
    assert started[-1].exitcode is None
