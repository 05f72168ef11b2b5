"""A broken stable version must not block its hotfix: what it does beside the candidate is not held against the candidate."""

import random
from dataclasses import dataclass

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole, Metric, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, ENTRY, asked

SECONDS, REQUESTS, ROUTINELY = 10, 500, 0.003
HEALTHY_WINDOWS, ENOUGH = 30, 30


@dataclass(frozen=True)
class Ill:
    """What becomes of calls to a version: shares that fail or are lost (no server answers), and how often a lost one is tried again."""

    fail: float = ROUTINELY
    lost: float = 0.0
    retried: int = 0


WELL = Ill()


@dataclass
class Web:
    """web calls cart, and fails where cart does; every number is drawn from one seeded source."""

    seed: int = 3

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def drawn(self, trials: int, share: float) -> int:
        return sum(self.rng.random() < share for _ in range(trials))

    def latencies(self, count: int, median_ms: float) -> sketch.Sketch:
        return sketch.of(median_ms * 1000 * self.rng.lognormvariate(0, 0.4) for _ in range(count))

    def window(self, number: int, weight: float, stable: Ill, candidate: Ill) -> ClosedWindow:
        edges, services, exposures = [], [], []
        answered, wrong = {"#1": 0, "#2": 0}, {"#1": 0, "#2": 0}
        tries, unanswered = REQUESTS, 0
        for _ in range(1 + max(stable.retried, candidate.retried)):
            ours, lost = self.drawn(tries, weight), 0
            for label, count, ill in (("#1", tries - ours, stable), ("#2", ours, candidate)):
                gone = self.drawn(count, ill.lost)
                answered[label] += count - gone
                wrong[label] += self.drawn(count - gone, ill.fail)
                lost += gone
            unanswered, tries = unanswered + lost, lost
        failed = wrong["#1"] + wrong["#2"] + tries
        for label in ("#1", "#2"):
            if calls := answered[label]:
                times = self.latencies(calls, 20)
                edges.append(EdgeWindow("web", "cart", EdgeKind.CALL, "#1", label, calls, wrong[label], calls, wrong[label], times, times))
                services.append(ServiceWindow("cart", label, calls, wrong[label], calls, 0, times, wrong[label]))
                exposures.append(ExposureWindow("web", "cart", label, Exposure.EXPOSED, calls, wrong[label], times))
        if unanswered:
            n, times = unanswered, self.latencies(unanswered, 1)
            edges.append(EdgeWindow("web", "cart", EdgeKind.CALL, "#1", UNKNOWN_VERSION, n, n, n, n, times))
            exposures.append(ExposureWindow("web", "cart", "#2", Exposure.POSSIBLE, tries, tries, times))
        services.append(ServiceWindow("web", "#1", REQUESTS, failed, REQUESTS, REQUESTS, self.latencies(REQUESTS, 30), failed))
        part = WindowPart("prod", 0, number * SECONDS, 0, tuple(edges), tuple(services), tuple(exposures))
        return ClosedWindow(number * SECONDS, (part,))


def judged(
    weight: float, stable: Ill, candidate: Ill, ill_before: int = 6, well_before: int = HEALTHY_WINDOWS, well_at_first: int = 0
) -> list[Verdict]:
    """What is said after each window of a step until FAIL or PASS; stable was ill for some windows before it, or falls ill after some."""
    web, baseline = Web(), Baseline()
    before = well_before + ill_before
    for number in range(before):
        ill = WELL if number < well_before else stable
        baseline = observe(baseline, sort_rows(web.window(number, 0.0, ill, WELL), 0), ())
    assignment = Assignment(
        rollout="cart-2",
        environment="prod",
        step=0,
        attempt=1,
        changed=(Change("cart", "#2", "#1"),),
        guards=(Guard("cart", GuardRole.CHANGED, True), Guard("", GuardRole.ENTRY, True), Guard("web", GuardRole.CALLER)),
        weight=weight,
        weight_confirmed_at_ms=before * SECONDS * 1000,
        steps=4,
        entry_points=("web",),
    )
    state, said = begin(assignment, baseline), []
    for number in range(ENOUGH):
        quiet = number < well_at_first
        closed = web.window(before + number, weight, WELL if quiet else stable, WELL if quiet else candidate)
        state, verdict = judge_window(state, assignment, closed)
        said.append(verdict)
        if verdict.status is VerdictStatus.FAIL or (verdict.status is VerdictStatus.PASS and not quiet):
            break
    return said


BROKEN = pytest.mark.parametrize(
    "stable",
    [Ill(fail=1.0), Ill(fail=0.2), Ill(lost=1.0), Ill(lost=0.5), Ill(lost=0.1), Ill(lost=0.5, retried=2)],
    ids=["all fail", "a fifth fails", "all lost", "half lost", "a tenth lost", "half lost, tried again"],
)


