"""A simulated world behind the actuator port: targets with versions, weights, leases and faults.

It keeps the promises of the port by the port's own rule (``ledger.take``: cursor by compare-and-set, leases, broken glass and edits by
hand respected) and breaks what a real world breaks: it is slow, it fails, it answers twice or never, it says *applied* and is not, or
does not look.
"""

import copy
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.actuators.in_place import next_sizes, reached, shares, surplus, with_vacancy
from ctrlplane_stream.actuators.ledger import Ledger, Refusal, expire, is_whole, take
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeReported, OutcomeStatus
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, ObservedVersion, TargetObserved, TargetWanted, WantedVersion

INSTANCES = 4
RELEASED_LEASE_MS = 45_000
"""The lease of a partial weight that is handed back."""
SCHEDULE_MS = 8_000
"""How often a job is run, the last run over or not."""
RUN_MS = 5_000
"""How long a run takes; every fourth takes three times as long."""
_RUN_FAILED = "a run failed: exit 1"
"""Why a version of a job fails. It is there all the same, and its next run begins by its schedule: actuators tell it as ready."""


class Sickness(StrEnum):
    """What is wrong with a version that the world itself can see."""

    NONE = "none"
    NEVER_READY = "never ready"
    CRASHES = "crashes"


class Instance(msgspec.Struct):
    """A version in the world. ``ready_at_ms`` is when its instances become ready."""

    digest: str
    instances: int
    ready_at_ms: int
    weight: int = 0
    failure: str | None = None
    lost: bool = False
    ends_ms: tuple[int, ...] = ()
    """Of a job: when the runs that are under way end."""
    fresh: int | None = None
    """How many of the instances wait for ``ready_at_ms``; None: all of them."""
    told_as: str | None = None
    """The label that its requests are told by, where that is not its own."""
    owned: bool = False
    """It ran before us: whoever runs it lets us steer traffic to it, and stop it only once another version has all of that."""


class WorldTarget(msgspec.Struct):
    """A target in the world."""

    versions: dict[str, Instance] = {}
    cursor: Cursor | None = None
    wanted: TargetWanted | None = None
    """What the last command that was carried out wanted of it."""
    lease_until_ms: int | None = None
    lease_expired: bool = False
    edited: str | None = None
    broken_glass: str | None = None
    strayed: bool = False
    """Its weights are not those of the last command: somebody unknown moved them since, or somebody who handed the target back."""
    kind: ServiceKind = ServiceKind.ROUTED
    next_run_ms: int = 0
    """Of a job: when its schedule comes round again."""
    surplus: int = 0
    """How many instances more than it has it may have while they are exchanged."""
    goal: dict[str, int] | None = None
    """The weights to be reached one instance at a time; None where versions run side by side."""
    rising: dict[str, int] | None = None
    """The weights to be reached once the instances that they need are ready; None where they are in force."""

    @property
    def running(self) -> list[str]:
        """The versions that have instances."""
        return [label for label, version in self.versions.items() if version.instances]

    @property
    def stable(self) -> str | None:
        """What it falls back to by itself."""
        return self.wanted.stable if self.wanted is not None else None

    @property
    def fallback(self) -> dict[str, int]:
        """The weights to which it goes without us: all to stable, none to anybody where nothing is."""
        return {label: 100 if label == self.stable else 0 for label in self.versions}


