"""Promises 8 and 11 of whoever waits for a person: what a hand did stands until one says otherwise, and who waits for that is held, says
so, and never waits in a circle."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import (
    Books,
    Hand,
    Violation,
    commands_of,
    is_advised,
    rollout_of,
    said_as,
    says_what_is_there,
)
from ctrlplane_stream.decision.phases import FORWARD, MOVING, Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.commands import Command, Notify
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import (
    Fact,
    OutcomeReported,
    OutcomeStatus,
    OverrideRequested,
    OverrideVerb,
    TimePassed,
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import OnDrift
from ctrlplane_stream.model.world import TargetObserved


def hands_are_left(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: what a hand did is not gone over before a person says resume or abort, or the world shows what was wanted: an edit, and a drift
    where the policy holds for it. A lease may be renewed by the weights that are there, and what takes a candidate's weight away goes over
    a drift, once."""
    _note_hands(books, fact, before, decision)
    for command in commands_of(decision):
        hand = books.hands.get(command.target.service)
        if hand is not None and hand.edit and command.over_edit == hand.words:
            yield Violation(8, f"{command.id}: {command.target} goes over an edit of which nobody said so: {hand.words}")
        if hand is not None and not hand.edit and _goes_back_over(books, decision.state, command):
            del books.hands[command.target.service]
        elif hand is not None and not hand.edit and not says_what_is_there(books, command):
            yield Violation(8, f"{command.id}: {command.target} is written over by {command.verb}, and nobody said so: {hand.words}")


def _goes_back_over(books: Books, state: State, command: Command) -> bool:
    """Whether a command is the first on this way back to take the candidate's weight."""
    rollout, service = rollout_of(state, command.rollout), command.target.service
    if rollout is None or (rollout.stopped_because is None and rollout.phase is not Phase.PREPARING):
        return False
    way = (rollout.id, rollout.attempt, rollout.retreats, rollout.stopped_because is not None, service)
    falls = any(unit.service == service and command.wanted.weight(unit.candidate) == 0 for unit in rollout.units)
    first = falls and way not in books.gone_over
    books.gone_over.add(way)
    return first


