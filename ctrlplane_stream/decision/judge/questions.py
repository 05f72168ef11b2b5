"""What is asked of each guard: its role fixes the metrics and what they are compared with, and the error budget is shared out evenly.

A *changed* service is compared by version in the same windows, and with its own past once the candidate has all the traffic. A *caller*
is compared by exposure at its entry point, or along its calls to the changed service; a *callee* by who calls it, and with its own past,
since an overload hurts all its callers alike; *collateral* with its own past; a *consumer* by the version that produced the message.
"""

import math
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ctrlplane_stream.model.verdicts import Assignment, Change, Comparison, Guard, GuardRole, Metric

MAX_EDGES = 6
"""Calls per request are judged on this many edges of a service; each has its own part of the metric's error budget."""

FIRST_PASS = 0.8
"""What the first pass through the steps may spend of the error budget: it loses 0.2 nats of some 10 against a rollout that never repeats
a step, and a second pass, which gets a tenth, needs a fifth more evidence."""

FOREMOST = 4
"""How many times the budget of another question one of a required guard has: most harm shows first at what was changed and at its entry
points. It gains them one nat of some ten where a system is large, and costs the others 0.4."""

REQUIRED_QUESTIONS = 9
"""Usually asked of required guards: six of one changed service, three of the entry points."""

ERRORS, P50, P99, GAP = Metric.ERROR_RATIO, Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP
CALLS, LOST = Metric.CALLS_PER_REQUEST, Metric.LOST_CALLS
VERSIONS, EXPOSURE, BASELINE = Comparison.VERSIONS, Comparison.EXPOSURE, Comparison.BASELINE


class Question(NamedTuple):
    """One metric of one guard, and what it is held against. ``arms`` names its arms in the state, ``key`` its evidence.

    ``margin`` is in the unit of the effect (a ratio's is the factor minus 1); ``proof`` says whether a PASS must prove it.
    """

    guard: Guard
    metric: Metric
    comparison: Comparison
    arms: str
    key: str
    margin: float
    proof: bool

    def threshold(self, level: float) -> float:
        """The log e-value that decides at this level."""
        return log_threshold(self.comparison, level)


def is_side_by_side(key: str) -> bool:
    """Whether a check's name in the state is that of a question (or one of its edges) about two arms in the same windows."""
    parts = key.split("|")
    return len(parts) >= 4 and parts[2] != BASELINE


def log_threshold(comparison: Comparison, level: float) -> float:
    """The log e-value that decides at a level. A past known only within bounds has spent half of the level on these."""
    return -math.log(level / 2 if comparison is BASELINE else level)


class Group(NamedTuple):
    """The questions about one pair of arms, and which latencies of these they ask for. ``services`` are those whose past they go by,
    ``sampled`` those whose failures tell how spans are kept, ``change`` is that of the guard itself, if it changes."""

    guard: Guard
    comparison: Comparison
    arms: str
    questions: tuple[Question, ...]
    services: tuple[str, ...]
    sampled: tuple[str, ...]
    latency: bool
    gap: bool
    change: Change | None


@lru_cache(maxsize=64)
def groups(assignment: Assignment) -> tuple[Group, ...]:
    """The questions of an assignment in their order, those about the same arms together."""
    found = []
    for arms, alike in groupby(questions(assignment), key=attrgetter("arms")):
        asked = tuple(alike)
        first, metrics = asked[0], {question.metric for question in asked}
        services = assignment.entry_points if first.guard.role is GuardRole.ENTRY else (first.guard.service,)
        calls_it = first.guard.role is GuardRole.CALLER and first.comparison is VERSIONS
        sampled = tuple(change.service for change in assignment.changed) if calls_it else services
        change = change_of(assignment, first.guard.service)
        latency, gap = not metrics.isdisjoint({P50, P99}), GAP in metrics
        found.append(Group(first.guard, first.comparison, arms, asked, services, sampled, latency, gap, change))
    return tuple(found)


@lru_cache(maxsize=64)
def questions(assignment: Assignment) -> tuple[Question, ...]:
    """Every question of an assignment, guards in their order. What the policy wants proven is asked; other metrics that it leaves out are
    not."""
    asked = []
    for guard in assignment.guards:
        for metric, comparison in _asked_of(guard, assignment):
            proof = guard.required and metric in assignment.policy.proof
            if proof or metric in assignment.policy.metrics:
                arms = f"{guard.role}|{guard.service}|{comparison}"
                asked.append(Question(guard, metric, comparison, arms, f"{arms}|{metric}", _margin(metric, comparison, assignment), proof))
    return tuple(asked)


