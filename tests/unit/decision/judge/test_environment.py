"""All that is known of an environment: the past goes on for those at rest and stands still for those who are watched."""

from typing import Any

import msgspec

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, EnvironmentState, judge_environment
from ctrlplane_stream.model.verdicts import VerdictStatus


def quiet(shop: Any, traffic: Any, windows: int = 30) -> EnvironmentState:
    state = EnvironmentState()
    for number in range(windows):
        state, verdicts = judge_environment(state, (), shop.window(number * 10, traffic(stable=400, candidate=0)))
        assert verdicts == ()
    return state


def test_a_rollout_is_judged_from_the_past_that_was_there_before_it(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic)
    before = state.baseline.of("cart").frozen()
    for number in range(30, 34):
        state, (verdict,) = judge_environment(state, (shop.assignment(),), shop.window(number * 10, traffic(candidate_errors=0)))
    assert verdict.windows_judged == 4
    assert state.baseline.of("cart").frozen() == before


def test_the_next_step_keeps_the_past_from_before_the_rollout(shop: Any, traffic: Any) -> None:
    """Between two steps the services are at rest for a window; the second step still compares with what was before the first."""
    state = quiet(shop, traffic)
    state, _ = judge_environment(state, (shop.assignment(),), shop.window(300, traffic()))
    first = state.steps["cart-2"].references
    state, _ = judge_environment(state, (), shop.window(310, traffic()))
    later = shop.assignment(step=1, weight_confirmed_at_ms=320_000)
    state, (verdict,) = judge_environment(state, (later,), shop.window(320, traffic()))
    assert state.steps["cart-2"].references == first
    assert (verdict.step, verdict.windows_judged) == (1, 1)


def test_a_window_read_again_gives_the_same_state_and_verdicts(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic, 5)
    assignments = (shop.assignment(weight_confirmed_at_ms=50_000),)
    once, first = judge_environment(state, assignments, shop.window(50, traffic(dead=True)))
    twice, second = judge_environment(once, assignments, shop.window(50, traffic()))
    assert (twice, second) == (once, first)


def test_a_finished_rollout_leaves_the_record(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic, 5)
    state, _ = judge_environment(state, (shop.assignment(weight_confirmed_at_ms=0),), shop.window(50, traffic()))
    state, _ = judge_environment(state, (), shop.window(660, traffic()))
    assert state.steps == {}


def test_a_service_that_was_silent_for_long_is_forgotten_and_any_other_is_not(shop: Any, traffic: Any) -> None:
    """Names that come and go, as of jobs or Pods, would fill what is kept."""
    state = quiet(shop, traffic, 5)
    names = set(state.baseline.services)
    state, _ = judge_environment(state, (), ClosedWindow(1_040, ()), remembered_seconds=1_000)
    assert set(state.baseline.services) == names
    state, _ = judge_environment(state, (), shop.window(1_050, traffic(stable=400, candidate=0)), remembered_seconds=1_000)
    assert set(state.baseline.services) == names
    state, _ = judge_environment(state, (), ClosedWindow(2_060, ()), remembered_seconds=1_000)
    assert state.baseline.services == {}


def test_what_a_rollout_watches_is_not_forgotten_however_long_it_is_silent(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic, 5)
    before = state.baseline.of("cart")
    state, _ = judge_environment(state, (shop.assignment(),), ClosedWindow(5_000_000, ()))
    assert state.baseline.of("cart") == before


def test_a_service_that_a_long_rollout_watched_is_remembered_after_it(shop: Any, traffic: Any) -> None:
    """Its past stood still, but it was heard of all the time."""
    state = quiet(shop, traffic, 5)
    for window in (50, 900, 1_800):
        state, _ = judge_environment(state, (shop.assignment(),), shop.window(window, traffic()), remembered_seconds=1_000)
    state, _ = judge_environment(state, (), ClosedWindow(1_810, ()), remembered_seconds=1_000)
    assert state.baseline.of("cart").totals().windows == 5


def test_pasts_that_are_ahead_of_the_rest_take_no_window_twice(shop: Any, traffic: Any) -> None:
    """As a crash leaves them: some of what was kept holds a window more."""
    behind = quiet(shop, traffic, 5)
    window = shop.window(50, traffic(stable=300, candidate=0))
    ahead, _ = judge_environment(behind, (), window)
    mixed = {**behind.baseline.services, "cart": ahead.baseline.of("cart")}
    again, _ = judge_environment(EnvironmentState(Baseline(mixed), {}, behind.window), (), window)
    assert again == ahead


def test_the_record_survives_json(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic, 5)
    assignments = (shop.assignment(weight_confirmed_at_ms=0),)
    state, _ = judge_environment(state, assignments, shop.window(50, traffic()))
    thawed = msgspec.json.decode(msgspec.json.encode(state), type=EnvironmentState)
    window = shop.window(60, traffic(candidate_errors=40))
    ours, theirs = judge_environment(state, assignments, window), judge_environment(thawed, assignments, window)
    assert ours == theirs
    assert ours[1][0].status is VerdictStatus.FAIL


def begun(shop: Any, traffic: Any, **changes: Any) -> Any:
    """The check of cart's errors one harmless window into a step that follows one with a few errors too many, not enough for a FAIL."""
    state = quiet(shop, traffic)
    for number in range(30, 32):
        state, (verdict,) = judge_environment(state, (shop.assignment(),), shop.window(number * 10, traffic(candidate_errors=2)))
    assert verdict.status is not VerdictStatus.FAIL
    later = shop.assignment(weight_confirmed_at_ms=330_000, **changes)
    state, _ = judge_environment(state, (later,), shop.window(330, traffic()))
    return state.steps["cart-2"].checks["changed|cart|versions|error_ratio"]


def test_what_spoke_for_harm_in_one_step_speaks_in_part_in_the_next(shop: Any, traffic: Any) -> None:
    """More than where the same step is begun by itself; its counts, its proofs and the highest that was reached are its own."""
    alone = begun(shop, traffic, step=0, attempt=2)
    after = begun(shop, traffic, step=1, attempt=2)
    assert max(after.evidence.harm) > max(alone.evidence.harm)
    assert after.evidence.safety == alone.evidence.safety
    assert (after.windows, after.candidate) == (1, alone.candidate)


def test_what_spoke_against_the_past_stays_in_the_step_that_it_fell_into(shop: Any, traffic: Any) -> None:
    """A slow minute of a machine would be held against the next step, whose witnesses know nothing of it."""
    state = quiet(shop, traffic)
    state, _ = judge_environment(state, (shop.assignment(),), shop.window(300, traffic(db_ms=60.0)))
    assert max(state.steps["cart-2"].checks["callee|db|baseline|latency_p99"].evidence.harm) > 0
    later = shop.assignment(step=1, attempt=2, weight_confirmed_at_ms=310_000)
    state, _ = judge_environment(state, (later,), shop.window(310, traffic()))
    assert max(state.steps["cart-2"].checks["callee|db|baseline|latency_p99"].evidence.harm) < 0


def test_a_retry_begins_without_what_was_held_against_the_candidate(shop: Any, traffic: Any) -> None:
    """It may have been the surroundings that failed, and a person said: again."""
    alone = begun(shop, traffic, step=0, attempt=2)
    assert begun(shop, traffic, step=1, attempt=6).evidence == alone.evidence
