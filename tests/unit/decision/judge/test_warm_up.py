"""Fresh instances are slow at first, and any instance pauses: neither is a slow version."""

from typing import Any

import pytest

from ctrlplane_stream.decision.judge import begin, judge_window
from ctrlplane_stream.model.verdicts import GatePolicy, Limit, Metric, Verdict, VerdictStatus


def steps(shop: Any, traffic: Any, slow: dict[int, float], windows: int, **policy: Any) -> list[Verdict]:
    """The verdicts of a step at half of 400 requests a window whose candidate takes so many times as long in these windows, from 0."""
    assignment = shop.assignment(weight=0.5, policy=GatePolicy(**policy))
    state, found = begin(assignment, shop.baseline()), []
    for number in range(windows):
        now = traffic(stable=200, candidate=200, candidate_ms=20.0 * slow.get(number, 1.0))
        state, verdict = judge_window(state, assignment, shop.window((30 + number) * 10, now))
        found.append(verdict)
    return found


def failed_at(found: list[Verdict]) -> int | None:
    """The number of the first window that failed the step, from 1."""
    return next((number for number, verdict in enumerate(found, 1) if verdict.status is VerdictStatus.FAIL), None)


@pytest.mark.parametrize("times", [2.0, 5.0, 20.0])
def test_a_candidate_that_is_slow_in_its_first_window_only_passes(shop: Any, traffic: Any, times: float) -> None:
    """Not only is it not failed: what it was at first stands in the way of no proof."""
    found = steps(shop, traffic, {0: times}, 30)
    assert failed_at(found) is None
    assert found[-1].status is VerdictStatus.PASS
    assert found[-1].proven


def test_one_window_of_slowness_is_a_pause_whenever_it_comes(shop: Any, traffic: Any) -> None:
    assert failed_at(steps(shop, traffic, {4: 20.0}, 12)) is None


def test_a_slow_candidate_is_found_in_its_third_window(shop: Any, traffic: Any) -> None:
    assert failed_at(steps(shop, traffic, dict.fromkeys(range(6), 4.0), 6)) == 3


def test_a_policy_says_how_long_instances_warm_up(shop: Any, traffic: Any) -> None:
    slow = {0: 4.0, 1: 3.0, 2: 3.0}
    assert failed_at(steps(shop, traffic, slow, 6)) == 3
    assert failed_at(steps(shop, traffic, slow, 12, warm_up_windows=3)) is None
    assert failed_at(steps(shop, traffic, slow, 6, warm_up_windows=0)) == 2


def test_failures_are_judged_from_the_first_window(shop: Any, traffic: Any) -> None:
    _, (verdict,) = shop.judge(traffic(candidate_errors=40), windows=1)
    assert verdict.status is VerdictStatus.FAIL
    assert verdict.culprit.metric is Metric.ERROR_RATIO


def test_an_absolute_limit_on_latency_waits_for_instances_that_warm_up_too(shop: Any, traffic: Any) -> None:
    limited = (Limit(Metric.LATENCY_P50, 50.0),)
    assert failed_at(steps(shop, traffic, {0: 20.0}, 6, limits=limited)) is None
    assert failed_at(steps(shop, traffic, {0: 20.0}, 6, limits=limited, warm_up_windows=0)) == 1
