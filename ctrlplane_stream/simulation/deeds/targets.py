"""What goes wrong with the targets of a system that is played, and their ways back."""

from ctrlplane_stream.decision.entities import Unit
from ctrlplane_stream.decision.phases import FORWARD, Phase
from ctrlplane_stream.model.facts import (
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.simulation.deeds.stage import Doing, Stage, calm_comes
from ctrlplane_stream.simulation.loop import digest
from ctrlplane_stream.simulation.plans import Act, Deed
from ctrlplane_stream.simulation.world import Instance


def _break(stage: Stage, act: Act) -> None:
    stage.loop.world.broken.add(act.service)


def _lie(stage: Stage, act: Act) -> None:
    stage.loop.world.liars.add(act.service)


def _mute(stage: Stage, act: Act) -> None:
    stage.loop.world.mute.add(act.service)


def _mend(stage: Stage, act: Act) -> None:
    loop = stage.loop
    for troubled in (loop.world.broken, loop.world.liars, loop.world.mute, loop.judge.unsure, loop.judge.doubted, loop.judge.slandered):
        troubled.discard(act.service)


def _drift(stage: Stage, act: Act) -> None:
    """A target that a rollout moves is otherwise than it was left, and nobody knows by whom."""
    target = stage.loop.world.target(act.service)
    running = target.running
    if len(running) > 1 and stage.loop.driver.target(act.service).rollout is not None:
        stage.loop.world.stray(act.service, {running[0]: act.number, running[-1]: 100 - act.number})
        stage.loop.tell_world(act.service, WorldCause.DRIFT, f"weight {act.number} of unknown hand")


def _stray_at_rest(stage: Stage, act: Act) -> None:
    """A target loses traffic of its stable version, to another one where one runs, as soon as no rollout moves it."""
    target, known = stage.loop.world.target(act.service), stage.loop.driver.target(act.service)
    if known.stable not in target.versions or known.rollout is not None:
        if not calm_comes(stage):
            stage.loop.at(5, lambda: _stray_at_rest(stage, act))
        return
    if target.goal is not None:
        return
    others = [label for label in target.running if label != known.stable]
    moved = {others[-1]: 100 - act.number} if others else {}
    stage.loop.world.stray(act.service, {known.stable: act.number, **moved})
    stage.loop.tell_world(act.service, WorldCause.DRIFT, f"{known.stable} went from 100 to {act.number}")


def _lose_ready(stage: Stage, act: Act) -> None:
    for version in stage.loop.world.target(act.service).versions.values():
        if version.weight < 100:
            version.lost = True
    stage.loop.tell_world(act.service, WorldCause.READINESS, "instances went away")


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
    if not calm_comes(stage):
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
    if not calm_comes(stage):
        loop.at(1, lambda: _scale_down(stage, act))


def _edit_and_fail(stage: Stage, act: Act) -> None:
    """As soon as a candidate is there, with weight or without: somebody edits its target by hand, and then it crashes."""
    loop = stage.loop
    for rollout in loop.driver.rollouts:
        for unit in rollout.units if rollout.phase in FORWARD and (act.flag or rollout.phase is Phase.PREPARING) else ():
            if _edited(stage, unit, act):
                loop.world.target(unit.service).versions[unit.candidate].failure = "CrashLoopBackOff"
                loop.at(act.number / 10, lambda name=unit.service: loop.tell_world(name, WorldCause.READINESS, "it crashes"))  # type: ignore[misc]
                return
    if not calm_comes(stage):
        loop.at(1, lambda: _edit_and_fail(stage, act))


def _edit_going_back(stage: Stage, act: Act) -> None:
    """As soon as a candidate goes back: somebody edits its target by hand, often at weight 0."""
    for rollout in stage.loop.driver.rollouts:
        drains = rollout.phase is Phase.DRAINING and not rollout.promoted
        for unit in rollout.units if drains or rollout.phase is Phase.ABORTING else ():
            if _edited(stage, unit, act):
                return
    if not calm_comes(stage):
        stage.loop.at(0.5, lambda: _edit_going_back(stage, act))


def _edited(stage: Stage, unit: Unit, act: Act) -> bool:
    """Somebody edits the target of a unit by hand; whether there was a candidate beside another version to be given other weights."""
    loop, target = stage.loop, stage.loop.world.target(unit.service)
    if unit.candidate not in target.running or unit.stable not in target.running:
        return False
    loop.world.edit(unit.service, {unit.candidate: act.number, str(unit.stable): 100 - act.number}, f"weight {act.number}")
    loop.tell_world(unit.service, WorldCause.HAND_EDIT, f"weight {act.number}")
    return True


def _drift_on_lease(stage: Stage, act: Act) -> None:
    """As soon as a candidate is watched with a partial weight: that becomes another by nobody's hand, and it may fail then."""
    loop = stage.loop
    for rollout in loop.driver.rollouts:
        for unit in rollout.units if rollout.phase is Phase.VERIFYING else ():
            weights = {label: v.weight for label, v in loop.world.target(unit.service).versions.items() if v.weight}
            if unit.stable in weights and 0 < weights.get(unit.candidate, 0) != 100 - act.number:
                loop.world.stray(unit.service, {unit.stable: act.number, unit.candidate: 100 - act.number})
                loop.tell_world(unit.service, WorldCause.DRIFT, f"weight {100 - act.number} of unknown hand")
                if act.flag:
                    loop.judge.faulty.add((unit.service, unit.candidate))
                return
    if not calm_comes(stage):
        loop.at(1, lambda: _drift_on_lease(stage, act))


def _retag(stage: Stage, act: Act) -> None:
    """A stable version at rest is something else by now, under the same label; half of the time nobody says that it drifted."""
    target, known = stage.loop.world.target(act.service), stage.loop.driver.target(act.service)
    if known.stable not in target.versions or known.rollout is not None:
        if not calm_comes(stage):
            stage.loop.at(5, lambda: _retag(stage, act))
        return
    target.versions[known.stable].digest = digest(10_000 + act.number)
    cause = WorldCause.DRIFT if act.flag else WorldCause.READINESS
    stage.loop.tell_world(act.service, cause, f"versions are now {known.stable}, of another digest")


def _bring_back(stage: Stage, act: Act) -> None:
    """Somebody restores a backup, or pushes over the last commit: the target knows its last command no longer, and its loop says so."""
    loop = stage.loop
    if (forgotten := loop.world.bring_back(act.service)) is not None:
        seen = loop.world.observe(act.service, loop.now_ms)
        target = Target(loop.driver.environment, act.service)
        loop.give(WorldChanged(target, WorldCause.DRIFT, seen, "an older state was brought back", forgotten.sequence))


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


def _bypass(stage: Stage, act: Act) -> None:
    """Some go on to call the version that runs now past the route, for a while or until somebody parks it under them."""
    world = stage.loop.world
    if running := world.target(act.service).running:
        world.bypassed[act.service] = running[-1 if act.flag else 0]
        if act.number < 100:
            stage.loop.at(act.number, world.bypassed.clear)


def heed(stage: Stage, service: str) -> None:
    """What steers the target's traffic goes by its weights again."""
    world = stage.loop.world
    if world.in_force.pop(service, None) is not None and world.not_in_force.pop(service, None) is not None:
        stage.loop.tell_world(service, WorldCause.READINESS, "the route is accepted")


TARGETS: dict[Deed, Doing] = {
    Deed.BREAK: _break,
    Deed.LIE: _lie,
    Deed.MEND: _mend,
    Deed.LOSE_READY: _lose_ready,
    Deed.DRIFT: _drift,
    Deed.MUTE: _mute,
    Deed.STRAY_AT_REST: _stray_at_rest,
    Deed.SICKEN: _sicken,
    Deed.SCALE_DOWN: _scale_down,
    Deed.RETAG: _retag,
    Deed.RECREATE: _recreate,
    Deed.BRING_BACK: _bring_back,
    Deed.IGNORE: _ignore,
    Deed.BYPASS: _bypass,
    Deed.EDIT_AND_FAIL: _edit_and_fail,
    Deed.EDIT_GOING_BACK: _edit_going_back,
    Deed.DRIFT_ON_LEASE: _drift_on_lease,
}
