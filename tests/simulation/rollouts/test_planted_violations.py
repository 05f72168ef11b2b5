"""The simulation must be able to fail: each planted violation of the machine's rules is found within 1,000 seeds."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision import (
    admission,
    draining,
    engine,
    falling,
    gate,
    hearing,
    overrides,
    rollout,
    stuck,
    targets,
    timers,
    transitions,
)
from ctrlplane_stream.decision.gate import Gate, Reading
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.plans import plan
from ctrlplane_stream.simulation.play import Play

SEEDS = 1_000


def _everywhere(name: str, new: Any) -> list[tuple[Any, str, Any]]:
    """Replace a function in every module that has imported it."""
    modules = (admission, draining, engine, falling, gate, hearing, overrides, rollout, stuck, targets, timers, transitions)
    return [(module, name, new) for module in modules if hasattr(module, name)]


_weighted, _prepared, _with_version = targets.weighted, targets.prepared, targets.with_version
_read, _commanded, _admitted, _watched = gate.read, targets._commanded, transitions._admitted, stuck.watch_targets
_count = itertools.count()


def _stable_shrinks(target: Any, label: str) -> Any:
    after = _prepared(target, label)
    return replace(
        after, live=tuple(replace(v, capacity=Capacity.WEIGHTED if v.label == target.stable else v.capacity) for v in after.live)
    )


def _too_much(target: Any, candidate: str, stable: str | None, weight: int) -> Any:
    after = _weighted(target, candidate, stable, weight)
    return replace(after, live=tuple(replace(v, weight=100 if v.label == stable else v.weight) for v in after.live))


def _rising(target: Any, candidate: str, stable: str | None, weight: int) -> Any:
    now = target.wanted(candidate)
    return _weighted(target, candidate, stable, 100 if stable is not None and now.weight < 100 else weight)


def _loses_stable(draft: Any, moved: Any, because: str) -> Any:
    after = _admitted(draft, moved, because)
    for unit in moved.units:
        draft.put_target(replace(draft.target(unit.service), stable=None))
    return after


def _open_when_unsure(*args: Any) -> Reading:
    reading = _read(*args)
    return Reading(Gate.OPEN, "planted") if reading.gate is Gate.WAITING else reading


def _open_when_blind(*args: Any) -> Reading:
    reading = _read(*args)
    return Reading(Gate.OPEN, "planted") if reading.gate is Gate.BLIND else reading


def _by_chance(*args: Any) -> Reading:
    return replace(_read(*args), text=f"planted {next(_count)}")


def _refuse(draft: Any, fact: Any) -> tuple[bool, str]:
    return False, "refused: planted"


def _verbs(verb: OverrideVerb) -> list[tuple[Any, str, Any]]:
    return [(overrides, "VERBS", {**overrides.VERBS, verb: _refuse})]


def _effects(event: Any, effect: Any) -> list[tuple[Any, str, Any]]:
    return [(transitions, "EFFECTS", {**transitions.EFFECTS, event: effect})]


def _numberless(draft: Any) -> None:
    real, draft.clock = draft.clock, replace(draft.clock, sequence=7)
    targets.emit_commands(draft)
    draft.clock = real


PLANTED: dict[str, Callable[[], list[tuple[Any, str, Any]]]] = {
    "weights do not sum to 100": lambda: _everywhere("weighted", _too_much),
    "weight before readiness": lambda: [(rollout, "ready_weight", lambda target, label: 100)],
    "stable loses capacity at once": lambda: _everywhere("prepared", _stable_shrinks),
    "abort raises the candidate": lambda: [(falling, "weighted", _rising)],
    "parked without a drain": lambda: [(draining, "_undrained", lambda *args: None)],
    "parked while requests still arrive": lambda: [(draining, "_still_met", lambda *args: None)],
    "steps on less than a PASS": lambda: [(gate, "read", _open_when_unsure)],
    "a FAIL is noted and nothing else": lambda: [(hearing, "_failed", lambda *args: None)],
    "a stale verdict counts": lambda: [(hearing, "_unheard", lambda *args: None)],
    "weights are believed before they are shown": lambda: _everywhere("is_confirmed", lambda *args: True),
    "abort is refused": lambda: _verbs(OverrideVerb.ABORT),
    "pause is refused": lambda: _verbs(OverrideVerb.PAUSE),
    "freeze is refused": lambda: _verbs(OverrideVerb.FREEZE),
    "command ids repeat": lambda: [(engine, "emit_commands", _numberless)],
    "two rollouts move one target": lambda: [(admission, "_conflict", lambda *args: None)],
    "two rollouts step in one window": lambda: [(rollout, "window_now", lambda draft: 2**60)],
    "the stable version is forgotten": lambda: _effects(transitions.Event.ADMITTED, _loses_stable),
    "nobody asks for time": lambda: [(timers, "wake_at_ms", lambda draft: None)],
    "a silent actuator is never told again": lambda: [(rollout, "watch_targets", lambda draft, r: r)],
    "holds hold nothing": lambda: [(rollout, "_unheld", lambda r: None)],
    "several instances are exchanged at once": lambda: [(rollout, "steps_now", lambda draft, version_set, steps: steps)],
    "an instance is exchanged before the last one is ready": lambda: [(rollout, "_unready", lambda *args: None)],
    "force tells nobody": lambda: [(overrides, "notify", lambda *args: None)],
    "a bake ends blind": lambda: [(gate, "read", _open_when_blind)],
    "whoever does not act is not named": lambda: [(rollout, "watch_targets", lambda draft, r: replace(_watched(draft, r), stuck=()))],
    "chance has a say": lambda: [(gate, "read", _by_chance)],
}


@contextmanager
def planted(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """The core with a fault in it."""
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, new in changes:
            setattr(module, name, new)
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found_within_a_thousand_seeds(name: str) -> None:
    """A copy of the core that breaks one promise does not survive the simulation."""
    with planted(PLANTED[name]()):
        for seed in range(SEEDS):
            try:
                if Play(plan(seed)).run().broken:
                    return
            except (AssertionError, LookupError):
                return
    pytest.fail(f"{name!r} survived {SEEDS} seeds")
