"""How often identical versions whose failures come in bunches are taken for harm: `python -m bench.gates.bunches [RUNS]`.

One question alone, 25 windows of 40 candidate and 360 stable requests of which 2% fail, no margin: the hardest case, since any margin is
room for chance. Failures come in bunches of a fixed size or of geometric ones, whose design effect is the mean squared size over the mean
size (Kish). Three judges look: one that takes requests for independent, ours without a past, and ours with a past of 45 windows.
"""

import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from bench.gates.report import share
from ctrlplane_stream.decision.stats.betting import Sample
from ctrlplane_stream.decision.stats.dispersion import (
    LARGEST_OF_THE_PAST,
    Dispersion,
    design_effect,
    of_two_arms,
    residual_of_share,
    residual_of_shares,
)
from ctrlplane_stream.decision.stats.harm import Evidence, Past, released, weigh

SHARE, CANDIDATE, STABLE, WINDOWS, PAST_WINDOWS = 0.02, 40, 360, 25, 45
LEVELS = (0.05, 0.01 / (72 * 4))
"""A level that is seen to be kept with few runs, and that of one question among 72 in four steps."""


class Bunches(NamedTuple):
    """Failures in bunches of a mean size, all alike or geometric."""

    mean: int
    geometric: bool

    @property
    def effect(self) -> float:
        """The true design effect."""
        return 2.0 * self.mean - 1.0 if self.geometric else float(self.mean)

    def failures(self, rng: np.random.Generator, requests: int) -> int:
        """Failed requests of a window."""
        bunches = int(rng.poisson(requests * SHARE / self.mean))
        failed = int(rng.geometric(1.0 / self.mean, bunches).sum()) if self.geometric else bunches * self.mean
        return min(requests, failed)


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    print(f"Measured {datetime.now(UTC):%Y-%m-%d}, {runs} runs a cell, seed 1; `python -m bench.gates.bunches {runs}`.\n")
    print("| bunches of failures | true design effect | level | taken for independent | ours, no past | ours, 45 windows of past |")
    print("|---|---|---|---|---|---|")
    judges = (_independent, _without_past, _with_past)
    for bunches in (Bunches(1, False), Bunches(2, False), Bunches(4, False), Bunches(2, True), Bunches(4, True)):
        found = [crossings(bunches, effect, runs) for effect in judges]
        kind = "none" if bunches.mean == 1 else f"{'of mean size' if bunches.geometric else 'of'} {bunches.mean}"
        for level in LEVELS:
            shares = " | ".join(share(counts[level], runs) for counts in found)
            print(f"| {kind} | {bunches.effect:g} | {level:.2g} | {shares} |", flush=True)


def crossings(bunches: Bunches, effect: Callable[[Dispersion, Dispersion], float], runs: int) -> dict[float, int]:
    """In how many runs the evidence for harm ever reached each level."""
    rng, counts = np.random.default_rng(1), dict.fromkeys(LEVELS, 0)
    for _ in range(runs):
        best = _run(bunches, effect, rng)
        for level in LEVELS:
            counts[level] += best >= -math.log(level)
    return counts


def _run(bunches: Bunches, effect: Callable[[Dispersion, Dispersion], float], rng: np.random.Generator) -> float:
    evidence, known, scatter = Evidence(), Past(), Dispersion()
    past = _past(bunches, rng) if effect is _with_past else Dispersion()
    for window in range(WINDOWS):
        x, y = bunches.failures(rng, CANDIDATE), bunches.failures(rng, STABLE)
        before = (known.candidate_events, known.candidate_total), (known.stable_events, known.stable_total)
        staked = released(evidence, window)
        evidence = weigh(staked, Sample(x, CANDIDATE, y, STABLE), known, 0.0, effect(scatter, past), proof=False)
        scatter = scatter.after(residual_of_shares((x, CANDIDATE), (y, STABLE), *before))
        known = Past(before[0][0] + x, before[0][1] + CANDIDATE, before[1][0] + y, before[1][1] + STABLE)
    return evidence.best_harm


def _past(bunches: Bunches, rng: np.random.Generator) -> Dispersion:
    scatter, failed, requests, each = Dispersion(), 0, 0, CANDIDATE + STABLE
    for _ in range(PAST_WINDOWS):
        new = bunches.failures(rng, each)
        scatter = scatter.after(residual_of_share(new, each, failed, requests), LARGEST_OF_THE_PAST)
        failed, requests = failed + new, requests + each
    return of_two_arms(scatter, drifting=False)


def _independent(now: Dispersion, past: Dispersion) -> float:
    return 1.0


def _without_past(now: Dispersion, past: Dispersion) -> float:
    return design_effect(now)


def _with_past(now: Dispersion, past: Dispersion) -> float:
    return design_effect(now, past)


if __name__ == "__main__":
    main()
