"""What the verdicts of a step mean for going on: pass, wait, no data, blind, unprovable, doubted, contradicted or fail.

The statistics are the judge's; here its last word, the words of outside judges and the clock are read together. A gate that is
forced is open whatever anybody says; an operator's ``promote`` accepts missing proof, but neither a FAIL nor blindness.
"""

from enum import StrEnum
from typing import Final

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import runs
from ctrlplane_stream.model.policy import Policy, Unsure
from ctrlplane_stream.model.verdicts import OUR_JUDGE, NoDataCause, OnUnprovable, OutsideJudge, VerdictStatus

FIRST_WORD_WINDOWS = 3
"""Windows that the first verdict of a step may take besides: the one cut in two, the one judged, and its lateness."""
BLIND_WINDOWS = 3
"""Windows without a word before anybody speaks of blindness."""

MAX_RETREATS = 3
"""After so many retreats a blind rollout waits for a person instead of trying again."""


class Gate(StrEnum):
    """Whether the rollout may leave its step."""

    OPEN = "open"
    WAITING = "waiting"
    NO_DATA = "no-data"
    BLIND = "blind"
    UNPROVABLE = "unprovable"
    DOUBTED = "doubted"
    """More than traffic is missing: evidence speaks for harm that is not proven, and nothing soaks past it."""
    UNJUDGED = "unjudged"
    """A judge whose PASS is required has not given it in time."""
    CONTRADICTED = "contradicted"
    """Arrivals contradict the weight."""
    FAILED = "failed"


WAITING: Final = Gate.WAITING
"""What most gates say in most decisions, under a name of its own, for the reason that ``phases.py`` gives."""


class Reading(msgspec.Struct, frozen=True):
    """The state of a gate, in words; ``proven`` is False where it is open on something less than proof."""

    gate: Gate
    text: str
    proven: bool = True


def read(clock: e.Clock, rollout: e.Rollout, version_set: e.VersionSet, window_seconds: float) -> Reading:
    """Read the gate of a rollout that is verifying or baking."""
    if rollout.skip_gate or rollout.forced:
        return _skipped(clock, rollout, version_set.policy)
    policy = version_set.policy
    if (blind := _blindness(clock, rollout, version_set, window_seconds)) is not None:
        return Reading(Gate.BLIND, blind)
    seconds = (clock.steady - (rollout.confirmed_steady or 0)) / 1000
    if (outside := _outside(rollout, policy, seconds)) is not None:
        return outside
    ours = rollout.heard.get(OUR_JUDGE)
    if (few := runs.missing(rollout, policy)) is not None and not (rollout.approved or rollout.promote_all):
        return Reading(Gate.WAITING, few)
    if ours is None and not _needs_no_word(rollout, version_set):
        return Reading(Gate.WAITING, "waits for the first window to be judged")
    if ours is not None and ours.status is VerdictStatus.FAIL:
        return Reading(Gate.WAITING, f"failed, and only skip or force goes on: {ours.reason}")
    if ours is None or (rollout.advice is None and runs.goes_by_runs(version_set, rollout)):
        return _of_runs(rollout, policy, seconds, few)
    if ours.status is VerdictStatus.NO_DATA:
        return _silent(rollout, version_set, ours, seconds)
    if rollout.bakes:
        return _baking(rollout, policy, ours, seconds)
    return _verifying(rollout, version_set, ours, seconds)


def _needs_no_word(rollout: e.Rollout, version_set: e.VersionSet) -> bool:
    """Whether telemetry need not speak at all; what another tool moves is judged by its traffic alone."""
    return rollout.advice is None and runs.only_jobs(version_set)


def _of_runs(rollout: e.Rollout, policy: Policy, seconds: float, few: str | None) -> Reading:
    """The gate of jobs: their runs are its evidence, and a judge may only object."""
    least = policy.bake_seconds if rollout.bakes else rollout.steps[rollout.step].min_seconds
    if seconds < least:
        return Reading(Gate.WAITING, f"stays {least:.0f} s ({seconds:.0f} s so far)")
    if few is not None:
        return Reading(Gate.OPEN, f"an operator promotes on fewer runs: {few}", proven=False)
    said = ", ".join(f"{count} of {name}" for name, count in runs.runs_now(rollout).items())
    return Reading(Gate.OPEN, f"runs ended well: {said}")


def _skipped(clock: e.Clock, rollout: e.Rollout, policy: Policy) -> Reading:
    """Force skips judgement, not time: a bake lasts as long as ever, so that whoever forced it can still abort."""
    seconds = (clock.steady - (rollout.confirmed_steady or 0)) / 1000
    if rollout.bakes and seconds < policy.bake_seconds:
        return Reading(Gate.WAITING, f"bakes {seconds:.0f} of {policy.bake_seconds:.0f} s, its gate skipped by an operator")
    return Reading(Gate.OPEN, "the gate is skipped by an operator", proven=False)


