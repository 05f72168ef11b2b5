"""Promise 5: no step forward but on proof of what is there."""

from collections.abc import Iterator

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.decision.invariants.books import Books, Violation, rollout_of
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import (
    Fact,
    OutcomeReported,
    OverrideRequested,
    OverrideVerb,
    WorldChanged,
)
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy, Unsure
from ctrlplane_stream.model.verdicts import NoDataCause, Verdict, VerdictStatus


def forward_on_proof(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: no step forward without a PASS at this step (or a soak, marked), and none on a FAIL or while blind, whoever promotes."""
    said = fact.verb if isinstance(fact, OverrideRequested) else None
    for rollout in decision.state.rollouts:
        past = rollout_of(before, rollout.id)
        if past is None or not went_forward(past, rollout) or past.phase in (Phase.QUEUED, Phase.PREPARING):
            continue
        if past.forced or past.skip_gate or rollout.forced or said in (OverrideVerb.SKIP, OverrideVerb.FORCE):
            continue
        bakes = past.phase is Phase.BAKING
        waves = max(unit.wave for unit in past.units) + 1
        step = waves * len(past.steps) if bakes else past.wave * len(past.steps) + past.step
        verdict = books.verdicts.get((rollout.id, step, past.judged_attempt))
        promoted = past.approved or past.promote_all or said is OverrideVerb.PROMOTE
        version_set = decision.state.find(f"set/{rollout.id}", e.VersionSet)
        kinds = version_set.kinds if version_set is not None else {}
        if not promoted:
            yield from _too_few_runs(books, past, step, version_set)
        if kinds and all(kind is ServiceKind.JOB for kind in kinds.values()):
            continue
        by_runs = all(kinds.get(unit.service) is ServiceKind.JOB for unit in past.units if bakes or unit.wave == past.wave)
        if promoted or by_runs:  # a wave of jobs alone goes by its runs, though not blind, since others have weight besides
            yield from _blind_or_failed(rollout, step, verdict)
        else:
            yield from _too_young(decision.state, past, step, verdict, version_set)
            yield from _unasked(past, step, version_set)
            yield from _unproven_step(books, decision.state, rollout, step, past.judged_attempt)


def _too_few_runs(books: Books, past: e.Rollout, step: int, version_set: e.VersionSet | None) -> Iterator[Violation]:
    """A job goes forward on runs that ended well, as many as its step or its bake wants."""
    for unit in past.units if version_set is not None else ():
        there = past.phase is Phase.BAKING or (unit.wave == past.wave and past.steps[past.step].weight == 100)
        if version_set is None or version_set.kinds.get(unit.service) is not ServiceKind.JOB or not there:
            continue
        wanted = version_set.policy.bake_windows if past.phase is Phase.BAKING else past.steps[past.step].min_windows
        had = books.runs.get((unit.service, unit.candidate), 0) - books.runs_before.get((past.id, unit.service), 0)
        if had < wanted:
            yield Violation(5, f"{past.id} left step {step + 1} on {had} of {wanted} runs of {unit.service}")


def _too_young(state: State, past: e.Rollout, step: int, verdict: Verdict | None, version_set: e.VersionSet | None) -> Iterator[Violation]:
    """Neither proof nor anybody's approval shortens a step or a bake; a soak ends by its time, with as many windows as there were."""
    clock, policy = state.find("clock", e.Clock), version_set.policy if version_set is not None else Policy()
    bakes, now = past.phase is Phase.BAKING, past.steps[past.step]
    least, windows = (policy.bake_seconds, policy.bake_windows) if bakes else (now.min_seconds, now.min_windows)
    seconds = ((clock.steady if clock is not None else 0) - (past.confirmed_steady or 0)) / 1000
    if seconds < least:
        yield Violation(5, f"{past.id} left step {step + 1} after {seconds:.0f} of {least:.0f} s")
    soaked = verdict is None or verdict.status is VerdictStatus.NO_DATA or (seconds >= now.max_seconds and not bakes)
    if verdict is not None and not soaked and verdict.windows_judged < windows:
        yield Violation(5, f"{past.id} left step {step + 1} on {verdict.windows_judged} of {windows} windows")


def _unasked(past: e.Rollout, step: int, version_set: e.VersionSet | None) -> Iterator[Violation]:
    """Nobody gets more than what a step of the policy gives before the person has spoken for whom that step waits: neither where the
    world cannot show that step, nor where no other service of the set has it."""
    if version_set is None or past.is_revert or past.only_first_versions or past.phase is not Phase.VERIFYING:
        return
    least = past.steps[past.step].weight if past.step else 0
    most = past.steps[past.step + 1].weight if past.step + 1 < len(past.steps) else 101
    waits = [asked.weight for asked in version_set.policy.steps if asked.approval and least <= asked.weight < most]
    if waits or not version_set.policy.auto_promote:
        yield Violation(5, f"{past.id} left step {step + 1} though nobody promoted it{f' out of {waits[0]}%' if waits else ''}")


def went_forward(past: e.Rollout, now: e.Rollout) -> bool:
    """Whether a rollout was started or given weight, or kept its candidates for good, by this decision."""
    if past.phase is Phase.BAKING:
        return now.phase is Phase.DRAINING and now.promoted
    ways = {Phase.QUEUED: (Phase.PREPARING,), Phase.PREPARING: (Phase.SHIFTING,), Phase.VERIFYING: (Phase.SHIFTING, Phase.BAKING)}
    return now.phase in ways.get(past.phase, ())


def _blind_or_failed(rollout: e.Rollout, step: int, verdict: Verdict | None) -> Iterator[Violation]:
    if verdict is None or verdict.no_data is NoDataCause.PIPELINE_LATE:
        yield Violation(5, f"{rollout.id} left step {step + 1} blind")
    elif verdict.status is VerdictStatus.FAIL:
        yield Violation(5, f"{rollout.id} left step {step + 1} on a FAIL")


def _unproven_step(books: Books, state: State, rollout: e.Rollout, step: int, attempt: int) -> Iterator[Violation]:
    version_set = state.find(f"set/{rollout.id}", e.VersionSet)
    policy = version_set.policy if version_set is not None else Policy()
    verdict = books.verdicts.get((rollout.id, step, attempt))
    words = {judge: books.outside.get((judge.name, rollout.id, step, attempt)) for judge in policy.gate.outside}
    for judge, word in words.items():
        if judge.required and word is not VerdictStatus.PASS:
            yield Violation(5, f"{rollout.id} left step {step + 1} without a PASS of {judge.name}, which is required")
        if judge.may_veto and word is VerdictStatus.FAIL:
            yield Violation(5, f"{rollout.id} left step {step + 1} on a FAIL of {judge.name}, which may veto")
    yield from _blind_or_failed(rollout, step, verdict)
    if verdict is not None and verdict.contradicted:
        yield Violation(5, f"{rollout.id} left step {step + 1} while arrivals contradict its weight")
    if verdict is not None and verdict.doubtful and not any(j.may_approve and word is VerdictStatus.PASS for j, word in words.items()):
        yield Violation(5, f"{rollout.id} left step {step + 1} in doubt, which nobody has settled")
    if verdict is not None and verdict.status not in (VerdictStatus.PASS, VerdictStatus.FAIL):
        approved = any(judge.may_approve and word is VerdictStatus.PASS for judge, word in words.items())
        soaked = Unsure.SOAK in (policy.on_unprovable, policy.unprovable_bake, policy.on_no_data, policy.on_unknown_service)
        if not (approved or soaked) or step not in rollout.unproven:
            yield Violation(5, f"{rollout.id} left step {step + 1} on {verdict.status} without saying so")


def watches_what_is_there(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: a step is watched only once the world shows its weight, or a PASS would be of something else; and none that gives nobody any."""
    for rollout in decision.state.rollouts:
        if rollout.phase is not Phase.VERIFYING:
            continue
        meant = (books.meant.get(unit.service, {}).get(unit.candidate, 0) for unit in rollout.units if unit.wave == rollout.wave)
        if not any(meant):
            yield Violation(5, f"{rollout.id} watches step {rollout.step + 1} of wave {rollout.wave + 1}, which gives nobody any weight")
        past = rollout_of(before, rollout.id)
        if past is None or past.phase is not Phase.SHIFTING:
            continue
        for unit in rollout.units:
            wanted = books.wanted.get(unit.service)
            if unit.wave != rollout.wave or wanted is None or wanted.kind is ServiceKind.CONSUMER or wanted.in_place:
                continue  # what goes by instances shows the nearest share that it has
            seen = books.observed.get(unit.service)
            at = seen.version(unit.candidate) if seen is not None else None
            if seen is None or seen.not_in_force is not None or at is None or at.weight != wanted.weight(unit.candidate):
                yield Violation(5, f"{rollout.id} watches {unit.service} {unit.candidate}, which is not shown at its weight")


def judged_where_it_was(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: a step is left while the world shows its weights, and on nothing that was seen while it showed others."""
    clock = decision.state.find("clock", e.Clock)
    now_ms = clock.now_ms if clock is not None else 0
    if isinstance(fact, OutcomeReported | WorldChanged) and _is_astray(books, fact.target.service):
        books.astray_ms[fact.target.service] = now_ms
    for rollout in decision.state.rollouts:
        past = rollout_of(before, rollout.id)
        if past is None or past.phase not in (Phase.VERIFYING, Phase.BAKING) or not went_forward(past, rollout):
            continue
        for unit in past.units:
            if _is_astray(books, unit.service):
                yield Violation(5, f"{rollout.id} left {past.phase} while {unit.service} shows another weight")
            elif books.astray_ms.get(unit.service, 0) > (past.confirmed_ms or 0) and not (past.forced or past.skip_gate):
                yield Violation(5, f"{rollout.id} left {past.phase} on what was seen while {unit.service} showed another weight")


def _is_astray(books: Books, service: str) -> bool:
    """Whether the world shows other weights than those of the last command, which it has carried out, or says that they are not in force;
    shares of instances apart."""
    seen, wanted, meant = books.observed.get(service), books.wanted.get(service), books.meant.get(service, {})
    if seen is None or wanted is None or wanted.in_place or wanted.kind is ServiceKind.CONSUMER or seen.granularity > 1:
        return False
    done = seen.cursor is not None and seen.cursor.sequence >= books.sequences.get(service, 0)
    return done and (seen.not_in_force is not None or any(v.weight != meant.get(v.label, 0) for v in seen.versions))


def reverts_to_what_baked(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: what takes all traffic in one step as a revert has baked here before, every version of it."""
    for rollout in decision.state.rollouts:
        past = rollout_of(before, rollout.id)
        if not rollout.is_revert or rollout.phase is not Phase.SHIFTING or (past is not None and past.phase is Phase.SHIFTING):
            continue
        if new := [f"{u.service} {u.candidate}" for u in rollout.units if (u.service, u.candidate) not in books.baked]:
            yield Violation(5, f"{rollout.id} is a revert and takes {', '.join(new)} along, which never baked")


def rules_are_those_of_all(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: what moves together goes by no weaker rules than any of it would alone, by the catalog as it is when the set is decided."""
    for rollout in decision.state.rollouts:
        chosen, past = (state.find(f"set/{rollout.id}", e.VersionSet) for state in (decision.state, before))
        if chosen is None or len(chosen.changed) == 1 or (past is not None and chosen.policy == past.policy):
            continue
        for unit in chosen.changed:
            known = decision.state.find(f"service/{unit.service}", ServiceInEnvironment)
            if known is not None and (weaker := _weaker(chosen.policy, known.policy)) is not None:
                yield Violation(5, f"{rollout.id} goes by less than {unit.service} asks for: {weaker}")


def _weaker(chosen: Policy, alone: Policy) -> str | None:
    for name in ("bake_seconds", "bake_windows", "drain_seconds", "retention_seconds"):
        if getattr(chosen, name) < getattr(alone, name):
            return name
    if alone.exposure_budget_requests is not None:
        if chosen.exposure_budget_requests is None or chosen.exposure_budget_requests > alone.exposure_budget_requests:
            return "exposure_budget_requests"
    if chosen.auto_promote and not alone.auto_promote:
        return "auto_promote"
    if alone.maintenance and not chosen.maintenance:
        return "maintenance"
    return _weaker_step(chosen, alone)


def _weaker_step(chosen: Policy, alone: Policy) -> str | None:
    there = {step.weight: step for step in chosen.steps}
    for asked in alone.steps:
        step = there.get(asked.weight)
        if step is None:
            return f"a step of {asked.weight}%"
        if asked.approval and not step.approval:
            return f"a person's word at {asked.weight}%"
        if step.min_seconds < asked.min_seconds or step.min_windows < asked.min_windows:
            return f"the time at {asked.weight}%"
    return None
