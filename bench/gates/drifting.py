"""How often a version that drifts by itself is taken for harmful: `python -m bench.gates.drifting [ROLLOUTS]`.

Whole rollouts of identical versions at 100 and 1,000 requests a second, where errors and latencies of each version, not of both together,
move up and down by a slow noise of their own: caches that fill, heaps that grow, neighbours on a machine. Side by side this is a difference
that lasts, which no comparison of one arm with one other can tell from what a version does. With the rollouts goes the design effect that
the judge had come to at the end of the first step, of the changed service's errors and 99th percentile latency.
"""

import sys
from datetime import UTC, datetime
from itertools import product

from bench.gates.report import share
from bench.gates.rollouts import BASELINE_WINDOWS, WEIGHTS, assignment, run
from bench.gates.traffic import HEALTHY, Condition, System
from ctrlplane_stream.decision.judge import Baseline, begin, observe, sort_rows
from ctrlplane_stream.decision.judge.advance import advance
from ctrlplane_stream.model.verdicts import GatePolicy

_RATES = (100.0, 1000.0)
_SIZES = (0.1, 0.2, 0.4)
_CORRELATIONS = (0.0, 0.6, 0.9)
_ASKED = ("changed|cart|versions|error_ratio", "changed|cart|versions|latency_p99")
_LOOKS = 20


def main() -> None:
    """Print the table."""
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(f"Measured {datetime.now(UTC):%Y-%m-%d}, {rollouts} rollouts a rate, seed 1; `python -m bench.gates.drifting {rollouts}`.\n")
    print("| noise of each version | its correlation | false aborts, 100/s | 1,000/s | completed, 100/s | 1,000/s | design effects |")
    print("|---|---|---|---|---|---|---|")
    for size, correlation in product(_SIZES, _CORRELATIONS):
        condition = Condition("drift", drift=(size, correlation))
        ends = [[run(rps, condition, HEALTHY, seed).outcome for seed in range(1, rollouts + 1)] for rps in _RATES]
        cells = [share(outcomes.count(wanted), rollouts) for wanted in ("failed", "completed") for outcomes in ends]
        effects = zip(*(_effects(condition, seed) for seed in range(1, 11)), strict=True)
        means = " and ".join(f"{sum(found) / len(found):.1f}" for found in effects)
        print(f"| ± {size:.0%} | {correlation:g} | {' | '.join(cells)} | {means} |", flush=True)


def _effects(condition: Condition, seed: int) -> list[float]:
    """Of errors and of slow requests, after twenty windows at 1,000 requests a second."""
    system, baseline, asked = System(_RATES[-1], condition, seed), Baseline(), assignment(0, BASELINE_WINDOWS, GatePolicy())
    for number in range(BASELINE_WINDOWS):
        baseline = observe(baseline, sort_rows(system.window(number, 0.0), 0), ())
    state = begin(asked, baseline)
    for number in range(BASELINE_WINDOWS, BASELINE_WINDOWS + _LOOKS):
        state = advance(state, asked, system.window(number, WEIGHTS[0]))
    return [state.checks[key].design_effect for key in _ASKED]


if __name__ == "__main__":
    main()
