"""Failures where one success in ten is kept, or one span in ten: what a kept failure stands for shows on failures alone."""

import math
import random

import msgspec
import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, StepState, begin, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.arms import ArmWindow
from ctrlplane_stream.decision.judge.baseline import Totals
from ctrlplane_stream.decision.judge.checks import Frame, check_errors
from ctrlplane_stream.decision.judge.evidence import two_arms
from ctrlplane_stream.decision.judge.fold import follow
from ctrlplane_stream.decision.judge.histograms import Histogram
from ctrlplane_stream.decision.judge.pairs import Pair
from ctrlplane_stream.decision.judge.sampling import Kept
from ctrlplane_stream.decision.judge.state import CheckState, Counts
from ctrlplane_stream.decision.stats.dispersion import UNSCATTERED
from ctrlplane_stream.decision.stats.harm import Evidence, released
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.verdicts import GatePolicy, Guard, GuardRole, Limit, Metric, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, ENTRY, asked

KEPT, PAST = 0.1, 30
ERRORS = "changed|cart|versions|error_ratio"
NOTHING = sketch.of(())


class Sampled:
    """Windows of frontend → cart → stock with so many requests to each version of cart, of which shares fail at cart and at stock."""

    def __init__(self, requests: int = 2000, seed: int = 1, tail: bool = True, changed: str = "cart", caller: bool = True) -> None:
        self.requests, self.rng, self.tail, self.caller = requests, random.Random(seed), tail, caller
        policy, entry = GatePolicy(metrics=(Metric.ERROR_RATIO,), proof=()), "frontend" if caller else "cart"
        stock = Guard("stock", GuardRole.CALLEE)
        self.asked = asked(0.5, CHANGED, ENTRY, stock, past=PAST, entry_points=(entry,), policy=policy)

    def window(self, number: int, shares: dict[str, float], at_stock: dict[str, float] | None = None) -> ClosedWindow:
        edges, services, exposures = [], [], []
        entered = [0, 0, 0.0, 0.0]
        for version, share in shares.items():
            seen, failed, meant, meant_failed = self._kept(self.requests, share)
            services.append(ServiceWindow("cart", version, seen, failed, meant, 0, NOTHING, meant_failed))
            exposures.append(ExposureWindow("frontend" if self.caller else "cart", "cart", version, Exposure.EXPOSED, seen, failed))
            entered = [a + b for a, b in zip(entered, (seen, failed, meant, meant_failed), strict=True)]
            if self.caller:
                edges.append(EdgeWindow("frontend", "cart", EdgeKind.CALL, "#1", version, seen, failed, meant, meant_failed))
            if at_stock:
                edges.append(EdgeWindow("cart", "stock", EdgeKind.CALL, version, "#1", *self._kept(self.requests, at_stock[version])))
        if self.caller:
            requests, errors, meant, meant_errors = entered
            services.append(ServiceWindow("frontend", "#1", int(requests), int(errors), meant, 0, NOTHING, meant_errors))
        part = WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services), tuple(exposures))
        return ClosedWindow(number * 10, (part,))

    def _kept(self, requests: int, share: float) -> tuple[int, int, float, float]:
        failed = sum(self.rng.random() < share for _ in range(requests))
        well = sum(self.rng.random() < KEPT for _ in range(requests - failed))
        if self.tail:
            return well + failed, failed, well / KEPT + failed, float(failed)
        failed = sum(self.rng.random() < KEPT for _ in range(failed))
        return well + failed, failed, (well + failed) / KEPT, failed / KEPT

    def began(self, past: int = PAST) -> StepState:
        baseline = Baseline()
        for number in range(PAST - past, PAST):
            baseline = observe(baseline, sort_rows(self.window(number, {"#1": 0.0}, {"#1": 0.0}), 0), ())
        return begin(self.asked, baseline)

    def fails(self, candidate: float, at_stock: float = 0.0, windows: int = 40, past: int = PAST) -> int | None:
        """After how many windows the step fails, if it does."""
        state = self.began(past)
        for number in range(PAST, PAST + windows):
            closed = self.window(number, {"#1": 0.0, "#2": candidate}, {"#1": 0.0, "#2": at_stock})
            state, verdict = judge_window(state, self.asked, closed)
            if verdict.status is VerdictStatus.FAIL:
                return number - PAST + 1
        return None


@pytest.mark.parametrize("past", [0, PAST])
@pytest.mark.parametrize("caller", [True, False])
def test_kept_failures_of_a_service_that_never_failed_stand_for_themselves(caller: bool, past: int) -> None:
    """Eight in a thousand requests fail where ten may: of those kept it is 7%. Nobody calls an entry point, which alone tells of itself."""
    assert [Sampled(seed=seed, caller=caller).fails(candidate=0.008, past=past) for seed in range(3)] == [None] * 3


def test_kept_failures_of_a_callee_stand_for_themselves_though_what_changed_never_fails() -> None:
    assert [Sampled(seed=seed).fails(candidate=0.0, at_stock=0.008) for seed in range(3)] == [None] * 3


