"""Services that a candidate cannot have slowed down, asked whether the time itself has changed.

A comparison with the past takes whatever became worse since for the candidate's doing: a busy machine, a slow network, another load.
Witnesses of that are services outside the version set and, where those are few, guards: what a candidate does to one service reaches those
that wait for it and nobody else, so that every guard that does not (transitively) call the accused one can say whether all has become
slow. If most of those that can be heard became worse themselves in the same metric, beyond the same margin and over the same windows,
the past is no yardstick here, and such a finding stands as INCONCLUSIVE with that reason. A witness can be heard if it would have said so
by now, had it fared as the accused did. Comparisons side by side in the same windows need no witness.

Lost calls are excused by those that others lose only where these account for them: not those of a candidate that is gone while the stable
version beside it answers, and not many times as many as anybody else lost. So are failures of who calls: of a request that calls three
services a network fails three times as many as it loses calls of any of them.
"""

import math
from functools import lru_cache

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.baseline import Baseline, ServicePast, Totals, lost_calls
from ctrlplane_stream.decision.judge.beside import is_gone
from ctrlplane_stream.decision.judge.checks import Frame, check_errors, check_lost, check_tail
from ctrlplane_stream.decision.judge.histograms import NOTHING
from ctrlplane_stream.decision.judge.pairs import pair_of
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.sampling import WITNESS, sampled_as
from ctrlplane_stream.decision.judge.state import CheckState, Counts, Sampling, StepState, edge_named, past_of
from ctrlplane_stream.decision.stats.betting import divergence
from ctrlplane_stream.model.sums import in_order
from ctrlplane_stream.model.verdicts import Assignment, Comparison, GatePolicy, Guard, GuardRole, Metric, MetricEvidence, VerdictStatus

MOST = 5
"""Witnesses of one rollout: the busiest, since they can say most; more would cost more than they add."""

_METRICS = (Metric.ERROR_RATIO, Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP, Metric.LOST_CALLS)
_MANY_TIMES = 3.0
"""A network that loses calls loses of one service a few times as many as of another: by which machines they are on."""
_NEW = CheckState()


def witnesses(assignment: Assignment, baseline: Baseline) -> dict[str, ServicePast]:
    """The pasts of at most ``MOST`` services that do not move, neither in this rollout nor in another: first those that neither guard nor
    take requests in for this one, then its guards, the busiest first."""
    moving = {*(change.service for change in assignment.changed), *(other.service for other in assignment.concurrent)}
    guards = {*(guard.service for guard in assignment.guards), *assignment.entry_points}
    asked = [name for name in baseline.services if name not in moving]
    asked.sort(key=lambda name: (name in guards, -baseline.services[name].totals().requests, name))
    return {f"{WITNESS}{name}": baseline.services[name].frozen() for name in asked[:MOST]}


def hear(state: StepState, assignment: Assignment, rows: Rows, sampling: dict[str, Sampling]) -> dict[str, CheckState]:
    """What every witness says after one more window, by witness and metric."""
    policy, heard = _of_witnesses(assignment.policy), {}
    changed = [change.service for change in assignment.changed]
    for name in _called(state):
        service = name.removeprefix(WITNESS)
        pair = pair_of(Guard(service, GuardRole.COLLATERAL), Comparison.BASELINE, assignment, rows, None)
        past = state.references[name]
        totals = past.totals()
        latencies, gaps = (totals.latency, NOTHING), (totals.gap, NOTHING)
        frame = Frame(policy, policy.false_pass, totals, latencies, gaps, sampled_as((service,), state, sampling), widened=True)
        for metric in _METRICS:
            key, scatter = f"{name}|{metric}", past.scatter_of(metric)
            before = state.checks.get(key, _NEW)
            if metric is Metric.ERROR_RATIO:
                check = check_errors(before, pair, frame, scatter, proof=False)
            elif metric is Metric.LOST_CALLS:
                # Calls that a candidate makes may be lost by its own doing.
                check = check_lost(before, Counts(*lost_calls(rows, service, but=changed)), assignment.weight, frame, scatter, proof=False)
            else:
                check = check_tail(before, pair, frame, metric, scatter, proof=False)
            heard[key] = _loudest(check)
    return heard


