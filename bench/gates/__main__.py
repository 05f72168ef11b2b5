"""`python -m bench.gates`: run the measurement, print its tables, and put them into `docs/gates.md` with --write.

Every round draws one rollout of identical versions in each cell, the first of them one of each fault too. Rollout i of a cell has
seed SEED + i, so that a round can be drawn again.

--rounds N     rounds (40)
--fault-rounds N  how many of them draw faults too (20): a rate near 0 is bounded by many healthy rollouts, a median by few
--minutes M    no new rollout after so many minutes
--keep FILE    rollouts as JSON lines: those that are there are not drawn again, so that a measurement may be stopped and gone on with
--short        one condition, two rates, few rounds: a minute
--seed S       the first seed (1)
--write        into the document, and each cell of faults by itself into `docs/gates-cells.csv`
"""

import argparse
import csv
import os
import platform
import sys
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import msgspec

from bench.gates.cost import all_changed, best, one_changed
from bench.gates.oracle import Truth
from bench.gates.report import (
    Cell,
    FaultCell,
    answers_table,
    cells_table,
    conditions_table,
    faults_table,
    healthy_table,
    near_table,
    plans_table,
    summary,
)
from bench.gates.rollouts import TRUTHS, Run, run
from bench.gates.traffic import CONDITIONS, FAULTS, HEALTHY, MANY_CALLS, Condition, Fault

DOCUMENT = Path(__file__).parents[2] / "docs" / "gates.md"
CELLS = DOCUMENT.with_name("gates-cells.csv")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FAULT_SEEDS = 10_000
_RATES = (1.0, 10.0, 100.0, 1000.0)
_LEAST_NEAR = 10.0
_OF_MANY_CALLS = (100.0,)
_GROSS = {"errors", "latency median", "death without spans"}
_Plan = tuple[float, Condition, Fault]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.gates")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--fault-rounds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    plans, rounds = planned(arguments.short), 4 if arguments.short else arguments.rounds
    kept = Kept(arguments.keep)
    until = time.monotonic() + 60 * arguments.minutes
    for number, plan in product(range(rounds), plans):
        if time.monotonic() > until:
            break
        if plan[2] is HEALTHY or number < arguments.fault_rounds:
            kept.draw(plan, arguments.seed + number)
    cells = {plan: kept.of(plan) for plan in plans}
    text = document(cells, arguments.seed, kept.seconds)
    print(text)
    if arguments.write:
        write(text)
        with CELLS.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(cells_table(_faulty(cells)))


class Line(msgspec.Struct):
    """One rollout as it is kept: what was drawn, the CPU seconds it took, and how it went."""

    rps: float
    condition: str
    fault: str
    seed: int
    seconds: float
    run: Run
    truths: dict[str, Truth] = {}


class Kept:
    """Rollouts by what was drawn, and the truths that were read for them, in memory and in a file where one is named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: dict[tuple[float, str, str, int], Line] = {}
        if path is not None and path.exists():
            for text in path.read_bytes().splitlines():
                line = msgspec.json.decode(text, type=Line)
                TRUTHS.update(line.truths)
                self._add(line)

    def draw(self, plan: _Plan, seed: int) -> None:
        """Draw a rollout, unless it is there."""
        rps, condition, fault = plan
        if (rps, condition.name, fault.name, seed) in self._lines:
            return
        began, known = time.process_time(), set(TRUTHS)
        result = one(plan, seed)
        truths = {name: found for name, found in TRUTHS.items() if name not in known}
        line = Line(rps, condition.name, fault.name, seed, time.process_time() - began, result, truths)
        self._add(line)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")

    def of(self, plan: _Plan) -> list[Run]:
        """The rollouts of a cell."""
        wanted = (plan[0], plan[1].name, plan[2].name)
        return [line.run for key, line in self._lines.items() if key[:3] == wanted]

    @property
    def seconds(self) -> float:
        """CPU seconds of all of them."""
        return sum(line.seconds for line in self._lines.values())

    def _add(self, line: Line) -> None:
        self._lines[line.rps, line.condition, line.fault, line.seed] = line


def planned(short: bool) -> list[_Plan]:
    """Identical versions and every fault, at all rates under all conditions; but near the margin none at one request a second, which tells
    nothing of them, and where requests call many times some faults at one rate."""
    rates, conditions = (_RATES[2:], CONDITIONS[:1]) if short else (_RATES, CONDITIONS)
    cells, many = list(product(rates, conditions)), list(product(_OF_MANY_CALLS, MANY_CALLS))
    healthy = [(*cell, HEALTHY) for cell in (*cells, *many)]
    faults = [(*cell, fault) for cell, fault in product(cells, FAULTS) if cell[0] >= _LEAST_NEAR or not fault.near]
    gross = [fault for fault in FAULTS if fault.kind in _GROSS and not fault.near]
    return [*healthy, *faults, *((*cell, fault) for cell, fault in product(many, gross))]


def one(plan: _Plan, seed: int) -> Run:
    """One rollout; what was not expected of it is told on stderr."""
    rps, condition, fault = plan
    result = run(rps, condition, fault, seed if fault is HEALTHY else seed + FAULT_SEEDS)
    if result.outcome != ("completed" if fault is HEALTHY else "failed") and result.verdict is not None:
        told = f"{rps:g}/s, {condition.name}, {fault.name}, seed {seed}: {result.outcome} at step {result.step}: {result.verdict.reason}"
        print(told, file=sys.stderr, flush=True)
    failed = result.verdict if result.outcome == "failed" else None
    result.verdict = msgspec.structs.replace(failed, metrics=()) if failed is not None else None
    return result


def document(cells: dict[_Plan, list[Run]], seed: int, seconds: float) -> str:
    """The measured part of the document."""
    healthy: list[Cell] = [(rps, c.name, runs) for (rps, c, fault), runs in cells.items() if fault is HEALTHY]
    faulty = _faulty(cells)
    rounds, ill_rounds = max(len(runs) for _, _, runs in healthy), max(len(runs) for *_, runs in faulty)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    head = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine}, in {seconds / 60:.0f} minutes of CPU; "
        f"`python -m bench.gates --rounds {rounds} --fault-rounds {ill_rounds} --seed {seed}`, "
        f"{sum(len(runs) for _, _, runs in healthy)} rollouts of identical versions "
        f"and {sum(len(runs) for *_, runs in faulty)} with a fault, fewer in cells that were stopped before. Intervals are 95% (Wilson). "
        f"Rollout i of a cell has seed {seed} + i, or {seed + FAULT_SEEDS} + i with a fault."
    )
    parts = [
        [head],
        summary(healthy, faulty, best(all_changed), best(one_changed)),
        ["### Identical versions"],
        conditions_table(healthy),
        healthy_table(healthy),
        ["### What a plan says of it"],
        plans_table(healthy, faulty),
        ["### The fault catalogue"],
        faults_table(faulty),
        answers_table(faulty),
        ["### Near the margin"],
        near_table(faulty),
        ["Each rate, condition and fault by itself: [gates-cells.csv](gates-cells.csv)."],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _faulty(cells: dict[_Plan, list[Run]]) -> list[FaultCell]:
    return [(rps, c.name, fault, runs) for (rps, c, fault), runs in cells.items() if fault is not HEALTHY]


def write(text: str) -> None:
    """Replace the measured part of the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
