"""Promise 8: abort, pause and freeze are never refused, and what people hold is held."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, commands_of, rollout_of, said_as, says_what_is_there
from ctrlplane_stream.decision.invariants.proof import went_forward
from ctrlplane_stream.decision.phases import FORWARD, Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.decision.version_sets import is_hub
from ctrlplane_stream.model.commands import Notify
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import (
    Fact,
    OverrideRequested,
    OverrideVerb,
    TimePassed,
)


def pauses_pause(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: nothing goes forward while it is paused or frozen, and whoever forces is told on."""
    for rollout in decision.state.rollouts:
        past = rollout_of(before, rollout.id)
        if past is not None and rollout.forced and not past.forced:
            if not any(isinstance(output, Notify) and output.rollout == rollout.id for output in decision.outputs):
                yield Violation(8, f"{rollout.id} is forced and nobody is told")
        if past is None or not went_forward(past, rollout):
            continue
        codes = {hold.code for hold in past.holds} & {"pause", "frozen", "lets-pass"}
        if codes and not isinstance(fact, OverrideRequested) and codes & {hold.code for hold in rollout.holds}:
            yield Violation(8, f"{rollout.id} went forward while {' and '.join(sorted(codes))}")
        if not rollout.is_revert:  # which goes back, and is kept by no freeze
            yield from _stepped_though_frozen(books, fact, rollout, decision.state)


def reverts_go_first(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: a revert that a person wants waits for what moves its own service, and for people, alone; what climbs next to it stands still."""
    for rollout in decision.state.rollouts:
        past = rollout_of(before, rollout.id)
        if not rollout.is_revert:
            continue
        if isinstance(fact, TimePassed) and rollout.phase is Phase.QUEUED and not _may_wait(decision.state, rollout):
            yield Violation(8, f"{rollout.id} waits, though nothing moves what it returns: {rollout.waiting_for}")
        waited = past is None or past.attempt != rollout.attempt or past.phase is Phase.QUEUED
        if waited and rollout.phase in FORWARD:
            yield from _climbs_beside(before, decision.state, rollout)


def _may_wait(state: State, revert: e.Rollout) -> bool:
    services = {unit.service for unit in revert.units}
    targets = [state.find(f"target/{name}", e.TargetEntry) for name in services]
    if revert.holds or any(t is not None and (t.edited is not None or t.strayed is not None) for t in targets):
        return True
    return any(r.phase is not Phase.QUEUED and services & {unit.service for unit in r.units} for r in state.rollouts)


def _climbs_beside(before: State, after: State, revert: e.Rollout) -> Iterator[Violation]:
    """Whoever climbs, shares an edge with what goes back, and is not held; at a hub nobody waits."""
    graph, services = before.graph, {unit.service for unit in revert.units}
    for other in after.rollouts:
        if other.id == revert.id or other.is_revert or other.phase not in (Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING):
            continue
        theirs = {unit.service for unit in other.units}
        edges = (edge for name in services for edge in (*graph.outgoing(name), *graph.incoming(name)))
        joined = any(edge.callee in theirs or edge.caller in theirs for edge in edges)
        if joined and not other.holds and not any(is_hub(graph, name) for name in services | theirs):
            yield Violation(8, f"{other.id} climbs on beside {revert.id}, which returns what is next to it")


def drift_is_left(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: a target that strayed is told nothing that moves it before somebody resumes it or it is as it was left."""
    for command in commands_of(decision):
        target = decision.state.find(f"target/{command.target.service}", e.TargetEntry)
        if target is not None and target.strayed is not None and not says_what_is_there(books, command):
            yield Violation(8, f"{command.id}: {command.target} is written over though it strayed: {target.strayed}")


def _stepped_though_frozen(books: Books, fact: Fact, rollout: e.Rollout, state: State) -> Iterator[Violation]:
    clock = state.find("clock", e.Clock)
    if clock is None or isinstance(fact, OverrideRequested):
        return
    for (*_, id_), (service, until_ms) in books.freezes.items():
        covers = service is None or any(unit.service == service for unit in rollout.units)
        if covers and (until_ms is None or until_ms > clock.now_ms):
            yield Violation(8, f"{rollout.id} went forward though {id_} freezes {service or 'everything'}")


def never_refused(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: abort, pause and freeze are never refused."""
    if isinstance(fact, OverrideRequested) and fact.verb in (OverrideVerb.ABORT, OverrideVerb.PAUSE, OverrideVerb.FREEZE):
        repeated = said_as(fact) in books.overrides or any(r.code == "repeated" for r in decision.reasons)
        if decision.disposition is not Disposition.APPLIED and not repeated:
            yield Violation(8, f"{fact.verb} {fact.id} was refused")
        if fact.verb is OverrideVerb.ABORT and not repeated:
            yield from _ignored_abort(fact, decision.state)


def _ignored_abort(fact: OverrideRequested, state: State) -> Iterator[Violation]:
    for rollout in state.rollouts:
        about = fact.rollout in (None, rollout.id) and (fact.service is None or any(u.service == fact.service for u in rollout.units))
        if about and fact.id in rollout.overrides and rollout.stopped_because is None:
            yield Violation(8, f"abort {fact.id} changed nothing of {rollout.id} in {rollout.phase}")
