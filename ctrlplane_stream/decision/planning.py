"""What would happen if artifacts were offered now: the set, its order and blast radius, what it would wait for, how long each step takes.

The plan asks the same rules that decide, over a draft that is thrown away; nothing is changed. How long a step must last comes from the
judge's own planning at the traffic of the changed services as telemetry last saw it.
"""

import math
from collections.abc import Mapping

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import enqueue, obstacle
from ctrlplane_stream.decision.composing import steps_now
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.gate import answer_to_unproven, soaks
from ctrlplane_stream.decision.holds import refused_as_unknown, waits_as_unknown
from ctrlplane_stream.decision.judge.planning import Traffic, duration, plan_proof
from ctrlplane_stream.decision.rollout import settle
from ctrlplane_stream.decision.runs import first_step, is_job, only_jobs
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.decision.versioning import (
    RELEASE_QUIET_SECONDS,
    group_of,
    group_size,
    moved_by,
    number,
    was_turned_down,
)
from ctrlplane_stream.decision.wanted import foreign_image
from ctrlplane_stream.model.facts import Provenance, ReleaseOrder, ServiceSeen
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.model.policy import Policy, Step, Unsure


class PlannedStep(msgspec.Struct, frozen=True):
    """One step: the candidate's weight, what the policy allows, and what the evidence needs at today's traffic.

    ``proof_seconds`` is None where this traffic proves nothing; ``has_seconds`` is what the step and its gate leave for a proof, and
    ``provable`` whether that is enough. ``otherwise`` is what the policy does with a step that is not proven by then. ``approval``: a
    person must promote out of it besides.
    """

    wave: int
    weight: int
    requests_per_second: float
    min_seconds: float
    max_seconds: float
    proof_seconds: float | None
    has_seconds: float
    provable: bool
    otherwise: Unsure
    approval: bool = False


class BakeProof(msgspec.Struct, frozen=True):
    """What the bake can prove against the past at today's traffic: the seconds that it takes (None: never), and that it has."""

    proof_seconds: float | None
    has_seconds: float
    otherwise: Unsure
    """What the policy does with a bake that is not proven by then."""

    @property
    def suffices(self) -> bool:
        """Whether the bake lasts long enough for its proof."""
        return self.proof_seconds is not None and self.proof_seconds <= self.has_seconds


class Plan(msgspec.Struct, frozen=True):
    """What would happen now. ``refused`` says why nothing would; ``waits_for`` why it would queue first; ``approval`` why it would give
    nobody any weight before a person promotes it.

    ``without`` says what of the release does not move, and why; ``also`` are the rollouts that the same artifact begins besides.
    """

    environment: str
    rollout: str | None
    version_set: e.VersionSet | None
    steps: tuple[PlannedStep, ...]
    bake_seconds: float
    bake_proof: BakeProof | None
    waits_for: str | None
    refused: tuple[str, ...]
    without: tuple[str, ...] = ()
    also: tuple["Plan", ...] = ()
    approval: str | None = None


def plan(state: State, artifacts: tuple[Artifact, ...], order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST) -> Plan:
    """What the state would make of these artifacts if they came as one release. Changes nothing; at least one artifact."""
    if len(artifacts) == 1:
        return plan_push(state, artifacts, order)
    draft = Draft.as_of(state)
    return _planned(draft, _released(draft, artifacts, order), order, collects=False)


def plan_push(state: State, artifacts: tuple[Artifact, ...], order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST) -> Plan:
    """What the state would make of a push without a release: each service moves for itself, or with its group. Changes nothing; at least
    one artifact, of one image."""
    draft = Draft.as_of(state)
    apart: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        service = draft.service(artifact.service)
        apart.setdefault((group_of(service) if service is not None else None) or artifact.service, []).append(artifact)
    plans: list[Plan] = []
    for part in apart.values():
        plans.append(_planned(draft, _pushed(draft, tuple(part)), order, collects=True))
        settle(draft, None)  # the next one waits for what has begun by then
    return msgspec.structs.replace(plans[0], also=tuple(plans[1:]))


def _planned(draft: Draft, offered: "_Offered", order: ReleaseOrder, *, collects: bool) -> Plan:
    """``collects``: what moves together with the members is waited for first."""
    members, without = offered
    state, said = draft.state, len(draft.reasons)
    id_ = enqueue(draft, members, "release", None, order) if members else None
    if id_ is None:
        why = tuple(reason.text for reason in draft.reasons[said:])
        return Plan(state.environment, None, None, (), 0.0, None, None, (*without, *why))
    version_set = draft.version_set(id_)
    rollout = draft.rollout(id_)
    assert rollout is not None
    queues = obstacle(draft, rollout)
    waits = (_collected_first(draft, members) if collects else None) or (queues[0] if queues is not None else None)
    if (unknown := refused_as_unknown(rollout, version_set)) is not None:
        if waits is None:
            return Plan(state.environment, None, None, (), 0.0, None, None, (unknown,))
        waits += f"; then it does not begin while it is so that {unknown}"
    return Plan(
        environment=state.environment,
        rollout=id_,
        version_set=version_set,
        steps=_steps(draft, rollout, version_set),
        bake_seconds=version_set.policy.bake_seconds,
        bake_proof=_bake_proof(draft, rollout, version_set),
        waits_for=waits,
        refused=(),
        without=without,
        approval=waits_as_unknown(rollout, version_set),
    )


