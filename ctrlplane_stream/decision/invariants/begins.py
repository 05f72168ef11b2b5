"""Promises 7, 8 and 10 of what begins: all that came of a release, and nothing that somebody has pinned otherwise, gone back from, or left
to another tool."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, commands_of, is_advised, rollout_of
from ctrlplane_stream.decision.phases import FORWARD, Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment, manifest_hash
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied, Fact, OverrideRequested
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.model.policy import Mode


def nothing_unwanted_begins(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: no push and no configuration moves what somebody has pinned to another version, however long it waited; a catalog that says what
    was said before does not bring back what was gone back from; and nor does a configuration that was waiting as that went back."""
    if isinstance(fact, CatalogApplied) and decision.disposition is Disposition.APPLIED:
        yield from _brought_back(books, before, decision.state)
        _note_said(books, decision.state, fact)
    for rollout in _just_begun(before, decision.state):
        for unit in rollout.units if rollout.cause in ("release", "configuration") else ():
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            if target is not None and target.pinned not in (None, unit.candidate):
                yield Violation(8, f"{rollout.id} begins to move {unit.service} to {unit.candidate}, which is pinned to {target.pinned}")
            if (rollout.id, rollout.attempt, unit.service) in books.left_waiting:
                yield Violation(8, f"{rollout.id} begins, though {unit.service} just went back from the artifact of {unit.candidate}")
    books.left_waiting.update(_given_up(before, decision.state))


def _given_up(before: State, after: State) -> Iterator[tuple[str, int, str]]:
    """What waited, as its artifact began to go back to another one, to bring that with another configuration."""
    for rollout in after.rollouts:
        past = rollout_of(before, rollout.id)
        if past is None or past.attempt != rollout.attempt or past.stopped_because is not None or not rollout.goes_back:
            continue
        for unit in rollout.units:
            target = before.find(f"target/{unit.service}", e.TargetEntry)
            serves = unit.stable if past.promoted or target is None else target.stable
            gone = _artifact(before, unit.service, unit.candidate)
            if gone is None or gone == _artifact(before, unit.service, serves):
                continue
            for waits in before.rollouts:
                other = next((u.candidate for u in waits.units if u.service == unit.service), unit.candidate)
                same = other != unit.candidate and _artifact(before, unit.service, other) == gone
                if same and waits.phase is Phase.QUEUED and not waits.by_a_person:
                    yield waits.id, waits.attempt, unit.service


def _artifact(state: State, service: str, label: str | None) -> Artifact | None:
    version = state.find(f"version/{service}/{label}", e.VersionEntry)
    return version.artifact if version is not None else None


def what_comes_has_come(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: what comes of a release counts as come, whatever keeps it: the release does not wait for it, nor is it dropped as if it lacked.
    A record that is read again comes as it came, whatever the catalog says since."""
    if not isinstance(fact, ArtifactPushed) or fact.release is None or books.origin in books.taken:
        return
    artifact, collects = fact.artifact, decision.state.find(f"release/{fact.release}", e.ReleaseEntry)
    service = before.find(f"service/{artifact.service}", ServiceInEnvironment)
    again = fact.event_id in books.events.get((artifact.service, artifact.digest), ())
    if collects is None or service is None or artifact.image not in service.images or again:
        return
    if artifact.service not in collects.members:
        yield Violation(7, f"release {fact.release} waits for {artifact.service}, of which {artifact.digest} came")


def _brought_back(books: Books, before: State, after: State) -> Iterator[Violation]:
    for rollout in after.rollouts:
        past = rollout_of(before, rollout.id)
        if rollout.cause != "configuration" or (past is not None and past.attempt == rollout.attempt):
            continue
        if all((unit.service, unit.candidate) in books.gone_back and _is_nothing_new(books, after, unit.service) for unit in rollout.units):
            yield Violation(8, f"{rollout.id} is brought back by a catalog that says nothing new of it")


def _is_nothing_new(books: Books, after: State, service: str) -> bool:
    entry = after.find(f"service/{service}", ServiceInEnvironment)
    return entry is not None and books.said.get(service) == manifest_hash(entry)


def _note_said(books: Books, after: State, fact: CatalogApplied) -> None:
    """Note how each service is configured that the catalog may have moved."""
    for service in fact.catalog.services:
        target = after.find(f"target/{service.service}", e.TargetEntry)
        if service.policy.mode is not Mode.ADVISE and (target is None or target.pinned is None):
            books.said[service.service] = manifest_hash(service)


def _just_begun(before: State, after: State) -> Iterator[e.Rollout]:
    for rollout in after.rollouts:
        past = rollout_of(before, rollout.id)
        if rollout.phase in FORWARD and (past is None or past.phase is Phase.QUEUED or past.attempt != rollout.attempt):
            yield rollout


def advice_is_no_command(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """10: what another tool moves is told nothing: no rollout of ours begins there, and at rest it is left as it is, but for what a person
    says; what was under way before comes to its end."""
    for rollout in _just_begun(before, decision.state):
        for unit in rollout.units:
            if decision.state.find(f"service/{unit.service}", ServiceInEnvironment) is None:
                yield Violation(10, f"{rollout.id} begins to move {unit.service}, which the catalog does not have")
            if is_advised(decision.state, unit.service):
                yield Violation(10, f"{rollout.id} begins to move {unit.service}, on which we only advise")
    for command in commands_of(decision):
        at_rest = command.rollout is None and not isinstance(fact, OverrideRequested)
        if at_rest and is_advised(before, command.target.service) and is_advised(decision.state, command.target.service):
            yield Violation(10, f"{command.id}: {command.target} is at rest and told {command.verb}, and we only advise there")
