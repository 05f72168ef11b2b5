"""The end of a rollout: candidates become stable and last known good, artifacts go onward, targets are free again."""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.targets import retires, with_version
from ctrlplane_stream.model.commands import Announce
from ctrlplane_stream.model.identity import Artifact, version_label
from ctrlplane_stream.model.world import Capacity

BAKED_KEPT = 20
"""Versions that a target remembers as good whatever comes after them; older ones while it is known what they are made from."""
SERVED_KEPT = 20
"""Times for which a version remembers that it was stable."""
ENDED_KEPT = 100
"""Ended rollouts that stay in the state; older ones are on the log."""


def good_forever(draft: Draft, rollout: e.Rollout) -> e.Rollout:
    """The rollout promoted: each candidate is stable and last known good, with the neighbours it baked against."""
    units = tuple(replace(u, fallback=draft.target(u.service).last_known_good) for u in rollout.units)
    for unit in units:
        mark_good(draft, rollout, unit)
        draft.because("last-known-good", f"{unit.service} {unit.candidate} is the last known good", rollout.id)
    for unit in units:
        _announce(draft, rollout, unit)
    return replace(rollout, units=units, promoted=True)


def mark_good(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> None:
    """Make the unit's candidate stable and last known good, whole from here on, with the neighbours that it serves beside."""
    target = draft.target(unit.service)
    beside = _neighbours(draft, unit.service, {u.service: u.candidate for u in rollout.units})
    good = e.LastKnownGood(unit.candidate, draft.clock.now_ms, beside)
    if target.stable != unit.candidate:
        _note_served(draft, unit.service, target.stable, serves=False)
    _note_served(draft, unit.service, unit.candidate, serves=True)
    target = replace(target, stable=unit.candidate, last_known_good=good, baked=_baked(draft, target, unit.candidate))
    known = target.wanted(unit.candidate)
    if known is not None and known.capacity is Capacity.WEIGHTED:
        target = with_version(target, replace(known, capacity=Capacity.FULL, share=0))
    draft.put_target(target)
    _note_gone_back(draft, unit.service, unit.candidate, gone=False)


def has_baked(draft: Draft, service: str, label: str) -> bool:
    """Whether a version completed its bake here and was neither found bad after it nor left for one that baked before."""
    version = draft.version(service, label)
    return version is not None and (version.outlived_steady is not None or label in draft.target(service).baked)


def _baked(draft: Draft, target: e.TargetEntry, label: str) -> tuple[str, ...]:
    """The last that baked once this one has. Returning to one forgets those that baked after it: they were left for it."""
    order = (*_outlived(draft, target), *target.baked)
    good = (*(order[: order.index(label)] if label in order else order), label)
    for other in order:
        _note_outlived(draft, target.service, other, outlived=other in good[:-BAKED_KEPT])
    return good[-BAKED_KEPT:]


def _outlived(draft: Draft, target: e.TargetEntry) -> list[str]:
    """What baked before those that the target counts, in that order."""
    known = (draft.version(target.service, version_label(count)) for count in range(1, target.newest + 1))
    found = [(v.outlived_steady, v.label) for v in known if v is not None and v.outlived_steady is not None]
    return [label for _, label in sorted(found)]


def _note_outlived(draft: Draft, service: str, label: str, *, outlived: bool) -> None:
    version = draft.version(service, label)
    if version is not None and (version.outlived_steady is not None) is not outlived:
        draft.put(f"version/{service}/{label}", replace(version, outlived_steady=draft.clock.steady if outlived else None))


def _neighbours(draft: Draft, service: str, moved: dict[str, str]) -> dict[str, str]:
    """The versions that those who share an edge with a service serve, or will once ``moved`` (service to version label) are stable."""
    graph = draft.state.graph
    names = sorted({*(edge.callee for edge in graph.outgoing(service)), *(edge.caller for edge in graph.incoming(service))})
    serving = {name: moved.get(name, draft.target(name).stable) for name in names if name != service}
    return {name: label for name, label in serving.items() if label is not None}


def _announce(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> None:
    """Offer the artifact to those that take what bakes here, once each: with another configuration it is nothing new to them."""
    catalog = draft.find("catalog", e.CatalogEntry)
    version = draft.version(unit.service, unit.candidate)
    if catalog is None or version is None or rollout.is_revert:
        return
    takers, version_set = catalog.takers(unit.service), draft.version_set(rollout.id)
    before = _offered_before(draft, unit, version.artifact, takers)
    if known := [environment for environment in takers if environment in before]:
        text = f"{version.artifact} baked with another configuration before, and was offered to {' and '.join(known)} then"
        draft.because("announced-before", text, rollout.id)
    for environment in takers:
        if environment not in before:
            id_ = f"{rollout.id}/{rollout.attempt}/{unit.service}/{environment}"
            draft.outputs.append(Announce(id_, version.artifact, environment, version_set.release, version.provenance, version_set.order))
            draft.because("announced", f"{version.artifact} is offered to {environment}", rollout.id)
    draft.put(f"version/{unit.service}/{unit.candidate}", replace(version, offered_to=tuple(sorted({*before, *takers}))))


def _offered_before(draft: Draft, unit: e.Unit, artifact: Artifact, takers: tuple[str, ...]) -> set[str]:
    """The environments that the artifact was offered to as it baked here with another configuration: all that take it now, where that is
    not known."""
    versions = (draft.version(unit.service, label) for label in draft.target(unit.service).baked if label != unit.candidate)
    others = [v.offered_to for v in versions if v is not None and v.artifact.digest == artifact.digest]
    return {environment for known in others for environment in (takers if known is None else known)}


def ended(draft: Draft, rollout: e.Rollout) -> None:
    """Free the targets of a rollout that has just ended, and forget the oldest of those that ended before."""
    for unit in rollout.units:
        target = draft.target(unit.service)
        if target.rollout == rollout.id:
            draft.put_target(_freed(draft, rollout, target))
        if target.standing_by or any(v.capacity is Capacity.PARKED for v in target.live):
            retires(draft, unit.service)
    if rollout.phase is Phase.REVERTED:
        _returned(draft, rollout)
    for unit in rollout.units if rollout.advice is None else ():
        _note_way(draft, rollout, unit)
    index = draft.index
    kept = (*(i for i in index.ended if i != rollout.id), rollout.id)
    for old in kept[:-ENDED_KEPT]:
        draft.remove(f"rollout/{old}")
        draft.remove(f"set/{old}")
    draft.put("index", replace(index, rollouts=tuple(i for i in index.rollouts if i != rollout.id), ended=kept[-ENDED_KEPT:]))


def _returned(draft: Draft, rollout: e.Rollout) -> None:
    """Note who serves again where a rollout went back, and who has not served beside whom before."""
    flag_strangers(draft, rollout.id, {u.service: label for u in rollout.units if (label := draft.target(u.service).stable) is not None})
    for unit in rollout.units:
        if unit.stable is not None and draft.target(unit.service).stable == unit.stable:
            _note_served(draft, unit.service, unit.candidate, serves=False)
            _note_served(draft, unit.service, unit.stable, serves=True)


def _note_way(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> None:
    """Note what a rollout that has ended went back from, if it did: its candidate, or by a person's word what served before."""
    if rollout.is_gone_back and draft.target(unit.service).stable != unit.candidate:
        _note_gone_back(draft, unit.service, unit.candidate)
    elif rollout.phase is Phase.COMPLETED and rollout.is_revert and unit.stable is not None:
        _note_gone_back(draft, unit.service, unit.stable)


def _note_gone_back(draft: Draft, service: str, label: str, *, gone: bool = True) -> None:
    version = draft.version(service, label)
    if version is not None and version.gone_back is not gone:
        draft.put(f"version/{service}/{label}", replace(version, gone_back=gone))


def _freed(draft: Draft, rollout: e.Rollout, target: e.TargetEntry) -> e.TargetEntry:
    moved_back = rollout.is_gone_back and rollout.cause != "adoption"  # what gave way to a newer version was not found bad
    wait = draft.version_set(rollout.id).policy.hold_after_revert_seconds if moved_back else 0.0
    until = draft.clock.steady + int(wait * 1000) if wait else target.blocked_until_steady
    draft.remove(f"arrivals/{target.service}")
    return replace(target, rollout=None, blocked_until_steady=until)


def flag_strangers(draft: Draft, rollout: str, returning: dict[str, str]) -> None:
    """Say beside which neighbours the versions that return (by service) serve now though they never did before."""
    for service, label in returning.items():
        for name, other in _neighbours(draft, service, returning).items():
            if (name not in returning or service < name) and not _served_together(draft, (service, label), (name, other)):
                text = f"{service} {label} returns to serve beside {name} {other}: never seen together"
                draft.because("strangers", text, rollout)


def _served_together(draft: Draft, one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two versions were stable at one time, or nobody knows when they were."""
    mine, theirs = (version.served if (version := draft.version(*each)) is not None else () for each in (one, other))
    now = draft.clock.now_ms
    overlaps = (a.from_ms < (b.until_ms or now + 1) and b.from_ms < (a.until_ms or now + 1) for a in mine for b in theirs)
    return not mine or not theirs or any(overlaps)


def _note_served(draft: Draft, service: str, label: str | None, *, serves: bool) -> None:
    """Note that a version is stable from now on, or no longer."""
    version = draft.version(service, label) if label is not None else None
    if version is None or serves is (bool(version.served) and version.served[-1].until_ms is None):
        return
    now = draft.clock.now_ms
    served = (*version.served, e.Served(now)) if serves else (*version.served[:-1], replace(version.served[-1], until_ms=now))
    draft.put(f"version/{service}/{label}", replace(version, served=served[-SERVED_KEPT:]))
