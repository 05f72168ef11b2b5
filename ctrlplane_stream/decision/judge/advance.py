"""One more window into the state of a step: pure, in the order of the guards, every question once."""

from collections.abc import Iterator

import msgspec

from ctrlplane_stream.decision.judge.arms import ArmWindow, Histogram, version_arm
from ctrlplane_stream.decision.judge.baseline import ServicePast, Totals, lost_calls, merged
from ctrlplane_stream.decision.judge.checks import (
    Frame,
    check_arrivals,
    check_calls,
    check_errors,
    check_limit,
    check_lost,
    check_tail,
    limit_counts,
    limit_share,
)
from ctrlplane_stream.decision.judge.pairs import UNMATCHED, Pair, pair_of
from ctrlplane_stream.decision.judge.questions import MAX_EDGES, Question, alpha_of_each, questions
from ctrlplane_stream.decision.judge.rows import ClosedWindow, Rows, sort_rows
from ctrlplane_stream.decision.judge.state import CheckState, Quality, Seen, StepState
from ctrlplane_stream.decision.stats.dispersion import Dispersion
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKey
from ctrlplane_stream.model.verdicts import Assignment, Change, Comparison, Guard, GuardRole, Limit, Metric

_LABELS = 8


def advance(state: StepState, assignment: Assignment, closed: ClosedWindow) -> StepState:
    """The state after a window of this step. A window judged before, or begun before the weight was confirmed, changes nothing."""
    if closed.window * 1000 < assignment.weight_confirmed_at_ms or closed.window <= state.last_window:
        return state
    rows = sort_rows(closed, assignment.weight_confirmed_at_ms)
    asked = questions(assignment)
    alpha = alpha_of_each(assignment, len(asked))
    checks, latencies = dict(state.checks), dict(state.latencies)
    for (guard, comparison), group in _grouped(asked):
        pair = pair_of(guard, comparison, assignment, rows)
        frame = _frame(state, assignment, guard, comparison, pair, alpha)
        for question in group:
            checks.update(list(_answers(question, pair, frame, checks, assignment, rows)))
        _remember(latencies, name_of(guard, comparison), pair)
    for change in assignment.changed:
        _arrivals_and_limits(checks, change, assignment, rows, state.quality)
    return StepState(
        rollout=state.rollout,
        step=state.step,
        attempt=state.attempt,
        references=state.references,
        checks=checks,
        latencies=latencies,
        seen={change.service: _seen(state, change, assignment, rows) for change in assignment.changed},
        quality=_quality(state.quality, rows, assignment),
        windows=state.windows + 1,
        last_window=closed.window,
        lag_seconds=closed.lag_seconds,
    )


def name_of(guard: Guard, comparison: Comparison) -> str:
    """How a guard's arms are named in the state."""
    return f"{guard.role}|{guard.service}|{comparison}"


def key_of(question: Question, edge: str | None = None) -> str:
    """How a question's evidence is named in the state."""
    key = f"{name_of(question.guard, question.comparison)}|{question.metric}"
    return key if edge is None else f"{key}|{edge}"


def arrivals_key(change: Change) -> str:
    """How the sample ratio of a changed service is named in the state."""
    return f"arrivals|{change.service}"


def limit_key(change: Change, limit: Limit) -> str:
    """How an absolute limit of a changed service is named in the state."""
    return f"limit|{change.service}|{limit.metric}"


def past_of(state: StepState, services: tuple[str, ...]) -> tuple[Totals, Dispersion]:
    """The baseline of one service, or of several together."""
    pasts = [state.references.get(service, ServicePast()) for service in services]
    if len(pasts) == 1:
        return pasts[0].totals(), pasts[0].scatter
    total = Totals()
    for past in pasts:
        t = past.totals()
        total = Totals(
            t.windows, total.requests + t.requests, total.errors + t.errors, latency=merged(total.latency, t.latency), calls=t.calls
        )
    return total, max((past.scatter for past in pasts), key=lambda scatter: scatter.design_effect, default=Dispersion())


def _grouped(asked: tuple[Question, ...]) -> Iterator[tuple[tuple[Guard, Comparison], list[Question]]]:
    groups: dict[tuple[Guard, Comparison], list[Question]] = {}
    for question in asked:
        groups.setdefault((question.guard, question.comparison), []).append(question)
    yield from groups.items()


def _frame(state: StepState, assignment: Assignment, guard: Guard, comparison: Comparison, pair: Pair, alpha: float) -> Frame:
    totals, scatter = Totals(), Dispersion()
    if comparison is Comparison.BASELINE:
        totals, scatter = past_of(state, pair.past or (guard.service,))
    elif guard.role is GuardRole.CHANGED:
        totals, scatter = past_of(state, (guard.service,))
    stable = f"{name_of(guard, comparison)}|stable"
    known = (totals.latency, state.latencies.get(stable, {}))
    known_gap = (totals.gap, state.latencies.get(f"{stable}|gap", {}))
    widened = comparison is Comparison.BASELINE or pair.note is not None
    return Frame(assignment.policy, alpha, totals, scatter, known, known_gap, state.quality, widened)


