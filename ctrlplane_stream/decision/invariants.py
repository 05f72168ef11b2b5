"""The promises of the rollout machine as executable checks, made after every fact by somebody who does not trust it.

The monitor keeps its own books from facts and commands alone and compares: it shares no rule with the code that it checks.
It runs in the driver for tests and users, in the simulation, and can run beside a worker. Numbers are those of
``docs/architecture.md``.
"""

from collections.abc import Callable, Iterator

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision, Moment
from ctrlplane_stream.decision.phases import ENDED, MOVING, Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.commands import Command, JudgeAssigned, Notify
from ctrlplane_stream.model.decisions import Disposition
from ctrlplane_stream.model.facts import (
    ArrivalsObserved,
    Fact,
    OutcomeReported,
    OverrideRequested,
    OverrideVerb,
    VerdictGiven,
    WorldChanged,
)
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.policy import Policy, Unsure
from ctrlplane_stream.model.verdicts import OUR_JUDGE, NoDataCause, Verdict, VerdictStatus
from ctrlplane_stream.model.world import Capacity, TargetObserved, TargetWanted


class Violation(msgspec.Struct, frozen=True):
    """A broken promise: its number, and what happened."""

    invariant: int
    text: str


class Books:
    """What the monitor noted of the past, per environment."""

    def __init__(self) -> None:
        self.command_ids: set[str] = set()
        self.wanted: dict[str, TargetWanted] = {}
        self.observed: dict[str, TargetObserved] = {}
        self.met: dict[tuple[str, str], int] = {}
        """(service, label) to the end of the last window with a request of it, in ms of the spans' own clocks."""
        self.closed_ms = 0
        """The end of the last window that closed, by the same clocks."""
        self.zero_since: dict[tuple[str, str], int] = {}
        self.verdicts: dict[tuple[str, int, int], Verdict] = {}
        """(rollout, step, attempt) to the last word of our judge."""
        self.outside: dict[tuple[str, str, int, int], VerdictStatus] = {}
        """(judge, rollout, step, attempt) to the last word of another."""
        self.overrides: set[str] = set()
        self.freezes: dict[str, tuple[str | None, int | None]] = {}
        """Freezes in force by id: the service (None: all) and when it ends."""
        self.weighted: set[tuple[str, str, str]] = set()
        self.mover: dict[str, str] = {}
        """Service to the rollout that last had it told something."""
        self.window_seconds = 10.0
        self.stepped: tuple[int, str] | None = None
        self.runs: dict[tuple[str, str], int] = {}
        """(service, label) to the most runs of it that were seen to have ended well."""
        self.runs_before: dict[tuple[str, str], int] = {}
        """(rollout, service) to how many of its candidate's were seen by when the step was confirmed."""


Check = Callable[[Books, Fact, State, Decision], Iterator[Violation]]


class Monitor:
    """Checks one environment, fact by fact, from its first."""

    def __init__(self) -> None:
        self.books = Books()

    def after(self, before: State, fact: Fact, moment: Moment, decision: Decision) -> list[Violation]:
        """What the decision of this fact broke; empty where all promises hold."""
        _note_fact(self.books, fact, moment)
        found = [violation for check in CHECKS for violation in check(self.books, fact, before, decision)]
        for command in commands_of(decision):
            self.books.command_ids.add(command.id)
            self.books.wanted[command.target.service] = command.wanted
            if command.rollout is not None:
                self.books.mover[command.target.service] = command.rollout
            for version in command.wanted.versions:
                if version.weight > 0 and command.rollout is not None:
                    self.books.weighted.add((command.rollout, command.target.service, version.label))
        if isinstance(fact, OverrideRequested):
            _note_override(self.books, fact)
        _note_runs(self.books, decision)
        return found


def _note_override(books: Books, fact: OverrideRequested) -> None:
    if fact.id in books.overrides:
        return
    books.overrides.add(fact.id)
    if fact.verb is OverrideVerb.FREEZE:
        books.freezes[fact.id] = (fact.service, fact.expires_ms)
    elif fact.verb is OverrideVerb.UNFREEZE:
        books.freezes = {id_: freeze for id_, freeze in books.freezes.items() if freeze[0] != fact.service}


