"""What may not begin, or not any more, by what the catalog or somebody says now of the services that it would move."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.identity import Artifact

_BY_ITSELF = ("release", "configuration")
"""What a pin, or a repository that the catalog withdrew, keeps from beginning: a person who says revert or retry means it."""


def unable(draft: Draft, service: str) -> str | None:
    """Why a service is not rolled out by us at all, or None."""
    if draft.service(service) is None:
        return f"the catalog of {draft.environment} does not have {service}"
    if not draft.is_advised(service):
        return None
    known = draft.find(f"advised/{service}", e.AdvisedEntry)
    serves = f" from {known.stable}" if known is not None and known.stable is not None else ""
    return f"{service} is only advised on (mode advise): another tool moves it{serves}"


def foreign_image(service: ServiceInEnvironment, artifact: Artifact) -> str | None:
    """That the catalog does not take this image for the service, with those that it takes; None where it does."""
    if artifact.image in service.images:
        return None
    return f"{service.service} takes images from {', '.join(service.images) or 'none'}, not from {artifact.image}"


def unwanted(draft: Draft, service: str, label: str, cause: str) -> str | None:
    """Why a service shall not be moved to a version any more, and what to do once it shall; None where it shall."""
    if (gone := unable(draft, service)) is not None:
        return f"{gone}; control retry reruns this once the catalog has it rolled out by us again"
    target = draft.target(service)
    if cause in _BY_ITSELF and target.pinned not in (None, label):
        return f"{target.pin}; control retry reruns this after unpin"
    if cause in _BY_ITSELF and (foreign := _withdrawn(draft, service, label)) is not None:
        return f"{foreign}; control retry reruns this all the same"
    return None


def _withdrawn(draft: Draft, service: str, label: str) -> str | None:
    """That the catalog does not take the image of a version any more; None where it does, or where the artifact serves anyhow."""
    known, version = draft.service(service), draft.version(service, label)
    serving = draft.version(service, draft.target(service).stable or "")
    if known is None or version is None or (serving is not None and serving.artifact == version.artifact):
        return None
    return foreign_image(known, version.artifact)


def given_up_with(draft: Draft, queued: e.Rollout, unit: e.Unit) -> str | None:
    """Why a queued unit is not begun any more, or None: its artifact, configured otherwise, climbed as it came, and goes back now to
    another one. Whoever means it all the same says so after that."""
    wanted = draft.version(unit.service, unit.candidate)
    if wanted is None or queued.by_a_person:
        return None
    for other in draft.rollouts():
        gone = next((u for u in other.units if u.service == unit.service), None)
        if gone is None or other.id == queued.id or not other.goes_back or _stopped_ms(other) < queued.began_ms:
            continue
        version = draft.version(gone.service, gone.candidate)
        serves = draft.version(gone.service, (gone.stable if other.promoted else draft.target(gone.service).stable) or "")
        same = version is not None and version.label != unit.candidate and version.artifact == wanted.artifact
        if same and (serves is None or serves.artifact != wanted.artifact):
            return f"{other.id} goes back from the artifact of {unit.service} {unit.candidate}; control retry reruns this"
    return None


def _stopped_ms(rollout: e.Rollout) -> int:
    return next((passage.at_ms for passage in rollout.timeline if passage.phase is Phase.ABORTING), 0)
