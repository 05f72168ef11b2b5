"""A driver for tests and for users: pipe facts in, advance time, read commands, reasons and state. No Kafka, no clock.

    driver = Driver("production")
    driver.pipe(CatalogApplied(catalog, hash="1", who="me"))
    driver.pipe(ArtifactPushed("e1", artifact))
    driver.commands[-1].verb        # Verb.PREPARE
    print(driver.transcript())      # time | fact | phase | commands | reason

Every fact is checked against the invariants of the rollout machine, and every delta against the state that it must lead to.
"""

from collections.abc import Iterable

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision, Moment, State, decide, fold
from ctrlplane_stream.decision.invariants import Monitor, Violation
from ctrlplane_stream.decision.state import encode_entry
from ctrlplane_stream.model.commands import Announce, Command, Declare, JudgeAssigned, Notify, Output
from ctrlplane_stream.model.decisions import Decided, Reason
from ctrlplane_stream.model.facts import Fact, Origin, TimePassed

START_MS = 1_700_000_000_000
"""When a driver's time begins, milliseconds since the epoch: a whole second, a whole window."""


DECIDED_TWICE = 16
"""Every so many facts one is decided a second time, and must come out the same."""


class InvariantBroken(AssertionError):
    """A decision broke a promise of the rollout machine; the message names which and how."""


class Row(msgspec.Struct, frozen=True):
    """One line of a transcript."""

    seconds: float
    fact: str
    phases: str
    commands: str
    reasons: str


