"""From the state to the evidence a person reads: values, effect, interval, e-value and p-value of every question."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ctrlplane_stream.decision.judge.advance import arrivals_key, limit_key, past_of
from ctrlplane_stream.decision.judge.baseline import QUANTILES
from ctrlplane_stream.decision.judge.histograms import NOTHING, Ranks
from ctrlplane_stream.decision.judge.questions import (
    MAX_EDGES,
    Group,
    Question,
    alpha_of_assignment,
    alpha_of_each,
    groups,
    log_threshold,
    questions,
)
from ctrlplane_stream.decision.judge.state import CheckState, StepState, edge_named
from ctrlplane_stream.decision.judge.witnesses import cleared
from ctrlplane_stream.decision.stats.harm import log_harm
from ctrlplane_stream.decision.stats.intervals import difference_of_shares, radius, ratio_of_rates
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.model.verdicts import (
    Arm,
    Assignment,
    Change,
    Comparison,
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

Interval = tuple[float | None, float | None]


def findings(state: StepState, assignment: Assignment) -> tuple[MetricEvidence, ...]:
    """The evidence on every question, in the order of the guards, then sample ratios and limits."""
    alpha = alpha_of_each(assignment, len(questions(assignment)))
    found: list[MetricEvidence] = []
    for group in groups(assignment):
        ranks = _Ranked(group, state)
        for question in group.questions:
            for evidence in _of_question(question, state, assignment, alpha, ranks):
                failed = evidence.status is VerdictStatus.FAIL
                found.append(cleared(evidence, state, assignment) if failed else evidence)
    for change in assignment.changed:
        found.extend(_of_change(change, state, assignment, alpha))
    return tuple(found)


class _Ranked:
    """The latencies of a group's arms, and of the gaps between client and server, each put into ranks once if they are asked for."""

    __slots__ = ("_gap", "_group", "_latency", "_state")

    def __init__(self, group: Group, state: StepState) -> None:
        self._group, self._state = group, state
        self._latency: tuple[Ranks, Ranks] | None = None
        self._gap: tuple[Ranks, Ranks] | None = None

    def of(self, gap: bool) -> tuple[Ranks, Ranks]:
        """The candidate's, and those that they are held against."""
        if gap:
            self._gap = self._gap or self._ranks("|gap")
            return self._gap
        self._latency = self._latency or self._ranks("")
        return self._latency

    def _ranks(self, end: str) -> tuple[Ranks, Ranks]:
        group, latencies = self._group, self._state.latencies
        ours = Ranks(latencies.get(f"{group.arms}|candidate{end}", NOTHING))
        if group.comparison is not Comparison.BASELINE:
            return ours, Ranks(latencies.get(f"{group.arms}|stable{end}", NOTHING))
        totals = past_of(self._state, group.services)
        return ours, Ranks(totals.gap if end else totals.latency)


def _of_question(
    question: Question, state: StepState, assignment: Assignment, alpha: float, ranks: _Ranked
) -> tuple[MetricEvidence, ...] | list[MetricEvidence]:
    if question.metric is not Metric.CALLS_PER_REQUEST:
        return (_finding(question, state.checks.get(question.key, _NEW), assignment, alpha, None, ranks),)
    named = state.calls.get(question.key, ())
    if not named:
        return (_finding(question, _NEW, assignment, alpha, None, ranks),)
    each = alpha / MAX_EDGES
    return [_finding(question, state.checks[f"{question.key}|{name}"], assignment, each, edge_named(name), ranks) for name in named]


def _finding(
    question: Question, check: CheckState, assignment: Assignment, alpha: float, edge: EdgeKey | None, ranks: _Ranked
) -> MetricEvidence:
    log_e = harm_of(check)
    threshold, e_threshold = _threshold(question.comparison, alpha)
    proof, e_proof = _threshold(question.comparison, assignment.policy.false_pass) if question.proof else (None, None)
    stable, candidate, effect, interval = _numbers(question, check, alpha, ranks)
    return MetricEvidence(
        name=question.metric,
        guard=question.guard.service,
        role=question.guard.role,
        comparison=question.comparison,
        edge=edge or _worst_edge(check),
        stable=stable,
        candidate=candidate,
        effect=effect,
        interval=interval,
        margin=question.margin,
        e_value=math.exp(min(_LARGEST, log_e)),
        p_value=min(1.0, math.exp(-log_e)),
        threshold=e_threshold,
        proof=math.exp(min(_LARGEST, check.evidence.best_safety)) if proof is not None else None,
        proof_threshold=e_proof,
        status=_status(check, log_e >= threshold, proof),
        windows=check.windows,
        missing=None if check.windows else _missing(question, check),
    )


