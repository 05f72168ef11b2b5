"""Which version carries the harm, on which edge, and whether another change of the same time could explain it."""

import math
from collections.abc import Container, Iterable, Mapping

from ctrlplane_stream.decision.judge.state import StepState, edge_named
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.verdicts import (
    Assignment,
    Change,
    Comparison,
    Concurrent,
    Culprit,
    GuardRole,
    Metric,
    MetricEvidence,
    VerdictStatus,
)

_SUSPICIOUS = 0.01
"""A p-value from which a changed service counts as harmed itself, where somebody certainly is."""

_CLOSENESS = (GuardRole.CHANGED, GuardRole.CALLEE, GuardRole.CONSUMER, GuardRole.CALLER, GuardRole.ENTRY, GuardRole.COLLATERAL)
"""Where several guards fail at once the one nearest to the change names the cause."""


def worst(found: Iterable[MetricEvidence]) -> MetricEvidence | None:
    """The failed evidence nearest to the change, and of those the one furthest beyond its threshold; None where nothing failed."""
    failed = [evidence for evidence in found if evidence.status is VerdictStatus.FAIL]
    return min(failed, key=lambda e: (_CLOSENESS.index(e.role), -_beyond(e)), default=None)


def culprit_of(fail: MetricEvidence, found: tuple[MetricEvidence, ...], assignment: Assignment, edges: tuple[EdgeKey, ...] = ()) -> Culprit:
    """Who carries a harm. Comparisons by version or exposure in the same windows rule other changes out; before/after ones cannot.

    Where a changed service calls another changed one that is harmed too, the harm is the callee's: it is followed down ``edges``.
    """
    change = _changed(fail, found, assignment)
    deep = _deepest(change.service, found, assignment, edges) if fail.role is GuardRole.CHANGED else None
    if deep is not None:
        return Culprit(deep.guard, _candidate(assignment, deep.guard), deep.name, deep.edge)
    explained = _concurrent(fail, assignment) if fail.comparison is Comparison.BASELINE else None
    return Culprit(change.service, change.candidate, fail.name, fail.edge or _edge(fail, found, change), explained)


def among(
    culprit: Culprit, found: tuple[MetricEvidence, ...], assignment: Assignment, beside: Mapping[str, tuple[MetricEvidence, ...]]
) -> Culprit | None:
    """Whom a before/after harm belongs to where others changed at the time: to the one whose own edges or arrivals are harmed; to nobody
    where those of none are.

    ``found`` is the evidence of the rollout that fails, ``beside`` that of the others under judgement in the same window, by rollout.
    """
    if culprit.explained_by is None or _own_harm(found, {change.service for change in assignment.changed}):
        return culprit
    harmed = [
        (evidence.e_value, other, evidence)
        for other in assignment.concurrent
        for evidence in _own_harm(beside.get(other.rollout, ()), {other.service})
    ]
    if not harmed:
        return None
    _, other, evidence = max(harmed, key=lambda each: each[0])
    return Culprit(other.service, other.version, evidence.name, evidence.edge)


def edges_of(state: StepState) -> tuple[EdgeKey, ...]:
    """The edges that were seen on the changed services, from the totals kept for blame, and those of before the rollout."""
    names = {name for key, check in state.checks.items() if key.startswith(f"{GuardRole.CHANGED}|") for name in check.edges}
    names |= {name for past in state.references.values() for name in past.totals().calls}
    return tuple(sorted(edge_named(name) for name in names))


def _deepest(service: str, found: tuple[MetricEvidence, ...], assignment: Assignment, edges: tuple[EdgeKey, ...]) -> MetricEvidence | None:
    """The strongest evidence of the harmed service furthest down the calls from ``service``; None where no callee is harmed."""
    harmed = {evidence.guard: evidence for evidence in _own_harm(found, {change.service for change in assignment.changed})}
    visited, at = {service}, service
    while True:
        below = [edge.callee for edge in edges if edge.caller == at and edge.callee in harmed and edge.callee not in visited]
        if not below:
            return harmed[at] if at != service else None
        at = max(below, key=lambda callee: harmed[callee].e_value)
        visited.add(at)


def _own_harm(found: Iterable[MetricEvidence], changed: Container[str]) -> list[MetricEvidence]:
    """What seems harmed of changed services themselves, the strongest last."""
    own = [
        evidence
        for evidence in found
        if evidence.role is GuardRole.CHANGED
        and evidence.guard in changed
        and evidence.name is not Metric.SAMPLE_RATIO
        and evidence.p_value <= _SUSPICIOUS
        and not evidence.pre_existing
    ]
    return sorted(own, key=lambda evidence: evidence.e_value)


def _candidate(assignment: Assignment, service: str) -> str:
    return next(change.candidate for change in assignment.changed if change.service == service)


def _beyond(evidence: MetricEvidence) -> float:
    return math.log(evidence.e_value) - math.log(evidence.threshold)


def _changed(fail: MetricEvidence, found: Iterable[MetricEvidence], assignment: Assignment) -> Change:
    """The change that the harm belongs to: its own service's, the one on the failed edge, or the one whose own evidence is strongest."""
    ends = (fail.guard,) if fail.edge is None else (fail.guard, fail.edge.caller, fail.edge.callee)
    changes = {change.service: change for change in assignment.changed}
    for service in ends:
        if service in changes:
            return changes[service]
    strength = {evidence.guard: evidence.e_value for evidence in sorted(found, key=lambda e: e.e_value)}
    return max(assignment.changed, key=lambda change: strength.get(change.service, 0.0))


def _edge(fail: MetricEvidence, found: Iterable[MetricEvidence], change: Change) -> EdgeKey | None:
    """For a guard that is not on the change itself: the edge between the two, where one was seen."""
    if fail.role is GuardRole.CHANGED:
        return None
    pairs = ((change.service, fail.guard), (fail.guard, change.service))
    return next((e.edge for e in found if e.edge is not None and (e.edge.caller, e.edge.callee) in pairs), None)


def _concurrent(fail: MetricEvidence, assignment: Assignment) -> Concurrent | None:
    """Another change that could explain it: one of the failed guard itself before any other."""
    own = next((other for other in assignment.concurrent if other.service == fail.guard), None)
    return own or next(iter(assignment.concurrent), None)
