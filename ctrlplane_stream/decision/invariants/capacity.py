"""Promises 1 to 4: weights are whole and carried, the stable version stays, an abort only falls, nothing goes before it has drained."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, commands_of, renews_what_is_there, rollout_of, stands
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import (
    Fact,
)
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.world import Capacity, TargetObserved


def weights_are_whole(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """1: weights sum to 100, or 0 where nothing was ever stable; nothing rises above its observed ready capacity."""
    for command in commands_of(decision):
        total = sum(v.weight for v in command.wanted.versions)
        if total not in ((100,) if command.wanted.stable is not None else (0, 100)):
            yield Violation(1, f"{command.id}: weights of {command.target} sum to {total}")
        if renews_what_is_there(books, command):
            continue  # Whatever that is: it raises nothing.
        for version in command.wanted.versions:
            if version.capacity is Capacity.WEIGHTED and version.share < version.weight:
                yield Violation(1, f"{command.id}: {version.label} of {command.target} has instances for {version.share}% only")
        yield from _raised(books, command, rollout_of(decision.state, command.rollout))


def _exchanged(command: Command, raised: int, seen: TargetObserved | None, rollout: e.Rollout | None) -> str | None:
    """What is wrong with raising a candidate in place by so many percent, or None: all must be ready, and one instance follows another."""
    versions = seen.versions if seen is not None else ()
    instances = sum(v.instances for v in versions)
    if any(v.ready < v.instances for v in versions):
        return "while an instance is not ready"
    if instances and not command.wanted.surplus_percent and rollout is not None and len(rollout.steps) > 1 and raised > 100 / instances + 1:
        return f"by {raised} points with {instances} instances"
    return None


def _raised(books: Books, command: Command, rollout: e.Rollout | None) -> Iterator[Violation]:
    seen = books.observed.get(command.target.service)
    for version in command.wanted.versions if command.verb is not Verb.ADOPT else ():  # what is adopted has its traffic already
        before = stands(books, command.target.service, version.label)
        if version.weight <= before or (rollout is not None and rollout.unsafe):
            continue
        if command.wanted.in_place:
            raised = version.weight - before
            wrong = _exchanged(command, raised, seen, rollout) if version.label != command.wanted.stable else None
            if wrong is not None:
                yield Violation(1, f"{command.id}: {version.label} of {command.target} raised in place {wrong}")
            continue
        at = seen.version(version.label) if seen is not None else None
        share = 100 * at.ready / at.instances if at is not None and at.instances else 0.0
        falling_back = rollout is not None and any(u.stable == version.label for u in rollout.units) and share > 0
        if _before_it_was_parked(books, command.target.service, version.label):
            yield Violation(1, f"{command.id}: {version.label} of {command.target} raised on what was seen before it was parked")
        if share < version.weight and not falling_back:
            yield Violation(1, f"{command.id}: {version.label} of {command.target} raised to {version.weight}% with {share:.0f}% ready")


def _before_it_was_parked(books: Books, service: str, label: str) -> bool:
    """Whether the version was wanted parked after the target was last looked at."""
    seen = books.observed.get(service)
    looked = max(books.looked.get(service, -1), seen.cursor.sequence if seen is not None and seen.cursor is not None else -1)
    return looked <= books.parked.get((service, label), -1)


def stable_keeps_its_capacity(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """2: the stable version is wanted whole until the candidate has baked and it has drained."""
    for command in commands_of(decision):
        rollout = rollout_of(decision.state, command.rollout)
        if rollout is None:
            stable = next((v for v in command.wanted.versions if v.label == command.wanted.stable), None)
            if command.wanted.stable is not None and (stable is None or stable.capacity is not Capacity.FULL):
                yield Violation(
                    2, f"{command.id}: stable {command.wanted.stable} of {command.target} loses its capacity outside of any rollout"
                )
            continue
        for unit in rollout.units:
            if unit.service != command.target.service or unit.stable is None:
                continue
            kept = next((v for v in command.wanted.versions if v.label == unit.stable), None)
            if kept is None or kept.capacity is not Capacity.FULL:
                if not (rollout.promoted and rollout.phase is Phase.DRAINING):
                    yield Violation(2, f"{command.id}: stable {unit.stable} of {unit.service} loses its capacity in {rollout.phase}")
                elif command.verb is Verb.PARK and _too_soon(books, unit, rollout, decision.state):
                    yield Violation(2, f"{command.id}: {unit.stable} of {unit.service} goes while {unit.candidate} is not ready whole")


def _too_soon(books: Books, unit: e.Unit, rollout: e.Rollout, state: State) -> bool:
    """Whether an old version is parked before its drain limit while not every instance of the new one is ready."""
    clock, version_set = state.find("clock", e.Clock), state.find(f"set/{rollout.id}", e.VersionSet)
    seen, zero = books.observed.get(unit.service), books.zero_since.get((unit.service, unit.stable or ""))
    at = seen.version(unit.candidate) if seen is not None else None
    past = books.wanted.get(unit.service)
    parked = (
        next((v for v in past.versions if v.label == unit.stable and v.capacity is Capacity.PARKED), None) if past is not None else None
    )
    if at is None or at.ready >= at.instances or zero is None or version_set is None or clock is None or parked is not None:
        return False
    if rollout.unsafe or version_set.kinds.get(unit.service) is ServiceKind.JOB:
        return False
    return clock.now_ms - max(zero, _drains_since_ms(rollout)) < version_set.policy.drain_limit_seconds * 1000


def _drains_since_ms(rollout: e.Rollout | None) -> int:
    """When the last drain of a rollout began, before which its limit is not waited for; 0 where none has."""
    passages = reversed(rollout.timeline) if rollout is not None else ()
    return next((passage.at_ms for passage in passages if passage.phase is Phase.DRAINING), 0)


def adoption_moves_nothing(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """2, 4: an adoption wants what runs whole and with all traffic, or nothing of it; what was taken over once is never left."""
    for command in commands_of(decision):
        rollout = rollout_of(decision.state, command.rollout)
        adopts = rollout is not None and rollout.cause == "adoption"
        past = before.find(f"target/{command.target.service}", e.TargetEntry)
        known = past.last_known_good if past is not None else None
        if command.verb in (Verb.ADOPT, Verb.LEAVE) and (not adopts or known is not None):
            yield Violation(2, f"{command.id}: {command.verb} of {command.target}, which has a version that is good already")
        for unit in rollout.units if rollout is not None and adopts else ():
            ours = next((v for v in command.wanted.versions if v.label == unit.candidate), None)
            whole = ours is not None and ours.capacity is Capacity.FULL and ours.weight == 100 and command.wanted.stable == unit.candidate
            if ours is not None and not whole:
                yield Violation(4, f"{command.id}: {unit.candidate} of {command.target} is to be adopted and does not keep what it has")
            if ours is None and command.verb is not Verb.LEAVE:
                yield Violation(4, f"{command.id}: {unit.candidate} of {command.target} is to be adopted and would be deleted")


def aborts_only_fall(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """3: during an abort no candidate's weight rises."""
    for command in commands_of(decision):
        rollout = rollout_of(decision.state, command.rollout)
        past = books.wanted.get(command.target.service)
        if rollout is None or past is None or rollout.stopped_because is None or renews_what_is_there(books, command):
            continue
        for unit in rollout.units:
            if unit.service == command.target.service and command.wanted.weight(unit.candidate) > stands(
                books, unit.service, unit.candidate
            ):
                yield Violation(3, f"{command.id}: {unit.candidate} of {unit.service} rises during an abort")


