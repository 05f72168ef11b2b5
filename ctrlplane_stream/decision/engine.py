"""The pure core: one fact in, one decision out.

``decide`` reads a state, a fact and where and when the fact stood on the log; it returns the next state, what to tell the
world, why, and when it wants to hear of time again. The same facts give the same bytes. Whatever cannot be acted on is
ignored with a reason; only a programming error raises.
"""

from typing import assert_never

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import observing, timers
from ctrlplane_stream.decision.configuring import configured_anew, on_catalog
from ctrlplane_stream.decision.draft import Draft, Telling, delta_of
from ctrlplane_stream.decision.falling import owns, stays, with_stable
from ctrlplane_stream.decision.hearing import on_verdict
from ctrlplane_stream.decision.notices import is_over
from ctrlplane_stream.decision.overrides import on_override
from ctrlplane_stream.decision.phases import ADOPTION, Phase
from ctrlplane_stream.decision.repetitions import repeated
from ctrlplane_stream.decision.rollout import settle
from ctrlplane_stream.decision.said import in_scope
from ctrlplane_stream.decision.state import State, fold
from ctrlplane_stream.decision.targets import emit_commands, weighted
from ctrlplane_stream.decision.versioning import on_artifact
from ctrlplane_stream.model.commands import Command, Output, Verb
from ctrlplane_stream.model.decisions import Disposition, Reason
from ctrlplane_stream.model.facts import (
    ArrivalsObserved,
    ArtifactPushed,
    BuildChanged,
    CatalogApplied,
    EdgesFaded,
    EdgesObserved,
    Fact,
    Origin,
    OutcomeReported,
    OverrideRequested,
    TimePassed,
    VerdictGiven,
    WorldChanged,
)

MAX_ADVANCE_MS = 15_000
"""How much one fact may advance any timer."""

_MOVED_BY_ARRIVALS = (Phase.PREPARING, Phase.DRAINING, Phase.ADVISING)
"""Phases that a closed window may end: drained by what arrived, seen again, or moved by another tool."""

__all__ = ["Decision", "Moment", "State", "decide", "fold", "minimal_abort"]


class Moment(msgspec.Struct, frozen=True):
    """Where and when a fact stood on the log: its offset, its append time, and the input record it was made from."""

    offset: int
    at_ms: int
    origin: Origin | None


class Decision(msgspec.Struct, frozen=True):
    """What one fact led to. ``delta`` is exactly what differs between the state before and ``state``."""

    state: State
    sequence: int
    disposition: Disposition
    outputs: tuple[Output, ...]
    reasons: tuple[Reason, ...]
    delta: dict[str, msgspec.Raw]
    wake_at_ms: int | None


def decide(state: State, fact: Fact, moment: Moment) -> Decision:
    """Decide one fact. Pure; deterministic to the byte; raises only on a programming error."""
    before = state.find("clock", e.Clock)
    clock = _advanced(before or e.Clock(moment.at_ms), moment)
    time_told = isinstance(fact, TimePassed) or before is None or abs(clock.now_ms - before.now_ms) > MAX_ADVANCE_MS
    draft = Draft(state, replace(clock, told_ms=clock.now_ms) if time_told else clock)
    if again := repeated(draft, moment.origin):
        draft.because("repeated", again)
        return _finish(draft, Disposition.IGNORED)
    if time_told:
        timers.expire(draft)
    applied = _absorb(draft, fact)
    _settle(draft, None if time_told else _about(draft, fact))
    if time_told:
        timers.renew(draft)
    emit_commands(draft)
    return _finish(draft, Disposition.APPLIED if applied else Disposition.IGNORED)


def _settle(draft: Draft, about: tuple[str, ...] | None) -> None:
    """Move rollouts as far as they can go now, with what the catalog asks for again where one of them has gone back."""
    settle(draft, about)
    seen = 0
    while seen < len(draft.moved):
        moved, seen = draft.moved[seen:], len(draft.moved)
        if configured_anew(draft, moved) or len(draft.moved) > seen:
            settle(draft, ())


def _about(draft: Draft, fact: Fact) -> tuple[str, ...] | None:
    """The rollouts that a fact can move by itself; None for facts that may concern any."""
    if isinstance(fact, VerdictGiven):
        return (fact.verdict.rollout,)
    if isinstance(fact, (OutcomeReported, WorldChanged)):
        owner = draft.target(fact.target.service).rollout
        return (owner,) if owner is not None else ()
    if isinstance(fact, ArrivalsObserved):
        return tuple(r.id for r in draft.rollouts() if r.phase in _MOVED_BY_ARRIVALS)
    return None


