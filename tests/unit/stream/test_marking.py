"""Watermarks are written when pairing can do something with them, and then without fail."""

from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.stream.marking import Marks

WINDOW_MS, LATENESS_MS = 10_000, 4_000


def closable(times: list[int]) -> int:
    """What pairing makes of the sources' times: the window that may not close yet, by number (``PairStage``)."""
    return (min(times) - LATENESS_MS) // WINDOW_MS


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4_000)), max_size=60))
def test_windows_close_at_the_same_moment_as_if_every_watermark_were_written(steps: list[tuple[int, int]]) -> None:
    """For any pace of three sources: after each look, what was written lets close exactly what all that is known lets close."""
    marks, now, written = Marks(WINDOW_MS, LATENESS_MS), dict.fromkeys(range(3), 1_000_000), dict[int, int]()
    for source, passed in [(0, 0), (1, 0), (2, 0), *steps]:
        now[source] += passed
        if marks.due(source, now[source]):
            marks.wrote(source, now[source])
            written[source] = now[source]
        if len(written) == len(now):
            assert closable(list(written.values())) == closable(list(now.values()))


def test_an_idle_source_writes_once_a_window() -> None:
    marks, written = Marks(WINDOW_MS, LATENESS_MS), 0
    for now_ms in range(1_000_000, 1_100_000, 250):
        if marks.due(0, now_ms):
            marks.wrote(0, now_ms)
            written += 1
    assert written == 1 + 100_000 // WINDOW_MS


def test_a_new_owner_says_at_once_where_its_source_stands() -> None:
    marks = Marks(WINDOW_MS, LATENESS_MS)
    marks.wrote(0, 1_000_000)
    assert not marks.due(0, 1_000_001)
    marks.forget()
    assert marks.due(0, 1_000_001)
