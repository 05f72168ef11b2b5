"""What the monitor notes of facts and commands, and how the checks read the state."""

from collections.abc import Callable, Iterator

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Decision, Moment
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.commands import Command, JudgeAssigned, Verb
from ctrlplane_stream.model.facts import (
    ArrivalsObserved,
    ArtifactPushed,
    Fact,
    Origin,
    OutcomeReported,
    OutcomeStatus,
    OverrideRequested,
    OverrideVerb,
    VerdictGiven,
    WorldChanged,
)
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.model.policy import Mode
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Harm, Verdict, VerdictStatus
from ctrlplane_stream.model.world import Capacity, TargetObserved, TargetWanted


class Violation(msgspec.Struct, frozen=True):
    """A broken promise: its number, and what happened."""

    invariant: int
    text: str


class Hand(msgspec.Struct, frozen=True):
    """What somebody did to a target who was not we: an edit that said so, or a drift for which the policy holds."""

    words: str
    edit: bool


Said = tuple[OverrideVerb, str | None, str | None, str]
"""An override: its verb, rollout, service and id."""


class Books:
    """What the monitor noted of the past, per environment."""

    def __init__(self) -> None:
        self.command_ids: set[str] = set()
        self.wanted: dict[str, TargetWanted] = {}
        self.told: set[tuple[str, int]] = set()
        """(rollout, attempt) of those that ever had a target told anything."""
        self.given_up: set[str] = set()
        """Ids of deletions at rest that people were told did not take."""
        self.sequences: dict[str, int] = {}
        """Service to the number of its last command."""
        self.over: dict[str, str | None] = {}
        """Service to the edit by hand that its last command may go over, since a person said so."""
        self.meant: dict[str, dict[str, int]] = {}
        """Service to the weights of its last command, but for those that only renew a lease."""
        self.hands: dict[str, Hand] = {}
        """Service to what a hand did there that no person has answered yet."""
        self.refused: dict[str, int] = {}
        """Service to the number of the last command that was refused since somebody broke the glass."""
        self.astray_ms: dict[str, int] = {}
        """Service to when the world last showed other weights than those of the last command, after that was carried out."""
        self.observed: dict[str, TargetObserved] = {}
        self.met: dict[tuple[str, str], int] = {}
        """(service, label) to the end of the last window with a request of it, in ms of the spans' own clocks."""
        self.closed_ms = 0
        """The end of the last window that closed, by the same clocks."""
        self.zero_since: dict[tuple[str, str], int] = {}
        self.verdicts: dict[tuple[str, int, int], Verdict] = {}
        """(rollout, step, attempt) to the last word of our judge."""
        self.harm: dict[tuple[str, int, str], dict[int, Harm]] = {}
        """(rollout, attempt, service) to what was told of its candidate's harm, by assignment."""
        self.outside: dict[tuple[str, str, int, int], VerdictStatus] = {}
        """(judge, rollout, step, attempt) to the last word of another."""
        self.carried: set[tuple[str, str]] = set()
        """(service, label) of what was ever seen with weight."""
        self.numbers: dict[tuple[str, Artifact, str], str] = {}
        """(service, artifact, hash of its configuration) to the label that it has."""
        self.made: dict[tuple[str, str], tuple[Artifact, dict[str, str], str | None]] = {}
        """(service, label) to what that version was told to be made from."""
        self.events: dict[tuple[str, str], tuple[str, ...]] = {}
        """(service, digest) to the ids of the last events that offered it, so many as are remembered for sure."""
        self.overrides: dict[Said, None] = {}
        """What people said, in the order in which it was first carried out; so many as are remembered for sure."""
        self.freezes: dict[Said, tuple[str | None, int | None]] = {}
        """Freezes in force: the service (None: all) and when it ends."""
        self.weighted: set[tuple[str, int, str, str]] = set()
        """(rollout, attempt, service, label) of what had weight under it, by its word or a hand: each attempt makes its own instances."""
        self.mover: dict[str, tuple[str, int]] = {}
        """Service to the rollout, and its attempt, that last had it told something: the next attempt may move less."""
        self.baked: set[tuple[str, str]] = set()
        """(service, label) of what was promoted after its bake."""
        self.gone_over: set[tuple[str, int, int, bool, str]] = set()
        """(rollout, attempt, retreats, whether it was stopped, service): where the way back went over a drift, which it does once."""
        self.emptied: set[tuple[str, int]] = set()
        """(rollout, attempt) of those of which somebody who broke the glass emptied a target."""
        self.window_seconds = 10.0
        self.stepped: tuple[int, e.Rollout] | None = None
        self.runs: dict[tuple[str, str], int] = {}
        """(service, label) to the most runs of it that were seen to have ended well."""
        self.fewer: dict[tuple[str, str], tuple[int, int]] = {}
        """(service, label) to the fewest runs that were seen after more of them, and when, in ms."""
        self.counted_before: dict[tuple[str, str], int] = {}
        """(service, label) to what was counted of it before its world began to count anew."""
        self.said: dict[str, str] = {}
        """Service to the hash of the configuration of the last catalog that could have it moved, neither pinned nor only advised on."""
        self.gone_back: set[tuple[str, str]] = set()
        """(service, label) of what was begun and given up for what was found or said of it, or returned from, and did not bake since."""
        self.left_waiting: set[tuple[str, int, str]] = set()
        """(rollout, attempt, service) of what waited to bring, configured otherwise, an artifact that went back meanwhile."""
        self.offered: set[tuple[Artifact, str]] = set()
        """(artifact, environment) of what was announced there."""
        self.origin: Origin | None = None
        """Of the fact in hand."""
        self.taken: set[Origin] = set()
        """Of every fact that was not called a repetition."""
        self.looked: dict[str, int] = {}
        """Service to the number of the last command that was refused with a look at the target."""
        self.parked: dict[tuple[str, str], int] = {}
        """(service, label) to the number of the last command that wanted it parked."""
        self.stood_by: set[tuple[str, str]] = set()
        """(service, label) of what was parked and that no command gave weight since."""
        self.runs_before: dict[tuple[str, str], int] = {}
        """(rollout, service) to how many of its candidate's were seen by when the step was confirmed."""


