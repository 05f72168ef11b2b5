"""How a rollout may go: every knob with its meaning, unit, default and the reason for that default.

A policy is data in the catalog, so it enters ``facts`` and a replay sees the one that was in force. The ranges of its numbers stand
in its JSON Schema only, by which a file is checked: what is in the log is read whatever it says.
"""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any

import msgspec

from ctrlplane_stream.model.verdicts import GatePolicy

LOOKS_EVERY_SECONDS = 5.0
"""How often the engine looks at the time while a rollout is active: a lease is renewed no sooner."""


def _ranged(**keywords: int) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema=keywords)


Seconds = Annotated[float, _ranged(minimum=0)]
"""A time that may be nothing."""
Patience = Annotated[float, _ranged(exclusiveMinimum=0)]
"""A time within which something must come: at 0 it would be over before anything could."""
Count = Annotated[int, _ranged(minimum=0)]


class Mode(StrEnum):
    """Whether the engine acts."""

    ROLLOUT = "rollout"
    """Decide and command: the engine rolls out what is pushed."""
    ADVISE = "advise"
    """Judge the rollouts that another tool makes, say what we would do, and command nothing."""


class Supersede(StrEnum):
    """What a newer version does to a rollout that is under way.

    A configuration that the catalog takes back is let go by all of them while it waits, and needs no rollout where what it returns to
    serves or is on its way.
    """

    FINISH = "finish"
    """The running rollout finishes; all newer versions queue, and each is rolled out in its turn."""
    RESTART = "restart"
    """The running rollout goes back to stable, then the newest version starts, and with it what else that rollout moved."""
    QUEUE_LATEST = "queue-latest"
    """The running rollout finishes; only the latest of the newer versions queues."""


class Unsure(StrEnum):
    """What to do where the evidence cannot say: no data, an unprovable margin, an unknown service."""

    HOLD = "hold"
    """Stay, tell people, and wait for one of them until the hold's deadline."""
    SOAK = "soak"
    """Stay for the step's maximum time without a FAIL, then go on, marked *unproven*. What is not proven for *doubt*, not for want of
    traffic, is held instead ([gates.md](gates.md#doubt))."""
    ABORT = "abort"
    """Take it for a FAIL: back to the last known good."""


class OnDrift(StrEnum):
    """What to do where a target drifted."""

    HOLD = "hold"
    """Leave it as it is, tell people, and wait for ``resume`` or ``abort``; no rollout of it starts before. A lease is renewed by the
    weights that are there. What is stopped meanwhile, for a FAIL or at a hold's deadline, goes back over it, once."""
    RESTORE = "restore"
    """Say it again once; a second drift within an hour holds."""


class Fleet(StrEnum):
    """How many instances a candidate has beside the stable version."""

    WHOLE = "whole"
    """As many as all the traffic needs, from the beginning: no step waits, and a sudden share more is carried."""
    BY_WEIGHT = "by-weight"
    """As many as its weight needs, at least one, and more of them are ready before each step: a candidate at 5% costs 5%."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of weight. It is left when the evidence suffices, not when a timer rings; the times only bound that."""

    weight: Annotated[int, _ranged(minimum=1, maximum=100)]
    """The candidate's share in percent. What cannot be reached (instances, a world that moves all or nothing) rounds down, and says so; its
    rules stay with the step that it becomes, with the first where it becomes nothing."""
    min_seconds: Seconds = 60.0
    """Not left sooner even with proof, so that slow faults can show."""
    max_seconds: Seconds = 1800.0
    """When the evidence has not sufficed by then, ``on_unprovable`` decides."""
    min_windows: Count = 3
    """Judged windows needed before the step is left, on a PASS or unproven; what stays below by ``max_seconds`` has no data."""
    approval: bool = False
    """Whether a person must promote out of this step."""


class MaintenanceWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weekly time in which rollouts may start and step: UTC weekdays (0 = Monday) and minutes of the day [from, to)."""

    weekdays: tuple[Annotated[int, _ranged(minimum=0, maximum=6)], ...]
    """Days on which it opens; 0 is Monday."""
    from_minute: Annotated[int, _ranged(minimum=0, maximum=1439)]
    """Minute of the day at which it opens."""
    to_minute: Annotated[int, _ranged(minimum=1, maximum=1440)]
    """Minute of the day at which it closes; what crosses midnight is two windows."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of a rollout. The defaults suit a service of some requests a second that somebody relies on."""

    mode: Mode = Mode.ROLLOUT
    """``advise`` for what another tool moves. Give it as many steps as that tool makes: the error budget is split over them."""
    steps: tuple[Step, ...] = (Step(5), Step(25), Step(50), Step(100))
    """Weights of the candidate in percent, rising, the last one 100. Few, since each costs evidence."""
    bake_seconds: Seconds = 600.0
    """Watching at weight 100 before the old version may go; slow leaks show here."""
    bake_windows: Count = 6
    """Judged windows that the bake needs besides its time, so that silence cannot bake."""
    ready_timeout_seconds: Patience = 600.0
    """How long a new version may take to become ready before that is a FAIL; image pulls are slow. A step that only waits for
    instances which went away is held after this long besides its ``max_seconds``."""
    drain_seconds: Seconds = 30.0
    """How long no span of a version must have been seen before it counts as drained; longer than the longest request, which is seen as it
    ends. Health checks that are traced are seen, too."""
    drain_limit_seconds: Seconds = 300.0
    """After so long in its drain, which begins after the bake or an abort, a version that still meets requests is held, people are told
    and it stays; what else is waited for ends: telemetry that stands still, a new version that is not ready whole, runs of a job."""
    retention_seconds: Seconds = 86_400.0
    """How long the previous version stays parked for instant rollback: the next working day."""
    surge_percent: Count = 100
    """Capacity allowed beyond the stable version's own. At 100 a second fleet fits: stable keeps its own until the candidate has baked at
    full weight, and going back is a shift of traffic. Below, the candidate's fleet grows in portions of at most so much (at least one
    instance): a portion starts and is ready, takes its share, and as much of stable is drained and goes; never less than the whole is
    ready, but going back takes as long as coming. Steps round down to whole instances. For no room at all there is ``in_place``."""
    # Unset rather than a default: the hash of a catalog that does not say it stays what it was.
    candidate_fleet: Fleet | msgspec.UnsetType = msgspec.UNSET
    """How many instances the candidate of a routed service has while it climbs; stable keeps its own until the candidate has baked, so
    that going back waits for nothing. Unset: ``whole``. ``by-weight`` saves most of the second fleet until the last step; each step then
    waits for instances to start, and those that are not ready within ``ready_timeout_seconds`` are a FAIL. It means nothing where
    instances are exchanged (``surge_percent`` below 100, ``in_place``), to consumers and to jobs."""
    gate: GatePolicy = GatePolicy()
    """What is judged and how strictly."""
    exposure_budget_requests: Count | None = None
    """Abort when the candidate has harmed more requests than this in all of its steps and climbs, whatever its gate says: requests that
    touched it, or may have, and failed beyond those that would have failed anyhow, as far as that is sure
    ([gates.md](gates.md#the-exposure-budget)); 0: at the first that are; null: no such limit."""
    on_no_data: Unsure = Unsure.HOLD
    """A required guard says nothing: holding costs least, since stable still serves."""
    blind_limit_seconds: Seconds = 120.0
    """After this long without telemetry the candidate goes back to weight 0, to be resumed when it is seen again; the fourth time only once
    somebody says `control resume`."""
    on_unprovable: Unsure = Unsure.SOAK
    """A step or a bake whose traffic could not prove the margin in time: most services are too quiet to be held for that. HOLD and
    ABORT keep the judge from passing anything unproven, whatever ``gate.on_unprovable`` says."""
    # Unset rather than a default: the hash of a catalog that does not say it stays what it was.
    on_unprovable_bake: Unsure | msgspec.UnsetType = msgspec.UNSET
    """The same of the bake alone. Unset: as ``on_unprovable``, but HOLD where that is ABORT, since every step was proven by then, a bake
    has only the past to compare with, and what is not proven is no harm. HOLD and ABORT give the bake as long for its proof as the
    last step, besides its own time."""
    on_unknown_service: Unsure = Unsure.SOAK
    """The service was never seen in a trace (confidence none): SOAK goes on slowly, HOLD wants somebody to promote it first, ABORT does
    not begin it unless somebody says retry."""
    supersede: Supersede = Supersede.QUEUE_LATEST
    """Newer versions wait for the running one, since a verdict already half paid for is worth having."""
    auto_promote: bool = True
    """Whether a PASS moves on by itself; false makes every step wait for a person."""
    lost_actuator_seconds: Patience = 300.0
    """A command without any outcome for this long holds the rollout and says which target is silent; at rest people are told, and no
    rollout of the target starts before somebody resumes it. An exchange in place is silent only
    when no instance was exchanged for this long or for ``ready_timeout_seconds``, whichever is longer."""
    on_lease_expired: Unsure = Unsure.ABORT
    """What a rollout does whose target went to stable by itself because nobody judged: ABORT ends it there; HOLD waits
    at weight 0 for a person (SOAK means the same)."""
    on_drift: OnDrift = OnDrift.HOLD
    """A target is no longer as our last command left it, by nobody's known hand, whether a rollout moves it or not: HOLD, since whoever
    changed it may know why, and two controllers that write over each other do more harm than a weight that strayed."""
    lease_seconds: Patience = 300.0
    """How long a partial weight stands without the engine before the target goes to stable by itself. It is renewed when a third of it
    is over, and the engine looks every 5 s: less than 15 may run out under an engine that is well."""
    hold_deadline_seconds: Patience = 86_400.0
    """A hold that nobody ends is reverted after this long, and gives up its place before others; what goes back already, or may not, is
    told to people again. So are a first version that serves, which has nothing to go back to, and what a freeze or a closed maintenance
    window keeps as it is."""
    hold_after_revert_seconds: Seconds = 0.0
    """How long the service takes no new rollout after a revert; 0 since the fix is usually what comes next. Whoever says revert, retry or
    force does not wait."""
    maintenance: tuple[MaintenanceWindow, ...] = ()
    """When rollouts may start and step forward; empty: always. What is under way when one closes keeps its weight until the next opens,
    and no hold's deadline ends it meanwhile. Aborts and reverts never wait."""
    in_place: bool = False
    """For what cannot run side by side: one instance at a time is drained, exchanged, and judged before the next. The steps are as
    many as the instances, each with the rules of the first of ``steps`` that gives as much and of those before the next. While one is
    exchanged the target has one less; nothing is kept for instant rollback, and going back takes as long. An actuator that cannot do it
    refuses with a reason."""

    @property
    def exchanges(self) -> bool:
        """Whether instances of the candidate take the places of stable's, since there is no room for both fleets whole."""
        return self.in_place or self.surge_percent < 100

    @property
    def by_weight(self) -> bool:
        """Whether the candidate's instances come with its weight."""
        return self.candidate_fleet is Fleet.BY_WEIGHT and not self.exchanges

    @property
    def surplus_percent(self) -> int:
        """By how much a fleet whose instances are exchanged may exceed its size meanwhile; 0 in place."""
        return self.surge_percent if self.exchanges and not self.in_place else 0

    @property
    def unprovable_bake(self) -> Unsure:
        """What is done with a bake that cannot be proven: as said, else as with a step, but never worse than held."""
        if not isinstance(self.on_unprovable_bake, msgspec.UnsetType):
            return self.on_unprovable_bake
        return Unsure.HOLD if self.on_unprovable is Unsure.ABORT else self.on_unprovable


