"""From changed services to a whole version set: units in waves, guards, blast radius, confidence, policy, and all of it in words."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import version_sets as vs
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.graph import Graph
from ctrlplane_stream.decision.runs import is_job, only_jobs, shown_weight
from ctrlplane_stream.decision.targets import kind_of, surplus_wanted, wants_by_weight, wants_in_place
from ctrlplane_stream.decision.waves import cycles, waves
from ctrlplane_stream.model.facts import ReleaseOrder, ServiceSeen
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy, Step
from ctrlplane_stream.model.strictest import NEVER, as_one, strictest

_NOBODY: Mapping[str, str] = MappingProxyType({})


def compose(
    draft: Draft, rollout: str, members: dict[str, str], release: str | None, order: ReleaseOrder, served: Mapping[str, str] = _NOBODY
) -> e.VersionSet:
    """The set that moves ``members`` (service to version label), by the graph as it is known now. Pure; at least one member. What it can
    touch is known with the steps that it takes: ``with_reach``.

    ``served`` names the stable versions that we do not know of as targets, since another tool moves them.
    """
    state = draft.state
    walked = vs.walk(state.graph, members, lambda name: _takes_requests_from_outside(draft, name))
    units = _units(draft, state.graph, members, order, served)
    policy_of, policy, mixture = ruling(draft, tuple(sorted(members)))
    shown, more = vs.left_out(state.graph, walked)
    trust, why = vs.confidence(state, members)
    in_place = tuple(name for name in sorted(members) if wants_in_place(draft, name))
    return e.VersionSet(
        rollout=rollout,
        changed=units,
        guards=vs.guards(state, walked),
        left_out=shown,
        left_out_more=more,
        entry_points=walked.entry_points,
        confidence=trust,
        explanation=(*_explanation(draft, walked, units, more + len(shown), order), *mixture, why),
        policy=policy,
        policy_of=policy_of,
        release=release,
        order=order,
        hub=any(vs.is_hub(state.graph, name) for name in members),
        kinds={name: kind_of(draft, name) for name in sorted(members)},
        in_place=in_place,
        by_weight=tuple(name for name in sorted(members) if wants_by_weight(draft, name)),
        surplus_percent={name: room for name in in_place if (room := surplus_wanted(draft, name))},
    )


def _takes_requests_from_outside(draft: Draft, service: str) -> bool:
    seen = draft.find(f"traffic/{service}", ServiceSeen)
    return seen is not None and seen.roots_per_second > 0


def _units(
    draft: Draft, graph: Graph, members: dict[str, str], order: ReleaseOrder, served: Mapping[str, str]
) -> tuple[e.ChangedUnit, ...]:
    number = waves(graph, members, order)
    units = [e.ChangedUnit(name, members[name], served.get(name, draft.target(name).stable), number[name]) for name in sorted(members)]
    return tuple(sorted(units, key=lambda unit: (unit.wave, unit.service)))


def incompatible_cycle(draft: Draft, services: tuple[str, ...]) -> tuple[str, ...] | None:
    """A cycle among the changed services whose members do not all declare that their versions get on, or None."""
    for cycle in cycles(draft.state.graph, services):
        if not all((entry := draft.service(name)) is not None and entry.in_cycle_compatible for name in cycle):
            return cycle
    return None


def ruling(draft: Draft, services: tuple[str, ...]) -> tuple[str, Policy, tuple[str, ...]]:
    """Whose policy rules a set, that policy, and what is to be said where it is no single one: the strictest of all its services in each
    line. It is named after the one with the smallest first weight, then the longest bake, then by name."""
    policies = [(name, entry.policy if (entry := draft.service(name)) is not None else Policy()) for name in services]
    name, first = min(policies, key=lambda p: (p[1].steps[0].weight, -p[1].bake_seconds, p[0]))
    others = [other for other, policy in policies if policy != first]
    if not others:
        return name, first, ()
    policy_of = f"{name}, and in each line that of {' or '.join(others)} where it is stricter"
    policy = strictest(first, [policy for _, policy in policies])
    never = "; their maintenance windows have no time in common, so it never begins: release them apart, or let these meet"
    return policy_of, policy, (f"goes by the policy of {policy_of}{never if policy.maintenance == NEVER else ''}",)


def steps_for(version_set: e.VersionSet, cause: str) -> tuple[Step, ...]:
    """The steps that a rollout takes: the policy's; only the last for a first version ever, and for a revert without waiting."""
    steps = version_set.policy.steps
    if cause == "revert":
        return (replace(steps[-1], min_seconds=0.0, min_windows=0, approval=False),)
    if all(unit.stable is None for unit in version_set.changed):
        return steps[-1:]
    return steps