def quiet_seconds(clock: e.Clock, rollout: e.Rollout, window_seconds: float) -> float:
    """For how long no judge had anything to say about the step; the first word may take some windows longer."""
    if rollout.evidence_steady is not None:
        return clock.seconds_since(rollout.evidence_steady)
    return max(0.0, (clock.steady - (rollout.confirmed_steady or 0)) / 1000 - FIRST_WORD_WINDOWS * window_seconds)


def is_blind_too_long(clock: e.Clock, rollout: e.Rollout, policy: Policy, window_seconds: float) -> bool:
    """Whether a gate that reads BLIND does so for longer than the policy lets a candidate serve unseen (and for some windows at least)."""
    return quiet_seconds(clock, rollout, window_seconds) > max(policy.blind_limit_seconds, BLIND_WINDOWS * window_seconds)


def _blindness(clock: e.Clock, rollout: e.Rollout, version_set: e.VersionSet, window_seconds: float) -> str | None:
    if _needs_no_word(rollout, version_set):
        return None
    quiet = quiet_seconds(clock, rollout, window_seconds)
    ours = rollout.heard.get(OUR_JUDGE)
    if ours is not None and ours.no_data == NoDataCause.PIPELINE_LATE:
        return f"telemetry is late ({ours.reason}); nothing was seen for {quiet:.0f} s"
    if quiet > max(version_set.policy.blind_limit_seconds / 2, BLIND_WINDOWS * window_seconds):
        return f"no verdict for {quiet:.0f} s: the judge or the telemetry before it stands still"
    return None


def _outside(rollout: e.Rollout, policy: Policy, seconds: float) -> Reading | None:
    """What outside judges make of it, or None where they leave it to ours."""
    patience = proof_seconds(rollout, policy)
    for judge in policy.gate.outside:
        heard = rollout.heard.get(judge.name)
        if heard is not None and heard.status is VerdictStatus.FAIL and judge.may_veto:
            return Reading(Gate.FAILED, f"{judge.name}: {heard.reason}")
        if judge.required and not _passed(heard):
            said = f"; it says {heard.status}: {heard.reason}" if heard is not None else ""
            if seconds >= patience:
                return Reading(Gate.UNJUDGED, f"no PASS from {judge.name} in {seconds:.0f} s, and the policy requires it{said}")
            return Reading(Gate.WAITING, f"waits for a PASS from {judge.name}{said}")
    return None


def proof_seconds(rollout: e.Rollout, policy: Policy) -> float:
    """How long the step, or the bake, may take for its evidence."""
    if rollout.bakes:
        return policy.bake_seconds + rollout.steps[-1].max_seconds
    return rollout.steps[rollout.step].max_seconds


def may_veto(policy: Policy, judge: str) -> bool:
    """Whether a FAIL of this judge stops the step: ours always does, an outside one where the policy lets it."""
    return judge == OUR_JUDGE or any(outside.name == judge and outside.may_veto for outside in policy.gate.outside)


def _passed(heard: e.Heard | None) -> bool:
    return heard is not None and heard.status is VerdictStatus.PASS


def _approved_outside(rollout: e.Rollout, judges: tuple[OutsideJudge, ...]) -> str | None:
    return next((j.name for j in judges if j.may_approve and _passed(rollout.heard.get(j.name))), None)


def soaks(version_set: e.VersionSet) -> bool:
    """Whether silence is soaked rather than held: by policy, or since the service was never seen in a trace."""
    policy = version_set.policy
    unknown = version_set.confidence == "none" and policy.on_unknown_service is Unsure.SOAK
    return policy.on_no_data is Unsure.SOAK or unknown


def _silent(rollout: e.Rollout, version_set: e.VersionSet, ours: e.Heard, seconds: float) -> Reading:
    policy = version_set.policy
    if rollout.approved or rollout.promote_all:
        return Reading(Gate.OPEN, "an operator promotes without data", proven=False)
    if soaks(version_set):
        limit = policy.bake_seconds if rollout.bakes else rollout.steps[rollout.step].max_seconds
        if seconds >= limit and ours.doubtful:
            return _doubted(policy, ours, seconds)
        if seconds >= limit:
            return Reading(Gate.OPEN, f"soaked for {seconds:.0f} s without data and without harm", proven=False)
        return Reading(Gate.WAITING, f"soaks {seconds:.0f} of {limit:.0f} s: {ours.reason}")
    if policy.on_no_data is Unsure.ABORT:
        return Reading(Gate.FAILED, f"no data, and the policy aborts on that: {ours.reason}")
    return Reading(Gate.NO_DATA, ours.reason)


