"""What can be written: the whole list. Each step is carried out by ``hands``, guarded by what was seen."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.runs import Told
from ctrlplane_stream.model.world import WantedVersion


class Remember(msgspec.Struct, frozen=True):
    """Replace the memory."""

    memory: Memory


class Make(msgspec.Struct, frozen=True):
    """Make a version's Deployment, without replicas, or its CronJob, and what it owns. ``standby``: the one that proves that it starts, and
    owns nothing."""

    version: WantedVersion
    standby: bool = False


class Complete(msgspec.Struct, frozen=True):
    """Make what a version's Deployment owns, where it is there already: adopted, or whoever made it did not come that far."""

    version: WantedVersion


class Scale(msgspec.Struct, frozen=True):
    """Set the replicas of a Deployment (None: leave them), and stamp it. Of a CronJob 0 suspends it, and 1 lets it run."""

    deployment: str
    replicas: int | None


class Floor(msgspec.Struct, frozen=True):
    """Set the least number of replicas of an autoscaler of ours."""

    autoscaler: str
    replicas: int


class Steer(msgspec.Struct, frozen=True):
    """Set the weights of the route's rule by name of backend, and stamp it."""

    weights: dict[str, int]


class Count(msgspec.Struct, frozen=True):
    """Write on a CronJob what was counted of its runs."""

    cron_job: str
    runs: Told


class End(msgspec.Struct, frozen=True):
    """Delete a Job, and with it the run that is under way."""

    job: str


class Remove(msgspec.Struct, frozen=True):
    """Delete a Deployment or CronJob and what it owns."""

    deployment: str


class Succeed(msgspec.Struct, frozen=True):
    """Have the Service of a version choose what was made of it anew, and leave the Deployment that was adopted as it without Pods, to its
    owner."""

    label: str
    deployment: str


class Return(msgspec.Struct, frozen=True):
    """Take our labels and annotations off a Deployment that was adopted, and leave it to its owner as it is."""

    deployment: str


Step = Remember | Make | Complete | Scale | Floor | Steer | Count | End | Remove | Succeed | Return
Steps = tuple[Step, ...]


def remembering(memory: Memory, weights: dict[str, int]) -> Steps:
    """That these weights are in force now; no step where that is what is remembered. A version that is not named has none."""
    if {**dict.fromkeys(weights, 0), **memory.ledger.weights} == {**dict.fromkeys(memory.ledger.weights, 0), **weights}:
        return ()
    return (Remember(msgspec.structs.replace(memory, ledger=msgspec.structs.replace(memory.ledger, weights=weights))),)