def _absorb(draft: Draft, fact: Fact) -> bool:  # noqa: C901 - one line per kind of fact, closed by assert_never
    """Take the fact in; whether it applied."""
    match fact:
        case TimePassed():
            return True
        case VerdictGiven():
            return on_verdict(draft, fact)
        case ArrivalsObserved():
            return observing.on_arrivals(draft, fact)
        case EdgesObserved():
            return observing.on_edges(draft, fact)
        case EdgesFaded():
            return observing.on_faded(draft, fact)
        case OutcomeReported():
            return observing.on_outcome(draft, fact)
        case WorldChanged():
            return observing.on_world(draft, fact)
        case OverrideRequested():
            return on_override(draft, fact)
        case ArtifactPushed():
            return on_artifact(draft, fact)
        case CatalogApplied():
            return on_catalog(draft, fact)
        case BuildChanged():
            draft.because("build", f"build {fact.build} decides from here on, before it {fact.previous or 'none'}")
            return True
        case _:
            assert_never(fact)


def _advanced(before: e.Clock, moment: Moment) -> e.Clock:
    if before.now_ms - moment.at_ms > e.FAR_MS:
        return _behind(before, moment.at_ms)
    now = max(before.now_ms, moment.at_ms)
    passed = now - before.now_ms
    steady = before.steady + (min(passed, MAX_ADVANCE_MS) if passed <= e.FAR_MS else 0)
    return e.Clock(now, steady, before.sequence + 1, before.told_ms)


def _behind(before: e.Clock, at_ms: int) -> e.Clock:
    """One fact that is far behind may be wrong. Two in a row say that what came before them was far ahead: whoever believed that would have
    nothing end, and no lease renewed, before real time has caught up."""
    now, since = (at_ms, at_ms - before.behind_ms) if before.behind_ms else (before.now_ms, 0)
    steady = before.steady + min(max(since, 0), MAX_ADVANCE_MS)
    return e.Clock(now, steady, before.sequence + 1, before.told_ms, behind_ms=0 if before.behind_ms else at_ms)


def _finish(draft: Draft, disposition: Disposition) -> Decision:
    wake = timers.wake_at_ms(draft)
    changes = draft.changes()
    return Decision(
        state=draft.state.with_changes(changes),
        sequence=draft.clock.sequence,
        disposition=disposition,
        outputs=tuple([output for output in draft.outputs if not is_over(draft, output)]),
        reasons=tuple(draft.reasons),
        delta=delta_of(changes),
        wake_at_ms=wake,
    )


def minimal_abort(state: State, override: OverrideRequested) -> tuple[Command, ...]:
    """The commands that bring every moving target in the override's scope to its stable weight, nothing else considered.

    For while an environment is parked: ``decide`` cannot be trusted then, so this reads targets only. The state is not changed; the
    abort is decided in its turn once the environment goes on.
    """
    clock = state.find("clock", e.Clock) or e.Clock()
    draft = Draft(state, replace(clock, sequence=clock.sequence + 1))
    because = f"aborted by {override.who} while parked: {override.why}"
    for rollout in in_scope(draft, override):
        for unit in rollout.units if not stays(rollout) and rollout.phase not in ADOPTION else ():
            if owns(draft, rollout, unit):
                _to_stable(draft, replace(rollout, unsafe=override.unsafe), unit, because)
    emit_commands(draft)
    return tuple(output for output in draft.outputs if isinstance(output, Command))


def _to_stable(draft: Draft, rollout: e.Rollout, unit: e.Unit, because: str) -> None:
    """Tell one target its stable weight; where an old version was parked meanwhile only to make that ready, since nobody waits here."""
    target = draft.target(unit.service)
    stable = unit.stable if rollout.promoted else target.stable
    if target.wanted(unit.candidate) is None:
        return
    whole, comes_first = with_stable(draft, rollout, replace(unit, stable=stable))
    told = whole if comes_first else weighted(whole, unit.candidate, stable, 0)
    draft.put_target(replace(told, strayed=None))
    draft.tell(unit.service, Telling(Verb.PREPARE if comes_first else Verb.SHIFT, because, rollout.id))
