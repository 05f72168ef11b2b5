"""Whether candidates have the instances that more weight needs, from when on a person is asked about one that never has, and the word of
instances that fail."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import gate
from ctrlplane_stream.decision.assigning import global_step, next_place, step_count
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.runs import is_job
from ctrlplane_stream.decision.targets import failure, ready_weight
from ctrlplane_stream.model.commands import Declare
from ctrlplane_stream.model.verdicts import INSTANCES, Culprit, Verdict, VerdictStatus


def unready(draft: Draft, rollout: e.Rollout) -> str | None:
    """Which candidate has an instance that is not ready, or none at all, or None; where instances are exchanged, which version."""
    if rollout.forced_unsafe:
        return None
    exchanged = draft.version_set(rollout.id).in_place
    for unit in rollout.units:
        target = draft.target(unit.service)
        if unit.service in exchanged:
            if (seen := next((v for v in target.observed if v.ready < v.instances), None)) is not None:
                return f"{unit.service} {seen.label}: {seen.ready} of {seen.instances} instances ready, and the next waits for all"
            continue
        if (ready := ready_weight(target, unit.candidate)) < 100:
            seen = target.seen(unit.candidate)
            counted = f"{seen.ready} of {seen.instances} instances ready" if seen is not None else "not seen yet"
            return f"{unit.service} {unit.candidate}: {counted}, enough for {ready}%"
    return None


def nothing_to_exchange(draft: Draft, rollout: e.Rollout) -> str | None:
    """Which version that is to be exchanged one instance after another shows none, or None: how many there are says how many steps."""
    if rollout.forced_unsafe:
        return None
    exchanged = draft.version_set(rollout.id).in_place
    for unit in rollout.units:
        if unit.service in exchanged and unit.stable is not None:
            seen = draft.target(unit.service).seen(unit.stable)
            if seen is None or seen.instances <= 0:
                return f"{unit.service} {unit.stable}: no instance seen, and they are exchanged one after another"
    return None


def never_ready(draft: Draft, rollout: e.Rollout) -> str | None:
    """That a step which nothing else keeps waits for readiness longer than its proof and an instance may take, or None."""
    if rollout.phase is not Phase.VERIFYING or next_place(draft, rollout) is None or (waits := unready(draft, rollout)) is None:
        return None
    policy = draft.version_set(rollout.id).policy
    limit = gate.proof_seconds(rollout, policy) + policy.ready_timeout_seconds
    late = draft.clock.steady - (rollout.confirmed_steady or 0) > limit * 1000
    return f"nothing else keeps this step, but not every candidate is ready after {limit:.0f} s: {waits}" if late else None


def none_ready(draft: Draft, rollout: e.Rollout) -> str | None:
    """Which candidate has no ready instance as the bake ends, or None. Force with unsafe sends it traffic all the same, on somebody's word;
    that makes it no last known good for which the old one is given up."""
    if rollout.phase is not Phase.BAKING:
        return None
    version_set = draft.version_set(rollout.id)
    for unit in rollout.units:
        seen = draft.target(unit.service).seen(unit.candidate)
        if not is_job(version_set, unit.service) and (seen is None or seen.ready == 0):
            return f"{unit.service} {unit.candidate} has no ready instance, and the old one stays until it has"
    return None


def failing(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> str | None:
    """That a candidate fails by its instances alone, or None. It is said where judges say theirs too, so that nobody there misses it."""
    target = draft.target(unit.service)
    if (why := failure(target, unit.candidate)) is None or (rollout.phase is Phase.PREPARING and not _answered(draft, target)):
        return None
    step = step_count(rollout) - 1 if rollout.bakes or rollout.promoted else global_step(rollout)
    verdict = Verdict(
        judge=INSTANCES,
        environment=rollout.environment,
        rollout=rollout.id,
        step=step,
        attempt=rollout.judged_attempt,
        status=VerdictStatus.FAIL,
        reason=f"{unit.service} {unit.candidate} fails: {why}",
        culprit=Culprit(unit.service, draft.told_as(unit.service, unit.candidate)),
    )
    draft.outputs.append(Declare(f"{rollout.id}/{INSTANCES}@{draft.clock.sequence}", verdict))
    return verdict.reason


def _answered(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether what is seen of the target is of this attempt: not while a command is on its way out."""
    return target.service not in draft.telling and target.is_heard
