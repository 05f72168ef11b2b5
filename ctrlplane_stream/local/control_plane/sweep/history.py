"""Every moment of a namespace as an independent observer has it.

Route and Deployments, or CronJobs and their Jobs, and the memory are watched with an administrator's token. Revisions of one cluster are
one sequence, so sorting the events by revision gives what was true at every moment, across kinds; ``replay`` or ``replay_runs`` judges it.
"""

import asyncio

import aiohttp

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest, name_of, revision_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, Expired
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.local.control_plane.scene import RARELY
from ctrlplane_stream.local.control_plane.sweep.moments import Moment
from ctrlplane_stream.local.control_plane.sweep.replay import Replay
from ctrlplane_stream.local.control_plane.sweep.replay_runs import RunsReplay

_LOST = (ApiRefused, WorldUnreachable, aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""Refused is a watch, too, by a server that was just started and whose caches are not filled yet (429)."""


_POD = {"containers": [{"name": "mark", "image": "registry.example/mark"}]}
_RUN = {**_POD, "restartPolicy": "Never"}
_MARKS: dict[Kind, Manifest] = {
    Kind.HTTP_ROUTE: {
        "apiVersion": Kind.HTTP_ROUTE.api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": "mark"},
        "spec": {"parentRefs": [{"name": "gateway"}]},
    },
    Kind.DEPLOYMENT: {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mark"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "mark"}},
            "template": {"metadata": {"labels": {"app": "mark"}}, "spec": _POD},
        },
    },
    Kind.CONFIG_MAP: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mark"}},
    Kind.CRON_JOB: {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "mark"},
        "spec": {"schedule": RARELY, "suspend": True, "jobTemplate": {"spec": {"template": {"spec": _RUN}}}},
    },
    Kind.JOB: {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "mark"},
        "spec": {"suspend": True, "template": {"spec": _RUN}},
    },
}
"""An object of each kind that is watched: nobody's, so that whoever sees it made has seen all before it."""


class History:
    """The events of a place, from ``async with`` on."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        self._cluster = cluster
        self._place = place
        self._kinds = _kinds(place)
        self.moments: dict[tuple[int, str], Moment] = {}

    async def __aenter__(self) -> "History":
        opened = {kind: asyncio.Event() for kind in self._kinds}
        self._tasks = [asyncio.create_task(self._watch(kind, event)) for kind, event in opened.items()]
        await asyncio.gather(*(event.wait() for event in opened.values()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_tasks(self._tasks)

    def violations(self) -> list[str]:
        """Every breach of an invariant, in its order; empty where all is well."""
        found: list[str] = []
        replay = RunsReplay(self._place) if Kind.JOB in self._kinds else Replay(self._place)
        for moment in sorted(self.moments.values(), key=lambda each: each.revision):
            found += [f"at revision {moment.revision}: {said}" for said in replay.step(moment)]
        return found

    async def caught_up(self) -> None:
        """Wait until what has happened by now was seen: a mark of each kind is made, and waited for."""
        for kind in self._kinds:
            made = int(revision_of(await self._cluster.create(kind, self._place.namespace, _MARKS[kind])))
            while not any(moment.revision >= made and moment.kind is kind for moment in self.moments.values()):
                for ended in (task for task in self._tasks if task.done()):
                    ended.result()  # It raises what it ended of: nobody sees anything any more.
                await asyncio.sleep(0.02)

    async def _watch(self, kind: Kind, opened: asyncio.Event) -> None:
        revision: str | None = None
        while True:
            try:
                if revision is None:
                    objects, revision = await self._cluster.select(kind, self._place.namespace)
                    for each in objects:
                        self._note(kind, each, gone=False)
                async for event in self._cluster.watch(kind, self._place.namespace, "", revision):
                    if event.type == "OPENED":
                        opened.set()
                        continue
                    revision = revision_of(event.object)
                    if event.type != "BOOKMARK":
                        self._note(kind, event.object, gone=event.type == "DELETED")
            except Expired:
                revision = None
            except _LOST:
                await asyncio.sleep(0.05)

    def _note(self, kind: Kind, each: Manifest, *, gone: bool) -> None:
        moment = Moment(int(revision_of(each)), kind, each, gone)
        self.moments[moment.revision, name_of(each)] = moment


def _kinds(place: Place) -> tuple[Kind, ...]:
    if place.workload is Kind.CRON_JOB:
        return (Kind.CRON_JOB, Kind.JOB, Kind.CONFIG_MAP)
    return (Kind.HTTP_ROUTE, Kind.DEPLOYMENT, Kind.CONFIG_MAP)
