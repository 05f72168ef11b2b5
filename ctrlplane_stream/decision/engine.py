"""The pure core: one fact in, one decision out.

``decide`` reads a state, a fact and where and when the fact stood on the log; it returns the next state, what to tell the
world, why, and when it wants to hear of time again. The same facts give the same bytes. Whatever cannot be acted on is
ignored with a reason; only a programming error raises.
"""

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, delta_of
from ctrlplane_stream.decision.state import State, fold
from ctrlplane_stream.model.commands import Command, Output
from ctrlplane_stream.model.decisions import Disposition, Reason
from ctrlplane_stream.model.facts import Fact, Origin, OverrideRequested

MAX_ADVANCE_MS = 15_000
"""How much one fact may advance any timer."""

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
    delta: dict[str, msgspec.Raw | None]
    wake_at_ms: int | None


def decide(state: State, fact: Fact, moment: Moment) -> Decision:
    """Decide one fact. Pure; deterministic to the byte; raises only on a programming error."""
    draft = Draft(state, _advanced(state, moment))
    if repeated := _repeated(draft, moment.origin):
        draft.because("repeated", repeated)
        return _finish(draft, Disposition.IGNORED)
    draft.because("not-built", f"ignored: nothing is decided about {type(fact).__name__} yet")
    return _finish(draft, Disposition.IGNORED)


def _advanced(state: State, moment: Moment) -> e.Clock:
    before = state.find("clock", e.Clock)
    if before is None:
        return e.Clock(now_ms=moment.at_ms, steady=0, sequence=1)
    now = max(before.now_ms, moment.at_ms)
    return e.Clock(now, before.steady + min(now - before.now_ms, MAX_ADVANCE_MS), before.sequence + 1)


def _repeated(draft: Draft, origin: Origin | None) -> str | None:
    """Why the fact is a repetition, or None after noting its origin as the latest."""
    if origin is None:
        return None
    key = f"origin/{origin.topic}/{origin.partition}"
    mark = e.OriginMark(origin.offset, origin.index)
    last = draft.find(key, e.OriginMark)
    if last is not None and mark <= last:
        return f"ignored: {origin.topic}/{origin.partition} offset {origin.offset} was decided before (up to {last.offset})"
    draft.put(key, mark)
    return None


def _finish(draft: Draft, disposition: Disposition) -> Decision:
    changes = draft.changes()
    return Decision(
        state=draft.state.with_changes(changes),
        sequence=draft.clock.sequence,
        disposition=disposition,
        outputs=tuple(draft.outputs),
        reasons=tuple(draft.reasons),
        delta=delta_of(changes),
        wake_at_ms=None,
    )


def minimal_abort(state: State, override: OverrideRequested) -> tuple[Command, ...]:
    """The commands that bring every moving target in the override's scope to its stable weight, nothing else considered."""
    return ()
