"""The judge's bench for one environment: what is assigned, what is known of the past, and the evidence so far.

What the bench knows is one record (``Docket``); a verdict is derived from it, so the record is written first, and after a
crash the verdict can be given again. The judgement itself is ``decision.judge``.
"""

import msgspec

from ctrlplane_stream.decision.judge import (
    Baseline,
    ClosedWindow,
    StepState,
    begin,
    judge_window,
    late_verdict,
    observe,
    sort_rows,
    verdict_of,
)
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased, Output
from ctrlplane_stream.model.verdicts import Assignment, Verdict
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.stream.window_line import Place, WindowLine

_PATIENCE_WINDOWS = 3
_PATIENCE_SECONDS = 5.0


class Docket(msgspec.Struct):
    """Everything that the judge knows of an environment: where it stands in the windows, the past, and every open step."""

    place: Place = msgspec.field(default_factory=Place)
    baseline: Baseline = Baseline()
    steps: dict[str, StepState] = {}


class Timing(msgspec.Struct, frozen=True):
    """What the bench must know of windows: their number of partitions, length and allowed lateness."""

    partitions: int
    window_seconds: int
    lateness_seconds: float


class Bench:
    """Judges one environment. Feed it outputs of decisions, and windows."""

    def __init__(self, timing: Timing, docket: Docket | None = None) -> None:
        found = docket or Docket()
        self._timing = timing
        self._baseline = found.baseline
        self._steps = dict(found.steps)
        self._assigned: dict[str, Assignment] = {}
        self._in_motion: dict[str, bool] = {}
        self.line = WindowLine(timing.partitions, timing.window_seconds, found.place)

    @property
    def docket(self) -> Docket:
        """What to write down."""
        return Docket(self.line.place, self._baseline, {name: self._steps[name] for name in sorted(self._steps)})

    @property
    def in_motion(self) -> frozenset[str]:
        """Services with more than one version that takes part: their arrivals are wanted window by window."""
        return frozenset(service for service, moving in self._in_motion.items() if moving)

    def hear(self, output: Output) -> None:
        """Take in what the engine decided: a new step to judge, the end of one, or a target that moves."""
        match output:
            case JudgeAssigned(assignment):
                self._assign(assignment)
            case JudgeReleased(rollout):
                self._assigned.pop(rollout, None)
                self._steps.pop(rollout, None)
            case Command():
                alive = [v for v in output.wanted.versions if v.capacity is not Capacity.PARKED]
                self._in_motion[output.target.service] = len(alive) > 1
            case _:
                pass

    def _assign(self, assignment: Assignment) -> None:
        self._assigned[assignment.rollout] = assignment
        state = self._steps.get(assignment.rollout)
        if state is None or (state.step, state.attempt) != (assignment.step, assignment.attempt):
            self._steps[assignment.rollout] = begin(assignment, self._baseline)

    def judge(self, closed: ClosedWindow) -> list[Verdict]:
        """The verdict of every open step after one more window."""
        verdicts = []
        for name, assignment in sorted(self._assigned.items()):
            self._steps[name], verdict = judge_window(self._steps[name], assignment, closed)
            verdicts.append(verdict)
        self._baseline = observe(self._baseline, sort_rows(closed, 0), self._watched())
        return verdicts

    def again(self) -> list[Verdict]:
        """The verdicts that follow from what is written down: given again after a restart, since they may have been lost."""
        return [verdict_of(self._steps[name], a) for name, a in sorted(self._assigned.items()) if self._steps[name].windows]

    def late(self, now_ms: int) -> list[Verdict]:
        """What to say of every open step while windows do not close; nothing while they do."""
        verdicts = []
        for name, assignment in sorted(self._assigned.items()):
            seen_ms = ((self.line.place.window or 0) + self._timing.window_seconds) * 1000
            since_ms = max(seen_ms, assignment.weight_confirmed_at_ms)
            lag_seconds = (now_ms - since_ms) / 1000 - self._timing.lateness_seconds
            if lag_seconds > _PATIENCE_WINDOWS * self._timing.window_seconds + _PATIENCE_SECONDS:
                verdicts.append(late_verdict(self._steps[name], assignment, lag_seconds))
        return verdicts

    def _watched(self) -> frozenset[str]:
        """Services whose past must not learn from a rollout."""
        assignments = self._assigned.values()
        changed = (change.service for a in assignments for change in a.changed)
        guards = (guard.service for a in assignments for guard in a.guards)
        entries = (entry for a in assignments for entry in a.entry_points)
        return frozenset([*changed, *guards, *entries])
