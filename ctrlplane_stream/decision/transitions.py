"""Moving a rollout along its table: what each event does on the way, in one place.

``move`` looks the event up, records the passage and runs the event's effect. A pair that the table does not have is refused with
a reason and changes nothing. Effects change targets and mark them as to be told; they never decide.
"""

from collections.abc import Callable
from types import MappingProxyType

from msgspec.structs import replace

from ctrlplane_stream.decision import assigning, taking_over
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.falling import fall, go_over_drift, owns
from ctrlplane_stream.decision.gate import MAX_RETREATS
from ctrlplane_stream.decision.holds import BLIND, LEASE_EXPIRED, Condition, hold, is_unknown, lifted
from ctrlplane_stream.decision.notices import notify
from ctrlplane_stream.decision.phases import ENDED, Event, Phase, after
from ctrlplane_stream.decision.promoting import ended, good_forever
from ctrlplane_stream.decision.runs import counted_from, shown_weight
from ctrlplane_stream.decision.targets import prepared, sized, tell_again, weighted
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.policy import Unsure

TIMELINE_KEPT = 60
"""Passages that a rollout remembers; older ones are on the log."""


def move(draft: Draft, rollout: e.Rollout, event: Event, because: str) -> e.Rollout:
    """The rollout after an event, put into the draft; unchanged and with a reason where the event means nothing here."""
    phase = after(rollout.phase, event)
    if phase is None:
        draft.because("refused", f"{rollout.id} is {rollout.phase}, where '{event}' means nothing: {because}", rollout.id)
        return rollout
    draft.moved.append(rollout.id)
    moved = replace(rollout, phase=phase, phase_since_steady=draft.clock.steady, waiting_for=None)
    moved = EFFECTS[event](draft, moved, because)
    passage = e.Passage(phase, moved.wave, moved.step, draft.clock.now_ms)
    moved = replace(moved, timeline=(*moved.timeline, passage)[-TIMELINE_KEPT:])
    draft.because(phase.value, f"{rollout.id}: {rollout.phase} → {phase}{_place(moved)}, {because}", rollout.id)
    draft.put_rollout(moved)
    if phase in ENDED:
        ended(draft, moved)
    return moved


def _place(rollout: e.Rollout) -> str:
    if rollout.phase not in (Phase.SHIFTING, Phase.VERIFYING):
        return ""
    wave = f", wave {rollout.wave + 1}" if assigning.last_wave(rollout) else ""
    return f" (step {rollout.step + 1} of {len(rollout.steps)}, {assigning.candidate_weight(rollout)}%{wave})"


