"""The tables of `docs/gates.md`, from runs: shares with their 95% intervals, medians and 95th percentiles."""

import math
from collections.abc import Iterable, Sequence

from bench.gates.cost import Cost
from bench.gates.examples import largest_difference
from bench.gates.rollouts import WEIGHTS, Run, assignment
from bench.gates.traffic import CONDITIONS, FAULTS, WINDOW_SECONDS, Fault
from ctrlplane_stream.decision.judge.planning import Traffic, plan_step
from ctrlplane_stream.decision.judge.questions import questions
from ctrlplane_stream.model.verdicts import GatePolicy

Cell = tuple[float, str, list[Run]]
FaultCell = tuple[float, str, Fault, list[Run]]

_NOISY = {condition.name for condition in CONDITIONS if condition.noisy}
_SPREADS = ("seconds to FAIL", "x oracle", "requests harmed", "requests x oracle")
_POINTS = ("p50", "p95")
_ERRORS, _P99_OVER_P50 = 0.004, 3.0
"""Of the drawn system, as a person would say them to `gates plan`."""


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
    """False aborts and completions by rate and by condition, each over all of the other; the share of passed steps that were proven, how
    long these took against the oracle, and how many soaked that the oracle proved meanwhile."""
    lines = [
        "| | rollouts | false aborts | completed alone | steps proven, not soaked | a proven step × oracle | soaked, the oracle proved |",
        "|---|---|---|---|---|---|---|",
    ]
    for rps in dict.fromkeys(rps for rps, _, _ in cells):
        lines.append(_line(f"{rps:g} requests/s, all conditions", [run for at, _, runs in cells if at == rps for run in runs]))
    for name in dict.fromkeys(name for _, name, _ in cells):
        lines.append(_line(f"{name}, all rates", [run for _, under, runs in cells if under == name for run in runs]))
    return lines


def _line(name: str, runs: list[Run]) -> str:
    ends = [sum(run.outcome == outcome for run in runs) for outcome in ("failed", "completed")]
    steps = [step for run in runs for step in zip(run.proven, run.windows, run.oracle_windows, strict=False)]  # of a held one no more
    ratios = [windows / (oracle or windows) for proven, windows, oracle in steps if proven]
    late = sum(not proven and oracle is not None for proven, _, oracle in steps)
    counted = (
        share(ends[0], len(runs)),
        share(ends[1], len(runs)),
        share(len(ratios), len(steps)),
        spread(ratios, 2),
        share(late, len(steps)),
    )
    return f"| {name} | {len(runs)} | {' | '.join(counted)} |"


def plans_table(healthy: Sequence[Cell], faulty: Sequence[FaultCell]) -> list[str]:
    """What `gates plan` says of the first step where its traffic can prove it, beside the medians and 95th percentiles in plain traffic:
    seconds until five points of errors are found, and until a healthy step is proven."""
    policy = GatePolicy()
    asked = len(questions(assignment(0, 0, policy)))
    lines = [
        "| requests/s at 5% | found, planned / in 19 of 20 | found, measured | proven, planned | proven, measured |",
        "|---|---|---|---|---|",
    ]
    for rps in dict.fromkeys(rps for rps, _, _ in healthy):
        plan = plan_step(Traffic(rps, WEIGHTS[0], _ERRORS, _P99_OVER_P50), FAULTS[0].errors, policy, questions=asked, steps=len(WEIGHTS))
        failed = [run for at, name, fault, runs in faulty if (at, name, fault) == (rps, "plain", FAULTS[0]) for run in runs]
        passed = [run for at, name, runs in healthy if (at, name) == (rps, "plain") for run in runs if run.proven]
        if plan.provable and failed and passed:
            found = spread([float(run.total * WINDOW_SECONDS) for run in failed], 0)
            proven = spread([float(run.windows[0] * WINDOW_SECONDS) for run in passed], 0)
            planned = f"{plan.detect_seconds:.0f} / {plan.detect_within_seconds:.0f}"
            lines.append(f"| {rps:g} | {planned} | {found} | {plan.step_seconds:.0f} | {proven} |")
    return lines


def faults_table(cells: Sequence[FaultCell]) -> list[str]:
    """What `cells_table` says, from 100 requests a second on, by fault over all rates and conditions, and by condition over all faults."""
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