def _note_runs(books: Books, decision: Decision) -> None:
    for output in decision.outputs:
        rollout = _rollout(decision.state, output.assignment.rollout) if isinstance(output, JudgeAssigned) else None
        for unit in rollout.units if rollout is not None else ():
            if rollout is not None:
                books.runs_before[rollout.id, unit.service] = books.runs.get((unit.service, unit.candidate), 0)


def commands_of(decision: Decision) -> list[Command]:
    """The commands among the outputs."""
    return [output for output in decision.outputs if isinstance(output, Command)]


def _note_fact(books: Books, fact: Fact, moment: Moment) -> None:
    if isinstance(fact, OutcomeReported | WorldChanged) and fact.observed is not None:
        service = fact.target.service
        last = books.observed.get(service)
        if last is None or fact.observed.cursor is None or last.cursor is None or fact.observed.cursor >= last.cursor:
            books.observed[service] = fact.observed
            for version in fact.observed.versions:
                books.runs[service, version.label] = max(version.runs, books.runs.get((service, version.label), 0))
            _note_weights(books, service, fact.observed, moment.at_ms)
    elif isinstance(fact, ArrivalsObserved):
        books.window_seconds = fact.window_seconds
        end = int((fact.window + fact.window_seconds) * 1000)
        books.closed_ms = max(books.closed_ms, end)
        for service, counts in fact.arrivals.items():
            for label, count in counts.items():
                if count > 0:
                    books.met[service, label] = max(end, books.met.get((service, label), 0))
    elif isinstance(fact, VerdictGiven):
        v = fact.verdict
        if v.judge == OUR_JUDGE:
            books.verdicts[v.rollout, v.step, v.attempt] = v
        else:
            books.outside[v.judge, v.rollout, v.step, v.attempt] = v.status


def _note_weights(books: Books, service: str, observed: TargetObserved, at_ms: int) -> None:
    for version in observed.versions:
        if version.weight == 0:
            books.zero_since.setdefault((service, version.label), at_ms)
        else:
            books.zero_since.pop((service, version.label), None)


def _rollouts(state: State) -> list[e.Rollout]:
    index = state.find("index", e.Index) or e.Index()
    return [r for id_ in index.rollouts if (r := state.find(f"rollout/{id_}", e.Rollout)) is not None]


def _rollout(state: State, id_: str | None) -> e.Rollout | None:
    return state.find(f"rollout/{id_}", e.Rollout) if id_ is not None else None