Check = Callable[[Books, Fact, State, Decision], Iterator[Violation]]
"""A promise: what a decision broke of it, by the books, the fact and the state before."""


def is_advised(state: State, service: str) -> bool:
    """Whether the catalog leaves the service to another tool."""
    entry = state.find(f"service/{service}", ServiceInEnvironment)
    return entry is not None and entry.policy.mode is Mode.ADVISE


def note_commands(books: Books, decision: Decision) -> None:
    """Note what was told to whom."""
    for command in commands_of(decision):
        books.command_ids.add(command.id)
        books.wanted[command.target.service] = command.wanted
        books.sequences[command.target.service] = command.sequence
        books.over[command.target.service] = command.over_edit
        if command.verb is not Verb.RENEW:
            books.meant[command.target.service] = command.wanted.weights
        parked = [version.label for version in command.wanted.versions if version.capacity is Capacity.PARKED]
        books.parked.update(((command.target.service, label), command.sequence) for label in parked)
        books.stood_by.update((command.target.service, label) for label in parked)
        given = [version.label for version in command.wanted.versions if version.weight > 0]
        for label in given:
            books.stood_by.discard((command.target.service, label))
            books.zero_since.pop((command.target.service, label), None)
        if (rollout := rollout_of(decision.state, command.rollout)) is None:
            continue
        books.mover[command.target.service] = (rollout.id, rollout.attempt)
        if (rollout.id, rollout.attempt) not in books.told:
            _count_runs_anew(books, rollout)
        books.told.add((rollout.id, rollout.attempt))
        books.weighted.update((rollout.id, rollout.attempt, command.target.service, label) for label in given)


def _count_runs_anew(books: Books, rollout: e.Rollout) -> None:
    """An attempt counts runs from what is seen as it begins: of a job that was made anew while nothing moved it, those are fewer."""
    for unit in rollout.units:
        job, seen = (unit.service, unit.candidate), books.observed.get(unit.service)
        version = seen.version(unit.candidate) if seen is not None else None
        books.runs[job] = version.runs if version is not None else 0
        books.fewer.pop(job, None)
        books.counted_before.pop(job, None)


