"""The same judge over recorded windows: two recordings laid side by side from their starts, or one split by a version label.

Recordings of different times are compared as if they had run at once, and the report says that this is before/after: whatever else
changed between them is in the difference. Every service of two recordings counts as changed, and the harm is followed down the calls; of
one recording that is split, those services are changed that have the new version.
"""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

import msgspec

from ctrlplane_stream.decision.judge.advance import advance
from ctrlplane_stream.decision.judge.baseline import Baseline, observe
from ctrlplane_stream.decision.judge.fold import begin, follow, verdict_of
from ctrlplane_stream.decision.judge.rows import ClosedWindow, sort_rows
from ctrlplane_stream.decision.judge.sentences import recording_ended
from ctrlplane_stream.decision.judge.state import DUE, StepState
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKey, EdgeKind
from ctrlplane_stream.model.sums import in_order
from ctrlplane_stream.model.verdicts import (
    Assignment,
    Change,
    Coverage,
    GatePolicy,
    Guard,
    GuardRole,
    MetricEvidence,
    Verdict,
    VerdictStatus,
)
from ctrlplane_stream.model.windows import ServiceWindow, WindowPart

STABLE, CANDIDATE = "stable", "candidate"

_NO_WEIGHT = 1e9
"""Recordings follow no weight, so that any share of arrivals is right."""


_SILENCE = 4
"""Windows without a span after which another stretch of a recording begins."""
_STRAY = 0.01
"""A stretch of less than this part of all calls and requests is none of the recording: spans of a wrong clock, or of another day."""
_LONGEST_SILENCE = 60
"""Empty windows that are kept between two stretches."""


class MetricReport(msgspec.Struct, frozen=True, kw_only=True):
    """One metric after one window; ``edge`` is None where the metric is of a service as a whole.

    The verdict rests on ``e_value``: it is evidence for harm beyond the margin, and FAIL needs one of 1 / ``p_needed``, which is the
    metric's share of alpha; ``p_value`` is 1 / ``e_value``. ``interval`` says how large the effect may be, at confidence 1 - ``p_needed``
    and at all windows at once. It is another construction, two-sided and wider than the bet, so that it may still hold 0 where p is small.
    """

    name: str
    service: str
    edge: EdgeKey | None
    stable: float | None
    candidate: float | None
    effect: float | None
    interval: tuple[float | None, float | None] | None
    e_value: float
    p_value: float
    p_needed: float | None
    status: VerdictStatus


class WindowReport(msgspec.Struct, frozen=True):
    """The verdict after one window, what it rests on, and how much of the traffic that is."""

    verdict: VerdictStatus
    metrics: tuple[MetricReport, ...]
    coverage: Coverage = Coverage()


class CulpritReport(msgspec.Struct, frozen=True):
    """Who carries the harm."""

    service: str
    edge: EdgeKey | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge says of recordings: the verdict, the window (from 1) after which it stood, and every window on the way."""

    verdict: VerdictStatus
    at_window: int
    reason: str
    comparison: str
    proven: bool
    culprit: CulpritReport | None
    windows: tuple[WindowReport, ...]
    unreadable: int = 0
    """Records of the recordings that could not be read, which the verdict therefore knows nothing of."""
    strayed: int = 0
    """Calls and requests that ended at another time than the recording they are in, as by a wrong clock, and were left out."""
    unmatched: tuple[int, int] = (0, 0)
    """Windows of the stable and of the candidate's recording beside which the other, shorter one has none. Those of stable are its past
    only; those of the candidate are held against all of stable's recording, as a bake is against the past."""


class _Case(NamedTuple):
    changes: tuple[Change, ...]
    required: tuple[str, ...]
    windows: tuple[ClosedWindow, ...]
    baseline: Baseline
    comparison: str
    weight: float
    apart: bool
    callees: tuple[str, ...] = ()
    rest: tuple[ClosedWindow, ...] = ()
    """What the candidate's recording has more than stable's."""


