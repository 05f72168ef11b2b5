"""From the state to the evidence a person reads: values, effect, interval, e-value and p-value of every question."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.advance import arrivals_key, limit_key
from ctrlplane_stream.decision.judge.baseline import QUANTILES
from ctrlplane_stream.decision.judge.beside import explains
from ctrlplane_stream.decision.judge.histograms import NOTHING, Histogram, quantile_bounds
from ctrlplane_stream.decision.judge.mixes import unlike
from ctrlplane_stream.decision.judge.new_calls import NewCall, new_calls
from ctrlplane_stream.decision.judge.questions import (
    MAX_EDGES,
    Group,
    Question,
    alpha_of_assignment,
    budget_of,
    groups,
    log_threshold,
    questions,
)
from ctrlplane_stream.decision.judge.state import CheckState, StepState, edge_named, name_of_edge, past_of
from ctrlplane_stream.decision.judge.witnesses import cleared
from ctrlplane_stream.decision.stats.harm import log_harm
from ctrlplane_stream.decision.stats.intervals import difference_of_shares, of_level, ratio_of_rates
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.verdicts import (
    Arm,
    Assignment,
    Change,
    Comparison,
    Guard,
    GuardRole,
    Limit,
    Metric,
    MetricEvidence,
    VerdictStatus,
)

_TWO_SIDED = math.log(2.0)
_LARGEST = 700.0
_NEW = CheckState()
_NO_ARM = Arm()
_PRE_EXISTING_REQUESTS = 30
_UNLIKE = "its callers ask the two versions in unlike proportions, and may ask for other things: it is not known for whom it makes a call"

Interval = tuple[float | None, float | None]


class _Level(NamedTuple):
    """What a part of an error budget asks for: the log e-value and the e-value that decide, and the width of intervals."""

    alpha: float
    log_threshold: float
    threshold: float
    of_bounds: tuple[float, float]


@lru_cache(maxsize=256)
def _level(comparison: Comparison, alpha: float) -> _Level:
    threshold = log_threshold(comparison, alpha)
    return _Level(alpha, threshold, math.exp(threshold), of_level(alpha / 2))


def findings(state: StepState, assignment: Assignment) -> tuple[MetricEvidence, ...]:
    """The evidence on every question, in the order of the guards, then sample ratios and limits."""
    budget = budget_of(assignment)
    found: list[MetricEvidence] = []
    for group in groups(assignment):
        _of_group(group, state, assignment, budget.of(group.guard), found)
    for number, evidence in enumerate(found):
        if evidence.status is VerdictStatus.FAIL:
            accused = state.checks.get(_check_of(evidence), _NEW)
            found[number] = cleared(_excused(evidence, accused, state, assignment), accused, state, assignment)
    for change in assignment.changed:
        found.extend(_of_change(change, state, assignment, budget.required))
    found.extend(_new_call(call, assignment) for call in new_calls(state, assignment))
    return tuple(found)


def _check_of(evidence: MetricEvidence) -> str:
    """How the check behind an evidence is named in the state."""
    key = f"{evidence.role}|{evidence.guard}|{evidence.comparison}|{evidence.name}"
    return f"{key}|{name_of_edge(evidence.edge)}" if evidence.name is Metric.CALLS_PER_REQUEST and evidence.edge is not None else key


def _excused(evidence: MetricEvidence, accused: CheckState, state: StepState, assignment: Assignment) -> MetricEvidence:
    """The evidence of a check, or the same without FAIL where stable does beside the candidate what is held against the past, or others ask
    the candidate than ask stable."""
    if evidence.comparison is Comparison.VERSIONS and evidence.name is Metric.CALLS_PER_REQUEST and unlike(evidence.guard, state):
        return replace(evidence, status=VerdictStatus.INCONCLUSIVE, missing=_UNLIKE)
    guard = Guard(evidence.guard, evidence.role)
    if evidence.comparison is not Comparison.BASELINE or not explains(guard, evidence.name, evidence.margin, accused, state, assignment):
        return evidence
    reason = "pre-existing: the stable version beside the candidate explains it"
    return replace(evidence, status=VerdictStatus.INCONCLUSIVE, pre_existing=True, missing=reason)


def _of_group(group: Group, state: StepState, assignment: Assignment, alpha: float, into: list[MetricEvidence]) -> None:
    """The evidence on the questions of a group, in their order."""
    latencies = _Latencies(group, state)
    level, proof = _level(group.comparison, alpha), _level(group.comparison, assignment.policy.false_pass)
    for question in group.questions:
        proven_at = proof if question.proof else None
        if question.metric is not Metric.CALLS_PER_REQUEST:
            into.append(_finding(question, state.checks.get(question.key, _NEW), level, proven_at, None, latencies))
        elif named := state.calls.get(question.key, ()):
            each = _level(group.comparison, alpha / MAX_EDGES)
            for name in named:
                check = state.checks[f"{question.key}|{name}"]
                into.append(_finding(question, check, each, proven_at, edge_named(name), latencies))
        else:
            into.append(_finding(question, _NEW, level, proven_at, None, latencies))


class _Latencies:
    """The latencies of a group's arms, and the gaps between client and server: found once, if they are asked for."""

    __slots__ = ("_found", "_group", "_state")

    def __init__(self, group: Group, state: StepState) -> None:
        self._group, self._state = group, state
        self._found: dict[str, tuple[Histogram, Histogram]] = {}

    def of(self, gap: bool) -> tuple[Histogram, Histogram]:
        """The candidate's, and those that they are held against."""
        end = "|gap" if gap else ""
        found = self._found.get(end)
        if found is None:
            found = self._found[end] = self._both(end)
        return found

    def _both(self, end: str) -> tuple[Histogram, Histogram]:
        group, latencies = self._group, self._state.latencies
        ours = latencies.get(f"{group.arms}|candidate{end}", NOTHING)
        if group.comparison is not Comparison.BASELINE:
            return ours, latencies.get(f"{group.arms}|stable{end}", NOTHING)
        totals = past_of(self._state, group.services)
        return ours, totals.gap if end else totals.latency


