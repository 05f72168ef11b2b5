"""What each act of a plan does to the system that is played: pushes, words of operators, and everything that goes wrong."""

import random
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import (
    BuildChanged,
    EdgeSeen,
    EdgesFaded,
    EdgesObserved,
    OverrideVerb,
    VerdictGiven,
    WorldCause,
)
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind, ServiceKind
from ctrlplane_stream.model.verdicts import OUR_JUDGE, Verdict, VerdictStatus
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import Loop, artifact, digest
from ctrlplane_stream.simulation.plans import Act, Deed, Plan, policy_of
from ctrlplane_stream.simulation.world import Instance, Sickness, WorldTarget
from ctrlplane_stream.testing import START_MS

_SICKNESS = {"never ready": Sickness.NEVER_READY, "crashes": Sickness.CRASHES}


class Stage(Protocol):
    """What an act is done to: the environment that is checked, the one before it (None: there is none), and the catalog."""

    plan: Plan
    loop: Loop
    staging: Loop | None
    services: dict[str, ServiceInEnvironment]

    def apply_catalog(self) -> None:
        """Bring ``services`` into force."""
        ...


def _push(stage: Stage, act: Act) -> None:
    loop = stage.loop
    label = f"#{loop.driver.target(act.service).newest + 1}"
    if act.flavour == "faulty":
        loop.judge.faulty.add((act.service, label))
        loop.world.failing.add((act.service, label))
        if stage.staging is not None and act.number % 2:
            stage.staging.judge.faulty.add((act.service, f"#{stage.staging.driver.target(act.service).newest + 1}"))
    elif act.flavour in _SICKNESS:
        loop.world.sick[act.service, label] = _SICKNESS[act.flavour]
    release = act.other or None
    size = None if release is None or act.flag else int(release[1:])
    (stage.staging or loop).push(act.service, act.number, release=release, release_size=size)


def _configure(stage: Stage, act: Act) -> None:
    if act.service in stage.services:
        stage.services[act.service] = replace(stage.services[act.service], configuration={"flag": str(act.number)})
        stage.apply_catalog()


def _retune(stage: Stage, act: Act) -> None:
    if act.service in stage.services:
        policy = policy_of(random.Random(act.number))  # noqa: S311 - a seeded simulation, not a secret
        stage.services[act.service] = replace(stage.services[act.service], policy=policy)
        stage.apply_catalog()


def _remove(stage: Stage, act: Act) -> None:
    gone = stage.services.pop(act.service, None)
    if gone is None:
        return
    stage.apply_catalog()

    def back() -> None:
        stage.services[act.service] = gone
        stage.apply_catalog()

    stage.loop.at(act.number, back)


def _say(stage: Stage, act: Act) -> None:
    assert act.verb is not None
    more: dict[str, object] = {"service": act.service or None}
    if act.other == "rollout":
        ours = [r.id for r in stage.loop.driver.rollouts if any(u.service == act.service for u in r.units)]
        more["rollout"] = ours[-1] if ours else None
    if act.verb in (OverrideVerb.PIN, OverrideVerb.REVERT):
        more["version"] = _named(stage, act)
    if act.verb is OverrideVerb.REVERT and act.flag:  # what was good once is no longer
        stage.loop.judge.faulty.add((act.service, _named(stage, act)))
        stage.loop.world.failing.add((act.service, _named(stage, act)))
    if act.verb is OverrideVerb.PROMOTE:
        more["all_steps"] = act.flag
    if act.verb is OverrideVerb.FREEZE:
        more["expires_ms"] = stage.loop.now_ms + act.number * 20_000
    if act.flavour == "unsafe":
        more["unsafe"] = True
    stage.loop.say(act.verb, **more)


def _named(stage: Stage, act: Act) -> str:
    """The version that an operator names: the one that was good before the stable one, or where there is none a version by its number."""
    target = stage.loop.driver.target(act.service)
    earlier = [label for label in target.baked if label != target.stable]
    return earlier[-1] if earlier else f"#{act.number}"


def _break(stage: Stage, act: Act) -> None:
    stage.loop.world.broken.add(act.service)


def _lie(stage: Stage, act: Act) -> None:
    stage.loop.world.liars.add(act.service)


def _mute(stage: Stage, act: Act) -> None:
    stage.loop.world.mute.add(act.service)


def _unsure(stage: Stage, act: Act) -> None:
    stage.loop.judge.unsure.add(act.service)


def _slander(stage: Stage, act: Act) -> None:
    stage.loop.judge.slandered.add(act.service)


