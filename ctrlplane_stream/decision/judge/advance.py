"""One more window into the state of a step: pure, in the order of the guards, every question once."""

import math

import msgspec

from ctrlplane_stream.decision.judge.arms import ArmWindow, version_arm
from ctrlplane_stream.decision.judge.baseline import QUANTILES, Totals, lost_calls
from ctrlplane_stream.decision.judge.beside import answered_after, gone_in
from ctrlplane_stream.decision.judge.calls import check_calls
from ctrlplane_stream.decision.judge.checks import (
    Frame,
    arrived,
    check_arrivals,
    check_errors,
    check_limit,
    check_lost,
    check_tail,
    limit_counts,
    limit_share,
)
from ctrlplane_stream.decision.judge.harming import touched_after
from ctrlplane_stream.decision.judge.histograms import NOTHING, Histogram
from ctrlplane_stream.decision.judge.mixes import mixes_after
from ctrlplane_stream.decision.judge.new_calls import new_calls_after
from ctrlplane_stream.decision.judge.pairs import Pair, pair_of
from ctrlplane_stream.decision.judge.questions import MAX_EDGES, Group, Question, alpha_of_assignment, budget_of, groups, needed
from ctrlplane_stream.decision.judge.rows import ClosedWindow, Rows, sort_rows
from ctrlplane_stream.decision.judge.sampling import Kept, as_touched, by_version, keeping, sampled_as, sampling_after
from ctrlplane_stream.decision.judge.state import (
    CheckState,
    Counts,
    Quality,
    Sampling,
    Seen,
    StepState,
    edge_named,
    name_of_edge,
    past_of,
    scatter_of,
    scatter_of_calls,
)
from ctrlplane_stream.decision.judge.witnesses import hear
from ctrlplane_stream.decision.stats.dispersion import Dispersion, of_two_arms
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKey
from ctrlplane_stream.model.sums import in_order
from ctrlplane_stream.model.verdicts import LIMITED_METRICS, Assignment, Change, Comparison, GuardRole, Limit, Metric

_LABELS = 8
_WARM_UP = (GuardRole.CHANGED, GuardRole.ENTRY, GuardRole.CALLER)
"""Who waits for instances that warm up."""
_NEW = CheckState()
_NO_TOTALS = Totals()


def advance(state: StepState, assignment: Assignment, closed: ClosedWindow) -> StepState:
    """The state after a window of this step. A window judged before, or begun before the weight was confirmed, changes nothing."""
    if closed.window * 1000 < assignment.weight_confirmed_at_ms or closed.window <= state.last_window:
        return state
    rows = sort_rows(closed, assignment.weight_confirmed_at_ms)
    sampling = sampling_after(state, rows) if rows.sampled else state.sampling
    undecided = False
    if rows.sampled and not state.apart:
        rows.stands_for, undecided = by_version(state, assignment, rows)
    budget = budget_of(assignment)
    checks, calls, latencies, known = dict(state.checks), dict(state.calls), dict(state.latencies), dict(state.kept)
    for group in groups(assignment):
        if undecided and group.comparison is Comparison.EXPOSURE:
            continue  # What an exposure stands for goes by the samplers of both versions.
        pair = pair_of(group.guard, group.comparison, assignment, rows, group.change)
        frame = _frame(state, assignment, group, pair, rows, budget.of(group.guard), sampled_as(group.sampled, state, sampling), known)
        # Callers of one time have no calls of another, so that what no server answered is told apart by them.
        callers = group.change.candidate if state.apart and group.change is not None else None
        drifting = state.apart or group.comparison is Comparison.BASELINE
        for question in group.questions:
            if question.metric is Metric.CALLS_PER_REQUEST:
                _calls(question, pair, frame, state, drifting, assignment, checks, calls)
            else:
                scatter = of_two_arms(scatter_of(state, group.services, question.metric), drifting=drifting)
                checks[question.key] = _answer(
                    question, pair, frame, scatter, checks.get(question.key, _NEW), state, assignment, rows, callers
                )
        _remember(latencies, group, pair, _warms_up(group.guard.role, state, assignment))
    checks |= hear(state, assignment, rows, sampling)
    checks |= new_calls_after(state, assignment, rows)
    checks |= mixes_after(state, assignment, rows)
    for change in assignment.changed:
        _arrivals_and_limits(state, checks, change, assignment, rows, sampling, known)
    seen = {change.service: _seen(state, change, assignment, rows) for change in assignment.changed}
    return StepState(
        rollout=state.rollout,
        step=state.step,
        attempt=state.attempt,
        references=state.references,
        checks=checks,
        calls=calls,
        latencies=latencies,
        seen=seen,
        coverage=_quality(state.coverage, rows, assignment),
        sampling=sampling,
        touched=touched_after(state, assignment, rows, sampling, known) if assignment.counts_harm else state.touched,
        windows=state.windows + 1,
        silent=state.silent + any(seen[change.service].empty_windows for change in needed(assignment)),
        unsent=state.unsent + max((_unsent(state.seen.get(c.service, Seen()), seen[c.service]) for c in needed(assignment)), default=0),
        last_window=closed.window,
        apart=state.apart,
        kept=known,
        lag_seconds=closed.lag_seconds,
    )