def drained_before_parked(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """4: nothing is scaled down before its weight is confirmed 0, in the object and in arrivals, and the drain has passed: no request has
    arrived for so long, or, where nothing was seen since, the drain limit is over."""
    clock = decision.state.find("clock", e.Clock)
    for command in commands_of(decision):
        past = books.wanted.get(command.target.service)
        rollout = rollout_of(decision.state, command.rollout)
        for version in past.versions if past is not None and command.verb is not Verb.LEAVE else ():
            now = next((v for v in command.wanted.versions if v.label == version.label), None)
            shrinks = version.capacity is not Capacity.PARKED and (now is None or now.capacity is Capacity.PARKED)
            if (
                now is not None
                and now.capacity is Capacity.WEIGHTED
                and (version.capacity is Capacity.FULL or (version.capacity is Capacity.WEIGHTED and now.share < version.share))
            ):
                yield Violation(4, f"{command.id}: {version.label} of {command.target} is made smaller before it has drained")
            if shrinks and rollout is None and (command.target.service, version.label) not in books.stood_by:
                yield Violation(
                    4, f"{command.id}: {version.label} of {command.target} goes outside of any rollout without having been parked"
                )
            if rollout is not None and rollout.unsafe:
                continue
            if now is None or now.capacity is Capacity.PARKED:
                yield from _in_use(books, command, version.label, "deleted" if now is None else "parked")
            if shrinks and clock is not None:
                yield from _not_drained(books, command, version.label, rollout, decision.state, clock.now_ms)


def _in_use(books: Books, command: Command, label: str, how: str) -> Iterator[Violation]:
    seen = books.observed.get(command.target.service)
    at = seen.version(label) if seen is not None else None
    if at is not None and at.weight > 0 and at.instances > 0:
        yield Violation(4, f"{command.id}: {label} of {command.target} is {how}, and is seen with {at.weight}% of the traffic")


def _not_drained(books: Books, command: Command, label: str, rollout: e.Rollout | None, state: State, now_ms: int) -> Iterator[Violation]:
    service = command.target.service
    if rollout is not None and (rollout.id, rollout.attempt, service, label) not in books.weighted:
        if all((u.service, u.stable) != (service, label) for u in rollout.units):
            return
    zero, policy = books.zero_since.get((service, label)), _policy(state, service, rollout)
    seen = books.observed.get(service)
    absent = zero is None and seen is not None and seen.version(label) is None
    if absent and (command.wanted.in_place or (service, label) not in books.carried):
        return  # Where instances come with the weight a version is given some before it runs; this one the world never had.
    if zero is None or policy is None:
        yield Violation(4, f"{command.id}: {label} of {service} goes while its weight is not confirmed 0")
        return
    late = now_ms - max(zero, _drains_since_ms(rollout)) >= policy.drain_limit_seconds * 1000
    if command.wanted.kind is ServiceKind.JOB:
        at = seen.version(label) if seen is not None else None
        if at is not None and at.running and not late:
            yield Violation(4, f"{command.id}: {label} of {service} goes while {at.running} of its runs are under way")
        return
    met = books.met.get((service, label), 0)
    quiet_ms = min(now_ms - zero, books.closed_ms - met)
    met_since = met - books.window_seconds * 1000 >= zero
    if quiet_ms < policy.drain_seconds * 1000 and (met_since or not late):
        yield Violation(4, f"{command.id}: {label} of {service} goes {quiet_ms / 1000:.1f} s after its last request")


def _policy(state: State, service: str, rollout: e.Rollout | None) -> Policy | None:
    """What a rollout, or at rest the catalog, says of drains."""
    if rollout is not None:
        version_set = state.find(f"set/{rollout.id}", e.VersionSet)
        return version_set.policy if version_set is not None else None
    known = state.find(f"service/{service}", ServiceInEnvironment) or state.find(f"gone/{service}", ServiceInEnvironment)
    return known.policy if known is not None else Policy()
