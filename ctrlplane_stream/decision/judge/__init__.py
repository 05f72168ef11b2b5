"""The judge: from telemetry windows to verdicts, as a pure fold. No clock, I/O or randomness.

`observe` keeps the past of an environment, `begin` freezes it for a first step, `follow` hands it to the next one, `judge_window` folds one
closed window into a `StepState` and a verdict, `judge_environment` does all of it for an environment, `late_verdict` speaks when
windows do not close.
What others say beside it, and a target's own failures, the engine weighs (`decision.gate`).
"""

from ctrlplane_stream.decision.judge.baseline import Baseline, observe
from ctrlplane_stream.decision.judge.environment import EnvironmentState, judge_environment
from ctrlplane_stream.decision.judge.fold import begin, follow, judge_window, late_verdict, verdict_of
from ctrlplane_stream.decision.judge.rows import ClosedWindow, sort_rows
from ctrlplane_stream.decision.judge.state import StepState

__all__ = [
    "Baseline",
    "ClosedWindow",
    "EnvironmentState",
    "StepState",
    "begin",
    "follow",
    "judge_environment",
    "judge_window",
    "late_verdict",
    "observe",
    "sort_rows",
    "verdict_of",
]
