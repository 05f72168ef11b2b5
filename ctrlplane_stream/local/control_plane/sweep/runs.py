"""The runs of a job beside the script: begun as its schedule would, and ended when the script says so.

A run of stable is under way while the weight moves, so that the candidate must wait for it, and is counted all the same. One of the
candidate is under way at the end of that; where the script aborts it ends well after the abort, and another is ended by parking.
"""

import asyncio
import contextlib

import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster, Conflict
from ctrlplane_stream.actuators.kubernetes.names import version_name
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.local.control_plane.kubelet import FakeKubelet
from ctrlplane_stream.local.control_plane.scene import run_of
from ctrlplane_stream.local.control_plane.sweep.ways import Way

_ONE, _TWO = "#1", "#2"


class Begin(msgspec.Struct, frozen=True):
    """A run of a version begins, the ``nth`` of it (from 0)."""

    version: str
    nth: int = 0


class Finish(msgspec.Struct, frozen=True):
    """The run of a version that is under way ends well; it is waited for that ``counted`` of that version are."""

    version: str
    counted: int = 1


Happening = Begin | Finish


def happenings(way: Way, *, promotes: bool) -> dict[int, tuple[Happening, ...]]:
    """What happens once the command of a sequence is carried out, in its order."""
    if way is not Way.JOB:
        return {}
    handed_over = (Finish(_ONE), Begin(_TWO))
    if promotes:
        return {20: (Begin(_ONE),), 50: (*handed_over, Finish(_TWO))}
    return {20: (Begin(_ONE),), 50: handed_over, 60: (Finish(_TWO), Begin(_TWO, 1))}


class Schedule:
    """Begins and ends runs at a place; ``admin`` may do everything there."""

    def __init__(self, admin: Cluster, kubelet: FakeKubelet, place: Place) -> None:
        self._admin = admin
        self._kubelet = kubelet
        self._place = place

    async def begin(self, run: Begin) -> None:
        """Begin it, and wait until its Pod runs. The caller's time limit is its own."""
        namespace, of = self._place.namespace, version_name(self._place.slug, run.version)
        cron_job = await self._admin.get(Kind.CRON_JOB, namespace, of)
        assert cron_job is not None, f"there is no CronJob {of}"
        name = f"{of}-{run.nth}"
        with contextlib.suppress(Conflict):  # Its answer was lost, where the API server was restarted.
            await self._admin.create(Kind.JOB, namespace, run_of(cron_job, name))
        while not any((pod.get("status") or {}).get("phase") == "Running" for pod in await self._pods(name)):
            await asyncio.sleep(0.05)

    def end(self, version: str) -> None:
        """Let the Pods of a version's runs end well."""
        self._kubelet.end_runs(version_name(self._place.slug, version), well=True, namespace=self._place.namespace)

    async def _pods(self, job: str) -> tuple[Manifest, ...]:
        found, _ = await self._admin.select(Kind.POD, self._place.namespace, f"batch.kubernetes.io/job-name={job}")
        return found
