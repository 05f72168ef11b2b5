"""Play a plan: chaos first, then everything is mended and every rollout must come to an end.

While acts run, all invariants are checked after every fact. At the end the world answers, telemetry flows, holds are resumed and freezes
lifted: what is not over after that never would be. Then the log is folded, and in some runs decided, again from nothing.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.invariants.books import is_advised
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.catalog import manifest_hash
from ctrlplane_stream.model.commands import Announce
from ctrlplane_stream.model.facts import (
    ArtifactPushed,
    CatalogApplied,
    EdgeSeen,
    EdgesObserved,
    Fact,
    OverrideVerb,
    ServiceSeen,
    WorldCause,
)
from ctrlplane_stream.model.identity import EdgeKey
from ctrlplane_stream.simulation.deeds import DEEDS
from ctrlplane_stream.simulation.deeds.targets import heed
from ctrlplane_stream.simulation.drawing.systems import OUTSIDE_JUDGE, SWIFT
from ctrlplane_stream.simulation.loop import Loop, artifact, catalog
from ctrlplane_stream.simulation.patience import Patience
from ctrlplane_stream.simulation.plans import Deed, Plan
from ctrlplane_stream.simulation.world import INSTANCES
from ctrlplane_stream.testing import InvariantBroken

CALM_SECONDS = 60
INPUTS_ANEW_EVERY = 4
"""Of so many seeds in one the topic of what users write is made anew while much is under way."""
DECIDED_AGAIN_EVERY = 20
"""Of so many seeds one is decided a second time from its facts, and must give the same bytes."""


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
        self._rng = random.Random(plan.seed + 1)  # noqa: S311 - a seeded simulation, not a secret
        self.services = {s.service: s for s in plan.services}
        self._catalogs = 1
        self.loop = Loop()
        self.loop.deliver = self._upstream
        self.loop.repeat = self._repeated
        self.loop.actuate = self._actuated
        self.loop.judge.outside = (OUTSIDE_JUDGE,)
        self.loop.world.start_seconds = plan.start
        self.loop.world.running = {name: artifact(name, number).digest for name, number in plan.running.items()}
        self.staging: Loop | None = None
        self._offered: list[Announce] = []
        self._failing: set[str] = set()
        """Reverts that failed before the patient operator, who first tries whether promoting helps."""

    def run(self) -> Outcome:
        """Play to the end."""
        broken: tuple[str, ...] = ()
        driver = self.loop.driver
        try:
            self._begin()
            self._chaos()
            self._calm()
            driver.restart()
            if self.plan.seed % DECIDED_AGAIN_EVERY == 0:
                driver.again()
        except InvariantBroken as error:
            broken = tuple(dict.fromkeys((str(error).split("\n", 1)[0], *(f"invariant 2: {harm}" for harm in self.loop.world.harmed[:1]))))
        rollouts = [r for loop in self._loops() for r in loop.driver.rollouts]
        return Outcome(
            seed=self.plan.seed,
            facts=sum(loop.driver.offset + 1 for loop in self._loops()),
            rollouts=len(rollouts),
            completed=sum(r.phase == "completed" for r in rollouts),
            reverted=sum(r.phase == "reverted" for r in rollouts),
            broken=broken,
            transcript=driver.transcript() if broken else "",
        )

    def apply_catalog(self) -> None:
        """The catalog as it is now."""
        self._catalogs += 1
        now = catalog(*self.services.values(), promote_from="staging" if self.plan.staging else None)
        self.loop.hear(CatalogApplied(now, f"h{self._catalogs}", "tests"))

    def _begin(self) -> None:
        """The catalog, which is the first fact of all, and the environment before this one where the plan has one."""
        self.loop.give(
            CatalogApplied(catalog(*self.services.values(), promote_from="staging" if self.plan.staging else None), "h1", "tests")
        )
        self.staging = self._before() if self.plan.staging else None
        if self.plan.seed % INPUTS_ANEW_EVERY == 0:
            for seconds in (90, 400):
                self.loop.at(seconds, self.loop.make_inputs_anew)

    def _before(self) -> Loop:
        """The environment before this one: calm, and it announces here what baked there."""
        plain = (replace(s, policy=SWIFT) for s in self.plan.services)
        past = {s.service: ("production",) for s in self.plan.services}
        staging = Loop.of(catalog(*plain, environment="staging", promotes_to=("qa",), onward=past))  # where nothing runs
        staging.announced = self._promoted
        return staging

    def _loops(self) -> Iterator[Loop]:
        yield self.loop
        if self.staging is not None:
            yield self.staging

    def _promoted(self, announce: Announce) -> None:
        """An announcement is a record like any other push: it comes later, and perhaps twice."""
        if announce.environment != "production":
            raise InvariantBroken(f"invariant 7: {announce.id} is offered to {announce.environment}, which does not run it")
        self._offered.append(announce)
        pushed = ArtifactPushed(announce.id, announce.artifact, announce.release, order=announce.order, provenance=announce.provenance)
        self.loop.at(self._rng.uniform(0, 3), lambda: self._hear(pushed))

    def _hear(self, fact: Fact) -> None:
        self.loop.hear(fact)

    def _run(self, seconds: int) -> None:
        """Let time pass in every environment, second by second where there are two."""
        if self.staging is None:
            self.loop.run(seconds)
            return
        for _ in range(seconds):
            self.staging.run(1)
            self.loop.run(1)

    def _chaos(self) -> None:
        names = sorted({name for caller, callee, _ in self.plan.edges for name in (caller, callee)})
        edges = tuple(EdgeSeen(EdgeKey(a, b, kind), 0, 10, 1000, 10.0) for a, b, kind in self.plan.edges)
        for loop in self._loops():
            loop.give(EdgesObserved(10, edges, tuple(ServiceSeen(name, 10, 10.0, 0.0) for name in names)))
        for act in self.plan.acts:
            self.loop.at(act.at, lambda act=act: DEEDS[act.deed](self, act))  # type: ignore[misc]
        self._run(self.plan.chaos)

    def _calm(self) -> None:
        """Mend everything and wait for the end of every rollout."""
        self._mend_all()
        patience = Patience(self.loop.world.start_seconds)
        open_yet, waited = self._open(patience), 0
        while open_yet or not waited or self._left_as_found():
            if waited >= patience.seconds:
                left = [f"{r.id} {r.phase} {r.waiting_for} {[h.code for h in r.holds]}" for r in open_yet]
                raise InvariantBroken(f"invariant 11: not over after {waited} s though all is well: {left}")
            for loop in self._loops():
                self._help_on(loop)
            self._run(CALM_SECONDS)
            open_yet, waited = self._open(patience), waited + CALM_SECONDS
        self._all_serve()
        if self.loop.world.harmed:
            raise InvariantBroken(f"invariant 2: {self.loop.world.harmed[0]}")
        self._all_configured()
        self._all_arrived()

    def _open(self, patience: Patience) -> list[e.Rollout]:
        """The rollouts that are not over, each met by the patience."""
        found = []
        for loop in self._loops():
            for rollout in loop.driver.rollouts:
                if rollout.ended_ms is None:
                    patience.meets(rollout, loop.driver.state)
                    found.append(rollout)
        return found

    def _left_as_found(self) -> bool:
        """Whether a target waits for somebody to say resume, since it was found otherwise than it was left, or edited by hand."""
        return any(_waits_for_people(loop, name) for loop in self._loops() for name in loop.world.targets)

    def _mend_all(self) -> None:
        """Whatever was broken works again, and nothing is frozen."""
        loop = self.loop
        loop.deliver, loop.repeat, loop.skew_ms = lambda fact: [(0.0, fact)], list, 0
        loop.actuate = lambda: [loop.actuation_seconds]
        world, judge = loop.world, loop.judge
        for troubled in (world.broken, world.liars, world.mute, judge.silent, judge.unsure, judge.doubted, judge.slandered):
            troubled.clear()
        judge.telemetry.cut = judge.telemetry.late = judge.outside_silent = False
        for target in loop.world.targets.values():
            for version in target.versions.values():
                version.lost = False
        for other, requests in loop.elsewhere.items():
            loop.moves(other, **{max(requests): 100})
        if loop.engine_down:
            loop.engine_up()
        for name in (*self.services, None):
            loop.say(OverrideVerb.UNFREEZE, service=name)

        for service in sorted(world.in_force):
            heed(self, service)

    def _help_on(self, loop: Loop) -> None:
        """Do what a patient operator does: resume, promote, force a revert that fails again and what is called past the route, and look at
        every target."""
        for rollout in loop.driver.rollouts:
            if any(hold.code == "revert-fails" for hold in rollout.holds):
                if rollout.id in self._failing:
                    loop.say(OverrideVerb.FORCE, rollout=rollout.id)
                self._failing.add(rollout.id)
            if any(hold.code == "not-drained" for hold in rollout.holds):
                loop.say(OverrideVerb.FORCE, rollout=rollout.id, unsafe=True)
        loop.say(OverrideVerb.RESUME)
        loop.say(OverrideVerb.PROMOTE, all_steps=True)
        moved = [(r, u) for r in loop.driver.rollouts for u in r.units]
        forced = {(u.service, u.candidate) for r, u in moved if r.forced}
        left = {(u.service, u.stable) for r, u in moved if r.stopped_because is not None}
        for name, target in sorted(loop.world.targets.items()):
            for label, version in target.versions.items():  # whoever wants a version that never came up, or is down, has to bring it up
                if label == loop.driver.target(name).stable or (name, label) in forced | left:
                    version.failure, version.ready_at_ms = None, min(version.ready_at_ms, loop.now_ms)
                    if version.weight:
                        version.instances = version.instances or INSTANCES  # somebody scaled it down
            loop.tell_world(name, WorldCause.READINESS)
            if _waits_for_people(loop, name):
                loop.say(OverrideVerb.RESUME, service=name)

    def _all_serve(self) -> None:
        """At the end every target that ever had a stable version serves it whole, but for what is left as another tool leaves it."""
        for loop in self._loops():
            for name, target in sorted(loop.world.targets.items()):
                if is_advised(loop.driver.state, name):
                    continue
                stable = loop.driver.target(name).stable
                weights = {label: v.weight for label, v in target.versions.items() if v.weight}
                if weights != ({stable: 100} if stable is not None else {}):
                    raise InvariantBroken(f"invariant 7: {name} ends with {weights}, stable is {stable}")
                version = loop.driver.state.find(f"version/{name}/{stable}", e.VersionEntry)
                if version is not None and target.versions[version.label].digest != version.artifact.digest:
                    raise InvariantBroken(f"invariant 7: {name} ends with another artifact than {version.artifact} as {stable}")

    def _all_configured(self) -> None:
        """Where no person chose otherwise, a service runs by its catalog's configuration, or that was tried and taken back."""
        if any(act.deed in _CHOICES for act in self.plan.acts):
            return
        state = self.loop.driver.state
        for name, service in sorted(self.services.items()):
            wanted = manifest_hash(service)
            tried = [u for r in self.loop.driver.rollouts if r.phase is Phase.REVERTED and _has_moved(r) for u in r.units]
            labels = [self.loop.driver.target(name).stable, *(u.candidate for u in tried if u.service == name)]
            versions = [state.find(f"version/{name}/{label}", e.VersionEntry) for label in labels if label is not None]
            if labels[0] is not None and not any(version is not None and version.manifest_hash == wanted for version in versions):
                raise InvariantBroken(f"invariant 7: {name} ends as {labels[0]}, which is not configured as its catalog says")

    def _all_arrived(self) -> None:
        """What baked in the environment before was announced once each time, and is numbered here (unless the catalog was without it)."""
        ids = [announce.id for announce in self._offered]
        if len(set(ids)) != len(ids):
            raise InvariantBroken(f"invariant 9: an artifact is announced twice: {ids}")
        removed = {act.service for act in self.plan.acts if act.deed is Deed.REMOVE}
        for announce in self._offered:
            service = announce.artifact.service
            if service in removed:
                continue
            pushed = f"pair/{service}/{announce.artifact.digest}/"
            if not any(key.startswith(pushed) for key, _ in self.loop.driver.state.entries()):
                raise InvariantBroken(f"invariant 7: {announce.id} baked in staging and never got a number here")

    def _upstream(self, fact: Fact) -> list[tuple[float, Fact]]:
        """What becomes of a report on its way to the log: lost, repeated, late."""
        plan, rng = self.plan, self._rng
        if rng.random() < plan.loss:
            return []
        copies = 2 if rng.random() < plan.echo else 1
        return [(rng.uniform(0, plan.delay) if plan.delay and rng.random() < 0.3 else 0.0, fact) for _ in range(copies)]

    def _repeated(self) -> list[float]:
        """When a user's record comes again: soon, as senders do it, or when much has happened since."""
        return [self._rng.uniform(0, self._rng.choice((20, 200)))] if self._rng.random() < self.plan.again else []

    def _actuated(self) -> list[float]:
        """When a command is carried out, once or twice; others may come before it."""
        plan, rng = self.plan, self._rng
        times = 2 if rng.random() < plan.twice else 1
        return [rng.uniform(0.1, plan.actuation) if plan.actuation > 0.5 else plan.actuation for _ in range(times)]


