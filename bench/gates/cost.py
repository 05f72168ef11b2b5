"""What a verdict costs: CPU time of folding a window and of saying what the state means, bytes of state.

Twice: for 50 guards that all change, with six metrics and latencies of their own each, as many as can be asked about; and for a rollout as
they are, one changed service among 50 guards, of which the others are asked what their roles ask.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from ctrlplane_stream.decision.judge import Baseline, ClosedWindow, begin, observe, sort_rows, verdict_of
from ctrlplane_stream.decision.judge.advance import advance
from ctrlplane_stream.model import sketch
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole
from ctrlplane_stream.model.windows import EdgeWindow, Exposure, ExposureWindow, ServiceWindow, WindowPart

GUARDS = 50
_LOOKS = 15


class Cost(NamedTuple):
    """CPU milliseconds at the median, and bytes of JSON state a metric."""

    fold_ms: float
    verdict_ms: float
    metrics: int
    state_bytes: float


def all_changed(names: list[str]) -> tuple[Guard, ...]:
    """Every guard is a changed service, one of them required."""
    return tuple(Guard(name, GuardRole.CHANGED, required=name == names[0]) for name in names)


def one_changed(names: list[str]) -> tuple[Guard, ...]:
    """One changed service, the entry points, five callers, eight callees, and collateral users of these for the rest."""
    changed, *others = names
    roles = [GuardRole.CALLER] * 5 + [GuardRole.CALLEE] * 8 + [GuardRole.COLLATERAL] * (GUARDS - 15)
    around = tuple(Guard(name, role) for name, role in zip(others, roles, strict=False))
    return (Guard(changed, GuardRole.CHANGED, required=True), Guard("", GuardRole.ENTRY, required=True), *around)


def measure(guards: Callable[[list[str]], tuple[Guard, ...]]) -> Cost:
    """The cost of one window after another with these guards."""
    names = [f"service-{number}" for number in range(GUARDS)]
    watching = guards(names)
    baseline = Baseline()
    rng = np.random.default_rng(5)
    pool = [sketch.of(rng.lognormal(10, 0.5, 400).tolist()) for _ in range(20)]
    for number in range(30):
        baseline = observe(baseline, sort_rows(_window(number, names, pool, rng), 0), ())
    asked = Assignment(
        rollout="r",
        environment="prod",
        step=0,
        attempt=1,
        changed=tuple(Change(guard.service, "#2", "#1") for guard in watching if guard.role is GuardRole.CHANGED),
        guards=watching,
        weight=0.1,
        weight_confirmed_at_ms=300_000,
        steps=4,
        entry_points=(names[1],),
    )
    state, folds, verdicts = begin(asked, baseline), [], []
    for number in range(30, 30 + _LOOKS):
        window = _window(number, names, pool, rng)
        began = time.process_time()
        state = advance(state, asked, window)
        folded = time.process_time()
        verdict = verdict_of(state, asked)
        folds.append(folded - began)
        verdicts.append(time.process_time() - folded)
    metrics = len(verdict.metrics)
    size = len(msgspec.json.encode(state)) / metrics
    return Cost(statistics.median(folds) * 1000, statistics.median(verdicts) * 1000, metrics, size)


def best(guards: Callable[[list[str]], tuple[Guard, ...]], times: int = 7) -> Cost:
    """The lowest of several medians: CPU time too grows with what else a machine does."""
    return min((measure(guards) for _ in range(times)), key=lambda cost: cost.fold_ms + cost.verdict_ms)


def _window(number: int, names: list[str], pool: list[sketch.Sketch], rng: np.random.Generator) -> ClosedWindow:
    edges: list[EdgeWindow] = []
    services: list[ServiceWindow] = []
    for name in names:
        for version, calls in (("#1", 360), ("#2", 40)):
            latency, gap = pool[rng.integers(20)], pool[rng.integers(20)]
            edges.append(EdgeWindow("front", name, EdgeKind.CALL, "#1", version, calls, 1, calls, 1, latency, latency, gap))
            edges.append(EdgeWindow(name, "db", EdgeKind.DATABASE, version, UNKNOWN_VERSION, calls, 0, calls, 0, latency))
            services.append(ServiceWindow(name, version, calls, 1, calls, 0, latency))
    entered = [(version, calls, pool[rng.integers(20)]) for version, calls in (("#1", 360), ("#2", 40))]
    exposures = tuple(ExposureWindow(names[1], names[0], v, Exposure.EXPOSED, calls, 1, latency) for v, calls, latency in entered)
    return ClosedWindow(number * 10, (WindowPart("prod", 0, number * 10, 0, tuple(edges), tuple(services), exposures),))
