"""Weights of a job: whose CronJob is not suspended has all the runs. Pure.

First the others are suspended, then the weight is remembered, and when no run of theirs is under way any more the one that gains begins:
so no two versions ever run at once. A run is ended only where its version is parked or deleted.
"""

from ctrlplane_stream.actuators.kubernetes.names import version_slug
from ctrlplane_stream.actuators.kubernetes.runs import to_tell, told, under_way
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.steps import Count, End, Scale, Step, Steps, remembering
from ctrlplane_stream.actuators.kubernetes.weights import pod_shares, replicas
from ctrlplane_stream.actuators.shifting import reached_weights
from ctrlplane_stream.model.world import Capacity


def run_steps(sight: Sight) -> tuple[Steps, Steps, Steps]:
    """Steps for weight, for what is counted and for fewer that run, for more that run."""
    memory = sight.memory
    assert memory is not None
    share = pod_shares(sight)
    runs = {version.label for version in sight.listed if replicas(sight.serving(version.label))}
    stops = tuple(Scale(sight.name(label), 0) for label in sorted(runs) if not share.get(label))
    first = (*_counts(sight), *stops)
    if stops or any(count and label not in memory.made for label, count in share.items()):
        return (), first, ()
    busy = under_way(sight)
    others = {of for of in busy if not any(count and version_slug(label) == of for label, count in share.items())}
    begins = tuple(Scale(sight.name(label), 1) for label, count in share.items() if count and label not in runs and not others)
    parked = [version_slug(version.label) for version in sight.listed if version.capacity is Capacity.PARKED]
    ends = tuple(End(job) for of in parked for job in busy.get(of, ()))
    return remembering(memory, reached_weights(share)), first, (*ends, *begins)


def _counts(sight: Sight) -> Steps:
    """What is to be written of runs that ended, before the cluster clears them away."""
    found: list[Step] = []
    for version in sight.listed:
        cron_job = sight.serving(version.label)
        if cron_job is None:
            continue
        before = told(cron_job)
        after = to_tell(sight, version, before)
        if after != before:
            found.append(Count(sight.name(version.label), after))
    return tuple(found)