_CHOICES = (Deed.SAY, Deed.REGRET, Deed.RETURN, Deed.SECOND_THOUGHTS, Deed.TOO_LATE, Deed.PARKING_FAILS, Deed.GLASS, Deed.ADOPT)
"""What a person does to choose another version than the newest."""


def _has_moved(rollout: e.Rollout) -> bool:
    return any(passage.phase is Phase.PREPARING for passage in rollout.timeline)


def _waits_for_people(loop: Loop, name: str) -> bool:
    target = loop.driver.target(name)
    return target.strayed is not None or target.edited is not None


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The plan without every act that it fails without: acts are left out one by one until none can be, then what is rough about it."""
    smaller = True
    while smaller:
        smaller = False
        for at in range(len(plan.acts)):
            without = replace(plan, acts=(*plan.acts[:at], *plan.acts[at + 1 :]))
            if fails(without):
                plan, smaller = without, True
                break
        for change in _CALMER:
            calmer = replace(plan, **change)
            if calmer != plan and fails(calmer):
                plan, smaller = calmer, True
    return plan


_CALMER: tuple[dict[str, Any], ...] = (
    *({name: 0.0} for name in ("loss", "echo", "delay", "again", "twice")),
    {"actuation": 0.5},
    {"start": 2.0},
    {"staging": False},
)
"""What makes a plan less rough, one by one."""
