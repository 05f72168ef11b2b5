"""Promises 9 to 11: once per id, one mover per target, and nothing sleeps."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, commands_of, numbered, rollout_of, said_as
from ctrlplane_stream.decision.phases import MOVING, Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import ArtifactPushed, Fact, OutcomeReported, OutcomeStatus, OverrideRequested


def commands_are_unique(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """9: a command is emitted at most once per id, and one target gets at most one per decision."""
    ids = [command.id for command in commands_of(decision)]
    if len(set(ids)) != len(ids) or any(id_ in books.command_ids for id_ in ids):
        yield Violation(9, f"a command id is used twice: {ids}")
    targets = [command.target for command in commands_of(decision)]
    if len(set(targets)) != len(targets):
        yield Violation(9, f"a target is told twice in one decision: {targets}")
    if any(command.sequence != decision.sequence for command in commands_of(decision)):
        yield Violation(9, "a command carries another sequence than its decision")


def each_record_once(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """9: what is delivered again is known, whatever became of its topic meanwhile. 7: what was never taken is not taken for it."""
    origin = books.origin
    if origin is None:
        return
    repeated = any(reason.code == "repeated" for reason in decision.reasons)
    if origin in books.taken and not repeated:
        yield Violation(9, f"{origin} is decided a second time")
    if origin not in books.taken and repeated and origin.at_ms is not None:
        yield Violation(7, f"{origin} is taken for a record that was decided, and never was")
    if not repeated:
        books.taken.add(origin)


def once_for_ever(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """9: an artifact with a configuration has one number for ever, a number is made from one thing for ever, and an event of an artifact
    is taken and a word of an operator carried out once, by its id and scope."""
    for service, version in numbered(decision):
        label = books.numbers.get((service, version.artifact, version.manifest_hash), version.label)
        if label != version.label:
            yield Violation(9, f"{service} {label} is numbered {version.label} besides")
    for command in commands_of(decision):
        for wanted in command.wanted.versions:
            made = books.made.setdefault((command.target.service, wanted.label), wanted.made_from)
            if made != wanted.made_from:
                yield Violation(
                    9, f"{command.id}: {command.target} {wanted.label} is to be made from {wanted.made_from}, and was from {made}"
                )
    if isinstance(fact, OverrideRequested) and said_as(fact) in books.overrides and decision.disposition is Disposition.APPLIED:
        yield Violation(9, f"{fact.verb} {fact.id} by {fact.who} is carried out again")
    if isinstance(fact, ArtifactPushed) and decision.disposition is Disposition.APPLIED:
        if fact.event_id in books.events.get((fact.artifact.service, fact.artifact.digest), ()):
            yield Violation(9, f"event {fact.event_id} of {fact.artifact} is taken again")


def one_mover_per_target(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """10: at most one rollout moves any target; only one steps forward in a window; the stable version is never lost."""
    movers: dict[str, str] = {}
    for rollout in decision.state.rollouts:
        if any(_emptied_by_hand(books, fact, unit) for unit in rollout.units):
            books.emptied.add((rollout.id, rollout.attempt))
        for unit in rollout.units if rollout.phase in MOVING else ():
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            owner = target.rollout if target is not None else None
            if owner != rollout.id and rollout.phase not in (Phase.ABORTING, Phase.DRAINING):
                yield Violation(10, f"{rollout.id} moves {unit.service}, which belongs to {owner}")
            if owner == rollout.id and movers.setdefault(unit.service, rollout.id) != rollout.id:
                yield Violation(10, f"{unit.service} is moved by {movers[unit.service]} and {rollout.id}")
    for command in commands_of(decision):
        past = before.find(f"target/{command.target.service}", e.TargetEntry)
        undone = command.verb is Verb.LEAVE or _undoes_its_own(books, decision.state, command)
        if past is not None and past.stable is not None and command.wanted.stable is None and not undone:
            yield Violation(10, f"{command.id}: {command.target} lost its stable version {past.stable}")
        mover = rollout_of(decision.state, command.rollout)
        last, attempt = books.mover.get(command.target.service, (None, 0))
        other = rollout_of(decision.state, last)
        moves = other is not None and other.attempt == attempt and other.phase in MOVING
        if mover is not None and other is not None and other.id != mover.id and moves:
            yield Violation(10, f"{command.id}: {mover.id} has {command.target} told, which {other.id} moves")
        if mover is not None and mover.advice is not None:
            yield Violation(10, f"{command.id}: {command.target} is commanded, though another tool moves it")
    yield from _one_step_a_window(books, before, decision.state)


def partial_weights_are_leased(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """11: what is told while a weight is partial, or is to be, is told on a lease, so that the target ends on stable without us."""
    for command in commands_of(decision):
        seen = books.observed.get(command.target.service)
        weights = [version.weight for version in command.wanted.versions]
        weights += [version.weight for version in seen.versions] if seen is not None else []
        if command.wanted.lease_seconds is None and any(0 < weight < 100 for weight in weights):
            yield Violation(11, f"{command.id}: {command.target} is told on no lease while a weight is partial")


def told_by_one(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """10: for as long as anything of a target is there, it is told by one actuator, as of one kind."""
    for command in commands_of(decision):
        past = books.wanted.get(command.target.service)
        if past is None or past.stable is None or command.wanted.stable is None:
            continue
        if (past.kind, past.actuator) != (command.wanted.kind, command.wanted.actuator):
            now = f"{command.wanted.kind} by {command.wanted.actuator}"
            yield Violation(10, f"{command.id}: {command.target} is told as {now}, and was as {past.kind} by {past.actuator}")


def _undoes_its_own(books: Books, state: State, command: Command) -> bool:
    """Whether a set that is aborted before it ended takes back a first version that it had made stable: beside others, or where a person
    has emptied one of its targets, by breaking the glass or by an edit whose lease ran out, which did not know yet what to fall back to.
    By the time that the turn of its first wave comes, the glass may be whole again."""
    rollout = rollout_of(state, command.rollout)
    if rollout is None or rollout.stopped_because is None:
        return False
    if rollout.only_first_versions and (rollout.id, rollout.attempt) not in books.emptied:
        return False
    return any(unit.service == command.target.service and unit.stable is None for unit in rollout.units)


def _emptied_by_hand(books: Books, fact: Fact, unit: e.Unit) -> bool:
    """Whether the world shows broken glass, or that the lease on a hand's weights ran out, and nothing of the candidate, or would not have
    it any more."""
    seen = books.observed.get(unit.service)
    if seen is None or (seen.break_glass is None and not seen.lease_expired):
        return False
    refused = isinstance(fact, OutcomeReported) and fact.status is OutcomeStatus.REFUSED and fact.target.service == unit.service
    return refused or (at := seen.version(unit.candidate)) is None or at.weight == 0


def _one_step_a_window(books: Books, before: State, after: State) -> Iterator[Violation]:
    clock = after.find("clock", e.Clock)
    for rollout in after.rollouts:
        past = rollout_of(before, rollout.id)
        if clock is None or past is None or rollout.phase is not Phase.SHIFTING:
            continue
        if past.phase is Phase.SHIFTING and (past.wave, past.step) == (rollout.wave, rollout.step):
            continue
        window = int(clock.now_ms // (books.window_seconds * 1000))
        then, other = books.stepped if books.stepped is not None else (-1, rollout)
        if then == window and other.id != rollout.id and not (other.only_first_versions and rollout.only_first_versions):
            yield Violation(10, f"{rollout.id} steps in the window in which {other.id} stepped")
        books.stepped = (window, rollout)


def nothing_sleeps(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """11: while a rollout is active time is asked for, and whatever is held has a reason and a deadline."""
    rollouts = decision.state.rollouts
    clock = decision.state.find("clock", e.Clock)
    if rollouts and clock is not None and (decision.wake_at_ms is None or decision.wake_at_ms > clock.now_ms + 5_000):
        yield Violation(11, f"rollouts are active, but time is not asked for within 5 s ({decision.wake_at_ms})")
    for rollout in rollouts:
        for hold in rollout.holds:
            if not hold.text or hold.deadline_ms <= 0:
                yield Violation(11, f"{rollout.id} is held for {hold.code} without a reason or a deadline")
        if not rollout.waiting_for and not rollout.holds:
            yield Violation(11, f"{rollout.id} is {rollout.phase} and does not say what it waits for")