_Offered = tuple[dict[str, str], tuple[str, ...]]
"""What moves, service to version label, and why the rest does not."""


def _pushed(draft: Draft, artifacts: tuple[Artifact, ...]) -> _Offered:
    """As if each came alone: what is known already is nothing."""
    members, known, without = _numbered(draft, artifacts)
    without += [f"{a} is version {known[a.service]} of {a.service} already" for a in artifacts if a.service in known]
    return members, tuple(without)


def _released(draft: Draft, artifacts: tuple[Artifact, ...], order: ReleaseOrder) -> _Offered:
    """As if they came as one release, which does not begin while something keeps any of them."""
    members, known, without = _numbered(draft, artifacts)
    if without:
        return {}, tuple(without)
    serving = {service: label for service, label in known.items() if label == draft.target(service).stable}
    again = tuple(sorted(set(known) - set(serving)))
    said = len(draft.reasons)
    moved = moved_by(draft, e.ReleaseEntry("of these", None, {**members, **known}, order, 0, again=again))
    without = [f"{service} {label} serves, and needs no rollout" for service, label in serving.items()]
    return moved, (*without, *(reason.text for reason in draft.reasons[said:]))


def _numbered(draft: Draft, artifacts: tuple[Artifact, ...]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The versions that these are or would be, those that may move and those that came before, and why others are not taken."""
    members: dict[str, str] = {}
    known: dict[str, str] = {}
    refused: list[str] = []
    for artifact in artifacts:
        service = draft.service(artifact.service)
        if service is None:
            refused.append(f"the catalog has no service {artifact.service} in {draft.environment}")
        elif (foreign := foreign_image(service, artifact)) is not None:
            refused.append(foreign)
        elif (pinned := draft.target(artifact.service).pin) is not None:
            refused.append(pinned)
        else:
            label, new = number(draft, service, artifact, Provenance())
            (members if new or was_turned_down(draft, artifact.service, label) else known)[artifact.service] = label
    return members, known, refused


def _collected_first(draft: Draft, members: dict[str, str]) -> str | None:
    """That others move together with what is offered, and are collected with it first; None where that is not so."""
    service = draft.service(next(iter(members)))
    size = group_size(draft, service) if service is not None else None
    group = group_of(service) if service is not None else None
    if size is None or group is None:
        return None
    before = draft.find(f"release/{group}", e.ReleaseEntry)
    came = len({*members, *(before.members if before is not None else ())})
    quiet = f"it starts once it is whole, or once nothing came for {RELEASE_QUIET_SECONDS} s"
    return f"release {group}: {came} of {size} services so far; {quiet}" if came < size else None


def _steps(draft: Draft, rollout: e.Rollout, version_set: e.VersionSet) -> tuple[PlannedStep, ...]:
    waves = sorted({unit.wave for unit in version_set.changed})
    rates = {wave: _rate(draft, [u.service for u in version_set.changed if u.wave == wave]) for wave in waves}
    shown = steps_now(draft, version_set, rollout.steps)
    begins = {wave: first_step(version_set, wave, len(shown)) for wave in waves}
    return tuple(_step(draft, version_set, wave, step, rates[wave]) for wave in waves for step in shown[begins[wave] :])


def _rate(draft: Draft, services: list[str]) -> float:
    """Requests a second of the quietest of these services: the slowest proof is the one waited for."""
    seen = [found.requests_per_second if (found := draft.find(f"traffic/{s}", ServiceSeen)) is not None else 0.0 for s in services]
    return min(seen, default=0.0)


def _step(draft: Draft, version_set: e.VersionSet, wave: int, step: Step, rate: float) -> PlannedStep:
    policy = version_set.policy
    seconds = _proof_seconds(draft, policy, step.weight, rate)
    has = min(step.max_seconds, policy.gate.maximum_windows * draft.telemetry.window_seconds)
    otherwise = answer_to_unproven(policy, policy.on_unprovable)
    if rate <= 0:
        otherwise = Unsure.SOAK if soaks(version_set) else policy.on_no_data
    provable = seconds is not None and seconds <= has
    approval = step.approval or not policy.auto_promote
    return PlannedStep(wave, step.weight, rate, step.min_seconds, step.max_seconds, seconds, has, provable, otherwise, approval)


def _bake_proof(draft: Draft, rollout: e.Rollout, version_set: e.VersionSet) -> BakeProof | None:
    """None for jobs, which bake by their runs, and for a first version, which has no past to be compared with."""
    policy, gate = version_set.policy, version_set.policy.gate
    if only_jobs(version_set) or all(unit.stable is None for unit in version_set.changed):
        return None
    rate = _rate(draft, [u.service for u in version_set.changed])
    otherwise = answer_to_unproven(policy, policy.unprovable_bake)
    has = policy.bake_seconds + (0.0 if policy.unprovable_bake is Unsure.SOAK else rollout.steps[-1].max_seconds)
    if rate <= 0:
        return BakeProof(None, has, otherwise)
    planned = plan_proof(Traffic(rate, 1.0, window_seconds=draft.telemetry.window_seconds), gate)
    proof = None if math.isinf(planned.step_seconds) or not planned.provable else planned.step_seconds
    return BakeProof(proof, has, otherwise)


def _proof_seconds(draft: Draft, policy: Policy, weight: int, rate: float) -> float | None:
    if rate <= 0:
        return None
    seconds = plan_proof(Traffic(rate, weight / 100, window_seconds=draft.telemetry.window_seconds), policy.gate).step_seconds
    return None if math.isinf(seconds) else seconds


def in_words(planned: Plan) -> list[str]:
    """The plan as lines for a person."""
    return [line for one in (planned, *planned.also) for line in _one_in_words(one)]


def _one_in_words(planned: Plan) -> list[str]:
    if planned.version_set is None:
        return [f"nothing would happen: {why}" for why in planned.refused] or ["nothing would happen"]
    chosen = planned.version_set
    lines = [f"{planned.rollout} would start" + (f", after this: {planned.waits_for}" if planned.waits_for else " at once")]
    lines += [f"  held before it has any weight: {planned.approval}"] if planned.approval else []
    lines += [f"  {line}" for line in (*planned.without, *chosen.explanation)]
    lines += [f"  guard {g.guard.service or 'entry points'} ({g.guard.role}): {g.why}" for g in chosen.guards]
    lines += [f"  not watched {left.service}: {left.why}" for left in chosen.left_out]
    lines += [f"policy of {chosen.policy_of}, confidence {chosen.confidence}:"]
    radius: Mapping[tuple[int, int], e.BlastRadius] = {(b.wave, b.weight): b for b in chosen.blast_radius}
    lines += [_step_in_words(step, radius.get((step.wave, step.weight))) for step in planned.steps if not only_jobs(chosen)]
    last = chosen.policy.steps[-1]
    jobs = [unit.service for unit in chosen.changed if is_job(chosen, unit.service)]
    asked = ", once somebody promotes it" if planned.steps[-1].approval else ""
    lines += [f"  {name} takes the next runs, and goes on after {last.min_windows} that end well{asked}" for name in jobs]
    return [*lines, f"  then it bakes for {duration(planned.bake_seconds)}{_bake_in_words(planned.bake_proof)} and drains the old version"]


_UNPROVEN = {Unsure.SOAK: "it ends unproven", Unsure.HOLD: "it is held for a person", Unsure.ABORT: "it is reverted, healthy or not"}
_UNPROVEN_STEP = {**_UNPROVEN, Unsure.SOAK: "it goes on unproven"}


def _bake_in_words(proof: BakeProof | None) -> str:
    if proof is None or proof.suffices:
        return ""
    takes = "never" if proof.proof_seconds is None else f"only in about {duration(proof.proof_seconds)}"
    return f" (this traffic proves it {takes}, it has {duration(proof.has_seconds)} for that, and then {_UNPROVEN[proof.otherwise]})"


def _step_in_words(step: PlannedStep, radius: e.BlastRadius | None) -> str:
    reach = f", {radius.services} of {radius.of_services} services and {radius.traffic_share:.1%} of the traffic in reach" if radius else ""
    if step.proof_seconds is None:
        proof = f"this traffic cannot prove the margin, and {_UNPROVEN_STEP[step.otherwise]}"
    elif step.provable:
        proof = f"proof takes about {duration(step.proof_seconds)} at {step.requests_per_second:g} requests/s"
    else:
        proof = (
            f"proof would take about {duration(step.proof_seconds)} at {step.requests_per_second:g} requests/s, "
            f"it has {duration(step.has_seconds)} for that, and then {_UNPROVEN_STEP[step.otherwise]}"
        )
    asked = "; left only once somebody promotes it" if step.approval else ""
    return f"  wave {step.wave + 1}, {step.weight}%: {duration(step.min_seconds)} to {duration(step.max_seconds)}; {proof}{asked}{reach}"
