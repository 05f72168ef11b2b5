"""A revert goes first: it waits for its own service alone, and what climbs next to it stands still until it has all traffic.

A person who reverts has seen harm, and every window that this waits is served by it. Two that climbed side by side could not be told
apart, so the neighbour waits, at the weight that it has, and is judged anew.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.couplings import Relation, Standing, relation, standing
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.holds import freeze_on
from ctrlplane_stream.decision.phases import FORWARD
from ctrlplane_stream.decision.version_sets import neighbours


def halt_neighbours(draft: Draft, revert: e.Rollout) -> None:
    """Have those that climb next to a revert stand still."""
    for other in draft.rollouts():
        if other.phase not in FORWARD or other.bakes or other.waits_on is not None or other.is_revert:
            continue
        if (edge := _joined(draft, revert, other)) is not None:
            draft.put_rollout(replace(other, waits_on=revert.id))
            draft.because("lets-pass", f"{other.id} stands still beside {revert.id}, which goes back: {edge} joins them", other.id)


def next_to(draft: Draft, rollout: e.Rollout) -> str | None:
    """The revert that a climbing rollout lets pass, or None: where it had one, that or another one that is on its way by now."""
    passed = draft.rollout(rollout.waits_on) if rollout.waits_on is not None else None
    if passed is not None and _is_on_its_way(draft, passed):
        return passed.id
    reverts = (r for r in draft.rollouts() if r.is_revert and r.phase in FORWARD and _is_on_its_way(draft, r))
    return next((r.id for r in reverts if _joined(draft, r, rollout) is not None), None)


def passes(draft: Draft, revert: e.Rollout) -> str:
    """What a revert of these services passes over, for people; empty where there is nothing."""
    frozen = freeze_on(draft, tuple(unit.service for unit in revert.units))
    return f"{frozen}: no freeze keeps a revert" if frozen is not None else ""


def _is_on_its_way(draft: Draft, revert: e.Rollout) -> bool:
    return standing(draft, revert) is Standing.CLIMBING


def _joined(draft: Draft, revert: e.Rollout, other: e.Rollout) -> str | None:
    services = tuple(unit.service for unit in revert.units)
    related, by = relation(draft.state.graph, services, neighbours(draft.state.graph, services), other)
    return by if related is Relation.JOINED else None