def _admitted(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    for unit in rollout.units:
        target = _prepared(draft, rollout, unit)
        version = draft.version(unit.service, unit.candidate)
        if version is not None and version.turned_down:
            draft.put(f"version/{unit.service}/{unit.candidate}", replace(version, turned_down=False))
        draft.put_target(replace(target, rollout=rollout.id))
        draft.tell(unit.service, Telling(Verb.PREPARE, f"make {unit.candidate} ready at weight 0: {because}", rollout.id))
    return counted_from(draft, rollout)


def _prepared(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> e.TargetEntry:
    """The target with the candidate whole, or as large as its first weight needs."""
    target = prepared(draft.target(unit.service), unit.candidate)
    if unit.service not in draft.version_set(rollout.id).by_weight or unit.stable is None:
        return target
    return sized(target, unit.candidate, rollout.steps[0].weight)


def _ready(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """What a person said of gates before there was one counts for the first, unless it was what let the rollout begin."""
    bare = replace(rollout, approved=False, skip_gate=False)
    climbed = _climb(draft, rollout, assigning.first_place(draft, rollout), because)
    if is_unknown(bare, draft.version_set(rollout.id), Unsure.HOLD):
        return climbed
    return replace(climbed, approved=rollout.approved, skip_gate=rollout.skip_gate)


def _passed(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    return _climb(draft, _noting_proof(rollout), assigning.next_place(draft, rollout) or (rollout.wave, rollout.step), because)


def _noting_proof(rollout: e.Rollout) -> e.Rollout:
    """Remember that the step which is left now, or the bake, was left without proof, if it was."""
    if not rollout.unproven_now:
        return rollout
    step = assigning.step_count(rollout) - 1 if rollout.phase is Phase.DRAINING else assigning.global_step(rollout)
    return replace(rollout, unproven=(*rollout.unproven, step))


def _climb(draft: Draft, rollout: e.Rollout, place: tuple[int, int], because: str) -> e.Rollout:
    climbed = replace(rollout, wave=place[0], step=place[1], approved=False, skip_gate=False, confirmed_steady=None, unproven_now=False)
    units: list[e.Unit] = []
    version_set = draft.version_set(rollout.id)
    for unit in climbed.units:
        weight = 100 if unit.stable is None else shown_weight(version_set, unit.service, assigning.candidate_weight(climbed))
        if unit.wave == climbed.wave and weight > 0:
            target = weighted(draft.target(unit.service), unit.candidate, unit.stable, weight)
            by_weight = unit.service in version_set.by_weight and unit.stable is not None
            draft.put_target(sized(target, unit.candidate, weight) if by_weight else target)
            draft.tell(unit.service, Telling(Verb.SHIFT, f"{unit.candidate} to {weight}%: {because}", climbed.id))
            units.append(replace(unit, weighted=True))
        else:
            units.append(unit)
    known = draft.telemetry
    draft.put("telemetry", replace(known, stepped_window=window_now(draft), stepped_by=climbed.id))
    return replace(climbed, units=tuple(units))


def window_now(draft: Draft) -> int:
    """The number of the window that the log's time lies in."""
    return int(draft.clock.now_ms // max(1.0, draft.telemetry.window_seconds * 1000))


def _confirmed(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    return watched(draft, rollout, baking=False)


def _verified(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    return watched(draft, replace(_noting_proof(rollout), approved=False, skip_gate=False, unproven_now=False), baking=True)


def watched(draft: Draft, rollout: e.Rollout, *, baking: bool) -> e.Rollout:
    """The rollout with a fresh assignment: what was heard before counts no more."""
    clock = draft.clock
    fresh = replace(
        rollout,
        judged_attempt=rollout.judged_attempt + 1,
        confirmed_ms=clock.now_ms,
        confirmed_steady=clock.steady,
        evidence_steady=None,
        heard={},
        astray=None,
    )
    fresh = counted_from(draft, fresh)
    assigning.assign(draft, fresh, baking=baking)
    return fresh


def _baked(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    assigning.release(draft, rollout, because)
    for unit in rollout.units:
        if unit.stable is None:  # nothing is parked after it, so nothing else would tell the target what it is to fall back to
            draft.tell(unit.service, Telling(Verb.SHIFT, f"{unit.candidate} is stable from here on", rollout.id))
    return good_forever(draft, replace(_noting_proof(rollout), unproven_now=False))


def _stop(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    if rollout.phase is Phase.LEAVING:
        return taking_over.leave(draft, rollout, because)
    assigning.release(draft, rollout, because)
    unsafe = rollout.unsafe and not rollout.forced  # what was said of the way up with force does not hold for the way down
    stopped = replace(lifted(rollout), stopped_because=because, holds=(), forced=False, unsafe=unsafe)
    for unit in stopped.units:
        wanted = draft.target(unit.service).wanted(unit.candidate)
        if owns(draft, stopped, unit) and wanted is not None and wanted.weight == 0 and go_over_drift(draft, stopped, unit):
            tell_again(draft, draft.target(unit.service), because)  # what falls is told by that; this was given a weight by a hand alone
    fall(draft, stopped, because)
    return stopped


def _retreat(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    assigning.release(draft, rollout, because)
    bare = replace(rollout, wave=0, step=0, confirmed_ms=None, confirmed_steady=None, heard={}, approved=False, skip_gate=False)
    back = replace(bare, retreats=rollout.retreats + 1)
    fall(draft, back, because)
    if any(held.code == LEASE_EXPIRED for held in back.holds):
        return back  # a person ends that, which telemetry that flows again would not wait for
    if back.retreats > MAX_RETREATS:
        because = f"telemetry was lost {back.retreats} times, so it climbs again only once somebody says resume; the last time: {because}"
    return hold(draft, back, Condition(BLIND, because))


def _nothing(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    return rollout


def _completed(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    return replace(rollout, holds=(), ended_ms=draft.clock.now_ms)


def _reverted(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    reverted = replace(rollout, holds=(), ended_ms=draft.clock.now_ms)
    begun = any(unit.weighted or unit.stable is None for unit in rollout.units) or rollout.confirmed_ms is not None
    begun = begun or any(passage.phase is Phase.PREPARING for passage in rollout.timeline)
    if begun or (rollout.stopped_because or "").startswith((e.NOT_BEGUN, e.NOBODY_CAME)):
        text = f"{rollout.id} was reverted: {rollout.stopped_because}. {_where_it_ended(rollout)}"
        # What to type next depends on why: a version that failed is mended and pushed, and not tried again as it is. `rollout` says.
        notify(draft, reverted, "reverted", text, "")
    return reverted


def _share_moved(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """Judge the share that another tool gives its candidate now."""
    fresh = replace(rollout, approved=False, skip_gate=False, unproven_now=False)
    return watched(draft, fresh, baking=fresh.bakes)


def _settled(draft: Draft, rollout: e.Rollout, because: str) -> e.Rollout:
    """Another tool ended its rollout: remember what the service serves, and stop judging."""
    assigning.release(draft, rollout, because)
    for unit in rollout.units:
        stays = unit.candidate if rollout.phase is Phase.COMPLETED else unit.stable
        draft.put(f"advised/{unit.service}", e.AdvisedEntry(stays))
    ended_now = replace(rollout, holds=(), ended_ms=draft.clock.now_ms)
    if rollout.phase is not Phase.DISMISSED:
        notify(draft, ended_now, "advice-ended", f"{rollout.id}: {because}", "")
    return ended_now


def _where_it_ended(rollout: e.Rollout) -> str:
    return "; ".join(
        f"{u.service} serves {u.stable}"
        if u.stable is not None
        else f"{u.service} has no last known good: {u.candidate} is held at weight 0"
        for u in rollout.units
    )


EFFECTS: MappingProxyType[Event, Callable[[Draft, e.Rollout, str], e.Rollout]] = MappingProxyType(
    {
        Event.ADMITTED: _admitted,
        Event.READY: _ready,
        Event.CONFIRMED: _confirmed,
        Event.PASSED: _passed,
        Event.VERIFIED: _verified,
        Event.BAKED: _baked,
        Event.OLD_DRAINED: _completed,
        Event.STOP: _stop,
        Event.RETREAT: _retreat,
        Event.AT_ZERO: _nothing,
        Event.CANDIDATES_DRAINED: _reverted,
        Event.SHARE_MOVED: _share_moved,
        Event.KEPT: _settled,
        Event.GONE: _settled,
        Event.DISMISSED: _settled,
        Event.ADOPTED: taking_over.adopted,
        Event.LEFT: taking_over.left,
        Event.TAKEN: taking_over.taken_before,
    }
)
"""What each event does besides changing the phase."""
