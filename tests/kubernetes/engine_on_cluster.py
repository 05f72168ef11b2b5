"""The engine and the reconcile loops on a real API server, with a judge that knows the truth in place of telemetry: for tests of what
needs no spans. A window of the engine's time takes a moment of ours."""

import asyncio
import math
from collections import deque
from collections.abc import Callable

import msgspec

from ctrlplane_stream.actuators.port import Actuator
from ctrlplane_stream.actuators.reconcile import Pace, Reconciler
from ctrlplane_stream.decision.phases import ENDED
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied, Fact, TimePassed, VerdictGiven
from ctrlplane_stream.model.identity import Artifact, Target
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.verdicts import VerdictStatus
from ctrlplane_stream.model.world import Cursor
from ctrlplane_stream.simulation.judge import SimulatedJudge
from ctrlplane_stream.simulation.loop import QUICK, WINDOW_SECONDS, catalog, service
from ctrlplane_stream.testing import Driver

ENVIRONMENT = "production"
PATIENT_SECONDS = 1_000_000.0
POLICY = msgspec.structs.replace(
    QUICK,
    steps=tuple(msgspec.structs.replace(step, max_seconds=PATIENT_SECONDS) for step in QUICK.steps),
    ready_timeout_seconds=PATIENT_SECONDS,
    lost_actuator_seconds=PATIENT_SECONDS,
    lease_seconds=PATIENT_SECONDS,
    blind_limit_seconds=PATIENT_SECONDS,
    hold_deadline_seconds=PATIENT_SECONDS,
)
"""The engine's time runs away from the cluster, which lives by the clock: nothing may end by that."""
_MOMENT_SECONDS = 0.05
_BELIEVED_SECONDS = 15


class EngineOnCluster:
    """One environment. ``actuator`` makes what acts on the cluster; a loop whose actuator dies begins anew, as another worker would."""

    def __init__(self, services: tuple[str, ...], actuator: Callable[[], Actuator], policy: Policy = POLICY) -> None:
        self.driver = Driver(ENVIRONMENT)
        self.judge = SimulatedJudge(ENVIRONMENT)
        self._actuator = actuator
        self._inbox: deque[Fact] = deque()
        self._loops: dict[Target, tuple[Reconciler, asyncio.Task[None]]] = {}
        self._last: dict[Target, tuple[Command, Cursor]] = {}
        self._heard = 0
        images = tuple(f"registry.example/{behaviour}" for behaviour in ("well", "missing", "never-ready"))
        entries = [service(name, policy, actuator="kubernetes", images=images) for name in services]
        self.give(CatalogApplied(catalog(*entries), "h1", "tests"))

    def give(self, fact: Fact) -> None:
        """A fact now, and what the engine makes of it to whom it concerns."""
        self.driver.pipe(fact)
        for output in self.driver.outputs[self._heard :]:
            match output:
                case JudgeAssigned(assignment):
                    self.judge.assign(assignment)
                case JudgeReleased(rollout):
                    self.judge.release(rollout)
                case Command():
                    self._last[output.target] = (output, Cursor(1, output.sequence))
                    self._submit(output.target)
                case _:
                    pass
        self._heard = len(self.driver.outputs)

    def push(self, name: str, number: int, behaviour: str = "well") -> None:
        """The n-th artifact of a service, which behaves so under the fake kubelet."""
        self.give(ArtifactPushed(f"{name}-{number}", Artifact(name, f"registry.example/{behaviour}", f"sha256:{number:064x}")))

    async def window(self) -> None:
        """One window of the engine's time."""
        began = self.driver.now_ms // 1000
        self.driver.now_ms += WINDOW_SECONDS * 1000
        await asyncio.sleep(_MOMENT_SECONDS)
        for target, (_, task) in list(self._loops.items()):
            if task.done():
                self._loops.pop(target)
                self._submit(target)
        while self._inbox:
            self.give(self._inbox.popleft())
        for verdict in self.judge.window_closed(began, WINDOW_SECONDS):
            if verdict.status is VerdictStatus.PASS:
                self.heard(verdict.rollout, verdict.step)
            self.give(VerdictGiven(verdict))
        if (self.driver.wake_at_ms or self.driver.now_ms) <= self.driver.now_ms:
            self.give(TimePassed())

    def heard(self, rollout: str, step: int) -> None:
        """A step passes, and the engine is about to hear it: for whoever notes that."""

    def jump(self, seconds: float) -> None:
        """So much of the engine's time goes by at once, told in pieces that its timers believe."""
        for _ in range(math.ceil(seconds / _BELIEVED_SECONDS)):
            self.driver.now_ms += _BELIEVED_SECONDS * 1000
            self.give(TimePassed())

    async def until(self, holds: Callable[[], bool], what: str, windows: int = 1500) -> None:
        """Let windows pass until it holds."""
        for _ in range(windows):
            if holds():
                return
            await self.window()
        raise AssertionError(f"never: {what}\n{self.driver.transcript()}")

    def ended(self, count: int) -> bool:
        """Whether so many rollouts have ended, and all that there are."""
        return len(self.driver.rollouts) == count and all(rollout.phase in ENDED for rollout in self.driver.rollouts)

    def said(self, rollout: str) -> list[str]:
        """The reasons of a rollout, in words."""
        return [reason.text for reason in self.driver.reasons if reason.rollout == rollout]

    async def close(self) -> None:
        """End the loops."""
        for _, task in self._loops.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._loops.values()), return_exceptions=True)

    def _submit(self, target: Target) -> None:
        async def report(fact: Fact) -> None:
            self._inbox.append(fact)

        if target not in self._loops:
            loop = Reconciler(target, self._actuator(), report, pace=Pace(moving_seconds=0.05, rest_seconds=0.2))
            self._loops[target] = (loop, asyncio.create_task(loop.run()))
        self._loops[target][0].submit(*self._last[target])
