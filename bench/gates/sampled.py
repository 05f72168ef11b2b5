"""How often calls per request at the margin are taken for harm where spans are sampled: `python -m bench.gates.sampled [RUNS]`.

One question alone about one edge, 25 windows of 300 candidate and 2,700 stable requests of which one in ten is kept, with all its calls or
apart from them; each makes three calls to a database beside the one that is asked about. The candidate makes 1.25 times as many of these
as stable, or as many less: as much as does no harm, so that every alarm is false.
"""

import math
import sys
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from bench.gates.report import share
from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, StepState, begin, observe, sort_rows
from ctrlplane_stream.decision.judge.advance import advance
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Assignment, Change, GatePolicy, Guard, GuardRole, Metric
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow, WindowPart

REQUESTS, KEPT, WINDOWS, MARGIN = 3000, 0.1, 25, 1.25
LEVELS = (0.05, 0.001)
ASKED = "changed|cart|versions|calls_per_request|cart -call-> stock"


class Sampling(NamedTuple):
    """Whether calls are kept with their requests, and how many windows of past there are to tell."""

    whole: bool
    past: int


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"Measured {datetime.now(UTC):%Y-%m-%d}, {runs} runs a line, seed 1; `python -m bench.gates.sampled {runs}`.\n")
    print("| kept | windows of past | calls | noise allowed for | level 0.05 | level 0.001 |")
    print("|---|---|---|---|---|---|")
    for sampling in (Sampling(True, 45), Sampling(False, 45), Sampling(True, 0), Sampling(False, 0)):
        for ratio in (MARGIN, 1 / MARGIN):
            rng = np.random.default_rng(1)
            found = [_run(rng, sampling, ratio) for _ in range(runs)]
            effect = float(np.mean([effect for _, effect in found]))
            crossed = " | ".join(share(sum(best >= -math.log(level) for best, _ in found), runs) for level in LEVELS)
            kept = "whole traces" if sampling.whole else "span by span"
            print(f"| {kept} | {sampling.past} | × {ratio:.2f} | {effect:.2f} | {crossed} |", flush=True)


def _run(rng: np.random.Generator, sampling: Sampling, ratio: float) -> tuple[float, float]:
    """The largest log e-value against the truth that was ever reached, and what the last window's was divided by."""
    asked = Assignment(
        rollout="r",
        environment="prod",
        step=0,
        attempt=1,
        changed=(Change("cart", "#2", "#1"),),
        guards=(Guard("cart", GuardRole.CHANGED),),
        weight=0.1,
        weight_confirmed_at_ms=sampling.past * 10_000,
        steps=1,
        policy=GatePolicy(metrics=(Metric.CALLS_PER_REQUEST,)),
    )
    baseline = Baseline()
    for number in range(sampling.past):
        baseline = observe(baseline, sort_rows(_window(rng, number, sampling, {"#1": (1.0, 1.0)}), 0), ())
    state: StepState = begin(asked, baseline)
    for number in range(sampling.past, sampling.past + WINDOWS):
        state = advance(state, asked, _window(rng, number, sampling, {"#1": (0.9, 1.0), "#2": (0.1, ratio)}))
    check = state.checks[ASKED]
    side = check.evidence if ratio > 1 or check.opposite is None else check.opposite
    return side.best_harm, check.design_effect


def _window(rng: np.random.Generator, number: int, sampling: Sampling, arms: dict[str, tuple[float, float]]) -> ClosedWindow:
    edges, services = [], []
    for version, (weight, calls) in arms.items():
        requests = int(rng.poisson(REQUESTS * weight))
        kept = int(rng.binomial(requests, KEPT))
        services.append(ServiceWindow("cart", version, kept, 0, kept / KEPT, 0))
        for callee, kind, each in (("stock", EdgeKind.CALL, calls), ("db", EdgeKind.DATABASE, 3.0)):
            made = int(rng.poisson(kept * each)) if sampling.whole else int(rng.binomial(rng.poisson(requests * each), KEPT))
            edges.append(EdgeWindow("cart", callee, kind, version, UNKNOWN_VERSION, made, 0, made / KEPT, 0))
    return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services)),))


if __name__ == "__main__":
    main()