class World:
    """All targets of one environment."""

    def __init__(self, environment: str, start_seconds: float = 2.0) -> None:
        self.environment = environment
        self.targets: dict[str, WorldTarget] = {}
        self._earlier: dict[str, WorldTarget] = {}
        """The targets as they were before the last command that each took."""
        self.start_seconds = start_seconds
        self.granularity = 1
        self.sick: dict[tuple[str, str], Sickness] = {}
        self.runs: dict[tuple[str, str], int] = {}
        """How many runs of each version of a job ended well, ever."""
        self.failing: set[tuple[str, str]] = set()
        """Versions of jobs whose runs fail."""
        self.broken: set[str] = set()
        self.liars: set[str] = set()
        """Targets that say *applied* and do nothing."""
        self.running: dict[str, str] = {}
        """Service to the digest of what runs of it without us, for somebody to adopt."""
        self.harmed: list[str] = []
        """What was done to versions that ran before us and ought not to have been."""
        self.mute: set[str] = set()
        """Targets that do as told and do not say what they look like then."""
        self.in_force: dict[str, dict[str, int]] = {}
        """Target to the weights by which its traffic is steered whatever is written; where there are none, by those that are written."""
        self.not_in_force: dict[str, str] = {}
        """Target to why what steers its traffic does not go by its weights."""

        self.bypassed: dict[str, str] = {}
        """Target to the version that some call past whatever steers its traffic, for as long as it has instances."""

    def target(self, service: str) -> WorldTarget:
        """The target of a service, made where there is none."""
        return self.targets.setdefault(service, WorldTarget())

    def arriving(self, service: str) -> dict[str, int]:
        """Of a hundred requests, how many arrive at each version, by the name that telemetry has for it."""
        versions = self.target(service).versions
        steered = self.in_force.get(service, {label: v.weight for label, v in versions.items()})
        past = {label: 1 for label in versions if self.bypassed.get(service) == label and versions[label].instances}
        came = {label: steered.get(label, 0) + past.get(label, 0) for label in versions}
        return {(v.told_as or label): came[label] for label, v in versions.items() if came[label]}

    def apply(self, command: Command, now_ms: int) -> OutcomeReported:
        """Carry a command out and say how it ended."""
        service = command.target.service
        target = self.target(service)
        cursor = Cursor(1, command.sequence)
        taken = self._taken(target, command, cursor, now_ms)
        refusal = taken if isinstance(taken, str) else None
        if refusal is not None and command.verb is not Verb.LEAVE and (target.cursor is None or cursor > target.cursor):
            self._note_forgotten(target, command)
        if service in self.broken:
            return self._outcome(command, cursor, OutcomeStatus.FAILED, "the cluster does not answer", now_ms)
        if refusal is not None:
            return self._outcome(command, cursor, OutcomeStatus.REFUSED, refusal, now_ms)
        if isinstance(taken, Ledger) and service not in self.liars:
            self._earlier[service] = replace(target, versions={label: copy.copy(version) for label, version in target.versions.items()})
            target.lease_until_ms = _ms(taken.lease_until)
            self._carry_out(target, command, now_ms)
            target.cursor = cursor
        return self._outcome(command, cursor, OutcomeStatus.APPLIED, "taken", now_ms)

    def _taken(self, target: WorldTarget, command: Command, cursor: Cursor, now_ms: int) -> Ledger | str:
        """What the target remembers after the command, or why that is refused."""
        wanted = command.wanted
        settled = not wanted.in_place or _has_its_sizes(target, wanted.weights, wanted.stable)
        if isinstance(taken := take(_ledger(target), command, cursor, now_ms / 1000, settled=settled), Refusal):
            return taken.reason
        return (self._nothing_to_adopt(target, command) if command.verb is Verb.ADOPT else None) or taken

    def _nothing_to_adopt(self, target: WorldTarget, command: Command) -> str | None:
        wanted, there = _to_adopt(command), self.running.get(command.target.service)
        if wanted.label in target.versions or there == wanted.artifact.digest:
            return None
        return f"nothing to adopt: {there or 'nothing'} runs there, not {wanted.artifact.digest}"

    def _carry_out(self, target: WorldTarget, command: Command, now_ms: int) -> None:
        self._watch_over_owned(target, command)
        if command.verb is Verb.ADOPT and (running := _to_adopt(command)).label not in target.versions:
            as_it_runs = Instance(running.artifact.digest, INSTANCES, 0, 100, told_as=running.told_as, owned=True)
            target.versions = {**target.versions, running.label: as_it_runs}
        if command.wanted.in_place:
            self._take_in_place(target, command, now_ms)
            return
        wanted = {v.label: v for v in command.wanted.versions}
        target.goal = None
        target.kind = command.wanted.kind
        target.versions = {label: v for label, v in target.versions.items() if label in wanted}
        for label, version in wanted.items():
            instances = _wanted_instances(version)
            now = target.versions.get(label)
            if now is None or (now.instances == 0 and instances > 0):
                owned = now is not None and now.owned
                now = self._started(command.target.service, label, version.artifact.digest, instances, now_ms)
                now.told_as, now.owned = version.told_as, owned
                target.versions[label] = now
            if version.capacity is Capacity.WEIGHTED and instances > now.instances:
                started = self._started(command.target.service, label, now.digest, instances, now_ms)
                now.fresh = instances - self._ready(now, now_ms)
                now.ready_at_ms, now.failure = started.ready_at_ms, started.failure
            now.instances, now.digest = instances, version.artifact.digest
            now.ends_ms = now.ends_ms if instances else ()
        target.rising = command.wanted.weights
        self._rise(target, now_ms, at_once=command.wanted.unsafe)
        self._noted(target, command)

    def _watch_over_owned(self, target: WorldTarget, command: Command) -> None:
        """Note where what ran before us loses its instances while it has traffic, or nothing else has all of it.

        What it was given by nobody's known hand, or by one that handed the target back, does not count: the port moves weights, and stops
        nothing before that.
        """
        wanted = {v.label: v for v in command.wanted.versions}
        for label, version in target.versions.items():
            kept = label in wanted and wanted[label].capacity is not Capacity.PARKED
            if version.owned and version.instances and not kept:
                had = target.wanted.weight(label) if target.strayed and target.wanted is not None else version.weight
                if had or label not in wanted or not any(v.weight == 100 for v in wanted.values()):
                    self.harmed.append(f"{command.id}: {label} of {command.target}, which ran before us, is stopped at {had}%")

    def _note_forgotten(self, target: WorldTarget, command: Command) -> None:
        """Note that what ran before us and runs yet is known no longer: the port refuses that, but nobody should ask it."""
        listed = {v.label for v in command.wanted.versions}
        for label, version in target.versions.items():
            if version.owned and version.instances and label not in listed:
                self.harmed.append(f"{command.id}: {label} of {command.target}, which ran before us, is to be stopped at {version.weight}%")

    def raise_weights(self, now_ms: int) -> list[str]:
        """Give the weights that waited for instances to be ready; the names of the targets that have them now."""
        waiting = [(name, target) for name, target in sorted(self.targets.items()) if target.rising is not None]
        return [name for name, target in waiting if self._rise(target, now_ms)]

    def _rise(self, target: WorldTarget, now_ms: int, *, at_once: bool = False) -> bool:
        """Give the target its new weights, all in one go, unless something that gains is not ready for it."""
        rising = target.rising or {}
        for label, weight in rising.items():
            version = target.versions[label]
            ready = self._ready(version, now_ms)
            carried = ready > 0 and (label == target.stable or 100 * ready >= weight * INSTANCES)
            if not at_once and weight > version.weight and not carried:
                return False
        for label, weight in rising.items():
            target.versions[label].weight = weight
        target.rising = None
        return True

    @staticmethod
    def _noted(target: WorldTarget, command: Command) -> None:
        target.wanted = command.wanted
        target.lease_expired = False
        target.edited = target.broken_glass = None
        target.strayed = False

    def _take_in_place(self, target: WorldTarget, command: Command, now_ms: int) -> None:
        wanted = {v.label: v for v in command.wanted.versions}
        kept = {label: v for label, v in target.versions.items() if label in wanted}
        target.versions = {label: kept.get(label) or Instance(v.artifact.digest, 0, 0) for label, v in sorted(wanted.items())}
        for label, known in target.versions.items():
            known.digest = wanted[label].artifact.digest
        self._noted(target, command)
        target.surplus = surplus(command.wanted, INSTANCES)
        target.rising = None
        target.goal = command.wanted.weights
        self._exchange(command.target.service, target, now_ms)

    def run_jobs(self, now_ms: int) -> list[str]:
        """Start the runs that are due and end those that are over; the names of the jobs where something changed."""
        jobs = [(name, target) for name, target in sorted(self.targets.items()) if target.kind is ServiceKind.JOB]
        return [name for name, target in jobs if self._run_job(name, target, now_ms)]

    def _run_job(self, service: str, target: WorldTarget, now_ms: int) -> bool:
        changed = False
        for label, version in target.versions.items():
            over = [end for end in version.ends_ms if end <= now_ms]
            version.ends_ms = tuple(end for end in version.ends_ms if end > now_ms)
            bad = (service, label) in self.failing
            if over:
                self.runs[service, label] = self.runs.get((service, label), 0) + (0 if bad else len(over))
                version.failure = _RUN_FAILED if bad else version.failure
                changed = True
            if version.weight == 100 and now_ms >= target.next_run_ms and self._ready(version, now_ms):
                long = 3 if (self.runs.get((service, label), 0) + len(version.ends_ms)) % 4 == 3 else 1
                version.ends_ms += (now_ms + RUN_MS * long,)
                target.next_run_ms = now_ms + SCHEDULE_MS
                changed = True
        return changed

    def exchange(self, now_ms: int) -> list[str]:
        """Let every target that changes in place go on by one instance; the names of those where something changed."""
        return [name for name, target in sorted(self.targets.items()) if target.goal is not None and self._exchange(name, target, now_ms)]

    def _exchange(self, service: str, target: WorldTarget, now_ms: int) -> bool:
        before = {label: (v.instances, v.weight) for label, v in target.versions.items()}
        sizes = next_sizes(_sizes(target.goal or {}, target.stable), self._counted(target, now_ms), leaving=False, surplus=target.surplus)
        for label, size in sizes.items():
            version = target.versions[label]
            if size > version.instances:
                started = self._started(service, label, version.digest, size, now_ms)
                fresh = size - version.instances
                target.versions[label] = Instance(
                    version.digest, size, started.ready_at_ms, version.weight, started.failure, version.lost, fresh=fresh
                )
            elif size < version.instances:
                version.fresh = max(0, (version.fresh or 0) - (version.instances - size))
                version.instances = size
        weights_before = {label: v.weight for label, v in target.versions.items()}
        weights = reached(self._counted(target, now_ms), target.stable, weights_before, target.goal or {})
        for label, version in target.versions.items():
            version.weight = weights[label]
        return before != {label: (v.instances, v.weight) for label, v in target.versions.items()}

    def _counted(self, target: WorldTarget, now_ms: int) -> dict[str, Counted]:
        return {label: Counted(v.instances, self._ready(v, now_ms), v.failure) for label, v in target.versions.items()}

    def _started(self, service: str, label: str, digest: str, instances: int, now_ms: int) -> Instance:
        sickness = self.sick.get((service, label), Sickness.NONE)
        ready_at = now_ms + round(self.start_seconds * 1000) if sickness is Sickness.NONE else 2**62
        return Instance(digest, instances, ready_at, failure="CrashLoopBackOff" if sickness is Sickness.CRASHES else None)

    def _outcome(self, command: Command, cursor: Cursor, status: OutcomeStatus, reason: str, now_ms: int) -> OutcomeReported:
        blind = command.target.service in self.broken or command.target.service in self.mute
        seen = None if blind else self.observe(command.target.service, now_ms)
        return OutcomeReported(command.id, command.target, cursor, status, reason, seen)

    def observe(self, service: str, now_ms: int) -> TargetObserved:
        """What the target looks like."""
        target = self.target(service)
        counted = self._counted(target, now_ms)
        shown = with_vacancy(_sizes(target.goal, target.stable), counted) if target.goal is not None else counted
        versions = tuple(
            ObservedVersion(
                label,
                v.digest,
                shown[label].instances,
                shown[label].ready,
                v.weight,
                v.failure,
                self.runs.get((service, label), 0),
                len(v.ends_ms),
            )
            for label, v in target.versions.items()
        )
        left = (target.lease_until_ms - now_ms) / 1000 if target.lease_until_ms is not None else None
        return TargetObserved(
            Target(self.environment, service),
            versions,
            target.cursor,
            left,
            target.lease_expired,
            target.edited,
            target.broken_glass,
            self.granularity,
            self.not_in_force.get(service),
        )

    def _ready(self, version: Instance, now_ms: int) -> int:
        if version.lost:
            return 0
        if now_ms >= version.ready_at_ms and version.failure in (None, _RUN_FAILED):
            return version.instances
        return version.instances - (version.instances if version.fresh is None else version.fresh)

    def becomes_ready(self, service: str, since_ms: int, now_ms: int) -> bool:
        """Whether any version of the service became ready in (since, now]."""
        return any(v.instances and since_ms < v.ready_at_ms <= now_ms for v in self.target(service).versions.values())

    def expire_leases(self, now_ms: int) -> list[str]:
        """Send the targets whose lease has run out to stable, as soon as that is ready; their names."""
        gone: list[str] = []
        for service, target in sorted(self.targets.items()):
            if target.lease_until_ms is None:
                continue
            before = _ledger(target)
            after = expire(before, now_ms / 1000, settled=target.goal is None or _has_its_sizes(target, target.goal, target.stable))
            # Let go at once, so that it does not run out on what strays later; in place weights may be whole while instances are to come.
            target.lease_until_ms = _ms(after.lease_until) if target.goal is not None or not is_whole(before) else None
            if after.lease_expired and not target.lease_expired:
                target.lease_expired = True
                self._fall(target, now_ms)
                gone.append(service)
        return gone

    def _fall(self, target: WorldTarget, now_ms: int) -> None:
        if target.goal is not None:
            target.goal = target.fallback
            return
        target.rising = target.fallback
        self._rise(target, now_ms)

    @property
    def unleased(self) -> list[str]:
        """The targets whose weights are partial by our word, with nothing that would ever end that without us."""
        return [service for service, target in sorted(self.targets.items()) if _is_unleased(target)]

    def edit(self, service: str, weights: dict[str, int], words: str) -> None:
        """Somebody changes weights by hand; what is parked has instances for its weight then, as the port gives it."""
        target = self.target(service)
        for label, version in target.versions.items():
            if version.instances == 0 and weights.get(label) and target.goal is None and target.kind is not ServiceKind.JOB:
                version.instances, version.ready_at_ms = -(-INSTANCES * weights[label] // 100), 0
        self._steer(target, {label: weights.get(label, 0) for label in target.versions})
        target.edited = words
        target.lease_until_ms = None

    def stray(self, service: str, weights: dict[str, int]) -> None:
        """Nobody's known hand changes the weights of these versions."""
        target = self.target(service)
        target.strayed = True
        for label, weight in weights.items():
            target.versions[label].weight = weight

    def bring_back(self, service: str) -> Cursor | None:
        """Somebody brings back what the target was before the last command that it took; the cursor that it knows no longer, if any."""
        earlier, now = self._earlier.pop(service, None), self.target(service)
        if earlier is None or earlier.cursor is None:
            return None
        self.targets[service] = earlier
        return now.cursor

    def break_glass(self, service: str, words: str) -> bool:
        """Somebody aborts on the target itself; whether there was anything to abort."""
        target = self.target(service)
        if target.wanted is None:
            return False
        self._steer(target, target.fallback)
        target.lease_until_ms = target.edited = None
        target.broken_glass = words
        return True

    def release(self, service: str, now_ms: int) -> None:
        """Whoever changed weights by hand hands the target back; a partial weight is on a lease again."""
        target = self.target(service)
        target.edited, target.strayed = None, True
        if any(0 < weight < 100 for weight in (*(target.goal or {}).values(), *(v.weight for v in target.versions.values()))):
            target.lease_until_ms = now_ms + RELEASED_LEASE_MS

    @staticmethod
    def _steer(target: WorldTarget, weights: dict[str, int]) -> None:
        """Weights move at once side by side, and as a new goal in place."""
        if target.goal is not None:
            target.goal = weights
            return
        target.rising = None
        for label, version in target.versions.items():
            version.weight = weights[label]


def _ledger(target: WorldTarget) -> Ledger:
    """What the target remembers, by the port's own record."""
    weights = {label: version.weight for label, version in target.versions.items()}
    wanted = {label: target.wanted.weight(label) if target.wanted is not None else weight for label, weight in weights.items()}
    return Ledger(
        target.wanted,
        target.cursor,
        next((goal for goal in (target.goal, target.rising) if goal is not None), wanted),
        weights,
        target.lease_until_ms / 1000 if target.lease_until_ms is not None else None,
        target.lease_expired,
        target.edited,
        target.broken_glass,
    )


def _sizes(goal: dict[str, int], stable: str | None) -> dict[str, int]:
    """How many instances each version is to have for these weights, of a target that changes in place."""
    listed = tuple(WantedVersion(label, Artifact("", "", ""), {}, Capacity.FULL, 0) for label in goal)
    return shares(goal, TargetWanted(Target("", ""), ServiceKind.ROUTED, listed, stable), INSTANCES)


def _has_its_sizes(target: WorldTarget, goal: dict[str, int], stable: str | None) -> bool:
    """Whether no instance is to come or go for these weights: one that is not ready yet takes its share once it is."""
    sizes = _sizes(goal, stable)
    return all(version.instances == sizes.get(label, 0) for label, version in target.versions.items())


def _is_unleased(target: WorldTarget) -> bool:
    partial = any(0 < version.weight < 100 for version in target.versions.values())
    by_hand = target.strayed or target.edited is not None
    falls = target.lease_expired or target.broken_glass is not None
    # A first version takes the place of another that never was stable: there is nothing that a lease could fall back to.
    first = target.stable is None and target.goal is not None and set(target.goal.values()) <= {0, 100}
    return partial and not by_hand and not falls and not first and target.lease_until_ms is None


def _ms(seconds: float | None) -> int | None:
    return round(seconds * 1000) if seconds is not None else None


def _to_adopt(command: Command) -> WantedVersion:
    """The version that is to be adopted: the one that serves."""
    return next(v for v in command.wanted.versions if v.label == command.wanted.stable)


def _wanted_instances(version: WantedVersion) -> int:
    """How many instances a version is to have side by side with others."""
    match version.capacity:
        case Capacity.FULL:
            return INSTANCES
        case Capacity.WEIGHTED:
            return max(1, -(-INSTANCES * max(version.weight, version.share) // 100))
        case Capacity.PARKED:
            return 0
