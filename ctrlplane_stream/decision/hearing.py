"""Verdicts as they come in: heard by the step they name, remembered in short, and acted on at once where they fail it.

A verdict about another attempt is ignored, and one of a judge without a veto stops nothing. While the next weight is on its way, which
takes minutes where instances must start for it, harm at the step before is heard still, and nothing else. A FAIL stops the rollout that
the evidence blames: the one whose candidate is named as the culprit; on a guard shared with others, where nobody is named, the last one
that stepped, or one that goes back already. The others stop too until it is gone.
"""

from typing import TypedDict

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.assigning import concurrent, global_step, step_count
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.gate import may_veto
from ctrlplane_stream.decision.holds import REVERT_FAILS, Condition, hold
from ctrlplane_stream.decision.phases import ENDED, Event, Phase
from ctrlplane_stream.decision.stats.intervals import surely
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.model.facts import VerdictGiven
from ctrlplane_stream.model.verdicts import OUR_JUDGE, GuardRole, Harm, NoDataCause, Verdict, VerdictStatus

HISTORY_KEPT = 20
"""Verdicts that a rollout remembers in short."""


def on_verdict(draft: Draft, fact: VerdictGiven) -> bool:
    """Hear a verdict; whether it applied."""
    verdict = fact.verdict
    rollout = draft.rollout(verdict.rollout)
    if (why := _unheard(rollout, verdict, draft)) is not None or rollout is None:
        draft.because("verdict-ignored", f"ignored: {verdict.judge} on {verdict.rollout}: {why}", verdict.rollout)
        return False
    rollout = _noted(draft, rollout, verdict)
    draft.put_rollout(rollout)
    draft.because(f"verdict:{verdict.status}", f"{verdict.judge}, step {verdict.step + 1}: {verdict.reason}", rollout.id)
    if not may_veto(draft.version_set(rollout.id).policy, verdict.judge):
        return True
    if verdict.status is VerdictStatus.FAIL:
        _failed(draft, rollout, verdict)
    elif (why := _budget_spent(draft, rollout, verdict)) is not None:
        _stop(draft, rollout, why)
    return True


def _unheard(rollout: e.Rollout | None, verdict: Verdict, draft: Draft) -> str | None:
    """Why the verdict does not count, or None."""
    if rollout is None:
        return "there is no such rollout"
    if verdict.environment != draft.environment:
        return f"it names environment {verdict.environment}, and this is {draft.environment}"
    if (why := _misplaced(rollout, verdict)) is not None:
        return why
    known = [j.name for j in draft.version_set(rollout.id).policy.gate.outside]
    if verdict.judge != OUR_JUDGE and verdict.judge not in known:
        return "the policy gives this judge no say"
    if rollout.phase is Phase.SHIFTING and not _is_harm(draft, rollout, verdict):
        return "its next weight is on its way, where of the step before only harm is heard"
    return None


def _misplaced(rollout: e.Rollout, verdict: Verdict) -> str | None:
    """That nothing is judged now, or not what the verdict names; None where it names what the judge was told to watch last."""
    watched = rollout.phase is Phase.SHIFTING and rollout.confirmed_ms is not None
    if not watched and rollout.phase not in (Phase.VERIFYING, Phase.BAKING, Phase.ADVISING):
        return f"it is {rollout.phase}, where nothing is judged" if rollout.phase not in ENDED else f"it has ended ({rollout.phase})"
    step = step_count(rollout) - 1 if rollout.bakes else global_step(rollout)
    if verdict.attempt != rollout.judged_attempt or (not watched and verdict.step != step):
        return f"it names step {verdict.step + 1}, attempt {verdict.attempt}; judged is step {step + 1}, attempt {rollout.judged_attempt}"
    return None


def _is_harm(draft: Draft, rollout: e.Rollout, verdict: Verdict) -> bool:
    return verdict.status is VerdictStatus.FAIL or _budget_spent(draft, rollout, verdict) is not None


def _noted(draft: Draft, rollout: e.Rollout, verdict: Verdict) -> e.Rollout:
    heard = e.Heard(
        judge=verdict.judge,
        status=verdict.status,
        reason=verdict.reason,
        step=verdict.step,
        attempt=verdict.attempt,
        at_ms=draft.clock.now_ms,
        window=verdict.window,
        windows_judged=verdict.windows_judged,
        proven=verdict.proven,
        no_data=verdict.no_data,
        contradicted=verdict.contradicted,
        doubtful=verdict.doubtful,
    )
    sighted = verdict.judge == OUR_JUDGE and verdict.no_data is not NoDataCause.PIPELINE_LATE
    return replace(
        rollout,
        heard={**rollout.heard, verdict.judge: heard},
        history=(*rollout.history, heard)[-HISTORY_KEPT:],
        evidence_steady=draft.clock.steady if sighted else rollout.evidence_steady,
        **_harmed(rollout, verdict),
    )


def _budget_spent(draft: Draft, rollout: e.Rollout, verdict: Verdict) -> str | None:
    """That a candidate has surely harmed more requests in all of its steps and climbs than the policy allows, whatever its gate says; or
    None. Of several that move together each is counted by itself, since a request that touches two is harmed once."""
    policy = draft.version_set(rollout.id).policy
    budget = policy.exposure_budget_requests
    if budget is None or rollout.forced or not verdict.harm:
        return None
    told = _harmed(rollout, verdict)
    total = _together(told["harm_before"], told["harm"])
    alpha = policy.gate.alpha / len(rollout.units)
    for each in total:
        harmed = surely(each.failed - each.expected, each.variance, alpha)
        if harmed > budget:
            said = f"{each.service} has harmed {harmed:.0f} requests at least, more than the budget of {budget}"
            return f"{said}: {each.failed:.0f} that touched it failed, of which {each.expected:.0f} would have failed anyhow"
    return None