@lru_cache(maxsize=256)
def _threshold(comparison: Comparison, level: float) -> tuple[float, float]:
    """The log e-value that decides at a level, and the e-value."""
    threshold = log_threshold(comparison, level)
    return threshold, math.exp(threshold)


def harm_of(check: CheckState) -> float:
    """The largest log e-value for harm that was reached; of a two-sided question, of the worse side at half the weight."""
    if check.opposite is None:
        return check.evidence.best_harm
    return max(0.0, max(check.evidence.best_harm, check.opposite.best_harm) - _TWO_SIDED)


def doubted(state: StepState, assignment: Assignment, found: Iterable[MetricEvidence]) -> MetricEvidence | None:
    """The evidence that speaks loudest for harm as it stands now, if loud enough to deny a PASS that nothing proves; else None.

    Unlike a FAIL this may pass again: it looks at the capital of today, not at the highest ever.
    """
    loud = 1.0 / assignment.policy.false_pass
    by_key = {question.key: question for question in questions(assignment)}
    standing: dict[tuple[str, GuardRole, Metric, Comparison], float] = {}
    for key, check in state.checks.items():
        question = by_key.get("|".join(key.split("|")[:4]))
        if question is not None:
            name = (question.guard.service, question.guard.role, question.metric, question.comparison)
            standing[name] = max(standing.get(name, 0.0), math.exp(min(_LARGEST, _standing(check))))
    worst = max(standing.items(), key=lambda item: item[1], default=None)
    if worst is None or worst[1] < loud:
        return None
    alike = [e for e in found if (e.guard, e.role, e.name, e.comparison) == worst[0]]
    return max(alike, key=lambda e: e.e_value, default=None)


def _standing(check: CheckState) -> float:
    if check.opposite is None:
        return log_harm(check.evidence)
    return max(log_harm(check.evidence), log_harm(check.opposite)) - _TWO_SIDED


def _status(check: CheckState, harmed: bool, proof: float | None) -> VerdictStatus:
    if harmed:
        return VerdictStatus.FAIL
    if check.windows == 0:
        return VerdictStatus.NO_DATA
    if proof is not None and check.evidence.best_safety >= proof:
        return VerdictStatus.PASS
    return VerdictStatus.INCONCLUSIVE


def _numbers(question: Question, check: CheckState, alpha: float, ranks: _Ranked) -> tuple[Arm, Arm, float | None, Interval | None]:
    if check.windows == 0:
        return _NO_ARM, _NO_ARM, None, None
    if question.metric in QUANTILES:
        return _of_latency(question, check, alpha, ranks)
    candidate, stable = check.candidate, check.stable
    ours = Arm(candidate.events, candidate.total, candidate.events / candidate.total if candidate.total else None)
    theirs = Arm(stable.events, stable.total, stable.events / stable.total if stable.total else None)
    if candidate.total <= 0 or stable.total <= 0:
        return theirs, ours, None, None
    pair = (candidate.events, candidate.total), (stable.events, stable.total)
    design = check.design_effect
    if question.metric is Metric.CALLS_PER_REQUEST:
        ratio = candidate.events / candidate.total / (stable.events / stable.total) if stable.events else None
        return theirs, ours, ratio, ratio_of_rates(*pair, alpha, design)
    effect = candidate.events / candidate.total - stable.events / stable.total
    return theirs, ours, effect, difference_of_shares(*pair, alpha, 0.01, design)


def _of_latency(question: Question, check: CheckState, alpha: float, ranks: _Ranked) -> tuple[Arm, Arm, float | None, Interval | None]:
    q = QUANTILES[question.metric]
    ours, theirs = ranks.of(question.metric is Metric.NETWORK_GAP)
    design = check.design_effect
    c_low, c, c_high = _quantile_interval(ours, q, alpha / 2, design)
    s_low, s, s_high = _quantile_interval(theirs, q, alpha / 2, design)
    stable, candidate = Arm(check.stable.events, float(theirs.total), s), Arm(check.candidate.events, float(ours.total), c)
    if not c or not s:
        return stable, candidate, None, None
    low = c_low / s_high if c_low is not None and s_high else None
    high = c_high / s_low if c_high is not None and s_low else None
    return stable, candidate, c / s, (low, high)


def _quantile_interval(ranks: Ranks, q: float, alpha: float, design: float) -> tuple[float | None, float | None, float | None]:
    total = ranks.total
    if total == 0:
        return None, None, None
    half = radius(math.sqrt(design * q * (1 - q) / total), alpha, 0.25 * (1 - q))
    low, middle, high = ranks.quantiles_ms((max(0.0, q - half), q, q + half))
    return low, middle, high


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
        return "no exposed and unexposed requests at the entry points in one window"
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
    log_e, alpha = harm_of(check), alpha_of_assignment(assignment)
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
