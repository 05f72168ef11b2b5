"""Why a rollout does not go forward: holds come with their condition and go with it, or stay until somebody lifts them.

A hold has a code for programs, a sentence for people, and a deadline: what nobody ends is reverted and gives up its place; what goes
back already, or may not go back, is told to people again then, and every deadline after. An abort that a person says and what lowers a
weight wait for no hold, but for one thing: a target that was edited by hand is left as it is, on the way back too, and one that drifts
again then.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import gate
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.draining import overdue
from ctrlplane_stream.decision.falling import stays
from ctrlplane_stream.decision.notices import HELD, notify
from ctrlplane_stream.decision.phases import FORWARD, MOVING, QUEUED, Phase
from ctrlplane_stream.decision.readiness import never_ready, none_ready
from ctrlplane_stream.model.policy import MaintenanceWindow, Policy, Unsure

_HELD_GATES = (gate.Gate.NO_DATA, gate.Gate.BLIND, gate.Gate.UNPROVABLE, gate.Gate.DOUBTED, gate.Gate.UNJUDGED, gate.Gate.CONTRADICTED)
LEASE_EXPIRED = "lease-expired"
"""Code of the hold of a rollout whose target went to stable by itself: telemetry that flows again says nothing of why nobody judged."""
BLIND = "blind"
"""Code of the hold of a rollout that went back to weight 0 since nothing was seen of it."""
REVERT_FAILS = "revert-fails"
"""Code of the hold of a revert that a FAIL meets: it is never itself reverted."""
HAND_EDIT, DRIFT = "hand-edit", "drift"
"""Codes of the holds of a rollout of whose targets one is in a hand: in one that said so, or in nobody knows whose. They end with that."""
HANDS = (HAND_EDIT, DRIFT)
LAST_DATE_MS = 253_402_300_799_999
"""The last millisecond that has a date: what is said to end later ends by nobody's clock."""
FROZEN, MAINTENANCE = "frozen", "maintenance"
"""Codes of the holds of what may not go on for now, by a person's word that has an end of its own and by the policy."""
STOPPABLE = (QUEUED, *FORWARD)
"""Phases that a hold past its deadline ends."""
_NEXT = MappingProxyType(
    {
        "approval": "promote",
        "unprovable": "promote",
        "no-data": "promote",
        "contradicted": "promote",
        "doubted": "promote",
        "unjudged": "skip",
        BLIND: "skip",
        REVERT_FAILS: "skip",
        "frozen": "unfreeze",
        "stuck": "abort",
        "not-drained": "force --unsafe",
        "not-ready": "abort",
        "pause": "resume",
        HAND_EDIT: "resume",
        DRIFT: "resume",
        LEASE_EXPIRED: "resume",
        "maintenance": "",
        "lets-pass": "",
        "beside": "",
    }
)
"""The verb that is most likely wanted next, with its options, by the code of a hold: one that does something about it. Empty where it ends
by itself, and no verb ends it sooner."""


class Condition(msgspec.Struct, frozen=True):
    """Something that is so now and keeps a rollout from going forward."""

    code: str
    text: str


def review(draft: Draft, rollout: e.Rollout, reading: gate.Reading | None) -> e.Rollout:
    """The rollout with its holds as they are now; says what is new and what is over. ``reading`` is that of its gate, where it has one."""
    found = conditions(draft, rollout, reading)
    if not found and not rollout.holds:
        return rollout
    before = {hold.code: hold for hold in rollout.holds}
    stays = stands(draft, rollout, [c.code for c in found])
    sticky = [_armed(draft, rollout, hold, stays=stays) for hold in rollout.holds if hold.sticky and hold.code not in HANDS]
    codes = {h.code for h in sticky}
    passing = [_armed(draft, rollout, _held(draft, rollout, c, before.get(c.code)), stays=stays) for c in found if c.code not in codes]
    holds = tuple(sorted([*sticky, *passing], key=lambda h: (h.since_ms, h.code)))
    for hold in rollout.holds:
        if hold.code not in {h.code for h in holds}:
            draft.because("hold-over", f"{rollout.id}: no longer held for {hold.code}", rollout.id)
    after = replace(rollout, holds=holds)
    for hold in holds:
        if hold.code not in before:
            announce(draft, after, hold)
        elif hold.deadline_steady != before[hold.code].deadline_steady:
            announce(draft, after, hold, "held still")
    return after