class _Harmed(TypedDict):
    harm: tuple[Harm, ...]
    harm_before: tuple[Harm, ...]
    harm_attempt: int


def _harmed(rollout: e.Rollout, verdict: Verdict) -> _Harmed:
    """What is known of harmed requests, with what a verdict of ours says of its step and attempt. One that comes late, or of a judge that
    had to begin anew, says less than is known."""
    before, now, attempt = rollout.harm_before, rollout.harm, rollout.harm_attempt
    if verdict.judge == OUR_JUDGE and verdict.harm:
        if verdict.attempt > attempt:
            before, now, attempt = _together(before, now), (), verdict.attempt
        known = {each.service: each for each in now}
        now = tuple(told if told.failed >= known.get(told.service, told).failed else known[told.service] for told in verdict.harm)
    return {"harm": now, "harm_before": before, "harm_attempt": attempt}


def _together(some: tuple[Harm, ...], more: tuple[Harm, ...]) -> tuple[Harm, ...]:
    total = {each.service: each for each in some}
    for each in more:
        known = total.get(each.service, Harm(each.service))
        total[each.service] = Harm(each.service, known.failed + each.failed, known.expected + each.expected, known.variance + each.variance)
    return tuple(total.values())


def _failed(draft: Draft, rollout: e.Rollout, verdict: Verdict) -> None:
    if rollout.forced or rollout.skip_gate:
        draft.because("forced", f"{rollout.id} failed and goes on, since an operator forces it: {verdict.reason}", rollout.id)
        return
    blamed = _blamed(draft, rollout, verdict)
    if blamed.id != rollout.id and rollout.advice is None:
        draft.put_rollout(replace(rollout, beside=blamed.id))
        draft.because("shared-guard", f"{rollout.id} stops beside {blamed.id}, which is blamed: {verdict.reason}", rollout.id)
    for other in _sharing(draft, blamed, verdict):
        if other.id not in (blamed.id, rollout.id) and other.advice is None:
            draft.put_rollout(replace(other, beside=blamed.id))
    if not blamed.goes_back:
        _stop(draft, draft.rollout(blamed.id) or blamed, verdict.reason, f"{verdict.judge}: ")


def _stop(draft: Draft, rollout: e.Rollout, why: str, by: str = "") -> None:
    """Bring the rollout back, but a revert; where another tool makes it, say from now on that we would."""
    if rollout.is_revert:
        _keep_revert(draft, rollout, why)
    elif rollout.advice is None:
        move(draft, rollout, Event.STOP, by + why)
    elif rollout.stopped_because is None:
        draft.put_rollout(replace(rollout, stopped_because=by + why))


def _keep_revert(draft: Draft, rollout: e.Rollout, why: str) -> None:
    """A revert is never itself reverted: it is held, and people are told."""
    text = f"a revert fails and is not reverted by itself: {why}"
    draft.put_rollout(hold(draft, rollout, Condition(REVERT_FAILS, text)))


def _failing_guards(verdict: Verdict) -> tuple[str, ...]:
    """Guards that failed without being a changed service's own edges; empty where the harm is the candidate's own."""
    failed = [m for m in verdict.metrics if m.status is VerdictStatus.FAIL]
    if not failed or any(m.role is GuardRole.CHANGED for m in failed):
        return ()
    return tuple(m.guard for m in failed)


def _sharing(draft: Draft, rollout: e.Rollout, verdict: Verdict) -> tuple[e.Rollout, ...]:
    """Other rollouts with weight, or that have lost it just now, that watch one of the failing guards too."""
    guards = _failing_guards(verdict)
    if not guards:
        return ()
    return tuple(other for other in _beside(draft, rollout) if any(g.guard.service in guards for g in draft.version_set(other.id).guards))


def _beside(draft: Draft, rollout: e.Rollout) -> tuple[e.Rollout, ...]:
    """Other rollouts with weight, and those that had it and go back: what they harmed is in the windows that are judged now."""
    under_weight = {other.id for other in concurrent(draft, rollout)}
    return tuple(other for other in draft.rollouts() if other.id in under_weight or (other.id != rollout.id and _lost_weight(other)))


def _lost_weight(rollout: e.Rollout) -> bool:
    return rollout.goes_back and any(passage.phase is Phase.SHIFTING for passage in rollout.timeline)


def _blamed(draft: Draft, rollout: e.Rollout, verdict: Verdict) -> e.Rollout:
    others = _beside(draft, rollout)
    if verdict.culprit is not None:
        named = verdict.culprit
        if any(u.service == named.service for u in rollout.units):
            return rollout
        for other in others:
            if any((u.service, draft.told_as(u.service, u.candidate)) == (named.service, named.version) for u in other.units):
                return other
        return rollout
    sharing = _sharing(draft, rollout, verdict)
    going = [other for other in sharing if other.goes_back]
    return max(going or [rollout, *sharing], key=lambda r: (_stepped(r), r.id))


def _stepped(rollout: e.Rollout) -> int:
    """When it last stepped: once its weight was confirmed, or while that is awaited when it was told."""
    return rollout.phase_since_steady if rollout.confirmed_steady is None else rollout.confirmed_steady