def numbered(decision: Decision) -> Iterator[tuple[str, e.VersionEntry]]:
    """The versions that a decision numbered or changed, each with its service."""
    for key in decision.delta:
        if key.startswith("version/") and (version := decision.state.find(key, e.VersionEntry)) is not None:
            yield key.removeprefix("version/").rsplit("/", 1)[0], version


def note_numbers(books: Books, decision: Decision) -> None:
    """Which number each artifact has with its configuration."""
    for service, version in numbered(decision):
        books.numbers.setdefault((service, version.artifact, version.manifest_hash), version.label)


EVENTS_REMEMBERED = 16
"""After so many others of one artifact an event of it may be taken again, as the documents say."""


def note_event(books: Books, fact: ArtifactPushed, state: State) -> None:
    """Note an event of an artifact that the catalog lets in."""
    offered, entry = fact.artifact, state.find(f"service/{fact.artifact.service}", ServiceInEnvironment)
    before = books.events.get((offered.service, offered.digest), ())
    if entry is not None and offered.image in entry.images and fact.event_id not in before:
        books.events[offered.service, offered.digest] = (*before, fact.event_id)[-EVENTS_REMEMBERED:]


OVERRIDES_REMEMBERED = 256
"""After so many others in the environment what somebody said may be carried out again, as the documents say."""


def said_as(fact: OverrideRequested) -> Said:
    """What is one override, however often it is said: its id may be that of something else, too."""
    return fact.verb, fact.rollout, fact.service, fact.id


def note_override(books: Books, fact: OverrideRequested) -> None:
    """Note the freezes that people say and lift."""
    said = said_as(fact)
    if said in books.overrides:
        return
    books.overrides[said] = None
    if len(books.overrides) > OVERRIDES_REMEMBERED:
        del books.overrides[next(iter(books.overrides))]
    if fact.verb is OverrideVerb.FREEZE:
        books.freezes[said] = (fact.service, fact.expires_ms)
    elif fact.verb is OverrideVerb.UNFREEZE:
        books.freezes = {id_: freeze for id_, freeze in books.freezes.items() if freeze[0] != fact.service}


def note_runs(books: Books, decision: Decision) -> None:
    """Note how many runs were seen by when a step began to be judged."""
    for output in decision.outputs:
        rollout = rollout_of(decision.state, output.assignment.rollout) if isinstance(output, JudgeAssigned) else None
        for unit in rollout.units if rollout is not None else ():
            if rollout is not None:
                books.runs_before[rollout.id, unit.service] = books.runs.get((unit.service, unit.candidate), 0)


def note_ways(books: Books, before: State, after: State) -> None:
    """Note what was gone back from in this decision, and what has come to its end."""
    for past in before.rollouts:
        rollout = rollout_of(after, past.id)
        if rollout is None or past.ended_ms is not None or rollout.ended_ms is None or rollout.advice is not None:
            continue
        units = [(unit.service, unit.candidate) for unit in rollout.units]
        if rollout.phase is Phase.COMPLETED:
            books.gone_back.difference_update(units)
            returned = [(unit.service, unit.stable) for unit in rollout.units if rollout.is_revert and unit.stable is not None]
            books.gone_back.update(returned)
        elif (rollout.id, rollout.attempt) in books.told and not (rollout.stopped_because or "").startswith("superseded by "):
            books.gone_back.update(units)


def note_bakes(books: Books, before: State, after: State) -> None:
    """Note what was promoted for good; a rollout may end in the same decision."""
    for past in before.rollouts:
        rollout = rollout_of(after, past.id)
        if rollout is not None and rollout.promoted and not past.promoted:
            books.baked.update((unit.service, unit.candidate) for unit in rollout.units)


def commands_of(decision: Decision) -> list[Command]:
    """The commands among the outputs."""
    return [output for output in decision.outputs if isinstance(output, Command)]


def note_fact(books: Books, fact: Fact, moment: Moment) -> None:
    """Note where the fact is from, and what the world and the judges say."""
    books.origin = moment.origin
    if isinstance(fact, OutcomeReported | WorldChanged) and fact.observed is not None:
        _note_refusal(books, fact)
        forgotten = fact.forgotten if isinstance(fact, WorldChanged) else None
        _note_seen(books, fact.target.service, fact.observed, moment.at_ms, forgotten)
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


