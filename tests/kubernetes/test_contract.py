"""The Kubernetes actuator keeps the contract of the port, on a real API server, with its least rights."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.names import slug, version_name
from ctrlplane_stream.local.control_plane.scene import artifact, route, routed_place
from ctrlplane_stream.model.identity import Artifact, Target

_IMAGE = {Behaviour.WELL: "well", Behaviour.NEVER_READY: "never-ready", Behaviour.CRASHES: "crashes"}


_START_SECONDS = 3.0


class KubernetesWorld:
    """The actuator over the session's cluster."""

    lease_seconds = 3.0

    def __init__(self, lab, namespace: str, cluster) -> None:
        self._lab = lab
        self.actuator = self.by_hand = Kubernetes(
            lambda target: routed_place(namespace, target.service, route_name="contract"), lambda _: cluster
        )

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return artifact(service, number, _IMAGE[behaviour])

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def kill(self, target: Target, label: str) -> None:
        """The Pods are gone at once, and those that replace them take a while to start: long enough to be seen."""
        deployment, kubelet = version_name(slug(target.service), label), self._lab.kubelet
        kubelet.set_ready(deployment, ready=False)
        await asyncio.to_thread(kubelet.kill_pods, deployment)
        asyncio.get_running_loop().call_later(_START_SECONDS, lambda: kubelet.set_ready(deployment, ready=True))

    async def restart(self) -> None:
        self._lab.plane.kill_api_server()
        self._lab.plane.start_api_server()  # From the main thread: a child dies with the thread that started it.


class TestKubernetes(ActuatorContract):
    @pytest.fixture(autouse=True)
    def _world(self, lab) -> None:
        self.lab, self.namespace = lab, lab.namespace()
        lab.apply([route("contract", ["main"])], self.namespace)

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with self.lab.product() as cluster:
            yield KubernetesWorld(self.lab, self.namespace, cluster)
