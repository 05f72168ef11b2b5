"""What the engine remembers: every kind of entry of its state, one struct each.

Entries are values; a decision replaces them. Times that end in ``_ms`` are wall-clock milliseconds of the log; those that end in
``_steady`` count milliseconds of *observed* time, which one fact advances by at most 15 s (see ``Clock``).
"""

from enum import StrEnum

import msgspec

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.facts import Provenance, ReleaseOrder
from ctrlplane_stream.model.identity import Artifact, ServiceKind
from ctrlplane_stream.model.policy import Policy, Step
from ctrlplane_stream.model.verdicts import Guard, GuardRole, VerdictStatus
from ctrlplane_stream.model.world import Capacity, Cursor, ObservedVersion


class Clock(msgspec.Struct, frozen=True):
    """What time it is, as the facts tell it, and how many facts were decided.

    ``now_ms`` never goes back. ``steady`` is what timers run on: it advances with ``now_ms``, but by at most 15 s a fact, so that
    neither a fast clock nor an outage can finish a drain that nobody observed.
    """

    now_ms: int = 0
    steady: int = 0
    sequence: int = 0
    told_ms: int = 0
    """When time was last told: other facts, however many, must not put off what waits for time."""


class OriginMark(msgspec.Struct, frozen=True, order=True):
    """The last fact taken from one input partition."""

    offset: int
    index: int


class CatalogEntry(msgspec.Struct, frozen=True):
    """Which catalog is in force; its services are entries of their own."""

    hash: str
    services: tuple[str, ...]
    promote_from: str | None
    promotes_to: tuple[str, ...]
    notify: str | None


class Index(msgspec.Struct, frozen=True):
    """What there is to look at without searching: rollouts in order of arrival, and whatever has a timer.

    ``ended`` and ``overrides`` are the most recent ones only; older entries are dropped from the state.
    """

    rollouts: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    retiring: tuple[str, ...] = ()
    """Services with a parked version whose retention runs."""


class TelemetryEntry(msgspec.Struct, frozen=True):
    """What is known of the windows: their length, the last one that closed, and the window of the last step forward."""

    window_seconds: float = 10.0
    last_window: int = -1
    closed_at_steady: int = -1
    stepped_window: int = -1
    stepped_by: str | None = None
    services: int = 0
    requests_per_second: float = 0.0
    """Of all services together, each call counted where it arrives."""


class VersionEntry(msgspec.Struct, frozen=True):
    """A version: an artifact with a configuration, numbered once and for ever."""

    label: str
    artifact: Artifact
    manifest_hash: str
    configuration: dict[str, str]
    provenance: Provenance
    first_seen_ms: int
    attempts: int = 0
    """How often a rollout of it was begun."""


class PairEntry(msgspec.Struct, frozen=True):
    """The number that (artifact, manifest) has."""

    number: int


class LiveVersion(msgspec.Struct, frozen=True):
    """A version that the engine wants to exist in a target, with the weight wanted for it."""

    label: str
    capacity: Capacity
    weight: int
    parked_until_steady: int | None = None


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
    """Labels that completed their bake here, the latest last; going back to one forgets those after it."""
    live: tuple[LiveVersion, ...] = ()
    observed: tuple[ObservedVersion, ...] = ()
    observed_sequence: int = 0
    moved_steady: int = 0
    """When it was last seen to change, or was told something new: how long an exchange in place has stood still."""
    zero_since: dict[str, ZeroSince] = {}
    """Version label to when it was first seen at weight 0 after it last had one."""
    in_flight: InFlight | None = None
    commanded_sequence: int = 0
    leased_ms: int | None = None
    """When the lease of a partial weight was last granted or renewed; None where there is none."""
    rollout: str | None = None
    pinned: str | None = None
    pinned_by: str | None = None
    over_edit: str | None = None
    """The edit by hand that an operator said to go over, until a command of ours is confirmed."""
    edited: str | None = None
    strayed: str | None = None
    """How it is not as it was left at rest, by nobody's known hand; None once it is again, or somebody said resume."""
    restored_ms: int | None = None
    """When it was last told again after a drift."""
    blocked_until_steady: int = 0
    """No new rollout before this (hold after a revert)."""
    granularity: int = 1
    """The smallest share of traffic in percent that its world can move, as it was last seen."""

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


