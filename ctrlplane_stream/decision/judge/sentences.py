"""Verdicts in words: one sentence that an operator can act on, with the numbers that carry it."""

import math

from ctrlplane_stream.decision.judge.baseline import QUANTILES
from ctrlplane_stream.decision.judge.new_calls import NewCall
from ctrlplane_stream.decision.judge.outlook import Outlook, last, slowest
from ctrlplane_stream.decision.judge.questions import Group, Question
from ctrlplane_stream.decision.judge.state import Sampling, Seen, StepState
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.verdicts import Assignment, Change, Comparison, Culprit, GuardRole, Metric, MetricEvidence, OnUnprovable

_NAMES = {
    Metric.ERROR_RATIO: "share of failed requests",
    Metric.LATENCY_P50: "median latency",
    Metric.LATENCY_P99: "99th percentile latency",
    Metric.NETWORK_GAP: "network time (client minus server, 90th percentile)",
    Metric.CALLS_PER_REQUEST: "calls per request",
    Metric.LOST_CALLS: "share of failed calls that no server answered",
    Metric.SAMPLE_RATIO: "share of arrivals",
}
_SHARES = (Metric.ERROR_RATIO, Metric.LOST_CALLS)
_CLOSE = "the candidate lies close to the margin, on neither side of it for sure"


def harm(evidence: MetricEvidence, culprit: Culprit) -> str:
    """Why a step fails."""
    deeper = culprit.service if evidence.role is GuardRole.CHANGED and culprit.service != evidence.guard else None
    service = evidence.guard if deeper else culprit.service
    blame = f"; the harm lies deeper, in {deeper}, which it calls" if deeper else ""
    if culprit.explained_by is not None:
        other = culprit.explained_by
        blame = f"; {other.service} {other.version} (rollout {other.rollout}) changes at the same time and may explain it"
    return f"{service} {culprit.version}: {_shown(evidence)}{blame}."


def harm_beside(evidence: MetricEvidence, changed: Culprit, blamed: Culprit | None) -> str:
    """Why a step fails by a harm that is not its own: ``blamed`` is whose it seems to be, ``changed`` what this step changes."""
    innocent = f"nothing of {changed.service} {changed.version}'s own is harmed"
    other = changed.explained_by
    if blamed is None and other is not None:
        return f"{_shown(evidence)}; {innocent}, and {other.service} {other.version} (rollout {other.rollout}) changes at the same time."
    named = f"{blamed.service} {blamed.version}: " if blamed is not None else ""
    return f"{named}{_shown(evidence)}; {innocent}."


def _shown(evidence: MetricEvidence) -> str:
    what = f"{_place(evidence)}{_NAMES[evidence.name]} is {_value(evidence, True)}"
    against = f"against {_value(evidence, False)} {_other_side(evidence)} ({_margin(evidence)} allowed)"
    if _within(evidence):
        against += ", within that over all of the step but beyond it in some windows"
    proof = f"after {counted(evidence.windows, 'window')}, p = {evidence.p_value:.1g} where {1 / evidence.threshold:.1g} was needed"
    return f"{what} {against}, {proof}"


def _within(evidence: MetricEvidence) -> bool:
    """Whether what the step has come to lies within the margin: it fails by windows, and those before harm began count here too."""
    effect, margin = evidence.effect, evidence.margin
    if effect is None or evidence.comparison is Comparison.LIMIT:
        return False
    if evidence.name in _SHARES:
        return effect <= margin
    return effect <= 1.0 + margin and (evidence.name is not Metric.CALLS_PER_REQUEST or effect * (1.0 + margin) >= 1.0)


def passed(state: StepState, assignment: Assignment) -> str:
    """Why a step passes with proof."""
    requests = _requests(state, None)
    proofs = " and ".join(_NAMES[metric] for metric in assignment.policy.proof) or "nothing by policy, beyond the minimum of samples"
    return (
        f"Proven within the margins: {proofs}, with {requests:.0f} candidate requests in "
        f"{counted(state.watched, 'window')}; no harm found by any guard."
    )


