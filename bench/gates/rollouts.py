"""Whole rollouts of the drawn system through the judge, with an oracle looking at the same counts."""

from dataclasses import dataclass, field, replace
from functools import cache

from bench.gates.oracle import Oracle, Truth, nats
from bench.gates.traffic import CALLEES, CANDIDATE, COLLATERAL, HEALTHY, STABLE, WINDOW_SECONDS, Condition, Fault, System
from ctrlplane_stream.decision.judge import Baseline, StepState, begin, follow, judge_window, observe, sort_rows
from ctrlplane_stream.decision.judge.questions import MAX_EDGES, Question, budget_of, questions
from ctrlplane_stream.model.verdicts import (
    Assignment,
    Change,
    GatePolicy,
    Guard,
    GuardRole,
    Metric,
    OnUnprovable,
    Verdict,
    VerdictStatus,
)

WEIGHTS = (0.05, 0.25, 0.5, 1.0)
BASELINE_WINDOWS = 45
PATIENCE = 2
"""A step that has no verdict after this many times the policy's maximum is held for a person."""

CHANGED = Guard("cart", GuardRole.CHANGED, required=True)
GUARDS = (
    CHANGED,
    Guard("", GuardRole.ENTRY, required=True),
    Guard("checkout", GuardRole.CALLER),
    Guard("frontend", GuardRole.CALLER),
    *(Guard(callee, GuardRole.CALLEE) for callee in CALLEES),
    *(Guard(service, GuardRole.COLLATERAL) for service in COLLATERAL),
    Guard("mail", GuardRole.CONSUMER),
)

_ERRORS = ("changed|cart|versions|error_ratio",)
_BOTH_LATENCIES = ("changed|cart|versions|latency_p50", "changed|cart|versions|latency_p99")
_OVERLOAD = tuple(
    f"{guard}|baseline|{metric}"
    for guard in ("callee|db", *(f"collateral|{service}" for service in COLLATERAL))
    for metric in ("latency_p50", "latency_p99")
)
PRIMARY = {
    "errors": _ERRORS,
    "latency p99": ("changed|cart|versions|latency_p99",),
    "latency median": _BOTH_LATENCIES,
    "network delay": ("changed|cart|versions|network_gap",),
    "CPU": _BOTH_LATENCIES,
    "missing calls": ("changed|cart|versions|calls_per_request|cart -call-> pricing",),
    "retry storm": ("changed|cart|versions|calls_per_request|cart -call-> stock",),
    "retries": ("changed|cart|versions|calls_per_request|cart -call-> stock",),
    "one endpoint": _ERRORS,
    "1 of 10 pods fails": _ERRORS,
    "death without spans": ("changed|cart|baseline|lost_calls",),
    "overload of a callee": _OVERLOAD,
}
"""Where the harm of each kind of fault shows first: the questions whose oracle is the yardstick."""

RIGHT = {
    "network delay": {Metric.NETWORK_GAP},
    "missing calls": {Metric.CALLS_PER_REQUEST},
    "retry storm": {Metric.CALLS_PER_REQUEST},
    "retries": {Metric.CALLS_PER_REQUEST},
    "death without spans": {Metric.LOST_CALLS, Metric.ERROR_RATIO},
    "errors": {Metric.ERROR_RATIO},
    "one endpoint": {Metric.ERROR_RATIO},
    "1 of 10 pods fails": {Metric.ERROR_RATIO},
}
"""The metrics that name a fault rightly; a slower candidate shows in any latency."""
_LATENCY = {Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP}