def arrivals_key(change: Change) -> str:
    """How the sample ratio of a changed service is named in the state."""
    return f"arrivals|{change.service}"


def limit_key(change: Change, limit: Limit) -> str:
    """How an absolute limit of a changed service is named in the state."""
    return f"limit|{change.service}|{limit.metric}"


def known_of(group: Group, state: StepState, pair_past: tuple[str, ...] = ()) -> Totals:
    """The past that a group of questions goes by, of these services or its guard's; none where it asks of others than the guard itself."""
    if group.comparison is Comparison.BASELINE or group.guard.role is GuardRole.CHANGED:
        return past_of(state, pair_past or (group.guard.service,))
    return _NO_TOTALS


def _frame(
    state: StepState, assignment: Assignment, group: Group, pair: Pair, rows: Rows, alpha: float, service: Kept, known: dict[str, Sampling]
) -> Frame:
    past = group.comparison is Comparison.BASELINE
    totals = known_of(group, state, pair.past)
    stable = f"{group.arms}|stable"
    latencies = (totals.latency, state.latencies.get(stable, NOTHING))
    known_gap = (totals.gap, state.latencies.get(f"{stable}|gap", NOTHING))
    kept = keeping(group.arms, (pair.candidate, pair.stable), totals, state, service, known)
    if group.comparison is Comparison.EXPOSURE and rows.stands_for:
        kept = as_touched(kept, assignment, rows)
    return Frame(
        assignment.policy,
        alpha,
        totals,
        latencies,
        known_gap,
        kept.ours,
        past,
        assignment.weight,
        kept.theirs,
        kept.past,
        kept.comparable,
        kept.instead,
    )


def _answer(
    question: Question,
    pair: Pair,
    frame: Frame,
    scatter: Dispersion,
    before: CheckState,
    state: StepState,
    assignment: Assignment,
    rows: Rows,
    callers: str | None,
) -> CheckState:
    if question.metric in QUANTILES and _warms_up(question.guard.role, state, assignment):
        return before
    match question.metric:
        case Metric.ERROR_RATIO:
            return check_errors(before, pair, frame, scatter, question.proof)
        case Metric.LOST_CALLS:
            counts = Counts(*lost_calls(rows, question.guard.service, callers))
            gone = gone_in(question.guard.service, state, assignment, rows, callers)
            return check_lost(before, counts, assignment.weight, frame, scatter, question.proof, gone)
        case Metric.NETWORK_GAP:
            return check_tail(before, pair, frame, question.metric, scatter, question.proof)
        case _:
            return check_tail(before, pair, frame, question.metric, scatter, question.proof)


def _calls(
    question: Question,
    pair: Pair,
    frame: Frame,
    state: StepState,
    drifting: bool,
    assignment: Assignment,
    checks: dict[str, CheckState],
    begun: dict[str, tuple[str, ...]],
) -> None:
    """Every edge that is asked about, into ``checks`` and ``begun``."""
    before = begun.get(question.key, ())
    edges = _edges_asked(question, pair, frame, assignment, before)
    for name, edge in edges.items():
        key = f"{question.key}|{name}"
        scatter = of_two_arms(scatter_of_calls(state, question.guard.service, name), drifting=drifting)
        checks[key] = check_calls(checks.get(key, _NEW), pair, edge, frame, scatter, question.guard.role is GuardRole.CHANGED)
    if fresh := [name for name in edges if name not in before]:
        begun[question.key] = (*before, *fresh)


def _edges_asked(question: Question, pair: Pair, frame: Frame, assignment: Assignment, begun: tuple[str, ...]) -> dict[str, EdgeKey]:
    """At most six edges by name, those asked before and then the busiest of the past, of those that stable uses or used: a call that only
    the candidate makes is new, not harm, and one that a changed service made and makes no more is asked about."""
    if pair.stable is not None:
        seen = [*pair.candidate.calls, *pair.stable.calls]
    else:
        dropped = frame.past.calls if question.guard.role is GuardRole.CHANGED else ()
        seen = [*pair.candidate.calls, *(edge_named(name) for name in dropped)]
    wanted = [change.service for change in assignment.changed] if question.guard.role is GuardRole.CALLER else None
    edges = {name_of_edge(edge): edge for edge in seen if wanted is None or edge.callee in wanted}
    asked = [name for name in begun if name in edges]
    fresh = [name for name in edges if name not in begun] if len(begun) < MAX_EDGES else []
    if fresh:
        known = frame.past.calls if pair.stable is None else {name_of_edge(edge) for edge in pair.stable.calls}
        fresh = sorted((name for name in fresh if name in known), key=lambda name: (-frame.past.calls.get(name, 0.0), name))
    return {name: edges[name] for name in asked + fresh[: MAX_EDGES - len(begun)]}


def _warms_up(role: GuardRole, state: StepState, assignment: Assignment) -> bool:
    """Whether the latencies of a guard of this role are those of instances that the step has just begun to use; a bake begins with none."""
    return role in _WARM_UP and not assignment.baking and state.windows < assignment.policy.warm_up


