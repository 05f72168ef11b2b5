"""How often an interval of the evidence ever leaves the truth out: `python -m bench.gates.covered [ROLLOUTS]`.

Identical versions at 5% of 100 and of 1,000 requests a second, a step of 60 windows, looked at after every one. Of what is compared side
by side the true effect is known: no difference of shares, quantiles and rates in the ratio of 1. Asked twice: with a budget by which each
interval promises 95% (an edge of calls per request a sixth of the 5%), which few rollouts can show, and with the default one. The last
column counts rollouts of which any of all these intervals ever did, at the default level.
"""

import sys
from collections import Counter
from datetime import UTC, datetime
from itertools import product

from bench.gates.report import share
from bench.gates.rollouts import BASELINE_WINDOWS, WEIGHTS, assignment
from bench.gates.traffic import CONDITIONS, Condition, System
from ctrlplane_stream.decision.judge import Baseline, begin, observe, sort_rows
from ctrlplane_stream.decision.judge.advance import advance
from ctrlplane_stream.decision.judge.findings import findings
from ctrlplane_stream.decision.judge.questions import budget_of
from ctrlplane_stream.model.verdicts import Comparison, GatePolicy, Metric, MetricEvidence

LEVEL = 0.05
WINDOWS = 60
_RATES = (100.0, 1000.0)
_METRICS = (Metric.ERROR_RATIO, Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP, Metric.CALLS_PER_REQUEST)
_SIDE_BY_SIDE = (Comparison.VERSIONS, Comparison.EXPOSURE)


def main() -> None:
    """Print the table."""
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(f"Measured {datetime.now(UTC):%Y-%m-%d}, {rollouts} rollouts a rate, seed 1; `python -m bench.gates.covered {rollouts}`.\n")
    print(f"| | {' | '.join(_METRICS)} | all, at the default level | rollouts with any |\n|---|{'---|' * len(_METRICS)}---|---|")
    for condition in CONDITIONS:
        missed, counted = Counter[str](), Counter[str]()
        for rps, seed in product(_RATES, range(1, rollouts + 1)):
            found = covered(rps, condition, seed)
            counted["any"] += 1
            missed["any"] += not all(covers for (_, level, _), covers in found.items() if level != LEVEL)
            for (metric, level, _), covers in found.items():
                name = metric if level == LEVEL else "default"
                counted[name] += 1
                missed[name] += not covers
        print(
            f"| {condition.name} | {' | '.join(share(missed[name], counted[name]) for name in (*_METRICS, 'default', 'any'))} |", flush=True
        )


def covered(rps: float, condition: Condition, seed: int) -> dict[tuple[Metric, float, str], bool]:
    """Of every question asked side by side in one rollout, at both levels: whether its interval held the truth after every window."""
    system, baseline = System(rps, condition, seed), Baseline()
    for number in range(BASELINE_WINDOWS):
        baseline = observe(baseline, sort_rows(system.window(number, 0.0), 0), ())
    asked = assignment(0, BASELINE_WINDOWS, GatePolicy())
    each = budget_of(asked).required
    levels = {each: asked, LEVEL: assignment(0, BASELINE_WINDOWS, GatePolicy(alpha=GatePolicy().alpha * LEVEL / each))}
    state, found = begin(asked, baseline), dict[tuple[Metric, float, str], bool]()
    for number in range(BASELINE_WINDOWS, BASELINE_WINDOWS + WINDOWS):
        state = advance(state, asked, system.window(number, WEIGHTS[0]))
        for level, at_level in levels.items():
            for evidence in findings(state, at_level):
                if evidence.comparison in _SIDE_BY_SIDE and evidence.interval is not None:
                    edge = evidence.edge if evidence.name is Metric.CALLS_PER_REQUEST else None
                    name = evidence.name, level, f"{evidence.role} {evidence.guard} {edge}"
                    found[name] = found.get(name, True) and _covers(evidence)
    return found


def _covers(evidence: MetricEvidence) -> bool:
    truth = 0.0 if evidence.name is Metric.ERROR_RATIO else 1.0
    low, high = evidence.interval or (None, None)
    return (low is None or low <= truth) and (high is None or truth <= high)


if __name__ == "__main__":
    main()