def weights_are_whole(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """1: weights sum to 100, or 0 where nothing was ever stable; nothing rises above its observed ready capacity."""
    for command in commands_of(decision):
        total = sum(v.weight for v in command.wanted.versions)
        if total not in ((100,) if command.wanted.stable is not None else (0, 100)):
            yield Violation(1, f"{command.id}: weights of {command.target} sum to {total}")
        yield from _raised(books, command, _rollout(decision.state, command.rollout))


def _exchanged(command: Command, raised: int, seen: TargetObserved | None, rollout: e.Rollout | None) -> str | None:
    """What is wrong with raising a candidate in place by so many percent, or None: all must be ready, and one instance follows another."""
    versions = seen.versions if seen is not None else ()
    instances = sum(v.instances for v in versions)
    if any(v.ready < v.instances for v in versions):
        return "while an instance is not ready"
    if instances and not command.wanted.surplus_percent and rollout is not None and len(rollout.steps) > 1 and raised > 100 / instances + 1:
        return f"by {raised} points with {instances} instances"
    return None


def _raised(books: Books, command: Command, rollout: e.Rollout | None) -> Iterator[Violation]:
    past = books.wanted.get(command.target.service)
    seen = books.observed.get(command.target.service)
    for version in command.wanted.versions:
        if version.weight <= (past.weight(version.label) if past is not None else 0) or (rollout is not None and rollout.unsafe):
            continue
        if command.wanted.in_place:
            raised = version.weight - (past.weight(version.label) if past is not None else 0)
            wrong = _exchanged(command, raised, seen, rollout) if version.label != command.wanted.stable else None
            if wrong is not None:
                yield Violation(1, f"{command.id}: {version.label} of {command.target} raised in place {wrong}")
            continue
        at = seen.version(version.label) if seen is not None else None
        share = 100 * at.ready / at.instances if at is not None and at.instances else 0.0
        falling_back = rollout is not None and any(u.stable == version.label for u in rollout.units) and share > 0
        if share < version.weight and not falling_back:
            yield Violation(1, f"{command.id}: {version.label} of {command.target} raised to {version.weight}% with {share:.0f}% ready")


def stable_keeps_its_capacity(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """2: the stable version is wanted whole until the candidate has baked and it has drained."""
    for command in commands_of(decision):
        rollout = _rollout(decision.state, command.rollout)
        if rollout is None:
            stable = next((v for v in command.wanted.versions if v.label == command.wanted.stable), None)
            if command.wanted.stable is not None and (stable is None or stable.capacity is not Capacity.FULL):
                yield Violation(
                    2, f"{command.id}: stable {command.wanted.stable} of {command.target} loses its capacity outside of any rollout"
                )
            continue
        for unit in rollout.units:
            if unit.service != command.target.service or unit.stable is None:
                continue
            kept = next((v for v in command.wanted.versions if v.label == unit.stable), None)
            if kept is None or kept.capacity is not Capacity.FULL:
                if not (rollout.promoted and rollout.phase is Phase.DRAINING):
                    yield Violation(2, f"{command.id}: stable {unit.stable} of {unit.service} loses its capacity in {rollout.phase}")


def aborts_only_fall(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """3: during an abort no candidate's weight rises."""
    for command in commands_of(decision):
        rollout = _rollout(decision.state, command.rollout)
        past = books.wanted.get(command.target.service)
        if rollout is None or past is None or rollout.stopped_because is None:
            continue
        for unit in rollout.units:
            if unit.service == command.target.service and command.wanted.weight(unit.candidate) > past.weight(unit.candidate):
                yield Violation(3, f"{command.id}: {unit.candidate} of {unit.service} rises during an abort")


def drained_before_parked(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """4: nothing is scaled down before its weight is confirmed 0, in the object and in arrivals, and the drain has passed."""
    clock = decision.state.find("clock", e.Clock)
    for command in commands_of(decision):
        past = books.wanted.get(command.target.service)
        rollout = _rollout(decision.state, command.rollout)
        for version in past.versions if past is not None else ():
            now = next((v for v in command.wanted.versions if v.label == version.label), None)
            shrinks = version.capacity is not Capacity.PARKED and (now is None or now.capacity is Capacity.PARKED)
            if shrinks and rollout is None:
                yield Violation(
                    4, f"{command.id}: {version.label} of {command.target} goes outside of any rollout without having been parked"
                )
            if shrinks and rollout is not None and clock is not None and not rollout.unsafe:
                yield from _not_drained(books, command, version.label, rollout, decision.state, clock.now_ms)


def _not_drained(books: Books, command: Command, label: str, rollout: e.Rollout, state: State, now_ms: int) -> Iterator[Violation]:
    service = command.target.service
    if (rollout.id, service, label) not in books.weighted and all((u.service, u.stable) != (service, label) for u in rollout.units):
        return
    zero = books.zero_since.get((service, label))
    version_set = state.find(f"set/{rollout.id}", e.VersionSet)
    seen = books.observed.get(service)
    if zero is None and command.wanted.in_place and seen is not None and seen.version(label) is None:
        return  # In place a version is given weight before it runs; this one the world never had.
    if zero is None or version_set is None:
        yield Violation(4, f"{command.id}: {label} of {service} goes while its weight is not confirmed 0")
        return
    policy = version_set.policy
    if command.wanted.kind is ServiceKind.JOB:
        at = seen.version(label) if seen is not None else None
        if at is not None and at.running and now_ms - zero < policy.drain_limit_seconds * 1000:
            yield Violation(4, f"{command.id}: {label} of {service} goes while {at.running} of its runs are under way")
        return
    quiet_ms = min(now_ms - zero, books.closed_ms - books.met.get((service, label), 0))
    if quiet_ms < policy.drain_seconds * 1000 and now_ms - zero < policy.drain_limit_seconds * 1000:
        yield Violation(4, f"{command.id}: {label} of {service} goes {quiet_ms / 1000:.1f} s after its last request")


def forward_on_proof(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: no step forward without a PASS at this step (or a soak, marked), and none on a FAIL or while blind, whoever promotes."""
    said = fact.verb if isinstance(fact, OverrideRequested) else None
    for rollout in _rollouts(decision.state):
        past = _rollout(before, rollout.id)
        if past is None or not _went_forward(past, rollout) or past.phase in (Phase.QUEUED, Phase.PREPARING):
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
        if promoted:
            yield from _blind_or_failed(rollout, step, verdict)
        else:
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


def _went_forward(past: e.Rollout, now: e.Rollout) -> bool:
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


def watches_what_is_there(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """5: a step is watched only once the world shows its weight, or a PASS would be of something else."""
    for rollout in _rollouts(decision.state):
        past = _rollout(before, rollout.id)
        if past is None or past.phase is not Phase.SHIFTING or rollout.phase is not Phase.VERIFYING:
            continue
        for unit in rollout.units:
            wanted = books.wanted.get(unit.service)
            if unit.wave != rollout.wave or wanted is None or wanted.kind is ServiceKind.CONSUMER or wanted.in_place:
                continue  # what goes by instances shows the nearest share that it has
            seen = books.observed.get(unit.service)
            at = seen.version(unit.candidate) if seen is not None else None
            if at is None or at.weight != wanted.weight(unit.candidate):
                yield Violation(5, f"{rollout.id} watches {unit.service} {unit.candidate}, which is not shown at its weight")


def pauses_pause(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: nothing goes forward while it is paused or frozen, and whoever forces is told on."""
    for rollout in _rollouts(decision.state):
        past = _rollout(before, rollout.id)
        if past is not None and rollout.forced and not past.forced:
            if not any(isinstance(output, Notify) and output.rollout == rollout.id for output in decision.outputs):
                yield Violation(8, f"{rollout.id} is forced and nobody is told")
        if past is None or not _went_forward(past, rollout):
            continue
        codes = {hold.code for hold in past.holds} & {"pause", "frozen"}
        if codes and not isinstance(fact, OverrideRequested) and codes & {hold.code for hold in rollout.holds}:
            yield Violation(8, f"{rollout.id} went forward while {' and '.join(sorted(codes))}")
        yield from _stepped_though_frozen(books, fact, rollout, decision.state)


def drift_is_left(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: a target that strayed at rest is told nothing before somebody resumes it or it is as it was left."""
    for command in commands_of(decision):
        target = decision.state.find(f"target/{command.target.service}", e.TargetEntry)
        if target is not None and target.strayed is not None:
            yield Violation(8, f"{command.id}: {command.target} is written over though it strayed: {target.strayed}")


def _stepped_though_frozen(books: Books, fact: Fact, rollout: e.Rollout, state: State) -> Iterator[Violation]:
    clock = state.find("clock", e.Clock)
    if clock is None or isinstance(fact, OverrideRequested):
        return
    for id_, (service, until_ms) in books.freezes.items():
        covers = service is None or any(unit.service == service for unit in rollout.units)
        if covers and (until_ms is None or until_ms > clock.now_ms):
            yield Violation(8, f"{rollout.id} went forward though {id_} freezes {service or 'everything'}")


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
    if verdict is not None and verdict.status not in (VerdictStatus.PASS, VerdictStatus.FAIL):
        approved = any(judge.may_approve and word is VerdictStatus.PASS for judge, word in words.items())
        soaked = Unsure.SOAK in (policy.on_unprovable, policy.unprovable_bake, policy.on_no_data, policy.on_unknown_service)
        if not (approved or soaked) or step not in rollout.unproven:
            yield Violation(5, f"{rollout.id} left step {step + 1} on {verdict.status} without saying so")


def failure_reverts(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """6: a FAIL at the current step stops the rollout or the one that is blamed; a reverted one serves its stable version."""
    if isinstance(fact, VerdictGiven) and fact.verdict.status is VerdictStatus.FAIL and decision.disposition is Disposition.APPLIED:
        rollout = _rollout(decision.state, fact.verdict.rollout)
        stops = rollout is not None and _stops(decision.state, rollout.id, fact.verdict.judge)
        if rollout is not None and not stops and (rollout.stopped_because or "").startswith(f"{fact.verdict.judge}: "):
            yield Violation(5, f"{rollout.id} stops on a FAIL of {fact.verdict.judge}, which has no veto")
        if rollout is not None and stops and not (rollout.forced or rollout.skip_gate or rollout.cause == "revert" or rollout.beside):
            if rollout.stopped_because is None:
                yield Violation(6, f"{rollout.id} goes on in {rollout.phase} after a FAIL")
        yield from _reverted_reverts(before, decision.state)
    for rollout in _just_ended(before, decision.state):
        if rollout.phase is Phase.REVERTED:
            yield from _serves_stable(decision.state, rollout)


def _stops(state: State, rollout: str, judge: str) -> bool:
    """Whether a FAIL of this judge stops the rollout by its policy."""
    version_set = state.find(f"set/{rollout}", e.VersionSet)
    outside = version_set.policy.gate.outside if version_set is not None else ()
    return judge == OUR_JUDGE or any(known.name == judge and known.may_veto for known in outside)


def _reverted_reverts(before: State, after: State) -> Iterator[Violation]:
    for past in _rollouts(before):
        now = _rollout(after, past.id)
        if past.cause == "revert" and past.stopped_because is None and now is not None and now.stopped_because is not None:
            yield Violation(6, f"{past.id} is a revert, and a verdict reverts it")


def _just_ended(before: State, after: State) -> list[e.Rollout]:
    found = [_rollout(after, r.id) for r in _rollouts(before)]
    return [r for r in found if r is not None and r.phase in ENDED]


def _serves_stable(state: State, rollout: e.Rollout) -> Iterator[Violation]:
    for unit in rollout.units:
        target = state.find(f"target/{unit.service}", e.TargetEntry)
        if target is None or target.stable == unit.candidate:
            continue
        for live in target.live:
            if live.label == unit.candidate and live.weight != 0:
                yield Violation(6, f"{rollout.id} is reverted with {unit.candidate} of {unit.service} at {live.weight}%")
            if live.label == target.stable and live.weight != 100 and target.rollout in (None, rollout.id):
                yield Violation(6, f"{rollout.id} is reverted with stable {live.label} of {unit.service} at {live.weight}%")


def ends_are_consistent(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """7: a set ends all old or all new, as the world shows it; until then whoever does not act is named."""
    for rollout in _rollouts(decision.state):
        for unit in rollout.units:
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            troubled = target is not None and target.rollout == rollout.id and target.edited is None and target.in_flight is not None
            if troubled and target is not None and target.in_flight is not None and target.in_flight.trouble is not None:
                if not any(text.startswith(f"{unit.service} ") for text in rollout.stuck):
                    yield Violation(7, f"{rollout.id} does not name {unit.service}, which does not act: {target.in_flight.trouble}")
    for rollout in _just_ended(before, decision.state):
        if rollout.advice is not None:
            continue
        new: list[bool] = []
        for unit in rollout.units:
            seen = books.observed.get(unit.service)
            at = seen.version(unit.candidate) if seen is not None else None
            new.append(at is not None and at.weight > 0)
        if rollout.phase is Phase.COMPLETED and not all(new):
            yield Violation(7, f"{rollout.id} completed, but not every target shows its candidate")
        if rollout.phase is Phase.REVERTED and any(new) and "stable already" not in (rollout.stopped_because or ""):
            yield Violation(7, f"{rollout.id} is reverted, but a target still shows its candidate")


def never_refused(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """8: abort, pause and freeze are never refused."""
    if isinstance(fact, OverrideRequested) and fact.verb in (OverrideVerb.ABORT, OverrideVerb.PAUSE, OverrideVerb.FREEZE):
        repeated = fact.id in books.overrides or any(r.code == "repeated" for r in decision.reasons)
        if decision.disposition is not Disposition.APPLIED and not repeated:
            yield Violation(8, f"{fact.verb} {fact.id} was refused")
        if fact.verb is OverrideVerb.ABORT and not repeated:
            yield from _ignored_abort(fact, decision.state)


def _ignored_abort(fact: OverrideRequested, state: State) -> Iterator[Violation]:
    for rollout in _rollouts(state):
        about = fact.rollout in (None, rollout.id) and (fact.service is None or any(u.service == fact.service for u in rollout.units))
        if about and fact.id in rollout.overrides and rollout.stopped_because is None:
            yield Violation(8, f"abort {fact.id} changed nothing of {rollout.id} in {rollout.phase}")


def commands_are_unique(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """9: a command is emitted at most once per id, and one target gets at most one per decision."""
    ids = [command.id for command in commands_of(decision)]
    if len(set(ids)) != len(ids) or any(id_ in books.command_ids for id_ in ids):
        yield Violation(9, f"a command id is used twice: {ids}")
    targets = [command.target for command in commands_of(decision)]
    if len(set(targets)) != len(targets):
        yield Violation(9, f"a target is told twice in one decision: {targets}")
    if any(command.sequence != decision.sequence for command in commands_of(decision)):
        yield Violation(9, "a command carries another sequence than its decision")


def one_mover_per_target(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """10: at most one rollout moves any target; only one steps forward in a window; the stable version is never lost."""
    movers: dict[str, str] = {}
    for rollout in _rollouts(decision.state):
        for unit in rollout.units if rollout.phase in MOVING else ():
            target = decision.state.find(f"target/{unit.service}", e.TargetEntry)
            owner = target.rollout if target is not None else None
            if owner != rollout.id and rollout.phase not in (Phase.ABORTING, Phase.DRAINING):
                yield Violation(10, f"{rollout.id} moves {unit.service}, which belongs to {owner}")
            if owner == rollout.id and movers.setdefault(unit.service, rollout.id) != rollout.id:
                yield Violation(10, f"{unit.service} is moved by {movers[unit.service]} and {rollout.id}")
    for command in commands_of(decision):
        past = before.find(f"target/{command.target.service}", e.TargetEntry)
        if past is not None and past.stable is not None and command.wanted.stable is None:
            yield Violation(10, f"{command.id}: {command.target} lost its stable version {past.stable}")
        mover = _rollout(decision.state, command.rollout)
        other = _rollout(decision.state, books.mover.get(command.target.service))
        if mover is not None and other is not None and other.id != mover.id and other.phase in MOVING:
            yield Violation(10, f"{command.id}: {mover.id} has {command.target} told, which {other.id} moves")
        if mover is not None and mover.advice is not None:
            yield Violation(10, f"{command.id}: {command.target} is commanded, though another tool moves it")
    yield from _one_step_a_window(books, before, decision.state)


def _one_step_a_window(books: Books, before: State, after: State) -> Iterator[Violation]:
    clock = after.find("clock", e.Clock)
    for rollout in _rollouts(after):
        past = _rollout(before, rollout.id)
        if clock is None or past is None or rollout.phase is not Phase.SHIFTING or all(u.stable is None for u in rollout.units):
            continue
        if past.phase is Phase.SHIFTING and (past.wave, past.step) == (rollout.wave, rollout.step):
            continue
        window = int(clock.now_ms // (books.window_seconds * 1000))
        if books.stepped is not None and books.stepped[0] == window and books.stepped[1] != rollout.id:
            yield Violation(10, f"{rollout.id} steps in the window in which {books.stepped[1]} stepped")
        books.stepped = (window, rollout.id)


def nothing_sleeps(books: Books, fact: Fact, before: State, decision: Decision) -> Iterator[Violation]:
    """11: while a rollout is active time is asked for, and whatever is held has a reason and a deadline."""
    rollouts = _rollouts(decision.state)
    clock = decision.state.find("clock", e.Clock)
    if rollouts and clock is not None and (decision.wake_at_ms is None or decision.wake_at_ms > clock.now_ms + 5_000):
        yield Violation(11, f"rollouts are active, but time is not asked for within 5 s ({decision.wake_at_ms})")
    for rollout in rollouts:
        for hold in rollout.holds:
            if not hold.text or hold.deadline_ms <= 0:
                yield Violation(11, f"{rollout.id} is held for {hold.code} without a reason or a deadline")
        if not rollout.waiting_for and not rollout.holds:
            yield Violation(11, f"{rollout.id} is {rollout.phase} and does not say what it waits for")


CHECKS: tuple[Check, ...] = (
    weights_are_whole,
    stable_keeps_its_capacity,
    aborts_only_fall,
    drained_before_parked,
    forward_on_proof,
    watches_what_is_there,
    pauses_pause,
    drift_is_left,
    failure_reverts,
    ends_are_consistent,
    never_refused,
    commands_are_unique,
    one_mover_per_target,
    nothing_sleeps,
)
"""All of them, in the order of their numbers."""
