"""`python -m bench.gates`: run the measurement, print its tables, and put them into `docs/gates.md` with --write.

--runs N      rollouts of identical versions in each cell (40); faulty ones are half as many
--short       one condition, two rates, few rollouts: a minute
--seed S      the first seed (1); rollout i of a cell has seed S + i
"""

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.gates.cost import measure
from bench.gates.report import Cell, fault_table, healthy_table, summary
from bench.gates.rollouts import Run, run
from bench.gates.traffic import CONDITIONS, FAULTS, HEALTHY, Condition, Fault

DOCUMENT = Path(__file__).parents[2] / "docs" / "gates.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.gates")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rates = (100.0, 1000.0) if arguments.short else (1.0, 10.0, 100.0, 1000.0)
    conditions = CONDITIONS[:1] if arguments.short else CONDITIONS
    runs = 5 if arguments.short else arguments.runs
    began = time.monotonic()
    healthy = [(rps, c.name, several(rps, c, HEALTHY, runs, arguments.seed)) for rps in rates for c in conditions]
    faulty = [
        (rps, c.name, fault, several(rps, c, fault, max(3, runs // 2), arguments.seed + 10_000))
        for c in (conditions[0], conditions[-1])[: len(conditions)]
        for rps in rates
        if rps >= (10 if c is conditions[0] else 100)
        for fault in FAULTS
    ]
    text = document(healthy, faulty, runs, arguments.seed, time.monotonic() - began)
    print(text)
    if arguments.write:
        write(text)


def several(rps: float, condition: Condition, fault: Fault, count: int, seed: int) -> list[Run]:
    """Rollouts with seeds from ``seed`` on."""
    began = time.monotonic()
    runs = [run(rps, condition, fault, seed + number) for number in range(count)]
    ends = {outcome: sum(r.outcome == outcome for r in runs) for outcome in ("completed", "failed", "held")}
    print(f"{rps:g}/s, {condition.name}, {fault.name}: {ends} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for number, one in enumerate(runs):
        unexpected = one.outcome != "completed" if fault is HEALTHY else one.outcome != "failed"
        if unexpected and one.verdict is not None:
            print(f"    seed {seed + number}: {one.outcome} at step {one.step}: {one.verdict.reason}", file=sys.stderr, flush=True)
    return runs


def document(healthy: list[Cell], faulty: list[tuple[float, str, Fault, list[Run]]], runs: int, seed: int, seconds: float) -> str:
    """The measured part of the document."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    head = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine}, in {seconds / 60:.0f} minutes on one core; "
        f"`python -m bench.gates --runs {runs} --seed {seed}`. Intervals are 95% (Wilson). "
        f"Rollout i of a cell has seed {seed} + i, or {seed + 10_000} + i with a fault."
    )
    parts = [
        [head],
        summary(healthy, faulty, measure()),
        ["### Identical versions"],
        healthy_table(healthy),
        ["### The fault catalogue"],
        fault_table(faulty),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def write(text: str) -> None:
    """Replace the measured part of the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
