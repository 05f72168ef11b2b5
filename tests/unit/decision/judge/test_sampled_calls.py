"""Calls per request of which one trace, or one span, in ten is kept: what the past's scatter tells of the sampling, and what it costs."""

import random

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.state import CheckState
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, asked

KEPT, CALLS = 0.1, 2
PAST, STEP = 45, 10
ASKED = asked(0.2, CHANGED, past=PAST)


class Sampled:
    """Windows of cart, each of whose requests calls the database twice; sampled by trace or by span, errors always kept."""

    def __init__(self, apart: bool, candidate_errors: float = 0.0) -> None:
        self.rng, self.apart, self.candidate_errors = random.Random(11), apart, candidate_errors

    def window(self, number: int, candidate: int) -> ClosedWindow:
        edges, services = [], []
        for version, requests, errors in (("#1", 2000, 0.0), ("#2", candidate, self.candidate_errors)):
            if requests:
                failed = round(errors * requests)
                kept = sum(self.rng.random() < KEPT for _ in range(requests - failed))
                spans = sum(self.rng.random() < KEPT for _ in range(CALLS * (requests - failed))) if self.apart else CALLS * kept
                calls, meant = spans + CALLS * failed, spans / KEPT + CALLS * failed
                edges.append(EdgeWindow("cart", "db", EdgeKind.DATABASE, version, "?", calls, 0, meant, 0))
                services.append(ServiceWindow("cart", version, kept + failed, failed, kept / KEPT + failed, 0))
        return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services)),))

    def judged(self, windows: int = STEP) -> CheckState:
        baseline = Baseline()
        for number in range(PAST):
            baseline = observe(baseline, sort_rows(self.window(number, 0), 0), ())
        state = begin(ASKED, baseline)
        for number in range(PAST, PAST + windows):
            state, _ = judge_window(state, ASKED, self.window(number, 500))
        return next(check for key, check in state.checks.items() if "calls_per_request|cart" in key)


def test_calls_that_are_kept_with_their_requests_count_in_full() -> None:
    assert Sampled(apart=False).judged().design_effect < 1.1


def test_calls_that_are_sampled_apart_from_their_requests_count_as_two_counts_with_noise() -> None:
    """Two calls to a request: the variance is three times that of the calls alone."""
    assert 2.0 < Sampled(apart=True).judged().design_effect < 4.5


def test_what_no_past_tells_is_taken_for_sampled_apart() -> None:
    state, _ = judge_window(begin(ASKED, Baseline()), ASKED, Sampled(apart=False).window(PAST, 500))
    check = next(check for key, check in state.checks.items() if "calls_per_request|cart" in key)
    assert check.design_effect >= 2.0


@pytest.mark.parametrize("apart", [False, True])
def test_errors_that_are_all_kept_are_no_surplus_of_calls(apart: bool) -> None:
    """Half of the candidate's requests fail and stay, calls and all: each still makes two calls, as stable's do."""
    check = Sampled(apart, candidate_errors=0.5).judged()
    assert check.candidate.events / check.candidate.total == pytest.approx(CALLS, rel=0.1)
    assert check.stable.events / check.stable.total == pytest.approx(CALLS, rel=0.1)
    assert check.evidence.best_harm < 3
