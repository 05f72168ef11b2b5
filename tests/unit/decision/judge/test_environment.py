"""One record for a whole environment: the past goes on for those at rest and stands still for those who are watched."""

from typing import Any

import msgspec

from ctrlplane_stream.decision.judge import EnvironmentState, judge_environment
from ctrlplane_stream.model.verdicts import VerdictStatus


def quiet(shop: Any, traffic: Any, windows: int = 30) -> EnvironmentState:
    state = EnvironmentState()
    for number in range(windows):
        state, verdicts = judge_environment(state, (), shop.window(number * 10, traffic(stable=400, candidate=0)))
        assert verdicts == ()
    return state


def test_a_rollout_is_judged_from_the_past_that_was_there_before_it(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic)
    before = state.baseline.of("cart")
    for number in range(30, 34):
        state, (verdict,) = judge_environment(state, (shop.assignment(),), shop.window(number * 10, traffic(candidate_errors=0)))
    assert verdict.windows_judged == 4
    assert state.baseline.of("cart") == before


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


def test_the_record_survives_json(shop: Any, traffic: Any) -> None:
    state = quiet(shop, traffic, 5)
    assignments = (shop.assignment(weight_confirmed_at_ms=0),)
    state, _ = judge_environment(state, assignments, shop.window(50, traffic()))
    thawed = msgspec.json.decode(msgspec.json.encode(state), type=EnvironmentState)
    window = shop.window(60, traffic(candidate_errors=40))
    ours, theirs = judge_environment(state, assignments, window), judge_environment(thawed, assignments, window)
    assert ours == theirs
    assert ours[1][0].status is VerdictStatus.FAIL