def judge_recordings(stable: Iterable[WindowPart], candidate: Iterable[WindowPart], policy: GatePolicy, window_seconds: int) -> Report:
    """Judge one recording against another, window by window from their starts."""
    (before, strayed), (after, more) = _by_window(stable, window_seconds), _by_window(candidate, window_seconds)
    labels = _labels(part for parts in before for part in parts), _labels(part for parts in after for part in parts)
    services = sorted({*labels[0], *labels[1]})
    windows = tuple(
        ClosedWindow(at, (*_relabelled(old, STABLE, at), *_relabelled(new, CANDIDATE, at)))
        for at, old, new in zip(count(window_seconds, window_seconds), before, after, strict=False)
    )
    baseline, both = Baseline(), len(windows)
    for number, parts in enumerate(before):
        at = number * window_seconds
        whole = ClosedWindow(at, tuple(_relabelled(parts, STABLE, at)))
        baseline = observe(baseline, sort_rows(whole, 0), ())
    case = _Case(
        tuple(Change(service, CANDIDATE, STABLE) for service in services),
        _required(labels, services, [part for parts in after for part in parts]),
        windows,
        baseline,
        "before/after: two recordings of different times, aligned from their starts; whatever else changed between them is in it",
        0.5,
        apart=True,
        rest=tuple(
            ClosedWindow(at, _relabelled(parts, CANDIDATE, at))
            for at, parts in zip(count((both + 1) * window_seconds, window_seconds), after[both:], strict=False)
        ),
    )
    report = _unless_it_ended(_judged(case, policy, window_seconds), before[both:], case, policy)
    return msgspec.structs.replace(report, strayed=strayed + more, unmatched=(len(before) - both, len(after) - both))


def _unless_it_ended(report: Report, more: Sequence[Sequence[WindowPart]], case: _Case, policy: GatePolicy) -> Report:
    """The report; or INCONCLUSIVE for a PASS where stable's recording has ``more``, in which as many requests came as make a silence of the
    candidate: of an entry point that dies nobody fails a call who could be heard. That recordings are never just as long is no silence."""
    came = [sum(row.requests for row in _services(parts) if row.service in case.required) for parts in more]
    silent = len(came) - next((n for n, requests in enumerate(reversed(came)) if requests), len(came))
    if report.verdict is not VerdictStatus.PASS or silent < policy.silent_windows or sum(came) < DUE:
        return report
    *windows, last = report.windows
    return msgspec.structs.replace(
        report,
        verdict=VerdictStatus.INCONCLUSIVE,
        at_window=len(report.windows),
        reason=recording_ended(silent, sum(came), case.required),
        proven=False,
        windows=(*windows, msgspec.structs.replace(last, verdict=VerdictStatus.INCONCLUSIVE)),
    )


def judge_split(parts: Iterable[WindowPart], version: str, policy: GatePolicy, window_seconds: int) -> Report:
    """Judge one recording in which ``version`` is the candidate's label, from the first window that has it; what lies before is
    baseline."""
    windows, strayed = _by_window(parts, window_seconds)
    whole = [ClosedWindow(at, _moved(parts, at)) for at, parts in zip(count(window_seconds, window_seconds), windows, strict=False)]
    first = next((i for i, closed in enumerate(whole) if any(row.version == version for row in _services(closed.parts))), len(whole))
    counts: dict[str, dict[str, int]] = {}
    for row in _services(part for closed in whole[first:] for part in closed.parts):
        counts.setdefault(row.service, {}).setdefault(row.version, 0)
        counts[row.service][row.version] += row.requests
    changes = tuple(Change(service, version, _other(seen, version)) for service, seen in sorted(counts.items()) if version in seen)
    moved = {change.service for change in changes}
    baseline = Baseline()
    for closed in whole[:first]:
        baseline = observe(baseline, sort_rows(closed, 0), ())
    total = in_order(in_order(counts[service].values()) for service in sorted(moved))
    new = in_order(counts[service][version] for service in sorted(moved))
    case = _Case(
        changes,
        tuple(sorted(moved)),
        tuple(whole[first:]),
        baseline,
        "same windows: versions side by side in one recording",
        min(0.99, new / total) if total else 0.5,
        apart=False,
        callees=_callees(whole[first:], moved) if first else (),
    )
    return msgspec.structs.replace(_judged(case, policy, window_seconds), strayed=strayed)