def test_kept_failures_count_for_themselves_against_an_absolute_limit() -> None:
    sampled = Sampled()
    sampled.asked = msgspec.structs.replace(
        sampled.asked, policy=GatePolicy(metrics=(), proof=(), limits=(Limit(Metric.ERROR_RATIO, 0.02),))
    )
    assert sampled.fails(candidate=0.008) is None


@pytest.mark.parametrize("tail", [True, False])
def test_harm_is_found_however_spans_are_sampled(tail: bool) -> None:
    found = Sampled(tail=tail).fails(candidate=0.05)
    assert found is not None
    assert found <= 4


def test_requests_from_before_the_first_failure_count_when_it_says_how_many_there_were() -> None:
    """Until then those that were seen count, since a sampler that keeps one failure in ten gives no more."""
    sampled = Sampled(requests=300)
    state = sampled.began(past=0)
    for number in range(PAST, PAST + 5):
        state, _ = judge_window(state, sampled.asked, sampled.window(number, {"#1": 0.0, "#2": 0.0}))
    assert state.checks[ERRORS].candidate.total == pytest.approx(5 * 300 * KEPT, rel=0.3)
    state, _ = judge_window(state, sampled.asked, sampled.window(PAST + 5, {"#1": 0.0, "#2": 0.03}))
    assert state.checks[ERRORS].candidate.total == pytest.approx(6 * 300, rel=0.2)
    assert state.checks[ERRORS].stable.total == pytest.approx(6 * 300, rel=0.2)


def test_requests_of_which_one_failure_in_ten_is_kept_stay_what_was_seen() -> None:
    sampled = Sampled(requests=300, tail=False)
    state = sampled.began(past=0)
    for number in range(PAST, PAST + 6):
        state, _ = judge_window(state, sampled.asked, sampled.window(number, {"#1": 0.0, "#2": 0.1 if number == PAST + 5 else 0.0}))
    assert state.sampling["cart"].errors > 0
    assert state.checks[ERRORS].candidate.total == pytest.approx(6 * 300 * KEPT, rel=0.3)


def test_what_a_kept_failure_stands_for_is_known_in_the_next_step() -> None:
    sampled = Sampled()
    state = sampled.began()
    state, _ = judge_window(state, sampled.asked, sampled.window(PAST, {"#1": 0.0, "#2": 0.01}))
    later = msgspec.structs.replace(sampled.asked, step=1, attempt=2)
    state = follow(state, later, Baseline())
    assert math.isclose(state.sampling["cart"].each_error or 0.0, 1.0)
    state, _ = judge_window(state, later, sampled.window(PAST + 1, {"#1": 0.0, "#2": 0.0}))
    assert state.checks[ERRORS].candidate.total == pytest.approx(2000, rel=0.2)


def kept_of(rng: random.Random, requests: int, share: float, kept: float) -> ArmWindow:
    failed = sum(rng.random() < share for _ in range(requests))
    well = sum(rng.random() < kept for _ in range(requests - failed))
    return ArmWindow(float(failed + well), float(failed), failed + well / kept)


def harm_at_most(seed: int, stable: float, candidate: float, windows: int = 80) -> float:
    """The largest log e-value for harm in a step of 30 requests of each version a window, of which three successes are kept."""
    rng, state = random.Random(seed), CheckState()
    nothing = (Histogram(), Histogram())
    frame = Frame(GatePolicy(error_margin=0.01), 0.001, Totals(), nothing, nothing, Kept(1.0), weight=0.5)
    for _ in range(windows):
        pair = Pair(kept_of(rng, 30, candidate, KEPT), kept_of(rng, 30, stable, KEPT))
        state = check_errors(state, pair, frame, UNSCATTERED, False)
    return state.evidence.best_harm


def test_few_kept_successes_accuse_a_candidate_at_the_margin_no_oftener_than_the_level_says() -> None:
    """By a power of a kept success's factor it was 14 in a hundred at a level of five."""
    accused = sum(harm_at_most(seed, 0.0, 0.01) >= -math.log(0.05) for seed in range(200))
    assert accused <= 0.05 * 200


def test_few_kept_successes_find_harm() -> None:
    assert all(harm_at_most(seed, 0.005, 0.05) >= -math.log(1e-3) for seed in range(20))


@pytest.mark.parametrize("each", [1.0, 10.0])
def test_what_is_not_sampled_by_its_outcome_is_weighed_as_ever(each: float) -> None:
    """All requests seen, or one span in ten whatever came of it."""
    candidate, stable = ArmWindow(40.0, 2.0, 40.0 * each), ArmWindow(360.0, 5.0, 360.0 * each)
    nothing = (Histogram(), Histogram())
    frame = Frame(GatePolicy(), 0.001, Totals(), nothing, nothing, Kept(each), weight=0.1)
    after = check_errors(CheckState(), Pair(candidate, stable), frame, UNSCATTERED, True)
    counts = Counts(2.0, 40.0), Counts(5.0, 360.0)
    state = CheckState(evidence=released(Evidence(), 0))
    assert after == two_arms(state, *counts, frame.policy.error_margin, Counts(), UNSCATTERED, None, True, {}, None)
