"""Numbers of a gate that no judge can work with, told where a policy is read: the judge itself would raise an error at every window."""

import math
from collections.abc import Callable, Iterator

from ctrlplane_stream.model.verdicts import HARM_METRICS, INSTANCES, LIMITED_METRICS, OUR_JUDGE, PROVEN_METRICS, GatePolicy, Metric


def _a_chance(value: float) -> bool:
    return 0 < value <= 1


def _a_share(value: float) -> bool:
    return 0 <= value <= 1


def _a_size(value: float) -> bool:
    return 0 <= value < math.inf


def _from_one(value: float) -> bool:
    return 1 <= value < math.inf


_RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("alpha", "false_pass"), _a_chance, "is a chance: above 0 (which no evidence could ever meet) and at most 1"),
    (("error_margin", "lost_margin"), _a_share, "is a share: 0 to 1 (0.01 is one in a hundred)"),
    (("latency_margin", "latency_slack_ms", "calls_margin", "baseline_margin_factor"), _a_size, "must be a number from 0 on"),
    (("minimum_windows", "minimum_samples", "soak_windows"), _a_size, "must be a number from 0 on"),
    (("sample_ratio_tolerance", "maximum_windows", "silent_windows"), _from_one, "must be a number from 1 on"),
)
"""Fields, what their values must be (NaN is nothing of it), and how that is said."""


def gate_problems(gate: GatePolicy) -> Iterator[tuple[str, str]]:
    """Each field that is out of its range, with a sentence that says the range."""
    for names, fits, said in _RANGES:
        for name in names:
            if not fits(getattr(gate, name)):
                yield name, f"{name} {said}"
    yield from _metric_problems(gate)
    judges = [judge.name for judge in gate.outside]
    if OUR_JUDGE in judges:
        yield "outside", f"outside: {OUR_JUDGE} is our own judge's name: its verdicts would count twice"
    if INSTANCES in judges:
        yield "outside", f"outside: {INSTANCES} is the name by which lost readiness is said: it stops a step always, and never says PASS"
    if len(set(judges)) < len(judges):
        yield "outside", "outside: a judge stands here twice, and only one of what it may do can be meant"
    if not 0 <= gate.warm_up < gate.maximum_windows:
        said = f"must be a number from 0 on, below maximum_windows ({gate.maximum_windows}): no latency would ever be judged"
        yield "warm_up_windows", f"warm_up_windows {said}"
    if gate.minimum_windows > gate.maximum_windows:
        yield "minimum_windows", f"minimum_windows is above maximum_windows ({gate.maximum_windows}): no step could ever be proven"


def _metric_problems(gate: GatePolicy) -> Iterator[tuple[str, str]]:
    asked = (("metrics", gate.metrics, HARM_METRICS, "fail a step"), ("proof", gate.proof, PROVEN_METRICS, "be proven harmless"))
    for field, named, able, what in (*asked, ("limits", [limit.metric for limit in gate.limits], LIMITED_METRICS, "have a limit")):
        for metric in named:
            if metric not in able:
                yield field, f"{field}: {metric} cannot {what}; these can: {', '.join(able)}"
    for limit in gate.limits:
        if not _a_size(limit.maximum):
            yield "limits", "limits: each maximum must be a number from 0 on"
        elif limit.metric is Metric.ERROR_RATIO and not _a_share(limit.maximum):
            yield (
                "limits",
                f"limits: the maximum of error_ratio is a share, 0 to 1 (0.05 is one in twenty), not {limit.maximum:g}",
            )