def _callees(windows: Iterable[ClosedWindow], moved: set[str]) -> tuple[str, ...]:
    """Services that the changed ones call: held against what they were before the candidate came."""
    edges = (edge for closed in windows for part in closed.parts for edge in part.edges)
    called = {edge.callee for edge in edges if edge.kind is EdgeKind.CALL and edge.caller in moved and edge.callee not in moved}
    return tuple(sorted(called))


def _judged(case: _Case, policy: GatePolicy, window_seconds: int) -> Report:
    if not case.windows or not case.changes:
        reason = "There is no window in which both versions could be compared: the recordings are empty, or no service has that version."
        return Report(
            verdict=VerdictStatus.NO_DATA, at_window=0, reason=reason, comparison=case.comparison, proven=False, culprit=None, windows=()
        )
    assignment = _assignment(case, policy, window_seconds)
    state = msgspec.structs.replace(begin(assignment, case.baseline), apart=case.apart)
    states = [state := advance(state, assignment, closed) for closed in case.windows]
    verdicts = [verdict_of(after, assignment) for after in states]
    at = _decided(verdicts[: _last_called(case.windows, case)])
    if case.rest and verdicts[at].status is not VerdictStatus.FAIL:
        beyond = _beyond(state, assignment, case)
        end = _last_called(case.rest, case) - 1
        worst = next((number for number, verdict in enumerate(beyond) if verdict.status is VerdictStatus.FAIL), end)
        if beyond[worst].status in (VerdictStatus.FAIL, VerdictStatus.NO_DATA):
            at = len(verdicts) + worst
        verdicts += beyond
    final = verdicts[at]
    return Report(
        verdict=final.status,
        at_window=at + 1,
        reason=final.reason,
        comparison=case.comparison,
        proven=final.proven,
        culprit=CulpritReport(final.culprit.service, final.culprit.edge) if final.culprit is not None else None,
        windows=tuple(WindowReport(v.status, tuple(_metric(m) for m in v.metrics if m.windows), v.coverage) for v in verdicts),
    )


def _assignment(case: _Case, policy: GatePolicy, window_seconds: int) -> Assignment:
    """The whole recording is all the time there is: what it cannot prove by its end is unproven then, not waited for. Of two recordings
    the candidate's has all calls to itself, so that no weight makes what it may lose less. No weight changes in a recording, so
    that nothing is known to warm up."""
    available = len(case.windows)
    bounded = msgspec.structs.replace(
        policy,
        maximum_windows=min(policy.maximum_windows, available),
        warm_up_windows=0,
        sample_ratio_tolerance=_NO_WEIGHT,
        lost_margin=min(1.0, policy.lost_margin / case.weight) if case.apart else policy.lost_margin,
    )
    return Assignment(
        rollout="recording",
        environment="recording",
        step=0,
        attempt=1,
        changed=case.changes,
        guards=(
            *(Guard(change.service, GuardRole.CHANGED, change.service in case.required) for change in case.changes),
            *(Guard(service, GuardRole.CALLEE) for service in case.callees),
        ),
        weight=case.weight,
        weight_confirmed_at_ms=0,
        steps=2 if case.rest else 1,
        window_seconds=window_seconds,
        policy=bounded,
    )


def _decided(verdicts: Sequence[Verdict]) -> int:
    """The first FAIL; else where the PASS began that holds to the end; else the last window. What a live step would have passed on before
    its candidate died is no PASS of a recording in which it dies."""
    last = len(verdicts) - 1
    for number, verdict in enumerate(verdicts):
        if verdict.status is VerdictStatus.FAIL:
            return number
    while last and verdicts[last].status is verdicts[last - 1].status is VerdictStatus.PASS:
        last -= 1
    return last


def _beyond(state: StepState, assignment: Assignment, case: _Case) -> list[Verdict]:
    """What is said of the candidate's further windows: as of a bake, whose past is the stable recording."""
    policy = msgspec.structs.replace(assignment.policy, lost_margin=assignment.policy.lost_margin * assignment.weight)
    alone = msgspec.structs.replace(assignment, step=1, attempt=2, weight=1.0, baking=True, policy=policy)
    after = msgspec.structs.replace(follow(state, alone, case.baseline), apart=True)
    return [verdict_of(after := advance(after, alone, closed), alone) for closed in case.rest]