def _finding(
    question: Question, check: CheckState, level: _Level, proof: _Level | None, edge: EdgeKey | None, latencies: _Latencies
) -> MetricEvidence:
    log_e = harm_of(check)
    stable, candidate, effect, interval = _numbers(question, check, level, latencies)
    return MetricEvidence(  # by position, a third of the time: some hundred are made for a verdict
        question.metric,
        question.guard.service,
        question.guard.role,
        question.comparison,
        edge or (_worst_edge(check) if check.edges else None),
        stable,
        candidate,
        effect,
        interval,
        question.margin,
        math.exp(min(_LARGEST, log_e)),
        math.exp(-log_e),  # the p-value, at most 1: the highest reached is not below 0
        level.threshold,
        None if proof is None else math.exp(min(_LARGEST, check.evidence.best_safety)),
        None if proof is None else proof.threshold,
        _status(check, log_e >= level.log_threshold, proof),
        check.windows,
        None if check.windows else _missing(question, check),
    )


def harm_of(check: CheckState) -> float:
    """The largest log e-value for harm that was reached; of a two-sided question, of the worse side at half the weight."""
    if check.opposite is None:
        return check.evidence.best_harm
    return max(0.0, max(check.evidence.best_harm, check.opposite.best_harm) - _TWO_SIDED)


