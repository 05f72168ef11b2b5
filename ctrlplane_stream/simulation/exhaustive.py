"""Every interleaving of a small system: two services joined by an edge, two new versions, failures, lost outcomes, overrides and crashes.

The real ``decide`` is explored breadth first. Time is taken out: the policy's times are 0 or too long to end, and every fact comes in a
window of its own, so what can happen next depends only on what ``_shape`` keeps of a state; two paths that lead to one shape are joined.

Safety: all invariants hold after every fact on the path by which a shape was first reached, and a crash in any state (the state
read back from its own bytes) changes nothing. Liveness: from every shape a state can be reached in which every rollout has ended, so
none is a trap.
"""

from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.engine import Moment, State, decide
from ctrlplane_stream.decision.invariants import Books, Monitor
from ctrlplane_stream.model.commands import Command, JudgeAssigned, JudgeReleased
from ctrlplane_stream.model.facts import (
    ArtifactPushed,
    CatalogApplied,
    EdgeSeen,
    EdgesObserved,
    Fact,
    OutcomeReported,
    OutcomeStatus,
    OverrideRequested,
    OverrideVerb,
    ServiceSeen,
    TimePassed,
    VerdictGiven,
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind, Target, version_number
from ctrlplane_stream.model.policy import Policy, Step
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Assignment, Verdict, VerdictStatus
from ctrlplane_stream.model.world import Capacity, Cursor, ObservedVersion, TargetObserved
from ctrlplane_stream.simulation.loop import artifact, catalog, digest, service
from ctrlplane_stream.testing import START_MS

NEVER = 1e9
TIMELESS = Policy(
    steps=(Step(20, 0, NEVER, 0), Step(100, 0, NEVER, 0)),
    bake_seconds=0,
    bake_windows=0,
    ready_timeout_seconds=NEVER,
    drain_seconds=0,
    drain_limit_seconds=0,
    retention_seconds=NEVER,
    blind_limit_seconds=NEVER,
    lost_actuator_seconds=NEVER,
    lease_seconds=NEVER,
    hold_deadline_seconds=NEVER,
)
"""All times 0 or endless, so that only the order of events is left."""

SERVICES = ("caller", "callee")
OVERRIDES = (OverrideVerb.ABORT, OverrideVerb.PAUSE, OverrideVerb.FORCE)
"""What an operator says once each, at any time; ``resume`` is said whenever something is held."""


class Thing(msgspec.Struct, frozen=True):
    """A target in the world: versions as (label, weight, started, ready), the last command applied, and the one on its way."""

    versions: tuple[tuple[str, int, bool, bool], ...] = ()
    applied: int = 0
    coming: Command | None = None


class Node(msgspec.Struct, frozen=True):
    """A state of everything. ``left`` is what may still happen once: pushes, overrides, losses and failures."""

    state: State
    books: Books
    world: dict[str, Thing]
    judged: dict[str, Assignment]
    left: tuple[str, ...]
    now_ms: int


class Broken(AssertionError):
    """An invariant was broken; the message has the path."""


class Found(msgspec.Struct, frozen=True):
    """What the search met. ``traps`` are shapes from which no state without a rollout under way can be reached."""

    shapes: int
    transitions: int
    ended: int
    traps: tuple[tuple[str, ...], ...]


Choice = tuple[str, Callable[[Node], Node]]


def start() -> Node:
    """Both services run their first version; two artifacts, the overrides and one lost outcome may come."""
    state, books = State.empty("production"), Books()
    node = Node(state, books, {name: Thing() for name in SERVICES}, {}, (), START_MS)
    node = give(node, CatalogApplied(catalog(*[service(name, TIMELESS) for name in SERVICES]), "h", "check"))
    for name in SERVICES:
        node = give(node, ArtifactPushed(f"{name}1", artifact(name, 1)))
    for _ in range(40):
        helpful = [choice for choice in choices(node) if not choice[0].startswith("FAIL")]
        if not helpful:
            break
        node = helpful[0][1](node)
    edge = EdgeSeen(EdgeKey("caller", "callee", EdgeKind.CALL), 0, 1, 1000, 1.0)
    node = give(node, EdgesObserved(1, (edge,), tuple(ServiceSeen(name, 1, 1.0, 0.0) for name in SERVICES)))
    assert all(_target(node.state, name).stable == "#1" for name in SERVICES), "the first versions did not come up"
    pushes = tuple(f"push {name}" for name in SERVICES)
    return replace(node, left=(*pushes, *(f"say {verb.value}" for verb in OVERRIDES), "lose"))


def give(node: Node, fact: Fact) -> Node:
    """The node after a fact, which comes in a window of its own. Broken where an invariant is."""
    moment = Moment(0, node.now_ms, None)
    decision = decide(node.state, fact, moment)
    monitor = Monitor()
    monitor.books = _copied(node.books)
    found = monitor.after(node.state, fact, moment, decision)
    if found:
        raise Broken("; ".join(f"invariant {v.invariant}: {v.text}" for v in found))
    if State.from_entries("production", list(decision.state.entries())) != decision.state:
        raise Broken("a crash here changes the state")
    world, judged = dict(node.world), dict(node.judged)
    for output in decision.outputs:
        if isinstance(output, Command):
            name = output.target.service
            world[name] = replace(world[name], coming=output)
        elif isinstance(output, JudgeAssigned):
            judged[output.assignment.rollout] = output.assignment
        elif isinstance(output, JudgeReleased):
            judged.pop(output.rollout, None)
    return Node(decision.state, monitor.books, world, judged, node.left, node.now_ms + 10_000)


def _copied(books: Books) -> Books:
    fresh = copy(books)
    for name, value in vars(books).items():
        if isinstance(value, dict | set):
            setattr(fresh, name, value.copy())
    return fresh


def choices(node: Node) -> Iterator[Choice]:
    """Everything that can happen next, in a fixed order."""
    for name in node.world:
        yield from _world_choices(node, name)
    for rollout in node.judged:
        for status in (VerdictStatus.PASS, VerdictStatus.FAIL):
            yield f"{status.value} {rollout}", partial(_verdict, rollout=rollout, status=status)
    for token in node.left:
        if token != "lose":
            yield token, partial(_token, token=token)
    under_way = [node.state.find(f"rollout/{id_}", e.Rollout) for id_ in _index(node.state).rollouts]
    if any(r is not None and r.holds for r in under_way):
        yield "resume", partial(_say, verb=OverrideVerb.RESUME)
    if under_way:
        yield "time", partial(give, fact=TimePassed())


def _world_choices(node: Node, name: str) -> Iterator[Choice]:
    thing = node.world[name]
    if thing.coming is not None:
        yield f"apply {name}", partial(_apply, name=name)
        if "lose" in node.left:
            yield f"lose the outcome of {name}", partial(_apply_unheard, name=name)
    if any(started and not ready for _, _, started, ready in thing.versions):
        yield f"ready {name}", partial(_ready, name=name)
    if thing.coming is None and _target(node.state, name).in_flight is not None:
        yield f"look at {name}", partial(_look, name=name)


def _apply(node: Node, name: str) -> Node:
    command = node.world[name].coming
    assert command is not None
    after = _taken(node, name, command)
    seen = _observed(after, name)
    return give(after, OutcomeReported(command.id, command.target, Cursor(1, command.sequence), OutcomeStatus.APPLIED, "taken", seen))


def _apply_unheard(node: Node, name: str) -> Node:
    command = node.world[name].coming
    assert command is not None
    return _spent(_taken(node, name, command), "lose")


def _taken(node: Node, name: str, command: Command) -> Node:
    known = {label: ready for label, _, started, ready in node.world[name].versions if started}
    versions = tuple(
        (v.label, v.weight, v.capacity is not Capacity.PARKED, known.get(v.label, False) and v.capacity is not Capacity.PARKED)
        for v in command.wanted.versions
    )
    return replace(node, world={**node.world, name: Thing(versions, command.sequence)})


def _observed(node: Node, name: str) -> TargetObserved:
    thing = node.world[name]
    versions = tuple(
        ObservedVersion(label, digest(version_number(label) or 0), 2 if up else 0, 2 if ready else 0, weight)
        for label, weight, up, ready in thing.versions
    )
    return TargetObserved(Target("production", name), versions, Cursor(1, thing.applied))


def _ready(node: Node, name: str) -> Node:
    thing = node.world[name]
    versions = tuple((label, weight, started, started) for label, weight, started, _ in thing.versions)
    return _look(replace(node, world={**node.world, name: replace(thing, versions=versions)}), name)


def _look(node: Node, name: str) -> Node:
    return give(node, WorldChanged(Target("production", name), WorldCause.READINESS, _observed(node, name)))


def _verdict(node: Node, rollout: str, status: VerdictStatus) -> Node:
    a = node.judged[rollout]
    verdict = Verdict(
        judge=OUR_JUDGE,
        environment="production",
        rollout=rollout,
        step=a.step,
        attempt=a.attempt,
        status=status,
        reason=status.value,
        windows_judged=9,
        proven=status is VerdictStatus.PASS,
    )
    return give(node, VerdictGiven(verdict))


def _token(node: Node, token: str) -> Node:
    kind, what = token.split(" ")
    if kind == "push":
        return _spent(give(node, ArtifactPushed(f"{what}2", artifact(what, 2))), token)
    return _spent(_say(node, OverrideVerb(what)), token)


def _say(node: Node, verb: OverrideVerb) -> Node:
    return give(node, OverrideRequested(f"{verb}{node.now_ms}", verb, "ada", "check"))


def _spent(node: Node, token: str) -> Node:
    return replace(node, left=tuple(t for t in node.left if t != token))


def _target(state: State, name: str) -> e.TargetEntry:
    return state.find(f"target/{name}", e.TargetEntry) or e.TargetEntry(name)


def _index(state: State) -> e.Index:
    return state.find("index", e.Index) or e.Index()


def _shape(node: Node) -> tuple[object, ...]:
    """What of a node decides what can happen next: no time, no numbers that only grow, no sentences."""
    index = _index(node.state)
    rollouts = tuple(_rollout_shape(node.state, id_) for id_ in (*index.rollouts, *sorted(index.ended)))
    targets = tuple(_target_shape(_target(node.state, name)) for name in SERVICES)
    world = tuple((t.versions, None if t.coming is None else (t.coming.verb, _weights(t.coming))) for t in node.world.values())
    return (rollouts, targets, world, tuple(sorted(node.judged)), node.left)


def _weights(command: Command) -> tuple[tuple[str, int, str], ...]:
    return tuple((v.label, v.weight, v.capacity) for v in command.wanted.versions)


def _rollout_shape(state: State, id_: str) -> tuple[object, ...]:
    r = state.find(f"rollout/{id_}", e.Rollout)
    assert r is not None
    heard = tuple((name, h.status) for name, h in sorted(r.heard.items()))
    flags = (r.approved, r.promote_all, r.skip_gate, r.forced, r.unsafe, r.promoted, r.beside, bool(r.stuck), r.stopped_because is not None)
    units = tuple((u.service, u.candidate, u.stable, u.weighted) for u in r.units)
    return (id_, r.phase, r.wave, r.step, units, tuple((h.code, h.sticky) for h in r.holds), heard, flags, r.waits_on)


def _target_shape(t: e.TargetEntry) -> tuple[object, ...]:
    live = tuple((v.label, v.capacity, v.weight) for v in t.live)
    flight = None if t.in_flight is None else (t.in_flight.verb, t.in_flight.trouble is not None, t.in_flight.tries > 1)
    seen = tuple((v.label, v.instances, v.ready, v.weight) for v in t.observed)
    good = t.last_known_good.label if t.last_known_good is not None else None
    return (t.stable, live, seen, flight, t.rollout, good, t.observed_sequence >= t.commanded_sequence)


def explore(events: tuple[str, ...] | None = None, limit: int = 1_000_000) -> Found:
    """Every shape that can be reached (at most ``limit``, else Broken: the search was not exhaustive).

    ``events`` narrows what may happen once, by the tokens of ``start().left``; None: all of them.
    """
    node = start()
    if events is not None:
        node = replace(node, left=tuple(token for token in node.left if token in events))
    paths: dict[tuple[object, ...], tuple[str, ...]] = {_shape(node): ()}
    back: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
    goals: list[tuple[object, ...]] = []
    queue = deque([(node, _shape(node))])
    transitions = 0
    while queue:
        node, here = queue.popleft()
        if not _index(node.state).rollouts:
            goals.append(here)
        for name, act in choices(node):
            try:
                after = act(node)
            except Broken as broken:
                raise Broken(f"{broken}\n  path: {' → '.join((*paths[here], name))}") from None
            shape = _shape(after)
            transitions += 1
            back.setdefault(shape, []).append(here)
            if shape not in paths:
                paths[shape] = (*paths[here], name)
                if len(paths) > limit:
                    raise Broken(f"more than {limit} shapes: not exhaustive")
                queue.append((after, shape))
    return Found(len(paths), transitions, len(goals), _traps(paths, back, goals))


def _traps(
    paths: dict[tuple[object, ...], tuple[str, ...]],
    back: dict[tuple[object, ...], list[tuple[object, ...]]],
    goals: list[tuple[object, ...]],
) -> tuple[tuple[str, ...], ...]:
    """The paths to shapes from which no goal can be reached."""
    free = set(goals)
    frontier = list(goals)
    for shape in frontier:
        for before in back.get(shape, ()):
            if before not in free:
                free.add(before)
                frontier.append(before)
    return tuple(path for shape, path in paths.items() if shape not in free)