def _last_called(windows: Sequence[ClosedWindow], case: _Case) -> int:
    """How many windows there are until the last one in which anybody called a changed service: that traffic ends is no silence of it."""
    changed = {change.service for change in case.changes}
    for number in range(len(windows), 1, -1):
        parts = windows[number - 1].parts
        if any(row.service in changed for row in _services(parts)) or any(edge.callee in changed for part in parts for edge in part.edges):
            return number
    return 1


def _metric(evidence: MetricEvidence) -> MetricReport:
    return MetricReport(
        name=evidence.name,
        service=evidence.guard,
        edge=evidence.edge,
        stable=evidence.stable.value,
        candidate=evidence.candidate.value,
        effect=evidence.effect,
        interval=evidence.interval,
        e_value=evidence.e_value,
        p_value=evidence.p_value,
        p_needed=1 / evidence.threshold if evidence.threshold > 0 else None,
        status=evidence.status,
    )


def _by_window(parts: Iterable[WindowPart], window_seconds: int) -> tuple[list[list[WindowPart]], int]:
    """Parts by window from the first to the last, empty windows between them included; and how many calls and requests were left out,
    since they ended at another time than the recording's: a wrong clock must not say where it begins.

    Between two stretches of traffic there are no more than ``_LONGEST_SILENCE`` empty windows, however long there was none.
    """
    held: dict[int, list[WindowPart]] = {}
    for part in parts:
        held.setdefault(part.window, []).append(part)
    sizes = {window: in_order(_size(part) for part in held[window]) for window in sorted(held)}
    stretches: list[list[int]] = []
    for window in sizes:
        if not stretches or window - stretches[-1][-1] > _SILENCE * window_seconds:
            stretches.append([])
        stretches[-1].append(window)
    least = in_order(sizes.values()) * _STRAY
    found: list[list[WindowPart]] = []
    strayed, before = 0.0, None
    for stretch in stretches:
        size = in_order(sizes[window] for window in stretch)
        if size < least:
            strayed += size
            continue
        for window in stretch:
            empty = 0 if before is None else (window - before) // window_seconds - 1
            found.extend([] for _ in range(min(empty, _LONGEST_SILENCE)))
            found.append(held[window])
            before = window
    return found, int(strayed)


def _size(part: WindowPart) -> int:
    return sum(edge.calls for edge in part.edges) + sum(row.requests for row in part.services)


def _moved(parts: Iterable[WindowPart], window: int) -> tuple[WindowPart, ...]:
    return tuple(msgspec.structs.replace(part, window=window, part=0) for part in parts)


def _relabelled(parts: Iterable[WindowPart], label: str, window: int) -> tuple[WindowPart, ...]:
    """Parts with every version renamed, but for the missing half of a failed call."""
    return tuple(
        msgspec.structs.replace(
            part,
            window=window,
            part=0,
            edges=tuple(
                msgspec.structs.replace(
                    edge, caller_version=label, callee_version=UNKNOWN_VERSION if edge.callee_version == UNKNOWN_VERSION else label
                )
                for edge in part.edges
            ),
            services=tuple(msgspec.structs.replace(service, version=label) for service in part.services),
            exposures=(),
        )
        for part in parts
    )


def _services(parts: Iterable[WindowPart]) -> Iterable[ServiceWindow]:
    return (row for part in parts for row in part.services)


def _labels(parts: Iterable[WindowPart]) -> dict[str, set[str]]:
    labels: dict[str, set[str]] = {}
    for row in _services(parts):
        labels.setdefault(row.service, set()).add(row.version)
    return labels


def _required(labels: tuple[dict[str, set[str]], dict[str, set[str]]], services: list[str], parts: list[WindowPart]) -> tuple[str, ...]:
    """What a PASS must be proven of: services whose version differs between the recordings; else those where requests enter; else all."""
    differing = tuple(s for s in services if s in labels[0] and s in labels[1] and labels[0][s] != labels[1][s])
    entered = {row.service for row in _services(parts) if row.roots > 0}
    return differing or tuple(sorted(entered)) or tuple(services)


def _other(seen: dict[str, int], version: str) -> str | None:
    """The label with the most requests beside the candidate's, unknown ones last."""
    others = {label: count for label, count in seen.items() if label != version}
    return max(others, key=lambda label: (label != UNKNOWN_VERSION, others[label], label), default=None)
