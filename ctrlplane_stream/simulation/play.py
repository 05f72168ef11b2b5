"""Play a plan: chaos first, then everything is mended and every rollout must come to an end.

While acts run, all invariants are checked after every fact. At the end the world answers, telemetry flows, holds are resumed and freezes
lifted: what is not over after that never would be.
"""

import random
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.facts import CatalogApplied, EdgeSeen, EdgesObserved, Fact, OverrideVerb, ServiceSeen, VerdictGiven, WorldCause
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import Verdict, VerdictStatus
from ctrlplane_stream.simulation.loop import Loop, catalog
from ctrlplane_stream.simulation.plans import Act, Deed, Plan
from ctrlplane_stream.simulation.world import Sickness
from ctrlplane_stream.testing import InvariantBroken

CHAOS_SECONDS = 240
CALM_ROUNDS = 25
CALM_SECONDS = 60

_SICKNESS = {"never ready": Sickness.NEVER_READY, "crashes": Sickness.CRASHES}


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended. ``broken`` is empty where all promises held."""

    seed: int
    facts: int
    rollouts: int
    completed: int
    reverted: int
    broken: tuple[str, ...]
    transcript: str = ""


class Play:
    """One run of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = Loop.of(catalog(*plan.services))
        self.services = {s.service: s for s in plan.services}
        self._rng = random.Random(plan.seed + 1)  # noqa: S311 - a seeded simulation, not a secret
        self._catalogs = 1
        self.loop.deliver = self._upstream

    def run(self) -> Outcome:
        """Play to the end."""
        broken: tuple[str, ...] = ()
        try:
            self._chaos()
            self._calm()
        except InvariantBroken as error:
            broken = (str(error).split("\n", 1)[0],)
        driver = self.loop.driver
        ended = driver.rollouts
        return Outcome(
            seed=self.plan.seed,
            facts=driver.offset + 1,
            rollouts=len(ended),
            completed=sum(r.phase == "completed" for r in ended),
            reverted=sum(r.phase == "reverted" for r in ended),
            broken=broken,
            transcript=driver.transcript() if broken else "",
        )

    def _chaos(self) -> None:
        names = sorted({name for caller, callee, _ in self.plan.edges for name in (caller, callee)})
        edges = tuple(EdgeSeen(EdgeKey(a, b, kind), 0, 10, 1000, 10.0) for a, b, kind in self.plan.edges)
        self.loop.give(EdgesObserved(10, edges, tuple(ServiceSeen(name, 10, 10.0, 0.0) for name in names)))
        for act in self.plan.acts:
            self.loop.at(act.at, lambda act=act: DEEDS[act.deed](self, act))  # type: ignore[misc]
        self.loop.run(CHAOS_SECONDS)

    def _calm(self) -> None:
        """Mend everything and wait for the end of every rollout."""
        self._mend_all()
        for _ in range(CALM_ROUNDS):
            self._help_on()
            self.loop.run(CALM_SECONDS)
            if all(r.ended_ms is not None for r in self.loop.driver.rollouts):
                break
        else:
            open_yet = [r for r in self.loop.driver.rollouts if r.ended_ms is None]
            left = [f"{r.id} {r.phase} {r.waiting_for} {[h.code for h in r.holds]}" for r in open_yet]
            raise InvariantBroken(f"invariant 11: not over though all is well: {left}")
        if self.plan.seed % 10 == 0:
            self.loop.driver.restart()
        self._all_serve(self.loop.driver.state)

    def _mend_all(self) -> None:
        """Whatever was broken works again, and nothing is frozen."""
        loop = self.loop
        loop.engine_down = False
        loop.deliver = lambda fact: [(0.0, fact)]
        loop.world.broken.clear()
        loop.world.liars.clear()
        loop.judge.telemetry.cut = loop.judge.telemetry.late = False
        loop.judge.silent.clear()
        for target in loop.world.targets.values():
            for version in target.versions.values():
                version.lost = False
        for other, requests in loop.elsewhere.items():
            loop.moves(other, **{max(requests): 100})
        for name in (*self.services, None):
            loop.say(OverrideVerb.UNFREEZE, service=name)

    def _help_on(self) -> None:
        """Do what a patient operator does: force what cannot be reverted, resume, promote, and look at every target."""
        loop = self.loop
        for rollout in loop.driver.rollouts:
            if any(hold.code == "revert-fails" for hold in rollout.holds):
                loop.say(OverrideVerb.FORCE, rollout=rollout.id)
        loop.say(OverrideVerb.RESUME)
        loop.say(OverrideVerb.PROMOTE, all_steps=True)
        for name in self.services:
            if name in loop.world.targets:
                loop.tell_world(name, WorldCause.READINESS)

    def _all_serve(self, state: State) -> None:
        """At the end every target that ever had a stable version serves it whole."""
        for name, target in sorted(self.loop.world.targets.items()):
            stable = self.loop.driver.target(name).stable
            weights = {label: v.weight for label, v in target.versions.items() if v.weight}
            if weights != ({stable: 100} if stable is not None else {}):
                raise InvariantBroken(f"invariant 7: {name} ends with {weights}, stable is {stable}")

    def _upstream(self, fact: Fact) -> list[tuple[float, Fact]]:
        """What becomes of a fact on its way to the log: lost, repeated, late."""
        plan, rng = self.plan, self._rng
        if rng.random() < plan.loss:
            return []
        copies = 2 if rng.random() < plan.echo else 1
        return [(rng.uniform(0, plan.delay) if plan.delay and rng.random() < 0.3 else 0.0, fact) for _ in range(copies)]

    def apply_catalog(self) -> None:
        """The catalog as it is now."""
        self._catalogs += 1
        self.loop.give(CatalogApplied(catalog(*self.services.values()), f"h{self._catalogs}", "tests"))


