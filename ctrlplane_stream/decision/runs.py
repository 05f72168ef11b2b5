"""Jobs: what runs to its end by a schedule has no traffic to share, so its weight is whose version the next run is.

A candidate takes the next runs, all of them, and each run that ends well is a judged window: so many make a step, so many the bake. A run
that fails is the world's own word against the version, like a crash loop. Runs under way are never ended for a step: what drains are
they. In a set with services that take shares a job takes its weight at the last step, which is the only one of a wave of jobs alone. A
job that somebody makes anew counts its runs from nothing: those that were counted stay counted, and those after it count on.
"""

from typing import Final

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy

_JOB: Final = ServiceKind.JOB
"""A name of its own, for the reason that ``phases.py`` gives."""
COUNTS_ANEW_SECONDS = 60
"""For how long fewer runs must be seen than before, before that is no late report but a job that was made anew and counts from nothing."""


def is_job(version_set: e.VersionSet, service: str) -> bool:
    """Whether the service takes weight by its runs."""
    return version_set.kinds.get(service) is _JOB


def only_jobs(version_set: e.VersionSet) -> bool:
    """Whether nothing of the set takes traffic, so that telemetry may object but need not speak."""
    kinds = version_set.kinds
    for kind in kinds.values():  # a loop, since this is asked more often than anything else and the first answers it mostly
        if kind is not _JOB:
            return False
    return bool(kinds)


def goes_by_runs(version_set: e.VersionSet, rollout: e.Rollout) -> bool:
    """Whether nothing that is judged now takes traffic: a wave of jobs alone, or a set of them."""
    return all(is_job(version_set, unit.service) for unit in rollout.units if rollout.bakes or unit.wave == rollout.wave)


def first_step(version_set: e.VersionSet, wave: int, steps: int) -> int:
    """At which of so many steps a wave begins: at the last where it moves jobs alone, which have all runs or none."""
    jobs_alone = all(is_job(version_set, unit.service) for unit in version_set.changed if unit.wave == wave)
    return steps - 1 if jobs_alone else 0


def shown_weight(version_set: e.VersionSet, service: str, weight: int) -> int:
    """The weight that a step gives the service's candidate: a job has all runs or none."""
    return 0 if weight < 100 and is_job(version_set, service) else weight


def ended_well(draft: Draft, service: str, label: str) -> int:
    """Runs of the version that ended well, as they were last seen."""
    seen = draft.target(service).seen(label)
    return seen.runs if seen is not None else 0


def counted_from(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """The rollout with its runs counted from now on: from the most that was seen of them, since what was seen last may be late."""
    if rollout.advice is not None:
        return rollout
    version_set = draft.version_set(rollout.id)
    jobs = {
        u.service: max(ended_well(draft, u.service, u.candidate), _most(rollout, u.service))
        for u in rollout.units
        if is_job(version_set, u.service)
    }
    return replace(rollout, runs_before=jobs, runs=dict.fromkeys(jobs, 0)) if jobs or rollout.runs_before else rollout


def with_runs(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """The rollout with the runs that ended well since they are counted; the count never falls, whatever comes late."""
    after = rollout
    for unit in rollout.units:
        if unit.service in rollout.runs_before:
            after = _counted_on(draft, after, unit.service, ended_well(draft, unit.service, unit.candidate))
    return after


def _most(rollout: e.Rollout, service: str) -> int:
    """The most runs that were seen of a job's candidate by now, as its world counts them."""
    return rollout.runs_before.get(service, 0) + rollout.runs.get(service, 0)


def _counted_on(draft: Draft, rollout: e.Rollout, service: str, seen: int) -> e.Rollout:
    """The rollout with what was seen of one job. What is less than was seen before is late, or its world has begun to count anew: that is
    believed once it has lasted, and goes on rising."""
    fell = rollout.runs_fell.get(service)
    if seen >= (most := _most(rollout, service)):
        if fell is None and seen == most:
            return rollout
        fallen = {name: fall for name, fall in rollout.runs_fell.items() if name != service}
        return replace(rollout, runs={**rollout.runs, service: seen - rollout.runs_before[service]}, runs_fell=fallen)
    if fell is None or seen < fell.seen:
        return replace(rollout, runs_fell={**rollout.runs_fell, service: e.RunsFell(seen, draft.clock.steady)})
    if seen == fell.seen or draft.clock.steady - fell.since_steady < COUNTS_ANEW_SECONDS * 1000:
        return rollout
    draft.because("counts-anew", f"{rollout.id}: {service} counts its runs anew, from {fell.seen} instead of {most}", rollout.id)
    anew = replace(rollout, runs_before={**rollout.runs_before, service: fell.seen - rollout.runs[service]})
    return _counted_on(draft, anew, service, seen)


def missing(rollout: e.Rollout, policy: Policy) -> str | None:
    """Which job has not run often enough at this step, or while it bakes; None where all have, or none is in it yet."""
    if not rollout.runs_before or not (rollout.bakes or rollout.steps[rollout.step].weight == 100):
        return None
    wanted = policy.bake_windows if rollout.bakes else rollout.steps[rollout.step].min_windows
    had = runs_now(rollout)
    return "; ".join(f"{name}: {count} of {wanted} runs ended well" for name, count in had.items() if count < wanted) or None


def runs_now(rollout: e.Rollout) -> dict[str, int]:
    """Of each job that is judged at this step, or while it bakes: how many runs ended well since it is."""
    there = (u.service for u in rollout.units if rollout.bakes or u.wave == rollout.wave)
    return {name: rollout.runs[name] for name in there if name in rollout.runs_before}


def still_running(target: e.TargetEntry, label: str) -> int:
    """Runs of the version that are under way."""
    seen = target.seen(label)
    return seen.running if seen is not None else 0
