"""What people do to a system that is played: pushes, catalogs, words of operators, and hands on its targets."""

import random
from functools import partial

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.version_sets import neighbours
from ctrlplane_stream.model.facts import (
    OverrideVerb,
    WorldCause,
)
from ctrlplane_stream.model.policy import Mode
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.deeds.stage import Doing, Stage, calm_comes
from ctrlplane_stream.simulation.drawing.systems import in_another_manner, policy_of
from ctrlplane_stream.simulation.loop import artifact
from ctrlplane_stream.simulation.plans import Act, Deed
from ctrlplane_stream.simulation.world import Sickness

_SICKNESS = {"never ready": Sickness.NEVER_READY, "crashes": Sickness.CRASHES}


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
    """Number 0 takes back whatever was configured. Every third number is another template, the others are configurations."""
    if act.service in stage.services:
        configuration = {"flag": str(act.number)} if act.number % 3 else {}
        template = f"template-{act.number}" if act.number and act.number % 3 == 0 else None
        stage.services[act.service] = replace(stage.services[act.service], configuration=configuration, template=template)
        stage.apply_catalog()


def _retune(stage: Stage, act: Act) -> None:
    if act.service in stage.services:
        policy = policy_of(random.Random(act.number))  # noqa: S311 - a seeded simulation, not a secret
        policy = replace(policy, mode=Mode.ADVISE) if act.flavour == "advise" else policy
        stage.services[act.service] = replace(stage.services[act.service], policy=policy)
        stage.apply_catalog()


def _remake(stage: Stage, act: Act) -> None:
    """A kind and an actuator are asked for where something of the service is there, in vain; the next catalog has the old ones."""
    entry = stage.services.get(act.service)
    if entry is None:
        return
    other = in_another_manner(random.Random(act.number), entry, act.flavour)  # noqa: S311 - a seeded simulation, not a secret
    in_vain = (other.kind, other.actuator) != (entry.kind, entry.actuator)
    if in_vain and stage.loop.driver.target(act.service).stable is None:
        return
    stage.services[act.service] = other
    stage.apply_catalog()
    if in_vain:
        stage.services[act.service] = entry


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


def _edit(stage: Stage, act: Act) -> None:
    target = stage.loop.world.target(act.service)
    among = list(target.versions) if act.number % 3 == 0 else target.running  # a third of them know no difference to what is parked
    if not target.running:
        return
    weights = {among[0]: act.number, among[-1]: 100 - act.number} if len(among) > 1 else {among[0]: 100}
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


def _glass(stage: Stage, act: Act) -> None:
    if stage.loop.world.break_glass(act.service, "by hand"):
        stage.loop.tell_world(act.service, WorldCause.BREAK_GLASS, "by hand")


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
        if rollout.phase is not Phase.DRAINING or not rollout.promoted:
            continue
        old = [(stage.loop.driver.target(u.service), u.stable) for u in rollout.units if u.stable is not None]
        if any((v := target.wanted(label)) is not None and v.capacity is Capacity.PARKED for target, label in old):
            stage.loop.say(OverrideVerb.ABORT, rollout=rollout.id, unsafe=act.flag)
            return
    if not calm_comes(stage):
        stage.loop.at(0.2, lambda: _too_late(stage, act))


def _parking_fails(stage: Stage, act: Act) -> None:
    """As soon as the old versions of several waves drain: one of the first cannot be parked; then somebody aborts, what comes back starts
    slowly, and nothing is in the way of its parking any more."""
    loop = stage.loop
    for rollout in loop.driver.rollouts:
        waves = [unit.wave for unit in rollout.units]
        if rollout.phase is Phase.DRAINING and rollout.promoted and len(set(waves)) > 1:
            first = [unit.service for unit in rollout.units if unit.wave == min(waves)]
            loop.world.broken.add(first[act.number % len(first)])
            _abort_once_it_failed(stage, act, rollout.id, first[act.number % len(first)])
            return
    if not calm_comes(stage):
        loop.at(0.2, lambda: _parking_fails(stage, act))


def _abort_once_it_failed(stage: Stage, act: Act, rollout: str, service: str) -> None:
    loop, flight = stage.loop, stage.loop.driver.target(service).in_flight
    if calm_comes(stage):
        loop.world.broken.discard(service)
    elif flight is None or flight.trouble is None:
        loop.at(0.2, lambda: _abort_once_it_failed(stage, act, rollout, service))
    else:
        loop.world.broken.discard(service)
        loop.world.start_seconds = max(loop.world.start_seconds, 40.0)
        loop.say(OverrideVerb.ABORT, rollout=rollout, unsafe=act.flag)


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


def _return(stage: Stage, act: Act) -> None:
    """As soon as a service at rest has a version that was good before its stable one: something next to it is pushed, and while that climbs
    somebody returns to the good one, perhaps after all was frozen."""
    loop = stage.loop
    if calm_comes(stage):
        return
    for name in sorted(stage.services):
        target, near = loop.driver.target(name), sorted(stage.services.keys() & neighbours(loop.driver.state.graph, (name,)).keys())
        if near and target.rollout is None and any(label != target.stable for label in target.baked):
            other = near[act.number % len(near)]
            _push(stage, Act(0, Deed.PUSH, other, 100 + act.number, "good"))
            loop.at(act.number, partial(_return_beside, stage, act, name))
            return
    loop.at(1, lambda: _return(stage, act))


def _return_beside(stage: Stage, act: Act, service: str) -> None:
    if act.flag:
        stage.loop.say(OverrideVerb.FREEZE, expires_ms=stage.loop.now_ms + 60_000)
    stage.loop.say(OverrideVerb.REVERT, service=service)


def _adopt(stage: Stage, act: Act) -> None:
    what = artifact(act.service, act.number)
    stage.loop.say(OverrideVerb.ADOPT, service=act.service, image=what.image, digest=what.digest)


PEOPLE: dict[Deed, Doing] = {
    Deed.PUSH: _push,
    Deed.RELEASE: _push,
    Deed.CONFIGURE: _configure,
    Deed.SAY: _say,
    Deed.EDIT: _edit,
    Deed.GLASS: _glass,
    Deed.REMOVE: _remove,
    Deed.RETUNE: _retune,
    Deed.REMAKE: _remake,
    Deed.HAND_BACK: _hand_back,
    Deed.ELSEWHERE: _elsewhere,
    Deed.SECOND_THOUGHTS: _second_thoughts,
    Deed.REGRET: _regret,
    Deed.RETURN: _return,
    Deed.ADOPT: _adopt,
    Deed.TOO_LATE: _too_late,
    Deed.PARKING_FAILS: _parking_fails,
}
