"""When services are served by what nobody has accepted, as the deltas of decisions tell it."""

from typing import Any

import msgspec

from ctrlplane_stream.decision.entities import Rollout, TargetEntry, Unit
from ctrlplane_stream.decision.judge.rest import Left, Unrest
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.state import encode_entry
from ctrlplane_stream.model.decisions import GONE
from ctrlplane_stream.stream.unrest import UnrestBook


def told(
    book: UnrestBook, at_ms: int, number: int, phase: Phase, *, weighted: bool = True, cause: str = "release", name: str = ""
) -> Unrest | None:
    """What is known of cart once the rollout of its version of that number is in a phase."""
    unit = Unit("cart", f"#{number}", "#1", 0, weighted=weighted)
    rollout = Rollout(name or f"live/cart/{number}", "live", phase, (unit,), (), 1, cause, 0, 0, 0)
    book.take({f"rollout/{rollout.id}": msgspec.Raw(encode_entry(rollout))}, at_ms)
    return book.services.get("cart")


def completed(book: UnrestBook, at_ms: int, number: int, **more: Any) -> Unrest | None:
    told(book, at_ms - 100, number, Phase.SHIFTING, **more)
    return told(book, at_ms, number, Phase.COMPLETED, **more)


def target(book: UnrestBook, at_ms: int, **fields: Any) -> Unrest | None:
    book.take({"target/cart": msgspec.Raw(encode_entry(TargetEntry("cart", **fields)))}, at_ms)
    return book.services.get("cart")


def test_a_candidate_disturbs_from_its_first_weight_to_the_end() -> None:
    book = UnrestBook()
    assert told(book, 1, 2, Phase.QUEUED, weighted=False) is None
    assert told(book, 2, 2, Phase.PREPARING, weighted=False) is None
    for at, phase in enumerate((Phase.SHIFTING, Phase.VERIFYING, Phase.PREPARING, Phase.SHIFTING, Phase.ABORTING, Phase.DRAINING), 3):
        assert told(book, at, 2, phase) == Unrest(None)
    assert told(book, 9, 2, Phase.REVERTED) == Unrest(9, left=Left(3, 9))
    assert told(book, 12, 2, Phase.REVERTED) == Unrest(9, left=Left(3, 9))


def test_what_is_returned_to_disowns_all_that_was_accepted_after_it() -> None:
    book = UnrestBook()
    for number in (1, 2, 3, 4):
        assert completed(book, number * 1_000, number) == Unrest(number * 1_000)
    assert completed(book, 9_000, 2, cause="revert") == Unrest(9_000, left=Left(3_000, 9_000))
    assert completed(book, 10_000, 1, name="live/cart/1-again") == Unrest(10_000, left=Left(2_000, 10_000))
    assert completed(book, 11_000, 5) == Unrest(11_000, left=Left(2_000, 10_000))


def test_of_a_return_to_what_the_log_no_longer_tells_nothing_stays() -> None:
    assert completed(UnrestBook(), 9_000, 2, cause="revert") == Unrest(9_000, left=Left(0, 9_000))


def test_what_another_tool_moves_served_before_it_was_seen() -> None:
    book = UnrestBook(seen_after_ms=30_000)
    assert told(book, 100_000, 2, Phase.ADVISING) == Unrest(None)
    assert told(book, 200_000, 2, Phase.ADVISING) == Unrest(None)
    assert told(book, 300_000, 2, Phase.REVERTED) == Unrest(300_000, left=Left(70_000, 300_000))


def test_nobody_else_is_disturbed_by_a_hand_and_a_rollout_outranks_it() -> None:
    book = UnrestBook()
    assert target(book, 1) is None
    assert target(book, 2, strayed="other weights") == Unrest(None, alone=True)
    assert told(book, 3, 2, Phase.SHIFTING) == Unrest(None)
    assert told(book, 4, 2, Phase.REVERTED) == Unrest(None, alone=True, left=Left(3, 4))
    assert target(book, 5) == Unrest(5, left=Left(3, 4))


def test_what_cannot_be_read_or_went_away_is_passed_over() -> None:
    book = UnrestBook()
    told(book, 1, 2, Phase.SHIFTING)
    for value in (b"[]", b'{"id":1}', b'{"id":"live/cart/2","phase":"waltzing","units":[]}', GONE):
        book.take({"rollout/live/cart/2": msgspec.Raw(value), "target/cart": msgspec.Raw(value), "clock": msgspec.Raw(value)}, 2)
    assert book.services == {"cart": Unrest(None)}


def test_what_was_dated_ahead_happened_no_later_than_what_comes_next() -> None:
    """As where a broker's clock was wrong for a while: its services would have no past until then."""
    book, year_ms = UnrestBook(), 365 * 86_400_000
    completed(book, year_ms, 2)
    told(book, year_ms, 3, Phase.SHIFTING)
    assert told(book, year_ms, 3, Phase.REVERTED) == Unrest(year_ms, left=Left(year_ms, year_ms))
    assert target(book, 1_000) == Unrest(1_000, left=Left(1_000, 1_000))
    assert completed(book, 2_000, 3) == Unrest(2_000, left=Left(1_000, 1_000))
    assert completed(book, 3_000, 2, name="again") == Unrest(3_000, left=Left(2_000, 3_000))
