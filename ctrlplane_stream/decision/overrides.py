"""What operators say: one function per verb, each idempotent by id and scope, each leaving a reason with who and why.

``abort``, ``pause`` and ``freeze`` are never refused. ``force`` and ``skip`` pass over gates only, loudly; what would break
make-before-break needs ``unsafe`` besides. A scope is a rollout, a service, or with neither of them the whole environment.
"""

from collections.abc import Callable
from types import MappingProxyType

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import obstacle
from ctrlplane_stream.decision.adopting import adopt
from ctrlplane_stream.decision.choosing import retry, revert
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.drifting import resume
from ctrlplane_stream.decision.falling import stays
from ctrlplane_stream.decision.gate import Gate, read
from ctrlplane_stream.decision.holds import (
    BLIND,
    HANDS,
    LAST_DATE_MS,
    LEASE_EXPIRED,
    REVERT_FAILS,
    Condition,
    hold,
    is_unknown,
    lifted,
    next_word,
    stamp,
    still_held,
)
from ctrlplane_stream.decision.notices import control, notify
from ctrlplane_stream.decision.phases import ADOPTION, ENDED, FORWARD, GATED, Event, Phase
from ctrlplane_stream.decision.said import IDLE, REFUSED, Answered, absent, in_scope, known_as, noted, scope_of
from ctrlplane_stream.decision.targets import retires, tell_again
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.model.facts import OverrideRequested, OverrideVerb
from ctrlplane_stream.model.policy import Unsure

OVERRIDES_KEPT = 256
"""Overrides that an environment remembers. One that is said again after so many others is carried out again: nothing in it tells a
person who means it anew from one who repeats himself, and no state can hold every id for ever."""


def on_override(draft: Draft, fact: OverrideRequested) -> bool:
    """Carry an override out; whether it applied."""
    if (before := _said_before(draft, fact)) is not None:
        said = f"ignored: {fact.verb} {fact.id} of {before.who} was answered before: {before.result}"
        draft.because("override-repeated" if _changed(before.result) else "override-repeated-in-vain", said)
        return False
    applied, result = VERBS[fact.verb](draft, fact)
    said = f"{fact.verb} by {fact.who} ({fact.why}): {result}"
    idle = "override-idle" if result.startswith(IDLE) else "override-refused"
    draft.because(f"override:{fact.verb}" if _changed(result) else idle, said, fact.rollout)
    _remember(draft, fact, result)
    return applied


def _said_before(draft: Draft, fact: OverrideRequested) -> e.OverrideEntry | None:
    """The same override, where it is remembered; older states knew it by its id alone."""
    older = draft.find(f"override/{fact.id}", e.OverrideEntry)
    return draft.find(f"override/{known_as(fact)}", e.OverrideEntry) or (older if older is not None and older.verb == fact.verb else None)


def _changed(result: str) -> bool:
    """Whether an override that had this result changed anything."""
    return not result.startswith((REFUSED, IDLE))


def _remember(draft: Draft, fact: OverrideRequested, result: str) -> None:
    draft.put(f"override/{known_as(fact)}", e.OverrideEntry(fact.verb, fact.who, fact.why, draft.clock.now_ms, result))
    kept = (*draft.index.overrides, known_as(fact))
    for old in kept[:-OVERRIDES_KEPT]:
        draft.remove(f"override/{old}")
    draft.put("index", replace(draft.index, overrides=kept[-OVERRIDES_KEPT:]))


def _each(draft: Draft, fact: OverrideRequested, change: Callable[[e.Rollout], e.Rollout], said: str) -> Answered:
    """Change every rollout in scope that still climbs; refused where there is none."""
    found = [r for r in in_scope(draft, fact) if r.phase not in (Phase.ABORTING, Phase.DRAINING, *ADOPTION, *ENDED)]
    for rollout in found:
        draft.put_rollout(change(noted(rollout, fact)))
    if not found:
        rest = ", ".join(f"{r.id} is {r.phase}" for r in in_scope(draft, fact))
        return False, REFUSED + (f"{rest}, and has no step left to take" if rest else absent(draft, fact))
    advised = f"only our advice on it changes ({said})"
    return True, _of_both(found, said, advised) + "".join(_stands_still(draft, r.id, fact.verb) for r in found)


