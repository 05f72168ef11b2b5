"""A service in the environment: what is wanted of it, what was told and what was seen."""

import msgspec

from ctrlplane_stream.model.world import PARKED, Capacity, ObservedVersion


class LiveVersion(msgspec.Struct, frozen=True):
    """A version that the engine wants to exist in a target, with the weight wanted for it."""

    label: str
    capacity: Capacity
    weight: int
    parked_until_steady: int | None = None
    share: int = 0
    """Where its capacity is by weight: the share of the traffic in percent that it is to have instances for, never less than its weight."""


class LastKnownGood(msgspec.Struct, frozen=True):
    """The version that last completed its bake here, and the neighbours' versions it baked against."""

    label: str
    baked_at_ms: int
    neighbours: dict[str, str] = {}


class InFlight(msgspec.Struct, frozen=True):
    """The last command to a target, while its outcome is awaited."""

    id: str
    verb: str
    sequence: int
    issued_steady: int
    tries: int = 1
    trouble: str | None = None
    """Why the last try did not do it; None while nothing was heard."""
    answered: bool = False
    """Its actuator says that it is applied; the world may not show it yet."""
    stays: bool = False
    """It says to stay where the target fell back to, though that is to go back: it takes nothing else before."""


class ZeroSince(msgspec.Struct, frozen=True):
    """Since when a version has been seen without weight."""

    ms: int
    steady: int


class TargetEntry(msgspec.Struct, frozen=True):
    """A service in this environment: what is stable, what is wanted of it and what was last seen of it."""

    service: str
    newest: int = 0
    stable: str | None = None
    last_known_good: LastKnownGood | None = None
    baked: tuple[str, ...] = ()
    """The last labels that completed their bake here, the latest last; going back to one forgets those after it. That an older one baked
    its version tells."""
    live: tuple[LiveVersion, ...] = ()
    observed: tuple[ObservedVersion, ...] = ()
    observed_sequence: int = 0
    moved_steady: int = 0
    """When it was last seen to change, or was told something new: how long an exchange in place has stood still."""
    zero_since: dict[str, ZeroSince] = {}
    """Version label to when it was first seen at weight 0 after it last had one, or was told to have one, seen that or not."""
    in_flight: InFlight | None = None
    commanded_sequence: int = 0
    leased_ms: int | None = None
    """When the lease of weights that are partial, or may be until others are in force, was last granted or renewed; None where none is."""
    rollout: str | None = None
    pinned: str | None = None
    pinned_by: str | None = None
    configured: str | None = None
    """The hash of the configuration that the catalog last had acted on: a catalog that says it again says nothing new."""
    over_edit: str | None = None
    """The edit by hand that an operator said to go over, until a command of ours is confirmed."""
    edited: str | None = None
    strayed: str | None = None
    """How it is not as it was left, by nobody's known hand; None once it is again, or somebody said resume, or abort of what moves it."""
    restored_ms: int | None = None
    """When it was last told again after a drift."""
    blocked_until_steady: int = 0
    """No new rollout before this (hold after a revert)."""
    granularity: int = 1
    """The smallest share of traffic in percent that its world can move, as it was last seen."""
    not_in_force: str | None = None
    """Why what steers its traffic does not go by the weights that were last seen; None where nothing says so."""

    @property
    def is_heard(self) -> bool:
        """Whether it was seen since its last command was carried out: what was seen before that tells nothing of it."""
        return self.observed_sequence >= self.commanded_sequence

    @property
    def in_hand(self) -> str | None:
        """How it is otherwise than it was left, by a hand that said so or by an unknown one, so that it is left as it is; or None."""
        return self.edited if self.edited is not None else self.strayed

    @property
    def pin(self) -> str | None:
        """That it is pinned, to what and by whom; None where it is not."""
        return f"{self.service} is pinned to {self.pinned} by {self.pinned_by}" if self.pinned is not None else None

    @property
    def earlier(self) -> str | None:
        """The version that was good before the stable one; None where there is none. One that was reverted was never good."""
        good = [label for label in self.baked if label != self.stable]
        return good[-1] if good else None

    @property
    def standing_by(self) -> tuple[LiveVersion, ...]:
        """Versions that were parked, were given traffic again by somebody else, and are to be parked anew once that has drained."""
        parked_before = [v for v in self.live if v.parked_until_steady is not None and v.label != self.stable]
        return tuple([v for v in parked_before if v.capacity is not PARKED])

    @property
    def weights(self) -> dict[str, int]:
        """Version label to the weight wanted, versions that run only."""
        found = {}
        for version in self.live:
            if version.capacity is not PARKED:
                found[version.label] = version.weight
        return found

    def wanted(self, label: str) -> LiveVersion | None:
        """What is wanted of a version; None where it is not to exist."""
        for version in self.live:
            if version.label == label:
                return version
        return None

    def seen(self, label: str) -> ObservedVersion | None:
        """What was last seen of a version; None where there was nothing of it."""
        for version in self.observed:
            if version.label == label:
                return version
        return None


class ArrivalsEntry(msgspec.Struct, frozen=True):
    """Requests that arrived at the versions of a target in motion: in the last window, and when each was last met."""

    window: int
    window_seconds: float
    counts: dict[str, int]
    last_met: dict[str, int]
    """Version label to the end of the last window with an arrival of it, in seconds."""
