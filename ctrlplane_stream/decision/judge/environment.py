"""All the judge knows of one environment, folded window by window: the past of everything, and a state for each step under way.

This is what a shell keeps: one record, written before the verdicts, from which they follow again. A step that is new begins with the past
as it was before its rollout: what a rollout watches is frozen while any assignment names it, and a later step or attempt takes over what
the earlier one held.
"""

from collections.abc import Sequence

import msgspec

from ctrlplane_stream.decision.judge.baseline import Baseline, observe
from ctrlplane_stream.decision.judge.fold import begin, follow, judge_window
from ctrlplane_stream.decision.judge.rows import ClosedWindow, sort_rows
from ctrlplane_stream.decision.judge.state import StepState
from ctrlplane_stream.model.verdicts import Assignment, Verdict

_KEPT_SECONDS = 600
"""How long a step that nobody assigns is kept, so that a pause between two steps does not cost the past from before the rollout."""


class EnvironmentState(msgspec.Struct, frozen=True):
    """The past and the steps under way, by rollout; ``window`` is the last one folded."""

    baseline: Baseline = Baseline()
    steps: dict[str, StepState] = {}
    window: int = -1


def judge_environment(
    state: EnvironmentState, assignments: Sequence[Assignment], closed: ClosedWindow
) -> tuple[EnvironmentState, tuple[Verdict, ...]]:
    """The state and the verdicts, one for each assignment in its order, after a closed window of the environment.

    ``assignments`` are those in force, at most one a rollout. A window at or before the last one changes nothing and gives the same
    verdicts again.
    """
    steps = {name: step for name, step in state.steps.items() if closed.window - step.last_window <= _KEPT_SECONDS}
    verdicts: list[Verdict] = []
    for assignment in assignments:
        step, verdict = judge_window(_step(state, assignment), assignment, closed)
        steps[assignment.rollout] = step
        verdicts.append(verdict)
    if closed.window <= state.window:
        return msgspec.structs.replace(state, steps=steps), tuple(verdicts)
    baseline = observe(state.baseline, sort_rows(closed, 0), watched(assignments))
    return EnvironmentState(baseline, steps, closed.window), tuple(verdicts)


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
