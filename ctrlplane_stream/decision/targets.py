"""What is wanted of a target and whether the world shows it: weights, capacity and the commands that say so.

A target is always told its whole desired state. Weights of its versions sum to 100, or to 0 where nothing was ever stable; the
stable version keeps its full capacity for as long as it is listed here as stable or old.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target, version_number
from ctrlplane_stream.model.world import PARKED, Capacity, TargetWanted, WantedVersion

SHARE_TOLERANCE = 15
"""By how many points a share of instances may differ from the weight and still count as that weight."""
_NAMED = 12
"""So many services of a version set are named in a command, changed and watched ones each; the rest are counted."""


def with_version(target: e.TargetEntry, live: e.LiveVersion) -> e.TargetEntry:
    """The target with a version added or replaced, versions in order of number."""
    others = [v for v in target.live if v.label != live.label]
    return replace(target, live=tuple(sorted([*others, live], key=lambda v: version_number(v.label) or 0)))


def without_version(target: e.TargetEntry, label: str) -> e.TargetEntry:
    """The target without a version."""
    return replace(target, live=tuple(v for v in target.live if v.label != label))


def prepared(target: e.TargetEntry, label: str) -> e.TargetEntry:
    """The target with a version wanted at full capacity and no weight (or with the weight that it has)."""
    known = target.wanted(label)
    return with_version(target, e.LiveVersion(label, Capacity.FULL, known.weight if known else 0))


def sized(target: e.TargetEntry, label: str, share: int) -> e.TargetEntry:
    """The target with a version that has instances for ``share`` percent of the traffic; one that had more keeps them: it may be in use."""
    known = target.wanted(label)
    before = known.share if known is not None and known.capacity is Capacity.WEIGHTED else 0
    weight = known.weight if known is not None else 0
    return with_version(target, e.LiveVersion(label, Capacity.WEIGHTED, weight, share=max(before, share)))


def weighted(target: e.TargetEntry, candidate: str, stable: str | None, weight: int) -> e.TargetEntry:
    """The target with ``weight`` for the candidate and the rest for stable; every other version gets nothing."""
    weights = {candidate: weight, **({stable: 100 - weight} if stable is not None else {})}
    return replace(target, live=tuple(replace(v, weight=weights.get(v.label, 0)) for v in target.live))


def takes_requests(target: e.TargetEntry, label: str) -> bool:
    """Whether a version is seen with weight and instances."""
    seen = target.seen(label)
    return seen is not None and seen.weight > 0 and seen.instances > 0


def has_weight(target: e.TargetEntry, label: str) -> bool:
    """Whether a version is seen with weight, be it with instances or, as a job between its runs, without."""
    seen = target.seen(label)
    return seen is not None and seen.weight > 0


def ready_weight(target: e.TargetEntry, label: str) -> int:
    """The highest weight in percent that the version's observed ready instances can carry; 0 where none is ready."""
    seen = target.seen(label)
    if seen is None or seen.instances <= 0:
        return 0
    return min(100, 100 * seen.ready // seen.instances)


def failure(target: e.TargetEntry, label: str) -> str | None:
    """Why a version fails on the evidence of its instances alone, or None: a crash loop, or under weight none that is ready, or none."""
    seen = target.seen(label)
    if seen is None:
        return None
    if seen.failure is not None:
        return seen.failure
    if seen.weight > 0 and seen.ready == 0:
        return "none of its instances is ready any more" if seen.instances else f"it is given {seen.weight}% and has no instance"
    return None


def is_confirmed(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether the world shows the weights of the last command, seen after it was applied, and nothing says that they are not in force."""
    return _is_in_force(target) and _shows_weights(draft, target)


def _is_in_force(target: e.TargetEntry) -> bool:
    return target.is_heard and target.not_in_force is None


def _shows_weights(draft: Draft, target: e.TargetEntry) -> bool:
    for live in target.live:
        if live.weight and target.seen(live.label) is None:
            return False
    for seen in target.observed:
        wanted = target.wanted(seen.label)
        weight = wanted.weight if wanted is not None else 0
        if weight != seen.weight and not _same_share(weight, seen.weight, kind_of(draft, target.service), target.granularity):
            return False
    return True


def is_shown(draft: Draft, target: e.TargetEntry) -> bool:
    """``is_confirmed``, by how the service takes weight: what changes in place shows a weight once every instance is ready."""
    if not exchanges(draft, target):
        return is_confirmed(draft, target)
    return _is_in_force(target) and _is_settled(target) and _shows_shares(target)


def _is_settled(target: e.TargetEntry) -> bool:
    return all(v.ready == v.instances for v in target.observed)


def _shows_shares(target: e.TargetEntry) -> bool:
    """Whether the shares of the instances are those that are wanted, give or take half an instance."""
    half_an_instance = 50 / max(1, sum(v.instances for v in target.observed))
    wanted = {v.label: v.weight for v in target.live}
    close = all(abs(wanted.get(v.label, 0) - v.weight) <= half_an_instance for v in target.observed)
    whole = all(v.weight == wanted.get(v.label, 0) for v in target.observed if wanted.get(v.label, 0) in (0, 100))
    return close and whole and all(weight == 0 or target.seen(label) is not None for label, weight in wanted.items())


def is_astray(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether a target that showed its weights shows others now, or says that what steers its traffic does not go by them any more.

    A command that only says them again takes nothing from what is seen. An instance of an exchange that is not ready is waited for as such.
    """
    if exchanges(draft, target):
        return _is_settled(target) and not _shows_shares(target)
    return target.not_in_force is not None or not _shows_weights(draft, target)


def impostor(draft: Draft, target: e.TargetEntry) -> str | None:
    """Which version is shown to run something else than what was numbered, or None; a world that tells no digest is taken at its word."""
    for seen in target.observed:
        version = draft.version(target.service, seen.label)
        if version is not None and seen.digest and seen.digest != version.artifact.digest:
            return f"{seen.label} runs {seen.digest} instead of {version.artifact.digest}"
    return None


def is_as_left(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether the world shows the weights that were wanted, and behind each label the artifact that was numbered so."""
    return is_shown(draft, target) and impostor(draft, target) is None


def wants_in_place(draft: Draft, service: str) -> bool:
    """Whether the catalog wants the service's instances exchanged, in place or in portions, rather than two fleets side by side."""
    entry = draft.service_as_known(service)
    return entry is not None and entry.policy.exchanges and entry.kind is not ServiceKind.JOB


def surplus_wanted(draft: Draft, service: str) -> int:
    """By how much the catalog lets an exchange of the service exceed its size, in percent; 0 where there may be none more."""
    entry = draft.service_as_known(service)
    return entry.policy.surplus_percent if entry is not None else 0


def exchanges(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether the target changes in place: as its rollout began, else as the catalog says now."""
    began = draft.find(f"set/{target.rollout}", e.VersionSet) if target.rollout is not None else None
    return target.service in began.in_place if began is not None else wants_in_place(draft, target.service)


def _surplus_percent(draft: Draft, target: e.TargetEntry) -> int:
    """By how much an exchange may exceed the target's size: as its rollout began, else as the catalog says now."""
    if target.rollout is not None and draft.has(f"set/{target.rollout}"):
        return draft.version_set(target.rollout).surplus_percent.get(target.service, 0)
    return surplus_wanted(draft, target.service)


def wants_by_weight(draft: Draft, service: str) -> bool:
    """Whether the catalog wants a candidate of the service to have instances for its weight only, rather than for all the traffic."""
    entry = draft.service_as_known(service)
    return entry is not None and entry.policy.by_weight and entry.kind is ServiceKind.ROUTED


def grows(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether a candidate's instances come with its weight, so that each step waits for some to start."""
    began = draft.find(f"set/{target.rollout}", e.VersionSet) if target.rollout is not None else None
    return began is not None and target.service in began.by_weight


def is_taken(target: e.TargetEntry) -> bool:
    """Whether the target is seen to have taken the last command, which is not in force yet."""
    flight = target.in_flight
    return flight is not None and flight.trouble is None and target.observed_sequence >= flight.sequence


def goes_on(draft: Draft, target: e.TargetEntry) -> bool:
    """Whether the actuator has taken the last command and starts or exchanges instances by it, which takes its time."""
    return is_taken(target) and (exchanges(draft, target) or grows(draft, target))


def _same_share(wanted: int, seen: int, kind: ServiceKind, granularity: int) -> bool:
    """Exactly the same where a route gives any share; where shares are of instances, near it and neither none nor all."""
    if wanted in (0, 100) or (kind is ServiceKind.ROUTED and granularity == 1):
        return wanted == seen
    return seen not in (0, 100) and abs(wanted - seen) <= SHARE_TOLERANCE


def kind_of(draft: Draft, service: str) -> ServiceKind:
    """How the service takes weight; routed where no catalog ever had it."""
    entry = draft.service_as_known(service)
    return entry.kind if entry is not None else ServiceKind.ROUTED


def desired(draft: Draft, target: e.TargetEntry) -> TargetWanted:
    """The whole desired state of a target, with a lease wherever a weight is partial, or may be until this is in force."""
    entry = draft.service_as_known(target.service)
    in_place = exchanges(draft, target)
    return TargetWanted(
        target=Target(draft.environment, target.service),
        kind=kind_of(draft, target.service),
        versions=tuple(_wanted_version(draft, target.service, v) for v in target.live),
        stable=target.stable,
        lease_seconds=lease_seconds(draft, target) if _is_on_lease(target) else None,
        actuator=entry.actuator if entry is not None else "",
        in_place=in_place,
        surplus_percent=_surplus_percent(draft, target) if in_place else 0,
        unsafe=_is_unsafe(draft, target),
    )


def is_partial(target: e.TargetEntry) -> bool:
    """Whether any weight that is wanted lies strictly between 0 and 100."""
    return any(0 < v.weight < 100 for v in target.live)


def _is_on_lease(target: e.TargetEntry) -> bool:
    """Whether somebody must go on judging: of weights that are whole until they are known to be in force, where another version has any.

    What was last told on a lease may be in force by now, whatever was seen before.
    """
    if target.leased_ms is not None or is_partial(target):
        return True
    seen = [(v.label, v.weight) for v in target.observed if v.weight]
    return bool(seen) and seen != [(v.label, v.weight) for v in target.live if v.weight]


def _wanted_version(draft: Draft, service: str, live: e.LiveVersion) -> WantedVersion:
    version = draft.version(service, live.label)
    if version is None:
        raise LookupError(f"{service} {live.label} is wanted but was never numbered")
    return WantedVersion(
        live.label,
        version.artifact,
        version.configuration,
        live.capacity,
        live.weight,
        live.share,
        version.told_as,
        version.template,
    )


def lease_seconds(draft: Draft, target: e.TargetEntry) -> float:
    """How long a partial weight of the target stands by itself: as the set's policy says, else the service's."""
    if target.rollout is not None and draft.has(f"set/{target.rollout}"):
        return draft.version_set(target.rollout).policy.lease_seconds
    return draft.policy(target.service).lease_seconds


def emit_commands(draft: Draft) -> None:
    """Turn every target that is to be told into one command, in order of name. One that strayed is told nothing that would restore it,
    before it is as it was left again, a person says so, or what moves it goes back: what is wanted of it is said then."""
    for number, service in enumerate(sorted(draft.telling)):
        telling = draft.telling[service]
        target = draft.target(service)
        if target.strayed is not None and telling.weights is None and telling.verb not in (Verb.ADOPT, Verb.LEAVE):
            continue
        id_ = f"{draft.environment}/{draft.clock.sequence}/{number}"
        target = _with_what_serves(draft, target)
        wanted = desired(draft, target if telling.weights is None else _at(target, telling.weights))
        draft.outputs.append(
            Command(
                id=id_,
                verb=telling.verb,
                target=wanted.target,
                sequence=draft.clock.sequence,
                wanted=wanted,
                because=telling.because,
                rollout=telling.rollout,
                over_edit=target.over_edit,
                version_set=_set_in_words(draft, telling.rollout),
            )
        )
        draft.put_target(_commanded(draft, target, telling, id_, leased=wanted.lease_seconds is not None))
        if target.rollout is None and service not in draft.index.awaited:
            draft.put("index", replace(draft.index, awaited=(*draft.index.awaited, service)))


def _with_what_serves(draft: Draft, target: e.TargetEntry) -> e.TargetEntry:
    """The target with parked versions kept that take requests again, by a hand or by a drift: their traffic goes first, and they are parked
    anew once they have drained. So is what was to be deleted just then, without which the target takes no command."""
    rollout = draft.mover(target)
    if rollout is not None and rollout.forced_unsafe:
        return target
    for label in _not_deleted(target):
        target = with_version(target, e.LiveVersion(label, PARKED, 0, draft.clock.steady))
        retires(draft, target.service)
        text = f"{target.service} {label} was to be deleted and has weight again, which goes first"
        draft.because("has-weight-again", text, target.rollout)
    for live in target.live:
        if live.capacity is PARKED and takes_requests(target, live.label):
            target = with_version(target, replace(live, capacity=Capacity.FULL))
            retires(draft, target.service)
            draft.because("serves-again", f"{target.service} {live.label} takes requests again, and drains anew", target.rollout)
    return target


def _not_deleted(target: e.TargetEntry) -> list[str]:
    """Versions that the target was told to delete, and has not since they have weight."""
    if target.in_flight is None or target.in_flight.verb != Verb.DELETE:
        return []
    return [v.label for v in target.observed if v.weight > 0 and target.wanted(v.label) is None]


def _is_unsafe(draft: Draft, target: e.TargetEntry) -> bool:
    rollout = draft.mover(target)
    return rollout is not None and rollout.unsafe


def retires(draft: Draft, service: str) -> None:
    """Have versions of a service looked at that are parked, or are to be."""
    index = draft.index
    if service not in index.retiring:
        draft.put("index", replace(index, retiring=tuple(sorted((*index.retiring, service)))))


def _at(target: e.TargetEntry, weights: dict[str, int]) -> e.TargetEntry:
    return replace(target, live=tuple(replace(v, weight=weights[v.label]) for v in target.live))


def _set_in_words(draft: Draft, id_: str | None) -> str:
    """What a rollout moves, from which version to which, and what it watches, each with its version, the first of many."""
    rollout = draft.rollout(id_) if id_ is not None else None
    if rollout is None:
        return ""
    moved = [f"{u.service} {u.candidate}" + (f" instead of {u.stable}" if u.stable is not None else "") for u in rollout.units]
    said = {"", *(unit.service for unit in rollout.units)}  # The entry points together are a guard without a name.
    guards = dict.fromkeys(each.guard.service for each in draft.version_set(rollout.id).guards)
    watched = [service for service in guards if service not in said]
    named = [f"{name} {draft.target(name).stable or ''}".rstrip() for name in watched[:_NAMED]]
    return _listed(moved) + (f"; watched: {_listed(named, len(watched))}" if watched else "")


def _listed(texts: list[str], count: int | None = None) -> str:
    """The first of them with commas between, and how many more there are."""
    more = (len(texts) if count is None else count) - len(texts[:_NAMED])
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _commanded(draft: Draft, target: e.TargetEntry, telling: Telling, id_: str, *, leased: bool) -> e.TargetEntry:
    flight, steady = target.in_flight, draft.clock.steady
    tries = flight.tries + 1 if flight is not None and flight.trouble is not None else 1
    given = [v.label for v in target.live if v.weight > 0]
    told = e.InFlight(
        id_, telling.verb, draft.clock.sequence, steady, tries, stays=telling.weights is not None and telling.verb is not Verb.RENEW
    )
    renewed = flight is not None and telling.verb is Verb.RENEW
    if renewed and flight is not None:
        anew = flight.verb == Verb.RENEW or goes_on(draft, target)  # else what it renews is waited for no longer than without it
        told = replace(told, verb=flight.verb, tries=flight.tries, issued_steady=steady if anew else flight.issued_steady)
    return replace(
        target,
        in_flight=told,
        moved_steady=target.moved_steady if renewed else steady,
        commanded_sequence=draft.clock.sequence,
        zero_since={label: since for label, since in target.zero_since.items() if label not in given},
        leased_ms=draft.clock.now_ms if leased else None,
    )


def weights_of(draft: Draft, rollout: e.Rollout) -> dict[str, dict[str, int]]:
    """What a rollout wants now, or what was seen of it where another tool makes it."""
    if rollout.advice is not None:
        return rollout.weights
    found: dict[str, dict[str, int]] = {}
    for unit in rollout.units:  # a loop, since Python 3.11 calls a function for a comprehension, and this is asked in every visit
        found[unit.service] = draft.target(unit.service).weights
    return found


def tell_again(draft: Draft, target: e.TargetEntry, because: str, *, renews: bool = False) -> None:
    """Say the same again: the last command did not take. At rest that is more than a deletion that may have been under way, and a lease can
    be renewed (``renews``) only where it is that which did not take: whoever went over the target by hand ended it."""
    verb = Verb(target.in_flight.verb) if target.in_flight is not None and target.rollout is not None else as_it_is(draft, target)
    verb = Verb.SHIFT if verb is Verb.RENEW and not renews else verb
    draft.tell(target.service, Telling(verb, because, target.rollout))


def as_it_is(draft: Draft, target: e.TargetEntry) -> Verb:
    """How to say what is wanted of a target of which nothing new is: to shift what is not adopted yet would make or delete it."""
    rollout = draft.mover(target)
    phase = rollout.phase if rollout is not None else None
    return Verb.ADOPT if phase is Phase.ADOPTING else Verb.LEAVE if phase is Phase.LEAVING else Verb.SHIFT


def was_refused(target: e.TargetEntry) -> bool:
    """Whether the actuator refused the last command."""
    flight = target.in_flight
    return flight is not None and (flight.trouble or "").startswith(f"{OutcomeStatus.REFUSED}:")
