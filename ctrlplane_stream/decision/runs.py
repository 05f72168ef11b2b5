"""Jobs: what runs to its end by a schedule has no traffic to share, so its weight is whose version the next run is.

A candidate takes the next runs, all of them, and each run that ends well is a judged window: so many make a step, so many the bake. A run
that fails is the world's own word against the version, like a crash loop. Runs under way are never ended for a step: what drains are
they. In a set with services that take shares a job takes its weight at the last step.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy


def is_job(version_set: e.VersionSet, service: str) -> bool:
    """Whether the service takes weight by its runs."""
    return version_set.kinds.get(service) is ServiceKind.JOB


def only_jobs(version_set: e.VersionSet) -> bool:
    """Whether nothing of the set takes traffic, so that telemetry may object but need not speak."""
    kinds = version_set.kinds
    for kind in kinds.values():  # a loop, since this is asked more often than anything else and the first answers it mostly
        if kind is not ServiceKind.JOB:
            return False
    return bool(kinds)


def shown_weight(version_set: e.VersionSet, service: str, weight: int) -> int:
    """The weight that a step gives the service's candidate: a job has all runs or none."""
    return 0 if weight < 100 and is_job(version_set, service) else weight


def ended_well(draft: Draft, service: str, label: str) -> int:
    """Runs of the version that ended well, as they were last seen."""
    seen = draft.target(service).seen(label)
    return seen.runs if seen is not None else 0


def counted_from(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """The rollout with its runs counted from now on."""
    if rollout.advice is not None:
        return rollout
    version_set = draft.version_set(rollout.id)
    jobs = {u.service: ended_well(draft, u.service, u.candidate) for u in rollout.units if is_job(version_set, u.service)}
    return replace(rollout, runs_before=jobs, runs=dict.fromkeys(jobs, 0)) if jobs or rollout.runs_before else rollout


def counted(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """The rollout with the runs that ended well since its weight was confirmed; the count never falls, whatever comes late."""
    if not rollout.runs_before:
        return rollout
    now = {u.service: ended_well(draft, u.service, u.candidate) for u in rollout.units if u.service in rollout.runs_before}
    runs = {name: max(rollout.runs.get(name, 0), count - rollout.runs_before[name]) for name, count in now.items()}
    return replace(rollout, runs=runs) if runs != rollout.runs else rollout


def missing(rollout: e.Rollout, policy: Policy) -> str | None:
    """Which job has not run often enough at this step, or while it bakes; None where all have, or none is in it yet."""
    if not rollout.runs_before or not (rollout.bakes or rollout.steps[rollout.step].weight == 100):
        return None
    wanted = policy.bake_windows if rollout.bakes else rollout.steps[rollout.step].min_windows
    jobs = [u.service for u in rollout.units if u.service in rollout.runs_before and (rollout.bakes or u.wave == rollout.wave)]
    few = [f"{name}: {rollout.runs[name]} of {wanted} runs ended well" for name in jobs if rollout.runs[name] < wanted]
    return "; ".join(few) or None


def still_running(target: e.TargetEntry, label: str) -> int:
    """Runs of the version that are under way."""
    seen = target.seen(label)
    return seen.running if seen is not None else 0