@BROKEN
@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_the_hotfix_of_a_stable_version_that_broke_a_minute_ago_is_not_failed_for_it(weight: float, stable: Ill) -> None:
    """The past is mostly well and the present is not, whatever is new: neither a FAIL nor arrivals that are called contradictory."""
    said = judged(weight, stable, WELL)
    assert said[-1].status is not VerdictStatus.FAIL, said[-1].reason
    assert not any(verdict.contradicted for verdict in said), said[-1].reason


@pytest.mark.parametrize("stable", [Ill(fail=0.5), Ill(lost=0.5)], ids=["fails", "lost"])
def test_a_stable_version_that_breaks_in_the_middle_of_a_step_is_not_the_candidates_doing(stable: Ill) -> None:
    """It was well before the rollout and during the first windows."""
    said = judged(0.1, stable, WELL, ill_before=0, well_at_first=8)
    assert said[-1].status is not VerdictStatus.FAIL, said[-1].reason


def test_the_hotfix_passes_and_the_evidence_says_what_was_there_before() -> None:
    """No doubt stands in its way either, where nothing can be proven beside a stable version that answers nothing."""
    said = judged(0.05, Ill(lost=1.0), WELL)
    assert said[-1].status is VerdictStatus.PASS, said[-1].reason
    found = next(evidence for evidence in said[-1].metrics if evidence.name is Metric.LOST_CALLS)
    assert found.pre_existing
    assert found.missing == "pre-existing: the stable version beside the candidate explains it"


@pytest.mark.parametrize(
    ("stable", "candidate", "within"),
    [
        (WELL, Ill(lost=1.0), 2),
        (WELL, Ill(lost=0.3), 4),
        (WELL, Ill(fail=0.3), 4),
        (Ill(fail=0.2), Ill(lost=1.0), 6),
        (Ill(lost=0.2), Ill(lost=1.0), 6),
        (Ill(fail=0.2), Ill(fail=0.9), 6),
    ],
    ids=["dies", "loses some", "fails", "dies beside failures", "dies beside losses", "fails more than stable"],
)
def test_a_candidate_that_does_worse_than_stable_is_found_all_the_same(stable: Ill, candidate: Ill, within: int) -> None:
    """Also where stable is broken too."""
    said = judged(0.2, stable, candidate)
    assert said[-1].status is VerdictStatus.FAIL, said[-1].reason
    assert len(said) <= within


def test_a_candidate_that_dies_in_the_middle_of_a_step_is_found() -> None:
    """What it answered before it died does not speak for it."""
    said = judged(0.05, WELL, Ill(lost=1.0), ill_before=0, well_at_first=10)
    assert said[-1].status is VerdictStatus.FAIL
    assert len(said) <= 13


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 1.0])
def test_ten_seconds_in_which_a_network_loses_calls_of_both_versions_are_one_event(weight: float) -> None:
    """However many calls a window has, and whatever the weight: nobody else is there to ask."""
    for seed in range(4):
        web, baseline = Web(seed), Baseline()
        for number in range(HEALTHY_WINDOWS):
            baseline = observe(baseline, sort_rows(web.window(number, 0.0, WELL, WELL), 0), ())
        assignment = asked(weight, CHANGED, ENTRY, Guard("web", GuardRole.CALLER), past=HEALTHY_WINDOWS, entry_points=("web",))
        state = begin(assignment, baseline)
        for number in range(6):
            ill = Ill(lost=0.05) if number == 4 else WELL
            state, verdict = judge_window(state, assignment, web.window(HEALTHY_WINDOWS + number, weight, ill, ill))
            assert verdict.status is not VerdictStatus.FAIL, verdict.reason


def test_without_a_past_the_lost_calls_of_stable_do_not_hold_its_hotfix() -> None:
    """The candidate answers all that its weight brings it: whose the lost calls are is known, though not how many there were before."""
    web = Web()
    assignment = Assignment(
        rollout="cart-2",
        environment="prod",
        step=0,
        attempt=1,
        changed=(Change("cart", "#2", "#1"),),
        guards=(Guard("cart", GuardRole.CHANGED, True), Guard("", GuardRole.ENTRY, True)),
        weight=0.2,
        weight_confirmed_at_ms=0,
        steps=4,
        entry_points=("web",),
    )
    state = begin(assignment, Baseline())
    for number in range(ENOUGH):
        state, verdict = judge_window(state, assignment, web.window(number, 0.2, Ill(lost=0.5), WELL))
        if verdict.status is VerdictStatus.PASS:
            break
    assert verdict.status is VerdictStatus.PASS, verdict.reason


def test_a_call_that_nobody_answered_is_no_time_of_the_service() -> None:
    """A stable version that refused all calls at once for half of the past was not quick: its hotfix, with all the traffic, is not slow."""
    said = judged(1.0, Ill(lost=1.0), WELL, ill_before=20, well_before=15)
    assert said[-1].status is VerdictStatus.PASS, said[-1].reason