def reachable(steps: tuple[Step, ...], instances: int) -> tuple[Step, ...]:
    """The steps that ``instances`` equal shares can show: weights rounded down, what becomes 0 the first of the others. Those that become
    the same are one, with the rules of all of them."""
    if instances <= 0:
        return steps
    # The least that is so many in whole percent: 34, not 33, of 3.
    weights = [-(-(step.weight * instances // 100 * 100) // instances) for step in steps]
    least = next(weight for weight in weights if weight)
    shown: dict[int, list[Step]] = {}
    for weight, step in zip(weights, steps, strict=True):
        shown.setdefault(max(weight, least), []).append(step)
    return tuple(as_one(weight, alike) for weight, alike in shown.items())


def by_instances(version_set: e.VersionSet) -> bool:
    """Whether any changed service takes weight by instances, so that not every weight can be reached."""
    return any(kind is ServiceKind.CONSUMER for kind in version_set.kinds.values())


def steps_now(draft: Draft, version_set: e.VersionSet, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps as the instances that run now can show them: one for each where a service changes in place, else rounded down."""
    if only_jobs(version_set):
        return steps[-1:]
    strictly = [name for name in version_set.in_place if name not in version_set.surplus_percent]
    if strictly:  # of whatever version they are: after a hand some may still be exchanged back
        return one_by_one(steps, max(sum(seen.instances for seen in draft.target(name).observed) for name in strictly))
    if by_instances(version_set) or version_set.in_place:
        shares = [u for u in version_set.changed if not is_job(version_set, u.service)]
        steps = reachable(steps, min((n for u in shares if (n := _instances(draft, u.service, u.stable))), default=0))
    coarsest = max((draft.target(unit.service).granularity for unit in version_set.changed), default=1)
    return reachable(steps, 100 // coarsest) if coarsest > 1 else steps


def one_by_one(steps: tuple[Step, ...], instances: int) -> tuple[Step, ...]:
    """A step for each of ``instances``, with the rules of the first of ``steps`` that gives as much and of those that give less than one
    instance more; ``steps`` where none was seen."""
    if instances <= 0 or len(steps) == 1:
        return steps
    weights = [(100 * count + instances // 2) // instances for count in range(1, instances + 1)]
    found = []
    for below, weight, above in zip([0, *weights[1:]], weights, [*weights[1:], 101], strict=True):
        first = next(step for step in steps if step.weight >= weight)
        found.append(as_one(weight, [first, *(step for step in steps if below <= step.weight < above)]))
    return tuple(found)


def _instances(draft: Draft, service: str, label: str | None) -> int:
    seen = draft.target(service).seen(label) if label is not None else None
    return seen.instances if seen is not None else 0


def with_reach(draft: Draft, version_set: e.VersionSet, steps: tuple[Step, ...]) -> e.VersionSet:
    """The set with what can be touched at each of ``steps``, as it takes them: earlier waves have all traffic by then, later ones none."""
    known = draft.telemetry
    radius: list[e.BlastRadius] = []
    for wave in range(max(unit.wave for unit in version_set.changed) + 1):
        count = _services_reached(draft, version_set, wave)
        for step in steps:
            weights = {unit.service: _weight_at(version_set, unit, wave, step.weight) for unit in version_set.changed}
            share = vs.traffic_share(draft.state, weights, known.requests_per_second)
            radius.append(e.BlastRadius(step.weight, wave, count, max(known.services, count), round(share, 6)))
    return replace(version_set, blast_radius=tuple(radius))


def _services_reached(draft: Draft, version_set: e.VersionSet, wave: int) -> int:
    """How many services the waves up to this one concern; all of them together those that the set watches."""
    moved = [unit.service for unit in version_set.changed if unit.wave <= wave]
    if len(moved) == len(version_set.changed):
        return sum(1 for watched in version_set.guards if watched.guard.service)
    return len(vs.walk(draft.state.graph, moved).found)


def _weight_at(version_set: e.VersionSet, unit: e.ChangedUnit, wave: int, weight: int) -> int:
    """The weight of the unit's candidate while this wave is at that weight."""
    if unit.wave != wave:
        return 100 if unit.wave < wave else 0
    return 100 if unit.stable is None else shown_weight(version_set, unit.service, weight)


def _explanation(draft: Draft, walked: vs.Walk, units: tuple[e.ChangedUnit, ...], outside: int, order: ReleaseOrder) -> tuple[str, ...]:
    moves = ", ".join(f"{u.service} {u.stable or 'nothing'} → {u.candidate}" for u in units)
    roles: dict[str, int] = {}
    for watched in walked.found.values():
        roles[watched.role] = roles.get(watched.role, 0) + 1
    counted = ", ".join(f"{count} {role}" for role, count in roles.items())
    lines = [f"moves {moves}", f"watches {len(walked.found)} of {max(draft.telemetry.services, len(walked.found))} services: {counted}"]
    if len({u.wave for u in units}) > 1:
        lines.append(f"in waves, {order.replace('-', ' ')}: " + " then ".join(_wave_names(units)))
    if outside:
        some = "at least " if len(walked.found) > vs.LEFT_OUT_SCANNED else ""
        lines.append(f"{some}{outside} neighbours are not watched, since no change can reach them by a known edge")
    return tuple(lines)


def _wave_names(units: tuple[e.ChangedUnit, ...]) -> list[str]:
    return [" and ".join(u.service for u in units if u.wave == wave) for wave in sorted({u.wave for u in units})]
