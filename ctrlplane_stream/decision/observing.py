"""What the world says: how commands ended, what targets look like, what arrives where, who calls whom.

An observation counts by its cursor: what was seen before our last command was applied says nothing about it. What people did by
hand is an operator's pause and is never silently undone.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.advising import arrived_elsewhere, first_seen
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.drifting import drifted, moving, stray, strays, unrestored
from ctrlplane_stream.decision.falling import refuses_to_fall, stay_first
from ctrlplane_stream.decision.gate import MAX_RETREATS
from ctrlplane_stream.decision.graph import edge_key
from ctrlplane_stream.decision.holds import LEASE_EXPIRED, Condition, hold, lifted
from ctrlplane_stream.decision.notices import notify, notify_of_target
from ctrlplane_stream.decision.phases import ADOPTION, QUEUED, Event, Phase
from ctrlplane_stream.decision.targets import impostor, is_as_left, is_partial, is_shown, takes_requests, tell_again
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.model.facts import (
    ArrivalsObserved,
    EdgesFaded,
    EdgesObserved,
    OutcomeReported,
    OutcomeStatus,
    ServiceSeen,
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.policy import Unsure
from ctrlplane_stream.model.world import TargetObserved

_MOST_MET = 1_000
"""Versions of which it is remembered when they were last met: a service may give each request one of its own."""


def on_outcome(draft: Draft, fact: OutcomeReported) -> bool:
    """Take note of how a command ended."""
    service = fact.target.service
    target = draft.target(service)
    if fact.observed is not None:
        target = _seen(draft, target, fact.observed, fallback=fact.cursor.sequence if fact.status is OutcomeStatus.APPLIED else 0)
    flight = target.in_flight
    if flight is None or flight.id != fact.command_id:
        _take_note(draft, target)
        draft.because("outcome-late", f"{fact.command_id} on {service} {fact.status}: a later command stands or it was answered before")
        if fact.observed is not None:
            _looked_at_rest(draft, service, fact.reason)
        return fact.observed is not None
    _take_note(draft, _answered(target, flight, fact))
    draft.because(f"outcome:{fact.status}", f"{service} {flight.verb} {fact.status}: {fact.reason}", target.rollout)
    if fact.status is OutcomeStatus.REFUSED and fact.observed is not None and fact.observed.edited not in (None, target.over_edit):
        _edited(draft, service, fact.observed.edited)
    if fact.status in (OutcomeStatus.REFUSED, OutcomeStatus.FAILED):
        unrestored(draft, service, fact.reason)
    elif fact.observed is not None:
        _looked_at_rest(draft, service, fact.reason)
    if fact.observed is not None and fact.observed.lease_expired:
        lease_lapsed(draft, service, f"the lease on {service} expired")
    if (rollout := moving(draft, service)) is not None:
        _over_glass(draft, rollout, fact)
    return True


def _looked_at_rest(draft: Draft, service: str, detail: str) -> None:
    """Answer what is seen of a target at rest that is not as it was left, whichever word of it came through."""
    target = draft.target(service)
    if strays(draft, target):
        drifted(draft, service, impostor(draft, target) or detail)


def _over_glass(draft: Draft, rollout: e.Rollout, fact: OutcomeReported) -> None:
    """Abort where a target refuses since somebody broke the glass; where it refuses an abort, agree first with what it fell back to."""
    service, seen = fact.target.service, fact.observed
    if fact.status is not OutcomeStatus.REFUSED or seen is None or seen.break_glass is None:
        return
    _by_a_person(draft, service)
    unit = rollout.unit(service)
    if rollout.phase is not Phase.ABORTING:
        _stop(draft, service, f"somebody aborted on {service} itself: {seen.break_glass}")
    elif seen.edited is None and refuses_to_fall(rollout, unit, draft.target(service)):
        stay_first(draft, rollout, unit)


def _answered(target: e.TargetEntry, flight: e.InFlight, fact: OutcomeReported) -> e.TargetEntry:
    if fact.status is OutcomeStatus.APPLIED:
        return replace(target, in_flight=replace(flight, answered=True))
    if fact.status is OutcomeStatus.SUPERSEDED:
        return target
    return replace(target, in_flight=replace(flight, trouble=f"{fact.status}: {fact.reason}"))


def _seen(draft: Draft, target: e.TargetEntry, observed: TargetObserved, fallback: int, forgotten: int | None = None) -> e.TargetEntry:
    """The target as seen, unless what was seen is older than what we know: what it has forgotten by then (``WorldChanged``), it knew."""
    sequence = observed.cursor.sequence if observed.cursor is not None else fallback
    if max(sequence, forgotten or 0) < target.observed_sequence:
        return target
    grain = min(100, max(1, observed.granularity))
    moved = draft.clock.steady if observed.versions != target.observed else target.moved_steady
    return replace(
        target,
        observed=observed.versions,
        observed_sequence=sequence,
        moved_steady=moved,
        zero_since=_at_zero(draft, target, observed, sequence),
        granularity=grain,
        not_in_force=observed.not_in_force,
    )


def _at_zero(draft: Draft, target: e.TargetEntry, observed: TargetObserved, sequence: int) -> dict[str, e.ZeroSince]:
    """Since when each version is known without weight. What was seen before the last command took effect may have been given some since,
    and what a hand does may be undone by it: neither begins anything."""
    if observed.not_in_force is not None:
        return {}
    now = e.ZeroSince(draft.clock.now_ms, draft.clock.steady)
    heard = sequence >= target.commanded_sequence and target.strayed is None
    known, given = target.zero_since, [v.label for v in target.live if v.weight > 0]
    without = [v.label for v in observed.versions if v.weight == 0 and v.label not in given]
    return {label: known.get(label, now) for label in without if heard or label in known}


def _take_note(draft: Draft, target: e.TargetEntry) -> None:
    """Put a target as it was just seen."""
    draft.put_target(_settled(draft, target))
    _given_by_others(draft, target)


def _given_by_others(draft: Draft, target: e.TargetEntry) -> None:
    """Note that a candidate has weight which its rollout did not give it: a hand did, or what steers the traffic, and it is to drain as if
    the rollout had."""
    rollout = moving(draft, target.service)
    if rollout is None or rollout.phase in ADOPTION:
        return
    unit = rollout.unit(target.service)
    if not unit.weighted and takes_requests(target, unit.candidate):
        units = tuple(replace(u, weighted=True) if u is unit else u for u in rollout.units)
        draft.put_rollout(replace(rollout, units=units))


def _settled(draft: Draft, target: e.TargetEntry) -> e.TargetEntry:
    """The target with its last command closed, if the world shows what it wanted; then it has not strayed either."""
    if target.strayed is not None and target.rollout is None and is_as_left(draft, target):
        now = e.ZeroSince(draft.clock.now_ms, draft.clock.steady)  # to be without weight began nothing while it strayed
        begun = {seen.label: now for seen in target.observed if seen.weight == 0}
        target = replace(target, strayed=None, zero_since={**begun, **target.zero_since})
    if target.in_flight is not None and is_shown(draft, target):
        edited = None if target.edited == target.over_edit else target.edited  # another edit has come since, and stands
        leased_ms = target.leased_ms if is_partial(target) else None
        return replace(target, in_flight=None, over_edit=None, edited=edited, leased_ms=leased_ms)
    return target


def on_world(draft: Draft, fact: WorldChanged) -> bool:
    """Take note of a target that changed without a command of ours ending."""
    service = fact.target.service
    before = draft.target(service)
    target = _seen(draft, before, fact.observed, fallback=before.observed_sequence, forgotten=fact.forgotten)
    if target is before:  # whatever people did by then, a command was taken since, and what it met was told with that
        same = target.observed == fact.observed.versions
        draft.because("world-old", f"ignored: what was seen of {service} {'is known' if same else 'is older than what is known'}")
        return False
    _take_note(draft, target)
    detail = fact.detail or fact.cause.value
    draft.because(f"world:{fact.cause}", f"{service}: {detail}", target.rollout)
    if fact.cause is WorldCause.HAND_EDIT:
        _edited(draft, service, fact.observed.edited or detail)
    elif fact.cause is WorldCause.LEASE_EXPIRED:
        lease_lapsed(draft, service, f"the lease on {service} expired and the target went to stable: {detail}")
    elif fact.cause is WorldCause.BREAK_GLASS:
        _glass_broken(draft, service, f"somebody aborted on {service} itself: {detail}")
    elif before.edited is not None and fact.observed.edited is None:
        # By whatever cause: who starts to look at a target after it was released there says what it is like, not what became of it.
        _handed_back(draft, service)
    elif fact.cause is WorldCause.DRIFT or strays(draft, draft.target(service)):
        drifted(draft, service, detail)
    _another_artifact(draft, service)
    return True


def _another_artifact(draft: Draft, service: str) -> None:
    """Whatever a target at rest was reported for, nothing of that says that it runs another artifact, unless it is told again by now."""
    other = impostor(draft, draft.target(service))
    if other is not None and service not in draft.telling and strays(draft, draft.target(service)):
        drifted(draft, service, other)


def _glass_broken(draft: Draft, service: str, because: str) -> None:
    """Abort what moves the target. Where that has baked and still has all traffic, the target may fall back to it by now: it is told
    again, takes that if so, and refuses it if not."""
    _by_a_person(draft, service)
    rollout, target = moving(draft, service), draft.target(service)
    seen = target.seen(rollout.unit(service).candidate) if rollout is not None else None
    if rollout is not None and rollout.promoted and rollout.phase is Phase.DRAINING and seen is not None and seen.weight == 100:
        text = f"{rollout.id} has baked and has all traffic: {service} takes what it is told again if it falls back to that"
        draft.because("told-again", text, rollout.id)
        tell_again(draft, target, because)
    else:
        _stop(draft, service, because)


def _by_a_person(draft: Draft, service: str) -> None:
    """Forget how a target had strayed that a person brought back on itself meanwhile: whoever looked at it has answered that."""
    target = draft.target(service)
    if target.strayed is not None and target.rollout is not None:
        draft.put_target(replace(target, strayed=None))


def _stop(draft: Draft, service: str, because: str) -> None:
    rollout = moving(draft, service)
    if rollout is not None and rollout.phase not in (Phase.ABORTING, *ADOPTION):
        move(draft, rollout, Event.STOP, because)


def _edited(draft: Draft, service: str, edit: str) -> None:
    known = draft.target(service).edited
    draft.put_target(replace(draft.target(service), edited=edit))
    if moving(draft, service) is not None:
        return  # which is held for it, and says so
    text = f"{service} was edited by hand ({edit}); no rollout of it starts until somebody says resume"
    draft.because("hand-edit", text)
    if known != edit:
        notify_of_target(draft, service, "hand-edit", text, "resume")


def _handed_back(draft: Draft, service: str) -> None:
    """Whoever edited the target released it there: the pause is over, and what is wanted of it is said again, unless it strayed besides,
    which the release does not answer."""
    target = replace(draft.target(service), edited=None)
    draft.put_target(target)
    draft.because("handed-back", f"{service} was released by whoever edited it by hand", target.rollout)
    if moving(draft, service) is None and draft.is_advised(service):
        return
    if target.strayed is not None or is_as_left(draft, target):
        return
    if target.stable is not None:
        tell_again(draft, target, "released by whoever edited it by hand")
    elif moving(draft, service) is None and target.live:
        stray(draft, service, "what was gone back from serves, by a hand that has released it")


def lease_lapsed(draft: Draft, service: str, why: str) -> None:
    """Nobody judged for as long as the lease: the rollout ends on stable or waits there, as its policy says."""
    target = draft.target(service)
    if target.leased_ms is not None:
        draft.put_target(replace(target, leased_ms=None))
    rollout = moving(draft, service)
    if rollout is None or rollout.phase in (Phase.ABORTING, *ADOPTION):
        return
    if rollout.phase is Phase.DRAINING:
        if _went_back(rollout, target):
            _stop(draft, service, why)
        return
    ends = draft.version_set(rollout.id).policy.on_lease_expired is Unsure.ABORT
    if rollout.phase is Phase.PREPARING and not ends:
        return
    notify(draft, rollout, "lease-expired", why, "" if ends else "resume")
    if ends:
        move(draft, rollout, Event.STOP, why)
    else:
        move(draft, hold(draft, rollout, Condition(LEASE_EXPIRED, why)), Event.RETREAT, why)


def _went_back(rollout: e.Rollout, target: e.TargetEntry) -> bool:
    """Whether a target that had been seen with all traffic at the candidate has none there: a hand made its weights partial, and
    the lease that these have ran out. It takes nothing that raises the candidate before it was told that it has no weight; a first version
    loses all its traffic that way only where the target was not told yet that it is stable, and is begun anew by a person."""
    unit = rollout.unit(target.service)
    seen = target.seen(unit.candidate)
    return seen is not None and seen.weight == 0


def on_arrivals(draft: Draft, fact: ArrivalsObserved) -> bool:
    """Take note of a closed window: what arrived at the versions in motion, and that telemetry flows."""
    known = draft.telemetry
    if fact.window < known.last_window:
        draft.because("window-old", f"window {fact.window} comes after {known.last_window}: only who was met in it is noted")
        _met_earlier(draft, fact)
        return True
    draft.put(
        "telemetry",
        replace(known, window_seconds=fact.window_seconds, last_window=fact.window),
    )
    for rollout in draft.rollouts():
        for unit in rollout.units if rollout.phase is not QUEUED else ():
            if draft.target(unit.service).rollout == rollout.id:
                _arrived(draft, unit.service, fact)
        if rollout.holds:
            _sighted(draft, rollout, fact.window)
    for service in draft.index.retiring:
        target = draft.target(service)
        if target.rollout is None and target.standing_by:
            _arrived(draft, service, fact)
    arrived_elsewhere(draft, fact)
    return True


def _arrived(draft: Draft, service: str, fact: ArrivalsObserved) -> None:
    before = draft.find(f"arrivals/{service}", e.ArrivalsEntry)
    counts = _by_our_labels(draft, service, fact.arrivals.get(service, {}))
    met = _met(draft, service, before.last_met if before is not None else {}, counts, fact)
    draft.put(f"arrivals/{service}", e.ArrivalsEntry(fact.window, fact.window_seconds, counts, met))


def _met_earlier(draft: Draft, fact: ArrivalsObserved) -> None:
    """Note of a window that comes after later ones who was met in it: a drain counts from there."""
    for service, told in sorted(fact.arrivals.items()):
        if (entry := draft.find(f"arrivals/{service}", e.ArrivalsEntry)) is not None:
            met = _met(draft, service, entry.last_met, _by_our_labels(draft, service, told), fact)
            draft.put(f"arrivals/{service}", replace(entry, last_met=met))


def _met(draft: Draft, service: str, before: dict[str, int], counts: dict[str, int], fact: ArrivalsObserved) -> dict[str, int]:
    """When each version was last met, with this window; of more than ``_MOST_MET`` those that run, and the latest."""
    end, met = int(fact.window + fact.window_seconds), dict(before)
    for label, count in counts.items():
        if count > 0:
            met[label] = max(end, before.get(label, 0))
    if len(met) <= _MOST_MET:
        return met
    live = {version.label for version in draft.target(service).live}
    kept = sorted(met, key=lambda label: (label not in live, -met[label], label))[:_MOST_MET]
    return {label: met[label] for label in sorted(kept)}


def _by_our_labels(draft: Draft, service: str, arrivals: dict[str, int]) -> dict[str, int]:
    """The counts under our labels, where telemetry tells a version by another."""
    live = draft.target(service).live
    if arrivals.keys() <= {v.label for v in live}:
        return arrivals  # as mostly: only what was adopted is told by a label that is not ours
    ours = {draft.told_as(service, v.label): v.label for v in live}
    counts: dict[str, int] = {}
    for told, count in arrivals.items():
        label = ours.get(told, told)
        counts[label] = counts.get(label, 0) + count
    return counts


def _sighted(draft: Draft, rollout: e.Rollout, window: int) -> None:
    """Lift a blind hold when windows close again that began after it."""
    blind = next((h for h in rollout.holds if h.code == "blind" and h.sticky), None)
    if blind is None or window * 1000 < blind.since_ms or rollout.phase is not Phase.PREPARING:
        return
    if rollout.retreats > MAX_RETREATS:
        return
    draft.put_rollout(lifted(rollout, "blind"))
    draft.because("hold-over", f"{rollout.id}: telemetry flows again, so it may climb again", rollout.id)


def on_edges(draft: Draft, fact: EdgesObserved) -> bool:
    """Learn edges and services."""
    for seen in fact.edges:
        draft.put(edge_key(seen.edge), seen)
    known = draft.telemetry
    services, rate = known.services, known.requests_per_second
    for service in fact.services:
        before = draft.find(f"traffic/{service.service}", ServiceSeen)
        services += before is None
        rate += service.requests_per_second - (before.requests_per_second if before is not None else 0.0)
        draft.put(f"traffic/{service.service}", service)
        first_seen(draft, service)
    if (services, rate) != (known.services, known.requests_per_second):
        draft.put("telemetry", replace(known, services=services, requests_per_second=round(max(0.0, rate), 6)))
    return True


def on_faded(draft: Draft, fact: EdgesFaded) -> bool:
    """Forget edges that telemetry aged out."""
    for edge in fact.edges:
        if draft.has(edge_key(edge)):
            draft.remove(edge_key(edge))
            draft.because("edge-faded", f"{edge} was not seen while {edge.caller} did report, and is forgotten")
    return True
