"""The rules that move rollouts: one per phase, run to a fixed point after every fact.

A rule reads the draft and answers with an event and its reason, or with what is waited for. Rules that stop are asked before
rules that go on, so that bad news always wins. At most one rollout of an environment steps forward in one window, or a harm
could not be told apart.
"""

from collections.abc import Callable
from types import MappingProxyType

from msgspec.structs import replace

from ctrlplane_stream.decision import assigning, gate, holds
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import obstacle, still_waits
from ctrlplane_stream.decision.advising import advise
from ctrlplane_stream.decision.composing import compose, steps_for, steps_now, with_reach
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.draining import drain
from ctrlplane_stream.decision.falling import fall, owns, stays
from ctrlplane_stream.decision.phases import ENDED, FORWARD, GATED, QUEUED, Event, Phase
from ctrlplane_stream.decision.promoting import flag_strangers
from ctrlplane_stream.decision.readiness import failing, none_ready, nothing_to_exchange, unready
from ctrlplane_stream.decision.reverting import halt_neighbours, next_to
from ctrlplane_stream.decision.runs import only_jobs, with_runs
from ctrlplane_stream.decision.stuck import watch_targets
from ctrlplane_stream.decision.taking_over import await_adoption, await_answer
from ctrlplane_stream.decision.targets import is_astray, is_shown, weights_of
from ctrlplane_stream.decision.transitions import move, watched, window_now
from ctrlplane_stream.decision.wanted import given_up_with, unwanted

MAX_ROUNDS = 10_000
"""Rounds of the fixed point; a rollout moves at most a dozen times in one decision, so more is a programming error."""

Answer = tuple[Event, str] | str | None
"""An event with its reason, or a sentence that says what is waited for."""
Rule = Callable[[Draft, e.Rollout], Answer]
GateRule = Callable[[Draft, e.Rollout, gate.Reading], Answer]


def settle(draft: Draft, about: tuple[str, ...] | None) -> None:
    """Move rollouts as far as they can go now: those that the fact is ``about`` (None: all), then whomever a move may have freed."""
    ids = draft.index.rollouts if about is None else (*about, *_concerned(draft, 0))
    for _ in range(MAX_ROUNDS):
        moves = len(draft.moved)
        for id_ in ids:
            _progress(draft, id_)
        if len(draft.moved) == moves:
            return
        ids = _concerned(draft, moves)
    raise AssertionError("rollouts do not come to rest")


def _concerned(draft: Draft, since: int) -> tuple[str, ...]:
    """Whom the moves from the ``since``-th on may have freed, in order of arrival: themselves, the queue, and who waits beside another."""
    moved = frozenset(draft.moved[since:])
    if not moved:
        return ()
    return tuple(r.id for r in draft.rollouts() if r.id in moved or r.phase is QUEUED or r.beside is not None or r.waits_on is not None)


def _progress(draft: Draft, id_: str) -> None:
    """Move one rollout by at most one event."""
    before = draft.rollout(id_)
    if before is None or before.phase in ENDED or (before.phase is QUEUED and still_waits(draft, before)):
        return
    rollout, reading = _up_to_date(draft, before)
    answer = _stopped(draft, rollout)
    if answer is None:
        answer = RULES[rollout.phase](draft, rollout) if reading is None else GATE_RULES[rollout.phase](draft, rollout, reading)
    latest = draft.rollout(id_) or rollout
    if isinstance(answer, tuple):
        moved = move(draft, latest, *answer)
        draft.put_rollout(replace(moved, weights=weights_of(draft, moved)))
        return
    weights = weights_of(draft, latest)
    if latest.waiting_for != answer or latest.weights != weights:
        draft.put_rollout(replace(latest, waiting_for=answer, weights=weights))


def _up_to_date(draft: Draft, before: e.Rollout) -> tuple[e.Rollout, gate.Reading | None]:
    """The rollout with what was seen of its targets and what holds it now, and the reading of its gate where judges have a say."""
    rollout, reading = watch_targets(draft, _after_neighbour(draft, before)), None
    if rollout.runs_before and rollout.phase in FORWARD:
        # Before a step is judged, too, so that a count which falls is known for what it is when its runs count.
        rollout = with_runs(draft, rollout)
    if rollout.phase in GATED:
        rollout = _while_shown(draft, rollout)
        reading = gate.read(draft.clock, rollout, draft.version_set(rollout.id), draft.telemetry.window_seconds)
        unproven = not reading.proven and reading.gate is gate.Gate.OPEN
        if unproven is not rollout.unproven_now:
            rollout = replace(rollout, unproven_now=unproven)
    rollout = holds.review(draft, rollout, reading)
    if rollout is not before:
        draft.put_rollout(rollout)
    return rollout, reading


