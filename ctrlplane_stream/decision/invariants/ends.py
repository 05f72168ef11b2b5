"""Promises 6 and 7: what fails is reverted, a revert is not, and whatever ends is all old or all new."""

import math
from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, is_advised, rollout_of
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment, manifest_hash
from ctrlplane_stream.model.commands import Announce, Notify, Verb
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import (
    Fact,
    OutcomeReported,
    TimePassed,
    VerdictGiven,
    WorldChanged,
)
from ctrlplane_stream.model.identity import version_label
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.verdicts import OUR_JUDGE, VerdictStatus


def failure_reverts(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """6: a FAIL at the current step, or at the one before while the next weight is on its way, stops the rollout or the one that is
    blamed; a reverted one serves its stable version."""
    yield from _unheeded(fact, before, decision)
    if isinstance(fact, TimePassed):
        yield from _taken_back(books, before, decision.state)
        yield from _ended_by_time(books, before, decision.state)
    if isinstance(fact, VerdictGiven) and fact.verdict.status is VerdictStatus.FAIL and decision.disposition is Disposition.APPLIED:
        rollout = rollout_of(decision.state, fact.verdict.rollout)
        stops = rollout is not None and _stops(decision.state, rollout.id, fact.verdict.judge)
        if rollout is not None and not stops and (rollout.stopped_because or "").startswith(f"{fact.verdict.judge}: "):
            yield Violation(5, f"{rollout.id} stops on a FAIL of {fact.verdict.judge}, which has no veto")
        if rollout is not None and stops and not _may_go_on(rollout):
            if rollout.stopped_because is None:
                yield Violation(6, f"{rollout.id} goes on in {rollout.phase} after a FAIL")
        yield from _reverted_reverts(before, decision.state)
    for rollout in _just_ended(before, decision.state):
        if rollout.phase is Phase.REVERTED:
            yield from _serves_stable(decision.state, rollout)


def _may_go_on(rollout: e.Rollout) -> bool:
    """Whether it may go on after a FAIL: somebody forces it, it is a revert, or another is blamed."""
    return rollout.forced or rollout.skip_gate or rollout.is_revert or rollout.beside is not None


_LIVES = (Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING)


def _unheeded(fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    if not isinstance(fact, VerdictGiven) or fact.verdict.status is not VerdictStatus.FAIL or decision.disposition is Disposition.APPLIED:
        return
    verdict = fact.verdict
    past, now = (rollout_of(state, verdict.rollout) for state in (before, decision.state))
    if past is None or now is None or past.phase not in _LIVES or now.stopped_because is not None or _may_go_on(now):
        return
    waves = max(unit.wave for unit in past.units) + 1
    step = waves * len(past.steps) if past.phase is Phase.BAKING else past.wave * len(past.steps) + past.step
    judged = (verdict.environment, verdict.attempt) == (past.environment, past.judged_attempt)
    judged = judged and (past.phase is Phase.SHIFTING or verdict.step == step)
    if past.confirmed_ms is not None and judged and _stops(before, past.id, verdict.judge):
        yield Violation(6, f"{past.id} goes on in {past.phase}, and a FAIL of what the judge watches is not heard")


def harm_stops(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """6: a candidate that has harmed more requests than its policy allows, by more than chance could ever make of it, goes no further: all
    of its steps and climbs together."""
    if not isinstance(fact, VerdictGiven) or fact.verdict.judge != OUR_JUDGE or not fact.verdict.harm:
        return
    verdict = fact.verdict
    past, now = (rollout_of(state, verdict.rollout) for state in (before, decision.state))
    version_set = before.find(f"set/{verdict.rollout}", e.VersionSet)
    if past is None or now is None or version_set is None or verdict.attempt != past.judged_attempt or past.phase not in _LIVES:
        return
    budget = version_set.policy.exposure_budget_requests
    for told in verdict.harm:
        known = books.harm.setdefault((past.id, past.attempt, told.service), {})
        if told.failed >= known.get(verdict.attempt, told).failed:
            known[verdict.attempt] = told
        harmed = sum(each.failed - each.expected for each in known.values())
        chance = 2.0 + 6.0 * math.sqrt(sum(each.variance for each in known.values()))
        if budget is None or past.forced or past.is_revert or now.stopped_because is not None:
            continue
        if harmed - chance > budget:
            yield Violation(6, f"{past.id} goes on in {now.phase} though {told.service} has harmed {harmed:.0f} requests of {budget}")


def what_dies_goes_back(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """6: a candidate that is seen to fail by itself under weight goes back in the same decision, also while the old version drains."""
    for rollout in decision.state.rollouts:
        drains = rollout.phase is Phase.DRAINING and rollout.promoted and any(unit.stable is not None for unit in rollout.units)
        if rollout.forced or (rollout.phase not in _LIVES and not drains):
            continue
        for unit in rollout.units:
            seen = books.observed.get(unit.service)
            at = seen.version(unit.candidate) if seen is not None else None
            if at is not None and at.weight > 0 and (at.failure is not None or at.ready == 0):
                yield Violation(6, f"{rollout.id} goes on in {rollout.phase} though {unit.service} {unit.candidate} has failed")


def _stops(state: State, rollout: str, judge: str) -> bool:
    """Whether a FAIL of this judge stops the rollout by its policy."""
    version_set = state.find(f"set/{rollout}", e.VersionSet)
    outside = version_set.policy.gate.outside if version_set is not None else ()
    return judge == OUR_JUDGE or any(known.name == judge and known.may_veto for known in outside)


def _reverted_reverts(before: State, after: State) -> Iterator[Violation]:
    for past in before.rollouts:
        now = rollout_of(after, past.id)
        if past.is_revert and past.stopped_because is None and now is not None and now.stopped_because is not None:
            yield Violation(6, f"{past.id} is a revert, and a verdict reverts it")


def _taken_back(books: Books, before: State, after: State) -> Iterator[Violation]:
    """A revert that has all traffic is taken back by no time that passes: by no deadline, and not for want of telemetry."""
    for past in before.rollouts:
        now = rollout_of(after, past.id)
        if not past.is_revert or past.phase not in (Phase.VERIFYING, Phase.BAKING) or now is None or now.attempt != past.attempt:
            continue
        seen = [(books.observed.get(unit.service), unit.candidate) for unit in past.units]
        dead = any(at is None or (v := at.version(label)) is None or v.ready == 0 or v.failure is not None for at, label in seen)
        if not dead and (now.phase is Phase.PREPARING or now.stopped_because != past.stopped_because):
            yield Violation(6, f"{past.id} is a revert, and is taken back by time: {now.stopped_because or now.phase}")


def _ended_by_time(books: Books, before: State, after: State) -> Iterator[Violation]:
    """No deadline of a hold takes a first version that serves out of service, nor ends what somebody froze."""
    for past in before.rollouts:
        now = rollout_of(after, past.id)
        if now is None or past.stopped_because is not None or not (now.stopped_because or "").startswith(e.NOBODY_CAME):
            continue
        if any(hold.code == "frozen" for hold in past.holds) and _is_frozen(after, past):
            yield Violation(8, f"{past.id} is frozen, and is ended by time: {now.stopped_because}")
        for unit in past.units if past.phase in _LIVES else ():
            seen = books.observed.get(unit.service)
            at = seen.version(unit.candidate) if seen is not None else None
            if unit.stable is None and at is not None and at.weight and at.ready:
                yield Violation(
                    6, f"{past.id} is a first version of {unit.service} that serves, and is ended by time: {now.stopped_because}"
                )


def _is_frozen(state: State, rollout: e.Rollout) -> bool:
    ids = (state.find("index", e.Index) or e.Index()).freezes
    scopes = [freeze.service for id_ in ids if (freeze := state.find(f"freeze/{id_}", e.FreezeEntry)) is not None]
    return any(scope is None or scope in {unit.service for unit in rollout.units} for scope in scopes)


def _just_ended(before: State, after: State) -> list[e.Rollout]:
    found = [rollout_of(after, r.id) for r in before.rollouts]
    return [r for r in found if r is not None and r.phase in ENDED]


def _serves_stable(state: State, rollout: e.Rollout) -> Iterator[Violation]:
    for unit in rollout.units:
        target = state.find(f"target/{unit.service}", e.TargetEntry)
        if target is None or target.stable == unit.candidate:
            continue
        for live in target.live:
            if live.label == unit.candidate and live.weight != 0 and target.rollout in (None, rollout.id):
                yield Violation(6, f"{rollout.id} is reverted with {unit.candidate} of {unit.service} at {live.weight}%")
            if live.label == target.stable and live.weight != 100 and target.rollout in (None, rollout.id):
                yield Violation(6, f"{rollout.id} is reverted with stable {live.label} of {unit.service} at {live.weight}%")


_DELETED_AGAIN_MS = 30_000
"""After so long, and each time after twice as long, a deletion that did not take is tried again."""


def nothing_waits_at_rest(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: what a target was told at rest, where no rollout watches it, is seen to be done in time, or people know of it."""
    clock = decision.state.find("clock", e.Clock)
    if not isinstance(fact, TimePassed) or clock is None:
        return
    for service in books.observed:
        target = decision.state.find(f"target/{service}", e.TargetEntry)
        if target is None or target.in_flight is None or target.rollout is not None:
            continue
        if any(isinstance(output, Notify) and output.text.startswith(f"{service}: ") for output in decision.outputs):
            books.given_up.add(target.in_flight.id)
        deletes = target.in_flight.verb == Verb.DELETE
        if deletes and target.in_flight.id in books.given_up:
            continue
        entry = decision.state.find(f"service/{service}", ServiceInEnvironment)
        policy = entry.policy if entry is not None else Policy()
        if is_advised(decision.state, service):
            continue  # What another tool moves by now is waited for once it is ours again.
        patience = 1000 * max(policy.lost_actuator_seconds, policy.ready_timeout_seconds if policy.exchanges else 0.0)
        patience = max(patience, _DELETED_AGAIN_MS * 2**target.in_flight.tries) if deletes else patience
        since = max(target.in_flight.issued_steady, target.moved_steady if policy.exchanges else 0)
        if clock.steady - since > patience and target.strayed is None and target.edited is None:
            yield Violation(7, f"{target.in_flight.id}: {service} does not show it at rest, and nobody is told")


def no_other_artifact_in_silence(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: a target at rest that is seen to run another artifact under a label than was numbered so is told again, or people know of it."""
    if not isinstance(fact, WorldChanged | OutcomeReported) or fact.observed is None:
        return
    service = fact.target.service
    target, seen = decision.state.find(f"target/{service}", e.TargetEntry), books.observed.get(service)
    if target is None or seen is not fact.observed or target.stable is None or target.rollout is not None:
        return
    if is_advised(decision.state, service):
        return  # What another tool runs there is its own business.
    for version in seen.versions:
        known = decision.state.find(f"version/{service}/{version.label}", e.VersionEntry)
        other = known is not None and known.artifact.digest != version.digest
        if other and target.in_flight is None and target.strayed is None and target.edited is None:
            yield Violation(7, f"{service} {version.label} runs {version.digest}, and nobody is told")


def what_baked_goes_onward(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: what bakes has been offered to each environment that takes it, by this bake or by an earlier one."""
    for output in decision.outputs:
        if isinstance(output, Announce):
            books.offered.add((output.artifact, output.environment))
    catalog = decision.state.find("catalog", e.CatalogEntry)
    for past in before.rollouts if catalog is not None and (catalog.promotes_to or catalog.onward) else ():
        rollout = rollout_of(decision.state, past.id)
        if catalog is None or rollout is None or past.promoted or not rollout.promoted or rollout.cause in ("revert", "adoption"):
            continue
        for unit in rollout.units:
            version = decision.state.find(f"version/{unit.service}/{unit.candidate}", e.VersionEntry)
            for taker in catalog.takers(unit.service) if version is not None else ():
                if version is not None and (version.artifact, taker) not in books.offered:
                    yield Violation(7, f"{rollout.id} baked, and {version.artifact} was never offered to {taker}, which takes it")


def what_gives_way_moves_on(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: what is superseded moves on, every service of it, in a set that is queued in the same decision (and may be refused there, which is
    said) or serves already."""
    index = decision.state.find("index", e.Index) or e.Index()
    taken_up = [r for id_ in index.ended if rollout_of(before, id_) is None and (r := rollout_of(decision.state, id_)) is not None]
    taken_up += [r for r in decision.state.rollouts if (past := rollout_of(before, r.id)) is None or past.attempt != r.attempt]
    moved_on = {unit.service for rollout in taken_up for unit in rollout.units}
    for past in before.rollouts:
        now = rollout_of(decision.state, past.id)
        if now is None or past.stopped_because is not None or past.advice is not None:
            continue
        stays = {unit.service for unit in now.units} if now.attempt == past.attempt else moved_on
        if (now.stopped_because or "").startswith("superseded by "):
            stays = moved_on
        for unit in past.units:
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            if unit.service in stays or (target is not None and target.stable == unit.candidate):
                continue
            if _may_not_move(decision.state, unit):
                continue
            if not _is_taken_back(before, decision.state, unit):
                yield Violation(7, f"{past.id} gave way, and nothing moves {unit.service} {unit.candidate} after it")


def _may_not_move(state: State, unit: e.Unit) -> bool:
    """Whether the service of a unit has left the catalog, is only advised on, or is pinned to another version."""
    target = state.find(f"target/{unit.service}", e.TargetEntry)
    pinned = target is not None and target.pinned not in (None, unit.candidate)
    known = state.find(f"service/{unit.service}", ServiceInEnvironment) is not None
    return not known or is_advised(state, unit.service) or pinned


def _is_taken_back(before: State, state: State, unit: e.Unit) -> bool:
    """Whether the artifact of a unit serves, or was on its way by now, as the catalog has it configured now, which is otherwise."""
    service = state.find(f"service/{unit.service}", ServiceInEnvironment)
    version = state.find(f"version/{unit.service}/{unit.candidate}", e.VersionEntry)
    target = state.find(f"target/{unit.service}", e.TargetEntry)
    if service is None or version is None or target is None:
        return False
    pair = state.find(f"pair/{unit.service}/{version.artifact.digest}/{manifest_hash(service)}", e.PairEntry)
    ways = (u.candidate for r in before.rollouts if r.stopped_because is None for u in r.units if u.service == unit.service)
    return pair is not None and version_label(pair.number) != unit.candidate and version_label(pair.number) in (target.stable, *ways)


def ends_are_consistent(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: a set ends all old or all new, as the world shows it; until then whoever does not act is named."""
    for rollout in decision.state.rollouts:
        for unit in rollout.units:
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            troubled = target is not None and target.rollout == rollout.id and target.in_hand is None and target.in_flight is not None
            if troubled and target is not None and target.in_flight is not None and target.in_flight.trouble is not None:
                if not any(text.startswith(f"{unit.service} ") for text in rollout.stuck):
                    yield Violation(7, f"{rollout.id} does not name {unit.service}, which does not act: {target.in_flight.trouble}")
    for rollout in _just_ended(before, decision.state):
        if rollout.advice is not None:
            continue
        new: list[bool] = []
        for unit in rollout.units:
            seen = books.observed.get(unit.service)
            at = seen.version(unit.candidate) if seen is not None else None
            new.append(at is not None and at.weight > 0)
        if rollout.phase is Phase.COMPLETED and not all(new):
            yield Violation(7, f"{rollout.id} completed, but not every target shows its candidate")
        moved = (rollout.id, rollout.attempt) in books.told  # what is shown of one that only queued is not its doing
        if rollout.phase is Phase.REVERTED and any(new) and moved:
            yield Violation(7, f"{rollout.id} is reverted, but a target still shows its candidate")
