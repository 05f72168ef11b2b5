"""Who goes first: queueing, superseding, and what a waiting rollout waits for.

Two rollouts exclude each other if they move one service, and wait for each other if an edge joins what they move, until the
first is verified at weight 100. That goes for rollouts of other tools too, for as long as they do not stand still. At a hub
nobody waits: the pair of candidates is judged as an arm of its own. All others run side by side: ``couplings.py`` has the table. The
queue is first come, first served; one that could start may overtake an older one that cannot, but not once that has waited long.

A revert that a person wants waits for its own service alone, which is free at once or on its way back: no freeze, no maintenance window
and no neighbour keeps it. A neighbour that climbs stands still beside it.
"""

from itertools import chain, count

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.assigning import judged_on
from ctrlplane_stream.decision.composing import compose, incompatible_cycle, steps_for, steps_now, with_reach
from ctrlplane_stream.decision.couplings import APART, COUPLINGS, Relation, Wait, relation, standing
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.holds import closed_by_maintenance, freeze_on
from ctrlplane_stream.decision.phases import ENDED, QUEUED, Phase
from ctrlplane_stream.decision.superseding import as_declared, is_extended, make_way, starts_over, with_withdrawn
from ctrlplane_stream.decision.version_sets import neighbours
from ctrlplane_stream.decision.wanted import unable
from ctrlplane_stream.model.facts import ReleaseOrder
from ctrlplane_stream.model.identity import version_number

AGEING_SECONDS = 600
"""After waiting this long a queued rollout is no longer overtaken by younger ones that would disturb it."""


def enqueue(
    draft: Draft, members: dict[str, str], cause: str, release: str | None = None, order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
) -> str | None:
    """Queue a rollout of ``members`` (service to version label); its id, or None where it was refused with a reason."""
    if (why := next((found for name in sorted(members) if (found := unable(draft, name)) is not None), None)) is not None:
        draft.because("unsupported", f"refused: {why}")
        return None
    wanted, members = members, with_withdrawn(draft, members, cause)
    release, order = as_declared(draft, wanted, cause, release, order)
    names = tuple(sorted(members))
    if (cycle := incompatible_cycle(draft, names)) is not None:
        draft.because("cycle", _refused_cycle(cycle))
        return None
    id_ = _id_of(draft, members, wanted, cause)
    previous = draft.rollout(id_)
    if previous is not None and previous.phase not in ENDED and not is_extended(draft, previous, wanted, members, cause):
        draft.because("already-rolling", f"ignored: {id_} is under way ({previous.phase})", id_)
        return None
    make_way(draft, wanted, cause, id_)
    version_set = compose(draft, id_, members, release, order)
    rollout = judged_on(previous, _queued(draft, id_, version_set, cause, previous))
    draft.put(f"set/{id_}", with_reach(draft, version_set, steps_now(draft, version_set, rollout.steps)))
    draft.put_rollout(rollout)
    draft.list_under_way(id_)
    draft.because("queued", f"{id_}: {'; '.join(version_set.explanation)}", id_)
    return id_


def _refused_cycle(cycle: tuple[str, ...]) -> str:
    return (
        f"refused: {' and '.join(cycle)} call each other and change together; declare in_cycle_compatible for each in the "
        "catalog if their versions get on, or release them one by one"
    )


def _id_of(draft: Draft, members: dict[str, str], wanted: dict[str, str], cause: str) -> str:
    """By the first member; by another one while the rollout that has this id still goes back, the first new one where that is to start
    over; and ``again`` where a catalog returns to what is just going back."""
    ids = [rollout_id(draft, name, members[name]) for name in sorted(members)]
    id_, other = ids[0], draft.rollout(ids[0])
    if other is not None and other.stopped_because is not None and other.phase not in ENDED:
        if cause == "configuration":
            return f"{id_}-again"
        return next((free for free in ids if (taken := draft.rollout(free)) is None or taken.phase in ENDED), id_)
    if other is None or cause == "revert" or not starts_over(draft, other, wanted):
        return id_
    return rollout_id(draft, min(wanted), wanted[min(wanted)])


def rollout_id(draft: Draft, service: str, label: str) -> str:
    """``environment/service/number``, the slashes of the service's name as dashes; with the number of the slashes, and then a count, where
    another service has that, whose name differs in them alone."""
    base = f"{draft.environment}/{service.replace('/', '-')}/{version_number(label) or plain(label)}"
    slashes = f"{base}-{service.count('/')}"
    ids = chain((base, slashes), (f"{slashes}-{number}" for number in count(2)))
    return next(id_ for id_ in ids if (other := draft.rollout(id_)) is None or any(unit.service == service for unit in other.units))