def stands(draft: Draft, rollout: e.Rollout, codes: Iterable[str]) -> bool:
    """Whether a rollout that is held so is ended by no deadline, only told of again: a revert that has traffic; what a freeze or a closed
    maintenance window keeps as it is, which is no hold that somebody forgot; and a first version that serves, which would be exchanged for
    nothing."""
    if rollout.is_kept or any(code in (FROZEN, MAINTENANCE) for code in codes):
        return True
    return rollout.phase in FORWARD and any(u.stable is None and _takes_traffic(draft, u) for u in rollout.units)


def ends_by_time(draft: Draft, rollout: e.Rollout, held: e.Hold) -> bool:
    """Whether the deadline of a hold ends the rollout; else people are told of the hold again then."""
    return _may_end(rollout, held) and not stands(draft, rollout, [hold.code for hold in rollout.holds])


def _may_end(rollout: e.Rollout, held: e.Hold) -> bool:
    return rollout.phase in (*STOPPABLE, Phase.ADOPTING) and held.code != REVERT_FAILS


def _takes_traffic(draft: Draft, unit: e.Unit) -> bool:
    seen = draft.target(unit.service).seen(unit.candidate)
    return seen is not None and seen.weight > 0 and seen.ready > 0


def _armed(draft: Draft, rollout: e.Rollout, held: e.Hold, *, stays: bool) -> e.Hold:
    """The hold with its deadline, or a new one where that is over and ends nothing: nobody is to wait for a person in silence."""
    if (_may_end(rollout, held) and not stays) or draft.clock.steady < held.deadline_steady:
        return held
    deadline_steady, deadline_ms = _deadline(draft, rollout)
    return replace(held, deadline_steady=deadline_steady, deadline_ms=deadline_ms)


def hold(draft: Draft, rollout: e.Rollout, condition: Condition, who: str | None = None) -> e.Rollout:
    """The rollout held until somebody lifts it; the same code again changes the sentence, not the deadline."""
    before = next((h for h in rollout.holds if h.code == condition.code and h.sticky), None)
    new = replace(_held(draft, rollout, condition, before), sticky=True, who=who)
    after = replace(rollout, holds=(*(h for h in rollout.holds if h.code != condition.code), new))
    if before is None:
        announce(draft, after, new)
    return after


def lifted(rollout: e.Rollout, *codes: str) -> e.Rollout:
    """The rollout without the holds of these codes; without any of its sticky holds where no code is given."""
    keep = tuple(h for h in rollout.holds if (h.code not in codes if codes else not h.sticky))
    return replace(rollout, holds=keep)


def announce(draft: Draft, rollout: e.Rollout, held: e.Hold, how: str = "held") -> None:
    """Say that a rollout is held, with reason, deadline and what to type."""
    draft.because(f"held:{held.code}", f"{rollout.id} is {how} in {rollout.phase}: {held.text}", rollout.id)
    verb, scope = next_word(draft, rollout, held)
    notify(draft, rollout, HELD, f"{rollout.id} is {how}: {held.text}", verb, held.deadline_ms, scope)


def next_word(draft: Draft, rollout: e.Rollout, held: e.Hold | Condition) -> tuple[str, str]:
    """The verb of `control`, and its scope, that is most likely wanted next of a rollout that is held so; an empty verb where it is only
    waited, or what goes back already needs its world mended."""
    verb = _NEXT[held.code]
    if verb == "abort" and not _may_be_aborted(rollout):
        return "", rollout.id
    if held.code == BLIND and rollout.phase is Phase.PREPARING:
        return "resume", rollout.id  # it has no gate there that could be skipped
    frozen = freeze_over(draft, tuple(u.service for u in rollout.units)) if verb == "unfreeze" else None
    return verb, rollout.id if frozen is None else frozen.scope(draft.environment)


def _may_be_aborted(rollout: e.Rollout) -> bool:
    """Whether an abort brings it back: not what goes back already, nor first versions that have baked."""
    if rollout.phase is Phase.DRAINING:
        return rollout.promoted and not stays(rollout)
    return rollout.phase not in (Phase.ABORTING, Phase.LEAVING)


def expired(draft: Draft, rollout: e.Rollout) -> e.Hold | None:
    """The first hold whose patience has ended and ends the rollout; a revert that fails is held until a person ends it, since it is never
    itself reverted."""
    if stands(draft, rollout, [h.code for h in rollout.holds]):
        return None
    return next((h for h in rollout.holds if draft.clock.steady >= h.deadline_steady and h.code != REVERT_FAILS), None)


def _held(draft: Draft, rollout: e.Rollout, condition: Condition, before: e.Hold | None) -> e.Hold:
    if before is not None:
        return replace(before, text=condition.text)
    clock, deadline = draft.clock, _deadline(draft, rollout)
    return e.Hold(condition.code, condition.text, clock.now_ms, clock.steady, *deadline, sticky=condition.code in HANDS)


