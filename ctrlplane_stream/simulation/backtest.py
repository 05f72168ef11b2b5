"""What another policy would have done with what was recorded.

Users' facts (artifacts, catalogs with their policies replaced, overrides, edges) come again in their order, the engine's core
decides them, our judge judges the recorded telemetry by what the other policy asks, and a world that behaves as recorded answers.

What cannot be known is not claimed: telemetry holds the traffic that was, at the weights that were. So a rollout that would go on
where the recorded one was reverted has no evidence from there on: it is *open*, and ended there. Edits by hand, lost leases and
broken glass are of the recorded world and are left out.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import msgspec

from ctrlplane_stream.decision.engine import Moment, State, decide
from ctrlplane_stream.decision.entities import OriginMark, Rollout
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.decision.repetitions import mark_after
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased, Output
from ctrlplane_stream.model.decisions import GONE
from ctrlplane_stream.model.facts import (
    ArrivalsObserved,
    ArtifactPushed,
    CatalogApplied,
    EdgesFaded,
    EdgesObserved,
    Fact,
    FactRecord,
    OverrideRequested,
    OverrideVerb,
    TimePassed,
    VerdictGiven,
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.verdicts import INSTANCES, OUR_JUDGE
from ctrlplane_stream.model.windows import WindowPart, WindowRecord
from ctrlplane_stream.simulation.recorded_world import RecordedWorld
from ctrlplane_stream.stream.judging import Bench, Timing

_ANY_RATIO = 1e9
"""Arrivals are as they were under other weights, so they are not held against the weights here."""
_ANSWER_MS = 100
_LOOK_MS = 250
OPEN = "open"
"""Stands for the phase of a rollout that would have gone on past the end of its recording."""
_RECORDING_ENDS = "the recording ends here: what would have come next was never seen"

Key = tuple[tuple[tuple[str, str], ...], int]
"""The versions that a rollout moves to, and its attempt: the same rollout under any policy."""


_Attempt = tuple[str, int]
"""The id of a rollout, which it keeps when it is begun anew, and which attempt it is."""


class Recording(msgspec.Struct, frozen=True):
    """One environment: the facts that its engine took (``taken``) with their time (ms), windows with their time and offset, and its
    rollouts as they were in the end."""

    environment: str
    facts: tuple[tuple[int, Fact], ...]
    windows: tuple[tuple[int, int, WindowRecord], ...]
    rollouts: tuple[Rollout, ...]


def taken(log: Iterable[tuple[int, FactRecord]]) -> tuple[tuple[int, Fact], ...]:
    """The facts of one environment that its engine took, of all with their time (ms) in the order of the log: not what was written into
    ``facts`` once more, as roles do after they were killed. By their order there, since a broker's clock may go back a little."""
    found: list[tuple[int, Fact]] = []
    marks: dict[tuple[str, int], OriginMark] = {}
    now_ms = 0
    for at_ms, record in log:
        now_ms = max(now_ms, at_ms)
        if (origin := record.origin) is not None:
            place = origin.topic, origin.partition
            if (mark := mark_after(marks.get(place), origin, now_ms)) is None:
                continue
            marks[place] = mark
        found.append((at_ms, record.fact))
    return tuple(found)


class Ending(msgspec.Struct, frozen=True):
    """How a rollout went. ``highest`` is the largest weight of a candidate; ``requests`` reached one, in whole numbers; ``seconds`` are
    from its beginning to its end, or to the recording's where that comes first."""

    phase: str
    because: str
    highest: int
    seconds: float
    requests: int


class Outcome(StrEnum):
    """What comparing a rollout with itself under another policy says."""

    SAME = "same"
    OTHERWISE = "otherwise"
    """It ended on one side, and on the other it ended differently, would have gone on past where it ended, or never was."""
    UNDECIDED = "undecided"
    """At least one side had not ended when the recording does."""
    ADVISED = "advised"
    """Another tool moved it, which no policy of ours does: there is nothing to compare."""


