"""A catalog says how services are configured: what another one moves, and what it lets go.

A push asks for one artifact more; a catalog says how things shall be. So a configuration that is taken back leaves nothing of itself in
the queue, and needs no rollout where what it returns to serves, or is on its way.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import enqueue
from ctrlplane_stream.decision.composing import ruling
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.drifting import returned
from ctrlplane_stream.decision.phases import Event, Phase
from ctrlplane_stream.decision.rollout import renew_set
from ctrlplane_stream.decision.superseding import make_way, starts_over, with_withdrawn
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.decision.versioning import VERSIONS_KEPT, group_mates, group_of, number, only_numbered
from ctrlplane_stream.decision.wanted import unable
from ctrlplane_stream.model.catalog import ServiceInEnvironment, manifest_hash
from ctrlplane_stream.model.facts import CatalogApplied
from ctrlplane_stream.model.identity import version_label


def on_catalog(draft: Draft, fact: CatalogApplied) -> bool:
    """Another catalog is in force: note what changed, and roll out new configurations of current artifacts.

    Of a catalog that comes in parts each configures its services as it comes; what is gone, and what is said of the whole environment,
    the last one tells.
    """
    if fact.more:
        draft.because("catalog-part", f"catalog {fact.hash} by {fact.who}: {len(fact.catalog.services)} of its services, others follow")
    else:
        _put_in_force(draft, fact)
    _configure(draft, fact.catalog.services)
    _rule_anew(draft)
    return True


def _put_in_force(draft: Draft, fact: CatalogApplied) -> None:
    """What a catalog says of the whole environment, and the services that it does not have any more."""
    catalog = fact.catalog
    before = draft.find("catalog", e.CatalogEntry)
    names = tuple(sorted(fact.names if fact.names is not None else (s.service for s in catalog.services)))
    in_force = e.CatalogEntry(fact.hash, names, catalog.promote_from, catalog.promotes_to, catalog.notify, catalog.onward)
    draft.put("catalog", in_force)
    stays = frozenset(names)
    for name in before.services if before is not None else ():
        if name not in stays and (gone := draft.service(name)) is not None:
            draft.put(f"gone/{name}", gone)
            draft.remove(f"service/{name}")
            draft.because("service-removed", f"{name} is no longer in the catalog: what runs of it stays, nothing new starts")
    draft.because("catalog", f"catalog {fact.hash} by {fact.who}: {len(names)} services")


def _configure(draft: Draft, entries: tuple[ServiceInEnvironment, ...]) -> None:
    """Each of these services as the catalog has it; what is configured otherwise than what serves or climbs is rolled out."""
    services: list[ServiceInEnvironment] = []
    for entry in sorted(entries, key=lambda s: s.service):
        service = _as_it_is_there(draft, entry)
        advised = draft.is_advised(service.service)
        draft.put(f"service/{service.service}", service)
        draft.remove(f"gone/{service.service}")
        if advised and not draft.is_advised(service.service):
            returned(draft, service.service)
        services.append(service)
    _roll_out(draft, services)


def configured_anew(draft: Draft, moved: list[str]) -> bool:
    """Look again at what the catalog in force says of the services that a rollout of ``moved`` has gone back with: a configuration that
    came while it climbed was numbered on what it brought, and not on what serves. Whether anything queues for that."""
    back = (r for id_ in dict.fromkeys(moved) if (r := draft.rollout(id_)) is not None and r.is_gone_back and r.advice is None)
    left = [unit.service for rollout in back for unit in rollout.units if draft.target(unit.service).stable != unit.candidate]
    services = [service for name in left if (service := draft.service(name)) is not None]
    names = {service.service for service in services} | {mate for service in services for mate in group_mates(draft, service)}
    return _roll_out(draft, [service for name in sorted(names) if (service := draft.service(name)) is not None])


def _roll_out(draft: Draft, services: list[ServiceInEnvironment]) -> bool:
    """Queue what the catalog has configured otherwise than it is, what moves together as one set; whether there was any."""
    together: dict[str, dict[str, str]] = {}
    for service in services:
        if (label := _reconfigure(draft, service)) is not None:
            together.setdefault(group_of(service) or service.service, {})[service.service] = label
        _reconfigure_collected(draft, service)
    for members in together.values():
        enqueue(draft, members, "configuration")
    return bool(together)


def _rule_anew(draft: Draft) -> None:
    """Have what queues begin by the policies of now, or it would not wait for what these want; what has begun keeps its own."""
    for rollout in draft.rollouts():
        names = tuple(sorted(u.service for u in rollout.units))
        if rollout.phase is not Phase.QUEUED or any(unable(draft, name) is not None for name in names):
            continue
        policy_of, policy, _ = ruling(draft, names)
        if policy != draft.version_set(rollout.id).policy:
            renew_set(draft, rollout)
            draft.because("ruled-anew", f"{rollout.id}, still queued, goes by the policy of {policy_of} as it is now", rollout.id)


def _as_it_is_there(draft: Draft, entry: ServiceInEnvironment) -> ServiceInEnvironment:
    """What the catalog says of a service, but for what cannot become otherwise under what is there of it.

    Versions are made by their kind and give up their traffic by it, and could not stand beside one of another. An actuator knows nothing of
    what another one has: it would be told weights of what it has yet to make.
    """
    known, target = draft.service_as_known(entry.service), draft.target(entry.service)
    if known is None:
        return entry
    if known.kind is not entry.kind and target.newest:
        text = f"{entry.service} keeps its kind and its template: it has versions of kind {known.kind}, which cannot become {entry.kind}"
        draft.because("kind-kept", f"{text}; give what is of kind {entry.kind} a service of its own")
        entry = replace(entry, kind=known.kind, template=known.template)
    if known.actuator != entry.actuator and (target.stable is not None or target.observed):
        there = target.stable or target.observed[0].label
        text = f"{entry.service} stays with {known.actuator}, which has {there} of it and {entry.actuator} has not"
        draft.because("actuator-kept", f"{text}: another world is another environment, and a trial has a CTRLPLANE_TOPIC_PREFIX of its own")
        entry = replace(entry, actuator=known.actuator)
    return entry


def _reconfigure(draft: Draft, service: ServiceInEnvironment) -> str | None:
    """The version to roll out, since it is configured otherwise than what serves or climbs; or None. A configuration that was gone back
    from, by a verdict or by a person, is not brought back by a catalog that says it once more, nor with another artifact."""
    current, wanted = _current(draft, service.service), manifest_hash(service)
    if current is None:
        return None
    if current.manifest_hash == wanted:
        _acted_on(draft, service.service, wanted)
        return None
    label, new = number(draft, service, current.artifact, current.provenance)
    gone = _gone_back_from(draft, service.service, wanted) if draft.target(service.service).configured == wanted else []
    if gone:
        since, tried = (label, "tries it again") if label in gone else (f"{gone[-1]}, configured so,", f"rolls {label} out all the same")
        hint = f"`ctrlplane-stream control retry {draft.environment}:{service.service} --version '{label}' --why REASON` {tried}"
        text = f"{service.service} is not as the catalog has it, since {since} was gone back from; {hint}"
        draft.because("gone-back-from", text)
        return None
    text = f"{service.service}: the {_otherwise(current, service)} changed, so {current.artifact.digest[:19]} with it is version {label}"
    draft.because("configuration", text if new else f"{text} again")
    if only_numbered(draft, service, label):
        return None
    _acted_on(draft, service.service, wanted)
    return label if _is_to_move(draft, service.service, label) else None


def _gone_back_from(draft: Draft, service: str, wanted: str) -> list[str]:
    """The versions of this configuration that were gone back from, or are just being, the oldest first."""
    going = {u.candidate for r in draft.rollouts() if r.goes_back for u in r.units if u.service == service}
    newest = draft.target(service).newest
    versions = (draft.version(service, version_label(count)) for count in range(max(1, newest - VERSIONS_KEPT + 1), newest + 1))
    return [v.label for v in versions if v is not None and v.manifest_hash == wanted and (v.gone_back or v.label in going)]


def _acted_on(draft: Draft, service: str, wanted: str) -> None:
    target = draft.target(service)
    if target.configured != wanted:
        draft.put_target(replace(target, configured=wanted))


def _reconfigure_collected(draft: Draft, service: ServiceInEnvironment) -> None:
    """What a release has collected of the service takes the new configuration too, or it would bring the old one back."""
    for name in draft.index.releases:
        entry = draft.find(f"release/{name}", e.ReleaseEntry)
        label = entry.members.get(service.service) if entry is not None else None
        version = draft.version(service.service, label) if label is not None else None
        if entry is None or version is None or version.manifest_hash == manifest_hash(service):
            continue
        again, _ = number(draft, service, version.artifact, version.provenance)
        draft.put(f"release/{name}", replace(entry, members={**entry.members, service.service: again}))
        changed = f"the {_otherwise(version, service)} of {service.service} changed"
        draft.because("configuration", f"release {name}: {changed}, so {label} is {again} now")


def _otherwise(version: e.VersionEntry, service: ServiceInEnvironment) -> str:
    """Which of what a version is made from, besides its image, the catalog says otherwise."""
    template = "template" if version.template != service.template else ""
    configuration = "configuration" if version.configuration != service.configuration else ""
    return " and the ".join(filter(None, (configuration, template)))


def _current(draft: Draft, service: str) -> e.VersionEntry | None:
    """The version that the service is at or on its way to; None where it has none yet."""
    target = draft.target(service)
    label = target.stable
    for rollout in draft.rollouts():
        unit = next((u for u in rollout.units if u.service == service), None)
        if unit is not None and rollout.stopped_because is None:
            label = unit.candidate
        elif unit is not None and label == unit.candidate:
            label = unit.stable  # it has baked, and is gone back from all the same
    if label is None:
        return None
    return draft.version(service, label)


def _candidate(rollout: e.Rollout, service: str) -> str | None:
    return next((u.candidate for u in rollout.units if u.service == service), None)


def _is_to_move(draft: Draft, service: str, label: str) -> bool:
    """Whether what the catalog asks for is to be queued; not where nothing is left to move once what it no longer asks for is let go."""
    ways = [r for r in draft.rollouts() if r.stopped_because is None and _candidate(r, service) is not None]
    ours = next((r for r in ways if _candidate(r, service) == label), None)
    if ours is not None:
        _let_go(draft, ways[ways.index(ours) + 1 :], service, label)
        draft.because("already-rolling", f"{service} {label} is on its way: {ours.id} ({ours.phase})", ours.id)
    elif _is_served(draft, service, label):
        _let_go(draft, [r for r in ways if r.phase is Phase.QUEUED], service, label)
        make_way(draft, {service: label}, "configuration", "")
        draft.because("stable-already", f"{service} {label} is stable already")
    else:
        return True
    return False


def _is_served(draft: Draft, service: str, label: str) -> bool:
    """Whether a version is stable and stays so, since nothing climbs over it, or what does starts over and has nothing else to move."""
    target, wanted = draft.target(service), {service: label}
    mover = draft.mover(target)
    goes_back = mover is None or mover.stopped_because is not None or starts_over(draft, mover, wanted)
    return target.stable == label and goes_back and with_withdrawn(draft, wanted, "configuration") == wanted


def _let_go(draft: Draft, queued: list[e.Rollout], service: str, label: str) -> None:
    """Take the service out of rollouts that wait; one that moves nothing else ends."""
    for rollout in queued:
        others = tuple(u for u in rollout.units if u.service != service)
        why = f"{e.SUPERSEDED}{service} {label}"
        if others:
            draft.put_rollout(replace(rollout, units=others))
            draft.because("superseded", f"{rollout.id} goes on without {service}: {why}", rollout.id)
        else:
            move(draft, rollout, Event.STOP, why)
