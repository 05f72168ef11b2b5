"""What `gates plan` promises is kept by the judge on drawn traffic: a rise is found within the promised time in 19 of 20 rollouts."""

from functools import cache
from itertools import pairwise

import pytest

from bench.gates.rollouts import BASELINE_WINDOWS, CHANGED
from bench.gates.traffic import CANDIDATE, CONDITIONS, STABLE, WINDOW_SECONDS, Fault, System
from ctrlplane_stream.decision.judge import Baseline, begin, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.planning import StepPlan, Traffic, plan_step
from ctrlplane_stream.decision.judge.questions import questions
from ctrlplane_stream.model.verdicts import Assignment, Change, GatePolicy, Metric, VerdictStatus

RUNS = 40
POLICY = GatePolicy(metrics=(Metric.ERROR_RATIO,), proof=(), minimum_samples=10**9, maximum_windows=10**6)
"""Only errors are asked about, and nothing passes before it is found."""

PROMISED = (
    (10, 1.0, 3.0),
    (100, 1.0, 1.6),
    (100, 1.0, 3.0),
    (1000, 1.0, 1.6),
    (4000, 1.0, 1.5),
    (100, 0.5, 1.6),
    (1000, 0.5, 1.6),
    (100, 0.1, 3.0),
)
"""Requests a second, weight, and how many times the margin the rise is."""


def _asked(weight: float) -> Assignment:
    return Assignment(
        rollout="cart-2",
        environment="prod",
        step=0,
        attempt=1,
        changed=(Change("cart", CANDIDATE, STABLE),),
        guards=(CHANGED,),
        weight=weight,
        weight_confirmed_at_ms=BASELINE_WINDOWS * WINDOW_SECONDS * 1000,
        steps=4,
        window_seconds=WINDOW_SECONDS,
        policy=POLICY,
    )


def _rise(weight: float, times: float) -> float:
    """So many times the margin, which is wider against the past."""
    return times * POLICY.error_margin * (POLICY.baseline_margin_factor if weight == 1.0 else 1.0)


def _plan(rps: float, weight: float, times: float) -> StepPlan:
    traffic = Traffic(rps, weight, System(rps, CONDITIONS[0], 1).base_errors)
    return plan_step(traffic, _rise(weight, times), POLICY, questions=len(questions(_asked(weight))), steps=4)


def _windows_to_fail(rps: float, weight: float, fault: Fault, seed: int, most: float) -> float:
    system, baseline, asked = System(rps, CONDITIONS[0], seed), Baseline(), _asked(weight)
    for number in range(BASELINE_WINDOWS):
        baseline = observe(baseline, sort_rows(system.window(number, 0.0), 0), ())
    state, looked = begin(asked, baseline), 0
    while looked < most:
        state, verdict = judge_window(state, asked, system.window(BASELINE_WINDOWS + looked, weight, fault))
        looked += 1
        if verdict.status is VerdictStatus.FAIL:
            return looked
    return float("inf")


@cache
def _found(rps: float, weight: float, times: float) -> tuple[float, ...]:
    """Seconds until each of the drawn rollouts fails, none waited for longer than is promised."""
    fault, promised = Fault("errors", errors=_rise(weight, times)), _plan(rps, weight, times).detect_within_seconds
    most = min(promised, 3600) / WINDOW_SECONDS
    return tuple(WINDOW_SECONDS * _windows_to_fail(rps, weight, fault, 1 + seed, most) for seed in range(RUNS))


@pytest.mark.parametrize(("rps", "weight", "times"), PROMISED)
def test_a_rise_is_found_within_the_promised_time(rps: float, weight: float, times: float) -> None:
    """Of 40, where two missed are to be expected, no more than five; and half of them in the time of half, or half as much again."""
    planned, found = _plan(rps, weight, times), _found(rps, weight, times)
    assert sum(seconds <= planned.detect_within_seconds for seconds in found) >= RUNS - 5
    assert sum(seconds <= 1.5 * planned.detect_seconds for seconds in found) >= RUNS // 2


def test_in_19_of_20_over_all_steps() -> None:
    kept = [seconds <= _plan(*step).detect_within_seconds for step in PROMISED for seconds in _found(*step)]
    assert sum(kept) >= 0.95 * len(kept)


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("times", [1.5, 2.0, 5.0])
def test_more_traffic_finds_a_rise_no_later(weight: float, times: float) -> None:
    """Give or take a window: where the first one has ten thousand requests it is bet on with what is a guess still."""
    found = [_plan(rps, weight, times).detect_seconds for rps in (30, 100, 300, 1000, 3000, 10_000)]
    assert all(later <= sooner + WINDOW_SECONDS for sooner, later in pairwise(found)), found


def test_a_rise_that_is_never_found_is_not_promised() -> None:
    """One by a fifth beyond the margin is too small for the smallest bet, at any traffic."""
    for weight in (0.01, 0.1, 0.5, 1.0):
        planned = _plan(1000, weight, 1.2)
        assert planned.detect_seconds == planned.detect_within_seconds == float("inf")
        fault = Fault("errors", errors=_rise(weight, 1.2))
        assert _windows_to_fail(1000, weight, fault, 1, 300) == float("inf")