def problems(policy: Policy) -> Iterator[tuple[tuple[Any, ...], str]]:
    """What is wrong with a policy beyond its types, each the path of its field and a sentence with the remedy."""
    yield from _of_steps(policy)
    yield from _of_windows(policy)
    for name in ("bake_seconds", "drain_seconds", "lease_seconds", "ready_timeout_seconds", "retention_seconds"):
        if getattr(policy, name) < 0:
            yield (name,), f"{name} must not be negative"
    if policy.surge_percent < 1 and not policy.in_place:
        room = "so that something can start before something goes: make room, or set in_place"
        yield ("surge_percent",), f"surge_percent must be at least 1, {room}"
    if policy.drain_limit_seconds < policy.drain_seconds:
        yield ("drain_limit_seconds",), "drain_limit_seconds must be at least drain_seconds"


def doubts(policy: Policy, window_seconds: float = 10.0) -> tuple[str, ...]:
    """What a policy may say and what will not go well with it, whatever the traffic, with windows of this length; each a sentence."""
    needed = policy.gate.minimum_windows * window_seconds
    found = [
        f"step {step.weight} can never be proven: it lasts {step.max_seconds:g} s at most, and a PASS needs {needed:g} s of windows; "
        f"on_unprovable ({policy.on_unprovable}) decides every time"
        for step in policy.steps
        if step.max_seconds < needed
    ]
    last = policy.steps[-1].max_seconds if policy.steps else 0.0
    if policy.unprovable_bake is not Unsure.SOAK and policy.bake_seconds + last < needed:
        found.append(
            f"the bake can never be proven: it has {policy.bake_seconds + last:g} s, and a PASS needs {needed:g} s of windows; "
            f"it ends in {policy.unprovable_bake} every time"
        )
    if policy.lease_seconds < 3 * LOOKS_EVERY_SECONDS:
        found.append(
            f"a lease of {policy.lease_seconds:g} s may run out before it is renewed, and the target goes to stable: "
            f"the engine looks every {LOOKS_EVERY_SECONDS:g} s, so give it at least {3 * LOOKS_EVERY_SECONDS:g}"
        )
    return tuple(found)


def _of_steps(policy: Policy) -> Iterator[tuple[tuple[Any, ...], str]]:
    weights = [step.weight for step in policy.steps]
    if not weights or weights[-1] != 100:
        yield ("steps",), "steps must end with weight 100"
    if any(a >= b for a, b in pairwise(weights)):
        yield ("steps",), "steps must rise in weight"
    for at, step in enumerate(policy.steps):
        if not 0 < step.weight <= 100:
            yield ("steps", at, "weight"), f"step {step.weight}: weight must lie in 1..100"
        if step.min_seconds > step.max_seconds:
            yield ("steps", at, "min_seconds"), f"step {step.weight}: min_seconds is above max_seconds"


def _of_windows(policy: Policy) -> Iterator[tuple[tuple[Any, ...], str]]:
    for at, window in enumerate(policy.maintenance):
        if not window.weekdays:
            yield ("maintenance", at, "weekdays"), "maintenance: name at least one weekday: a window without one never opens"
        for nth, day in enumerate(window.weekdays):
            if not 0 <= day <= 6:
                yield ("maintenance", at, "weekdays", nth), "maintenance: weekdays lie in 0..6, 0 is Monday"
        if not 0 <= window.from_minute < window.to_minute <= 1440:
            said = "maintenance: 0 <= from_minute < to_minute <= 1440; split what crosses midnight"
            yield ("maintenance", at, "from_minute"), said