def soaked(state: StepState, owed: tuple[Outlook, ...], assignment: Assignment) -> str:
    """Why a step passes without proof."""
    return f"{_cannot(state, owed, assignment)} It soaked for {counted(state.watched, 'window')} without harm found: PASS, unproven."


def unprovable(state: StepState, owed: tuple[Outlook, ...], assignment: Assignment) -> str:
    """Why a step that cannot be proven does not pass, and what to do."""
    policy = assignment.policy
    judges = " or ".join(judge.name for judge in policy.outside if judge.may_approve)
    waits = f" It waits for a PASS of {judges}." if judges and policy.on_unprovable is OnUnprovable.APPROVAL else ""
    return f"{_cannot(state, owed, assignment)}{waits} Widen the margin, take a larger step, let it soak, or promote it by hand."


def soaking(state: StepState, owed: tuple[Outlook, ...], assignment: Assignment) -> str:
    """Why a step that cannot be proven waits."""
    return f"{_cannot(state, owed, assignment)} Soaking: {state.watched} of {assignment.policy.soak_windows} windows without harm found."


def suspicious(evidence: MetricEvidence, proven: bool) -> str:
    """Why an unproven step does not pass its soak, or one that has its proofs does not pass yet."""
    said = "Proven of what must be, but not passed" if proven else "Cannot pass unproven"
    why = "not yet enough for FAIL"
    if evidence.missing:
        why = f"which cannot fail the step: {evidence.missing}"
    elif evidence.threshold:
        why += f", for which it must be {1.0 / evidence.threshold:.1g}"
    return (
        f"{said}: {_place(evidence)}{_NAMES[evidence.name]} of {evidence.guard or 'the entry points'} is "
        f"{_value(evidence, True)} against {_value(evidence, False)} (p = {evidence.p_value:.1g}), {why}."
    )


def unexplained(state: StepState, assignment: Assignment) -> str:
    """Why a step is not passed in which calls are lost, where there is no past to hold that against."""
    names, lost = " and ".join(change.service for change in assignment.changed), state.coverage.lost
    return (
        f"Of {state.coverage.calls:.0f} calls to {names} {lost:.0f} failed and no server answered them, and no time before the rollout is "
        f"known that could say whether this is new. If the candidate dies, it sends no span: look at it, and promote or abort it by hand."
    )


def otherwise_sampled(group: Group, ours: Sampling, theirs: Sampling) -> str:
    """Why a step is not passed whose latencies cannot be compared, since they are of what was kept."""
    name = group.guard.service or "the entry points"
    return (
        f"At {name} the candidate's spans are kept by another rule than those it is held against (of those that were kept "
        f"{_kept(ours)}, beside {_kept(theirs)}), so that the latencies of what was kept cannot be compared; shares and calls are "
        f"counted by what each stands for. Change the sampler apart from the code, or look at the latencies and promote or abort by hand."
    )


def _kept(arm: Sampling) -> str:
    successes, failures = (f"{each:.3g}" if each is not None else "an unknown number" for each in (arm.each_success, arm.each_error))
    return f"a success stands for {successes} and a failure for {failures}"


def recording_ended(windows: int, requests: int, services: tuple[str, ...]) -> str:
    """Why recordings of which the candidate's ends early are no PASS."""
    return (
        f"No harm found as far as both recordings go; but in the {counted(windows, 'window')} that stable's goes on, {requests} requests "
        f"came to {' and '.join(services)}, and none to the candidate: nothing reached it any more, or it was recorded for less long. "
        f"Record both for as long, or leave out what stable's recording has more."
    )


def fails_anew(call: NewCall) -> str:
    """Why a step is not passed whose candidate makes calls that stable does not make, and that fail."""
    change, edge, counts = call.change, call.edge, call.check.candidate
    return (
        f"{change.service} {change.candidate} calls {edge.callee} ({edge.kind}), which {change.stable} does not, and "
        f"{counts.events:.0f} of {counts.total:.0f} of these calls failed. Nothing of stable's can be held against that: if they are "
        f"meant to fail, promote it by hand; if not, see what the candidate is configured to call, and abort it."
    )