def plain(label: str) -> str:
    """Somebody else's version label as the last part of an id: a digest in short, and nothing that a scope could be mistaken for."""
    kind, colon, digest = label.partition(":")
    if colon and kind.isalnum() and len(digest) >= 32:
        return digest[:12]
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in label) or "-"


def _queued(draft: Draft, id_: str, version_set: e.VersionSet, cause: str, previous: e.Rollout | None) -> e.Rollout:
    clock = draft.clock
    return e.Rollout(
        id=id_,
        environment=draft.environment,
        phase=Phase.QUEUED,
        units=tuple(e.Unit(c.service, c.candidate, c.stable, c.wave) for c in version_set.changed),
        steps=steps_for(version_set, cause),
        attempt=previous.attempt + 1 if previous is not None else 1,
        cause=cause,
        holds=previous.holds if previous is not None else (),  # of one that was still queued; what has ended is not held
        began_ms=clock.now_ms,
        queued_steady=clock.steady,
        phase_since_steady=clock.steady,
        timeline=(e.Passage(Phase.QUEUED, 0, 0, clock.now_ms),),
    )


def obstacle(draft: Draft, rollout: e.Rollout) -> tuple[str, str | None] | None:
    """Why a queued rollout may not start now, with the id of the rollout that it waits for if that is why; None where it may."""
    if (why := _closed(draft, rollout)) is not None:
        return why, None
    return _conflict(draft, rollout, tuple(u.service for u in rollout.units))


def still_waits(draft: Draft, rollout: e.Rollout) -> bool:
    """Whether the rollout that it waits for is where it was, so that nothing needs to be looked at again.

    One that waits too may have been queued anew since, and then comes after this one; what is held is looked at for its deadline.
    """
    other = draft.rollout(rollout.waits_on) if rollout.waits_on is not None else None
    if other is None or rollout.holds or other.advice is not None or other.phase is not rollout.waits_while:
        return False
    if other.holds and other.only_first_versions:
        return False  # which give up their place, and stay
    return other.phase is not Phase.QUEUED or other.queued_steady <= rollout.queued_steady


def _closed(draft: Draft, rollout: e.Rollout) -> str | None:
    services = tuple(u.service for u in rollout.units)
    if rollout.holds:
        return rollout.holds[0].text
    for name in services:
        target = draft.target(name)
        if target.edited is not None:
            return f"{name} was edited by hand ({target.edited}); resume says that we may go on over it"
        if target.strayed is not None:
            return f"{name} is not as it was left ({target.strayed}); resume says that we may restore it"
        if draft.clock.steady < target.blocked_until_steady and not (rollout.by_a_person or rollout.forced):
            left = (target.blocked_until_steady - draft.clock.steady) / 1000
            return f"{name} was reverted and takes no new rollout for another {left:.0f} s, unless somebody forces it"
    if rollout.is_revert:
        return None
    frozen = freeze_on(draft, services)
    policy = draft.version_set(rollout.id).policy
    return frozen or closed_by_maintenance(draft.clock.now_ms, policy)


def _conflict(draft: Draft, rollout: e.Rollout, services: tuple[str, ...]) -> tuple[str, str] | None:
    graph, earlier = draft.state.graph, True
    near = neighbours(graph, services) if not rollout.is_revert else {}
    for other in draft.rollouts():
        if other.id == rollout.id:
            earlier = False
            continue
        if other.phase is QUEUED and not earlier and not other.is_revert:
            continue
        related, by = relation(graph, services, near, other)
        if related is APART:
            continue  # as most are, which need not be asked how far they are
        wait = COUPLINGS[related][standing(draft, other)]
        aged = draft.clock.steady - other.queued_steady > AGEING_SECONDS * 1000
        if wait is Wait.ALWAYS or (earlier and (wait is Wait.BEHIND or (wait is Wait.BEHIND_AGED and aged))):
            return _waiting(other, related, by), other.id
    return None


def _waiting(other: e.Rollout, related: Relation, by: str) -> str:
    if related is Relation.SAME_SERVICE:
        return f"waits for {other.id}, which moves {by} too"
    return f"waits until {other.id} is verified at 100, since {by} joins them"