def cleared(evidence: MetricEvidence, accused: CheckState, state: StepState, assignment: Assignment) -> MetricEvidence:
    """The evidence of a check, or the same without FAIL where the witnesses say that the past is no yardstick for its metric."""
    if evidence.status is not VerdictStatus.FAIL or evidence.comparison is not Comparison.BASELINE:
        return evidence
    services = {evidence.guard} if evidence.guard else {*assignment.entry_points}
    slowed = _waiting_for(services, state)
    asked = [name for name in _called(state) if name.removeprefix(WITNESS) not in slowed]
    wanted = -math.log(assignment.policy.false_pass)
    loses = evidence.name is Metric.LOST_CALLS
    worse, heard = _say(asked, evidence.name, accused.candidate, state, wanted)
    if 2 * worse > heard and not (loses and _beyond(evidence, accused, asked, 1.0, state, assignment)):
        reason = f"the past is no yardstick: {worse} of {heard} services that do not wait for this one became worse too"
        return replace(evidence, status=VerdictStatus.INCONCLUSIVE, missing=reason)
    if evidence.name is not Metric.ERROR_RATIO:
        return evidence
    losing, heard = _say(asked, Metric.LOST_CALLS, accused.candidate, state, wanted)
    calls = max((_calls_each(past_of(state, (service,))) for service in services), default=0.0)
    if 2 * losing <= heard or _beyond(evidence, accused, asked, calls, state, assignment):
        return evidence
    reason = f"the past is no yardstick: calls to {losing} of {heard} services that do not wait for this one are lost too"
    return replace(evidence, status=VerdictStatus.INCONCLUSIVE, missing=reason)


def _say(asked: list[str], metric: Metric, accused: Counts, state: StepState, wanted: float) -> tuple[int, int]:
    """How many witnesses became worse, and how many can be heard."""
    checks = [state.checks.get(f"{name}|{metric}", _NEW) for name in asked]
    worse = sum(check.evidence.best_harm >= wanted for check in checks)
    return worse, sum(check.evidence.best_harm >= wanted or _nats(check, accused) >= wanted for check in checks)


def _beyond(
    evidence: MetricEvidence, accused: CheckState, asked: list[str], calls: float, state: StepState, assignment: Assignment
) -> bool:
    """Whether a share surely rose by more than what calls that others lose too account for, with so many ``calls`` of each request."""
    if evidence.name is Metric.LOST_CALLS and is_gone(evidence.guard, state, assignment):
        return True
    if accused.bounds is None or accused.candidate.total <= 0:
        return False
    most = max((_risen(state.checks.get(f"{name}|{Metric.LOST_CALLS}", _NEW)) for name in asked), default=0.0)
    share = min(1.0, accused.candidate.events / accused.candidate.total)
    limit = accused.bounds.expected + evidence.margin + _MANY_TIMES * calls * most
    if share <= limit:
        return False
    return accused.candidate.total * divergence(share, limit) / accused.design_effect >= -math.log(assignment.policy.false_pass)


def _calls_each(past: Totals) -> float:
    """How many calls a request made before the rollout."""
    return in_order(past.calls.values()) / past.estimated if past.estimated else 0.0


def _risen(check: CheckState) -> float:
    """By how much a witness' share is above what was expected of it."""
    if check.bounds is None or check.candidate.total <= 0:
        return 0.0
    return max(0.0, check.candidate.events / check.candidate.total - check.bounds.expected)


def carried_pasts(fresh: dict[str, ServicePast], kept: dict[str, ServicePast]) -> dict[str, ServicePast]:
    """The pasts of a step that follows another of its rollout: what the earlier one held, its witnesses among them and no others."""
    return {**{name: past for name, past in fresh.items() if not name.startswith(WITNESS)}, **kept}


def _called(state: StepState) -> list[str]:
    return [name for name in state.references if name.startswith(WITNESS)]


@lru_cache(maxsize=64)
def _of_witnesses(policy: GatePolicy) -> GatePolicy:
    """A quick service becomes slow as others do, though by no time that would do harm."""
    return replace(policy, latency_slack_ms=0.0)


def _loudest(check: CheckState) -> CheckState:
    """The check of a witness with the most that its counts ever said. They are taken at their word, not bet on: who is accused is found by
    bets, for which a witness with less traffic would come too late."""
    nats = _nats(check, check.candidate)
    return check if nats <= check.evidence.best_harm else replace(check, evidence=replace(check.evidence, best_harm=nats))


def _nats(check: CheckState, as_in: Counts) -> float:
    """What a witness' counts would say against its past if as many of them had gone wrong as of these: their log likelihood ratio."""
    if check.bounds is None or as_in.total <= 0:
        return 0.0
    share, limit = min(1.0, as_in.events / as_in.total), check.bounds.limit
    return check.candidate.total * divergence(share, limit) / check.design_effect if share > limit else 0.0


def _waiting_for(accused: set[str], state: StepState) -> set[str]:
    """The accused services and all that call them, however far away, by the calls of before the rollout."""
    callers: dict[str, set[str]] = {}
    for past in state.references.values():
        for name in past.totals().calls:
            edge = edge_named(name)
            callers.setdefault(edge.callee, set()).add(edge.caller)
    found, fresh = set(accused), list(accused)
    while fresh:
        more = callers.get(fresh.pop(), set()) - found
        found |= more
        fresh.extend(sorted(more))
    return found