def overdue(state: StepState, outlook: Outlook, doubtful: bool) -> str:
    """Why a step whose traffic could prove it is still not proven at the end of its time. ``doubtful``: it is held for that."""
    if doubtful:
        return f"{_late(state, outlook)}. Look at it, and promote or abort it by hand."
    return f"{_late(state, outlook)}. That is by the past, which time changes too, and nothing speaks for harm."


def waiting(state: StepState, owed: tuple[Outlook, ...], assignment: Assignment, found: tuple[MetricEvidence, ...]) -> str:
    """Why there is no PASS yet where one is to be expected."""
    policy = assignment.policy
    requests = _requests(state, None)
    if state.watched < policy.minimum_windows or requests < policy.minimum_samples:
        return (
            f"No harm found in {state.watched} of at least {policy.minimum_windows} windows and {requests:.0f} of at least "
            f"{policy.minimum_samples} candidate requests."
        )
    outlook = next((each for each in owed if each.withheld), last(owed))
    if outlook is None:
        return f"No harm found in {counted(state.windows, 'window')}."
    if outlook.withheld:
        return f"{_between(outlook.question, found)} after {counted(state.windows, 'window')}: {_CLOSE}."
    late = f", where {_about(max(1.0, outlook.windows))} in all were to be expected" if outlook.windows < state.windows else ""
    left = _about(max(1.0, outlook.left))
    return f"No harm found in {counted(state.windows, 'window')}; the {_of(outlook.question)} needs {left} more{late}."


def not_begun(assignment: Assignment) -> str:
    """No window has begun since the weight was confirmed."""
    return f"No window has begun yet since the weight {assignment.weight:.0%} was confirmed."


def one_version(change: Change, seen: Seen) -> str:
    """The candidate cannot be told from stable, with the remedy."""
    labels = ", ".join(seen.labels) or "no version"
    return (
        f"{change.service}: {seen.stable + seen.other:.0f} requests came from {labels} and none from the candidate {change.candidate}, "
        f"of which about {seen.due:.0f} were due. If the candidate does serve, its spans do not say so: let the actuator inject "
        f"ctrlplane.version, or give each version its own service.version."
    )


def silent_candidate(change: Change, seen: Seen) -> str:
    """The candidate was seen before and is no more."""
    return f"{change.service} {change.candidate} sends no more spans; about {seen.due:.0f} of its requests were due since the last one."


def silent_service(change: Change, windows: int) -> str:
    """Nobody calls the service, or nobody hears of it."""
    silent = f"{change.service} had no requests at all in the last {counted(windows, 'window')}"
    return f"{silent}, though windows close on time: nobody calls it, or its spans do not come."


def pipeline_late(lag_seconds: float) -> str:
    """The telemetry is late, which says nothing of the service."""
    return f"Telemetry is {lag_seconds:.0f} s late; nothing can be said of the service until it catches up."


def wrong_ratio(evidence: MetricEvidence, weight: float) -> str:
    """Arrivals do not follow the weight."""
    return (
        f"{evidence.guard}: {evidence.candidate.value or 0:.1%} of the requests arrive at the candidate, whose weight is {weight:.0%}; "
        f"routing does not do what was confirmed, or spans of one version are lost. See what the target observes."
    )


def _requests(state: StepState, outlook: Outlook | None) -> float:
    """Candidate requests to the service that the outlook is about, or to the least called of the changed ones."""
    asked = outlook.question.guard.service if outlook is not None else ""
    if asked in state.seen:
        return state.seen[asked].candidate
    return min((seen.candidate for seen in state.seen.values()), default=0.0)


def _of(question: Question) -> str:
    return f"{_NAMES[question.metric]} of {question.guard.service or 'the entry points'}"


def _between(question: Question, found: tuple[MetricEvidence, ...]) -> str:
    asked = question.guard.service, question.guard.role, question.metric, question.comparison
    evidence = next(e for e in found if (e.guard, e.role, e.name, e.comparison) == asked)
    against = f"against {_value(evidence, False)} {_other_side(evidence)} ({_margin(evidence)} allowed)"
    return f"Neither harm nor its absence is shown: the {_of(question)} is {_value(evidence, True)} {against}"


