"""What the engine tells others to do: imperative words, each carried out at most once per id.

Outputs are everything one decision tells the world: commands to actuators, assignments to the judge, notifications
to people, announcements to further environments, verdicts that need no judge.
"""

from enum import StrEnum

import msgspec

from ctrlplane_stream.model.facts import Provenance, ReleaseOrder
from ctrlplane_stream.model.identity import Artifact, Target
from ctrlplane_stream.model.verdicts import Assignment, Verdict
from ctrlplane_stream.model.world import TargetWanted


class Verb(StrEnum):
    """What a command mainly does; the desired state it carries is the whole truth."""

    ADOPT = "adopt"
    """Take a running version over as it is: no restart, no other traffic. Refused where it does not run, or is another."""
    LEAVE = "leave"
    """Leave what was to be adopted to its owner, as it runs; nothing is wanted of the target. Refused where it was adopted by now."""
    PREPARE = "prepare"
    """Make the candidate ready at weight 0."""
    SHIFT = "shift"
    """Move weight."""
    RENEW = "renew"
    """Renew the lease of a weight between 0 and 100; nothing else changes."""
    PARK = "park"
    """Scale a drained version to nothing but keep it for instant rollback."""
    DELETE = "delete"
    """Remove a parked version whose retention has passed."""


class Command(msgspec.Struct, frozen=True, tag_field="type", tag="command"):
    """Bring ``target`` into the state ``wanted``. The id is unique for ever; the cursor's sequence rises per target.

    ``over_edit`` is the hand edit, in the words of the observation, that an operator told us to go over: a target
    edited by hand refuses every command that does not name that very edit. ``version_set`` is the whole set in words: what moves
    with this target, and what is watched; empty where no rollout moves it.
    """

    id: str
    verb: Verb
    target: Target
    sequence: int
    wanted: TargetWanted
    because: str
    rollout: str | None = None
    over_edit: str | None = None
    version_set: str = ""


class JudgeAssigned(msgspec.Struct, frozen=True, tag_field="type", tag="judge-assigned"):
    """Judge this step of this rollout from now on."""

    assignment: Assignment


class JudgeReleased(msgspec.Struct, frozen=True, tag_field="type", tag="judge-released"):
    """Stop judging this rollout."""

    rollout: str
    because: str


class Notify(msgspec.Struct, frozen=True, tag_field="type", tag="notify"):
    """Tell people: what happened, the weights now, until when, and the next command to type."""

    id: str
    event: str
    text: str
    rollout: str | None
    weights: dict[str, dict[str, int]]
    next_command: str
    deadline_ms: int | None = None
    webhook: str | None = None


class Announce(msgspec.Struct, frozen=True, tag_field="type", tag="announce"):
    """Offer an artifact that baked here to an environment that promotes from this one."""

    id: str
    artifact: Artifact
    environment: str
    release: str | None
    provenance: Provenance
    order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST


class Declare(msgspec.Struct, frozen=True, tag_field="type", tag="declare"):
    """Say a verdict that rests on no telemetry where all verdicts are said: by it the rollout has been stopped already."""

    id: str
    verdict: Verdict


Output = Command | JudgeAssigned | JudgeReleased | Notify | Announce | Declare
