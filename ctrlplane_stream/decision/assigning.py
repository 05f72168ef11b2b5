"""What the judge is asked: one assignment per confirmed weight, and another while the candidates bake."""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import ADOPTION, QUEUED
from ctrlplane_stream.decision.runs import first_step, is_job
from ctrlplane_stream.model.commands import JudgeAssigned, JudgeReleased
from ctrlplane_stream.model.policy import Policy, Unsure
from ctrlplane_stream.model.verdicts import Assignment, Change, Concurrent, GatePolicy, Guard, GuardRole, OnUnprovable

_NOTHING_OF_ITS_OWN = (QUEUED, *ADOPTION)
"""Phases in which whatever weight a candidate has is not the rollout's doing."""


def global_step(rollout: e.Rollout) -> int:
    """The number of the step over all waves, from 0; the bake comes after the last."""
    return rollout.wave * len(rollout.steps) + rollout.step


def last_wave(rollout: e.Rollout) -> int:
    """The number of the last wave."""
    return max(unit.wave for unit in rollout.units)


def first_place(draft: Draft, rollout: e.Rollout, wave: int = 0) -> tuple[int, int]:
    """Wave and step at which a wave begins."""
    return wave, first_step(draft.version_set(rollout.id), wave, len(rollout.steps))


def next_place(draft: Draft, rollout: e.Rollout) -> tuple[int, int] | None:
    """Wave and step after this one; None where this is the last of the last wave."""
    if rollout.step + 1 < len(rollout.steps):
        return rollout.wave, rollout.step + 1
    if rollout.wave < last_wave(rollout):
        return first_place(draft, rollout, rollout.wave + 1)
    return None


def step_count(rollout: e.Rollout) -> int:
    """Steps of all waves and the bake: what the error budget is split over."""
    return (last_wave(rollout) + 1) * len(rollout.steps) + 1


def judged_on(previous: e.Rollout | None, rollout: e.Rollout) -> e.Rollout:
    """The rollout with its assignments counted on from those of the same rollout before it, if there was one.

    The judge reads from the count how often the steps were climbed before, and spends less of the error budget each time. Where the
    number of steps has changed the count goes on at the beginning of a pass, so that no pass is spent by more steps than it was split over.
    """
    if previous is None:
        return rollout
    before, steps = step_count(previous), step_count(rollout)
    begun = -(-previous.judged_attempt // before) * steps if steps != before else 0
    return replace(rollout, judged_attempt=max(previous.judged_attempt, begun))


def assign(draft: Draft, rollout: e.Rollout, *, baking: bool) -> None:
    """Ask the judge to watch the rollout as it stands: this wave's candidates, or all of them while they bake."""
    version_set = draft.version_set(rollout.id)
    there = tuple(u for u in rollout.units if baking or u.wave == rollout.wave)
    changed = tuple(u for u in there if not is_job(version_set, u.service)) or there  # a job's evidence is its runs
    assignment = Assignment(
        rollout=rollout.id,
        environment=rollout.environment,
        step=step_count(rollout) - 1 if baking else global_step(rollout),
        attempt=rollout.judged_attempt,
        changed=tuple(_change(draft, u) for u in changed),
        guards=tuple(_as_seen_from(g.guard, changed) for g in version_set.guards),
        weight=_share(rollout, baking=baking),
        weight_confirmed_at_ms=_judged_from_ms(draft, rollout),
        steps=step_count(rollout),
        window_seconds=max(1, round(draft.telemetry.window_seconds)),
        entry_points=version_set.entry_points,
        policy=_gate(version_set.policy, baking=baking),
        concurrent=_arms(draft, rollout),
        baking=baking,
        advised=rollout.advice is not None,
        counts_harm=version_set.policy.exposure_budget_requests is not None,
    )
    draft.outputs.append(JudgeAssigned(assignment))


def _change(draft: Draft, unit: e.Unit) -> Change:
    """The unit's versions by the labels that telemetry carries."""
    stable = draft.told_as(unit.service, unit.stable) if unit.stable is not None else None
    return Change(unit.service, draft.told_as(unit.service, unit.candidate), stable)


def _gate(policy: Policy, *, baking: bool) -> GatePolicy:
    """What the judge is to go by: it passes nothing unproven where the policy holds or aborts on what cannot be proven."""
    answer = policy.unprovable_bake if baking else policy.on_unprovable
    if answer is Unsure.SOAK or policy.gate.on_unprovable is not OnUnprovable.SOAK:
        return policy.gate
    return replace(policy.gate, on_unprovable=OnUnprovable.HOLD)


def _share(rollout: e.Rollout, *, baking: bool) -> float:
    """The candidates' share of the traffic, 0..1: as it was commanded, or as another tool was seen to give it."""
    if baking:
        return 1.0
    return rollout.advice.share if rollout.advice is not None else candidate_weight(rollout) / 100


def _judged_from_ms(draft: Draft, rollout: e.Rollout) -> int:
    """When the first window that counts may begin: one later for another tool's rollout, until exposure is counted everywhere."""
    confirmed = rollout.confirmed_ms or draft.clock.now_ms
    return confirmed + round(draft.telemetry.window_seconds * 1000) if rollout.advice is not None else confirmed


def candidate_weight(rollout: e.Rollout) -> int:
    """The weight of this step in percent; 100 where no version was ever stable, since there is nothing to share with."""
    if all(u.stable is None for u in rollout.units if u.wave == rollout.wave):
        return 100
    return rollout.steps[rollout.step].weight


def release(draft: Draft, rollout: e.Rollout, because: str) -> None:
    """Tell the judge that the rollout is no longer watched; nothing where it never was."""
    if rollout.confirmed_ms is not None:
        draft.outputs.append(JudgeReleased(rollout.id, because))


def _as_seen_from(guard: Guard, changed: tuple[e.Unit, ...]) -> Guard:
    """Changed services of other waves are watched as callees: their candidates take all the traffic or none."""
    if guard.role is GuardRole.CHANGED and all(u.service != guard.service for u in changed):
        return Guard(guard.service, GuardRole.CALLEE)
    return guard


def _arms(draft: Draft, rollout: e.Rollout) -> tuple[Concurrent, ...]:
    """The candidates of others that were given weight beside this rollout."""
    found: list[Concurrent] = []
    for other in draft.rollouts():
        for unit in other.units:
            if unit.weighted and _is_beside(draft, rollout, other):  # in this order, since few are, and that needs no target
                found.append(Concurrent(other.id, unit.service, draft.told_as(unit.service, unit.candidate)))
    return tuple(found)


def concurrent(draft: Draft, rollout: e.Rollout) -> tuple[e.Rollout, ...]:
    """Other rollouts with a candidate under weight that is not stable yet, in order of arrival."""
    return tuple(other for other in draft.rollouts() if _is_beside(draft, rollout, other))


def _is_beside(draft: Draft, rollout: e.Rollout, other: e.Rollout) -> bool:
    if other.id == rollout.id or other.promoted or other.phase in _NOTHING_OF_ITS_OWN:
        return False
    return other.advice is not None or _carries(draft, other)


def _carries(draft: Draft, rollout: e.Rollout) -> bool:
    """Whether weight is wanted for a candidate of the rollout."""
    for unit in rollout.units:
        wanted = draft.target(unit.service).wanted(unit.candidate)
        if wanted is not None and wanted.weight > 0:
            return True
    return False