class GuardWhy(msgspec.Struct, frozen=True):
    """A guard, and what put it there in words: the path and the calls along it."""

    guard: Guard
    why: str
    path: tuple[str, ...] = ()


class LeftOut(msgspec.Struct, frozen=True):
    """A neighbour that is not watched, and why."""

    service: str
    why: str


class ChangedUnit(msgspec.Struct, frozen=True):
    """A service that the set moves: from which version to which, and in which wave (waves take weight one after another)."""

    service: str
    candidate: str
    stable: str | None
    wave: int = 0


class BlastRadius(msgspec.Struct, frozen=True):
    """What can be touched at a step: services by name and share of the environment's traffic, 0..1."""

    weight: int
    wave: int
    services: int
    of_services: int
    traffic_share: float


class VersionSet(msgspec.Struct, frozen=True):
    """What one decision moves and watches, as it was decided, with the reasons in words."""

    rollout: str
    changed: tuple[ChangedUnit, ...]
    guards: tuple[GuardWhy, ...]
    left_out: tuple[LeftOut, ...]
    left_out_more: int
    blast_radius: tuple[BlastRadius, ...]
    entry_points: tuple[str, ...]
    confidence: str
    """``observed``, ``thin`` (few sightings) or ``none`` (a changed service was never seen in a trace)."""
    explanation: tuple[str, ...]
    policy: Policy
    policy_of: str
    release: str | None = None
    order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
    hub: bool = False
    kinds: dict[str, ServiceKind] = {}
    in_place: tuple[str, ...] = ()
    """Changed services whose instances are exchanged: one at a time in place, or in portions where the policy leaves some room."""
    surplus_percent: dict[str, int] = {}
    """By how much each of those that have some room may exceed its size meanwhile."""


class Hold(msgspec.Struct, frozen=True):
    """Why a rollout does not go on, who said so, and when its patience ends."""

    code: str
    text: str
    since_ms: int
    since_steady: int
    deadline_steady: int
    deadline_ms: int
    who: str | None = None
    sticky: bool = False
    """Stays until somebody (or a named event) lifts it; others go when their condition goes."""


class Passage(msgspec.Struct, frozen=True):
    """When a rollout entered a phase or step."""

    phase: Phase
    wave: int
    step: int
    at_ms: int


class Heard(msgspec.Struct, frozen=True):
    """What a judge said of the step, in short; the whole verdict is on ``health-verdicts``."""

    judge: str
    status: VerdictStatus
    reason: str
    step: int
    attempt: int
    at_ms: int
    window: int | None = None
    windows_judged: int = 0
    proven: bool = False
    no_data: str | None = None
    contradicted: bool = False


class Word(StrEnum):
    """What we would do with a rollout that another tool makes."""

    WAIT = "wait"
    ADVANCE = "advance"
    ABORT = "abort"


class Advice(msgspec.Struct, frozen=True):
    """What we would do now with a rollout that another tool makes, why, and what its candidate was seen to take.

    ``share`` is the candidate's share of the arrivals (0..1) that is judged now; ``baking``: it has all of them. ``strayed`` counts
    windows in a row in which the share was elsewhere, ``absent`` those without the candidate while others took requests.
    """

    word: Word
    text: str
    since_ms: int
    share: float
    baking: bool = False
    strayed: int = 0
    absent: int = 0
    heard_steady: int = 0
    """When any request to the service was last seen."""


class AdvisedEntry(msgspec.Struct, frozen=True):
    """A service that another tool rolls out: the version that it had settled on, and a newcomer that was seen in so many windows."""

    stable: str | None
    newcomer: str | None = None
    windows: int = 0


class Unit(msgspec.Struct, frozen=True):
    """A changed service of a rollout on its way."""

    service: str
    candidate: str
    stable: str | None
    wave: int
    weighted: bool = False
    """Whether the candidate was ever given a weight above 0 in this rollout."""
    fallback: LastKnownGood | None = None
    """What was last known good before this rollout promoted; an abort while the old version drains goes back to it."""


