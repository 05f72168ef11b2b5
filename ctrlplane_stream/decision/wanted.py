"""What may not begin, or not any more, by what the catalog or somebody says now of the services that it would move."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Phase

_PINNABLE = ("release", "configuration")
"""What a pin keeps from beginning: a person who says revert or retry means it."""


def unable(draft: Draft, service: str) -> str | None:
    """Why a service is not rolled out by us at all, or None."""
    if draft.service(service) is None:
        return f"the catalog of {draft.environment} does not have {service}"
    if not draft.is_advised(service):
        return None
    known = draft.find(f"advised/{service}", e.AdvisedEntry)
    serves = f" from {known.stable}" if known is not None and known.stable is not None else ""
    return f"{service} is only advised on (mode advise): another tool moves it{serves}"


def unwanted(draft: Draft, service: str, label: str, cause: str) -> str | None:
    """Why a service shall not be moved to a version any more, and what to do once it shall; None where it shall."""
    if (gone := unable(draft, service)) is not None:
        return f"{gone}; control retry reruns this once the catalog has it rolled out by us again"
    target = draft.target(service)
    if cause in _PINNABLE and target.pinned not in (None, label):
        return f"{target.pin}; control retry reruns this after unpin"
    return None


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
