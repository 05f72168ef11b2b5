"""What may not begin, or not any more, by what the catalog or somebody says now of the services that it would move."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft

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
