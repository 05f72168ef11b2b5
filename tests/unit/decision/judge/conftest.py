"""A small shop whose traffic a test states in numbers: shoppers → frontend → cart → db, with a candidate of cart."""

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, StepState, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Assignment, Guard, GuardRole, Verdict
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import CHANGED, ENTRY, asked

SECONDS = 10
"""Length of a window."""


@dataclass
class Traffic:
    """What one window brings: requests of each version of cart, how they end, how long they take (ms, medians), what they call."""

    stable: int = 360
    candidate: int = 40
    stable_errors: int = 0
    candidate_errors: int = 0
    stable_ms: float = 20.0
    candidate_ms: float = 20.0
    candidate_gap_ms: float = 1.0
    candidate_calls: float = 2.0
    dead: bool = False
    """The candidate answers nothing and emits no server span: all its calls fail at the client."""
    unanswered: int = 0
    """So many calls fail at the client, of whatever version, and no server answers them."""
    db_ms: float = 3.0
    labels: tuple[str, str] = ("#1", "#2")
    scatter: float = 0.4
    """Of latencies about their median (the standard deviation of the logarithm); 0: all are alike."""
    candidate_slow: float = 0.0
    """The share of the candidate's requests that take ten times as long."""


@dataclass
class Shop:
    """Makes windows of the shop and judges them; every number is drawn from one seeded source."""

    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def latencies(self, count: int, median_ms: float, scatter: float = 0.4, slow: float = 0.0) -> sketch.Sketch:
        drawn = [median_ms * 1000 * self.rng.lognormvariate(0, scatter) for _ in range(count)]
        return sketch.of(ms * 10 if slow and self.rng.random() < slow else ms for ms in drawn)

    def part(self, window: int, t: Traffic, number: int = 0) -> WindowPart:
        edges, services, exposures = [], [], []
        arms = (
            (t.labels[0], t.stable, t.stable_errors, t.stable_ms, 1.0, 2.0, False, 0.0),
            (
                t.labels[1],
                t.candidate,
                t.candidate_errors,
                t.candidate_ms,
                t.candidate_gap_ms,
                t.candidate_calls,
                t.dead,
                t.candidate_slow,
            ),
        )
        for label, count, errors, ms, gap, calls, dead, slow in arms:
            if count == 0:
                continue
            client = self.latencies(count, ms + gap, t.scatter, slow)
            if dead:
                edges.append(
                    EdgeWindow("frontend", "cart", EdgeKind.CALL, "#1", UNKNOWN_VERSION, count, count, count, count, client=client)
                )
                exposures.append(ExposureWindow("frontend", "cart", label, Exposure.POSSIBLE, count, count, client))
                continue
            server = self.latencies(count, ms, t.scatter, slow)
            to_db = round(calls * count)
            edges += [
                EdgeWindow(
                    "frontend",
                    "cart",
                    EdgeKind.CALL,
                    "#1",
                    label,
                    count,
                    errors,
                    count,
                    errors,
                    client,
                    server,
                    self.latencies(count, gap, t.scatter),
                ),
                EdgeWindow(
                    "cart",
                    "db",
                    EdgeKind.DATABASE,
                    label,
                    UNKNOWN_VERSION,
                    to_db,
                    0,
                    to_db,
                    0,
                    client=self.latencies(to_db, t.db_ms, t.scatter),
                ),
            ]
            services.append(ServiceWindow("cart", label, count, errors, count, 0, server))
            exposures.append(
                ExposureWindow("frontend", "cart", label, Exposure.EXPOSED, count, errors, self.latencies(count, ms + 15, t.scatter, slow))
            )
        if t.unanswered:
            n, client = t.unanswered, self.latencies(t.unanswered, 1.0, t.scatter)
            edges.append(EdgeWindow("frontend", "cart", EdgeKind.CALL, "#1", UNKNOWN_VERSION, n, n, n, n, client=client))
        total = t.stable + t.candidate
        services.append(ServiceWindow("frontend", "#1", total, 0, total, total, self.latencies(total, 35, t.scatter)))
        return WindowPart("prod", 0, window, number, tuple(edges), tuple(services), tuple(exposures))

    def window(self, window: int, t: Traffic, lag_seconds: float = 0.0) -> ClosedWindow:
        return ClosedWindow(window, (self.part(window, t),), lag_seconds)

    def baseline(self, windows: int = 30, traffic: Traffic | None = None) -> Baseline:
        baseline = Baseline()
        for number in range(windows):
            quiet = traffic or Traffic(stable=400, candidate=0, stable_errors=number % 2)
            baseline = observe(baseline, sort_rows(self.window(number * SECONDS, quiet), 0), ())
        return baseline

    def assignment(self, **changes: object) -> Assignment:
        guards = (CHANGED, ENTRY, Guard("frontend", GuardRole.CALLER), Guard("db", GuardRole.CALLEE))
        given = asked(0.1, *guards, past=30, window_seconds=SECONDS, entry_points=("frontend",))
        return msgspec.structs.replace(given, **changes)

    def judge(
        self, traffic: Traffic, windows: int = 60, assignment: Assignment | None = None, baseline: Baseline | None = None
    ) -> tuple[StepState, list[Verdict]]:
        """Judge windows of this traffic until a verdict other than INCONCLUSIVE, at most so many."""
        assignment = assignment or self.assignment()
        state = begin(assignment, self.baseline() if baseline is None else baseline)
        verdicts: list[Verdict] = []
        for number in range(windows):
            state, verdict = judge_window(state, assignment, self.window((30 + number) * SECONDS, traffic))
            verdicts.append(verdict)
            if verdict.status != "INCONCLUSIVE":
                break
        return state, verdicts


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def traffic() -> type[Traffic]:
    return Traffic