def _mend(stage: Stage, act: Act) -> None:
    loop = stage.loop
    for troubled in (loop.world.broken, loop.world.liars, loop.world.mute, loop.judge.unsure, loop.judge.slandered):
        troubled.discard(act.service)


def _running(target: WorldTarget) -> list[str]:
    return [label for label, v in target.versions.items() if v.instances]


def _edit(stage: Stage, act: Act) -> None:
    running = _running(stage.loop.world.target(act.service))
    if not running:
        return
    weights = {running[0]: act.number, running[-1]: 100 - act.number} if len(running) > 1 else {running[0]: 100}
    stage.loop.world.edit(act.service, weights, f"weight {act.number}")
    stage.loop.tell_world(act.service, WorldCause.HAND_EDIT, f"weight {act.number}")


def _hand_back(stage: Stage, act: Act) -> None:
    """Somebody edits a target by hand and releases it after a while, without a word to the engine."""
    _edit(stage, act)

    def release() -> None:
        if stage.loop.world.target(act.service).edited is not None:
            stage.loop.world.release(act.service, stage.loop.now_ms)
            stage.loop.tell_world(act.service, WorldCause.DRIFT, "the hand edit was released on the target")

    stage.loop.at(act.number / 2, release)


def _drift(stage: Stage, act: Act) -> None:
    """A target that a rollout moves is otherwise than it was left, and nobody knows by whom."""
    target = stage.loop.world.target(act.service)
    running = _running(target)
    if len(running) > 1 and stage.loop.driver.target(act.service).rollout is not None:
        stage.loop.world.stray(act.service, {running[0]: act.number, running[-1]: 100 - act.number})
        stage.loop.tell_world(act.service, WorldCause.DRIFT, f"weight {act.number} of unknown hand")


_CALM_COMES_MS = START_MS + 230_000
"""Nothing is put off until after this: by then everything is about to be mended."""


def _stray_at_rest(stage: Stage, act: Act) -> None:
    """A target loses traffic of its stable version, to another one where one runs, as soon as no rollout moves it."""
    target, known = stage.loop.world.target(act.service), stage.loop.driver.target(act.service)
    if known.stable not in target.versions or known.rollout is not None:
        if stage.loop.now_ms < _CALM_COMES_MS:
            stage.loop.at(5, lambda: _stray_at_rest(stage, act))
        return
    if target.goal is not None:
        return
    others = [label for label in _running(target) if label != known.stable]
    moved = {others[-1]: 100 - act.number} if others else {}
    stage.loop.world.stray(act.service, {known.stable: act.number, **moved})
    stage.loop.tell_world(act.service, WorldCause.DRIFT, f"{known.stable} went from 100 to {act.number}")


def _glass(stage: Stage, act: Act) -> None:
    if stage.loop.world.break_glass(act.service, "by hand"):
        stage.loop.tell_world(act.service, WorldCause.BREAK_GLASS, "by hand")


def _cut(stage: Stage, act: Act) -> None:
    stage.loop.judge.telemetry.cut = True


def _late(stage: Stage, act: Act) -> None:
    stage.loop.judge.telemetry.late = True


def _gag(stage: Stage, act: Act) -> None:
    stage.loop.judge.outside_silent = True


def _flow(stage: Stage, act: Act) -> None:
    judge = stage.loop.judge
    judge.telemetry.cut = judge.telemetry.late = judge.outside_silent = False


def _down(stage: Stage, act: Act) -> None:
    stage.loop.engine_down = True

    def up() -> None:
        stage.loop.driver.restart()
        stage.loop.engine_up()

    stage.loop.at(act.number, up)


def _restart(stage: Stage, act: Act) -> None:
    stage.loop.driver.restart()
    stage.loop.give(BuildChanged(f"build-{act.number}", "build-0"))


def _lose_ready(stage: Stage, act: Act) -> None:
    for version in stage.loop.world.target(act.service).versions.values():
        if version.weight < 100:
            version.lost = True
    stage.loop.tell_world(act.service, WorldCause.READINESS, "instances went away")


def _learn(stage: Stage, act: Act) -> None:
    if act.service != act.other:
        edge = EdgeSeen(EdgeKey(act.service, act.other, EdgeKind.CALL), 0, 20, 5, 0.1)
        stage.loop.give(EdgesObserved(20, (edge,)))


def _fade(stage: Stage, act: Act) -> None:
    edges = tuple(EdgeKey(*edge) for edge in stage.plan.edges)
    if edges:
        stage.loop.give(EdgesFaded(20, (edges[act.number % len(edges)],)))


