"""The way down: candidates back to weight 0, in reverse order, and only ever down.

The last wave falls first: callers leave the new callees before those go. The next wave falls only when the world has confirmed
the one above it; if a target cannot act, what lies below stays new, which is a consistent state, and the rollout says what is where.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft, Telling
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.targets import exchanges, is_shown, prepared, weighted
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.world import Capacity


def fall(draft: Draft, rollout: e.Rollout, because: str) -> bool:
    """Tell the highest wave that still carries weight to give it up; True when every wave is confirmed at weight 0."""
    for wave in sorted({unit.wave for unit in rollout.units}, reverse=True):
        units = [unit for unit in rollout.units if unit.wave == wave and owns(draft, rollout, unit)]
        for unit in units:
            _fall_unit(draft, rollout, unit, because)
        if not all(at_zero(draft, unit) for unit in units):
            return False
    return True


def owns(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> bool:
    """Whether the rollout moves the unit's target; one that only queued never did, and what runs there is not its own."""
    return draft.target(unit.service).rollout == rollout.id


def stays(rollout: e.Rollout) -> bool:
    """Whether nothing brings the rollout down any more: first versions that have baked, which only wait to be seen as stable."""
    return rollout.phase is Phase.DRAINING and rollout.promoted and all(unit.stable is None for unit in rollout.units)


def at_zero(draft: Draft, unit: e.Unit) -> bool:
    """Whether the candidate has no weight, and the world says so if it ever had one."""
    target = draft.target(unit.service)
    wanted = target.wanted(unit.candidate)
    if wanted is not None and wanted.weight > 0:
        return False
    return not unit.weighted or (unit.service not in draft.telling and is_shown(draft, target))


def serves(target: e.TargetEntry, label: str) -> bool:
    """Whether a version is seen with at least one ready instance."""
    seen = target.seen(label)
    return seen is not None and seen.ready > 0


def with_stable(draft: Draft, rollout: e.Rollout, unit: e.Unit) -> tuple[e.TargetEntry, bool]:
    """The target with the stable version wanted whole, which an old one that has drained is not, and whether that must come first.

    ``unsafe`` and an exchange in place do not wait for it, but what nobody asks for would never come.
    """
    target = draft.target(unit.service)
    stable = target.wanted(unit.stable) if unit.stable is not None else None
    if unit.stable is None or (stable is not None and stable.capacity is not Capacity.PARKED):
        return target, False
    return prepared(target, unit.stable), not rollout.unsafe and not exchanges(draft, target)


def _fall_unit(draft: Draft, rollout: e.Rollout, unit: e.Unit, because: str) -> None:
    target = draft.target(unit.service)
    wanted = target.wanted(unit.candidate)
    if wanted is None or wanted.weight == 0:
        return
    whole, comes_first = with_stable(draft, rollout, unit)
    if comes_first:
        draft.put_target(whole)
        draft.tell(unit.service, Telling(Verb.PREPARE, f"make {unit.stable} ready again: {because}", rollout.id))
        return
    hurries = rollout.unsafe or exchanges(draft, target)
    if unit.stable is not None and not hurries and not serves(target, unit.stable):
        return
    fallen = weighted(whole, unit.candidate, unit.stable, 0)
    if rollout.promoted:
        fallen = replace(fallen, last_known_good=unit.fallback, baked=tuple(b for b in fallen.baked if b != unit.candidate))
    draft.put_target(replace(fallen, stable=unit.stable))
    draft.tell(unit.service, Telling(Verb.SHIFT, because, rollout.id))