class Budget(NamedTuple):
    """What one question may spend of alpha in one assignment: of a required guard, which has `FOREMOST` times as much, or another."""

    required: float
    other: float

    def of(self, guard: Guard) -> float:
        """A question's about this guard."""
        return self.required if guard.required else self.other


def budget_of(assignment: Assignment) -> Budget:
    """An assignment's part of alpha shared out over all its questions. An absolute limit is one too, and what it limits was changed."""
    asked, limits = questions(assignment), len(assignment.policy.limits) * len(assignment.changed)
    ours = limits + sum(question.guard.required for question in asked)
    each = alpha_of_assignment(assignment) / max(1.0, shares(ours, limits + len(asked) - ours))
    return Budget(each, each / FOREMOST)


def shares(required: int, others: int) -> float:
    """How many questions of required guards would have as much as all of these have."""
    return required + others / FOREMOST


def alpha_of_assignment(assignment: Assignment) -> float:
    """What one assignment may spend of alpha, so that all of a rollout's together never spend more, however often it climbs again.

    ``attempt`` counts the assignments of a rollout, retries included, from 1. As many as there are steps make a pass, and each step of a
    pass gets the same: the first pass has ``FIRST_PASS`` of alpha, pass r after it 1 / (r (r + 1)) of the rest, which sums to all of it.
    """
    steps = max(1, assignment.steps)
    repeated = max(0, assignment.attempt - 1) // steps
    share = FIRST_PASS if repeated == 0 else (1.0 - FIRST_PASS) / (repeated * (repeated + 1))
    return assignment.policy.alpha * share / steps


def needed(assignment: Assignment) -> tuple[Change, ...]:
    """The changed services that a PASS needs something of: those whose guard is required."""
    required = {guard.service for guard in assignment.guards if guard.required}
    return tuple(change for change in assignment.changed if change.service in required)


def change_of(assignment: Assignment, service: str) -> Change | None:
    """The change of a service, or None where it does not change."""
    return next((change for change in assignment.changed if change.service == service), None)


def alone(assignment: Assignment, service: str) -> bool:
    """Whether the candidate has no stable version beside it, so that only the past can be compared with."""
    change = change_of(assignment, service)
    return assignment.baking or assignment.weight >= 1.0 or (change is not None and change.stable is None)


def _asked_of(guard: Guard, assignment: Assignment) -> tuple[tuple[Metric, Comparison], ...]:
    full = assignment.baking or assignment.weight >= 1.0
    match guard.role:
        case GuardRole.CHANGED:
            by = BASELINE if alone(assignment, guard.service) else VERSIONS
            return ((ERRORS, by), (P50, by), (P99, by), (GAP, by), (CALLS, by), (LOST, BASELINE))
        case GuardRole.ENTRY:
            by = BASELINE if full else EXPOSURE
            return ((ERRORS, by), (P50, by), (P99, by))
        case GuardRole.CALLER:
            by = EXPOSURE if guard.service in assignment.entry_points else VERSIONS
            return (*_unless(full, ((ERRORS, by), (P50, by), (P99, by))), (ERRORS, BASELINE), (CALLS, BASELINE))
        case GuardRole.CALLEE:
            return (*_unless(full, ((ERRORS, VERSIONS), (P99, VERSIONS))), (ERRORS, BASELINE), (P50, BASELINE), (P99, BASELINE))
        case GuardRole.COLLATERAL:
            return ((ERRORS, BASELINE), (P50, BASELINE), (P99, BASELINE), (CALLS, BASELINE))
        case GuardRole.CONSUMER:
            return (*_unless(full, ((ERRORS, VERSIONS), (P50, VERSIONS), (P99, VERSIONS))), (ERRORS, BASELINE))


def _margin(metric: Metric, comparison: Comparison, assignment: Assignment) -> float:
    policy = assignment.policy
    factor = policy.baseline_margin_factor if comparison is BASELINE else 1.0
    match metric:
        case Metric.ERROR_RATIO:
            return policy.error_margin * factor
        case Metric.LOST_CALLS:
            return policy.lost_margin * min(1.0, assignment.weight)
        case Metric.CALLS_PER_REQUEST:
            return policy.calls_margin * factor
        case Metric.LATENCY_P50 | Metric.LATENCY_P99 | Metric.NETWORK_GAP:
            return policy.latency_margin * factor
        case Metric.SAMPLE_RATIO:
            return policy.sample_ratio_tolerance


def _unless(full: bool, pairs: tuple[tuple[Metric, Comparison], ...]) -> tuple[tuple[Metric, Comparison], ...]:
    return () if full else pairs