def _late(state: StepState, outlook: Outlook) -> str:
    expected = _about(max(1.0, outlook.windows))
    return f"The {_of(outlook.question)} should have been proven in {expected} windows and is not after {state.windows}: {_CLOSE}"


def _cannot(state: StepState, owed: tuple[Outlook, ...], assignment: Assignment) -> str:
    outlook = slowest(owed)
    allowed = assignment.policy.maximum_windows
    seen = _requests(state, outlook)
    in_reach = outlook is not None and outlook.windows <= allowed
    if outlook is None or (in_reach and state.windows < allowed):
        return (
            f"The minimum of {assignment.policy.minimum_samples} candidate requests is not reached in {allowed} windows; {seen:.0f} came."
        )
    what = _of(outlook.question)
    if math.isinf(outlook.windows):
        nothing = not outlook.question.margin and (outlook.question.metric in _SHARES or not assignment.policy.latency_slack_ms)
        why = "nothing proves a margin of 0" if nothing else "there is too little to compare with"
        return (
            f"The {what} cannot be proven here in the time allowed: {why}; {seen:.0f} candidate "
            f"requests came in {counted(state.windows, 'window')}."
        )
    if in_reach:
        return f"{_late(state, last(owed) or outlook)}."
    return (
        f"The {what} cannot be proven here in the time allowed: it needs {_about(outlook.requests)} candidate requests, "
        f"{_about(outlook.windows)} windows at this rate, and {allowed} are allowed; {seen:.0f} came in "
        f"{counted(state.windows, 'window')}."
    )


def _place(evidence: MetricEvidence) -> str:
    if evidence.role is GuardRole.ENTRY:
        return "at the entry points the "
    if evidence.edge is not None:
        return f"on {evidence.edge} the "
    return f"at {evidence.guard} the " if evidence.role is not GuardRole.CHANGED else "the "


def _value(evidence: MetricEvidence, candidate: bool) -> str:
    arm = evidence.candidate if candidate else evidence.stable
    if arm.value is None:
        return "nothing"
    if evidence.comparison is Comparison.LIMIT and evidence.name in QUANTILES:
        return f"above {evidence.margin:g} ms for {arm.value:.2%} ({arm.events:.0f} of {arm.total:.0f})"
    if evidence.comparison is Comparison.LIMIT or evidence.name in _SHARES:
        return f"{arm.value:.2%} ({arm.events:.0f} of {arm.total:.0f})"
    return f"{arm.value:.2f}" if evidence.name is Metric.CALLS_PER_REQUEST else f"{arm.value:.1f} ms"


def _other_side(evidence: MetricEvidence) -> str:
    match evidence.comparison:
        case Comparison.VERSIONS:
            return "of the stable version"
        case Comparison.EXPOSURE:
            return "of requests that went to the stable version"
        case Comparison.BASELINE:
            return "before the rollout"
        case Comparison.LIMIT:
            return "of the stable version"


def _margin(evidence: MetricEvidence) -> str:
    if evidence.comparison is Comparison.LIMIT and evidence.name in QUANTILES:
        return f"{1 - QUANTILES[evidence.name]:.0%}"
    if evidence.comparison is Comparison.LIMIT:
        return f"an absolute limit of {evidence.margin:g}"
    if evidence.name is Metric.CALLS_PER_REQUEST and evidence.effect is not None and evidence.effect < 1.0:
        return f"{1.0 - 1.0 / (1.0 + evidence.margin):.0%} fewer"
    if evidence.name not in _SHARES:
        return f"{evidence.margin:.0%} more"
    points = f"{evidence.margin * 100:.3g}"
    return f"{points} {'point' if points == '1' else 'points'} more"


def _about(number: float) -> str:
    if math.isinf(number):
        return "endlessly many"
    return f"about {number:.0f}" if number < 100 else f"about {float(f'{number:.2g}'):.0f}"
