"""The actuator as a worker has it: the placement file, clones in a cache folder, and the cluster's side where one is named."""

from collections.abc import Mapping
from pathlib import Path

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import GitPlacementError, GitPlacements, Weights, read_git_placements
from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.port import Outcome
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved
from ctrlplane_stream.settings import Settings


class PlacedGitOps:
    """The actuator over everything that a placement file names: each target by commits alone, or beside its cluster."""

    name = "gitops"

    def __init__(self, placements: GitPlacements, git: GitOps, beside: WithCluster | None) -> None:
        self._placements = placements
        self._git = git
        self._beside = beside

    async def observe(self, target: Target) -> TargetObserved:
        """See the port."""
        return await self._of(target).observe(target)

    async def apply(self, command: Command, cursor: Cursor) -> Outcome:
        """See the port."""
        return await self._of(command.target).apply(command, cursor)

    async def edit(self, target: Target, weights: Mapping[str, int], who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return await self._of(target).edit(target, weights, who, why)

    async def release(self, target: Target) -> TargetObserved:
        """See ``ByHand``."""
        return await self._of(target).release(target)

    async def break_glass(self, target: Target, who: str, why: str) -> TargetObserved:
        """See ``ByHand``."""
        return await self._of(target).break_glass(target, who, why)

    async def close(self) -> None:
        """End threads, watches and connections."""
        if self._beside is not None:
            await self._beside.close()
        await self._git.close()

    def _of(self, target: Target) -> GitOps | WithCluster:
        place = self._placements.place(target)
        return self._beside if self._beside is not None and place is not None and place.weights is Weights.CLUSTER else self._git


def clones_folder(settings: Settings) -> Path:
    """Where bare clones live."""
    return Path(settings.gitops_folder) if settings.gitops_folder else Path.home() / ".cache/ctrlplane-stream/gitops"


def git_placements(settings: Settings) -> GitPlacements:
    """The placement file of the settings. Raises GitPlacementError."""
    if not settings.gitops_placement:
        raise GitPlacementError(
            "no placement file: set CTRLPLANE_GITOPS_PLACEMENT to the file that says which fields of which repositories"
        )
    return read_git_placements(Path(settings.gitops_placement))


def placed_gitops(settings: Settings) -> PlacedGitOps:
    """The actuator of the settings. Raises GitPlacementError, and PlacementError of the cluster's side."""
    placements = git_placements(settings)
    git = GitOps(placements.place, clones_folder(settings), token=settings.gitops_token, look_seconds=settings.gitops_look_seconds)
    beside = [target for target, place in placements.all() if place.weights is Weights.CLUSTER]
    return PlacedGitOps(placements, git, _with_cluster(git, settings, beside) if beside else None)


def _with_cluster(git: GitOps, settings: Settings, targets: list[Target]) -> WithCluster:
    """Imported where it is needed: the client of the cluster is slow to import."""
    from ctrlplane_stream.actuators.kubernetes.composition import PlacedKubernetes
    from ctrlplane_stream.actuators.kubernetes.placement import read_placements

    if not settings.kubernetes_placement:
        raise GitPlacementError(f"{targets[0]} has weights: cluster, so set CTRLPLANE_KUBERNETES_PLACEMENT too, or say weights: commit")
    placements = read_placements(Path(settings.kubernetes_placement))
    homeless = [str(target) for target in targets if placements.place(target) is None]
    if homeless:
        raise GitPlacementError(f"{', '.join(homeless)} has weights: cluster, but {settings.kubernetes_placement} does not place it")
    return WithCluster(git, PlacedKubernetes(placements))
