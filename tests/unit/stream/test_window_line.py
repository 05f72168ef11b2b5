"""Windows as the judge takes them."""

from ctrlplane_stream.model.windows import Closed, ServiceWindow, WindowPart
from ctrlplane_stream.stream.window_line import WindowLine

ENV = "production"


def _part(partition: int, window: int, part: int = 0) -> WindowPart:
    row = ServiceWindow("shop/cart", "#1", 1, 0, 1.0, 0)
    return WindowPart(ENV, partition, window, part, services=(row,))


def _closed(partition: int, window: int, lag: float = 0.0) -> Closed:
    return Closed(ENV, partition, window, lag)


def test_a_window_is_whole_when_every_partition_has_closed_it() -> None:
    """One late partition keeps the window back, however far the others are."""
    line = WindowLine(2, 10)
    assert line.feed(0, _part(0, 100)) == []
    assert line.feed(1, _closed(0, 100)) == []
    assert line.feed(2, _closed(0, 110)) == []
    (whole,) = line.feed(3, _closed(1, 100, lag=4.0))
    assert (whole.window, len(whole.parts), whole.lag_seconds) == (100, 1, 4.0)


def test_windows_come_in_order_and_none_is_left_out() -> None:
    """A partition that catches up closes several at once; empty ones are there too."""
    line = WindowLine(1, 10)
    line.feed(0, _closed(0, 100))
    assert [w.window for w in line.feed(1, _closed(0, 130))] == [110, 120, 130]


def test_late_parts_come_with_the_next_window() -> None:
    """What is late for a window that was taken is not lost, and not counted twice."""
    line = WindowLine(1, 10)
    line.feed(0, _closed(0, 100))
    line.feed(1, _part(0, 100, part=7))
    line.feed(2, _part(0, 100, part=7))
    (whole,) = line.feed(3, _closed(0, 110))
    assert [(p.window, p.part) for p in whole.parts] == [(100, 7)]


def test_after_a_restart_what_was_taken_is_dropped_and_what_was_not_is_taken() -> None:
    """From the place written down, reading again from its restart offset gives the next windows and no repetition."""
    records = [_part(0, 100), _closed(0, 100), _part(0, 110), _part(0, 120), _closed(0, 110), _closed(0, 120)]
    first = WindowLine(1, 10)
    for offset, record in enumerate(records[:5]):
        first.feed(offset, record)
    place = first.place
    assert (place.window, place.restart) == (110, 3)
    second = WindowLine(1, 10, place)
    found = [w for offset, record in enumerate(records) if offset >= place.restart for w in second.feed(offset, record)]
    assert [(w.window, len(w.parts)) for w in found] == [(120, 1)]


def test_reading_from_the_beginning_again_repeats_nothing() -> None:
    """Even where the restart offset is older than it need be."""
    records = [_part(0, 100), _closed(0, 100), _part(0, 100, part=5), _closed(0, 110)]
    first = WindowLine(1, 10)
    for offset, record in enumerate(records):
        first.feed(offset, record)
    second = WindowLine(1, 10, first.place)
    assert [w for offset, record in enumerate(records) for w in second.feed(offset, record)] == []
