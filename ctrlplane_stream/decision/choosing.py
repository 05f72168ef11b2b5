"""A person chooses another version than the newest: ``retry`` rolls one out again step by step, ``revert`` returns to one that was good."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import enqueue, obstacle
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import ADOPTION, Event, Phase
from ctrlplane_stream.decision.promoting import has_baked
from ctrlplane_stream.decision.reverting import passes
from ctrlplane_stream.decision.said import IDLE, REFUSED, Answered, absent, in_scope, noted, scope_of
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.decision.versioning import VERSIONS_KEPT, under_way
from ctrlplane_stream.model.facts import OverrideRequested
from ctrlplane_stream.model.identity import version_label, version_number


def retry(draft: Draft, fact: OverrideRequested) -> Answered:
    """What was reverted, or kept back, once more and step by step."""
    members = _to_retry(draft, fact)
    if isinstance(members, str):
        return False, REFUSED + members
    alone = _moved_with(draft, members)
    whole = draft.find(f"set/{fact.rollout}", e.VersionSet)
    id_ = enqueue(draft, members, "retry", whole.release, whole.order) if whole is not None else enqueue(draft, members, "retry")
    said = f"; not so {' and '.join(alone)}, moved together with it before: retry by service" if alone else ""
    if id_ is None:
        return False, f"{REFUSED}{scope_of(draft, fact)} is not started anew"
    return True, f"{id_} is tried again{said}"


def _moved_with(draft: Draft, members: dict[str, str]) -> list[str]:
    """What else the reverted rollouts moved whose members are tried again, and what has not come to serve since."""
    found: dict[str, str] = {}
    for rollout in (r for id_ in draft.index.ended if (r := draft.rollout(id_)) is not None and r.phase is Phase.REVERTED):
        if any(members.get(u.service) == u.candidate for u in rollout.units):
            found |= {u.service: u.candidate for u in rollout.units if u.service not in members}
    newest = {name: label for name, label in sorted(found.items()) if label == version_label(draft.target(name).newest)}
    return [f"{name} {label}" for name, label in newest.items() if label != draft.target(name).stable]


def _to_retry(draft: Draft, fact: OverrideRequested) -> dict[str, str] | str:
    """What is tried again, or why nothing is."""
    ended = draft.rollout(fact.rollout) if fact.rollout is not None else None
    if ended is not None and ended.advice is None:
        if ended.cause == "adoption":  # retry would make what runs there
            return f"{ended.id} took over what runs there, which is adopted again, not tried"
        if ended.phase is not Phase.REVERTED:
            return f"{ended.id} is {ended.phase}, and tried again is only what was reverted"
        reverted = {u.service: u.candidate for u in ended.units}
        return next((busy for name in reverted if (busy := _is_moved(draft, name)) is not None), reverted)
    if fact.service is None:
        unnamed = "retry needs a service, or a rollout that was reverted" if fact.rollout is None else absent(draft, fact)
        return unnamed if ended is None else f"another tool moves what {ended.id} is about"
    target = draft.target(fact.service)
    label = fact.version or version_label(target.newest)
    if (busy := _is_moved(draft, fact.service)) is not None:
        return busy
    if label == target.stable:
        return f"{fact.service} serves {label} already"
    return {fact.service: label} if draft.version(fact.service, label) is not None else f"{fact.service} has no version {label}"


def _is_moved(draft: Draft, service: str) -> str | None:
    """That something moves the service or waits to, for which an older version would only be in the way; None where nothing does."""
    moving = " and ".join(r.id for r in under_way(draft, service))
    return f"{service} is moved by {moving}: tried again is only what nothing moves" if moving else None


def revert(draft: Draft, fact: OverrideRequested) -> Answered:
    """To an earlier version, make before break: what moves the service now is stopped first."""
    rollout = draft.rollout(fact.rollout) if fact.rollout is not None else None
    service = fact.service or (rollout.units[0].service if rollout is not None else None)
    if service is None:
        return False, REFUSED + "revert needs a service"
    target = draft.target(service)
    label = fact.version or target.earlier
    again = f"control retry {draft.environment}:{service} --version '{label}' --why …"
    if label is None or draft.version(service, label) is None:
        return False, REFUSED + _unknown(target, label, again)
    if label == target.stable:
        stopped = [r for r in in_scope(draft, fact) if r.phase not in (Phase.ABORTING, Phase.DRAINING, Phase.ADVISING, *ADOPTION)]
        for moving in stopped:
            move(draft, moving, Event.STOP, f"reverted to {label} by {fact.who}: {fact.why}")
        return bool(stopped), f"{service} returns to {label}" if stopped else f"{IDLE}{service} serves {label} already"
    if (drains := _still_drains(draft, target, label)) is not None:
        move(draft, noted(drains, fact), Event.STOP, f"reverted to {label} by {fact.who}: {fact.why}")
        return True, f"{service} returns to {label}: {drains.id}, in which that still drains, goes back"
    if (goes := _goes_there(draft, service, label)) is not None:
        return False, f"{service} returns to {label} already: {goes.id} ({goes.phase})"
    if not has_baked(draft, service, label):
        return False, f"{REFUSED}{service} {label} never baked here, or was left since; `{again}` rolls it out step by step"
    id_ = enqueue(draft, {service: label}, "revert")
    begun = draft.rollout(id_) if id_ is not None else None
    if begun is None:
        return False, f"{REFUSED}{service} {label} is not started anew"
    said = f"{service} returns to {label}: {id_}"
    if (waits := obstacle(draft, begun)) is not None:
        said += f", once this is over: {waits[0]}"
    return True, "; ".join(filter(None, (said, passes(draft, begun))))


def _unknown(target: e.TargetEntry, label: str | None, again: str) -> str:
    """Why there is no going back to a version that is not known, or no more."""
    if 0 < (version_number(label or "") or 0) <= target.newest:
        forgotten = f"{target.service} {label} is not among the last {VERSIONS_KEPT}, of which it is known what they are made from"
        return f"{forgotten}; push its artifact again, and then `{again}`"
    return f"{target.service} has no version {label or 'before its stable one'}"


def _goes_there(draft: Draft, service: str, label: str) -> e.Rollout | None:
    """The revert that takes the service to this version already, or is about to."""
    reverts = (r for r in under_way(draft, service) if r.is_revert and r.stopped_because is None)
    return next((r for r in reverts if r.unit(service).candidate == label), None)


def _still_drains(draft: Draft, target: e.TargetEntry, label: str) -> e.Rollout | None:
    """The rollout of this service alone that has left ``label`` for what it baked, and still drains it, if there is one: to stop that one
    is the shortest way back."""
    rollout = draft.mover(target)
    if rollout is None or rollout.phase is not Phase.DRAINING or not rollout.promoted or len(rollout.units) > 1:
        return None
    return rollout if rollout.units[0].stable == label else None
