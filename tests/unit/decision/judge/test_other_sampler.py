"""A candidate whose spans are kept at another rate, or by another rule, than those of the version beside it."""

import numpy as np
import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, StepState, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.sketch import Sketch
from ctrlplane_stream.model.verdicts import Guard, GuardRole, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, ENTRY, asked

PAST = 30
ERRORS = "changed|cart|versions|error_ratio"
TENTH, HALF, ALL, FAILURES = (0.1, 0.1), (0.5, 0.5), (1.0, 1.0), (0.1, 1.0)
"""Which shares of successes and of failures a sampler keeps."""


class Shop:
    """Windows of frontend → cart → stock in which each version of cart has its own sampler, which keeps or drops whole traces."""

    def __init__(self, seed: int, candidate: tuple[float, float], stable: tuple[float, float] = TENTH, entry: str = "frontend") -> None:
        self.rng, self.entry = np.random.default_rng(seed), entry
        self.kept = {"#1": stable, "#2": candidate}
        self.asked = asked(0.5, CHANGED, ENTRY, Guard("stock", GuardRole.CALLEE), past=PAST, entry_points=(entry,))

    def window(self, number: int, shares: dict[str, float], requests: int = 1500) -> ClosedWindow:
        edges, services, exposures = [], [], []
        entered = [0, 0, 0.0, 0.0]
        for version, share in shares.items():
            seen, failed, meant, meant_failed = self._kept(version, int(self.rng.poisson(requests)), share)
            entered = [a + b for a, b in zip(entered, (seen, failed, meant, meant_failed), strict=True)]
            services.append(ServiceWindow("cart", version, seen, failed, meant, 0, self._times(seen), meant_failed))
            exposures.append(ExposureWindow(self.entry, "cart", version, Exposure.EXPOSED, seen, failed, self._times(seen)))
            times = self._times(seen)
            edges.append(EdgeWindow("cart", "stock", EdgeKind.CALL, version, "#1", seen, 0, meant, 0.0, times, times))
        if self.entry != "cart":
            all_seen, all_failed, all_meant, all_meant_failed = entered
            times = self._times(int(all_seen))
            services.append(ServiceWindow("frontend", "#1", int(all_seen), int(all_failed), all_meant, 0, times, all_meant_failed))
        part = WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services), tuple(exposures))
        return ClosedWindow(number * 10, (part,))

    def begun(self, stable: float) -> StepState:
        baseline = Baseline()
        for number in range(PAST):
            baseline = observe(baseline, sort_rows(self.window(number, {"#1": stable}, 3000), 0), ())
        return begin(self.asked, baseline)

    def judged(self, candidate: float, stable: float = 0.005, windows: int = 40) -> tuple[StepState, Verdict]:
        """After the first FAIL or PASS, or so many windows."""
        state = self.begun(stable)
        for number in range(PAST, PAST + windows):
            state, verdict = judge_window(state, self.asked, self.window(number, {"#1": stable, "#2": candidate}))
            if verdict.status is not VerdictStatus.INCONCLUSIVE:
                break
        return state, verdict

    def _kept(self, version: str, requests: int, share: float) -> tuple[int, int, float, float]:
        of_successes, of_failures = self.kept[version]
        failed = int(self.rng.binomial(requests, share))
        well, kept = int(self.rng.binomial(requests - failed, of_successes)), int(self.rng.binomial(failed, of_failures))
        return well + kept, kept, well / of_successes + kept / of_failures, kept / of_failures

    def _times(self, count: int) -> Sketch:
        return sketch.of((20_000 * self.rng.lognormal(0.0, 0.4, count)).tolist())


@pytest.mark.parametrize("entry", ["frontend", "cart"])
@pytest.mark.parametrize(("candidate", "stable"), [(ALL, TENTH), (HALF, TENTH), (TENTH, HALF)])
def test_an_equal_candidate_of_another_rate_is_proven(candidate: tuple[float, float], stable: tuple[float, float], entry: str) -> None:
    """Of one that keeps all its spans beside one that keeps a tenth, ten times the failures were counted among as many requests."""
    for seed in range(3):
        state, verdict = Shop(seed, candidate, stable, entry).judged(candidate=0.005)
        assert verdict.status is VerdictStatus.PASS, verdict.reason
        check = state.checks[ERRORS]
        assert check.candidate.events / check.candidate.total == pytest.approx(0.005, abs=0.004)
        assert check.stable.events / check.stable.total == pytest.approx(0.005, abs=0.005)


