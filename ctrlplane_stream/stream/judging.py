"""The judge's bench for one environment: what is assigned, what is known of the past, and the evidence so far.

A verdict is derived from what the bench knows (``judge_records``), so that is written first, and after a crash the verdict can be given
again. The judgement itself is ``decision.judge``.
"""

from collections.abc import Mapping

import msgspec

from ctrlplane_stream.decision.advising import SEEN_WINDOWS
from ctrlplane_stream.decision.judge import ClosedWindow, StepState, begin, judge_environment, late_verdict
from ctrlplane_stream.decision.judge.environment import REMEMBERED_SECONDS, verdicts_of
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased, Output
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Assignment, NoDataCause, Verdict, VerdictStatus
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.stream.judge_records import Docket
from ctrlplane_stream.stream.unrest import UnrestBook
from ctrlplane_stream.stream.window_line import WindowLine

_PATIENCE_WINDOWS = 3
_PATIENCE_SECONDS = 5.0


class Timing(msgspec.Struct, frozen=True):
    """What the bench must know of windows: their number of partitions, length and allowed lateness."""

    partitions: int
    window_seconds: int
    lateness_seconds: float


class Bench:
    """Judges one environment. Feed it decisions (what they change, and their outputs) and windows. ``remembered_seconds`` may be set at any
    time: how long a service that is silent is remembered."""

    def __init__(self, timing: Timing, docket: Docket | None = None) -> None:
        found = docket or Docket()
        self._timing = timing
        self._known = found.known
        self._assigned: dict[str, Assignment] = {}
        self._in_motion: dict[str, bool] = {}
        seen_after = (SEEN_WINDOWS + 1) * timing.window_seconds + timing.lateness_seconds + _PATIENCE_SECONDS
        self._unrest = UnrestBook(round(seen_after * 1000))
        self.remembered_seconds = REMEMBERED_SECONDS
        self.line = WindowLine(timing.partitions, timing.window_seconds, found.place)

    @property
    def docket(self) -> Docket:
        """What to keep."""
        return Docket(self.line.place, self._known)

    @property
    def in_motion(self) -> frozenset[str]:
        """Services with more than one version that takes part, or that another tool moves: their arrivals are wanted window by window."""
        moved_elsewhere = (change.service for a in self._assigned.values() if a.advised for change in a.changed)
        return frozenset([*(service for service, moving in self._in_motion.items() if moving), *moved_elsewhere])

    @property
    def is_busy(self) -> bool:
        """Whether a step is judged here, or a service moves."""
        return bool(self._assigned) or any(self._in_motion.values())

    def hear(self, output: Output) -> None:
        """Take in what the engine decided: a new step to judge, the end of one, or a target that moves."""
        match output:
            case JudgeAssigned(assignment):
                self._assigned[assignment.rollout] = assignment
            case JudgeReleased(rollout):
                self._assigned.pop(rollout, None)
            case Command():
                alive = [v for v in output.wanted.versions if v.capacity is not Capacity.PARKED]
                self._in_motion[output.target.service] = len(alive) > 1
            case _:
                pass

    def note(self, delta: Mapping[str, msgspec.Raw], at_ms: int) -> None:
        """Take in what a decision changed in the engine's state at ``at_ms``: what is served by a version that nobody has accepted yet."""
        self._unrest.take(delta, at_ms)

    def judge(self, closed: ClosedWindow) -> list[Verdict]:
        """The verdict of every open step after one more window."""
        self._known, verdicts = judge_environment(self._known, self._open(), closed, self.remembered_seconds, self._unrest.services)
        return list(verdicts)

    def again(self) -> list[Verdict]:
        """The verdicts that follow from what is written down: given again after a restart, since they may have been lost."""
        begun = {a.rollout: state for a in self._open() if (state := self._state(a)).windows}
        return list(verdicts_of(begun, [a for a in self._open() if a.rollout in begun]))

    def late(self, now_ms: int) -> list[Verdict]:
        """What to say of every open step while windows do not close; nothing while they do."""
        verdicts = []
        for assignment in self._open():
            seen_ms = ((self.line.place.window or 0) + self._timing.window_seconds) * 1000
            since_ms = max(seen_ms, assignment.weight_confirmed_at_ms)
            lag_seconds = (now_ms - since_ms) / 1000 - self._timing.lateness_seconds
            if lag_seconds > _PATIENCE_WINDOWS * self._timing.window_seconds + _PATIENCE_SECONDS:
                verdicts.append(late_verdict(self._state(assignment), assignment, lag_seconds))
        return verdicts

    def unable(self, why: str) -> list[Verdict]:
        """What to say of every open step where this bench judges no more."""
        return [
            Verdict(
                judge=OUR_JUDGE,
                environment=a.environment,
                rollout=a.rollout,
                step=a.step,
                attempt=a.attempt,
                status=VerdictStatus.NO_DATA,
                reason=why,
                no_data=NoDataCause.PIPELINE_LATE,
            )
            for a in self._open()
        ]

    def _open(self) -> tuple[Assignment, ...]:
        return tuple(assignment for _, assignment in sorted(self._assigned.items()))

    def _state(self, assignment: Assignment) -> StepState:
        """What is known of the step; nothing yet where its first window is still to come."""
        state = self._known.steps.get(assignment.rollout)
        same = state is not None and (state.step, state.attempt) == (assignment.step, assignment.attempt)
        return state if state is not None and same else begin(assignment, self._known.baseline)
