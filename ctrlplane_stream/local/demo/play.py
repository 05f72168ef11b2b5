"""Plays the demo from set-up to report."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka.errors import KafkaError
from rich.console import Console

from ctrlplane_stream.local.demo.act import Act, play
from ctrlplane_stream.local.demo.audience import NotSeen
from ctrlplane_stream.local.demo.first_acts import FIRST_ACTS
from ctrlplane_stream.local.demo.machine import overload
from ctrlplane_stream.local.demo.outage_acts import OUTAGE_ACTS
from ctrlplane_stream.local.demo.release_acts import RELEASE_ACTS
from ctrlplane_stream.local.demo.report import ActReport, DemoReport
from ctrlplane_stream.local.demo.screen import Screen
from ctrlplane_stream.local.demo.setting import demo_policy, differences
from ctrlplane_stream.local.demo.stage import Stage, open_stage
from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.processes import ChildFailed
from ctrlplane_stream.wire.kafka_clients import NoBroker

ALL_ACTS: tuple[Act, ...] = (*FIRST_ACTS, *RELEASE_ACTS, *OUTAGE_ACTS)


def chosen_acts(names: str) -> tuple[Act, ...]:
    """The acts that a comma-separated list names: ``short``, ``all``, or acts by name. ValueError for an unknown name."""
    if names in ("", "short"):
        return FIRST_ACTS
    if names == "all":
        return ALL_ACTS
    by_name = {act.name: act for act in ALL_ACTS}
    unknown = [n for n in names.split(",") if n not in by_name]
    if unknown:
        raise ValueError(f"there is no act {', '.join(unknown)}; acts are {', '.join(by_name)}")
    return tuple(by_name[n] for n in names.split(","))


AtEnd = Callable[[DemoReport, Stage], Awaitable[None]]


async def play_demo(
    acts: tuple[Act, ...], kafka: EmbeddedKafka | NamedKafka, folder: Path, console: Console, began: float, at_end: AtEnd, build: str
) -> DemoReport:
    """Set everything up, play the acts one after the other, report, and take everything down.

    ``began`` is a monotonic time; ``at_end`` is given the report, which names ``build``, while everything still runs.
    """
    async with open_stage(kafka, folder) as stage, _deaths_named(stage):
        screen, opened_at = Screen(console, stage.audience), time.time()
        async with screen.showing():
            screen.title("set-up: the first version of every service")
            await _set_up(stage)
            ready = time.monotonic()
            reports = [await _played(act, stage, screen) for act in acts]
        report = DemoReport(
            build=build,
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            kept=all(report.kept for report in reports),
            setup_seconds=ready - began,
            acts_seconds=time.monotonic() - ready,
            policy_differences={name: {"default": default, "demo": here} for name, (default, here) in differences(demo_policy()).items()},
            acts=tuple(reports),
            machine=stage.machine.between(opened_at, time.time(), stage.requests()),
        )
        await at_end(report, stage)
    return report


async def _set_up(stage: Stage) -> None:
    """NotSeen where it is not done in time, with what the machine did meanwhile where that is why."""
    began = time.time()
    try:
        await stage.set_up()
    except NotSeen as missing:
        said = overload(stage.machine.between(began, time.time(), stage.requests()))
        raise NotSeen(f"{missing}; {said}" if said is not None else str(missing)) from None


@asynccontextmanager
async def _deaths_named(stage: Stage) -> AsyncIterator[None]:
    """ChildFailed with the last words of whatever died, where the broker cannot be reached; else what was raised: it is not ours."""
    try:
        yield
    except (KafkaError, NoBroker) as error:
        if troubles := await stage.deaths():
            raise ChildFailed("; ".join(troubles)) from error
        raise


async def _played(act: Act, stage: Stage, screen: Screen) -> ActReport:
    screen.title(f"{act.name}: {act.promise}")
    return await play(act, stage)
