"""Our verdict and those of others: what an outside judge may do, and what the world's own failures say.

An outside judge has the rights that the policy gives to its name: to veto (its FAIL fails the step), to approve (its PASS lets a step
pass that evidence could neither prove nor refute, never one that is failing, blind or too young), and to be waited for (no PASS without
it). Lost readiness and crash loops are FAIL with no telemetry at all.
"""

from collections.abc import Iterable

import msgspec

from ctrlplane_stream.model.verdicts import Assignment, Culprit, OutsideJudge, Verdict, VerdictStatus
from ctrlplane_stream.model.world import TargetObserved

READINESS_JUDGE = "readiness"
"""The ``judge`` of verdicts that rest on what the actuator observes; it may always veto."""


def combined(ours: Verdict, others: Iterable[Verdict], assignment: Assignment) -> Verdict:
    """Our verdict as changed by others about the same rollout, step and attempt; of several by one judge the last counts.

    In this order: our FAIL stands; a veto fails the step; an approval passes what is undecided; a required judge that has not said PASS
    holds it.
    """
    spoken = _last_words(ours, others)
    if ours.status is VerdictStatus.FAIL:
        return ours
    rights = {judge.name: judge for judge in (*assignment.policy.outside, OutsideJudge(READINESS_JUDGE))}
    for name, verdict in spoken.items():
        if verdict.status is VerdictStatus.FAIL and name in rights and rights[name].may_veto:
            return _said(ours, VerdictStatus.FAIL, f"{name}: {verdict.reason}", culprit=verdict.culprit)
    status, proven, reason = ours.status, ours.proven, ours.reason
    if status is VerdictStatus.INCONCLUSIVE and ours.windows_judged >= assignment.policy.minimum_windows:
        approver = next((n for n, v in spoken.items() if v.status is VerdictStatus.PASS and n in rights and rights[n].may_approve), None)
        if approver is not None:
            status, proven, reason = VerdictStatus.PASS, False, f"Approved by {approver}: {spoken[approver].reason} ({ours.reason})"
    if status is VerdictStatus.PASS:
        for judge in assignment.policy.outside:
            if judge.required and (judge.name not in spoken or spoken[judge.name].status is not VerdictStatus.PASS):
                return _said(ours, VerdictStatus.INCONCLUSIVE, f"Waits for {judge.name}, whose PASS the policy requires. {reason}")
    return _said(ours, status, reason, proven=proven)


def readiness_verdict(observed: TargetObserved, assignment: Assignment) -> Verdict | None:
    """FAIL where a candidate of this assignment crashes, fails to start or has lost all readiness while it has traffic; else None."""
    change = next((change for change in assignment.changed if change.service == observed.target.service), None)
    version = observed.version(change.candidate) if change is not None else None
    if change is None or version is None:
        return None
    if version.failure is not None:
        reason = f"{change.service} {change.candidate} fails: {version.failure}."
    elif version.weight > 0 and version.instances > 0 and version.ready == 0:
        reason = f"{change.service} {change.candidate} has weight {version.weight} and none of its {version.instances} instances is ready."
    else:
        return None
    return Verdict(
        judge=READINESS_JUDGE,
        environment=assignment.environment,
        rollout=assignment.rollout,
        step=assignment.step,
        attempt=assignment.attempt,
        status=VerdictStatus.FAIL,
        reason=reason,
        culprit=Culprit(change.service, change.candidate),
    )


def _last_words(ours: Verdict, others: Iterable[Verdict]) -> dict[str, Verdict]:
    about = (ours.environment, ours.rollout, ours.step, ours.attempt)
    return {
        verdict.judge: verdict
        for verdict in others
        if verdict.judge != ours.judge and (verdict.environment, verdict.rollout, verdict.step, verdict.attempt) == about
    }


def _said(ours: Verdict, status: VerdictStatus, reason: str, *, proven: bool = False, culprit: Culprit | None = None) -> Verdict:
    return msgspec.structs.replace(ours, status=status, reason=reason, proven=proven, culprit=culprit)
