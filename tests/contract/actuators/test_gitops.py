"""The GitOps actuator keeps the contract as far as commits go, on a real bare repository served by git itself."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ctrlplane_stream.actuators.contract import ActuatorContract, Behaviour, World
from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.model.identity import Artifact, Target
from tests.contract.actuators.git_repositories import Bare

_CLAUSES = [name for name in dir(ActuatorContract) if name.startswith("test_")]
_FILE = "images: # one file for every target of the contract\n" + "".join(
    f"- {{name: {name.removeprefix('test_').replace('_', '-')}, digest: 'sha256:before'}}\n" for name in _CLAUSES
)


class GitWorld:
    """The actuator over a repository: all of the traffic or none, and no instance to be seen."""

    lease_seconds = 5.0
    granularity = 100
    sees_instances = False

    def __init__(self, repository: Path, folder: Path) -> None:
        self._repository, self._folder, self._later = repository, folder, 0.0
        self.actuator = self.by_hand = self._made()

    def _made(self) -> GitOps:
        return GitOps(self._place, self._folder, clock=lambda: time.time() + self._later)

    def _place(self, target: Target) -> GitPlace:
        name = target.service.partition("/")[2]
        field = Field("kustomization.yaml", Locator(f"images[name={name}].digest"), Writes.DIGEST)
        return GitPlace(Repository(f"file://{self._repository}"), (field,), Weights.COMMIT)

    def artifact(self, service: str, behaviour: Behaviour, number: int) -> Artifact:
        return Artifact(service, "registry.example/any", f"sha256:{number:064x}")

    async def pass_time(self, seconds: float) -> None:
        self._later += seconds

    async def kill(self, target: Target, label: str) -> None:
        raise AssertionError("there are no instances here")

    async def restart(self) -> None:
        await self.actuator.close()
        self.actuator = self.by_hand = self._made()


class TestGitOps(ActuatorContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def bare(cls, tmp_path_factory):
        cls.folder = tmp_path_factory.mktemp("gitops")
        cls.repository = Bare(cls.folder / "repository", {"kustomization.yaml": _FILE})

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        world = GitWorld(self.repository.path, self.folder / "clones")
        yield world
        await world.actuator.close()
