"""The checks of ``doctor`` for what is rolled out by commits: repositories, fields, and what these tell Argo CD and Flux of ours."""

import asyncio
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.composition import git_placements
from ctrlplane_stream.actuators.gitops.documents import documents_in
from ctrlplane_stream.actuators.gitops.history import History
from ctrlplane_stream.actuators.gitops.live import owned_at
from ctrlplane_stream.actuators.gitops.memory import MemoryUnreadable
from ctrlplane_stream.actuators.gitops.placement import GitPlace, GitPlacementError, GitPlacements, Repository, Weights
from ctrlplane_stream.actuators.gitops.remote import Remote
from ctrlplane_stream.actuators.gitops.sight import read_git_sight
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, read_placements
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.commands.checkup_syncs import guarded
from ctrlplane_stream.commands.findings import Finding, note, ok, wrong
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

_MARKER = "$imagepolicy"
Targets = list[tuple[Target, GitPlace]]


async def check_gitops(settings: Settings) -> list[Finding]:
    """A finding for each repository, target and agent. Changes nothing."""
    try:
        placements = git_placements(settings)
        places = _cluster_places(settings, placements)
    except (GitPlacementError, PlacementError) as error:
        return [wrong("gitops", str(error), "correct the placement file")]
    found: list[Finding] = []
    repositories = dict.fromkeys(place.repository for _, place in placements.all())
    for repository in repositories:
        targets = [(target, place) for target, place in placements.all() if place.repository == repository]
        found += await asyncio.to_thread(_check_repository, settings, repository, targets, places)
    return found


def _cluster_places(settings: Settings, placements: GitPlacements) -> dict[Target, Place]:
    beside = [target for target, place in placements.all() if place.weights is Weights.CLUSTER]
    if not beside:
        return {}
    if not settings.kubernetes_placement:
        raise GitPlacementError(f"{beside[0]} has weights: cluster, so set CTRLPLANE_KUBERNETES_PLACEMENT too, or say weights: commit")
    known = read_placements(Path(settings.kubernetes_placement))
    found = {target: known.place(target) for target in beside}
    homeless = [str(target) for target, place in found.items() if place is None]
    if homeless:
        raise GitPlacementError(f"{', '.join(homeless)} has weights: cluster, but {settings.kubernetes_placement} does not place it")
    return {target: place for target, place in found.items() if place is not None}


def _check_repository(settings: Settings, repository: Repository, targets: Targets, places: dict[Target, Place]) -> list[Finding]:
    check = f"gitops {repository.url}"
    with (
        TemporaryDirectory(prefix="ctrlplane-doctor-") as folder,
        closing(Clone(Remote(repository, settings.gitops_token), Path(folder))) as clone,
    ):
        try:
            head = clone.head()
        except WorldUnreachable as error:
            return [wrong(check, str(error), "correct the placement file, or see that it runs and lets us in")]
        found = [
            ok(check, f"branch {repository.branch} is at {head.decode()[:12]}; whether it may be pushed to shows with the first command")
        ]
        history, documents = History(clone), documents_in(clone, head)
        for target, place in targets:
            found += _check_target(clone, history, target, place)
            found += guarded(f"gitops {target}", owned_at(places[target]), documents) if target in places else []
        return found


def _check_target(clone: Clone, history: History, target: Target, place: GitPlace) -> list[Finding]:
    check = f"gitops {target}"
    try:
        sight = read_git_sight(clone, history, target, place, max_age_seconds=float("inf"))
    except MemoryUnreadable as error:
        return [wrong(check, str(error), "push an empty commit whose trailers are those of the one of ours before it")]
    found = [wrong(check, trouble, "commands for this target are refused until then") for trouble in sight.trouble.values()]
    if sight.edited is not None:
        found.append(note(check, f"edited by hand: {sight.edited}", "say `control resume`, or take the commit back"))
    for field in place.fields:
        marked = [line for line in clone.text(sight.head, field.file).splitlines() if _MARKER in line] if str(field) in sight.values else []
        if any(sight.values[str(field)] and sight.values[str(field)] in line for line in marked):
            found.append(wrong(check, f"Flux image automation writes {field} too", f"take the {_MARKER} comment off that line"))
    by = "weights by commits alone: all or nothing, at the speed of a sync" if place.weights is Weights.COMMIT else "weights by the cluster"
    values = ", ".join(f"{name} is {value or 'empty'}" for name, value in sorted(sight.values.items()))
    return found or [ok(check, f"{values}; {by}")]