@dataclass
class Run:
    """One rollout: how it ended, in how many windows of each step, and what the oracle needed on the same counts.

    ``requests`` are the candidate's so far, after each window.
    """

    outcome: str
    step: int
    windows: list[int] = field(default_factory=list)
    proven: list[bool] = field(default_factory=list)
    oracle_windows: list[int | None] = field(default_factory=list)
    oracle_fail: int | None = None
    requests: list[int] = field(default_factory=list)
    verdict: Verdict | None = None

    @property
    def total(self) -> int:
        """Windows of all steps."""
        return sum(self.windows)

    @property
    def against_oracle(self) -> float:
        """Windows until FAIL over the oracle's; 1 where the oracle had not found it yet."""
        return self.total / (self.oracle_fail or self.total)

    @property
    def requests_against_oracle(self) -> float:
        """Candidate requests until FAIL over the oracle's."""
        return self.requests[-1] / max(1, self.requests[(self.oracle_fail or self.total) - 1])

    def right(self, fault: Fault) -> bool:
        """Whether the metric of the FAIL names the fault."""
        return (
            self.verdict is not None and self.verdict.culprit is not None and self.verdict.culprit.metric in RIGHT.get(fault.kind, _LATENCY)
        )


def assignment(step: int, confirmed_window: int, policy: GatePolicy) -> Assignment:
    """Twelve guards on the changed service's surroundings, step ``step`` of four."""
    return Assignment(
        rollout="cart-2",
        environment="prod",
        step=step,
        attempt=step + 1,
        changed=(Change("cart", CANDIDATE, STABLE),),
        guards=GUARDS,
        weight=WEIGHTS[step],
        weight_confirmed_at_ms=confirmed_window * WINDOW_SECONDS * 1000,
        steps=len(WEIGHTS),
        window_seconds=WINDOW_SECONDS,
        entry_points=("frontend",),
        policy=policy,
    )


def run(rps: float, condition: Condition, fault: Fault, seed: int, policy: GatePolicy | None = None) -> Run:
    """One rollout from its baseline to completion, FAIL or a hold."""
    policy = policy or GatePolicy()
    system = System(rps, condition, seed)
    baseline = Baseline()
    for number in range(BASELINE_WINDOWS):
        baseline = observe(baseline, sort_rows(system.window(number, 0.0), 0), ())
    result, clock, state, carried = Run("completed", 0), BASELINE_WINDOWS, None, dict[str, float]()
    for step in range(len(WEIGHTS)):
        result.step = step
        clock, state, verdict = _step(system, baseline, state, carried, step, clock, fault, policy, result)
        result.verdict = verdict
        if verdict.status is not VerdictStatus.PASS:
            result.outcome = "failed" if verdict.status is VerdictStatus.FAIL else "held"
            return result
        result.proven.append(verdict.proven)
    return result


def _step(
    system: System,
    baseline: Baseline,
    before: StepState | None,
    carried: dict[str, float],
    step: int,
    clock: int,
    fault: Fault,
    policy: GatePolicy,
    result: Run,
) -> tuple[int, StepState, Verdict]:
    asked = assignment(step, clock, policy)
    state = begin(asked, baseline) if before is None else follow(before, asked, baseline)
    oracles = _oracles(system.condition, fault, asked, step, policy)
    for key, oracle in oracles:
        oracle.log = carried.get(key, 0.0)
    for number in range(1, PATIENCE * policy.maximum_windows + 1):
        closed = system.window(clock, WEIGHTS[step], fault)
        clock += 1
        state, verdict = judge_window(state, asked, closed)
        result.requests.append(system.candidate_requests)
        for key, oracle in oracles:
            oracle.look(state, number, key)
        if verdict.status in {VerdictStatus.PASS, VerdictStatus.FAIL}:
            break
    result.windows.append(number)
    crossed = [oracle.crossed_at for _, oracle in oracles]
    if fault is HEALTHY:
        result.oracle_windows.append(None if None in crossed else max(policy.minimum_windows, *(c for c in crossed if c is not None)))
    elif result.oracle_fail is None and any(crossed):
        result.oracle_fail = result.total - number + min(c for c in crossed if c is not None)
    if fault is not HEALTHY:
        carried |= {key: oracle.log for key, oracle in oracles}
    return clock, state, verdict


