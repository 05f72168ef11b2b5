"""The tables of `docs/gates.md`, from runs: shares with their 95% intervals, medians and 95th percentiles."""

import math
from collections.abc import Iterable, Sequence

from bench.gates.cost import Cost
from bench.gates.examples import largest_difference
from bench.gates.rollouts import Run
from bench.gates.traffic import WINDOW_SECONDS, Fault

Cell = tuple[float, str, list[Run]]
FaultCell = tuple[float, str, Fault, list[Run]]


def healthy_table(cells: Iterable[Cell]) -> list[str]:
    """False aborts, completions and durations of identical versions, by rate and condition."""
    lines = [
        "| requests/s | condition | rollouts | false aborts | completed alone | all steps proven | minutes p50 / p95 | × oracle |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rps, name, runs in cells:
        done = [run for run in runs if run.outcome == "completed"]
        ratios = [ratio for run in done if all(run.proven) for ratio in [_against_oracle(run)]]
        minutes = [run.total * WINDOW_SECONDS / 60 for run in done]
        lines.append(
            f"| {rps:g} | {name} | {len(runs)} | {share(sum(r.outcome == 'failed' for r in runs), len(runs))} "
            f"| {share(len(done), len(runs))} | {share(sum(all(r.proven) for r in done), len(runs))} "
            f"| {spread(minutes)} | {spread(ratios, 2)} |"
        )
    return lines


def conditions_table(cells: Sequence[Cell]) -> list[str]:
    """False aborts and completions by rate and by condition, each over all of the other, and the share of passed steps that were proven."""
    lines = ["| | rollouts | false aborts | completed alone | steps proven, not soaked |", "|---|---|---|---|---|"]
    for rps in dict.fromkeys(rps for rps, _, _ in cells):
        lines.append(_line(f"{rps:g} requests/s, all conditions", [run for at, _, runs in cells if at == rps for run in runs]))
    for name in dict.fromkeys(name for _, name, _ in cells):
        lines.append(_line(f"{name}, all rates", [run for _, under, runs in cells if under == name for run in runs]))
    return lines


def _line(name: str, runs: list[Run]) -> str:
    ends = [sum(run.outcome == outcome for run in runs) for outcome in ("failed", "completed")]
    proven = [step for run in runs for step in run.proven]
    return f"| {name} | {len(runs)} | {share(ends[0], len(runs))} | {share(ends[1], len(runs))} | {share(sum(proven), len(proven))} |"


def faults_table(cells: Sequence[FaultCell]) -> list[str]:
    """What `fault_table` says, from 100 requests a second on, by fault over all rates and conditions, and by condition over all faults."""
    rich = [(name, fault, run) for rps, name, fault, runs in cells if rps >= 100 for run in runs]
    lines = [
        "| from 100 requests/s | rollouts | found | named rightly | seconds to FAIL | × oracle | requests harmed | × oracle |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(fault.name for _, fault, _ in rich):
        lines.append(_faults(fault, [(each, run) for _, each, run in rich if each.name == fault]))
    for condition in dict.fromkeys(name for name, _, _ in rich):
        lines.append(_faults(f"{condition}, all faults", [(each, run) for name, each, run in rich if name == condition]))
    return lines


def _faults(name: str, runs: list[tuple[Fault, Run]]) -> str:
    failed = [(fault, run) for fault, run in runs if run.outcome == "failed"]
    cells = [
        name,
        str(len(runs)),
        share(len(failed), len(runs)),
        share(sum(run.right(fault) for fault, run in failed), len(failed)),
        spread([float(run.total * WINDOW_SECONDS) for _, run in failed], 0),
        spread([run.against_oracle for _, run in failed], 2),
        spread([run.requests[-1] * fault.harmed for fault, run in failed], 0),
        spread([run.requests_against_oracle for _, run in failed], 2),
    ]
    return f"| {' | '.join(cells)} |"


def fault_table(cells: Iterable[FaultCell]) -> list[str]:
    """Found, rightly named, and how long it took against the oracle, by rate and fault."""
    lines = [
        "| requests/s | condition | fault | rollouts | found | named rightly | seconds to FAIL | × oracle | requests harmed | × oracle |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rps, name, fault, runs in cells:
        failed = [run for run in runs if run.outcome == "failed"]
        seconds = [float(run.total * WINDOW_SECONDS) for run in failed]
        lines.append(
            f"| {rps:g} | {name} | {fault.name} | {len(runs)} | {share(len(failed), len(runs))} "
            f"| {share(sum(run.right(fault) for run in failed), len(failed))} | {spread(seconds, 0)} "
            f"| {spread([run.against_oracle for run in failed], 2)} | {spread([run.requests[-1] * fault.harmed for run in failed], 0)} "
            f"| {spread([run.requests_against_oracle for run in failed], 2)} |"
        )
    return lines


def summary(healthy: Sequence[Cell], faulty: Sequence[FaultCell], cost: Cost, usual: Cost) -> list[str]:
    """The lines that the promises are made of."""
    runs = [run for _, _, cell in healthy for run in cell]
    rich = [run for rps, _, cell in healthy if rps >= 100 for run in cell]
    proven = [run for run in rich if run.outcome == "completed" and all(run.proven)]
    ills = [(run, fault) for rps, _, fault, cell in faulty if rps >= 100 for run in cell]
    failed = [(run, fault) for run, fault in ills if run.outcome == "failed"]
    completed = sum(run.outcome == "completed" for run in rich)
    wrong = sum(run.outcome == "failed" for run in runs)
    right = sum(run.right(fault) for run, fault in failed)
    harmed = [run.requests[-1] * fault.harmed for run, fault in failed]
    return [
        "| what | promised | measured |",
        "|---|---|---|",
        f"| false aborts of identical versions, a whole rollout | ≤ 1% (alpha) | {share(wrong, len(runs))} |",
        f"| healthy rollouts completed alone, from 100 requests/s | ≥ 99% | {share(completed, len(rich))} |",
        f"| duration of a proven healthy rollout, × oracle p50 / p95 | ≤ 1.5 | {spread([_against_oracle(r) for r in proven], 2)} |",
        f"| faults above the margin found, from 100 requests/s | ≥ 99% | {share(len(failed), len(ills))} |",
        f"| precision: FAILs that are true and rightly named | ≥ 95% | {share(right, len(failed) + wrong)} |",
        f"| time to FAIL, × oracle p50 / p95 | ≤ 1.5 at the median | {spread([run.against_oracle for run, _ in failed], 2)} |",
        f"| seconds to FAIL p50 / p95 | – | {spread([float(run.total * WINDOW_SECONDS) for run, _ in failed], 0)} |",
        f"| requests harmed, × oracle p50 / p95 | ≤ 1.5 at the median | {spread([run.requests_against_oracle for run, _ in failed], 2)} |",
        f"| requests harmed p50 / p95 | – | {spread(harmed, 0)} |",
        f"| published worked examples of the sequential tests, largest difference | ≤ 1e-9 | {largest_difference():.0e} |",
        f"| CPU of a window of a usual rollout of 50 guards, {usual.metrics} metrics: fold + verdict | ≤ 5 ms | {_cpu(usual)} |",
        f"| the same where all 50 guards change, {cost.metrics} metrics: fold + verdict | ≤ 5 ms | {_cpu(cost)} |",
        f"| state of a metric | ≤ 2 KB | {cost.state_bytes:.0f} bytes |",
    ]


def _cpu(cost: Cost) -> str:
    return f"{cost.fold_ms:.1f} + {cost.verdict_ms:.1f} ms"


def share(part: int, whole: int) -> str:
    """A share with its 95% interval (Wilson 1927)."""
    if whole == 0:
        return "–"
    z, p = 1.96, part / whole
    centre = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return f"{p:.1%} [{max(0.0, centre - half):.1%}, {min(1.0, centre + half):.1%}]"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and 95th percentile."""
    if not values:
        return "–"
    ordered = sorted(values)
    return " / ".join(f"{ordered[min(len(ordered) - 1, int(q * len(ordered)))]:.{digits}f}" for q in (0.5, 0.95))


def _against_oracle(run: Run) -> float:
    """Windows over the oracle's; a step that passed before the oracle would have counts as the oracle's own time."""
    return run.total / sum(o if o is not None else w for o, w in zip(run.oracle_windows, run.windows, strict=True))