class Compared(msgspec.Struct, frozen=True):
    """One rollout as it was decided and as it would have been; None where there was, or would have been, none."""

    changed: dict[str, str]
    recorded: Ending | None
    other: Ending | None
    advised: bool = False
    """It was only advised on."""

    @property
    def outcome(self) -> Outcome:
        """How the two compare."""
        if self.advised:
            return Outcome.ADVISED
        sides = tuple(side.phase if side is not None else None for side in (self.recorded, self.other))
        if sides[0] == sides[1] and sides[0] in ENDED:
            return Outcome.SAME
        settled = all(phase is None or phase == OPEN or phase in ENDED for phase in sides)
        return Outcome.OTHERWISE if settled and any(phase in ENDED for phase in sides) else Outcome.UNDECIDED

    @property
    def same(self) -> bool:
        """Whether both ended alike."""
        return self.outcome is Outcome.SAME


class Backtest:
    """One recording under another policy. ``run`` once."""

    def __init__(self, recording: Recording, policy: Policy, timing: Timing) -> None:
        gate = msgspec.structs.replace(policy.gate, sample_ratio_tolerance=_ANY_RATIO)
        self._recording, self._policy, self._timing = recording, msgspec.structs.replace(policy, gate=gate), timing
        times = [*(at_ms for at_ms, _ in recording.facts), *(at_ms for at_ms, _, _ in recording.windows)]
        self._ends_ms = max(times, default=0)
        self._state = State.empty(recording.environment)
        self._world = RecordedWorld(recording.environment)
        self._bench = Bench(timing)
        self._parts = _each_once(recording.windows)
        self._judged: set[str] = set()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = self._offset = 0
        self._now_ms = self._looked_ms = 0
        self._wake_ms: int | None = None
        self._looking = False
        self._rollouts: dict[_Attempt, Rollout] = {}
        self._open: set[_Attempt] = set()
        self._arrived: list[tuple[int, str, dict[str, int]]] = []

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        """The rollouts that came of it, in the order of their beginning."""
        return tuple(sorted(self._rollouts.values(), key=lambda r: (r.began_ms, r.id)))

    def run(self) -> tuple[Compared, ...]:
        """Every rollout, in the order of their beginning."""
        for at_ms, fact in self._recording.facts:
            self._world.note(at_ms, fact)
        for at_ms, fact in self._recording.facts:
            told = self._told(fact)
            if told is not None:
                self._at(at_ms, self._giving(told))
        for at_ms, offset, record in self._recording.windows:
            self._at(at_ms, self._feeding(offset, record))
        for at_ms, service, label, failure in self._world.failures():
            self._at(at_ms, self._failing(service, label, failure))
        for at_ms, service, label, runs in self._world.ran():
            self._at(at_ms, self._running(service, label, runs))
        for rollout in self._recording.rollouts:
            if rollout.phase is Phase.REVERTED:
                self._at(self._evidence_ends_ms(rollout), self._ending(_key(rollout)))
        self._play(self._ends_ms)
        return self._compared()

    # What happens.

    def _play(self, until_ms: int) -> None:
        while self._heap and self._heap[0][0] <= until_ms:
            at_ms, _, act = heapq.heappop(self._heap)
            self._wake(at_ms)
            self._now_ms = max(self._now_ms, at_ms)
            act()

    def _wake(self, before_ms: int) -> None:
        """Tell the engine of time wherever it wanted to be woken before the next event."""
        while self._wake_ms is not None and self._wake_ms < before_ms:
            self._now_ms = max(self._now_ms, self._wake_ms)
            self._give(TimePassed())

    def _at(self, at_ms: int, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, act))

    def _giving(self, fact: Fact) -> Callable[[], None]:
        return lambda: self._give(fact)

    def _feeding(self, offset: int, record: WindowRecord) -> Callable[[], None]:
        return lambda: self._feed(offset, record)

    def _failing(self, service: str, label: str, failure: str) -> Callable[[], None]:
        def fail() -> None:
            if self._world.fail(service, label, failure):
                self._tell_world(service, f"{label}: {failure}")

        return fail

    def _running(self, service: str, label: str, runs: int) -> Callable[[], None]:
        def run() -> None:
            if label in self._world.target(service).versions:
                self._world.runs[service, label] = runs
                self._tell_world(service, f"{label}: {runs} runs ended well")

        return run

    def _ending(self, key: Key) -> Callable[[], None]:
        def end() -> None:
            for rollout in self._rollouts.values():
                if _key(rollout) == key and rollout.phase not in ENDED and rollout.phase not in (Phase.ABORTING, Phase.DRAINING):
                    self._open.add((rollout.id, rollout.attempt))
                    self._give(OverrideRequested(f"ends-{rollout.id}", OverrideVerb.ABORT, "backtest", _RECORDING_ENDS, rollout.id))

        return end

    def _told(self, fact: Fact) -> Fact | None:
        """The fact as it is told again, or None for what follows anew from what is decided."""
        match fact:
            case CatalogApplied():
                services = tuple(msgspec.structs.replace(s, policy=self._policy) for s in fact.catalog.services)
                return msgspec.structs.replace(fact, catalog=msgspec.structs.replace(fact.catalog, services=services))
            case ArtifactPushed() | EdgesObserved() | EdgesFaded() | OverrideRequested():
                return fact
            case VerdictGiven(verdict) if verdict.judge not in (OUR_JUDGE, INSTANCES):
                return fact
            case _:
                return None

    def _evidence_ends_ms(self, rollout: Rollout) -> int:
        """When the last window with traffic of a reverted candidate has been judged."""
        stopped = next((p.at_ms for p in rollout.timeline if p.phase is Phase.ABORTING), rollout.ended_ms or 0)
        return stopped + round(1000 * (self._timing.window_seconds + self._timing.lateness_seconds)) + _LOOK_MS

    # Deciding, judging, acting.

    def _give(self, fact: Fact) -> None:
        decision = decide(self._state, fact, Moment(self._offset, self._now_ms, None))
        self._offset += 1
        self._state, self._wake_ms = decision.state, decision.wake_at_ms
        self._rollouts.update(_told_by(decision.delta))
        self._bench.note(decision.delta, self._now_ms)
        for output in decision.outputs:
            self._carry(output)

    def _carry(self, output: Output) -> None:
        self._bench.hear(output)
        match output:
            case Command():
                self._at(self._now_ms + _ANSWER_MS, lambda: self._act(output))
            case JudgeAssigned(assignment):
                self._judged.add(assignment.rollout)
                self._keep_looking()
            case JudgeReleased(rollout):
                self._judged.discard(rollout)
            case _:
                pass

    def _act(self, command: Command) -> None:
        outcome = self._world.apply(command, self._now_ms)
        self._keep_looking()
        self._give(outcome)

    def _feed(self, offset: int, record: WindowRecord) -> None:
        for closed in self._bench.line.feed(offset, record):
            totals: dict[str, int] = {}
            for part in closed.parts:
                for row in part.services:
                    totals[row.service] = totals.get(row.service, 0) + row.requests
            split = {name: self._split(name, total) for name, total in sorted(totals.items())}
            self._arrived += [(self._now_ms, name, counts) for name, counts in split.items()]
            moving = {name: split.get(name, {}) for name in sorted(self._bench.in_motion)}
            self._give(ArrivalsObserved(closed.window, self._timing.window_seconds, moving))
            for verdict in self._bench.judge(closed):
                self._give(VerdictGiven(verdict))

    def _split(self, service: str, total: int) -> dict[str, int]:
        """The recorded requests of a service, split as its weights are here; a version with any weight has some."""
        return {label: -(-total * v.weight // 100) for label, v in self._world.target(service).versions.items() if v.weight}

    def _keep_looking(self) -> None:
        """Look at the world and at late telemetry again and again while anything is under way."""
        if not self._looking:
            self._looking, self._looked_ms = True, self._now_ms
            self._at(self._now_ms + _LOOK_MS, self._look)

    def _look(self) -> None:
        since_ms, self._looked_ms = self._looked_ms, self._now_ms
        for name in sorted(self._world.targets):
            if self._world.becomes_ready(name, since_ms, self._now_ms):
                self._tell_world(name, "instances became ready")
        for verdict in self._bench.late(self._now_ms):
            self._give(VerdictGiven(verdict))
        self._looking = False
        if self._judged or any(r.phase not in ENDED for r in self._rollouts.values()):
            self._keep_looking()

    def _tell_world(self, service: str, detail: str) -> None:
        seen = self._world.observe(service, self._now_ms)
        self._give(WorldChanged(Target(self._recording.environment, service), WorldCause.READINESS, seen, detail))

    # What came of it.

    def _compared(self) -> tuple[Compared, ...]:
        recorded = {_key(r): r for r in self._recording.rollouts}
        others = {_key(r): r for r in self._rollouts.values()}
        keys = sorted({**recorded, **others}, key=lambda k: min(r.began_ms for r in (recorded.get(k), others.get(k)) if r is not None))
        return tuple(
            Compared(_changed(known), self._was(recorded.get(key)), self._would_be(others.get(key)), advised=known.advice is not None)
            for key in keys
            if (known := recorded.get(key) or others[key])
        )

    def _was(self, rollout: Rollout | None) -> Ending | None:
        if rollout is None:
            return None
        units = {(u.service, u.candidate) for u in rollout.units}
        first, last = rollout.began_ms // 1000, (rollout.ended_ms or 1 << 62) // 1000
        rows = (row for part in self._parts if first <= part.window <= last for row in part.services)
        return self._ended(rollout, sum(row.requests for row in rows if (row.service, row.version) in units))

    def _would_be(self, rollout: Rollout | None) -> Ending | None:
        if rollout is None:
            return None
        units = {u.service: u.candidate for u in rollout.units}
        ended = rollout.ended_ms or 1 << 62
        counts = (split.get(units[s], 0) for at, s, split in self._arrived if s in units and rollout.began_ms <= at <= ended)
        ending = self._ended(rollout, sum(counts))
        if (rollout.id, rollout.attempt) in self._open:
            return msgspec.structs.replace(ending, phase=OPEN, because=_RECORDING_ENDS)
        return ending

    def _ended(self, rollout: Rollout, requests: int) -> Ending:
        because = rollout.stopped_because or (rollout.holds[-1].text if rollout.holds else "")
        because = because or (rollout.history[-1].reason if rollout.history else "")
        seconds = ((rollout.ended_ms or max(self._ends_ms, rollout.began_ms)) - rollout.began_ms) / 1000
        return Ending(str(rollout.phase), because, _highest(rollout), seconds, requests)


def _key(rollout: Rollout) -> Key:
    return tuple(sorted((u.service, u.candidate) for u in rollout.units)), rollout.attempt


def _changed(rollout: Rollout) -> dict[str, str]:
    return {u.service: f"{u.stable or 'nothing'} -> {u.candidate}" for u in rollout.units}


def _each_once(windows: Iterable[tuple[int, int, WindowRecord]]) -> tuple[WindowPart, ...]:
    """The parts of windows: what is written once more after a restart has the same name, and says the same."""
    parts = {(record.partition, *record.name): record for _, _, record in windows if isinstance(record, WindowPart)}
    return tuple(parts.values())


def _highest(rollout: Rollout) -> int:
    """The weight of the highest step that it took; 0 where it took none. Of another tool's: the step of its highest share."""
    if rollout.bakes and rollout.advice is not None:
        return 100
    steps = [p.step for p in rollout.timeline if p.phase in (Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.ADVISING)]
    return max((rollout.steps[min(step, len(rollout.steps) - 1)].weight for step in steps), default=0)


def rollouts_of(deltas: Iterable[dict[str, msgspec.Raw]]) -> tuple[Rollout, ...]:
    """Every attempt of every rollout that the deltas of decisions tell of, as it was in the end, in the order of their beginning."""
    found: dict[_Attempt, Rollout] = {}
    for delta in deltas:
        found.update(_told_by(delta))
    return tuple(sorted(found.values(), key=lambda r: (r.began_ms, r.id)))


def _told_by(delta: Mapping[str, msgspec.Raw]) -> dict[_Attempt, Rollout]:
    rollouts = (
        msgspec.json.decode(value, type=Rollout) for key, value in delta.items() if key.startswith("rollout/") and bytes(value) != GONE
    )
    return {(rollout.id, rollout.attempt): rollout for rollout in rollouts}
