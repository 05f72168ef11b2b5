"""A kubelet and scheduler without nodes: every Pod is bound and given an address, and becomes what its image says.

An image whose repository ends in ``never-ready`` runs and is not ready, ``crashes`` loops at start, ``missing`` cannot
be pulled; any other is ready after ``start_seconds``. The Pod of a Job has then ended well, or has failed where its image ``crashes``; one
that is ``never-ready`` runs until ``end_runs``. Nothing is run and no address is ever dialled (10.77.0.0/16, for
EndpointSlices take no loopback addresses). It has a thread and an event loop of its own, in which alone its state is read and changed.
"""

import asyncio
import contextlib
import itertools
import threading
from types import TracebackType
from typing import Any, Self

import aiohttp

from ctrlplane_stream.actuators.kubernetes.access import Access
from ctrlplane_stream.actuators.kubernetes.api import Cluster, Conflict
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, Expired, HttpTransport, Request
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.ending import end_tasks

_NODE = "fake"
_ATTEMPTS = 50
_OVER = ("succeeded", "failed")
"""States of a Pod that nothing follows."""
_MERGE = "application/strategic-merge-patch+json"


class FakeKubelet:
    """Plays all nodes of a cluster, from ``with`` to its end. ``access`` must be an administrator's."""

    def __init__(self, access: Access, *, start_seconds: float = 0.05) -> None:
        self._access = access
        self._start_seconds = start_seconds
        self._unready: set[str] = set()
        self._ended: dict[str, str] = {}
        self._addresses = itertools.count(2)
        self._given: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._pods: dict[str, Manifest] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),), daemon=True)
        self._stop = asyncio.Event()

    def set_ready(self, deployment: str, *, ready: bool) -> None:
        """From now on the Pods of that Deployment (by its name) are ready, or run without being so."""
        self._loop.call_soon_threadsafe(self._unready.discard if ready else self._unready.add, deployment)
        self._loop.call_soon_threadsafe(self._look_again, deployment)

    def end_runs(self, cron_job: str, *, well: bool, namespace: str | None = None) -> None:
        """Let the Pods that run now of that CronJob's Jobs (named after it) end, well or not; in one namespace, or in any."""
        self._loop.call_soon_threadsafe(self._end, cron_job, "succeeded" if well else "failed", namespace)

    def kill_pods(self, deployment: str) -> None:
        """Delete the Pods of that Deployment at once, as if their nodes were gone."""
        asyncio.run_coroutine_threadsafe(self._kill(deployment), self._loop).result(10.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10.0)

    async def _main(self) -> None:
        self._transport = HttpTransport(self._access)
        self._tasks: set[asyncio.Task[None]] = set()
        async with Cluster(self._transport) as self._cluster:
            await self._register()
            watching = asyncio.create_task(self._watch())
            await self._stop.wait()
            await end_tasks([watching, *self._tasks])

    async def _register(self) -> None:
        """Make the node. Without it no Pod gets into an EndpointSlice, and the controller of those tries on for every Service, for ever."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": _NODE}}
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                if (await self._transport.send(Request("POST", "/api/v1/nodes", {}, node))).status in (201, 409):
                    return
            await asyncio.sleep(0.1)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(Expired, WorldUnreachable, aiohttp.ClientError, OSError, TimeoutError):
                pods, revision = await self._cluster.select(Kind.POD, "")
                self._pods = {}
                for pod in pods:
                    self._notice(pod)
                async for event in self._cluster.watch(Kind.POD, "", "", revision):
                    if event.type in ("ADDED", "MODIFIED"):
                        self._notice(event.object)
                    elif event.type == "DELETED":
                        self._pods.pop(event.object["metadata"]["uid"], None)
            await asyncio.sleep(0.1)

    def _notice(self, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        self._pods[uid] = pod
        due = _due(pod, "unready" if self._is_unready(pod) else self._ended.get(uid) or _behaviour(pod))
        if due is not None and self._seen.get(uid) != due:
            self._seen[uid] = due
            task = self._loop.create_task(self._act(pod, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _end(self, cron_job: str, how: str, namespace: str | None) -> None:
        for pod in self._pods.values():
            if _of(pod, cron_job) and namespace in (None, pod["metadata"]["namespace"]):
                self._ended[pod["metadata"]["uid"]] = how
        self._look_again(cron_job)

    async def _kill(self, deployment: str) -> None:
        for pod in [pod for pod in self._pods.values() if _of(pod, deployment)]:
            await self._delete(pod)

    def _look_again(self, deployment: str) -> None:
        for pod in [pod for pod in self._pods.values() if _of(pod, deployment)]:
            self._notice(pod)

    def _is_unready(self, pod: Manifest) -> bool:
        return any(_of(pod, deployment) for deployment in self._unready)

    async def _act(self, pod: Manifest, due: str) -> None:
        try:
            if due == "bind":
                await self._bind(pod)
            elif due == "delete":
                await self._delete(pod)
            else:
                await asyncio.sleep(self._start_seconds)
                await self._report(pod, due)
        except (Conflict, ApiRefused, WorldUnreachable):
            self._seen.pop(pod["metadata"]["uid"], None)

    async def _bind(self, pod: Manifest) -> None:
        metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"kind": "Node", "name": _NODE}}
        await self._send("POST", pod, "/binding", body)

    async def _delete(self, pod: Manifest) -> None:
        await self._send("DELETE", pod, "", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})

    async def _report(self, pod: Manifest, due: str) -> None:
        address = (pod.get("status") or {}).get("podIP") or self._address(pod["metadata"]["uid"])
        await self._send("PATCH", pod, "/status", {"status": _status(pod, due, address)})

    async def _send(self, method: str, pod: Manifest, subresource: str, body: Manifest) -> None:
        path = Kind.POD.path(pod["metadata"]["namespace"], pod["metadata"]["name"]) + subresource
        content = _MERGE if method == "PATCH" else "application/json"
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            reply = await self._transport.send(Request(method, path, {}, body, content))
            if reply.status not in (200, 201, 202, 404, 409):
                raise ApiRefused(reply.body[:200].decode())
            return
        self._seen.pop(pod["metadata"]["uid"], None)

    def _address(self, uid: str) -> str:
        """A Pod's own, also while we have not heard yet that we reported it: a second one would be refused."""
        if uid not in self._given:
            number = next(self._addresses)
            self._given[uid] = f"10.77.{number // 250 % 250}.{number % 250 + 1}"
        return self._given[uid]


