"""One target on a real repository: commands in order, and the outcomes."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.port import Outcome
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved, TargetWanted, WantedVersion
from tests.contract.actuators.git_repositories import Bare

T = TypeVar("T")
TARGET = Target("production", "shop/cart")
FILE = "overlays/production/kustomization.yaml"
TEXT = """\
# Who changes this by hand tells the release engine.
resources: [../../base]   # as everywhere

images:
  - name: cart            # the shop's cart
    newName: registry.example/shop/cart
    digest: "sha256:old"  # the engine's
  - {name: pay, digest: sha256:pay}
"""
DIGEST = Field(FILE, Locator("images[name=cart].digest"), Writes.DIGEST)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def version(number: int, weight: int, configuration: dict[str, str] | None = None, same_as: int | None = None) -> WantedVersion:
    artifact = Artifact("shop/cart", "registry.example/shop/cart", digest(same_as or number))
    return WantedVersion(f"#{number}", artifact, configuration or {}, Capacity.FULL, weight)


def wanted(*versions: WantedVersion, stable: str | None = "#1") -> TargetWanted:
    partial = any(0 < each.weight < 100 for each in versions)
    return TargetWanted(TARGET, ServiceKind.ROUTED, versions, stable, 60.0 if partial else None)


def command(
    want: TargetWanted, sequence: int, verb: Verb = Verb.SHIFT, *, over_edit: str | None = None, why: str = "the step passed"
) -> Command:
    return Command(f"production/{sequence}/0", verb, TARGET, sequence, want, why, "production/shop-cart/2", over_edit)


def run(doing: Awaitable[T]) -> T:
    async def wait() -> T:
        return await doing

    return asyncio.run(wait())


class Scene:
    """A repository, and the actuator on it. Each call opens the clone anew where ``fresh``, as after a restart elsewhere."""

    def __init__(
        self, folder: Path, *fields: Field, text: str = TEXT, weights: Weights = Weights.COMMIT, url: str | None = None, token: str = ""
    ) -> None:
        self.bare = Bare(folder / "repository", {FILE: text})
        self.place = GitPlace(
            Repository(url or f"file://{self.bare.path}", author="Release engine <release@shop.example>"), fields or (DIGEST,), weights
        )
        self._folder, self._token, self._number = folder, token, 0
        self.fresh()

    def fresh(self) -> None:
        self._number += 1
        self.actuator = GitOps(lambda target: self.place, self._folder / f"clones-{self._number}", token=self._token)

    def apply(self, want: TargetWanted, sequence: int, verb: Verb = Verb.SHIFT, *, epoch: int = 1, **more: str | None) -> Outcome:
        return run(self.actuator.apply(command(want, sequence, verb, **more), Cursor(epoch, sequence)))  # type: ignore[arg-type]

    def observe(self) -> TargetObserved:
        return run(self.actuator.observe(TARGET))

    def stable_and_candidate(self) -> None:
        self.apply(wanted(version(1, 100)), 1, Verb.PREPARE)
        self.apply(wanted(version(1, 100), version(2, 0)), 2, Verb.PREPARE)


def weights_of(seen: TargetObserved) -> dict[str, int]:
    return {each.label: each.weight for each in seen.versions}