def _silence(stage: Stage, act: Act) -> None:
    stage.loop.judge.silent.add(act.service)


def _jump(stage: Stage, act: Act) -> None:
    """The broker's clock is wrong from here on, ahead or behind."""
    stage.loop.skew_ms = act.number * (-1_000 if act.flag else 1_000)


def _stray(stage: Stage, act: Act) -> None:
    """A verdict from an earlier attempt, or from a judge that nobody asked."""
    for rollout in stage.loop.driver.rollouts:
        stray = Verdict(
            judge="nobody asked" if act.flag else OUR_JUDGE,
            environment=rollout.environment,
            rollout=rollout.id,
            step=act.number % 3,
            attempt=rollout.judged_attempt if act.flag else max(0, rollout.judged_attempt - 1),
            status=VerdictStatus.FAIL if act.number % 2 else VerdictStatus.PASS,
            reason="not to be heard",
            windows_judged=9,
        )
        stage.loop.give(VerdictGiven(stray))


def _elsewhere(stage: Stage, act: Act) -> None:
    """Another tool gives version ``number`` of its service ``other`` percent of the traffic, and the one before it the rest."""
    share, label = int(act.other or 100), f"v{act.number}"
    if act.flavour == "faulty":
        stage.loop.judge.faulty.add((act.service, label))
    stage.loop.moves(act.service, **({label: share, f"v{act.number - 1}": 100 - share} if act.number > 1 else {label: share}))


def _second_thoughts(stage: Stage, act: Act) -> None:
    """As soon as a version has become stable, and the one before it drains: revert it, and abort that while it queues."""
    done = [u.service for r in stage.loop.driver.rollouts if r.phase is Phase.DRAINING and r.promoted for u in r.units if u.stable]
    if not done:
        stage.loop.at(1, lambda: _second_thoughts(stage, act))
        return
    stage.loop.say(OverrideVerb.REVERT, service=done[0])
    for rollout in stage.loop.driver.rollouts:
        if rollout.phase is Phase.QUEUED and rollout.cause == "revert":
            stage.loop.say(OverrideVerb.ABORT, rollout=rollout.id)


def _too_late(stage: Stage, act: Act) -> None:
    """As soon as an old version is being parked: abort the rollout that no longer needs it, half of the time without waiting for it."""
    for rollout in stage.loop.driver.rollouts:
        old = [(stage.loop.driver.target(u.service), u.stable) for u in rollout.units if u.stable is not None]
        parks = any((v := target.wanted(label)) is not None and v.capacity is Capacity.PARKED for target, label in old)
        if rollout.phase is Phase.DRAINING and rollout.promoted and parks:
            stage.loop.say(OverrideVerb.ABORT, rollout=rollout.id, unsafe=act.flag)
            return
    if stage.loop.now_ms < _CALM_COMES_MS:
        stage.loop.at(0.2, lambda: _too_late(stage, act))


def _sicken(stage: Stage, act: Act) -> None:
    """As soon as an old version drains: the new one crashes, loses its readiness, or half of it, until everything is mended."""
    loop = stage.loop
    for rollout in loop.driver.rollouts:
        if rollout.phase is Phase.DRAINING and rollout.promoted:
            unit = rollout.units[0]
            version = loop.world.target(unit.service).versions.get(unit.candidate)
            if version is not None and version.instances:
                _fail(version, loop.now_ms, act)
                loop.tell_world(unit.service, WorldCause.READINESS, "instances of the new version fail")
                return
    if loop.now_ms < _CALM_COMES_MS:
        loop.at(1, lambda: _sicken(stage, act))


def _fail(version: Instance, now_ms: int, act: Act) -> None:
    if act.number % 3 == 0:
        version.failure = "CrashLoopBackOff"
    elif act.number % 3 == 1:
        version.lost = True
    else:
        version.ready_at_ms, version.fresh = now_ms + 1_000 * act.number, version.instances // 2


def _scale_down(stage: Stage, act: Act) -> None:
    """Whoever may scales a candidate with weight to nothing, and does not know of its traffic."""
    loop = stage.loop
    for rollout in loop.driver.rollouts:
        for unit in rollout.units:
            version = loop.world.target(unit.service).versions.get(unit.candidate)
            if rollout.phase in (Phase.VERIFYING, Phase.BAKING) and version is not None and version.weight and version.instances:
                version.instances = 0
                loop.tell_world(unit.service, WorldCause.READINESS, "scaled to nothing")
                return
    if loop.now_ms < _CALM_COMES_MS:
        loop.at(1, lambda: _scale_down(stage, act))


