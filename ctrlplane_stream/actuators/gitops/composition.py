"""The actuator as a worker has it: the placement file, clones in a cache folder, and the cluster's side where one is named."""

from pathlib import Path

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import GitPlacementError, read_git_placements
from ctrlplane_stream.settings import Settings


def clones_folder(settings: Settings) -> Path:
    """Where bare clones live."""
    return Path(settings.gitops_folder) if settings.gitops_folder else Path.home() / ".cache/ctrlplane-stream/gitops"


def placed_gitops(settings: Settings) -> GitOps:
    """The actuator of the settings. Raises GitPlacementError."""
    if not settings.gitops_placement:
        raise GitPlacementError(
            "no placement file: set CTRLPLANE_GITOPS_PLACEMENT to the file that says which fields of which repositories"
        )
    placements = read_git_placements(Path(settings.gitops_placement))
    return GitOps(placements.place, clones_folder(settings), token=settings.gitops_token, look_seconds=settings.gitops_look_seconds)
