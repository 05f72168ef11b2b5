"""Plays plans side by side and holds each against the undisturbed run of its script."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.control_plane.sweep.plans import (
    KILLS,
    Course,
    Fault,
    Plan,
    by_turns,
    gap_of,
    gap_plans,
    missing_plan_of,
    plan_of,
)
from ctrlplane_stream.local.control_plane.sweep.record import left
from ctrlplane_stream.local.control_plane.sweep.trial import Result, prepare, trial
from ctrlplane_stream.local.control_plane.sweep.ways import Way

_ATTEMPTS = 6
Script = tuple[Way, bool]
"""A way, and whether it promotes."""


class Covered(msgspec.Struct, frozen=True):
    """Gaps between two writes of a script: in how many the actuator was killed, in how many anything struck, and how many there are."""

    course: Course
    killed: int
    struck: int

    @property
    def gaps(self) -> int:
        """Before the first write, between any two, and after the last."""
        return len(self.course.spots) + 1


class Sweep:
    """Plans on one cluster. ``report`` gets each result as it comes; no plan begins after ``seconds``."""

    def __init__(self, lab: Lab, report: Callable[[Result], None] = lambda _: None, seconds: float = math.inf) -> None:
        self._lab = lab
        self._report = report
        self._until = time.monotonic() + seconds
        self._undisturbed: dict[Script, Result] = {}
        self.left = 0
        """Plans that were not begun in time."""

    async def play(
        self,
        numbers: Iterable[int],
        at_once: int,
        missing: Iterable[int] = (),
        gaps: slice = slice(0),
        ways: Sequence[Way] = tuple(Way),
        played: Sequence[Result] = (),
    ) -> list[Result]:
        """The results, sorted by number. AssertionError where even an undisturbed run goes wrong.

        ``missing`` are the numbers of plans besides in which watches miss events, ``gaps`` says which of the kills in every gap are played;
        what is among ``played`` and went right is not played again.
        """
        await self._play_undisturbed({(way, promotes) for way in ways for promotes in (False, True)})
        plans = [plan_of(number, self.courses, ways) for number in numbers]
        plans += [missing_plan_of(number, self.courses, ways) for number in missing]
        return await self._play(left([*plans, *by_turns(gap_plans(self.courses)[gaps])], played, self.courses), at_once)

    async def play_these(self, plans: Sequence[Plan], at_once: int) -> list[Result]:
        """The results of plans of one's own."""
        await self._play_undisturbed({(plan.way, plan.promotes) for plan in plans})
        return await self._play(plans, at_once)

    @property
    def courses(self) -> dict[Script, Course]:
        """What the undisturbed run of each script that was played does."""
        return {script: Course(*script, result.requests, result.spots) for script, result in sorted(self._undisturbed.items())}

    def covered(self, results: Iterable[Result]) -> list[Covered]:
        """The gaps of each script in which results struck."""
        found = list(results)
        return [self._covered(course, found) for course in self.courses.values()]

    def _covered(self, course: Course, results: list[Result]) -> Covered:
        of_script = [r for r in results if r.struck and (r.plan.way, r.plan.promotes) == (course.way, course.promotes)]
        cuts = [r.plan for r in of_script if r.plan.fault in (*KILLS, Fault.ZOMBIE, Fault.LOST_ANSWER)]
        killed = {gap_of(plan, course) for plan in cuts if plan.fault in KILLS}
        return Covered(course, len(killed - {None}), len({gap_of(plan, course) for plan in cuts} - {None}))

    async def _play_undisturbed(self, scripts: Iterable[Script]) -> None:
        new = sorted(set(scripts) - set(self._undisturbed))
        played = await asyncio.gather(*(self._one(Plan(-1, Fault.NONE, way=way, promotes=promotes)) for way, promotes in new))
        for script, result in zip(new, played, strict=True):
            assert not result.problems, result.problems
            self._undisturbed[script] = result

    async def _play(self, plans: Sequence[Plan], at_once: int) -> list[Result]:
        """Restarts of the API server first and alone, for everybody would notice; all others side by side."""
        places = asyncio.Semaphore(at_once)

        async def one(plan: Plan) -> Result | None:
            async with places:
                return await self._held(plan) if time.monotonic() < self._until else None

        alone = [await one(plan) for plan in plans if plan.fault is Fault.RESTART]
        beside = await asyncio.gather(*(one(plan) for plan in plans if plan.fault is not Fault.RESTART))
        results = [each for each in (*alone, *beside) if each is not None]
        self.left += len(plans) - len(results)
        return sorted(results, key=lambda result: result.plan.number)

    async def _held(self, plan: Plan) -> Result:
        """The result, held against the undisturbed run."""
        result = await self._one(plan)
        there = self._undisturbed[plan.way, plan.promotes].ending
        if not result.problems and result.ending != there:
            differs = [f"{key}: {result.ending[key]} instead of {was}" for key, was in there.items() if result.ending[key] != was]
            result = msgspec.structs.replace(result, problems=("ended elsewhere: " + "; ".join(differs),))
        self._report(result)
        return result

    async def _one(self, plan: Plan) -> Result:
        namespace = await self._prepared(plan.way)
        return await trial(self._lab, plan, namespace, self._restart)

    async def _prepared(self, way: Way) -> str:
        """A namespace, as soon as the cluster answers. Raises ChildFailed where a part of it has ended, and WorldUnreachable."""
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(WorldUnreachable):
                return await asyncio.to_thread(prepare, self._lab, way)
            self._lab.plane.look()
        return await asyncio.to_thread(prepare, self._lab, way)

    async def _restart(self) -> None:
        """In the main thread, which lives as long as the children must."""
        self._lab.plane.kill_api_server()
        self._lab.plane.start_api_server()
