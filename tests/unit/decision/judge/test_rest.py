"""Only what was served by what is accepted becomes the past, of a service and of what lives around it."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, EnvironmentState, judge_environment
from ctrlplane_stream.decision.judge.baseline import ServicePast, Totals
from ctrlplane_stream.decision.judge.rest import Left, Unrest, around
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind


def edge(text: str, kind: EdgeKind = EdgeKind.CALL) -> EdgeKey:
    caller, callee = text.split(">")
    return EdgeKey(caller, callee, kind)


def after(
    shop: Any, traffic: Any, state: EnvironmentState, first: int, count: int, unrest: dict[str, Unrest] | None = None
) -> EnvironmentState:
    """The state after so many windows without a candidate."""
    for number in range(first, first + count):
        state, _ = judge_environment(state, (), shop.window(number * 10, traffic(stable=40, candidate=0)), unrest=unrest or {})
    return state


def windows(state: EnvironmentState, service: str = "cart") -> int:
    return state.baseline.of(service).totals().windows


def test_around_a_service_are_its_callers_what_it_calls_and_who_shares_that() -> None:
    edges = [
        edge(text) for text in ("web>front", "front>cart", "cart>db", "pay>db", "shopper>pay", "front>stock", "island>sea", "news>mailer")
    ]
    edges += [edge("cart>mailer", EdgeKind.MESSAGE), edge("tax>cart", EdgeKind.MESSAGE)]
    assert around(["cart"], edges) == {"cart", "front", "web", "db", "pay", "mailer"}
    assert around([], edges) == frozenset()


def test_a_window_that_began_before_a_service_was_at_rest_is_in_no_past_around_it(shop: Any, traffic: Any) -> None:
    state = after(shop, traffic, EnvironmentState(), 0, 3)
    for unrest in (Unrest(None), Unrest(60_001)):
        moved = after(shop, traffic, state, 3, 4, {"cart": unrest})
        assert [windows(moved, name) for name in ("cart", "frontend", "db")] == [3, 3, 3]
    assert windows(after(shop, traffic, state, 3, 4, {"cart": Unrest(60_000)})) == 4
    alone = after(shop, traffic, state, 3, 4, {"cart": Unrest(None, alone=True)})
    assert [windows(alone, name) for name in ("cart", "frontend", "db")] == [3, 7, 7]


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (Left(400_000, 405_000), 40),  # nothing was taken since
        (Left(395_000, 405_000), 40),  # the last window began before
        (Left(390_000, 405_000), 30),
        (Left(300_000, 405_000), 30),
        (Left(290_000, 405_000), 0),
        (Left(0, 405_000), 0),
    ],
)
def test_the_generations_that_hold_what_was_gone_back_from_leave_the_past_once(shop: Any, traffic: Any, left: Left, kept: int) -> None:
    state = after(shop, traffic, EnvironmentState(), 0, 40)
    unrest = {"cart": Unrest(left.until_ms, left=left)}
    assert [windows(after(shop, traffic, state, 40, 1, unrest), name) for name in ("cart", "frontend", "db")] == [kept] * 3
    assert windows(after(shop, traffic, state, 40, 6, unrest)) == kept + 5


def test_a_step_that_begins_before_a_window_of_rest_begins_without_what_was_gone_back_from(shop: Any, traffic: Any) -> None:
    state = after(shop, traffic, EnvironmentState(), 0, 20)
    unrest = {"cart": Unrest(None, left=Left(50_000, 205_000))}
    state, _ = judge_environment(state, (shop.assignment(weight_confirmed_at_ms=206_000),), shop.window(200, traffic()), unrest=unrest)
    assert state.steps["cart-2"].references["cart"].totals() == Totals()


def test_a_window_read_again_after_a_crash_is_left_to_the_pasts_that_hold_it(shop: Any, traffic: Any) -> None:
    behind = after(shop, traffic, EnvironmentState(), 0, 5)
    window, unrest = shop.window(50, traffic(stable=30, candidate=0)), {"cart": Unrest(45_000, left=Left(10_000, 45_000))}
    ahead, _ = judge_environment(behind, (), window, unrest=unrest)
    mixed = {**behind.baseline.services, "cart": ahead.baseline.of("cart")}
    again, _ = judge_environment(EnvironmentState(Baseline(mixed), {}, behind.window), (), window, unrest=unrest)
    assert again == ahead
    assert windows(again) == 1


def _of_an_earlier_build(state: EnvironmentState) -> EnvironmentState:
    services = {name: replace(past, taken=None, turned=None) for name, past in state.baseline.services.items()}
    return replace(state, baseline=Baseline(services))


def test_what_an_earlier_build_kept_begins_anew_where_anything_was_gone_back_from_of_late(shop: Any, traffic: Any) -> None:
    """It released a candidate with the decision to abort it, and took what that served until then."""
    old = _of_an_earlier_build(after(shop, traffic, EnvironmentState(), 0, 40))
    assert windows(after(shop, traffic, old, 40, 2)) == 42
    for name, until_ms, kept in (("cart", 200_000, 2), ("cart", -86_500_000, 42), ("island", 200_000, 42)):
        unrest = {name: Unrest(until_ms, left=Left(until_ms - 100_000, until_ms))}
        assert windows(after(shop, traffic, old, 40, 2, unrest)) == kept


def test_pasts_of_earlier_builds_can_be_read() -> None:
    known = msgspec.json.decode(b'{"older":{"windows":30},"newer":{"windows":3},"heard":50}', type=ServicePast)
    assert (known.totals().windows, known.taken, known.turned) == (33, None, None)


def test_a_service_without_rows_keeps_what_it_has_and_is_told_around_by_its_past(shop: Any, traffic: Any) -> None:
    state = after(shop, traffic, EnvironmentState(), 0, 5)
    unrest = {"cart": Unrest(60_000, left=Left(20_000, 60_000))}
    state, _ = judge_environment(state, (), ClosedWindow(60), unrest=unrest)
    assert [windows(state, name) for name in ("cart", "frontend", "db")] == [0, 0, 0]