def answers_table(cells: Sequence[FaultCell]) -> list[str]:
    """What the judge says of a faulty candidate at each rate: found, or which of the other answers; below 100 requests a second, where
    traffic is too little to find everything, by condition and by fault too. An oracle finds what it finds in the windows of the judge, or
    would have found where the judge was faster."""
    lines = _answers_heading()
    rates = list(dict.fromkeys(rps for rps, *_ in cells))
    for rate in rates:
        lines.append(_answers(f"{rate:g} requests/s, all", [(fault, run) for rps, _, fault, runs in cells if rps == rate for run in runs]))
    for rate in (rate for rate in rates if rate < 100):
        at = [(name, fault, run) for rps, name, fault, runs in cells if rps == rate for run in runs]
        for condition in dict.fromkeys(name for name, _, _ in at):
            lines.append(_answers(f"{rate:g} requests/s, {condition}", [(fault, run) for name, fault, run in at if name == condition]))
        for kind in dict.fromkeys(fault.name for _, fault, _ in at):
            lines.append(_answers(f"{rate:g} requests/s, {kind}", [(fault, run) for _, fault, run in at if fault.name == kind]))
    return lines


def near_table(cells: Sequence[FaultCell]) -> list[str]:
    """The same of faults of 1.5 to 3 times the margin, from 100 requests a second on, by rate, fault and condition."""
    lines = _answers_heading()
    near = [(rps, name, fault, run) for rps, name, fault, runs in cells if rps >= 100 and fault.near for run in runs]
    for rate in dict.fromkeys(rps for rps, *_ in near):
        lines.append(_answers(f"{rate:g} requests/s, all", [(fault, run) for rps, _, fault, run in near if rps == rate]))
    for fault in dict.fromkeys(fault for *_, fault, _ in near):
        told = f"{fault.name}, {fault.times:g} × the margin"
        lines.append(_answers(told, [(each, run) for *_, each, run in near if each == fault]))
    for condition in dict.fromkeys(name for _, name, *_ in near):
        lines.append(_answers(f"{condition}, all", [(fault, run) for _, name, fault, run in near if name == condition]))
    return lines


