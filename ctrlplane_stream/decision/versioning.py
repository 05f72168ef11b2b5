"""Artifacts and configurations become versions: numbered once per service, whatever order or number the events come in.

A version is an artifact with the hash of what it is made from besides. The same pair again is the same version; a moved tag is
a new artifact; a changed configuration of the current artifact is a new version of it (``configuring.py``).
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import enqueue
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.notices import control, notify_of_release
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.promoting import has_baked
from ctrlplane_stream.decision.repetitions import came_before
from ctrlplane_stream.decision.superseding import gives_way
from ctrlplane_stream.decision.wanted import foreign_image, unable, unwanted
from ctrlplane_stream.model.catalog import ServiceInEnvironment, manifest_hash
from ctrlplane_stream.model.facts import ArtifactPushed, Provenance, ReleaseOrder
from ctrlplane_stream.model.identity import Artifact, version_label, version_number

VERSIONS_KEPT = 200
"""Of so many versions of a service it is remembered what they are made from: an entry is half a kilobyte, and a state is kept in memory and
written whole in every snapshot."""
RELEASE_WAIT_SECONDS = 3600
"""A release of declared size that is not whole by then is dropped, and said so."""
RELEASE_QUIET_SECONDS = 30
"""A release without a size, or a group that moves together, is whole when nothing came for this long."""


def number(draft: Draft, service: ServiceInEnvironment, artifact: Artifact, provenance: Provenance) -> tuple[str, bool]:
    """The label of (artifact, manifest) of a service, and whether it is new. One that was forgotten is known again, by the number that it
    had."""
    known = known_label(draft, service, artifact)
    if known is not None and draft.version(service.service, known) is not None:
        return known, False
    label = known if known is not None else _next_label(draft, service, artifact)
    entry = e.VersionEntry(
        label,
        artifact,
        manifest_hash(service),
        dict(service.configuration),
        provenance,
        draft.clock.now_ms,
        template=service.template,
    )
    draft.put(f"version/{service.service}/{label}", entry)
    return label, known is None


def _next_label(draft: Draft, service: ServiceInEnvironment, artifact: Artifact) -> str:
    target = draft.target(service.service)
    count = target.newest + 1
    draft.put(_pair(service, artifact), e.PairEntry(count))
    draft.put_target(replace(target, newest=count))
    _forget(draft, service.service, version_label(count - VERSIONS_KEPT))
    return version_label(count)


def _forget(draft: Draft, service: str, label: str) -> None:
    """Let go of what an old version is made from, unless something of it is there or may be returned to. That it has this number stays
    known, so that nothing is numbered twice."""
    if draft.version(service, label) is None:
        return  # as mostly: there are not so many yet
    target = draft.target(service)
    good = target.last_known_good.label if target.last_known_good is not None else None
    moving = [name for r in draft.rollouts() for u in r.units if u.service == service for name in (u.stable, u.candidate)]
    collected = [entry.members.get(service) for name in draft.index.releases if (entry := draft.find(f"release/{name}", e.ReleaseEntry))]
    kept = (target.stable, target.pinned, good, *target.baked, *(live.label for live in target.live), *moving, *collected)
    if label not in kept:
        draft.remove(f"version/{service}/{label}")


def known_label(draft: Draft, service: ServiceInEnvironment, artifact: Artifact) -> str | None:
    """The label that (artifact, manifest) of a service has, or None where it has no number yet."""
    known = draft.find(_pair(service, artifact), e.PairEntry)
    return version_label(known.number) if known is not None else None


def _pair(service: ServiceInEnvironment, artifact: Artifact) -> str:
    return f"pair/{service.service}/{artifact.digest}/{manifest_hash(service)}"


def on_artifact(draft: Draft, fact: ArtifactPushed) -> bool:
    """An artifact is offered: number it, and queue what moves."""
    artifact = fact.artifact
    service = draft.service(artifact.service)
    if service is None:
        draft.because(
            "unknown-service", f"ignored: the catalog has no service {artifact.service} in {draft.environment}; add it and push again"
        )
        return False
    if (foreign := foreign_image(service, artifact)) is not None:
        draft.because("unknown-repository", f"ignored: {foreign}")
        return False
    if came_before(draft, fact):
        text = f"ignored: event {fact.event_id} offered {artifact} before; whoever offers it anew sends another id"
        draft.because("repeated-event", text)
        return False
    label, new = number(draft, service, artifact, fact.provenance)
    if not new and was_turned_down(draft, artifact.service, label):
        draft.because("offered-again", f"{artifact.service} {label}, of which nothing came before, is offered again")
        return _offer(draft, service, label, fact.release, fact.release_size, fact.order)
    if not new and fact.release is not None and label == draft.target(artifact.service).stable:
        draft.because("serves-already", f"{artifact.service} {label}, which serves, needs no rollout in release {fact.release}")
        _collect(draft, fact.release, artifact.service, label, fact.release_size or group_size(draft, service), fact.order)
        return True
    if not new and fact.release is not None:
        draft.because("known-already", f"{artifact.service} {label}, which came before, moves with what is new in release {fact.release}")
        size = fact.release_size or group_size(draft, service)
        _collect(draft, fact.release, artifact.service, label, size, fact.order, again=True)
        return True
    if not new:
        hint = _way_to(draft, artifact.service, label)
        draft.because("known-version", f"ignored: {artifact} with this configuration is already version {label}{hint}")
        return False
    made = fact.provenance.commit or "an unnamed commit"
    draft.because("version", f"{artifact.service} {label} is {artifact} of {made}, {fact.provenance.digest_source} digest")
    return _offer(draft, service, label, fact.release, fact.release_size, fact.order)


def under_way(draft: Draft, service: str) -> list[e.Rollout]:
    """What moves a service or waits to, in order of arrival."""
    return [r for r in draft.rollouts() if any(u.service == service for u in r.units)]


def _way_to(draft: Draft, service: str, label: str) -> str:
    """What whoever wants a known version can type now, if anything, and why not."""
    target, moving = draft.target(service), under_way(draft, service)
    if (rolls := next((r for r in moving if r.unit(service).candidate == label), None)) is not None:
        return f"; {rolls.id} moves {service} to it"
    if label == target.stable and not moving:
        return ", which serves"
    if (why := unable(draft, service)) is not None:
        return f"; {why}"
    place = f"{draft.environment}:{service} --version '{label}' --why REASON"
    back = f"`ctrlplane-stream control revert {place}` returns to it"
    again = f"`ctrlplane-stream control retry {place}` tries it again"
    if moving:
        again += f" once {service} is not moved by {' and '.join(r.id for r in moving)} any more"
    ways = [back] * has_baked(draft, service, label) + [again] * (label != target.stable)
    return f"; {', '.join(ways)}" if ways else ""


def was_turned_down(draft: Draft, service: str, label: str) -> bool:
    """Whether a version, the newest of its service, was refused or never became part of a whole set, so that it may be offered again."""
    version = draft.version(service, label)
    return version is not None and version.turned_down and label == version_label(draft.target(service).newest)


def _turn_down(draft: Draft, members: dict[str, str]) -> None:
    """Remember that nothing moves these versions, so that whoever mends what was wrong may offer them again."""
    for service, label in members.items():
        version = draft.version(service, label)
        if version is not None:
            draft.put(f"version/{service}/{label}", replace(version, turned_down=True))


def _start(
    draft: Draft, members: dict[str, str], cause: str, release: str | None = None, order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
) -> bool:
    """Queue them; whether they were not refused."""
    queued = enqueue(draft, members, cause, release, order) is not None
    if not queued:
        _turn_down(draft, members)
    return queued


def only_numbered(draft: Draft, service: ServiceInEnvironment, label: str) -> bool:
    """Whether nothing is to move the service to a version for now; says why."""
    if (pinned := draft.target(service.service).pin) is not None:
        draft.because("pinned", f"{pinned}; {label} is numbered and waits for control retry after unpin")
        return True
    if draft.is_advised(service.service):
        text = f"{service.service} {label} is numbered; the policy only advises, and judges it once another tool rolls it out"
        draft.because("advise", text)
        return True
    return False


def _offer(draft: Draft, service: ServiceInEnvironment, label: str, release: str | None, size: int | None, order: ReleaseOrder) -> bool:
    if only_numbered(draft, service, label) and release is None:
        return True  # as a member of a release it has come, and the release says what becomes of that
    name = release or group_of(service)
    if name is None:
        _start(draft, {service.service: label}, "release", None, order)
        return True
    _collect(draft, name, service.service, label, size or group_size(draft, service), order, group=release is None)
    return True


def group_of(service: ServiceInEnvironment) -> str | None:
    """The name by which what moves together with a service is collected; None where it moves alone."""
    return f"group {service.moves_together}" if service.moves_together else None


def group_size(draft: Draft, service: ServiceInEnvironment) -> int | None:
    """How many services move together with this one, itself counted; None where the release is of no known size."""
    return len(group_mates(draft, service)) or None


def group_mates(draft: Draft, service: ServiceInEnvironment) -> list[str]:
    """The services that move together with this one, itself among them; none where it moves alone."""
    catalog = draft.find("catalog", e.CatalogEntry)
    names = catalog.services if catalog is not None and service.moves_together is not None else ()
    return [n for n in names if (other := draft.service(n)) is not None and other.moves_together == service.moves_together]


def _collect(
    draft: Draft,
    name: str,
    service: str,
    label: str,
    size: int | None,
    order: ReleaseOrder,
    *,
    again: bool = False,
    group: bool = False,
) -> None:
    before = draft.find(f"release/{name}", e.ReleaseEntry)
    members = {**(before.members if before is not None else {}), service: label}
    whole = size if size is not None else (before.size if before is not None else None)
    wait = (RELEASE_WAIT_SECONDS if whole is not None and not group else RELEASE_QUIET_SECONDS) * 1000
    known = {*(before.again if before is not None else ())} - {service} | ({service} if again else set())
    entry = e.ReleaseEntry(
        name, whole, dict(sorted(members.items())), order, draft.clock.steady + wait, again=tuple(sorted(known)), group=group
    )
    draft.put(f"release/{name}", entry)
    if name not in draft.index.releases:
        draft.put("index", replace(draft.index, releases=(*draft.index.releases, name)))
    if whole is not None and len(members) >= whole:
        _start_release(draft, entry)
        return
    of = f" of {whole}" if whole is not None else ""
    draft.because("collecting", f"release {name}: {len(members)}{of} services so far, the last is {service} {label}")


def _start_release(draft: Draft, entry: e.ReleaseEntry) -> bool:
    """Queue what came; whether it was not refused. Of what moves together the rest goes on without what may not move any more."""
    _forget_release(draft, entry.release)
    members = moved_by(draft, entry)
    kept = {s: why for s, label in members.items() if entry.group and (why := unwanted(draft, s, label, entry.cause)) is not None}
    for service, why in kept.items():
        text = f"release {entry.release} goes on without {service} {members[service]}: {why}"
        draft.because("stays-behind", text)
        notify_of_release(draft, "release-incomplete", (service,), text, control("retry", f"{draft.environment}:{service}"))
    _turn_down(draft, {service: members.pop(service) for service in kept})
    return not members or _start(draft, members, entry.cause, entry.release, entry.order)


def moved_by(draft: Draft, entry: e.ReleaseEntry) -> dict[str, str]:
    """What a release moves, of which all came that is to come: nothing where none of it is new. Says what it goes on without, and why."""
    newer = {service: label for service, label in entry.members.items() if _is_outdated(draft, service, label)}
    if newer:
        names = " and ".join(f"{service} {label}" for service, label in newer.items())
        draft.because("outdated", f"release {entry.release} goes on without {names}: a newer version serves or is on its way")
    carried = {s: r.id for s, label in entry.members.items() if s not in newer and (r := _carried_by(draft, s, label)) is not None}
    for service, id_ in carried.items():
        text = f"release {entry.release} goes on without {service} {entry.members[service]}, which {id_} moves already"
        draft.because("already-rolling", text, id_)
    moving = {s: label for s, label in entry.members.items() if s not in newer and s not in carried}
    fresh = {s: label for s, label in _new_of(draft, entry).items() if s in moving}
    if not fresh and entry.again:
        _say_nothing_new(draft, entry)
    known = {s: label for s, label in moving.items() if s in entry.again and label != draft.target(s).stable} if fresh else {}
    return dict(sorted({**fresh, **known}.items()))


def _say_nothing_new(draft: Draft, entry: e.ReleaseEntry) -> None:
    """That a release is ignored, since whatever came of it came before, and what can be typed."""
    wanted = {s: label for s, label in entry.members.items() if label != draft.target(s).stable}
    ended = (r for id_ in reversed(draft.index.ended) if (r := draft.rollout(id_)) is not None and r.phase is Phase.REVERTED)
    whole = next((r.id for r in ended if {u.service: u.candidate for u in r.units} == wanted), None)
    ways = [f"; `{control('retry', whole)}` tries it again"] if whole else [_way_to(draft, s, label) for s, label in wanted.items()]
    draft.because("nothing-new", f"release {entry.release} is ignored: all that came of it came before{''.join(ways)}")


def _carried_by(draft: Draft, service: str, label: str) -> e.Rollout | None:
    """The rollout that moves a service to a version already and goes on as it is; one that waits takes more with it."""
    going = (r for r in under_way(draft, service) if r.unit(service).candidate == label and r.stopped_because is None)
    return next((r for r in going if not gives_way(draft, r, {service: label})), None)


def _new_of(draft: Draft, entry: e.ReleaseEntry) -> dict[str, str]:
    """What was collected and is not there yet."""
    return {s: label for s, label in entry.members.items() if s not in entry.again and not _was_there(draft, s, label)}


def _was_there(draft: Draft, service: str, label: str) -> bool:
    """Whether a version that was collected served by then: it serves still, or was gone back from since, which no release undoes."""
    version = draft.version(service, label)
    return label == draft.target(service).stable or (version is not None and version.gone_back)


def _is_outdated(draft: Draft, service: str, label: str) -> bool:
    """Whether a version that was collected would take its service back, since a newer artifact overtook it alone."""
    there = [draft.target(service).stable, *(u.candidate for r in draft.rollouts() for u in r.units if u.service == service)]
    return any(_arrived(draft, service, other) > _arrived(draft, service, label) for other in there if other is not None)


def _arrived(draft: Draft, service: str, label: str) -> int:
    """The number of the first version that the artifact of a version had, whatever its configuration; 0 where that is not known."""
    version = draft.version(service, label)
    last = version_number(label) or 0
    numbers = range(max(1, last - VERSIONS_KEPT), last + 1) if version is not None else ()
    labels = ((count, draft.version(service, version_label(count))) for count in numbers)
    return next((count for count, v in labels if v is not None and version is not None and v.artifact.digest == version.artifact.digest), 0)


def _forget_release(draft: Draft, name: str) -> None:
    draft.remove(f"release/{name}")
    draft.put("index", replace(draft.index, releases=tuple(n for n in draft.index.releases if n != name)))


def releases_due(draft: Draft) -> None:
    """Start the collected releases that are whole by now; drop declared ones that never became whole."""
    for name in draft.index.releases:
        entry = draft.find(f"release/{name}", e.ReleaseEntry)
        if entry is None or draft.clock.steady < entry.due_steady:
            continue
        if not (new := _new_of(draft, entry)):
            _forget_release(draft, name)
            _say_nothing_new(draft, entry)
        elif entry.size is not None and len(entry.members) < entry.size and not entry.group:
            _forget_release(draft, name)
            _turn_down(draft, new)
            came = " and ".join(f"{service} {label}" for service, label in sorted(entry.members.items()))
            text = f"release {name} is dropped: only {len(entry.members)} of {entry.size} services came ({came}); push it again whole"
            draft.because("release-dropped", text)
            _tell_dropped(draft, entry, text)
        elif not _start_release(draft, entry):
            _tell_dropped(draft, entry, f"release {name} is dropped: {draft.reasons[-1].text.removeprefix('refused: ')}")


def _tell_dropped(draft: Draft, entry: e.ReleaseEntry, text: str) -> None:
    """Tell people of a release that comes to nothing: whoever pushed it has heard nothing of that."""
    size = f" --release-size {entry.size}" if entry.size is not None else ""
    command = "ctrlplane-stream artifact push IMAGE@DIGEST" + ("" if entry.group else f" --release {entry.release}{size}")
    notify_of_release(draft, "release-dropped", tuple(sorted(entry.members)), text, command)