def _while_shown(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """Judge anew once a target that showed another weight shows its own again: what was seen meanwhile was of something else."""
    if (rollout.confirmed_ms or 0) > draft.clock.now_ms:
        draft.because(
            "judged-anew", f"{rollout.id}: time was ahead when its weight was confirmed, so the step is judged from here on", rollout.id
        )
        return watched(draft, rollout, baking=rollout.phase is Phase.BAKING)
    away = next((u.service for u in rollout.units if owns(draft, rollout, u) and is_astray(draft, draft.target(u.service))), None)
    if away is not None or rollout.astray is None:
        return replace(rollout, astray=away) if away != rollout.astray else rollout
    draft.because("judged-anew", f"{rollout.id}: {rollout.astray} goes by its weight again, so the step is judged from here on", rollout.id)
    return watched(draft, rollout, baking=rollout.phase is Phase.BAKING)


def _after_neighbour(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """Go on, with a fresh assignment, when the rollout that was blamed for a shared guard has ended, or a revert next to it has all
    traffic."""
    if rollout.beside is None and (rollout.waits_on is None or rollout.phase not in FORWARD):
        return rollout
    other = draft.rollout(rollout.beside) if rollout.beside is not None else None
    beside = rollout.beside if other is not None and other.phase not in ENDED else None
    waits_on = next_to(draft, rollout) if rollout.waits_on is not None else None
    if (beside, waits_on) == (rollout.beside, rollout.waits_on):
        return rollout
    alone = replace(rollout, beside=beside, waits_on=waits_on)
    if beside is not None or waits_on is not None or alone.phase not in GATED:
        return alone
    return watched(draft, alone, baking=alone.phase is Phase.BAKING)


def _stopped(draft: Draft, rollout: e.Rollout) -> Answer:
    """What stops a rollout in any phase under watch: an expired hold, or a version that fails by itself while there is a way back."""
    if rollout.holds and rollout.phase in holds.STOPPABLE and (over := holds.expired(draft, rollout)) is not None:
        return Event.STOP, f"{e.NOBODY_CAME}for {over.code} before its deadline: {over.text}"
    for unit in rollout.units if _may_fail(rollout) else ():
        if (why := failing(draft, rollout, unit)) is not None:
            return Event.STOP, why
    return None


def _may_fail(rollout: e.Rollout) -> bool:
    """Whether instances that fail bring the rollout back: also after the bake, while the old versions drain and are there to return to."""
    if rollout.forced:
        return False
    return rollout.phase in FORWARD or (rollout.phase is Phase.DRAINING and rollout.promoted and not stays(rollout))


def _queued(draft: Draft, rollout: e.Rollout) -> Answer:
    if (given_up := next((text for u in rollout.units if (text := given_up_with(draft, rollout, u)) is not None), None)) is not None:
        return Event.STOP, f"{e.NOT_BEGUN}{given_up}"
    found = [u for u in rollout.units if _is_there(draft, rollout, u)]
    there = [f"{u.service} {u.candidate}" for u in found]
    if len(there) == len(rollout.units):
        return Event.STOP, f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} stable already"
    if there:
        rollout = replace(rollout, units=tuple(u for u in rollout.units if u not in found))
        draft.put_rollout(rollout)
        draft.because("stable-already", f"{rollout.id} goes on without {' and '.join(there)}, stable already", rollout.id)
    if (why := obstacle(draft, rollout)) is not None:
        text, other = why
        ahead = draft.rollout(other) if other is not None else None
        phase = ahead.phase if ahead is not None else None
        draft.put_rollout(replace(rollout, waits_on=other, waits_while=phase))
        return text
    for unit in rollout.units:
        if (why_not := unwanted(draft, unit.service, unit.candidate, rollout.cause)) is not None:
            return Event.STOP, f"{e.NOT_BEGUN}{why_not}"
    renew_set(draft, replace(rollout, waits_on=None))
    if (unknown := holds.refused_as_unknown(rollout, draft.version_set(rollout.id))) is not None:
        return Event.STOP, f"{e.NOT_BEGUN}{unknown}"
    if rollout.is_revert:
        flag_strangers(draft, rollout.id, {u.service: u.candidate for u in rollout.units})
        halt_neighbours(draft, rollout)
    return Event.ADMITTED, "nothing that it would disturb is moving"


def _is_there(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> bool:
    """Whether the candidate is stable, and nobody else is about to change that: what climbs meanwhile would take its place, and nothing
    would come back to it."""
    target = draft.target(unit.service)
    return target.stable == unit.candidate and target.rollout in (None, rollout.id)


def renew_set(draft: Draft, rollout: e.Rollout) -> None:
    """Decide the set of a queued rollout again by the graph, the stable versions and the policies of now: all may have changed since."""
    old = draft.version_set(rollout.id)
    fresh = compose(draft, rollout.id, {u.service: u.candidate for u in rollout.units}, old.release, old.order)
    units = tuple(e.Unit(c.service, c.candidate, c.stable, c.wave) for c in fresh.changed)
    _take_steps(draft, replace(rollout, units=units), fresh)


def _take_steps(draft: Draft, rollout: e.Rollout, chosen: e.VersionSet) -> None:
    """Have the rollout take the steps of a set as its world can show them; says so where these are others."""
    wanted = steps_for(chosen, rollout.cause)
    steps = steps_now(draft, chosen, wanted)
    if steps not in (wanted, rollout.steps):
        said = (", ".join(f"{step.weight}%" for step in some) for some in (wanted, steps))
        how = "a job has all runs or none, so" if only_jobs(chosen) else "its world can show"
        how = "one instance at a time, so" if set(chosen.in_place) - set(chosen.surplus_percent) else how
        draft.because("steps-rounded", f"{rollout.id}: of the steps {next(said)} {how} {next(said)}", rollout.id)
    draft.put(f"set/{rollout.id}", with_reach(draft, chosen, steps))
    draft.put_rollout(replace(rollout, steps=steps))


def _preparing(draft: Draft, rollout: e.Rollout) -> Answer:
    if not fall(draft, rollout, "back to weight 0 before it may climb again"):
        return "candidates return to weight 0"
    if (waits := unready(draft, rollout) or nothing_to_exchange(draft, rollout)) is not None:
        seconds = draft.clock.seconds_since(rollout.phase_since_steady)
        if seconds > draft.version_set(rollout.id).policy.ready_timeout_seconds and not rollout.stuck:
            return Event.STOP, f"not ready after {seconds:.0f} s: {waits}"
        return waits
    if (waits := _unheld(rollout) or _turn(draft, rollout)) is not None:
        return waits
    chosen = draft.version_set(rollout.id)
    if chosen.in_place and not rollout.judged_attempt:  # the instances that are there now are those that will be exchanged
        _take_steps(draft, rollout, chosen)
    return Event.READY, "every candidate is ready" if not rollout.forced_unsafe else "ready or not: it was forced, and unsafe"


def _shifting(draft: Draft, rollout: e.Rollout) -> Answer:
    for unit in rollout.units:
        target = draft.target(unit.service)
        if unit.wave == rollout.wave and (unit.service in draft.telling or not is_shown(draft, target)):
            if (why := _never_manned(draft, rollout, unit)) is not None:
                return Event.STOP, why
            awaited = f"waits for {unit.service} to show {unit.candidate} at {assigning.candidate_weight(rollout)}%"
            return awaited + (f": {target.not_in_force}" if target.not_in_force is not None else "")
    return Event.CONFIRMED, "the world shows the weight"


def _never_manned(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> str | None:
    """That an instance which this step started, beside stable or in place of another, does not become ready in time, or None."""
    version_set = draft.version_set(rollout.id)
    target, seconds = draft.target(unit.service), draft.clock.seconds_since(rollout.phase_since_steady)
    late = unit.service in (*version_set.in_place, *version_set.by_weight) and seconds > version_set.policy.ready_timeout_seconds
    seen = target.seen(unit.candidate)
    if not late or target.in_flight is None or target.in_flight.trouble is not None or seen is None or seen.ready == seen.instances:
        return None
    return f"{unit.service} {unit.candidate}: {seen.ready} of {seen.instances} instances ready after {seconds:.0f} s"


def _gated(draft: Draft, rollout: e.Rollout, reading: gate.Reading) -> Answer:
    """The gate of a step or of the bake, whatever the answer leads to."""
    if reading.gate is gate.WAITING:
        return reading.text
    if reading.gate is gate.Gate.FAILED and rollout.is_revert:
        text = f"a revert is not reverted by itself: {reading.text}"
        draft.put_rollout(holds.hold(draft, rollout, holds.Condition(holds.REVERT_FAILS, text)))
        return text
    if reading.gate is gate.Gate.FAILED:
        return Event.STOP, reading.text
    if reading.gate is gate.Gate.BLIND and _retreats(draft, rollout):
        return Event.RETREAT, reading.text
    if reading.gate is not gate.Gate.OPEN:
        return reading.text
    if rollout.astray is not None:
        ignored = draft.target(rollout.astray).not_in_force
        why = "shows another weight than is watched" if ignored is None else f"does not go by its weights: {ignored}"
        return f"{rollout.astray} {why}; the step is judged anew once it {'shows its own' if ignored is None else 'does'}"
    return None


def _retreats(draft: Draft, rollout: e.Rollout) -> bool:
    """Whether a blind rollout was unseen for so long that it goes back to weight 0, and has something to go back to. A revert does not: it
    would go back to what somebody found bad, as unseen."""
    policy = draft.version_set(rollout.id).policy
    too_long = gate.is_blind_too_long(draft.clock, rollout, policy, draft.telemetry.window_seconds)
    return too_long and not rollout.is_kept and all(unit.stable is not None for unit in rollout.units)


def _verifying(draft: Draft, rollout: e.Rollout, reading: gate.Reading) -> Answer:
    if (answer := _gated(draft, rollout, reading)) is not None:
        return answer
    why = _open_text(reading)
    if assigning.next_place(draft, rollout) is None:
        return _unheld(rollout) or (Event.VERIFIED, why)
    return _forward(draft, rollout) or (Event.PASSED, why)


def _open_text(reading: gate.Reading) -> str:
    return reading.text if reading.proven else f"unproven: {reading.text}"


def _baking(draft: Draft, rollout: e.Rollout, reading: gate.Reading) -> Answer:
    if (answer := _gated(draft, rollout, reading)) is not None:
        return answer
    return _unheld(rollout) or none_ready(draft, rollout) or (Event.BAKED, _open_text(reading))


def _unheld(rollout: e.Rollout) -> str | None:
    return f"held: {rollout.holds[0].text}" if rollout.holds else None


def _forward(draft: Draft, rollout: e.Rollout) -> str | None:
    """Why no candidate may take more weight now, or None."""
    return _unheld(rollout) or unready(draft, rollout) or _turn(draft, rollout)


def _turn(draft: Draft, rollout: e.Rollout) -> str | None:
    """That another rollout has stepped forward in this window, or None; first versions wait for none of their kind."""
    known = draft.telemetry
    if known.stepped_by == rollout.id or known.stepped_window != window_now(draft):
        return None
    other = draft.rollout(known.stepped_by) if known.stepped_by is not None and rollout.only_first_versions else None
    if other is not None and other.only_first_versions:
        return None
    return f"waits for the next window, since {known.stepped_by} stepped in this one"


def _draining(draft: Draft, rollout: e.Rollout) -> Answer:
    if (waits := drain(draft, rollout)) is not None:
        return waits
    if rollout.promoted:
        return Event.OLD_DRAINED, "the old versions are parked"
    return Event.CANDIDATES_DRAINED, rollout.stopped_because or "drained"


def _aborting(draft: Draft, rollout: e.Rollout) -> Answer:
    because = rollout.stopped_because or "aborted"
    if not fall(draft, rollout, because):
        return "waits for the world to show the candidates at weight 0"
    draft.put_rollout(replace(rollout, promoted=False))
    return Event.AT_ZERO, because


def _ended(draft: Draft, rollout: e.Rollout) -> Answer:
    return None


RULES: MappingProxyType[Phase, Rule] = MappingProxyType(
    {
        Phase.QUEUED: _queued,
        Phase.PREPARING: _preparing,
        Phase.SHIFTING: _shifting,
        Phase.DRAINING: _draining,
        Phase.COMPLETED: _ended,
        Phase.ABORTING: _aborting,
        Phase.REVERTED: _ended,
        Phase.ADVISING: advise,
        Phase.DISMISSED: _ended,
        Phase.ADOPTING: await_adoption,
        Phase.LEAVING: await_answer,
    }
)
"""What moves a rollout on in each phase without a gate."""

GATE_RULES: MappingProxyType[Phase, GateRule] = MappingProxyType({Phase.VERIFYING: _verifying, Phase.BAKING: _baking})
"""What moves it on in the others, by the reading of its gate."""