class Driver:
    """One environment, driven by hand. ``strict``: a broken invariant raises; else it is kept in ``violations``."""

    def __init__(self, environment: str = "production", *, strict: bool = True, start_ms: int = START_MS) -> None:
        self.environment = environment
        self.state = State.empty(environment)
        self.now_ms = start_ms
        self.start_ms = start_ms
        self.offset = -1
        self.wake_at_ms: int | None = None
        self.outputs: list[Output] = []
        self.reasons: list[Reason] = []
        self.decided: list[Decided] = []
        self.facts: list[tuple[Fact, Moment]] = []
        self.violations: list[Violation] = []
        self.rows: list[Row] = []
        self._strict = strict
        self._monitor = Monitor()

    def pipe(self, fact: Fact, *, origin: Origin | None = None, at_ms: int | None = None) -> Decision:
        """Decide a fact at ``at_ms`` (now, where not given); InvariantBroken where that breaks a promise."""
        self.now_ms = max(self.now_ms, at_ms if at_ms is not None else self.now_ms)
        self.offset += 1
        fact = _as_read(fact)
        moment = Moment(self.offset, at_ms if at_ms is not None else self.now_ms, origin)
        before = self.state
        decision = decide(before, fact, moment)
        self._check(before, fact, moment, decision)
        self._keep(fact, moment, decision)
        return decision

    def advance(self, seconds: float, each: float = 5.0) -> None:
        """Let time pass, told in pieces of at most ``each`` seconds."""
        until = self.now_ms + round(seconds * 1000)
        while self.now_ms < until:
            self.pipe(TimePassed(), at_ms=min(until, self.now_ms + round(each * 1000)))

    def restart(self) -> None:
        """Lose everything that is not on the log: the state is folded again from nothing and must be the same."""
        state = State.empty(self.environment)
        for decided in self.decided:
            state = fold(state, decided)
        if state != self.state:
            raise InvariantBroken("folding the deltas does not give the state")
        self.state = State.from_entries(self.environment, list(state.entries()))

    def again(self) -> None:
        """Decide every fact again from nothing: the same facts must give the same decisions, byte for byte."""
        state = State.empty(self.environment)
        for (fact, moment), decided in zip(self.facts, self.decided, strict=True):
            decision = decide(state, fact, moment)
            if msgspec.json.encode(self._decided(moment, decision)) != msgspec.json.encode(decided):
                raise InvariantBroken(f"invariant 9: fact {moment.offset} is decided otherwise the second time")
            state = decision.state

    @property
    def commands(self) -> list[Command]:
        """Every command so far."""
        return [o for o in self.outputs if isinstance(o, Command)]

    @property
    def assignments(self) -> list[JudgeAssigned]:
        """Every assignment so far."""
        return [o for o in self.outputs if isinstance(o, JudgeAssigned)]

    @property
    def notices(self) -> list[Notify]:
        """Everything that people were told."""
        return [o for o in self.outputs if isinstance(o, Notify)]

    @property
    def announcements(self) -> list[Announce]:
        """Every artifact offered onward."""
        return [o for o in self.outputs if isinstance(o, Announce)]

    @property
    def declared(self) -> list[Declare]:
        """Every verdict that was said without a judge."""
        return [o for o in self.outputs if isinstance(o, Declare)]

    @property
    def rollouts(self) -> list[e.Rollout]:
        """Every rollout that the state knows, ended ones first, each in order of arrival."""
        return self._rollouts(*self._ids)

    @property
    def _ids(self) -> tuple[str, ...]:
        index = self.state.find("index", e.Index) or e.Index()
        return (*index.ended, *index.rollouts)

    def _rollouts(self, *ids: str) -> list[e.Rollout]:
        return [r for id_ in ids if (r := self.rollout(id_)) is not None]

    def rollout(self, id_: str) -> e.Rollout | None:
        """A rollout by id."""
        return self.state.find(f"rollout/{id_}", e.Rollout)

    def version_set(self, id_: str) -> e.VersionSet | None:
        """The version set of a rollout."""
        return self.state.find(f"set/{id_}", e.VersionSet)

    def target(self, service: str) -> e.TargetEntry:
        """What the engine knows of a service."""
        return self.state.find(f"target/{service}", e.TargetEntry) or e.TargetEntry(service)

    def transcript(self, rows: Iterable[Row] | None = None) -> str:
        """What happened as a table; facts that led to nothing are left out."""
        chosen = [r for r in (self.rows if rows is None else rows) if r.commands or r.reasons]
        head = Row(0, "fact", "phases", "commands", "reasons")
        lines = [f"{'time':>7} | {head.fact:<24} | {head.phases:<28} | {head.commands:<40} | {head.reasons}"]
        lines += [f"{r.seconds:7.1f} | {r.fact:<24} | {r.phases:<28} | {r.commands:<40} | {r.reasons}" for r in chosen]
        return "\n".join(lines)

    def _check(self, before: State, fact: Fact, moment: Moment, decision: Decision) -> None:
        found = self._monitor.after(before, fact, moment, decision)
        if self.offset % DECIDED_TWICE == 0 and not _same(decide(before, fact, moment), decision):
            found.append(Violation(9, "the same fact on the same state was decided in another way"))
        self.violations += found
        if found and self._strict:
            self._keep(fact, moment, decision)
            raise InvariantBroken("; ".join(f"invariant {v.invariant}: {v.text}" for v in found) + "\n" + self.transcript(self.rows[-30:]))

    def _keep(self, fact: Fact, moment: Moment, decision: Decision) -> None:
        self.state = decision.state
        self.wake_at_ms = decision.wake_at_ms
        self.outputs += decision.outputs
        self.reasons += decision.reasons
        self.decided.append(self._decided(moment, decision))
        self.facts.append((fact, moment))
        self.rows.append(
            Row(
                seconds=(moment.at_ms - self.start_ms) / 1000,
                fact=_fact_in_short(fact),
                phases=", ".join(_phase_in_short(r) for r in self._rollouts(*self._ids[-4:])),
                commands=", ".join(_command_in_short(o) for o in decision.outputs if isinstance(o, Command)),
                reasons="; ".join(r.text for r in decision.reasons),
            )
        )

    def _decided(self, moment: Moment, decision: Decision) -> Decided:
        return Decided(
            environment=self.environment,
            epoch=0,
            fact_offset=moment.offset,
            sequence=decision.sequence,
            build="driver",
            at_ms=moment.at_ms,
            disposition=decision.disposition,
            outputs=decision.outputs,
            reasons=decision.reasons,
            delta=decision.delta,
            wake_at_ms=decision.wake_at_ms,
        )


_facts = msgspec.json.Decoder(Fact)


def _as_read(fact: Fact) -> Fact:
    """The fact as the log gives it back: a whole number of seconds is a float there, however it was written."""
    read: Fact = _facts.decode(msgspec.json.encode(fact))
    return read


def _same(one: Decision, other: Decision) -> bool:
    """Whether two decisions say and change the same."""
    return (one.delta, one.outputs, one.reasons, one.wake_at_ms) == (other.delta, other.outputs, other.reasons, other.wake_at_ms)


def _fact_in_short(fact: Fact) -> str:
    return str(type(fact).__struct_config__.tag)


def _phase_in_short(rollout: e.Rollout) -> str:
    held = f" held:{rollout.holds[0].code}" if rollout.holds else ""
    return f"{rollout.id.split('/', 1)[1]} {rollout.phase}{held}"


def _command_in_short(command: Command) -> str:
    weights = "/".join(f"{v.label}={v.weight}" for v in command.wanted.versions)
    return f"{command.verb} {command.target.service} {weights}"


def entry_json(entry: msgspec.Struct) -> str:
    """An entry as people read it."""
    return msgspec.json.format(encode_entry(entry), indent=2).decode()