def _stands_still(draft: Draft, id_: str, verb: OverrideVerb) -> str:
    """What keeps a rollout all the same, and what to type: what was said of it counts once that is over."""
    rollout = draft.rollout(id_)
    if rollout is None or rollout.advice is not None:
        return ""
    if rollout.phase is Phase.QUEUED:
        waits = f"; {id_} waits still: {why[0]}" if (why := obstacle(draft, rollout)) is not None else ""
        return waits + _before_its_first(draft, rollout)
    chosen, window = draft.version_set(id_), draft.telemetry.window_seconds
    reading = read(draft.clock, rollout, chosen, window) if rollout.phase in GATED else None
    kept = still_held(draft, rollout, reading)
    if not kept and reading is not None and reading.gate is not Gate.OPEN:
        return f"; {id_} waits still: {reading.text}"
    said = f"; {id_} is held still, which {verb} does not lift: {'; '.join(held.text for held in kept)}" if kept else ""
    words = (next_word(draft, rollout, held) for held in kept)
    said += next((f"; next: {control(*word)}" for word in words if word[0] not in ("", "abort")), "")  # it may go on in a moment
    return said + _before_its_first(draft, rollout)


def _before_its_first(draft: Draft, rollout: e.Rollout) -> str:
    """For what a word about one gate counts where there is none yet."""
    if rollout.phase not in (Phase.QUEUED, Phase.PREPARING) or rollout.forced or rollout.promote_all:
        return ""
    unsaid = replace(rollout, approved=False, skip_gate=False)
    begins = is_unknown(unsaid, draft.version_set(rollout.id), Unsure.HOLD)
    return f"; {rollout.id} has no step yet, and that counts for {'its beginning' if begins else 'the first'}"


def _of_both(found: list[e.Rollout], ours: str, advised: str) -> str:
    """What was done with rollouts of ours, and what is advised on those that another tool moves, which do nothing that we say."""
    mine, others = ([r.id for r in found if (r.advice is None) is whose] for whose in (True, False))
    said = [f"{', '.join(mine)} {ours}"] if mine else []
    return "; ".join([*said, *([f"{', '.join(others)}: another tool moves it, {advised}"] if others else [])])


def _pause(draft: Draft, fact: OverrideRequested) -> Answered:
    found = in_scope(draft, fact)
    for rollout in found:
        draft.put_rollout(hold(draft, noted(rollout, fact), Condition("pause", f"paused by {fact.who}: {fact.why}"), fact.who))
    return True, f"{', '.join(r.id for r in found)} paused" if found else f"{IDLE}{absent(draft, fact)}"


def _resume(draft: Draft, fact: OverrideRequested) -> Answered:
    again = [name for name in _resumed_services(draft, fact) if _resume_target(draft, name, fact)]
    found = [r for r in in_scope(draft, fact) if r.holds]
    freed = [replace(lifted(noted(rollout, fact)), retreats=0) for rollout in found]
    for rollout in freed:
        draft.put_rollout(rollout)
    said = [f"{', '.join(r.id for r in freed)} resumed"] if freed else []
    said += [f"{r.id} is held still, which resume does not lift: {'; '.join(h.text for h in r.holds)}" for r in freed if r.holds]
    said += [f"{', '.join(again)} told again what is wanted"] if again else []
    if not said:
        return False, IDLE + (f"nothing in {scope_of(draft, fact)} is held" if in_scope(draft, fact) else absent(draft, fact))
    return True, "; ".join(said)


def _resumed_services(draft: Draft, fact: OverrideRequested) -> list[str]:
    """Of what the override is about: of the whole environment also what no rollout moves."""
    services = {u.service for r in in_scope(draft, fact) for u in r.units}
    if fact.service is not None and fact.rollout is None:
        services.add(fact.service)
    if fact.service is None and fact.rollout is None and (catalog := draft.find("catalog", e.CatalogEntry)) is not None:
        services.update(catalog.services)
    return sorted(services)


def _resume_target(draft: Draft, name: str, fact: OverrideRequested) -> bool:
    """Tell a target that was edited by hand or strayed what is wanted of it; whether it was."""
    target = draft.target(name)
    if target.edited is not None:
        draft.put_target(replace(target, over_edit=target.edited, edited=None))
        tell_again(draft, draft.target(name), f"{fact.who} resumes over the edit by hand: {fact.why}")
    return resume(draft, name, f"{fact.who} resumes after a drift: {fact.why}") or target.edited is not None


