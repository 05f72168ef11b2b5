"""What would happen if artifacts were offered now: the set, its order and blast radius, what it would wait for, how long each step takes.

The pushes are decided as they would be, and the state that comes of it is looked at and thrown away; nothing is changed. How long a step
must last comes from the judge's own planning at the traffic of the changed services as telemetry last saw it.
"""

import math
from collections.abc import Iterator, Mapping

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.composing import steps_now
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.engine import Moment, decide
from ctrlplane_stream.decision.gate import answer_to_unproven, soaks
from ctrlplane_stream.decision.holds import refused_as_unknown, waits_as_unknown
from ctrlplane_stream.decision.judge.planning import Traffic, duration, plan_proof
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.runs import first_step, is_job, only_jobs
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.decision.versioning import RELEASE_QUIET_SECONDS, known_label
from ctrlplane_stream.decision.wanted import unable, unwanted
from ctrlplane_stream.model.decisions import Reason
from ctrlplane_stream.model.facts import ArtifactPushed, ReleaseOrder, ServiceSeen, TimePassed
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
    size = len({artifact.service for artifact in artifacts})
    offered = _pushed(state, tuple(ArtifactPushed(f"plan of {a}", a, _RELEASE, size, order) for a in artifacts))
    if offered.draft.has(f"release/{_RELEASE}"):
        return offered.nothing()  # something keeps one of them, so it would never be whole
    return offered.plans()[0]


def plan_push(state: State, artifacts: tuple[Artifact, ...], order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST) -> Plan:
    """What the state would make of a push without a release: each service moves for itself, or with its group. Changes nothing; at least
    one artifact, of one image."""
    offered = _pushed(state, tuple(ArtifactPushed(f"plan of {a}", a, order=order) for a in artifacts))
    plans = offered.plans()
    return msgspec.structs.replace(plans[0], also=tuple(plans[1:]))


_RELEASE = "of these"
"""What a release is called that nobody has named yet."""
_LEFT_OUT = (
    "unknown-service",
    "unknown-repository",
    "known-version",
    "pinned",
    "advise",
    "serves-already",
    "outdated",
    "already-rolling",
    "stays-behind",
    "stable-already",
)
"""Codes of reasons that say what does not move along."""
_ON_THE_WAY = ("version", "offered-again", "known-already", "collecting")
"""Codes of reasons that say how an artifact is taken in, and not what comes of it."""


def _pushed(state: State, pushes: tuple[ArtifactPushed, ...]) -> "_Offered":
    """The state after these pushes, decided one after the other as they would be, and what their groups then begin without the rest."""
    now, reasons = state, list[Reason]()
    for push in pushes:
        decision = decide(now, push, _moment(now))
        now = decision.state
        reasons += decision.reasons
    collected: dict[str, str] = {}
    for name in (now.find("index", e.Index) or e.Index()).releases:
        entry = now.find(f"release/{name}", e.ReleaseEntry)
        if entry is None or entry == state.find(f"release/{name}", e.ReleaseEntry) or name == _RELEASE:
            continue
        collected |= dict.fromkeys(entry.members, _waits_for_more(entry))
        due = now.with_changes({f"release/{name}": msgspec.structs.replace(entry, due_steady=0)})
        decision = decide(due, TimePassed(), _moment(due))
        now = decision.state
        reasons += decision.reasons
    return _Offered(state, Draft.as_of(now), pushes, tuple(reasons), collected)


def _moment(state: State) -> Moment:
    """The time of the last fact that was decided: what is looked ahead for comes right after it."""
    return Moment(0, (state.find("clock", e.Clock) or e.Clock()).now_ms, None)


def _waits_for_more(entry: e.ReleaseEntry) -> str:
    of = f" of {entry.size}" if entry.size is not None else ""
    quiet = f"it starts once it is whole, or once nothing came for {RELEASE_QUIET_SECONDS} s"
    return f"release {entry.release}: {len(entry.members)}{of} services so far; {quiet}"


class _Offered(msgspec.Struct, frozen=True):
    """What came of pushes: the ``before``, a ``draft`` of the state after them, why, and for which services more is ``collected`` first."""

    before: State
    draft: Draft
    pushes: tuple[ArtifactPushed, ...]
    reasons: tuple[Reason, ...]
    collected: dict[str, str]

    def plans(self) -> list[Plan]:
        """One for each rollout that came of them, in the order of the pushes, of which the first says what does not move; one that says
        why, where none did."""
        labels = [(push.artifact.service, self._label(push.artifact)) for push in self.pushes]
        began = dict.fromkeys(id_ for service, label in labels for id_ in self._begun(service, label))
        found = [rollout for id_ in began if (rollout := self.draft.rollout(id_)) is not None]
        over = tuple(rollout.stopped_because for rollout in found if rollout.stopped_because is not None)
        plans = [self._planned(rollout) for rollout in found if rollout.stopped_because is None]
        if not plans:
            return [self.nothing(*over)]
        left_out = tuple(reason.text for reason in self.reasons if reason.code in _LEFT_OUT)
        return [msgspec.structs.replace(plans[0], without=(*left_out, *over)), *plans[1:]]

    def nothing(self, *why: str) -> Plan:
        """That nothing would happen, and why."""
        ours = (push.artifact.service for push in self.pushes if self.draft.service(push.artifact.service) is not None)
        advised = [text for service in ours if (text := unable(self.draft, service)) is not None]
        said = [reason.text for reason in self.reasons if reason.code not in _ON_THE_WAY] or [reason.text for reason in self.reasons]
        return Plan(self.draft.environment, None, None, (), 0.0, None, None, why or tuple(advised or said))

    def _label(self, artifact: Artifact) -> str | None:
        service = self.draft.service(artifact.service)
        return known_label(self.draft, service, artifact) if service is not None else None

    def _begun(self, service: str, label: str | None) -> Iterator[str]:
        """The rollouts of the version that are there now, and were not before, or not so."""
        for id_ in (*self.draft.index.rollouts, *self.draft.index.ended):
            rollout, before = self.draft.rollout(id_), self.before.find(f"rollout/{id_}", e.Rollout)
            if rollout is None or all((unit.service, unit.candidate) != (service, label) for unit in rollout.units):
                continue
            if before is None or (before.attempt, before.units) != (rollout.attempt, rollout.units):
                yield id_

    def _planned(self, rollout: e.Rollout) -> Plan:
        draft, version_set = self.draft, self.draft.version_set(rollout.id)
        collected = next((self.collected[unit.service] for unit in rollout.units if unit.service in self.collected), None)
        queues = rollout.waiting_for if rollout.phase is Phase.QUEUED else None
        waits = "; then ".join(filter(None, (collected, queues))) or None
        if queues is not None and (kept := _kept(draft, rollout, version_set)) is not None:
            waits = f"{waits}; then it does not begin while it is so that {kept}"
        return Plan(
            environment=draft.environment,
            rollout=rollout.id,
            version_set=version_set,
            steps=_steps(draft, rollout, version_set),
            bake_seconds=version_set.policy.bake_seconds,
            bake_proof=_bake_proof(draft, rollout, version_set),
            waits_for=waits,
            refused=(),
            approval=waits_as_unknown(rollout, version_set),
        )


def _kept(draft: Draft, rollout: e.Rollout, version_set: e.VersionSet) -> str | None:
    """Why what waits would not begin by what is known now, or None."""
    if (unknown := refused_as_unknown(rollout, version_set)) is not None:
        return unknown
    return next((why for u in rollout.units if (why := unwanted(draft, u.service, u.candidate, rollout.cause)) is not None), None)


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
