"""Plays plans side by side and holds each against the undisturbed run of its script."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.local.control_plane.lab import Lab
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan, missing_plan_of, plan_of
from ctrlplane_stream.local.control_plane.sweep.trial import Result, prepare, trial


class Sweep:
    """Plans on one cluster. ``report`` gets each result as it comes."""

    def __init__(self, lab: Lab, report: Callable[[Result], None] = lambda _: None) -> None:
        self._lab = lab
        self._report = report
        self._endings: dict[bool, Manifest] = {}

    async def play(self, numbers: Iterable[int], at_once: int, missing: Iterable[int] = ()) -> list[Result]:
        """The results, in the order of the numbers. AssertionError where even an undisturbed run goes wrong.

        ``missing`` are the numbers of plans besides in which watches miss events.
        """
        runs = await self._undisturbed_runs()
        requests, writes = min(run.requests for run in runs), min(run.writes for run in runs)
        plans = [plan_of(number, requests, writes) for number in numbers]
        return await self._play([*plans, *(missing_plan_of(number, 2 * writes) for number in missing)], at_once)

    async def play_these(self, plans: Iterable[Plan], at_once: int) -> list[Result]:
        """The results of plans of one's own."""
        await self._undisturbed_runs()
        return await self._play(list(plans), at_once)

    async def _undisturbed_runs(self) -> list[Result]:
        return [await self._undisturbed(promotes) for promotes in (False, True)]

    async def _play(self, plans: list[Plan], at_once: int) -> list[Result]:
        """Restarts of the API server alone, for everybody would notice; all others side by side."""
        places = asyncio.Semaphore(at_once)

        async def one(plan: Plan) -> Result:
            async with places:
                return await self._one(plan)

        beside = await asyncio.gather(*(one(plan) for plan in plans if plan.fault is not Fault.RESTART))
        alone = [await self._one(plan) for plan in plans if plan.fault is Fault.RESTART]
        return sorted([*beside, *alone], key=lambda result: result.plan.number)

    async def _undisturbed(self, promotes: bool) -> Result:
        namespace = await asyncio.to_thread(prepare, self._lab)
        result = await trial(self._lab, Plan(-1, Fault.NONE, -1, at_write=False, length=0, promotes=promotes), namespace, self._restart)
        assert not result.problems, result.problems
        self._endings[promotes] = result.ending
        return result

    async def _one(self, plan: Plan) -> Result:
        namespace = await asyncio.to_thread(prepare, self._lab)
        result = await trial(self._lab, plan, namespace, self._restart)
        if not result.problems and result.ending != self._endings[plan.promotes]:
            there = self._endings[plan.promotes]
            differs = [f"{key}: {result.ending[key]} instead of {was}" for key, was in there.items() if result.ending[key] != was]
            result = msgspec.structs.replace(result, problems=("ended elsewhere: " + "; ".join(differs),))
        self._report(result)
        return result

    async def _restart(self) -> None:
        """In the main thread, which lives as long as the children must."""
        self._lab.plane.kill_api_server()
        self._lab.plane.start_api_server()