def _retag(stage: Stage, act: Act) -> None:
    """A stable version at rest is something else by now, under the same label; half of the time nobody says that it drifted."""
    target, known = stage.loop.world.target(act.service), stage.loop.driver.target(act.service)
    if known.stable not in target.versions or known.rollout is not None:
        if stage.loop.now_ms < _CALM_COMES_MS:
            stage.loop.at(5, lambda: _retag(stage, act))
        return
    target.versions[known.stable].digest = digest(10_000 + act.number)
    cause = WorldCause.DRIFT if act.flag else WorldCause.READINESS
    stage.loop.tell_world(act.service, cause, f"versions are now {known.stable}, of another digest")


def _recreate(stage: Stage, act: Act) -> None:
    """The schedule of a job is deleted and made anew: what it ran is no longer counted."""
    world = stage.loop.world
    for job in [job for job in world.runs if job[0] == act.service]:
        world.runs[job] = 0
    stage.loop.tell_world(act.service, WorldCause.READINESS, "the job was made anew")


def _ignore(stage: Stage, act: Act) -> None:
    """What steers a target's traffic goes by the weights of now for a while, whatever is written; it says so, or only arrivals do."""
    world, entry = stage.loop.world, stage.services.get(act.service)
    if entry is None or entry.kind is not ServiceKind.ROUTED or entry.policy.exchanges:
        return  # Instances that take shares have no route before them.
    world.in_force[act.service] = {label: v.weight for label, v in world.target(act.service).versions.items()}
    if not act.flag:
        world.not_in_force[act.service] = "the gateway does not accept the route"
        stage.loop.tell_world(act.service, WorldCause.READINESS, "the route is not accepted")
    stage.loop.at(act.number, lambda: heed(stage, act.service))


def heed(stage: Stage, service: str) -> None:
    """What steers the target's traffic goes by its weights again."""
    world = stage.loop.world
    if world.in_force.pop(service, None) is not None and world.not_in_force.pop(service, None) is not None:
        stage.loop.tell_world(service, WorldCause.READINESS, "the route is accepted")


def _regret(stage: Stage, act: Act) -> None:
    """As soon as a service at rest has a version that was good before its stable one: that fails now, and somebody returns to it."""
    loop = stage.loop
    for name in sorted(stage.services):
        target = loop.driver.target(name)
        earlier = [label for label in target.baked if label != target.stable]
        if earlier and target.rollout is None:
            loop.judge.faulty.add((name, earlier[-1]))
            loop.world.failing.add((name, earlier[-1]))
            loop.say(OverrideVerb.REVERT, service=name)
            return
    loop.at(1, lambda: _regret(stage, act))


def _adopt(stage: Stage, act: Act) -> None:
    what = artifact(act.service, act.number)
    stage.loop.say(OverrideVerb.ADOPT, service=act.service, image=what.image, digest=what.digest)


DEEDS: dict[Deed, Callable[[Stage, Act], None]] = {
    Deed.PUSH: _push,
    Deed.RELEASE: _push,
    Deed.CONFIGURE: _configure,
    Deed.SAY: _say,
    Deed.BREAK: _break,
    Deed.LIE: _lie,
    Deed.MEND: _mend,
    Deed.EDIT: _edit,
    Deed.GLASS: _glass,
    Deed.CUT: _cut,
    Deed.LATE: _late,
    Deed.FLOW: _flow,
    Deed.DOWN: _down,
    Deed.RESTART: _restart,
    Deed.LOSE_READY: _lose_ready,
    Deed.LEARN: _learn,
    Deed.SILENCE: _silence,
    Deed.STRAY: _stray,
    Deed.UNSURE: _unsure,
    Deed.DRIFT: _drift,
    Deed.MUTE: _mute,
    Deed.JUMP: _jump,
    Deed.FADE: _fade,
    Deed.REMOVE: _remove,
    Deed.RETUNE: _retune,
    Deed.GAG: _gag,
    Deed.SLANDER: _slander,
    Deed.STRAY_AT_REST: _stray_at_rest,
    Deed.HAND_BACK: _hand_back,
    Deed.ELSEWHERE: _elsewhere,
    Deed.SECOND_THOUGHTS: _second_thoughts,
    Deed.REGRET: _regret,
    Deed.ADOPT: _adopt,
    Deed.TOO_LATE: _too_late,
    Deed.SICKEN: _sicken,
    Deed.SCALE_DOWN: _scale_down,
    Deed.RETAG: _retag,
    Deed.RECREATE: _recreate,
    Deed.IGNORE: _ignore,
}
"""Every deed has a row."""