def _answers_heading() -> list[str]:
    """The columns of `_answers`."""
    return [
        "| | rollouts | found | an oracle finds | of these | held | passed, *unproven* | all steps proven | named rightly | × oracle |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]


def _answers(name: str, runs: list[tuple[Fault, Run]]) -> str:
    failed = [(fault, run) for fault, run in runs if run.outcome == "failed"]
    missed = [run for _, run in runs if run.outcome != "failed"]
    proven = sum(run.outcome == "completed" and all(run.proven) for run in missed)
    held = sum(run.outcome == "held" for run in missed)
    told = len(failed) + sum(run.oracle_fail is not None for run in missed)
    cells = [
        name,
        str(len(runs)),
        share(len(failed), len(runs)),
        share(told, len(runs)),
        share(len(failed), told),
        f"{held}",
        f"{len(missed) - held - proven}",
        f"{proven}",
        share(sum(run.right(fault) for fault, run in failed), len(failed)),
        spread([run.against_oracle for _, run in failed], 2),
    ]
    return f"| {' | '.join(cells)} |"


def cells_table(cells: Iterable[FaultCell]) -> list[tuple[str, ...]]:
    """Found, rightly named, and how long it took against the oracle, of every rate, condition and fault: a heading and a row for each."""
    rows: list[tuple[str, ...]] = [
        ("requests/s", "condition", "fault", "rollouts", "found", "named rightly", *(f"{name} {of}" for name in _SPREADS for of in _POINTS))
    ]
    for rps, name, fault, runs in cells:
        failed = [run for run in runs if run.outcome == "failed"]
        spreads = (
            points([float(run.total * WINDOW_SECONDS) for run in failed], 0),
            points([run.against_oracle for run in failed], 2),
            points([run.requests[-1] * fault.harmed for run in failed], 0),
            points([run.requests_against_oracle for run in failed], 2),
        )
        named = sum(run.right(fault) for run in failed)
        counts = (f"{rps:g}", name, fault.name, str(len(runs)), str(len(failed)), str(named))
        rows.append((*counts, *(value for pair in spreads for value in pair)))
    return rows


def summary(healthy: Sequence[Cell], faulty: Sequence[FaultCell], cost: Cost, usual: Cost) -> list[str]:
    """The lines that the promises are made of."""
    runs = [run for _, _, cell in healthy for run in cell]
    rich = [run for rps, name, cell in healthy if rps >= 100 and name not in _NOISY for run in cell]
    noisy = [run for rps, name, cell in healthy if rps >= 100 and name in _NOISY for run in cell]
    proven = [run for run in rich if run.outcome == "completed" and all(run.proven)]
    ills = [(run, fault) for rps, _, fault, cell in faulty if rps >= 100 for run in cell]
    failed = [(run, fault) for run, fault in ills if run.outcome == "failed"]
    told = [(run, fault) for run, fault in ills if run.outcome == "failed" or run.oracle_fail is not None]
    completed, there = [sum(run.outcome == "completed" for run in of) for of in (rich, noisy)]
    wrong = sum(run.outcome == "failed" for run in runs)
    named = [run.right(fault) for *_, fault, cell in faulty for run in cell if run.outcome == "failed"]
    harmed = [run.requests[-1] * fault.harmed for run, fault in failed]
    told_harmless = sum(run.outcome == "completed" and all(run.proven) for *_, cell in faulty for run in cell)
    return [
        "| what | promised | measured |",
        "|---|---|---|",
        f"| false aborts of identical versions, a whole rollout | ≤ 1% (alpha) | {share(wrong, len(runs))} |",
        f"| the same at the worst rate; under the worst condition | ≤ 1% (alpha) | {_worst(healthy, 0)}; {_worst(healthy, 1)} |",
        f"| healthy rollouts completed alone, from 100 requests/s | ≥ 99% | {share(completed, len(rich))} |",
        f"| the same on a noisy machine | – | {share(there, len(noisy))} |",
        f"| duration of a proven healthy rollout, × oracle p50 / p95 | ≤ 1.5 | {spread([_against_oracle(r) for r in proven], 2)} |",
        f"| faults of 3 × the margin and more found, from 100 requests/s | ≥ 99% | {_found_of(ills, near=False)} |",
        f"| faults of 1.5 to 3 × the margin found, from 100 requests/s | – | {_found_of(ills, near=True)} |",
        f"| the same of those that an oracle finds in the time | – | {_found_of(told, near=True)} |",
        f"| faults found at 10 requests/s; at 1, where most cannot be | – | {_found(faulty, 10)}; {_found(faulty, 1)} |",
        f"| faulty candidates of which every step was said to be proven, at any rate | – | {share(told_harmless, _count(faulty))} |",
        f"| precision: FAILs that are true and rightly named | ≥ 95% | {share(sum(named), len(named) + wrong)} |",
        f"| time to FAIL, × oracle p50 / p95 | ≤ 1.5 at the median | {spread([run.against_oracle for run, _ in failed], 2)} |",
        f"| seconds to FAIL p50 / p95 | – | {spread([float(run.total * WINDOW_SECONDS) for run, _ in failed], 0)} |",
        f"| requests harmed, × oracle p50 / p95 | ≤ 1.5 at the median | {spread([run.requests_against_oracle for run, _ in failed], 2)} |",
        f"| requests harmed p50 / p95 | – | {spread(harmed, 0)} |",
        f"| published worked examples of the sequential tests, largest difference | ≤ 1e-9 | {largest_difference():.0e} |",
        f"| CPU of a window of a usual rollout of 50 guards, {usual.metrics} metrics: fold + verdict | ≤ 5 ms | {_cpu(usual)} |",
        f"| the same where all 50 guards change, {cost.metrics} metrics: fold + verdict | ≤ 5 ms | {_cpu(cost)} |",
        f"| state of a metric | ≤ 2 KB | {cost.state_bytes:.0f} bytes |",
    ]


def _worst(healthy: Sequence[Cell], by: int) -> str:
    """The most false aborts of all rates (0) or conditions (1), each over all of the other."""
    alike: dict[object, list[Run]] = {}
    for cell in healthy:
        alike.setdefault(cell[by], []).extend(cell[2])
    counts = [(sum(run.outcome == "failed" for run in runs), len(runs)) for runs in alike.values()]
    return share(*max(counts, key=lambda count: count[0] / count[1]))


def _found_of(ills: Sequence[tuple[Run, Fault]], near: bool) -> str:
    found = [run.outcome == "failed" for run, fault in ills if fault.near == near]
    return share(sum(found), len(found))


def _found(faulty: Sequence[FaultCell], at: float) -> str:
    runs = [run for rps, *_, cell in faulty for run in cell if rps == at]
    return share(sum(run.outcome == "failed" for run in runs), len(runs))


def _count(faulty: Sequence[FaultCell]) -> int:
    return sum(len(cell) for *_, cell in faulty)


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
    return " / ".join(points(values, digits)) if values else "–"


def points(values: Sequence[float], digits: int) -> tuple[str, str]:
    """Median and 95th percentile, each by itself; empty where there is nothing."""
    if not values:
        return "", ""
    ordered = sorted(values)
    median, high = (f"{ordered[min(len(ordered) - 1, int(q * len(ordered)))]:.{digits}f}" for q in (0.5, 0.95))
    return median, high


def _against_oracle(run: Run) -> float:
    """Windows over the oracle's; a step that passed before the oracle would have counts as the oracle's own time."""
    return run.total / sum(o if o is not None else w for o, w in zip(run.oracle_windows, run.windows, strict=True))
