"""Identical versions differ by nothing where requests call the changed service many times, or again after a failure that both share."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, judge_window
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.verdicts import Guard, GuardRole, Verdict, VerdictStatus
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart
from tests.unit.decision.judge.asking import ENTRY, asked

WEIGHT, REQUESTS, WINDOWS = 0.05, 500, 20
Trace = tuple[float, bool, list[bool]]
"""Milliseconds, whether it failed, and of each call to the changed service whether the candidate answered."""
Shape = Callable[[random.Random, float], Trace]


def lists(rng: random.Random, harm: float = 0.0) -> Trace:
    """One request in ten calls cart ten times, the others once."""
    calls = [rng.random() < WEIGHT for _ in range(10 if rng.random() < 0.1 else 1)]
    return 5 + sum(rng.lognormvariate(3, 0.4) for _ in calls), any(ours and rng.random() < harm for ours in calls), calls


def tried_again(rng: random.Random, harm: float = 0.0) -> Trace:
    """One request in ten fails whoever serves it; a call that fails is tried three times, and what is harmed fails every time."""
    ill, calls, took = rng.random() < 0.1, list[bool](), 5.0
    while len(calls) < 3:
        calls.append(rng.random() < WEIGHT)
        took += rng.lognormvariate(3, 0.4)
        ill = ill or (calls[-1] and rng.random() < harm)
        if not ill:
            break
    return took, ill, calls


def window(number: int, traces: list[Trace], rng: random.Random) -> ClosedWindow:
    found: dict[tuple[str, bool], list[Trace]] = {}
    for trace in traces:
        drawn = rng.choice(trace[2])
        for ours, label in ((False, "#1"), (True, "#2")):
            if ours in trace[2]:
                found.setdefault((label, drawn is not ours), []).append(trace)
    exposures = tuple(
        ExposureWindow(
            "web", "cart", label, Exposure.EXPOSED, len(of), sum(t[1] for t in of), sketch.of([t[0] * 1000 for t in of]), elsewhere
        )
        for (label, elsewhere), of in sorted(found.items())
    )
    calls = Counter("#2" if ours else "#1" for trace in traces for ours in trace[2])
    failed = Counter("#2" if ours else "#1" for trace in traces if trace[1] for ours in trace[2])
    times = sketch.of([20_000.0] * 10)
    edges = tuple(
        EdgeWindow("web", "cart", EdgeKind.CALL, "#1", v, n, failed[v], n, failed[v], times, times) for v, n in sorted(calls.items())
    )
    services = tuple(ServiceWindow("cart", v, n, failed[v], n, 0, times) for v, n in sorted(calls.items()))
    return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, edges, services, exposures),))


def judged(shape: Shape, seed: int, harm: float = 0.0, *also: Guard) -> Verdict:
    """The FAIL of a step at 5%, or its last verdict, of the entry points and other guards."""
    assignment = asked(WEIGHT, ENTRY, *also, past=0, entry_points=("web",))
    rng, state = random.Random(seed), begin(assignment, Baseline())
    for number in range(WINDOWS):
        traces = [shape(rng, harm) for _ in range(REQUESTS)]
        state, verdict = judge_window(state, assignment, window(number, traces, rng))
        if verdict.status is VerdictStatus.FAIL:
            break
    return verdict


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [lists, tried_again])
def test_identical_versions_do_not_differ_at_the_entry_points(shape: Shape, seed: int) -> None:
    verdict = judged(shape, seed)
    assert verdict.status is not VerdictStatus.FAIL, verdict.reason


def test_harm_at_one_call_of_a_request_is_found_at_the_entry_points() -> None:
    verdict = judged(lists, 1, 0.2)
    assert verdict.status is VerdictStatus.FAIL
    assert "of requests that went to the stable version" in verdict.reason


def test_harm_that_is_tried_again_is_found_by_the_calls_that_failed_first() -> None:
    """Of three tries two most often are stable's, so that the entry points tell less of it."""
    verdict = judged(tried_again, 1, 0.2, Guard("cart", GuardRole.CHANGED, required=True))
    assert (verdict.status, verdict.culprit is not None) == (VerdictStatus.FAIL, True)