def _baking(rollout: e.Rollout, policy: Policy, ours: e.Heard, seconds: float) -> Reading:
    if seconds < policy.bake_seconds:
        return Reading(Gate.WAITING, f"bakes {seconds:.0f} of {policy.bake_seconds:.0f} s")
    if ours.windows_judged < policy.bake_windows:
        return Reading(Gate.WAITING, f"baked long enough, but only {ours.windows_judged} of {policy.bake_windows} windows were judged")
    baked = f"baked {seconds:.0f} s over {ours.windows_judged} windows: {ours.reason}"
    if ours.status is VerdictStatus.PASS or rollout.approved or rollout.promote_all:
        return Reading(Gate.OPEN, baked, ours.status is VerdictStatus.PASS and ours.proven)
    if ours.contradicted:
        return Reading(Gate.CONTRADICTED, ours.reason)
    if (judge := _approved_outside(rollout, policy.gate.outside)) is not None:
        return Reading(Gate.OPEN, f"{judge} approves what could not be proven; {baked}", proven=False)
    if seconds < proof_seconds(rollout, policy) and (ours.doubtful or policy.unprovable_bake is not Unsure.SOAK):
        awaited = "for its doubt to be settled" if ours.doubtful else "for proof"  # the old version cannot be had back once it drained
        return Reading(Gate.WAITING, f"baked long enough, and waits {awaited}: {ours.reason}")
    return _unprovable(policy, policy.unprovable_bake, ours, seconds)


def _verifying(rollout: e.Rollout, version_set: e.VersionSet, ours: e.Heard, seconds: float) -> Reading:
    step, policy = rollout.steps[rollout.step], version_set.policy
    if ours.status is VerdictStatus.PASS:
        if seconds < step.min_seconds:
            return Reading(Gate.WAITING, f"passed, and stays {step.min_seconds:.0f} s ({seconds:.0f} s so far)")
        if ours.windows_judged < step.min_windows:
            return Reading(Gate.WAITING, f"{ours.windows_judged} of {step.min_windows} windows judged")
        return Reading(Gate.OPEN, ours.reason, ours.proven)
    if rollout.approved or rollout.promote_all:
        return Reading(Gate.OPEN, f"an operator promotes on less than proof: {ours.reason}", proven=False)
    if seconds < step.min_seconds:
        return Reading(Gate.WAITING, ours.reason)
    if ours.contradicted:
        return Reading(Gate.CONTRADICTED, ours.reason)
    if (judge := _approved_outside(rollout, policy.gate.outside)) is not None and ours.windows_judged >= step.min_windows:
        return Reading(Gate.OPEN, f"{judge} approves what could not be proven", proven=False)
    if seconds < step.max_seconds:
        return Reading(Gate.WAITING, ours.reason)
    if ours.windows_judged < step.min_windows:  # what nobody looked at was not soaked: late telemetry is no telemetry
        return _silent(rollout, version_set, ours, seconds)
    return _unprovable(policy, policy.on_unprovable, ours, seconds)


def _unprovable(policy: Policy, answer: Unsure, ours: e.Heard, seconds: float) -> Reading:
    answer = answer_to_unproven(policy, answer)
    if ours.doubtful and answer is not Unsure.ABORT:
        return _doubted(policy, ours, seconds)
    if answer is Unsure.SOAK:
        return Reading(Gate.OPEN, f"no harm shown in {seconds:.0f} s, but no proof either: {ours.reason}", proven=False)
    if answer is Unsure.ABORT:
        return Reading(Gate.FAILED, f"could not be proven in {seconds:.0f} s: {ours.reason}")
    return Reading(Gate.UNPROVABLE, f"could not be proven in {seconds:.0f} s: {ours.reason}{_approvers(policy)}")


def _doubted(policy: Policy, ours: e.Heard, seconds: float) -> Reading:
    text = f"neither proven nor failed in {seconds:.0f} s, and not for want of traffic: {ours.reason}"
    return Reading(Gate.DOUBTED, text + _approvers(policy))


def _approvers(policy: Policy) -> str:
    judges = " or ".join(judge.name for judge in policy.gate.outside if judge.may_approve)
    return f"; {judges} may approve it" if judges else ""


def answer_to_unproven(policy: Policy, answer: Unsure) -> Unsure:
    """What is done with what could not be proven: as the policy says, but nothing soaks where its gate waits for somebody's word."""
    waits = policy.gate.on_unprovable is not OnUnprovable.SOAK or any(judge.may_approve for judge in policy.gate.outside)
    return Unsure.HOLD if answer is Unsure.SOAK and waits else answer
