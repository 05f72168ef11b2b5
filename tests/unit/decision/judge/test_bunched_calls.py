"""Requests that make unlike numbers of calls (lists, exports, one query for each item): the calls of one request come together."""

import random

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.verdicts import GatePolicy, Metric, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, asked

PAST, STEP, REQUESTS = 45, 30, 500
ASKED = asked(0.25, CHANGED, past=PAST, policy=GatePolicy(metrics=(Metric.CALLS_PER_REQUEST,), proof=()))


class Lists:
    """Windows of cart: a part of its requests call the database many times, the others once; and each calls a cache ten times."""

    def __init__(self, seed: int, part: float, many: int, candidate_calls: float = 1.0) -> None:
        self.rng, self.part, self.many, self.candidate_calls = random.Random(seed), part, many, candidate_calls

    def window(self, number: int, weight: float) -> ClosedWindow:
        edges, services = [], []
        for version, requests in (("#1", round(REQUESTS * (1 - weight))), ("#2", round(REQUESTS * weight))):
            if requests:
                lists = sum(self.rng.random() < self.part for _ in range(requests))
                calls = requests - lists + lists * self.many
                calls = round(calls * self.candidate_calls) if version == "#2" else calls
                services.append(ServiceWindow("cart", version, requests, 0, requests, 0))
                for callee, made in (("db", calls), ("cache", 10 * requests)):
                    edges.append(EdgeWindow("cart", callee, EdgeKind.DATABASE, version, "?", made, 0, made, 0))
        return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services)),))

    def judged(self, past: int = PAST) -> tuple[int, Verdict]:
        """The first FAIL and after how many windows, or the last verdict."""
        baseline = Baseline()
        for number in range(PAST - past, PAST):
            baseline = observe(baseline, sort_rows(self.window(number, 0.0), 0), ())
        state = begin(ASKED, baseline)
        for windows in range(1, STEP + 1):
            state, verdict = judge_window(state, ASKED, self.window(PAST + windows, ASKED.weight))
            if verdict.status is VerdictStatus.FAIL:
                break
        return windows, verdict


@pytest.mark.parametrize(("part", "many"), [(0.02, 200), (0.05, 100), (0.002, 1000)])
def test_no_identical_version_fails_for_the_lists_that_came_to_it(part: float, many: int) -> None:
    assert all(Lists(seed, part, many).judged()[1].status is not VerdictStatus.FAIL for seed in range(12))


def test_calls_that_are_missing_or_too_many_are_found_where_no_list_is_long() -> None:
    for calls in (0.5, 3.0):
        windows, verdict = Lists(1, 0.02, 2, calls).judged()
        assert verdict.status is VerdictStatus.FAIL
        assert 3 <= windows <= 4


def test_a_retry_of_everything_is_found_beside_lists() -> None:
    """What is known of lists is known of their edge alone, and costs time there: a candidate that makes all calls five times."""
    windows, verdict = Lists(1, 0.02, 50, 5.0).judged()
    assert verdict.status is VerdictStatus.FAIL, windows


def test_no_one_window_fails_a_step_by_calls() -> None:
    """An export that the past has not seen: one request makes ten thousand calls, once, at the candidate."""
    lists = Lists(1, 0.0, 0)
    baseline = Baseline()
    for number in range(PAST):
        baseline = observe(baseline, sort_rows(lists.window(number, 0.0), 0), ())
    state, worst = begin(ASKED, baseline), 0.0
    for number in range(PAST, PAST + STEP):
        lists.candidate_calls = 81.0 if number == PAST + 5 else 1.0
        state, verdict = judge_window(state, ASKED, lists.window(number, ASKED.weight))
        worst = max(worst, *(e.e_value / e.threshold for e in verdict.metrics if e.threshold))
        assert verdict.status is not VerdictStatus.FAIL
    assert worst > 0.0
