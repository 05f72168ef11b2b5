"""Promise 8: abort, pause and freeze are never refused, and what people hold is held."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, commands_of, rollout_of, rollouts_of
from ctrlplane_stream.decision.invariants.proof import went_forward
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Notify
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import (
    Fact,
    OverrideRequested,
    OverrideVerb,
)


def pauses_pause(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: nothing goes forward while it is paused or frozen, and whoever forces is told on."""
    for rollout in rollouts_of(decision.state):
        past = rollout_of(before, rollout.id)
        if past is not None and rollout.forced and not past.forced:
            if not any(isinstance(output, Notify) and output.rollout == rollout.id for output in decision.outputs):
                yield Violation(8, f"{rollout.id} is forced and nobody is told")
        if past is None or not went_forward(past, rollout):
            continue
        codes = {hold.code for hold in past.holds} & {"pause", "frozen"}
        if codes and not isinstance(fact, OverrideRequested) and codes & {hold.code for hold in rollout.holds}:
            yield Violation(8, f"{rollout.id} went forward while {' and '.join(sorted(codes))}")
        yield from _stepped_though_frozen(books, fact, rollout, decision.state)


def drift_is_left(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: a target that strayed at rest is told nothing before somebody resumes it or it is as it was left."""
    for command in commands_of(decision):
        target = decision.state.find(f"target/{command.target.service}", e.TargetEntry)
        if target is not None and target.strayed is not None:
            yield Violation(8, f"{command.id}: {command.target} is written over though it strayed: {target.strayed}")


def _stepped_though_frozen(books: Books, fact: Fact, rollout: e.Rollout, state: State) -> Iterator[Violation]:
    clock = state.find("clock", e.Clock)
    if clock is None or isinstance(fact, OverrideRequested):
        return
    for id_, (service, until_ms) in books.freezes.items():
        covers = service is None or any(unit.service == service for unit in rollout.units)
        if covers and (until_ms is None or until_ms > clock.now_ms):
            yield Violation(8, f"{rollout.id} went forward though {id_} freezes {service or 'everything'}")


def never_refused(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: abort, pause and freeze are never refused."""
    if isinstance(fact, OverrideRequested) and fact.verb in (OverrideVerb.ABORT, OverrideVerb.PAUSE, OverrideVerb.FREEZE):
        repeated = fact.id in books.overrides or any(r.code == "repeated" for r in decision.reasons)
        if decision.disposition is not Disposition.APPLIED and not repeated:
            yield Violation(8, f"{fact.verb} {fact.id} was refused")
        if fact.verb is OverrideVerb.ABORT and not repeated:
            yield from _ignored_abort(fact, decision.state)


def _ignored_abort(fact: OverrideRequested, state: State) -> Iterator[Violation]:
    for rollout in rollouts_of(state):
        about = fact.rollout in (None, rollout.id) and (fact.service is None or any(u.service == fact.service for u in rollout.units))
        if about and fact.id in rollout.overrides and rollout.stopped_because is None:
            yield Violation(8, f"abort {fact.id} changed nothing of {rollout.id} in {rollout.phase}")