def _push(play: Play, act: Act) -> None:
    loop = play.loop
    label = f"#{loop.driver.target(act.service).newest + 1}"
    if act.flavour == "faulty":
        loop.judge.faulty.add((act.service, label))
    elif act.flavour in _SICKNESS:
        loop.world.sick[act.service, label] = _SICKNESS[act.flavour]
    release = act.other or None
    size = None if release is None or act.flag else int(release[1:])
    loop.push(act.service, act.number, release=release, release_size=size)


def _configure(play: Play, act: Act) -> None:
    entry = play.services[act.service]
    play.services[act.service] = replace(entry, configuration={"flag": str(act.number)})
    play.apply_catalog()


def _say(play: Play, act: Act) -> None:
    assert act.verb is not None
    more: dict[str, object] = {"service": act.service or None}
    if act.verb in (OverrideVerb.PIN, OverrideVerb.REVERT):
        more["version"] = f"#{act.number}"
    if act.verb is OverrideVerb.PROMOTE:
        more["all_steps"] = act.flag
    if act.verb is OverrideVerb.FREEZE:
        more["expires_ms"] = play.loop.now_ms + act.number * 20_000
    play.loop.say(act.verb, **more)


def _break(play: Play, act: Act) -> None:
    play.loop.world.broken.add(act.service)


def _lie(play: Play, act: Act) -> None:
    play.loop.world.liars.add(act.service)


def _mend(play: Play, act: Act) -> None:
    play.loop.world.broken.discard(act.service)
    play.loop.world.liars.discard(act.service)


def _edit(play: Play, act: Act) -> None:
    target = play.loop.world.target(act.service)
    running = [label for label, v in target.versions.items() if v.instances]
    if not running:
        return
    weights = {running[0]: act.number, running[-1]: 100 - act.number} if len(running) > 1 else {running[0]: 100}
    play.loop.world.edit(act.service, weights, f"weight {act.number}")
    play.loop.tell_world(act.service, WorldCause.HAND_EDIT, f"weight {act.number}")


def _glass(play: Play, act: Act) -> None:
    target = play.loop.world.target(act.service)
    if target.stable is not None and target.stable in target.versions:
        for label, version in target.versions.items():
            version.weight = 100 if label == target.stable else 0
        target.lease_until_ms = None
        play.loop.tell_world(act.service, WorldCause.BREAK_GLASS, "by hand")


def _cut(play: Play, act: Act) -> None:
    play.loop.judge.telemetry.cut = True


def _late(play: Play, act: Act) -> None:
    play.loop.judge.telemetry.late = True


def _flow(play: Play, act: Act) -> None:
    play.loop.judge.telemetry.cut = play.loop.judge.telemetry.late = False


def _down(play: Play, act: Act) -> None:
    play.loop.engine_down = True

    def up() -> None:
        play.loop.engine_down = False
        play.loop.driver.restart()

    play.loop.at(act.number, up)


def _restart(play: Play, act: Act) -> None:
    play.loop.driver.restart()


def _lose_ready(play: Play, act: Act) -> None:
    for version in play.loop.world.target(act.service).versions.values():
        if version.weight < 100:
            version.lost = True
    play.loop.tell_world(act.service, WorldCause.READINESS, "instances went away")


def _learn(play: Play, act: Act) -> None:
    if act.service != act.other:
        edge = EdgeSeen(EdgeKey(act.service, act.other, EdgeKind.CALL), 0, 20, 5, 0.1)
        play.loop.give(EdgesObserved(20, (edge,)))


def _silence(play: Play, act: Act) -> None:
    play.loop.judge.silent.add(act.service)


def _stale(play: Play, act: Act) -> None:
    for rollout in play.loop.driver.rollouts:
        stale = Verdict(
            environment=rollout.environment,
            rollout=rollout.id,
            step=act.number % 3,
            attempt=max(0, rollout.judged_attempt - 1),
            status=VerdictStatus.FAIL if act.number % 2 else VerdictStatus.PASS,
            reason="from an earlier attempt",
            windows_judged=9,
        )
        play.loop.give(VerdictGiven(stale))


def _elsewhere(play: Play, act: Act) -> None:
    """Another tool gives version ``number`` of its service ``other`` percent of the traffic, and the one before it the rest."""
    share, label = int(act.other or 100), f"v{act.number}"
    if act.flavour == "faulty":
        play.loop.judge.faulty.add((act.service, label))
    play.loop.moves(act.service, **({label: share, f"v{act.number - 1}": 100 - share} if act.number > 1 else {label: share}))


DEEDS: dict[Deed, Callable[[Play, Act], None]] = {
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
    Deed.OUTSIDE: _stale,
    Deed.ELSEWHERE: _elsewhere,
}
"""Every deed has a row."""


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The plan without every act that it fails without: acts are left out one by one until none can be."""
    smaller = True
    while smaller:
        smaller = False
        for at in range(len(plan.acts)):
            without = replace(plan, acts=(*plan.acts[:at], *plan.acts[at + 1 :]))
            if fails(without):
                plan, smaller = without, True
                break
        for calmer in (replace(plan, loss=0.0), replace(plan, echo=0.0), replace(plan, delay=0.0)):
            if calmer != plan and fails(calmer):
                plan, smaller = calmer, True
    return plan
