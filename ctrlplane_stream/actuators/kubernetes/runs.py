"""Runs of a job as the cluster has them: a Job each, counted once, and what the last that ended came to. Pure.

The cluster keeps few of the Jobs that ended, so what was counted is written on the version's CronJob, and only that is told: a count never
falls. What ended while nobody looked, and is gone, is not counted: a step waits for one run more.
"""

import msgspec

from ctrlplane_stream.actuators.kubernetes.names import version_slug
from ctrlplane_stream.actuators.kubernetes.objects import RUNS, VERSION, Manifest, annotation, label, name_of
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.world import Capacity, WantedVersion
from ctrlplane_stream.wire.json_words import WrongJson, read_json

WILL_NOT_START = (
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
)
"""Reasons for which the container of a run waits and will not start; one that ends is started again as its Job says."""


class Told(msgspec.Struct, frozen=True):
    """What was counted of a version: runs that ended well, ever; the Jobs that are counted (uids, not all gone); why the last failed."""

    ended_well: int = 0
    counted: tuple[str, ...] = ()
    failure: str | None = None


def told(cron_job: Manifest) -> Told:
    """What its annotation says; nothing where it has none, or one that cannot be read."""
    text = annotation(cron_job, RUNS)
    try:
        return Told() if text is None else read_json(text, Told)
    except WrongJson:
        return Told()


def to_tell(sight: Sight, version: WantedVersion, before: Told) -> Told:
    """What is to be written there: ``before`` with the Jobs that ended since, in their order. A parked version's failure is forgotten."""
    ended = sorted((job for job in _of(sight, version.label) if _end(job) is not None), key=_when)
    new = [job for job in ended if _uid(job) not in before.counted]
    failure = None if version.capacity is Capacity.PARKED else _why(new[-1]) if new else before.failure
    counted = tuple(map(_uid, ended)) if new else before.counted
    return Told(before.ended_well + sum(_why(job) is None for job in new), counted, failure)


def under_way(sight: Sight) -> dict[str, tuple[str, ...]]:
    """The names of Jobs that have not ended, by the slug of their version."""
    found: dict[str, tuple[str, ...]] = {}
    for job in sight.runs:
        if _end(job) is None:
            of = label(job, VERSION) or ""
            found[of] = (*found.get(of, ()), name_of(job))
    return found


def counted_runs(sight: Sight, version: WantedVersion) -> Counted:
    """A version that may run counts as one instance that is ready: whether it would start, its first run says."""
    cron_job = sight.serving(version.label)
    if cron_job is None:
        return Counted()
    known, there = told(cron_job), 0 if version.capacity is Capacity.PARKED else 1
    failure = (_stuck(sight, version.label) or known.failure) if there else None
    return Counted(there, there, failure, known.ended_well, len(under_way(sight).get(version_slug(version.label), ())))


def _of(sight: Sight, version: str) -> list[Manifest]:
    return [job for job in sight.runs if label(job, VERSION) == version_slug(version)]


def _end(job: Manifest) -> Manifest | None:
    """The condition by which a Job is over, or None while it is not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] in ("Complete", "Failed") and each["status"] == "True"), None)


def _why(job: Manifest) -> str | None:
    """Why a run that ended failed, or None where it ended well."""
    end = _end(job)
    if end is None or end["type"] == "Complete":
        return None
    return f"a run failed, {name_of(job)}: {end.get('reason')}: {end.get('message')}"


def _when(job: Manifest) -> tuple[str, str, str]:
    return str((_end(job) or {}).get("lastTransitionTime")), str(job["metadata"].get("creationTimestamp")), name_of(job)


def _uid(job: Manifest) -> str:
    return str(job["metadata"]["uid"])


def _stuck(sight: Sight, version: str) -> str | None:
    """That a run under way cannot start, in the cluster's words, or None."""
    for pod in sight.pods:
        if label(pod, VERSION) != version_slug(version) or pod["metadata"].get("deletionTimestamp"):
            continue
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in WILL_NOT_START:
                return f"{waiting['reason']}: {waiting.get('message') or container.get('image', '')}"
    return None