def doubted(state: StepState, assignment: Assignment, found: Iterable[MetricEvidence]) -> MetricEvidence | None:
    """The evidence that speaks loudest for harm as it stands now, if loud enough to deny a PASS that nothing proves and not stable's own
    doing; else None.

    Unlike a FAIL this may pass again: it looks at the capital of today, not at the highest ever.
    """
    loud = -math.log(assignment.policy.false_pass)
    by_key = {question.key: question for question in questions(assignment)}
    standing: dict[tuple[str, GuardRole, Metric, Comparison], float] = {}
    for key, check in state.checks.items():
        question = by_key.get("|".join(key.split("|")[:4]))
        if question is None or not check.windows or harm_of(check) < loud or (nats := _standing(check)) < loud:
            continue
        against_past = question.comparison is Comparison.BASELINE
        if not (against_past and explains(question.guard, question.metric, question.margin, check, state, assignment)):
            name = (question.guard.service, question.guard.role, question.metric, question.comparison)
            standing[name] = max(standing.get(name, 0.0), nats)
    worst = max(standing.items(), key=lambda item: item[1], default=None)
    if worst is None:
        return None
    alike = [e for e in found if (e.guard, e.role, e.name, e.comparison) == worst[0]]
    return max(alike, key=lambda e: e.e_value, default=None)


def _standing(check: CheckState) -> float:
    if check.opposite is None:
        return log_harm(check.evidence)
    return max(log_harm(check.evidence), log_harm(check.opposite)) - _TWO_SIDED


def _status(check: CheckState, harmed: bool, proof: _Level | None) -> VerdictStatus:
    if harmed:
        return VerdictStatus.FAIL
    if check.windows == 0:
        return VerdictStatus.NO_DATA
    if proof is not None and check.evidence.best_safety >= proof.log_threshold:
        return VerdictStatus.PASS
    return VerdictStatus.INCONCLUSIVE


def _numbers(question: Question, check: CheckState, level: _Level, latencies: _Latencies) -> tuple[Arm, Arm, float | None, Interval | None]:
    if check.windows == 0:
        return _NO_ARM, _NO_ARM, None, None
    if question.metric in QUANTILES:
        return _of_latency(question, check, level, latencies)
    candidate, stable = check.candidate, check.stable
    ours = Arm(candidate.events, candidate.total, candidate.events / candidate.total if candidate.total else None)
    theirs = Arm(stable.events, stable.total, stable.events / stable.total if stable.total else None)
    if candidate.total <= 0 or stable.total <= 0:
        return theirs, ours, None, None
    pair = (candidate.events, candidate.total), (stable.events, stable.total)
    design = check.design_effect
    if question.metric is Metric.CALLS_PER_REQUEST:
        ratio = candidate.events / candidate.total / (stable.events / stable.total) if stable.events else None
        return theirs, ours, ratio, ratio_of_rates(*pair, level.alpha, design)
    effect = candidate.events / candidate.total - stable.events / stable.total
    return theirs, ours, effect, difference_of_shares(*pair, level.alpha, 0.01, design)


def _of_latency(
    question: Question, check: CheckState, level: _Level, latencies: _Latencies
) -> tuple[Arm, Arm, float | None, Interval | None]:
    q = QUANTILES[question.metric]
    ours, theirs = latencies.of(question.metric is Metric.NETWORK_GAP)
    design = check.design_effect
    nats, tuning = level.of_bounds
    c_total, c_low, c, c_high = quantile_bounds(ours, q, nats, tuning, design)
    s_total, s_low, s, s_high = quantile_bounds(theirs, q, nats, tuning, design)
    stable, candidate = Arm(check.stable.events, float(s_total), s), Arm(check.candidate.events, float(c_total), c)
    if not c or not s:
        return stable, candidate, None, None
    low = c_low / s_high if c_low is not None and s_high else None
    high = c_high / s_low if c_high is not None and s_low else None
    return stable, candidate, c / s, (low, high)


def _worst_edge(check: CheckState) -> EdgeKey | None:
    """The edge with the most failures beyond what stable's share would give."""
    if len(check.edges) <= 1:
        return edge_named(next(iter(check.edges))) if check.edges else None
    share = check.stable.events / check.stable.total if check.stable.total else 0.0

    def excess(name: str) -> float:
        failed, requests, *_ = check.edges[name]
        return failed - share * requests

    return edge_named(max(check.edges, key=excess))