def whoever_waits_is_held(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """11: whoever waits for a person, also on the way back and in the queue, is held for what it waits for, which names the target; people
    are told of every hold, by when it ends, and told again where it ends nothing."""
    time, clock = isinstance(fact, TimePassed), decision.state.find("clock", e.Clock)
    for rollout in decision.state.rollouts:
        if rollout.advice is not None or (rollout.phase is Phase.QUEUED and not time):
            continue
        for unit in rollout.units:
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            owner = target.rollout if target is not None else None
            waits = owner == rollout.id if rollout.phase in MOVING else owner is None and not rollout.waits_on
            named = any(f"{unit.service} " in hold.text for hold in rollout.holds)
            if unit.service in books.hands and waits and not named:
                yield Violation(11, f"{rollout.id} is {rollout.phase} and not held, though a hand has {unit.service}")
        for hold in rollout.holds:
            if time and clock is not None and hold.deadline_steady <= clock.steady:
                yield Violation(11, f"{rollout.id} is held for {hold.code} in {rollout.phase} beyond its deadline")
        yield from _untold(before, rollout, decision)


def _untold(before: State, rollout: e.Rollout, decision: Decision) -> Iterator[Violation]:
    past = rollout_of(before, rollout.id)
    known = {(hold.code, hold.deadline_ms) for hold in past.holds} if past is not None else set()
    told = {output.deadline_ms for output in decision.outputs if isinstance(output, Notify) and output.rollout == rollout.id}
    for hold in rollout.holds:
        if (hold.code, hold.deadline_ms) not in known and hold.deadline_ms not in told:
            yield Violation(11, f"{rollout.id} is held for {hold.code}, and nobody is told until when")


def nobody_waits_in_a_circle(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """11: of those that wait for each other one waits for nobody, once time has had all of them looked at."""
    if not isinstance(fact, TimePassed):
        return
    waiting: dict[str, tuple[str, ...]] = {}
    for rollout in decision.state.rollouts:
        queues = rollout.waits_on if rollout.phase in (Phase.QUEUED, *FORWARD) else None
        waiting[rollout.id] = tuple(other for other in (rollout.beside, queues) if other is not None)
    for first in waiting:
        if (way := _way_back(waiting, first)) is not None:
            yield Violation(11, " waits for ".join(way))
            return


def _way_back(waiting: dict[str, tuple[str, ...]], first: str) -> tuple[str, ...] | None:
    """From the first to itself, by who waits for whom; None where no way leads back."""
    came: dict[str, str] = {}
    todo = [first]
    while todo:
        at = todo.pop()
        for other in waiting.get(at, ()):
            if other == first:
                way = [at]
                while way[-1] != first:
                    way.append(came[way[-1]])
                return (*reversed(way), first)
            if other not in came:
                came[other] = at
                todo.append(other)
    return None


_ANSWERS = (OverrideVerb.RESUME, OverrideVerb.ABORT)
"""What ends that a target is left as a hand has it."""


def _note_hands(books: Books, fact: Fact, before: State, decision: Decision) -> None:
    """Note whose target is in a hand, and let go of what a person answered or what is as it was wanted."""
    if isinstance(fact, OverrideRequested) and fact.verb in _ANSWERS and said_as(fact) not in books.overrides:
        for service in [name for name in books.hands if _answers(fact, before, name)]:
            del books.hands[service]
    if not isinstance(fact, OutcomeReported | WorldChanged) or fact.observed is None or decision.disposition is not Disposition.APPLIED:
        return
    service, known = fact.target.service, books.hands.get(fact.target.service)
    if known is not None and _is_over(books, known, fact):
        del books.hands[service]
    if fact.observed.edited is not None and _is_edited(books, fact, before):
        books.hands[service] = Hand(fact.observed.edited, edit=True)
    elif isinstance(fact, WorldChanged) and fact.cause is WorldCause.DRIFT and (known is None or not known.edit):
        if _drifts(books, service, fact.observed) and _holds_for_drift(before, service):
            books.hands[service] = Hand(fact.detail or "drift", edit=False)


def _answers(fact: OverrideRequested, before: State, service: str) -> bool:
    """Whether a word of a person is about a target: an abort about what it stops alone."""
    target = before.find(f"target/{service}", e.TargetEntry)
    about = [r for r in before.rollouts if fact.rollout in (None, r.id) and any(fact.service in (None, u.service) for u in r.units)]
    if fact.verb is OverrideVerb.ABORT:
        return target is not None and any(r.id == target.rollout for r in about)
    at_rest = fact.rollout is None and fact.service in (None, service)
    return at_rest or any(unit.service == service for r in about for unit in r.units)


def _is_edited(books: Books, fact: OutcomeReported | WorldChanged, before: State) -> bool:
    """Whether an edit is reported as such, or is why the command that is waited for was refused, which was not to go over it."""
    if isinstance(fact, WorldChanged):
        return fact.cause is WorldCause.HAND_EDIT
    target = before.find(f"target/{fact.target.service}", e.TargetEntry)
    flight = target.in_flight if target is not None else None
    said_over = fact.observed is not None and books.over.get(fact.target.service) == fact.observed.edited
    return fact.status is OutcomeStatus.REFUSED and flight is not None and flight.id == fact.command_id and not said_over


def _is_over(books: Books, hand: Hand, fact: OutcomeReported | WorldChanged) -> bool:
    """Whether a target is in that hand no more. What a command saw as it ended may be older than an edit, of which its cursor tells
    nothing, unless it was to go over just that."""
    service, seen = fact.target.service, fact.observed
    if seen is not None and seen.break_glass is not None:
        return True
    if seen is None or seen is not books.observed.get(service):
        return False
    if hand.edit:
        return seen.edited is None and (isinstance(fact, WorldChanged) or books.over.get(service) == hand.words)
    return not _drifts(books, service, seen)


def _drifts(books: Books, service: str, seen: TargetObserved) -> bool:
    """Whether a target that has carried out its last command is seen with other weights than were meant; where those are exact."""
    wanted, meant = books.wanted.get(service), books.meant.get(service)
    if wanted is None or meant is None or seen is not books.observed.get(service) or seen.cursor is None:
        return False
    exact = wanted.kind is ServiceKind.ROUTED and not wanted.in_place and seen.granularity == 1
    done = seen.cursor.sequence >= books.sequences.get(service, 0)
    return exact and done and any(version.weight != meant.get(version.label, 0) for version in seen.versions)


def _holds_for_drift(before: State, service: str) -> bool:
    target = before.find(f"target/{service}", e.TargetEntry)
    moved = before.find(f"set/{target.rollout}", e.VersionSet) if target is not None and target.rollout is not None else None
    entry = before.find(f"service/{service}", ServiceInEnvironment)
    if moved is not None:
        return moved.policy.on_drift is OnDrift.HOLD
    return entry is not None and entry.policy.on_drift is OnDrift.HOLD and not is_advised(before, service)
