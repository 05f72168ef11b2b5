"""Each role sees the harm that only it can see, and says whose it is: the candidate's own spans are well in all of these."""

import random
from typing import Any

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.verdicts import Comparison, Guard, GuardRole, Metric, MetricEvidence, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, ENTRY, asked

PAST = 35
GUARDS = (
    CHANGED,
    ENTRY,
    Guard("checkout", GuardRole.CALLER),
    Guard("db", GuardRole.CALLEE),
    Guard("search", GuardRole.COLLATERAL),
    Guard("mail", GuardRole.CONSUMER),
)


class Street:
    """frontend → checkout → cart (changed) → db ← search, and cart ~message~> mail; what is ill is said by name."""

    def __init__(self, **ill: Any) -> None:
        self.rng, self.ill = random.Random(3), ill

    def times(self, count: int, milliseconds: float) -> sketch.Sketch:
        return sketch.of(milliseconds * 1000 * self.rng.lognormvariate(0, 0.3) for _ in range(count))

    def window(self, number: int, stepping: bool = True) -> ClosedWindow:
        ill = self.ill if stepping else {}
        edges, services, exposures = [], [], []
        for version, count in (("#1", 360), ("#2", 40)) if stepping else (("#1", 400),):
            new = version == "#2"
            cart, calls = self.times(count, 20), round(count * (ill.get("checkout_calls", 1.0)))
            edges.append(EdgeWindow("checkout", "cart", EdgeKind.CALL, "#1", version, calls, 0, calls, 0, cart, cart))
            services.append(ServiceWindow("cart", version, calls, 0, calls, 0, cart))
            edges.append(EdgeWindow("cart", "db", EdgeKind.CALL, version, "#1", count, 0, count, 0, *[self.times(count, 3)] * 2))
            failed = round(count * ill.get("mail_errors", 0.0)) if new else 0
            edges.append(
                EdgeWindow("cart", "mail", EdgeKind.MESSAGE, version, "#1", count, failed, count, failed, *[self.times(count, 5)] * 2)
            )
            bad = round(count * (ill.get("needing_errors", 0.0) + (ill.get("entry_errors", 0.0) if new else 0.0)))
            exposures.append(ExposureWindow("frontend", "cart", version, Exposure.EXPOSED, count, bad, self.times(count, 60)))
            if new:
                lost = ill.get("possible", 0)
                exposures.append(ExposureWindow("frontend", "cart", version, Exposure.POSSIBLE, lost, lost))
                exposures.append(ExposureWindow("frontend", "cart", version, Exposure.UNEXPOSED, 500, 0, self.times(500, 60)))
        if number % ill.get("stable_every", 1):
            exposures = [row for row in exposures if row.version == "#2"]
        for name, milliseconds in (
            ("frontend", 60.0),
            ("checkout", 40.0),
            ("db", ill.get("db_ms", 3.0)),
            ("search", ill.get("search_ms", 30.0)),
        ):
            services.append(ServiceWindow(name, "#1", 400, 1, 400, 0, self.times(400, milliseconds)))
        return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services), tuple(exposures)),))

    def judged(self, windows: int = 20) -> Verdict:
        assignment = asked(0.1, *GUARDS, past=PAST, entry_points=("frontend",))
        baseline = Baseline()
        for number in range(PAST):
            baseline = observe(baseline, sort_rows(self.window(number, stepping=False), 0), ())
        state = begin(assignment, baseline)
        for number in range(PAST, PAST + windows):
            state, verdict = judge_window(state, assignment, self.window(number))
            if verdict.status is VerdictStatus.FAIL:
                break
        return verdict


def failed(verdict: Verdict) -> MetricEvidence:
    assert verdict.status is VerdictStatus.FAIL, verdict.reason
    return next(m for m in verdict.metrics if m.status is VerdictStatus.FAIL)


@pytest.mark.parametrize(
    ("ill", "role", "metric", "comparison"),
    [
        ({"entry_errors": 0.5}, GuardRole.ENTRY, Metric.ERROR_RATIO, Comparison.EXPOSURE),
        ({"checkout_calls": 3.0}, GuardRole.CALLER, Metric.CALLS_PER_REQUEST, Comparison.BASELINE),
        ({"db_ms": 40.0}, GuardRole.CALLEE, Metric.LATENCY_P50, Comparison.BASELINE),
        ({"search_ms": 90.0}, GuardRole.COLLATERAL, Metric.LATENCY_P50, Comparison.BASELINE),
        ({"mail_errors": 0.5}, GuardRole.CONSUMER, Metric.ERROR_RATIO, Comparison.VERSIONS),
    ],
)
def test_a_role_sees_what_the_candidate_does_to_others(
    ill: dict[str, float], role: GuardRole, metric: Metric, comparison: Comparison
) -> None:
    verdict = Street(**ill).judged()
    found = failed(verdict)
    assert (found.role, found.name) == (role, metric)
    assert found.comparison is comparison
    assert verdict.culprit is not None
    assert (verdict.culprit.service, verdict.culprit.version) == ("cart", "#2")


def test_where_all_is_well_no_role_sees_harm() -> None:
    assert Street().judged(12).status is not VerdictStatus.FAIL


def test_a_request_that_only_may_have_touched_the_candidate_is_in_neither_arm() -> None:
    verdict = Street(possible=40).judged(3)
    entry = next(m for m in verdict.metrics if m.role is GuardRole.ENTRY and m.name is Metric.ERROR_RATIO)
    assert (entry.candidate.events, entry.candidate.total) == (0.0, 120.0)


@pytest.mark.parametrize("every", [4, 100], ids=["in one window of four", "never"])
def test_requests_that_never_need_the_service_do_not_stand_in_for_stable(every: int) -> None:
    """Half of those that need it fail at either version, others never do: windows in which none stands for stable compare nothing."""
    verdict = Street(stable_every=every, needing_errors=0.5).judged(16)
    assert verdict.status is not VerdictStatus.FAIL, verdict.reason
    entry = next(m for m in verdict.metrics if m.role is GuardRole.ENTRY and m.name is Metric.ERROR_RATIO)
    assert entry.windows == (4 if every == 4 else 0)
    assert (entry.stable.events, entry.stable.total) == (180.0 * entry.windows, 360.0 * entry.windows)
    assert (entry.missing is None) is (entry.windows > 0)