def _oracles(condition: Condition, fault: Fault, asked: Assignment, step: int, policy: GatePolicy) -> list[tuple[str, Oracle]]:
    by_key = {question.key: question for question in questions(asked)}
    if fault is HEALTHY:
        owed = [q for q in by_key.values() if q.guard.required and q.metric in policy.proof]
        return [(q.key, _oracle(q, q.key, condition, fault, step, policy, nats(policy.false_pass), True)) for q in owed]
    budget = budget_of(asked)
    keys = [key.replace("|versions|", "|baseline|") if WEIGHTS[step] == 1.0 else key for key in PRIMARY[fault.kind]]
    found = []
    for key in keys:
        question = by_key.get(key) or by_key.get("|".join(key.split("|")[:4]))
        if question is not None and (question.metric is not Metric.CALLS_PER_REQUEST or WEIGHTS[step] < 1.0):
            part = 2 * MAX_EDGES if question.metric is Metric.CALLS_PER_REQUEST else 1
            alpha = budget.of(question.guard)
            found.append((key, _oracle(question, key, condition, fault, step, policy, nats(alpha / part), False)))
    return found


def _oracle(
    question: Question, key: str, condition: Condition, fault: Fault, step: int, policy: GatePolicy, wanted: float, safety: bool
) -> Oracle:
    known = truth(key, condition, fault, step)
    return Oracle(question, known, policy, wanted, safety, WEIGHTS[step], _noise(question, known, condition))


def _noise(question: Question, known: Truth, condition: Condition) -> float:
    """How many times as much the counts of a question scatter as independent ones that are all seen."""
    match question.metric:
        case Metric.CALLS_PER_REQUEST:
            return 1.0 + min(known.stable, known.candidate) if condition.sampled == "spans" else 1.0
        case Metric.LOST_CALLS:
            return 1.0
        case metric:
            return condition.bunched(metric is Metric.ERROR_RATIO)


@cache
def _pilot(condition: Condition, fault: Fault, step: int) -> StepState:
    """A long look at much traffic, from which true shares are read: 1,000 requests a second for 60 windows, on a machine without spells."""
    system, baseline = System(1000.0, replace(condition, noisy=False), 99), Baseline()
    for number in range(BASELINE_WINDOWS):
        baseline = observe(baseline, sort_rows(system.window(number, 0.0), 0), ())
    policy = GatePolicy(maximum_windows=10_000, on_unprovable=OnUnprovable.HOLD)
    asked = assignment(step, BASELINE_WINDOWS, policy)
    state = begin(asked, baseline)
    for number in range(60):
        state, _ = judge_window(state, asked, system.window(BASELINE_WINDOWS + number, WEIGHTS[step], fault))
    return state


TRUTHS: dict[str, Truth] = {}
"""What was read from pilots, by condition, fault, step and question: a stopped measurement goes on with these."""


def truth(key: str, condition: Condition, fault: Fault, step: int) -> Truth:
    """The true shares behind a question, to about a thousandth of themselves."""
    name = f"{condition.name}|{fault.name}|{step}|{key}"
    if name not in TRUTHS:
        TRUTHS[name] = _read(key, condition, fault, step)
    return TRUTHS[name]


def _read(key: str, condition: Condition, fault: Fault, step: int) -> Truth:
    check = _pilot(condition, fault, step).checks[key]
    candidate = check.candidate.events / check.candidate.total
    if "|baseline|" in key:
        healthy = _pilot(condition, HEALTHY, step).checks[key].candidate
        return Truth(_stable_share(key, healthy.events / healthy.total), candidate)
    return Truth(check.stable.events / check.stable.total, candidate)


def _stable_share(key: str, healthy: float) -> float:
    """The share that the null allows before the margin: what lies above the quantile for tails, the healthy share for the rest."""
    if key.endswith("latency_p50"):
        return 0.5
    return 0.01 if key.endswith("latency_p99") else healthy
