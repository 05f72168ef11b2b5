"""Runs of a job as real processes: one after another, counted, and never ended for another version."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.local.host.jobs import JobStaffing
from ctrlplane_stream.local.host.settings import HostSettings
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, TargetWanted, WantedVersion

REPORT = Target("demo", "shop/report")
PROGRAM = """
import os, time
while not os.path.exists(os.environ["CONFIG_UNTIL"]):
    time.sleep(0.01)
raise SystemExit(int(open(os.environ["CONFIG_UNTIL"]).read() or 0))
"""
_PATIENCE_SECONDS = 20.0


class Office:
    """The staffing of one job in a folder; each version's runs end when its file is there, with the status that it holds."""

    def __init__(self, folder: Path, job_seconds: float = 0.0) -> None:
        self.folder = folder
        settings = HostSettings(folder, program=(sys.executable, "-I", "-S", "-c", PROGRAM), job_seconds=job_seconds, grace_seconds=5.0)
        self.staffing = JobStaffing(REPORT, settings, dict)
        self.ledger = Ledger()

    def want(self, parked: tuple[str, ...] = (), **weights: int) -> None:
        """Versions ``v1`` … with their weights."""
        versions = tuple(
            WantedVersion(
                f"#{name[1:]}",
                Artifact("shop/report", "registry.example/report", f"sha256:{int(name[1:]):064x}"),
                {"until": str(self.folder / name)},
                Capacity.PARKED if name in parked else Capacity.FULL,
                weight,
            )
            for name, weight in weights.items()
        )
        goal = {version.label: version.weight for version in versions}
        self.ledger = Ledger(wanted=TargetWanted(REPORT, ServiceKind.JOB, versions, "#1"), goal=goal, weights=self.ledger.weights)

    def end(self, name: str, status: int = 0) -> None:
        """Let the runs of a version end."""
        (self.folder / name).write_text(str(status))

    def counted(self, label: str) -> Counted:
        """What is counted of a version after one more look."""
        self.ledger = self.staffing.converge(self.ledger)
        return self.staffing.counted(self.ledger)[label]

    async def until(self, label: str, holds: Callable[[Counted], bool]) -> Counted:
        """Look until it holds."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not holds(counted := self.counted(label)):
            assert time.monotonic() < deadline, counted
            await asyncio.sleep(0.01)
        return counted


def test_runs_follow_each_other_and_are_counted_by_whoever_comes_next_on_the_folder(tmp_path: Path) -> None:
    async def play() -> None:
        office = Office(tmp_path)
        office.end("v1")
        office.want(v1=100)
        ran = await office.until("#1", lambda c: c.runs >= 2)
        await office.staffing.end()
        assert (ran.instances, ran.ready, ran.failure) == (1, 1, None)
        again = Office(tmp_path)
        again.want(v1=0)
        assert again.counted("#1").runs >= 2

    asyncio.run(play())


def test_a_run_that_fails_is_shown_until_one_ends_well_or_the_version_is_parked(tmp_path: Path) -> None:
    async def play() -> None:
        office = Office(tmp_path)
        office.end("v2", status=3)
        office.want(v1=0, v2=100)
        failed = await office.until("#2", lambda c: c.failure is not None)
        assert (failed.failure, failed.runs) == ("a run failed: exit 3", 0)
        office.end("v2")
        await office.until("#2", lambda c: c.failure is None and c.runs > 0)
        office.end("v2", status=1)
        await office.until("#2", lambda c: c.failure is not None)
        office.want(v1=100, v2=0, parked=("v2",))
        assert office.counted("#2").failure is None
        await office.staffing.end()

    asyncio.run(play())


def test_a_run_under_way_goes_on_when_the_weight_moves_and_the_next_waits_for_it(tmp_path: Path) -> None:
    async def play() -> None:
        office = Office(tmp_path)
        office.want(v1=100, v2=0)
        await office.until("#1", lambda c: c.running == 1)
        office.end("v2")
        office.want(v1=0, v2=100)
        assert (office.counted("#1").running, office.counted("#2").runs) == (1, 0)
        office.end("v1")
        await office.until("#2", lambda c: c.runs >= 1)
        assert office.counted("#1").runs == 1
        await office.staffing.end()

    asyncio.run(play())


def test_a_run_of_a_version_that_is_parked_is_ended_and_not_counted(tmp_path: Path) -> None:
    async def play() -> None:
        office = Office(tmp_path)
        office.want(v1=100)
        await office.until("#1", lambda c: c.running == 1)
        [pid] = office.staffing.pids()["#1"]
        office.want(v1=0, parked=("v1",))
        assert (office.counted("#1").running, office.counted("#1").runs) == (0, 0)
        await office.staffing.end()
        assert not Path(f"/proc/{pid}").exists()

    asyncio.run(play())


def test_between_two_runs_the_schedule_is_waited_for(tmp_path: Path) -> None:
    async def play() -> None:
        office = Office(tmp_path, job_seconds=3600)
        office.end("v1")
        office.want(v1=100)
        await office.until("#1", lambda c: c.runs == 1)
        assert office.counted("#1").running == 0
        assert office.counted("#1").running == 0
        await office.staffing.end()

    asyncio.run(play())