@pytest.mark.parametrize("entry", ["frontend", "cart"])
@pytest.mark.parametrize("candidate", [ALL, HALF, FAILURES])
def test_a_candidate_that_fails_more_is_found_whatever_its_rate(candidate: tuple[float, float], entry: str) -> None:
    for seed in range(3):
        _, verdict = Shop(seed, candidate, TENTH, entry).judged(candidate=0.05)
        assert verdict.status is VerdictStatus.FAIL, verdict.reason


@pytest.mark.parametrize(
    ("candidate", "stable", "told"),
    [
        (FAILURES, TENTH, "a success stands for 10 and a failure for 1, beside a success stands for 10 and a failure for 10"),
        (FAILURES, ALL, "a success stands for 10 and a failure for 1, beside a success stands for 1 and a failure for 1"),
        (ALL, FAILURES, "a success stands for 1 and a failure for 1, beside a success stands for 10 and a failure for 1"),
    ],
)
def test_a_candidate_of_another_rule_is_looked_at_by_a_person(
    candidate: tuple[float, float], stable: tuple[float, float], told: str
) -> None:
    """Its failures are counted rightly; the latencies of what was kept by its outcome are no sample of all."""
    for seed in range(3):
        state, verdict = Shop(seed, candidate, stable).judged(candidate=0.005, windows=20)
        assert verdict.status is VerdictStatus.INCONCLUSIVE, verdict.reason
        assert told in verdict.reason
        check = state.checks[ERRORS]
        assert check.candidate.events / check.candidate.total == pytest.approx(0.005, abs=0.004)


@pytest.mark.parametrize("now", [(0.02, 0.02), (0.5, 0.5), (0.02, 1.0)])
def test_one_sampler_of_another_rate_by_now_is_no_other_sampler(now: tuple[float, float]) -> None:
    """It keeps as many traces a second as it may, of whatever comes."""
    for seed in range(3):
        shop = Shop(seed, now, FAILURES if now[1] == 1.0 else TENTH)
        state = shop.begun(0.01)
        shop.kept["#1"] = now
        for number in range(PAST, PAST + 15):
            state, verdict = judge_window(state, shop.asked, shop.window(number, {"#1": 0.01, "#2": 0.01}))
            assert verdict.status is not VerdictStatus.FAIL, verdict.reason
        assert "another rule" not in verdict.reason
        check = state.checks[ERRORS]
        assert check.candidate.total == pytest.approx(check.stable.total, rel=0.25)


def test_one_sampler_of_both_versions_is_known_as_one() -> None:
    for sampler in (TENTH, FAILURES):
        _, verdict = Shop(1, sampler, sampler).judged(candidate=0.005)
        assert verdict.status is VerdictStatus.PASS, verdict.reason


class Kinds(Shop):
    """One sampler for both versions: it keeps all of one kind of requests, of which a twentieth fails, and one in a hundred of another four
    times as frequent, of which a fiftieth does. The candidate has a twentieth of all; ``harm`` is what it fails besides."""

    KINDS = ((0.2, 0.05, 1.0), (0.8, 0.02, 0.01))

    def __init__(self, seed: int, harm: float = 0.0) -> None:
        super().__init__(seed, ALL, ALL)
        self.harm = harm
        self.asked = asked(0.05, CHANGED, ENTRY, past=PAST, entry_points=("frontend",))

    def _kept(self, version: str, requests: int, share: float) -> tuple[int, int, float, float]:
        seen, failed, meant, meant_failed = 0, 0, 0.0, 0.0
        for part, fails, kept in self.KINDS:
            count = int(self.rng.poisson(requests * part * kept * (0.05 if version == "#2" else 1.0)))
            bad = int(self.rng.binomial(count, fails + (self.harm if version == "#2" else 0.0)))
            seen, failed, meant, meant_failed = seen + count, failed + bad, meant + count / kept, meant_failed + bad / kept
        return seen, failed, meant, meant_failed

    def until_said(self, windows: int) -> Verdict:
        state = self.begun(0.0)
        for number in range(PAST, PAST + windows):
            state, verdict = judge_window(state, self.asked, self.window(number, {"#1": 0.0, "#2": 0.0}, 4800))
            if verdict.status is not VerdictStatus.INCONCLUSIVE:
                break
        return verdict


def test_kinds_of_requests_that_one_sampler_keeps_by_different_rates_are_no_two_samplers() -> None:
    """What a kept failure stands for is 1 or 100, and a mean of a few is a matter of chance: identical versions pass."""
    for seed in range(8):
        verdict = Kinds(seed).until_said(60)
        assert verdict.status is VerdictStatus.PASS, verdict.reason


def test_a_candidate_that_fails_more_of_such_requests_is_found() -> None:
    for seed in range(3):
        verdict = Kinds(seed, harm=0.1).until_said(20)
        assert verdict.status is VerdictStatus.FAIL, verdict.reason
