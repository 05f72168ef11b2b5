"""All the judge knows of one environment, folded window by window: the past of everything, and a state for each step under way.

This is what a shell keeps, and writes before the verdicts, which follow from it again. Steps and pasts may be written apart: each step
knows the last window that it was judged by, each past the last that it was heard of in, and neither takes a window twice.

A step that is new begins with the past as it was before its rollout: what a rollout watches is frozen while any assignment names it, and so
is what lives around a candidate, from its first weight until it is accepted or has drained (`rest`); a later step or attempt takes over
what the earlier one held. A service that nothing watches and that was silent for long is forgotten.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from ctrlplane_stream.decision.judge.advance import advance
from ctrlplane_stream.decision.judge.baseline import Baseline, holding, observe, remembered
from ctrlplane_stream.decision.judge.fold import begin, follow, verdict_of
from ctrlplane_stream.decision.judge.rest import Unrest, moved_in, without_left
from ctrlplane_stream.decision.judge.rows import ClosedWindow, sort_rows
from ctrlplane_stream.decision.judge.state import StepState
from ctrlplane_stream.model.verdicts import Assignment, Verdict

_KEPT_SECONDS = 600
"""How long a step that nobody assigns is kept, so that a pause between two steps does not cost the past from before the rollout."""

REMEMBERED_SECONDS = 14 * 86_400.0
"""How long a service that is silent is remembered unless said: a weekly job is heard of twice in it."""


class EnvironmentState(msgspec.Struct, frozen=True):
    """The past and the steps under way, by rollout; ``window`` is the last one folded."""

    baseline: Baseline = Baseline()
    steps: dict[str, StepState] = {}
    window: int = -1


def judge_environment(
    state: EnvironmentState,
    assignments: Sequence[Assignment],
    closed: ClosedWindow,
    remembered_seconds: float = REMEMBERED_SECONDS,
    unrest: Mapping[str, Unrest] = MappingProxyType({}),
) -> tuple[EnvironmentState, tuple[Verdict, ...]]:
    """The state and the verdicts, one for each assignment in its order, after a closed window of the environment.

    ``assignments`` are those in force, at most one a rollout. A window at or before the last one changes nothing and gives the same
    verdicts again. A service that was not heard of for ``remembered_seconds``, in time of windows, is forgotten unless it is watched.
    ``unrest`` says of services when they were last served by what is not accepted: no such window is in a past.
    """
    rows, held = sort_rows(closed, 0), holding(state.baseline, closed.window)
    if closed.window > state.window:
        state = msgspec.structs.replace(state, baseline=without_left(state.baseline, unrest, state.window, rows, held))
    steps = {name: step for name, step in state.steps.items() if closed.window - step.last_window <= _KEPT_SECONDS}
    steps |= {assignment.rollout: advance(_step(state, assignment), assignment, closed) for assignment in assignments}
    verdicts = verdicts_of(steps, assignments)
    if closed.window <= state.window:
        return msgspec.structs.replace(state, steps=steps), verdicts
    still = watched(assignments) | moved_in(rows, unrest)
    baseline = observe(state.baseline, rows, still | held)
    baseline = remembered(baseline, rows, closed.window, still, remembered_seconds)
    return EnvironmentState(baseline, steps, closed.window), verdicts


def verdicts_of(steps: Mapping[str, StepState], assignments: Sequence[Assignment]) -> tuple[Verdict, ...]:
    """What the states mean, one verdict for each assignment in its order. A before/after harm that another change may explain is laid to
    the one whose own evidence shows it."""
    alone = [verdict_of(steps[assignment.rollout], assignment) for assignment in assignments]
    found = {verdict.rollout: verdict.metrics for verdict in alone}
    return tuple(
        verdict_of(steps[assignment.rollout], assignment, found)
        if verdict.culprit is not None and verdict.culprit.explained_by is not None
        else verdict
        for assignment, verdict in zip(assignments, alone, strict=True)
    )


def watched(assignments: Sequence[Assignment]) -> frozenset[str]:
    """The services whose past stands still: changed, guarding, or an entry point of a rollout under way."""
    return frozenset(
        service
        for assignment in assignments
        for service in (
            *(change.service for change in assignment.changed),
            *(guard.service for guard in assignment.guards),
            *assignment.entry_points,
        )
    )


def _step(state: EnvironmentState, assignment: Assignment) -> StepState:
    """The state of this step and attempt, or a new one with the past from before the rollout."""
    kept = state.steps.get(assignment.rollout)
    if kept is not None and (kept.step, kept.attempt) == (assignment.step, assignment.attempt):
        return kept
    return begin(assignment, state.baseline) if kept is None else follow(kept, assignment, state.baseline)
