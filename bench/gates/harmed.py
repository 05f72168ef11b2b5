"""What an exposure budget lets pass, and how often it ends a healthy rollout: `python -m bench.gates.harmed [ROLLOUTS]`.

100 requests a second, half of them through the service that changes; steps of 10, 50 and 100 of 6 windows each and a bake of 60, looked at
after every window. Some share of all requests fails whoever serves them, the same in every window or jumping from one to the next
(gamma-distributed with a standard deviation of 1.4 times its mean, the same for all requests of a window).
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from bench.gates.report import share
from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, follow, judge_window, observe, sort_rows
from ctrlplane_stream.decision.stats.intervals import surely
from ctrlplane_stream.model.verdicts import Assignment, Change, GatePolicy
from ctrlplane_stream.model.windows import Exposure, ExposureWindow, ServiceWindow, WindowPart

REQUESTS = 500
STEPS = ((0.1, 6), (0.5, 6), (1.0, 6), (1.0, 60))
PAST_WINDOWS = 40
BUDGETS = (0, 20, 100)
Drawn = tuple[int, int]


def main() -> None:
    """Print both tables."""
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    print(f"Measured {datetime.now(UTC):%Y-%m-%d}, {rollouts} rollouts a cell, seed 1; `python -m bench.gates.harmed {rollouts}`.\n")
    print("| fails whoever serves | healthy, aborted by a budget of 0 | of 20 | of 100 |\n|---|---|---|---|")
    for ever, jumps in ((0.0001, False), (0.001, False), (0.01, False), (0.1, False), (0.001, True), (0.01, True), (0.1, True)):
        ends = [rollout(np.random.default_rng([1, seed]), ever, 0.0, jumps=jumps) for seed in range(rollouts)]
        cells = (share(sum(budget in at for at in ends), rollouts) for budget in BUDGETS)
        print(f"| {ever:.2%}{', jumping' if jumps else ''} | {' | '.join(cells)} |", flush=True)
    print("\n| fails whoever serves | and the candidate's besides | harmed at the abort, p50 / p95, of a budget of 0 | of 20 | of 100 |")
    print("|---|---|---|---|---|")
    for ever, harm in ((e, h) for e in (0.0, 0.001, 0.01) for h in (0.01, 0.05, 0.3)):
        ends = [rollout(np.random.default_rng([2, seed]), ever, harm) for seed in range(rollouts)]
        print(f"| {ever:.1%} | {harm:.0%} | {' | '.join(_spread(ends, budget) for budget in BUDGETS)} |", flush=True)


def _spread(ends: list[dict[int, int]], budget: int) -> str:
    found = sorted(at[budget] for at in ends if budget in at)
    missed = f" (not aborted: {len(ends) - len(found)})" if len(found) < len(ends) else ""
    return f"{found[len(found) // 2]} / {found[-1 - len(found) // 20]}{missed}" if found else f"not aborted: {len(ends)}"


def rollout(rng: np.random.Generator, ever: float, harm: float, *, jumps: bool = False) -> dict[int, int]:
    """By budget that was spent, how many requests were harmed by then."""

    def windows(weight: float, begins: int, many: int) -> Iterator[tuple[ClosedWindow, int]]:
        for number in range(begins, begins + many):
            failing = min(1.0, ever * rng.gamma(0.5, 2.0)) if jumps else ever
            ours = round(REQUESTS * weight)
            harmed = int(rng.binomial(ours, harm))
            failed = [int(rng.binomial(n, failing)) for n in (REQUESTS - ours, ours, REQUESTS)]
            arms = ((failed[0], REQUESTS - ours), (min(ours, failed[1] + harmed), ours), (failed[2], REQUESTS))
            yield _window(number, *arms), harmed

    baseline, state, number, harmed = Baseline(), None, PAST_WINDOWS, 0
    for closed, _ in windows(0.0, 0, PAST_WINDOWS):
        baseline = observe(baseline, sort_rows(closed, 0), ())
    spent: dict[int, int] = {}
    before = (0.0, 0.0)
    for step, (weight, many) in enumerate(STEPS):
        asked = _assignment(step, weight)
        state = begin(asked, baseline) if state is None else follow(state, asked, baseline)
        total = before
        for closed, more in windows(weight, number, many):
            harmed += more
            state, verdict = judge_window(state, asked, closed)
            (told,) = verdict.harm
            total = before[0] + told.failed - told.expected, before[1] + told.variance
            sure = surely(*total, GatePolicy().alpha)
            spent |= {budget: harmed for budget in BUDGETS if sure > budget and budget not in spent}
        before, number = total, number + many
    return spent


def _assignment(step: int, weight: float) -> Assignment:
    return Assignment(
        rollout="cart-2",
        environment="prod",
        step=step,
        attempt=step + 1,
        changed=(Change("cart", "#2", "#1"),),
        guards=(),
        weight=weight,
        weight_confirmed_at_ms=0,
        steps=len(STEPS),
        entry_points=("front",),
        counts_harm=True,
        baking=step + 1 == len(STEPS),
    )


def _window(number: int, stable: Drawn, candidate: Drawn, others: Drawn) -> ClosedWindow:
    failed, requests = (sum(each) for each in zip(stable, candidate, others, strict=True))
    arms = (("#1", stable), ("#2", candidate))
    exposures = tuple(ExposureWindow("front", "cart", label, Exposure.EXPOSED, n, bad) for label, (bad, n) in arms if n)
    front = ServiceWindow("front", "#1", requests, failed, requests, requests)
    return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, (), (front,), exposures),))


if __name__ == "__main__":
    main()
