"""What is wanted of a target and what is seen of it: the language of the actuator port.

Both are whole states, never differences: an actuator can be handed only the last one and still do right.
"""

from enum import StrEnum
from typing import Final

import msgspec

from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target


class Capacity(StrEnum):
    """How many instances a version is to have."""

    FULL = "full"
    """As many as the whole traffic of the target needs: what stable keeps until the candidate has baked."""
    WEIGHTED = "weighted"
    """In proportion to its weight or its ``share``, whichever is larger; at least one."""
    PARKED = "parked"
    """None running, but kept, for instant rollback."""


PARKED: Final = Capacity.PARKED
"""A name of its own, for the reason that ``decision/phases.py`` gives."""


class WantedVersion(msgspec.Struct, frozen=True):
    """One immutable version of a target: what to run, how much of it, and its share of the traffic in percent."""

    label: str
    artifact: Artifact
    configuration: dict[str, str]
    capacity: Capacity
    weight: int
    share: int = 0
    """Where capacity is WEIGHTED: the share of the traffic in percent that its instances must carry even while its weight is less."""
    told_as: str | None = None
    """The version label that its telemetry carries, where that is not ``label``: of a version that was adopted."""
    template: str | None = None
    """The template that it is made from, by name and digest (``NAME@sha256:HEX``), as the catalog had it when it was numbered; None
    where the catalog names none."""

    @property
    def made_from(self) -> tuple[Artifact, dict[str, str], str | None]:
        """What a version is made from, which is the same for ever."""
        return self.artifact, self.configuration, self.template


class TargetWanted(msgspec.Struct, frozen=True):
    """The whole desired state of a target; a version that is not listed is to be deleted once it takes no traffic.

    Weights sum to 100, or to 0 where nothing was ever stable. ``stable`` is where a lease that expires falls back to
    (None: to weight 0 for all). ``lease_seconds`` is set whenever a weight lies strictly between 0 and 100, or may do so until these
    weights are in force.
    """

    target: Target
    kind: ServiceKind
    versions: tuple[WantedVersion, ...]
    stable: str | None = None
    lease_seconds: float | None = None
    actuator: str = ""
    """The name of the actuator that the catalog gives the target; no actuator has the empty name."""
    in_place: bool = False
    """The target has no room for two versions: weight is the share of its instances, and one of them at a time is drained, exchanged
    and ready before the next. An actuator that cannot do that refuses. Capacity then says only what is parked."""
    surplus_percent: int = 0
    """Of a target that changes in place: by how much of its size it may have more instances meanwhile, at least one. Then a portion
    of that size is ready before as many go, and the whole is never less than ready. 0: never more instances than it has."""
    unsafe: bool = False
    """Somebody said that a weight goes also to what is not ready for it. Where only ready instances make a weight, it changes nothing."""

    @property
    def weights(self) -> dict[str, int]:
        """The weights in percent by label, of every version that is listed."""
        return {version.label: version.weight for version in self.versions}

    def weight(self, label: str) -> int:
        """The weight wanted for a version; 0 for one that is not listed."""
        return next((v.weight for v in self.versions if v.label == label), 0)


class Cursor(msgspec.Struct, frozen=True, order=True):
    """Which decision a target's state comes from: the engine's epoch, then the environment's sequence.

    Kept in the target itself by compare-and-set; anything not greater is refused.
    """

    epoch: int
    sequence: int


class ObservedVersion(msgspec.Struct, frozen=True):
    """What is seen of one version: instances wanted and ready, its weight in percent, and why it fails, if it does."""

    label: str
    digest: str
    instances: int
    ready: int
    weight: int
    failure: str | None = None
    """A crash loop, a failed start, a lost readiness or a failed run in the world's own words; None while all is well."""
    runs: int = 0
    """Of a job: how many of its runs ended well, ever."""
    running: int = 0
    """Of a job: how many of its runs are under way."""


class TargetObserved(msgspec.Struct, frozen=True):
    """What the world says of a target at one moment.

    ``cursor`` is None where we never acted on the target. ``edited`` says what somebody else changed by hand since.
    ``break_glass`` says who aborted on the target itself, until a command agrees with that. ``granularity`` is the smallest
    share of traffic in percent that the world can move: 100 where a version has all of it or none. Steps are made for
    ``100 // granularity`` shares, which must not be more than there are: 33 of three instances. ``not_in_force`` says why what steers
    the traffic does not go by these weights, in its own words; None where nothing says so.
    """

    target: Target
    versions: tuple[ObservedVersion, ...]
    cursor: Cursor | None = None
    lease_remaining_seconds: float | None = None
    lease_expired: bool = False
    edited: str | None = None
    break_glass: str | None = None
    granularity: int = 1
    not_in_force: str | None = None

    def version(self, label: str) -> ObservedVersion | None:
        """What is seen of the version, or None where there is nothing of it."""
        return next((v for v in self.versions if v.label == label), None)