def _remember(latencies: dict[str, Histogram], group: Group, pair: Pair, warms_up: bool) -> None:
    """The latencies of a group's arms, as far as one of its questions asks for them; of a candidate that warms up none."""
    if not group.latency and not group.gap:
        return
    name = group.arms
    for arm, side in ((None if warms_up else pair.candidate, "candidate"), (pair.stable, "stable")):
        if arm is not None and group.latency and arm.latency.counted:
            latencies[f"{name}|{side}"] = latencies.get(f"{name}|{side}", NOTHING).with_sketches(arm.latency.sketches)
        if arm is not None and group.gap and arm.gap.counted:
            latencies[f"{name}|{side}|gap"] = latencies.get(f"{name}|{side}|gap", NOTHING).with_sketches(arm.gap.sketches)


def _arrivals_and_limits(
    state: StepState,
    checks: dict[str, CheckState],
    change: Change,
    assignment: Assignment,
    rows: Rows,
    sampling: dict[str, Sampling],
    known: dict[str, Sampling],
) -> None:
    candidate = version_arm(rows, change.service, change.candidate)
    stable = ArmWindow() if change.stable is None else version_arm(rows, change.service, change.stable)
    policy = assignment.policy
    key = arrivals_key(change)
    if change.stable is not None and not assignment.baking:
        before = checks.get(key, CheckState())
        weight, wanted = assignment.weight, -math.log(alpha_of_assignment(assignment))
        came = arrived(candidate, stable)
        checks[key] = check_arrivals(before, *came, weight, policy.sample_ratio_tolerance, wanted)
    if not policy.limits:
        return
    service, past = sampled_as((change.service,), state, sampling), past_of(state, (change.service,))
    kept = keeping(key, (candidate, stable), past, state, service, known)
    for limit in (limit for limit in policy.limits if limit.metric in LIMITED_METRICS):
        if limit.metric in QUANTILES and _warms_up(GuardRole.CHANGED, state, assignment):
            continue
        share = limit_share(limit.metric, limit.maximum)
        key, scatter = limit_key(change, limit), scatter_of(state, (change.service,), limit.metric)
        before = checks.get(key, _NEW)
        ours = limit_counts(candidate, limit.metric, limit.maximum, kept.ours, before.candidate)
        if kept.instead is not None:  # whichever way says less
            ours = max(ours, limit_counts(candidate, limit.metric, limit.maximum, kept.instead, before.candidate), key=lambda c: c.total)
        theirs = limit_counts(stable, limit.metric, limit.maximum, kept.theirs, before.stable)
        checks[key] = check_limit(before, ours, theirs, share, scatter)


def _seen(state: StepState, change: Change, assignment: Assignment, rows: Rows) -> Seen:
    before = state.seen.get(change.service, Seen())
    arrived = _arrived(change.service, rows)
    total = in_order(arrived.values())
    candidate, stable = arrived.get(change.candidate, 0.0), arrived.get(change.stable or "", 0.0)
    return Seen(
        candidate=before.candidate + candidate,
        stable=before.stable + stable,
        other=before.other + total - candidate - stable,
        due=0.0 if candidate else before.due + assignment.weight * total,
        empty_windows=0 if total else before.empty_windows + 1,
        labels=tuple(sorted({*before.labels, *arrived}))[:_LABELS],
        answered=answered_after(before.answered, change, rows, state),
        passed_by=0 if candidate else before.passed_by + (total > 0),
    )


def _unsent(before: Seen, after: Seen) -> int:
    """How many windows are known by now, and were not before, as ones in which nobody was sent to the candidate."""
    if not after.is_unsent:
        return 0
    return after.passed_by - before.passed_by if before.is_unsent else after.passed_by


def _arrived(service: str, rows: Rows) -> dict[str, float]:
    """Requests by version label, the larger of what the service's own spans and its callers' say."""
    own: dict[str, float] = {}
    called: dict[str, float] = {}
    for row in rows.services.get(service, ()):
        own[row.version] = own.get(row.version, 0.0) + row.requests
    for key in rows.incoming.get(service, ()):
        for edge in rows.edges[key]:
            if edge.callee_version != UNKNOWN_VERSION:
                called[edge.callee_version] = called.get(edge.callee_version, 0.0) + edge.calls
    return {label: max(own.get(label, 0.0), called.get(label, 0.0)) for label in sorted({*own, *called})}


def _quality(before: Quality, rows: Rows, assignment: Assignment) -> Quality:
    observed = estimated = unknown = calls = lost = 0.0
    for change in assignment.changed:
        for row in rows.services.get(change.service, ()):
            observed += row.requests
            estimated += max(row.requests, row.estimated_requests)
        for key in rows.incoming.get(change.service, ()):
            for edge in rows.edges[key]:
                calls += edge.calls
                if edge.callee_version == UNKNOWN_VERSION:
                    unknown += edge.calls
                    lost += edge.errors
    add = (observed, estimated, float(rows.total), float(rows.late), float(rows.dropped), unknown, calls, lost)
    return Quality(*(a + b for a, b in zip(msgspec.structs.astuple(before), add, strict=True)))
