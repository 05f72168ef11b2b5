"""Callers and entry points that are unlike, and bring the candidate different shares of what they ask: identical versions stay so."""

import random

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.pairs import pair_of
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.verdicts import Comparison, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, ENTRY, asked

PAST, STEP, REQUESTS, WEIGHT = 45, 30, 500, 0.25
ASKED = asked(WEIGHT, CHANGED, ENTRY, past=PAST, step=1, steps=5, entry_points=("batch", "web"))


class Callers:
    """Windows of cart: web asks it, and so does batch, which is slow or fails a tenth and brings the candidate its own share. The spans of
    batch may be missing, and its requests be cart's own. For each request of web's cart calls its database three times."""

    def __init__(self, seed: int, share: float, slow: float = 1.0, fails: float = 0.002, harm: float = 0.0, traced: bool = True) -> None:
        self.rng, self.share, self.slow, self.fails, self.harm, self.traced = random.Random(seed), share, slow, fails, harm, traced

    def window(self, number: int, weight: float) -> ClosedWindow:
        edges, exposures = [], []
        served: dict[str, list[tuple[float, bool]]] = {"#1": [], "#2": []}
        for caller, requests in (("web", REQUESTS * 6 // 10), ("batch", REQUESTS * 4 // 10)):
            asked: dict[str, list[tuple[float, bool]]] = {"#1": [], "#2": []}
            for _ in range(requests):
                version = "#2" if self.rng.random() < (weight if caller == "web" else weight * self.share) else "#1"
                failing = (self.fails if caller == "batch" else 0.002) + (self.harm if version == "#2" and caller == "web" else 0.0)
                taken = self.rng.lognormvariate(10, 0.4) * (self.slow if caller == "batch" else 1.0)
                asked[version].append((taken, self.rng.random() < failing))
            for version, of in asked.items():
                served[version] += of
                if of and caller == "web":
                    edges.append(EdgeWindow("cart", "db", EdgeKind.DATABASE, version, "?", 3 * len(of), 0, 3 * len(of), 0))
                if of:
                    latency, errors = sketch.of([taken for taken, _ in of]), sum(failed for _, failed in of)
                    entry = caller if self.traced or caller == "web" else "cart"
                    exposures.append(ExposureWindow(entry, "cart", version, Exposure.EXPOSED, len(of), errors, latency))
                    if entry == caller:
                        counts = (len(of), errors, len(of), errors)
                        edges.append(EdgeWindow(caller, "cart", EdgeKind.CALL, "#1", version, *counts, latency, latency))
        services = []
        for version, of in served.items():
            if of:
                errors = sum(failed for _, failed in of)
                services.append(ServiceWindow("cart", version, len(of), errors, len(of), 0, sketch.of([taken for taken, _ in of]), errors))
        return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services), tuple(exposures)),))

    def judged(self) -> Verdict:
        """The first FAIL, or the last verdict."""
        baseline = Baseline()
        for number in range(PAST):
            baseline = observe(baseline, sort_rows(self.window(number, 0.0), 0), ())
        state = begin(ASKED, baseline)
        for windows in range(STEP):
            state, verdict = judge_window(state, ASKED, self.window(PAST + windows, WEIGHT))
            if verdict.status is VerdictStatus.FAIL:
                break
        return verdict


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "of no caller"])
@pytest.mark.parametrize(("share", "slow", "fails"), [(0.0, 0.2, 0.002), (2.0, 5.0, 0.002), (2.0, 1.0, 0.1), (0.3, 1.0, 0.1)])
def test_identical_versions_do_not_fail_for_who_asks_them(share: float, slow: float, fails: float, traced: bool) -> None:
    for seed in range(3):
        verdict = Callers(seed, share, slow, fails, traced=traced).judged()
        assert verdict.status is not VerdictStatus.FAIL, verdict.reason


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "of no caller"])
def test_harm_to_one_caller_is_found_where_another_fails_more_and_never_asks_the_candidate(traced: bool) -> None:
    assert Callers(1, 0.0, fails=0.12, harm=0.05, traced=traced).judged().status is VerdictStatus.FAIL


def test_stable_is_counted_in_the_candidates_proportion_of_callers() -> None:
    """Of 100 requests to the candidate 20 are batch's, of 400 to stable 200: one of web's counts as four of batch's, and all as so many
    as their squares leave."""
    rows = sort_rows(
        ClosedWindow(
            0,
            (
                WindowPart(
                    "prod",
                    0,
                    0,
                    0,
                    tuple(
                        EdgeWindow(caller, "cart", EdgeKind.CALL, "#1", version, calls, errors, calls, errors)
                        for caller, version, calls, errors in (
                            ("web", "#2", 80, 8),
                            ("batch", "#2", 20, 1),
                            ("web", "#1", 200, 2),
                            ("batch", "#1", 200, 40),
                            ("cron", "#1", 50, 50),
                        )
                    ),
                ),
            ),
        ),
        0,
    )
    ours, theirs, *_ = pair_of(CHANGED, Comparison.VERSIONS, ASKED, rows, ASKED.changed[0])
    assert theirs is not None
    assert (ours.requests, ours.errors) == (100, 9)
    assert theirs.errors / theirs.requests == pytest.approx(0.8 * 0.01 + 0.2 * 0.2)
    assert theirs.requests == pytest.approx(400**2 / (1.6**2 * 200 + 0.4**2 * 200))


def test_what_servers_alone_saw_to_fail_is_not_lost_for_want_of_a_caller() -> None:
    edges = tuple(EdgeWindow(caller, "cart", EdgeKind.CALL, "#1", v, 50, 0, 50, 0) for caller in ("web", "batch") for v in ("#1", "#2"))
    services = tuple(ServiceWindow("cart", version, 102, errors, 102, 0) for version, errors in (("#1", 0), ("#2", 30)))
    rows = sort_rows(ClosedWindow(0, (WindowPart("prod", 0, 0, 0, edges, services),)), 0)
    ours, theirs, *_ = pair_of(CHANGED, Comparison.VERSIONS, ASKED, rows, ASKED.changed[0])
    assert theirs is not None
    assert (ours.requests, ours.errors) == (102, 30)
    assert (theirs.requests, theirs.errors) == (102, 0)