def _abort(draft: Draft, fact: OverrideRequested) -> Answered:
    found, kept = [r for r in in_scope(draft, fact) if not stays(r)], [r.id for r in in_scope(draft, fact) if stays(r)]
    for rollout in found:
        if rollout.advice is not None:
            draft.put_rollout(replace(noted(rollout, fact), stopped_because=f"{fact.who} wants it aborted: {fact.why}"))
            continue
        _over_hands(draft, rollout, fact)
        aborted = replace(lifted(noted(rollout, fact), *HANDS), unsafe=fact.unsafe, forced=False)
        draft.put_rollout(aborted)
        if rollout.phase not in (Phase.ABORTING, Phase.LEAVING) and not (rollout.phase is Phase.DRAINING and not rollout.promoted):
            move(draft, aborted, Event.STOP, f"aborted by {fact.who}: {fact.why}")
    if kept and not found:
        return True, f"{IDLE}{', '.join(kept)}: the first version has baked, and there is nothing to go back to"
    if not found:
        ended = draft.rollout(fact.rollout) if fact.rollout is not None else None
        back = ended is not None and ended.phase is Phase.COMPLETED
        return True, f"{IDLE}{absent(draft, fact)}{'; control revert returns to an earlier version' if back else ''}"
    return True, _of_both(found, "aborted", "which is advised to abort")


def _over_hands(draft: Draft, rollout: e.Rollout, fact: OverrideRequested) -> None:
    """Tell the targets that a rollout moves their desired state over whatever was edited by hand, or strayed."""
    for unit in rollout.units:
        target = draft.target(unit.service)
        if target.in_hand is not None and target.rollout == rollout.id:
            over = target.edited if target.edited is not None else target.over_edit
            draft.put_target(replace(target, over_edit=over, edited=None, strayed=None))
            tell_again(draft, draft.target(unit.service), f"{fact.who} goes over what a hand did: {fact.why}")


def _promote(draft: Draft, fact: OverrideRequested) -> Answered:
    said = "promoted through all steps" if fact.all_steps else "promoted by one step"
    return _each(draft, fact, lambda r: replace(r, approved=True, promote_all=fact.all_steps or r.promote_all), said)


def _force(draft: Draft, fact: OverrideRequested) -> Answered:
    """Past gates, and past what gates hold it for; what drains has no gate left, and waits for no request with ``unsafe``. What a person
    or a hand holds it for is not a gate, and stays."""
    applied, said = _each(
        draft,
        fact,
        lambda r: replace(lifted(r, BLIND, LEASE_EXPIRED, REVERT_FAILS), forced=True, unsafe=fact.unsafe or r.unsafe),
        "forced: gates are skipped",
    )
    if applied:
        for rollout in in_scope(draft, fact):
            notify(draft, rollout, "forced", f"{fact.who} forces {rollout.id} past its gates: {fact.why}", "abort")
    if not (drains := [r for r in in_scope(draft, fact) if r.phase is Phase.DRAINING and not stays(r)]):
        return applied, said
    if not fact.unsafe:
        return applied, f"{said}; force --unsafe has what drains go at once, whatever requests it meets"
    for rollout in drains:
        draft.put_rollout(replace(noted(rollout, fact), forced=True, unsafe=True))
        text = f"{fact.who} has {rollout.id} wait for no drain any more: {fact.why}"
        notify(draft, rollout, "forced", text, "abort" if rollout.promoted else "")
    ended = f"{', '.join(r.id for r in drains)}: what drains goes at once"
    return True, f"{said}; {ended}" if applied else ended


def _skip(draft: Draft, fact: OverrideRequested) -> Answered:
    if fact.fact_offset is not None:
        return True, f"fact {fact.fact_offset} is skipped if it is parked"
    return _each(draft, fact, lambda r: replace(lifted(r, BLIND, REVERT_FAILS), skip_gate=True, retreats=0), "skips the gate of this step")