def _deadline(draft: Draft, rollout: e.Rollout) -> tuple[int, int]:
    """When the patience of a hold that begins now ends, steady and by the log's time."""
    wait = int(draft.version_set(rollout.id).policy.hold_deadline_seconds * 1000)
    return draft.clock.steady + wait, draft.clock.now_ms + wait


def still_held(draft: Draft, rollout: e.Rollout, reading: gate.Reading | None) -> list[e.Hold | Condition]:
    """Everything that keeps the rollout now: what its condition holds, and what stays until somebody lifts it."""
    sticky = [hold for hold in rollout.holds if hold.sticky and hold.code not in HANDS]
    return [*sticky, *(c for c in conditions(draft, rollout, reading) if c.code not in {h.code for h in sticky})]


def conditions(draft: Draft, rollout: e.Rollout, reading: gate.Reading | None) -> list[Condition]:
    """Everything that keeps the rollout from going forward now, sticky holds apart."""
    if rollout.phase not in MOVING:
        return _in_hands(draft, rollout) if rollout.phase is QUEUED else []
    found = _in_hands(draft, rollout)
    if rollout.stuck:
        text = "not every target does what is wanted: " + "; ".join(rollout.stuck)
        found.append(Condition("stuck", text + _left_behind(draft, rollout, rollout.stuck)))
    if rollout.phase in FORWARD:
        found += _scoped(draft, rollout)
    if rollout.phase is Phase.DRAINING and (why := overdue(draft, rollout)) is not None:
        found.append(Condition("not-drained", why))
    if reading is not None:
        found += _gated(draft, rollout, reading)
    return found


def _in_hands(draft: Draft, rollout: e.Rollout) -> list[Condition]:
    """That targets are otherwise than they were left, by a hand that said so or by an unknown one: of those that it moves, or that nothing
    moves and it waits for."""
    edited: list[str] = []
    strayed: list[str] = []
    for unit in rollout.units:
        target = draft.target(unit.service)
        if target.rollout == rollout.id or target.rollout is None:
            if target.edited is not None:
                edited.append(f"{unit.service} was edited by hand: {target.edited}")
            if target.strayed is not None:
                strayed.append(f"{unit.service} is not as it was left: {target.strayed}")
    if not edited and not strayed:
        return []
    behind = _left_behind(draft, rollout, (*edited, *strayed))
    stopped = rollout.stopped_because is not None
    more = (", abort returns to stable" if rollout.phase in FORWARD else "") + behind
    found = [Condition(HAND_EDIT, f"{'; '.join(edited)}. resume goes {'back' if stopped else 'on'} over it{more}")] if edited else []
    how = "goes back over it" if stopped else "restores it"
    return [*found, Condition(DRIFT, f"{'; '.join(strayed)}. resume {how}{more}")] if strayed else found


def _left_behind(draft: Draft, rollout: e.Rollout, named: tuple[str, ...]) -> str:
    """What of a set that goes back has its turn only after those that are ``named``, and keeps its candidate until then."""
    if rollout.phase not in (Phase.PREPARING, Phase.ABORTING) or len(rollout.units) == 1:
        return ""
    targets = {u.service: draft.target(u.service) for u in rollout.units if not any(text.startswith(f"{u.service} ") for text in named)}
    new = [
        f"{unit.service} {unit.candidate} {wanted.weight}%"
        for unit in rollout.units
        if (target := targets.get(unit.service)) is not None
        and target.rollout == rollout.id
        and (wanted := target.wanted(unit.candidate)) is not None
        and wanted.weight
    ]
    return f"; until then stay as they are: {', '.join(new)}" if new else ""


def _scoped(draft: Draft, rollout: e.Rollout) -> list[Condition]:
    version_set = draft.version_set(rollout.id)
    found: list[Condition] = []
    if not rollout.is_revert:
        found += _closed(draft, rollout, version_set)
    if rollout.waits_on is not None:
        text = f"{rollout.waits_on} next to it goes back to an earlier version, and has all traffic before this one goes on"
        found.append(Condition("lets-pass", text))
    if rollout.beside is not None:
        found.append(Condition("beside", f"a guard that it shares with {rollout.beside} failed, and that one is being reverted first"))
    if rollout.phase is Phase.PREPARING and (unknown := waits_as_unknown(rollout, version_set)) is not None:
        found.append(Condition("approval", unknown))
    return found