def _note_refusal(books: Books, fact: OutcomeReported | WorldChanged) -> None:
    broken = fact.observed is not None and fact.observed.break_glass is not None
    if isinstance(fact, OutcomeReported) and fact.status is OutcomeStatus.REFUSED and broken:
        books.refused[fact.target.service] = fact.cursor.sequence
    if isinstance(fact, OutcomeReported) and fact.status is OutcomeStatus.REFUSED and fact.observed is not None:
        books.looked[fact.target.service] = max(fact.cursor.sequence, books.looked.get(fact.target.service, -1))


def _note_seen(books: Books, service: str, observed: TargetObserved, at_ms: int, forgotten: int | None) -> None:
    last = books.observed.get(service)
    brought_back = forgotten is not None and last is not None and last.cursor is not None and forgotten >= last.cursor.sequence
    if last is None or observed.cursor is None or last.cursor is None or observed.cursor >= last.cursor or brought_back:
        books.observed[service] = observed
        for version in observed.versions:
            _note_count(books, (service, version.label), version.runs, at_ms)
        _note_weights(books, service, observed, at_ms)


_MADE_ANEW_MS = 30_000
"""After so long fewer runs than were seen before are no late report."""


def _note_count(books: Books, job: tuple[str, str], seen: int, at_ms: int) -> None:
    """Note how many runs were seen; where fewer are seen for long and more of them then, those come on top of what was seen before."""
    most, fewer = books.runs.get(job, 0), books.fewer.get(job)
    shift = books.counted_before.get(job, 0)
    if seen + shift >= most:
        books.runs[job] = seen + shift
        books.fewer.pop(job, None)
    elif fewer is None or seen < fewer[0]:
        books.fewer[job] = (seen, at_ms)
    elif at_ms - fewer[1] >= _MADE_ANEW_MS and seen > fewer[0]:
        books.counted_before[job] = most - fewer[0]
        books.runs[job] = most - fewer[0] + seen
        del books.fewer[job]


def _note_weights(books: Books, service: str, observed: TargetObserved, at_ms: int) -> None:
    for version in observed.versions:
        if observed.not_in_force is not None:
            books.zero_since.pop((service, version.label), None)
        elif version.weight == 0:
            if _is_given_none(books, service, version.label, observed):
                books.zero_since.setdefault((service, version.label), at_ms)
        else:
            books.zero_since.pop((service, version.label), None)
            books.carried.add((service, version.label))
            if version.instances:
                if (mover := books.mover.get(service)) is not None:
                    books.weighted.add((*mover, service, version.label))  # by a hand, if not by it
                books.parked.pop((service, version.label), None)  # it had none when it was told to go, so this was seen since


def _is_given_none(books: Books, service: str, label: str, observed: TargetObserved) -> bool:
    """Whether what is seen was seen after the last command, and that gives the version nothing, or its lease ran out: then the target
    gives no version more than its stable weights until a command agrees with those."""
    meant = books.meant.get(service)
    if meant is None:
        return True
    heard = observed.cursor is not None and observed.cursor.sequence >= books.sequences[service]
    return heard and (meant.get(label, 0) == 0 or observed.lease_expired)


def stands(books: Books, service: str, label: str) -> int:
    """The weight that the last command to a target left a version, or what it is seen with where that was refused for broken glass."""
    seen, told = books.observed.get(service), books.meant.get(service, {}).get(label, 0)
    refused = service in books.refused and books.refused[service] == books.sequences.get(service)
    at = seen.version(label) if seen is not None and refused else None
    return max(told, at.weight) if at is not None else told


def says_what_is_there(books: Books, command: Command) -> bool:
    """Whether a command moves no weight, by what was last seen; one of an adoption never does."""
    seen = books.observed.get(command.target.service)
    there = {version.label: version.weight for version in seen.versions} if seen is not None else {}
    return command.verb in (Verb.ADOPT, Verb.LEAVE) or all(there.get(v.label, 0) == v.weight for v in command.wanted.versions)


def renews_what_is_there(books: Books, command: Command) -> bool:
    """Whether a command only renews a lease, by the weights that are there."""
    return command.verb is Verb.RENEW and says_what_is_there(books, command)


def rollout_of(state: State, id_: str | None) -> e.Rollout | None:
    """A rollout by its id, or None."""
    return state.find(f"rollout/{id_}", e.Rollout) if id_ is not None else None
