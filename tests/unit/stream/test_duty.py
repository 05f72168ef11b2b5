"""What every role has in common."""

import pytest

from ctrlplane_stream.stream.duty import until_next


@pytest.mark.parametrize("now_ms", [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_500, 1_700_000_000_999])
def test_work_on_the_clock_is_done_just_after_a_whole_multiple(now_ms: int) -> None:
    """Never before it, and never a whole period late."""
    due_ms = now_ms + until_next(1.0, now_ms) * 1000
    assert 0 < due_ms % 1000 < 50
    assert now_ms < due_ms <= now_ms + 1050