def is_unknown(rollout: e.Rollout, version_set: e.VersionSet, answer: Unsure) -> bool:
    """Whether nothing is known of what the rollout moves, the policy answers so to that, and no person has said that it shall go on."""
    said = rollout.by_a_person or rollout.approved or rollout.promote_all or rollout.skip_gate or rollout.forced
    return version_set.confidence == "none" and version_set.policy.on_unknown_service is answer and not said


def waits_as_unknown(rollout: e.Rollout, version_set: e.VersionSet) -> str | None:
    """That the policy wants a person's word on what nothing is known of, or None."""
    if not is_unknown(rollout, version_set, Unsure.HOLD):
        return None
    return f"{version_set.explanation[-1]}; the policy wants somebody to promote it"


def refused_as_unknown(rollout: e.Rollout, version_set: e.VersionSet) -> str | None:
    """That the policy begins nothing of which nothing is known, or None."""
    if not is_unknown(rollout, version_set, Unsure.ABORT):
        return None
    return f"{version_set.explanation[-1]}, and the policy refuses that; control retry begins it all the same"


def _closed(draft: Draft, rollout: e.Rollout, version_set: e.VersionSet) -> list[Condition]:
    """Freezes and times that keep a rollout; a revert goes back, and is kept by neither."""
    found: list[Condition] = []
    frozen = freeze_on(draft, tuple(u.service for u in rollout.units)) if draft.index.freezes else None
    if frozen is not None:
        found.append(Condition(FROZEN, frozen))
    closed = closed_by_maintenance(draft.clock.now_ms, version_set.policy) if version_set.policy.maintenance else None
    if closed is not None and rollout.phase is not Phase.BAKING:
        found.append(Condition(MAINTENANCE, closed))
    return found


def _gated(draft: Draft, rollout: e.Rollout, reading: gate.Reading) -> list[Condition]:
    if reading.gate in _HELD_GATES:
        return [Condition(reading.gate.value, reading.text)]
    if reading.gate is not gate.Gate.OPEN:
        return []
    if (why := never_ready(draft, rollout) or none_ready(draft, rollout)) is not None:
        return [Condition("not-ready", why)]
    if needs_approval(rollout, draft.version_set(rollout.id).policy):
        return [Condition("approval", f"step {rollout.step + 1} passed and waits for somebody to promote it")]
    return []


def needs_approval(rollout: e.Rollout, policy: Policy) -> bool:
    """Whether a person must promote out of this step and has not done so."""
    if rollout.approved or rollout.promote_all or rollout.skip_gate or rollout.forced or rollout.is_revert:
        return False
    climbs = rollout.phase is Phase.VERIFYING or (rollout.phase is Phase.ADVISING and not rollout.bakes)
    return climbs and (rollout.steps[rollout.step].approval or not policy.auto_promote)


def freeze_on(draft: Draft, services: tuple[str, ...]) -> str | None:
    """The sentence of a freeze that covers one of the services, or None."""
    frozen = freeze_over(draft, services)
    if frozen is None:
        return None
    scope = frozen.service or f"all of {draft.environment}"
    until = f"until {stamp(frozen.until_ms)}" if frozen.until_ms is not None else "until somebody unfreezes it"
    return f"{scope} is frozen by {frozen.who} {until}: {frozen.why}"


def freeze_over(draft: Draft, services: tuple[str, ...]) -> e.FreezeEntry | None:
    """A freeze that covers one of the services, or None. A freeze past its date covers nothing."""
    for id_ in draft.index.freezes:
        frozen = draft.find(f"freeze/{id_}", e.FreezeEntry)
        if frozen is None or (frozen.until_ms is not None and frozen.until_ms <= draft.dated_ms):
            continue
        if frozen.service is None or frozen.service in services:
            return frozen
    return None


def closed_by_maintenance(now_ms: int, policy: Policy) -> str | None:
    """Why rollouts may not step now, or None; without windows they always may. UTC."""
    if not policy.maintenance:
        return None
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    if any(_within(window, at.weekday(), at.hour * 60 + at.minute) for window in policy.maintenance):
        return None
    return f"{at:%A %H:%M} UTC lies outside the maintenance windows of the policy"


def _within(window: MaintenanceWindow, weekday: int, minute: int) -> bool:
    return weekday in window.weekdays and window.from_minute <= minute < window.to_minute


def stamp(ms: int, seconds: str = "") -> str:
    """A time of the log in words, to the minute, or to the second with ``:%S``; also one that no calendar has, which people may name."""
    if ms > LAST_DATE_MS:
        return "a time after the year 9999"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(f"%Y-%m-%d %H:%M{seconds} UTC") if ms >= 0 else "a time before 1970"
