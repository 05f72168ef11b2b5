"""The Kubernetes actuator keeps the contract of the port, on a real API server, with its least rights, by each of its ways."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.names import slug, version_name
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.local.control_plane.scene import adopting, artifact, job_template, route, routed_place, running, template
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from tests.contract.actuators.git_repositories import Bare

_IMAGE = {Behaviour.WELL: "well", Behaviour.NEVER_READY: "never-ready", Behaviour.CRASHES: "crashes"}
_START_SECONDS = 1.5
_LOOK_SECONDS = 0.05
_LEAST_SECONDS = 0.5
_PODS = 4
SHARED_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "contract"},
    "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


class KubernetesWorld:
    """The actuator over the session's cluster, by a route. Its clock goes ahead of ours by the time that clauses let pass."""

    lease_seconds = 30.0
    granularity = 1
    kind = ServiceKind.ROUTED

    def __init__(self, lab, namespace: str, cluster) -> None:
        self._lab, self._namespace, self._later = lab, namespace, 0.0
        self._adopting: set[Target] = set()
        self.actuator = self.by_hand = Kubernetes(self.place, lambda _: cluster, clock=lambda: time.time() + self._later)

    def place(self, target: Target) -> Place:
        place = self._made_at(target)
        return adopting(place) if target in self._adopting else place

    def _made_at(self, target: Target) -> Place:
        return routed_place(self._namespace, target.service, route_name="contract")

    async def run_before_us(self, target: Target, artifact: Artifact) -> None:
        deployment = running(self._made_at(target).full)
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = str(artifact)
        await asyncio.to_thread(self._lab.apply, [deployment], self._namespace)
        self._adopting.add(target)
        async with self._lab.admin() as admin, asyncio.timeout(30.0):
            while not ((await admin.get(Kind.DEPLOYMENT, self._namespace, "cart")).get("status") or {}).get("readyReplicas"):
                await asyncio.sleep(_LOOK_SECONDS)

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return artifact(service, number, _IMAGE[behaviour])

    async def pass_time(self, seconds: float) -> None:
        """A second is for the cluster, to do what it should not; more than that is only for our clock."""
        slept = min(seconds, _LEAST_SECONDS if seconds <= 1 else _LOOK_SECONDS)
        await asyncio.sleep(slept)
        self._later += seconds - slept

    async def kill(self, target: Target, label: str) -> None:
        """The Pods are gone at once, and those that replace them take a while to start: long enough to be seen."""
        deployment, kubelet = version_name(slug(target.service), label), self._lab.kubelet
        kubelet.set_ready(deployment, ready=False)
        await asyncio.to_thread(kubelet.kill_pods, deployment)
        asyncio.get_running_loop().call_later(_START_SECONDS, lambda: kubelet.set_ready(deployment, ready=True))

    async def restart(self) -> None:
        self._lab.plane.kill_api_server()
        self._lab.plane.start_api_server()  # From the main thread: a child dies with the thread that started it.


class BehindService(KubernetesWorld):
    """Shares of four Pods behind one Service."""

    granularity = 100 / _PODS

    def _made_at(self, target: Target) -> Place:
        return Place(self._namespace, slug(target.service), template(_PODS), full=_PODS, service="contract")


class AsConsumer(KubernetesWorld):
    """Shares of three Pods that take work from a queue, none of which is a whole percent."""

    granularity = 100 / 3
    kind = ServiceKind.CONSUMER

    def _made_at(self, target: Target) -> Place:
        return Place(self._namespace, slug(target.service), template(3), full=3)


class AsJob(KubernetesWorld):
    """Runs of a CronJob, all of them or none. It has no instances that start before a run does."""

    granularity = 100
    kind = ServiceKind.JOB
    sees_instances = False
    run_before_us = None

    def _made_at(self, target: Target) -> Place:
        return Place(self._namespace, slug(target.service), job_template())


class BesideRepository(KubernetesWorld):
    """By a route, while commits declare the versions."""

    def __init__(self, lab, namespace: str, cluster, repository: Path, folder: Path) -> None:
        super().__init__(lab, namespace, cluster)
        self._repository = repository
        self.actuator = self.by_hand = WithCluster(GitOps(self._declared, folder), self.actuator)

    def _declared(self, target: Target) -> GitPlace:
        field = Field("versions.yaml", Locator(target.service.partition("/")[2]), Writes.DIGEST)
        return GitPlace(Repository(f"file://{self._repository}"), (field,), Weights.CLUSTER)


class _OnTheCluster(ActuatorContract):
    """A namespace for each clause, with a route and a Service in it."""

    world = KubernetesWorld

    @pytest.fixture(autouse=True)
    def _namespace(self, lab) -> None:
        self.lab, self.namespace = lab, lab.namespace()
        lab.apply([route("contract", ["main"]), SHARED_SERVICE], self.namespace)

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with self.lab.product() as cluster:
            yield self.world(self.lab, self.namespace, cluster)


def only(*clauses: str):
    """Plays these clauses: in all others what is played is the code of another class here, and takes minutes."""

    def chosen(of: type[_OnTheCluster]) -> type[_OnTheCluster]:
        assert set(clauses) <= set(dir(of)), sorted(set(clauses) - set(dir(of)))
        for name in dir(of):
            if name.startswith("test_") and name not in clauses:
                setattr(of, name, None)
        return of

    return chosen


class TestByRoute(_OnTheCluster):
    pass


class TestBehindService(_OnTheCluster):
    world = BehindService
    test_a_restarted_world_goes_on = None  # What that needs is the same by whatever weight moves.


@only(
    "test_a_prepared_candidate_is_ready_without_weight",
    "test_weight_moves_to_what_is_ready",
    "test_how_coarse_its_shares_are_the_world_says",
    "test_a_killed_instance_comes_back",
    "test_a_drained_version_is_parked_and_comes_back",
    "test_a_lease_that_nobody_renews_ends_on_stable",
    "test_a_lease_is_of_the_weights_in_force_and_not_of_the_wish",
    "test_broken_glass_ends_on_stable_at_once",
)
class TestAsConsumer(_OnTheCluster):
    world = AsConsumer


class TestAsJob(_OnTheCluster):
    world = AsJob
    test_a_restarted_world_goes_on = None


class TestBesideRepository(_OnTheCluster):
    test_a_restarted_world_goes_on = None

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def bare(cls, tmp_path_factory):
        cls.folder = tmp_path_factory.mktemp("gitops")
        names = [name.removeprefix("test_").replace("_", "-") for name in dir(ActuatorContract) if name.startswith("test_")]
        cls.repository = Bare(cls.folder / "repository", {"versions.yaml": "".join(f"{name}: none\n" for name in names)})

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with self.lab.product() as cluster:
            world = BesideRepository(self.lab, self.namespace, cluster, self.repository.path, self.folder / "clones")
            yield world
            await world.actuator.close()
