"""The way down: candidates back to weight 0, in reverse order, and only ever down.

The last wave falls first: callers leave the new callees before those go. The next wave falls only when the world has confirmed
the one above it; if a target cannot act, what lies below stays new, which is a consistent state, and the rollout says what is where.
Only weight goes down in order: what was stable and has been parked is made ready in all waves at once.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.targets import exchanges, is_shown, prepared, was_refused, weighted
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.world import Capacity


def fall(draft: Draft, rollout: e.Rollout, because: str) -> bool:
    """Tell the highest wave that still carries weight to give it up; True when every wave is confirmed at weight 0."""
    for unit in rollout.units:
        _call_back(draft, rollout, unit, because)
    if len(rollout.units) == 1:  # most have one service, and nothing to be sorted
        return _fall_wave(draft, rollout, rollout.units, because)
    waves = sorted({unit.wave for unit in rollout.units}, reverse=True)
    return all(_fall_wave(draft, rollout, tuple(u for u in rollout.units if u.wave == wave), because) for wave in waves)


def _fall_wave(draft: Draft, rollout: e.Rollout, wave: tuple[e.Unit, ...], because: str) -> bool:
    """Tell those of a wave that still carry weight to give it up; True when they are confirmed at weight 0."""
    confirmed = True
    for unit in wave:
        if owns(draft, rollout, unit) and not at_zero(draft, unit):
            _fall_unit(draft, rollout, unit, because)
            confirmed = at_zero(draft, unit) and confirmed
    return confirmed


def _call_back(draft: Draft, rollout: e.Rollout, unit: e.Unit, because: str) -> None:
    """Have what was stable made ready again, where it has drained. Not only when the turn of its wave comes: until then the target would be
    told again to park it, if it had not yet."""
    target = draft.target(unit.service)
    wanted = target.wanted(unit.candidate)
    if wanted is None or wanted.weight == 0 or not owns(draft, rollout, unit):
        return
    whole, _ = with_stable(draft, rollout, unit)
    if whole is not target:
        draft.put_target(whole)
        # What changes in place is only told that nothing is to be parked: its instances come back as its weight goes down.
        verb = Verb.SHIFT if exchanges(draft, target) else Verb.PREPARE
        draft.tell(unit.service, Telling(verb, f"make {unit.stable} ready again: {because}", rollout.id))


def refuses_to_fall(rollout: e.Rollout, unit: e.Unit, target: e.TargetEntry) -> bool:
    """Whether the target was told to give all traffic to what was stable before, and may know the candidate as stable by now."""
    wanted, flight = target.wanted(unit.candidate), target.in_flight
    fell = wanted is not None and wanted.weight == 0 and flight is not None and flight.verb == Verb.SHIFT
    return fell and rollout.phase is Phase.ABORTING and rollout.promoted


def stay_first(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> None:
    """Tell a target that refuses to go back to stay where it is: it had the candidate as stable when somebody broke the glass, and takes
    nothing that raises another version before a command agreed with that."""
    weights = {v.label: 100 if v.label == unit.candidate else 0 for v in draft.target(unit.service).live}
    because = f"it fell back to {unit.candidate} when glass was broken, and takes nothing else before it was told that"
    draft.tell(unit.service, Telling(Verb.PREPARE, because, rollout.id, weights))


def back_after_glass(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> None:
    """Tell a target that was told to stay, and has taken that, to go back as soon as stable is ready again."""
    flight = draft.target(unit.service).in_flight
    if flight is not None and flight.stays and flight.answered and _may_go_back(draft, rollout, unit):
        draft.tell(unit.service, Telling(Verb.SHIFT, rollout.stopped_because or "aborted", rollout.id))


def _may_go_back(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> bool:
    """Whether stable has a ready instance to take the traffic back, or that is not waited for."""
    target = draft.target(unit.service)
    if unit.stable is None or rollout.unsafe or exchanges(draft, target):
        return True
    return serves(target, unit.stable) and not _comes_back(draft, target)


def _comes_back(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether stable was told to run again and was not seen since: what was seen before may be what has been parked by now. A target that
    refuses that says what it looks like."""
    told, flight = draft.telling.get(target.service), target.in_flight
    if told is not None:
        return told.verb is Verb.PREPARE
    asked = flight is not None and flight.verb == Verb.PREPARE and not was_refused(target)
    return asked and flight is not None and target.observed_sequence < flight.sequence


def owns(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> bool:
    """Whether the rollout moves the unit's target; one that only queued never did, and what runs there is not its own."""
    return draft.target(unit.service).rollout == rollout.id


def stays(rollout: e.Rollout) -> bool:
    """Whether nothing brings the rollout down any more: first versions that have baked, which only wait to be seen as stable."""
    return rollout.phase is Phase.DRAINING and rollout.promoted and rollout.only_first_versions


def at_zero(draft: Draft, unit: e.Unit) -> bool:
    """Whether the candidate has no weight, and the world says so if it ever had one."""
    target = draft.target(unit.service)
    wanted = target.wanted(unit.candidate)
    if wanted is not None and wanted.weight > 0:
        return False
    return not unit.weighted or (unit.service not in draft.telling and is_shown(draft, target))


def serves(target: e.TargetEntry, label: str) -> bool:
    """Whether a version is seen with at least one ready instance."""
    seen = target.seen(label)
    return seen is not None and seen.ready > 0


def with_stable(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> tuple[e.TargetEntry, bool]:
    """The target with the stable version wanted whole, which an old one that has drained is not, and whether that must come first.

    ``unsafe`` and an exchange in place do not wait for it, but what nobody asks for would never come.
    """
    target = draft.target(unit.service)
    stable = target.wanted(unit.stable) if unit.stable is not None else None
    if unit.stable is None or (stable is not None and stable.capacity is not Capacity.PARKED):
        return target, False
    return prepared(target, unit.stable), not rollout.unsafe and not exchanges(draft, target)


def _fall_unit(draft: Draft, rollout: e.Rollout, unit: e.Unit, because: str) -> None:
    target = draft.target(unit.service)
    wanted = target.wanted(unit.candidate)
    if wanted is None or wanted.weight == 0:
        return
    if not _may_go_back(draft, rollout, unit):
        return
    fallen = weighted(target, unit.candidate, unit.stable, 0)
    if rollout.promoted:
        fallen = replace(fallen, last_known_good=unit.fallback, baked=tuple(b for b in fallen.baked if b != unit.candidate))
    draft.put_target(replace(fallen, stable=unit.stable))
    go_over_drift(draft, rollout, unit)
    draft.tell(unit.service, Telling(Verb.SHIFT, because, rollout.id))


def go_over_drift(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> bool:
    """Have a target that strayed told its way back all the same, and whether it had strayed: harm goes before whatever drifted it. What
    drifts again after that is left to a person."""
    target = draft.target(unit.service)
    if target.strayed is None:
        return False
    draft.put_target(replace(target, strayed=None, restored_ms=draft.clock.now_ms))
    draft.because("over-drift", f"{unit.service} goes back though it is not as it was left: {target.strayed}", rollout.id)
    return True
