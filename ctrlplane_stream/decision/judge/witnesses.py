"""Services that a rollout cannot touch, asked whether the time itself has changed.

A comparison with the past takes whatever became worse since for the candidate's doing: a busy machine, a slow network, another load. The
services outside the version set are witnesses of that: if most of those that can be heard became worse themselves in the same metric,
beyond the same margin and over the same windows, the past is no yardstick here, and such a finding stands as INCONCLUSIVE with that
reason. Comparisons side by side in the same windows need no witness.
"""

import math

from msgspec.structs import replace

from ctrlplane_stream.decision.judge.baseline import Baseline, ServicePast
from ctrlplane_stream.decision.judge.checks import Frame, check_errors, check_tail
from ctrlplane_stream.decision.judge.histograms import NOTHING
from ctrlplane_stream.decision.judge.pairs import pair_of
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.decision.judge.state import CheckState, StepState
from ctrlplane_stream.model.verdicts import Assignment, Comparison, Guard, GuardRole, Metric, MetricEvidence, VerdictStatus

MOST = 5
"""Witnesses of one rollout: the busiest, since they can say most; more would cost more than they add."""

_METRICS = (Metric.ERROR_RATIO, Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP)
_PREFIX = "witness|"
_NEW = CheckState()


def witnesses(assignment: Assignment, baseline: Baseline) -> dict[str, ServicePast]:
    """The pasts of at most ``MOST`` services that neither move, nor guard, nor take requests in for this rollout, the busiest first."""
    involved = {
        *(change.service for change in assignment.changed),
        *(guard.service for guard in assignment.guards),
        *assignment.entry_points,
        *(other.service for other in assignment.concurrent),
    }
    free = [name for name in baseline.services if name not in involved]
    free.sort(key=lambda name: (-baseline.services[name].totals().requests, name))
    return {f"{_PREFIX}{name}": baseline.services[name].frozen() for name in free[:MOST]}


def hear(state: StepState, assignment: Assignment, rows: Rows) -> dict[str, CheckState]:
    """What every witness says after one more window, by witness and metric."""
    policy, heard = assignment.policy, {}
    for name in _called(state):
        service = name.removeprefix(_PREFIX)
        pair = pair_of(Guard(service, GuardRole.COLLATERAL), Comparison.BASELINE, assignment, rows, None)
        past = state.references[name]
        totals = past.totals()
        latencies, gaps = (totals.latency, NOTHING), (totals.gap, NOTHING)
        frame = Frame(policy, policy.false_pass, totals, latencies, gaps, state.quality, widened=True)
        for metric in _METRICS:
            key, scatter = f"{name}|{metric}", past.scatter_of(metric)
            before = state.checks.get(key, _NEW)
            if metric is Metric.ERROR_RATIO:
                heard[key] = check_errors(before, pair, frame, scatter, proof=False)
            else:
                heard[key] = check_tail(before, pair, frame, metric, scatter, proof=False)
    return heard


def cleared(evidence: MetricEvidence, state: StepState, assignment: Assignment) -> MetricEvidence:
    """The evidence, or the same without FAIL where the witnesses say that the past is no yardstick for its metric."""
    if evidence.status is not VerdictStatus.FAIL or evidence.comparison is not Comparison.BASELINE:
        return evidence
    checks = [state.checks.get(f"{name}|{evidence.name}", _NEW) for name in _called(state)]
    heard = [check for check in checks if check.windows]
    worse = [check for check in heard if check.evidence.best_harm >= -math.log(assignment.policy.false_pass)]
    if 2 * len(worse) <= len(heard):
        return evidence
    reason = f"the past is no yardstick: {len(worse)} of {len(heard)} services that this rollout cannot touch became worse too"
    return replace(evidence, status=VerdictStatus.INCONCLUSIVE, missing=reason)


def carried(fresh: dict[str, ServicePast], kept: dict[str, ServicePast]) -> dict[str, ServicePast]:
    """The pasts of a step that follows another of its rollout: what the earlier one held, its witnesses among them and no others."""
    return {**{name: past for name, past in fresh.items() if not name.startswith(_PREFIX)}, **kept}


def _called(state: StepState) -> list[str]:
    return [name for name in state.references if name.startswith(_PREFIX)]