def _due(pod: Manifest, wanted: str) -> str | None:
    """What is to be done for a Pod: ``bind``, ``delete``, the state ``wanted`` to report, or None."""
    if pod["metadata"].get("deletionTimestamp"):
        return "delete"
    if not pod["spec"].get("nodeName"):
        return "bind"
    return None if _state(pod) in (wanted, *_OVER) else wanted


def _behaviour(pod: Manifest) -> str:
    repositories = [str(container["image"]).partition("@")[0] for container in pod["spec"]["containers"]]
    found = next((each for each in ("never-ready", "crashes", "missing") if any(name.endswith(each) for name in repositories)), "ready")
    is_run = any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences") or [])
    return {"ready": "succeeded", "crashes": "failed"}.get(found, found) if is_run else found


def _state(pod: Manifest) -> str | None:
    return str((pod.get("status") or {}).get("message")) if (pod.get("status") or {}).get("podIP") else None


def _of(pod: Manifest, deployment: str) -> bool:
    """Whether the Pod was made by a ReplicaSet of that Deployment."""
    owners = [str(owner["name"]) for owner in pod["metadata"].get("ownerReferences") or []]
    return any(owner.rpartition("-")[0] == deployment for owner in owners)


def _status(pod: Manifest, state: str, address: str) -> dict[str, Any]:
    ready = "True" if state == "ready" else "False"
    waiting = {"crashes": "CrashLoopBackOff", "missing": "ImagePullBackOff"}.get(state)
    now: Manifest = {"waiting": {"reason": waiting, "message": f"the image says so: {state}"}} if waiting else {"running": {}}
    if state in _OVER:
        now = {"terminated": {"exitCode": 0 if state == "succeeded" else 1, "reason": "Completed" if state == "succeeded" else "Error"}}
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "ready": ready == "True",
            "restartCount": 3 if state == "crashes" else 0,
            "state": now,
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")] + [{"type": "PodScheduled", "status": "True"}]
    phase = {"missing": "Pending", "succeeded": "Succeeded", "failed": "Failed"}.get(state, "Running")
    return {
        "phase": phase,
        "message": state,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
        "containerStatuses": containers,
    }