class Rollout(msgspec.Struct, frozen=True):
    """A version set on its way. Its set, with guards and reasons, is the entry ``set/<id>``."""

    id: str
    environment: str
    phase: Phase
    units: tuple[Unit, ...]
    steps: tuple[Step, ...]
    attempt: int
    cause: str
    """``release``, ``configuration``, ``revert``, ``retry``, or ``another tool``."""
    began_ms: int
    queued_steady: int
    phase_since_steady: int
    wave: int = 0
    step: int = 0
    judged_attempt: int = 0
    """Rises with every assignment; a verdict that names another is ignored."""
    holds: tuple[Hold, ...] = ()
    weights: dict[str, dict[str, int]] = {}
    """Service to version label to the weight wanted now."""
    confirmed_ms: int | None = None
    confirmed_steady: int | None = None
    evidence_steady: int | None = None
    """When a judge last had something to say about this step."""
    heard: dict[str, Heard] = {}
    history: tuple[Heard, ...] = ()
    timeline: tuple[Passage, ...] = ()
    overrides: tuple[str, ...] = ()
    approved: bool = False
    promote_all: bool = False
    skip_gate: bool = False
    """This step's gate is skipped by an operator."""
    forced: bool = False
    """All further gates are skipped by an operator."""
    unsafe: bool = False
    promoted: bool = False
    """The candidates have baked and are stable; what drains are the old versions."""
    runs: dict[str, int] = {}
    """Of each job that it moves: runs of the candidate that ended well since the weight was confirmed."""
    runs_before: dict[str, int] = {}
    """What the world had counted of them by then."""
    unproven: tuple[int, ...] = ()
    unproven_now: bool = False
    """The gate of this step is open on something less than proof."""
    retreats: int = 0
    stopped_because: str | None = None
    ended_ms: int | None = None
    waiting_for: str | None = None
    waits_on: str | None = None
    """The rollout that a queued one waits for, and the phase which that one was in when it was last looked at."""
    waits_while: Phase | None = None
    """Why a queued rollout waits, or what a climbing one waits for that is not a hold."""
    beside: str | None = None
    """Another rollout that was reverted for a harm seen on a shared guard; this one waits until that has ended."""
    advice: Advice | None = None
    """What we would do, where another tool makes this rollout; None where we make it."""
    stuck: tuple[str, ...] = ()
    """Which targets do not do what is wanted, what is where and why: the exact list of a partial failure."""

    @property
    def held(self) -> bool:
        """Whether anything keeps it from going forward."""
        return bool(self.holds)

    @property
    def bakes(self) -> bool:
        """Whether the candidates have all traffic and are watched on."""
        return self.phase is Phase.BAKING or (self.advice is not None and self.advice.baking)


class FreezeEntry(msgspec.Struct, frozen=True):
    """Nothing starts or steps forward in this scope. ``service`` None: the whole environment."""

    id: str
    service: str | None
    who: str
    why: str
    since_ms: int
    until_ms: int | None


class OverrideEntry(msgspec.Struct, frozen=True):
    """An override that was carried out, so that its repetition is known."""

    verb: str
    who: str
    why: str
    at_ms: int
    result: str


class ReleaseEntry(msgspec.Struct, frozen=True):
    """A set that is still being collected: members of a declared release by service and version label."""

    release: str
    size: int | None
    members: dict[str, str]
    order: ReleaseOrder
    due_steady: int
    cause: str = "release"


__all__ = [
    "ArrivalsEntry",
    "BlastRadius",
    "CatalogEntry",
    "ChangedUnit",
    "Clock",
    "Cursor",
    "FreezeEntry",
    "GuardRole",
    "GuardWhy",
    "Heard",
    "Hold",
    "InFlight",
    "Index",
    "LastKnownGood",
    "LeftOut",
    "LiveVersion",
    "OriginMark",
    "OverrideEntry",
    "PairEntry",
    "Passage",
    "ReleaseEntry",
    "Rollout",
    "TargetEntry",
    "TelemetryEntry",
    "Unit",
    "VersionEntry",
    "VersionSet",
]
