"""Whatever windows bring, a verdict comes, and it survives the wire: no count, latency or sampling weight makes the judge raise."""

import math
import random

import msgspec
import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window, observe, sort_rows
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.sketch import Sketch
from ctrlplane_stream.model.verdicts import Assignment, Change, GatePolicy, Guard, GuardRole, Limit, Metric, Verdict
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart

GUARDS = (
    Guard("cart", GuardRole.CHANGED, required=True),
    Guard("", GuardRole.ENTRY, required=True),
    Guard("front", GuardRole.CALLER),
    Guard("db", GuardRole.CALLEE),
    Guard("search", GuardRole.COLLATERAL),
    Guard("mail", GuardRole.CONSUMER),
)
LIMITS = (Limit(Metric.ERROR_RATIO, 0.05), Limit(Metric.LATENCY_P99, 250.0))


def count(rng: random.Random) -> int:
    """Nothing, hardly anything, or very much."""
    return rng.choice((0, 1, 1, 2, 7, 300, 10_000_000))


def latencies(rng: random.Random) -> Sketch:
    """None, one, or some between a microsecond and a day, and durations of zero."""
    indices = sorted({rng.randrange(-40, 1200) for _ in range(rng.choice((0, 0, 1, 3, 30)))})
    return Sketch(tuple(indices), tuple(1 + count(rng) for _ in indices), rng.choice((0, 0, 5)))


def edge(rng: random.Random, caller: str, callee: str, kind: EdgeKind) -> EdgeWindow:
    calls, weight = count(rng), rng.choice((1.0, 1.0, 10.0, 1e4))
    errors = rng.choice((0, calls, calls // 2))
    versions = rng.choice(("#1", "#2")), rng.choice(("#1", "#2", UNKNOWN_VERSION))
    sketches = latencies(rng), latencies(rng), latencies(rng)
    return EdgeWindow(caller, callee, kind, *versions, calls, errors, calls * weight, errors * weight, *sketches)


def part(rng: random.Random, window: int) -> WindowPart:
    pairs = (
        ("front", "cart", EdgeKind.CALL),
        ("cart", "db", EdgeKind.DATABASE),
        ("search", "db", EdgeKind.CALL),
        ("cart", "mail", EdgeKind.MESSAGE),
    )
    edges = [edge(rng, *pair) for pair in pairs for _ in range(rng.randrange(3))]
    services = []
    for name in ("front", "cart", "cart", "db", "search", "mail"):
        requests = count(rng)
        errors = rng.choice((0, requests))
        services.append(
            ServiceWindow(name, rng.choice(("#1", "#2")), requests, errors, requests * rng.choice((1.0, 10.0)), 0, latencies(rng))
        )
    exposures = []
    for exposure in Exposure:
        requests = count(rng)
        exposures.append(ExposureWindow("front", "cart", rng.choice(("#1", "#2")), exposure, requests, requests // 2, latencies(rng)))
    return WindowPart("prod", 0, window, rng.randrange(2), tuple(edges), tuple(services), tuple(exposures))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_windows_bring_there_is_a_verdict_of_finite_numbers(seed: int) -> None:
    rng = random.Random(seed)
    baseline = Baseline()
    for number in range(rng.choice((0, 1, 5, 35))):
        baseline = observe(baseline, sort_rows(ClosedWindow(number * 10, (part(rng, number * 10),)), 0), ())
    assignment = Assignment(
        rollout="cart-2",
        environment="prod",
        step=0,
        attempt=1,
        changed=(Change("cart", "#2", rng.choice(("#1", "#1", None))),),
        guards=GUARDS,
        weight=rng.choice((0.01, 0.5, 1.0)),
        weight_confirmed_at_ms=0,
        steps=4,
        entry_points=("front",),
        policy=GatePolicy(limits=LIMITS, alpha=rng.choice((0.01, 1e-9))),
        baking=rng.random() < 0.2,
    )
    state = begin(assignment, baseline)
    for number in range(40, 70):
        state, verdict = judge_window(state, assignment, ClosedWindow(number * 10, (part(rng, number * 10),)))
        assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
        for found in verdict.metrics:
            ends = [end for end in found.interval or () if end is not None]
            numbers = [found.e_value, found.p_value, found.threshold, *ends]
            assert all(map(math.isfinite, numbers)), found
            assert ends == sorted(ends)
