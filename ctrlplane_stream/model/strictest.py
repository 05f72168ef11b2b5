"""One policy for a set of services that each have their own: line by line the strictest of them.

What a service's policy promises about it (a person's word, a time to watch, a time to drain, a window to move in) must hold also
where it moves together with others. The steps are those of all, so that none is given more at once than it asks for, and each is left by
the rules of whoever has it. Times that something is given to come are the longest of all, for what is slow alone is slow in company.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, TypeVar

from msgspec.structs import replace

from ctrlplane_stream.model.policy import MaintenanceWindow, OnDrift, Policy, Step, Unsure
from ctrlplane_stream.model.verdicts import GatePolicy, OnUnprovable, OutsideJudge

NEVER = (MaintenanceWindow((), 0, 1),)
"""What is left of maintenance windows that have no minute in common."""

_LENIENT_FIRST: dict[type, tuple[Any, ...]] = {
    Unsure: (Unsure.SOAK, Unsure.HOLD, Unsure.ABORT),
    OnDrift: (OnDrift.RESTORE, OnDrift.HOLD),
    OnUnprovable: (OnUnprovable.SOAK, OnUnprovable.APPROVAL, OnUnprovable.HOLD),
}
_LEAST_OF_POLICIES = ("blind_limit_seconds", "lease_seconds", "hold_deadline_seconds")
_MOST_OF_POLICIES = (
    "bake_seconds",
    "bake_windows",
    "ready_timeout_seconds",
    "drain_seconds",
    "drain_limit_seconds",
    "retention_seconds",
    "lost_actuator_seconds",
    "hold_after_revert_seconds",
)
_STRICT_OF_POLICIES = ("on_no_data", "on_unprovable", "on_unknown_service", "on_lease_expired", "on_drift")
_LEAST_OF_GATES = (
    "alpha",
    "false_pass",
    "error_margin",
    "latency_margin",
    "latency_slack_ms",
    "calls_margin",
    "lost_margin",
    "baseline_margin_factor",
    "sample_ratio_tolerance",
    "silent_windows",
)
_MOST_OF_GATES = ("minimum_windows", "minimum_samples", "maximum_windows", "soak_windows")
T = TypeVar("T")


def strictest(first: Policy, others: Sequence[Policy]) -> Policy:
    """The strictest of all in each line, with the steps of all; ``supersede`` and how instances are exchanged are of the ``first``."""
    every = (first, *(each for each in others if each != first))
    if len(every) == 1:
        return first
    budgets = [each.exposure_budget_requests for each in every if each.exposure_budget_requests is not None]
    return replace(
        first,
        **_merged(every, _LEAST_OF_POLICIES, min),
        **_merged(every, _MOST_OF_POLICIES, max),
        **_merged(every, _STRICT_OF_POLICIES, _strict),
        on_unprovable_bake=_strict([each.unprovable_bake for each in every]),
        steps=_ladder([each.steps for each in every]),
        gate=_gate([each.gate for each in every]),
        exposure_budget_requests=min(budgets, default=None),
        auto_promote=all(each.auto_promote for each in every),
        maintenance=_in_common([each.maintenance for each in every if each.maintenance]),
    )


def _merged(every: Sequence[object], names: Sequence[str], choose: Callable[[list[Any]], Any]) -> dict[str, Any]:
    return {name: choose([getattr(each, name) for each in every]) for name in names}


def _strict(answers: Sequence[T]) -> T:
    order = _LENIENT_FIRST[type(answers[0])]
    return max(answers, key=order.index)


def _ladder(every: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    """The steps of all. Each may last as long as any of them lets its first step with as much weight last."""
    found = []
    for weight in sorted({step.weight for steps in every for step in steps}):
        own = as_one(weight, [step for steps in every for step in steps if step.weight == weight])
        patience = [next((step for step in steps if step.weight >= weight), steps[-1]).max_seconds for steps in every]
        found.append(replace(own, max_seconds=max(patience)))
    return tuple(found)


def as_one(weight: int, steps: Sequence[Step]) -> Step:
    """One step in the place of these, with the strictest rules of any; at least one."""
    return Step(
        weight,
        min_seconds=max(step.min_seconds for step in steps),
        max_seconds=max(step.max_seconds for step in steps),
        min_windows=max(step.min_windows for step in steps),
        approval=any(step.approval for step in steps),
    )


def _gate(every: Sequence[GatePolicy]) -> GatePolicy:
    return replace(
        every[0],
        **_merged(every, _LEAST_OF_GATES, min),
        **_merged(every, _MOST_OF_GATES, max),
        warm_up_windows=max(every, key=lambda each: each.warm_up).warm_up_windows,
        metrics=_all_of([each.metrics for each in every]),
        proof=_all_of([each.proof for each in every]),
        limits=_all_of([each.limits for each in every]),
        on_unprovable=_strict([each.on_unprovable for each in every]),
        outside=_outside([each.outside for each in every]),
    )


def _all_of(lists: Sequence[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(each for some in lists for each in some))


def _outside(lists: Sequence[tuple[OutsideJudge, ...]]) -> tuple[OutsideJudge, ...]:
    """Every judge that one of them hears: any may give it a veto or wait for it, and only all together let it approve."""
    found = []
    for name in dict.fromkeys(judge.name for some in lists for judge in some):
        known = [judge for some in lists for judge in some if judge.name == name]
        found.append(
            OutsideJudge(
                name,
                may_veto=any(judge.may_veto for judge in known),
                may_approve=len(known) == len(lists) and all(judge.may_approve for judge in known),
                required=any(judge.required for judge in known),
            )
        )
    return tuple(found)


def _in_common(lists: Sequence[tuple[MaintenanceWindow, ...]]) -> tuple[MaintenanceWindow, ...]:
    """The weekly times that lie in a window of each."""
    common: tuple[MaintenanceWindow, ...] = lists[0] if lists else ()
    for windows in lists[1:]:
        met = [_meet(one, two) for one, two in product(common, windows)]
        common = tuple(dict.fromkeys(window for window in met if window is not None)) or NEVER
    return common


def _meet(one: MaintenanceWindow, two: MaintenanceWindow) -> MaintenanceWindow | None:
    days = tuple(day for day in one.weekdays if day in two.weekdays)
    begin, end = max(one.from_minute, two.from_minute), min(one.to_minute, two.to_minute)
    return MaintenanceWindow(days, begin, end) if days and begin < end else None
