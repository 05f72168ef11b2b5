"""What people are told without asking: holds, reverts, lease expiries, releases that are dropped, with the next command to type."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.targets import weights_of
from ctrlplane_stream.model.commands import Notify, Output

HELD = "held"
"""The event of a notice that a rollout is held."""


def notify_of_target(draft: Draft, service: str, event: str, text: str, verb: str) -> None:
    """Tell people about a target that no rollout moves. ``verb`` is the control verb that is most likely wanted next."""
    _tell(draft, event, text, {service: draft.target(service).weights}, control(verb, f"{draft.environment}:{service}"))


def notify_of_release(draft: Draft, event: str, services: tuple[str, ...], text: str, command: str) -> None:
    """Tell people about a release of which these services do not come to be moved. ``command`` is what is most likely wanted next."""
    _tell(draft, event, text, {service: draft.target(service).weights for service in services}, command)


def notify(
    draft: Draft, rollout: e.Rollout, event: str, text: str, verb: str, deadline_ms: int | None = None, scope: str | None = None
) -> None:
    """Tell people about a rollout. ``verb`` is the control verb that is most likely wanted next, of ``scope`` where that is not the
    rollout; or empty."""
    command = control(verb, scope or rollout.id) if verb else f"ctrlplane-stream rollout {rollout.id}"
    _tell(draft, event, text, weights_of(draft, rollout), command, rollout.id, deadline_ms)


def control(verb: str, scope: str) -> str:
    """The command that says a verb, with its options, of a scope."""
    return f"ctrlplane-stream control {verb} {scope} --why REASON"


def is_over(draft: Draft, output: Output) -> bool:
    """Whether an output tells people to end a hold of what has ended in the same decision."""
    if type(output) is not Notify or output.event != HELD or output.rollout is None:
        return False
    rollout = draft.rollout(output.rollout)
    return rollout is None or rollout.ended_ms is not None


def _tell(
    draft: Draft,
    event: str,
    text: str,
    weights: dict[str, dict[str, int]],
    command: str,
    rollout: str | None = None,
    deadline_ms: int | None = None,
) -> None:
    catalog = draft.find("catalog", e.CatalogEntry)
    number = sum(1 for output in draft.outputs if isinstance(output, Notify))
    draft.outputs.append(
        Notify(
            id=f"{draft.environment}/{draft.clock.sequence}/n{number}",
            event=event,
            text=text,
            rollout=rollout,
            weights=weights,
            next_command=command,
            deadline_ms=deadline_ms,
            webhook=catalog.notify if catalog is not None else None,
        )
    )