def _answers(
    question: Question, pair: Pair, frame: Frame, checks: dict[str, CheckState], assignment: Assignment, rows: Rows
) -> Iterator[tuple[str, CheckState]]:
    key = key_of(question)
    before = checks.get(key, CheckState())
    match question.metric:
        case Metric.ERROR_RATIO:
            yield key, check_errors(before, pair, frame)
        case Metric.LOST_CALLS:
            lost, called = lost_calls(rows, question.guard.service)
            yield key, check_lost(before, lost, called, assignment.weight, frame)
        case Metric.CALLS_PER_REQUEST:
            each = frame._replace(alpha=frame.alpha / MAX_EDGES)
            for edge in _edges_asked(question, pair, frame, assignment, checks):
                name = key_of(question, str(edge))
                yield name, check_calls(checks.get(name, CheckState()), pair, edge, each)
        case Metric.NETWORK_GAP:
            yield key, check_tail(before, pair, frame._replace(known=frame.known_gap), question.metric)
        case _:
            if pair.note != UNMATCHED:
                yield key, check_tail(before, pair, frame, question.metric)


def _edges_asked(question: Question, pair: Pair, frame: Frame, assignment: Assignment, checks: dict[str, CheckState]) -> list[EdgeKey]:
    """At most six edges that stable uses, those asked before and then the busiest of the past: a call that only the candidate makes is new,
    not harm."""
    wanted = {change.service for change in assignment.changed}
    used = frame.past.calls if pair.stable is None else {str(edge): calls for edge, calls in pair.stable.calls.items()}
    seen = {**pair.candidate.calls, **(pair.stable.calls if pair.stable is not None else {})}
    edges = [edge for edge in seen if str(edge) in used and (question.guard.role is not GuardRole.CALLER or edge.callee in wanted)]
    known = [edge for edge in edges if key_of(question, str(edge)) in checks]
    begun = sum(1 for key in checks if key.startswith(f"{key_of(question)}|"))
    fresh = sorted((edge for edge in edges if edge not in known), key=lambda edge: (-frame.past.calls.get(str(edge), 0.0), edge))
    return known + fresh[: max(0, MAX_EDGES - begun)]


def _remember(latencies: dict[str, Histogram], name: str, pair: Pair) -> None:
    for arm, side in ((pair.candidate, "candidate"), (pair.stable, "stable")):
        if arm is not None and arm.latency:
            latencies[f"{name}|{side}"] = merged(latencies.get(f"{name}|{side}", {}), arm.latency)
        if arm is not None and arm.gap:
            latencies[f"{name}|{side}|gap"] = merged(latencies.get(f"{name}|{side}|gap", {}), arm.gap)


def _arrivals_and_limits(checks: dict[str, CheckState], change: Change, assignment: Assignment, rows: Rows, quality: Quality) -> None:
    candidate = version_arm(rows, change.service, change.candidate)
    stable = ArmWindow() if change.stable is None else version_arm(rows, change.service, change.stable)
    policy = assignment.policy
    key = arrivals_key(change)
    if change.stable is not None and not assignment.baking:
        before = checks.get(key, CheckState())
        checks[key] = check_arrivals(before, candidate.requests, stable.requests, assignment.weight, policy.sample_ratio_tolerance)
    for limit in policy.limits:
        share = limit_share(limit.metric, limit.maximum)
        counts = [limit_counts(arm, limit.metric, limit.maximum, quality) for arm in (candidate, stable)]
        checks[limit_key(change, limit)] = check_limit(checks.get(limit_key(change, limit), CheckState()), counts[0], counts[1], share)


def _seen(state: StepState, change: Change, assignment: Assignment, rows: Rows) -> Seen:
    before = state.seen.get(change.service, Seen())
    arrived: dict[str, float] = {}
    for row in rows.services.get(change.service, ()):
        arrived[row.version] = arrived.get(row.version, 0.0) + row.requests
    total = sum(arrived.values())
    candidate, stable = arrived.get(change.candidate, 0.0), arrived.get(change.stable or "", 0.0)
    return Seen(
        candidate=before.candidate + candidate,
        stable=before.stable + stable,
        other=before.other + total - candidate - stable,
        due=0.0 if candidate else before.due + assignment.weight * total,
        empty_windows=0 if total else before.empty_windows + 1,
        labels=tuple(sorted({*before.labels, *arrived}))[:_LABELS],
    )


def _quality(before: Quality, rows: Rows, assignment: Assignment) -> Quality:
    observed = estimated = unknown = calls = errors = estimated_errors = 0.0
    for change in assignment.changed:
        for row in rows.services.get(change.service, ()):
            observed += row.requests
            estimated += max(row.requests, row.estimated_requests)
        for key in rows.incoming.get(change.service, ()):
            for edge in rows.edges[key]:
                calls += edge.calls
                unknown += edge.calls if edge.callee_version == UNKNOWN_VERSION else 0
                errors += edge.errors
                estimated_errors += edge.estimated_errors
    add = (observed, estimated, float(rows.total), float(rows.late), float(rows.dropped), unknown, calls, errors, estimated_errors)
    return Quality(*(a + b for a, b in zip(msgspec.structs.astuple(before), add, strict=True)))