def _freeze(draft: Draft, fact: OverrideRequested) -> Answered:
    if fact.expires_ms is not None and fact.expires_ms <= draft.clock.now_ms:
        return True, f"{IDLE}this was to end at {stamp(fact.expires_ms)}, and it is {stamp(draft.clock.now_ms)} by the log's time"
    dated = fact.expires_ms is None or fact.expires_ms <= LAST_DATE_MS
    freeze = e.FreezeEntry(fact.id, fact.service, fact.who, fact.why, draft.clock.now_ms, fact.expires_ms if dated else None)
    draft.put(f"freeze/{known_as(fact)}", freeze)
    draft.put("index", replace(draft.index, freezes=(*draft.index.freezes, known_as(fact))))
    endless = f", until somebody unfreezes it: {fact.expires_ms} ms is {stamp(fact.expires_ms)}" if fact.expires_ms and not dated else ""
    return True, f"{fact.service or draft.environment} is frozen{endless}"


def _unfreeze(draft: Draft, fact: OverrideRequested) -> Answered:
    gone = [i for i in draft.index.freezes if (f := draft.find(f"freeze/{i}", e.FreezeEntry)) is None or f.service == fact.service]
    drop_freezes(draft, gone)
    scope = fact.service or draft.environment
    if not gone:
        found = (draft.find(f"freeze/{i}", e.FreezeEntry) for i in draft.index.freezes)
        others = sorted({f.service or draft.environment for f in found if f is not None})
        return False, f"{IDLE}no freeze is on {scope} itself{'; frozen is: ' if others else ''}{', '.join(others)}"
    return True, f"{len(gone)} freeze{'' if len(gone) == 1 else 's'} of {scope} lifted"


def drop_freezes(draft: Draft, ids: list[str]) -> None:
    """Forget these freezes."""
    for id_ in ids:
        draft.remove(f"freeze/{id_}")
    draft.put("index", replace(draft.index, freezes=tuple(i for i in draft.index.freezes if i not in ids)))


def _pin(draft: Draft, fact: OverrideRequested) -> Answered:
    if fact.service is None:
        return False, REFUSED + "pin needs a service"
    target = draft.target(fact.service)
    label = fact.version or target.stable
    if label is None or draft.version(fact.service, label) is None:
        return False, f"{REFUSED}{fact.service} has no version {label or 'that is stable'}"
    draft.put_target(replace(target, pinned=label, pinned_by=fact.who))
    climbs = draft.mover(target)
    if climbs is not None and climbs.phase in FORWARD and climbs.unit(fact.service).candidate != label:
        moved = f"{climbs.id} is under way with {climbs.unit(fact.service).candidate} and goes on, unless somebody aborts it"
        return True, f"{fact.service} takes no more pushes and is to keep {label}; {moved}"
    if label != target.stable:
        serves = f"it serves {target.stable or 'nothing'} as before, since a pin moves nothing"
        return True, f"{fact.service} takes no pushes and keeps {label}; {serves}"
    return True, f"{fact.service} stays at {label} whatever is pushed"


def _unpin(draft: Draft, fact: OverrideRequested) -> Answered:
    if fact.service is None:
        return False, REFUSED + "unpin needs a service"
    target = draft.target(fact.service)
    if target.pinned is None:
        return False, f"{IDLE}{fact.service} is not pinned"
    draft.put_target(replace(target, pinned=None, pinned_by=None))
    retires(draft, fact.service)
    return True, f"{fact.service} is no longer pinned"


VERBS: MappingProxyType[OverrideVerb, Callable[[Draft, OverrideRequested], Answered]] = MappingProxyType(
    {
        OverrideVerb.PAUSE: _pause,
        OverrideVerb.RESUME: _resume,
        OverrideVerb.PROMOTE: _promote,
        OverrideVerb.ABORT: _abort,
        OverrideVerb.FREEZE: _freeze,
        OverrideVerb.UNFREEZE: _unfreeze,
        OverrideVerb.PIN: _pin,
        OverrideVerb.UNPIN: _unpin,
        OverrideVerb.FORCE: _force,
        OverrideVerb.SKIP: _skip,
        OverrideVerb.RETRY: retry,
        OverrideVerb.REVERT: revert,
        OverrideVerb.ADOPT: adopt,
    }
)
"""Every verb has a row."""