def _missing(question: Question, check: CheckState) -> str:
    """Why there is no evidence yet."""
    if question.comparison is Comparison.BASELINE and check.bounds is None:
        return "no baseline from before the rollout"
    if question.metric in QUANTILES and check.tail is None:
        return "too few latencies of the stable version yet"
    if question.comparison is Comparison.EXPOSURE:
        return "no window yet in which requests at the entry points stood for both versions"
    return "no window yet in which both sides had requests"


def _of_change(change: Change, state: StepState, assignment: Assignment, alpha: float) -> Iterator[MetricEvidence]:
    check = state.checks.get(arrivals_key(change))
    if check is not None:
        yield _sample_ratio(change, check, assignment)
    for limit in assignment.policy.limits:
        check = state.checks.get(limit_key(change, limit))
        if check is not None:
            yield _limit(change, limit, check, alpha)


def _sample_ratio(change: Change, check: CheckState, assignment: Assignment) -> MetricEvidence:
    log_e, alpha = max(0.0, _standing(check)), alpha_of_assignment(assignment)
    share = check.candidate.events / check.candidate.total if check.candidate.total else None
    return MetricEvidence(
        name=Metric.SAMPLE_RATIO,
        guard=change.service,
        role=GuardRole.CHANGED,
        comparison=Comparison.VERSIONS,
        stable=Arm(assignment.weight, 1.0, assignment.weight),
        candidate=Arm(check.candidate.events, check.candidate.total, share),
        effect=None if share is None else share / assignment.weight,
        margin=assignment.policy.sample_ratio_tolerance,
        e_value=math.exp(min(_LARGEST, log_e)),
        p_value=min(1.0, math.exp(-log_e)),
        threshold=1.0 / alpha,
        status=VerdictStatus.INCONCLUSIVE,
        windows=check.windows,
    )


def _new_call(call: NewCall, assignment: Assignment) -> MetricEvidence:
    log_e, counts = call.check.evidence.best_harm, call.check.candidate
    return MetricEvidence(
        name=Metric.ERROR_RATIO,
        guard=call.edge.callee,
        role=GuardRole.CALLEE,
        comparison=Comparison.VERSIONS,
        edge=call.edge,
        candidate=Arm(counts.events, counts.total, counts.events / counts.total if counts.total else None),
        margin=assignment.policy.error_margin,
        e_value=math.exp(min(_LARGEST, log_e)),
        p_value=min(1.0, math.exp(-log_e)),
        threshold=1.0 / assignment.policy.alpha,
        status=VerdictStatus.INCONCLUSIVE,
        windows=call.check.windows,
        missing="only the candidate makes this call, so that nothing of stable's can be held against it",
    )


def _limit(change: Change, limit: Limit, check: CheckState, alpha: float) -> MetricEvidence:
    c, s = check.candidate, check.stable
    share = 1.0 - QUANTILES[limit.metric] if limit.metric in QUANTILES else limit.maximum
    log_e = check.evidence.best_harm
    stable_too = s.total >= _PRE_EXISTING_REQUESTS and s.events / s.total > share
    breached = log_e >= -math.log(alpha)
    return MetricEvidence(
        name=limit.metric,
        guard=change.service,
        role=GuardRole.CHANGED,
        comparison=Comparison.LIMIT,
        stable=Arm(s.events, s.total, s.events / s.total if s.total else None),
        candidate=Arm(c.events, c.total, c.events / c.total if c.total else None),
        effect=c.events / c.total - share if c.total else None,
        margin=limit.maximum,
        e_value=math.exp(min(_LARGEST, log_e)),
        p_value=min(1.0, math.exp(-log_e)),
        threshold=1.0 / alpha,
        status=VerdictStatus.FAIL if breached and not stable_too else VerdictStatus.INCONCLUSIVE,
        windows=check.windows,
        pre_existing=stable_too,
    )
