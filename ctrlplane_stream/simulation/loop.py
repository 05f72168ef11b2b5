"""The closed loop in memory: driver, world and judge on one clock, events in order of time.

loop = Loop.of(environment_catalog)
loop.push("shop/cart", 1)
loop.run(120)
assert loop.driver.rollout("production/shop-cart/1").phase is Phase.COMPLETED
"""

import heapq
from collections.abc import Callable

from ctrlplane_stream.decision.engine import Decision
from ctrlplane_stream.model.catalog import EnvironmentCatalog, ServiceInEnvironment
from ctrlplane_stream.model.commands import Announce, Command, Declare, JudgeAssigned, JudgeReleased, Output
from ctrlplane_stream.model.facts import (
    ArrivalsObserved,
    ArtifactPushed,
    CatalogApplied,
    EdgeSeen,
    EdgesObserved,
    Fact,
    Origin,
    OverrideRequested,
    OverrideVerb,
    ServiceSeen,
    TimePassed,
    VerdictGiven,
    WorldCause,
    WorldChanged,
)
from ctrlplane_stream.model.identity import Artifact, EdgeKey, EdgeKind, ServiceKind, Target
from ctrlplane_stream.model.policy import Policy, Step
from ctrlplane_stream.simulation.judge import SimulatedJudge
from ctrlplane_stream.simulation.world import World
from ctrlplane_stream.testing import Driver, InvariantBroken

WINDOW_SECONDS = 10

QUICK = Policy(
    steps=(Step(10, 10, 300), Step(50, 10, 300), Step(100, 10, 300)),
    bake_seconds=30,
    bake_windows=2,
    ready_timeout_seconds=60,
    drain_seconds=20,
    drain_limit_seconds=120,
    retention_seconds=600,
    blind_limit_seconds=60,
    lost_actuator_seconds=60,
    lease_seconds=90,
    hold_deadline_seconds=900,
)
"""A policy that differs from the default in times only, so that simulated rollouts are short."""


def digest(number: int) -> str:
    """A digest that is as long as a real one."""
    return f"sha256:{number:064x}"


def artifact(service: str, number: int) -> Artifact:
    """The n-th image of a service."""
    return Artifact(service, f"registry.example/{service}", digest(number))


def service(name: str, policy: Policy = QUICK, kind: ServiceKind = ServiceKind.ROUTED, **more: object) -> ServiceInEnvironment:
    """A service with one image repository."""
    entry = {"service": name, "images": (f"registry.example/{name}",), "kind": kind, "actuator": "dry-run", "policy": policy, **more}
    return ServiceInEnvironment(**entry)  # type: ignore[arg-type]


def catalog(*services: ServiceInEnvironment, environment: str = "production", **more: object) -> EnvironmentCatalog:
    """An environment of these services."""
    return EnvironmentCatalog(environment, tuple(sorted(services, key=lambda s: s.service)), **more)  # type: ignore[arg-type]


class Loop:
    """One environment with everything around it.

    ``deliver`` may be replaced to lose, delay, repeat or reorder what the world and the judge report; ``repeat`` to bring users' records
    again, each copy after so many seconds; ``actuate`` to say when, and how often, a command is carried out. ``skew_ms`` is by
    how much the log's clock is ahead of the world's.
    """

    def __init__(self, environment: str = "production", *, strict: bool = True) -> None:
        self.driver = Driver(environment, strict=strict)
        self.world = World(environment)
        self.judge = SimulatedJudge(environment)
        self.elsewhere: dict[str, dict[str, int]] = {}
        """Service to version label to requests in a window, of services that another tool moves."""
        self.actuation_seconds = 0.5
        self.engine_down = False
        self.skew_ms = 0
        self.deliver: Callable[[Fact], list[tuple[float, Fact]]] = lambda fact: [(0.0, fact)]
        self.repeat: Callable[[], list[float]] = list
        self.actuate: Callable[[], list[float]] = lambda: [self.actuation_seconds]
        self.announced: Callable[[Announce], None] = lambda announce: None
        self._inputs, self._dated_ms = 0, 0
        self._backlog: list[tuple[Fact, Origin | None, int]] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._looked_at_ms = self.driver.now_ms
        self.now_ms = self.driver.now_ms
        self._at(self.now_ms + 1000, self._second)
        self._at(self.now_ms + WINDOW_SECONDS * 1000, self._window)

    @classmethod
    def of(cls, environment_catalog: EnvironmentCatalog, **more: bool) -> "Loop":
        """A loop with a catalog applied."""
        loop = cls(environment_catalog.environment, **more)
        loop.give(CatalogApplied(environment_catalog, "h1", "tests"))
        return loop

    def edges(self, *pairs: str, kind: EdgeKind = EdgeKind.CALL) -> None:
        """Learn edges written ``"a>b"``, and that their ends have traffic."""
        ends = [pair.split(">") for pair in pairs]
        seen = [EdgeSeen(EdgeKey(caller, callee, kind), 0, 10, 1000, 10.0) for caller, callee in ends]
        names = sorted({name for pair in ends for name in pair})
        self.give(EdgesObserved(10, tuple(seen), tuple(ServiceSeen(name, 10, 10.0, 0.0) for name in names)))

    def moves(self, name: str, **requests: int) -> None:
        """Another tool lets so many requests a window arrive at each version of a service (labels as keywords)."""
        known = self.driver.state.find(f"traffic/{name}", ServiceSeen)
        labels = tuple(sorted({*(known.versions if known is not None else ()), *requests}))
        if known is None or labels != known.versions:
            self.give(EdgesObserved(10, (), (ServiceSeen(name, 10, 10.0, 0.0, labels),)))
        self.elsewhere[name] = requests

    def push(self, name: str, number: int, **more: object) -> None:
        """Offer the n-th image of a service."""
        self._count += 1
        self.hear(ArtifactPushed(f"{name}-{number}-{self._count}", artifact(name, number), **more))  # type: ignore[arg-type]

    def say(self, verb: OverrideVerb, **more: object) -> Decision | None:
        """An operator speaks."""
        self._count += 1
        return self.hear(OverrideRequested(f"o{self._count}", verb, "ada", "because", **more))  # type: ignore[arg-type]

    def hear(self, fact: Fact) -> Decision | None:
        """Take in what a user wrote: a record of its own, which may be delivered again, or be written again by whoever wrote it."""
        origin = self._written()
        for seconds in self.repeat():
            anew = origin.offset % 2 and isinstance(fact, ArtifactPushed | OverrideRequested)
            self.at(seconds, lambda anew=anew: self._give(fact, self._written() if anew else origin))  # type: ignore[misc]
        return self.give(fact, origin)

    def _written(self) -> Origin:
        self._inputs += 1
        self._dated_ms = max(self.now_ms, self._dated_ms + 1)
        return Origin("inputs", 0, self._inputs, at_ms=self._dated_ms)

    def make_inputs_anew(self) -> None:
        """What users write begins again at the first offset; what they wrote before may still be delivered again."""
        self._inputs = 0

    def give(self, fact: Fact, origin: Origin | None = None) -> Decision | None:
        """Append a fact to the log now; None while the engine is down: it is decided when the engine is back, by the time it has here."""
        at_ms = self.now_ms + self.skew_ms
        if self.engine_down:
            self._backlog.append((fact, origin, at_ms))
            return None
        decision = self.driver.pipe(fact, origin=origin, at_ms=at_ms)
        self._carry(decision.outputs)
        return decision

    def engine_up(self) -> None:
        """The engine is back, and decides what has come in meanwhile."""
        self.engine_down = False
        backlog, self._backlog = self._backlog, []
        for fact, origin, at_ms in backlog:
            self._carry(self.driver.pipe(fact, origin=origin, at_ms=at_ms).outputs)

    def run(self, seconds: float) -> None:
        """Let everything happen for so long."""
        until = self.now_ms + round(seconds * 1000)
        while self._heap and self._heap[0][0] <= until:
            at, _, act = heapq.heappop(self._heap)
            self.now_ms = max(self.now_ms, at)
            act()
        self.now_ms = until

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something in so many seconds."""
        self._at(self.now_ms + round(seconds * 1000), act)

    def _at(self, at_ms: int, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, act))

    def _give(self, fact: Fact, origin: Origin | None = None) -> None:
        self.give(fact, origin)

    def _send(self, fact: Fact) -> None:
        for delay, copy in self.deliver(fact):
            self._at(self.now_ms + round(delay * 1000), lambda copy=copy: self._give(copy))  # type: ignore[misc]

    def _carry(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            if isinstance(output, Command):
                for seconds in self.actuate():
                    self.at(seconds, lambda c=output: self._actuate(c))  # type: ignore[misc]
            elif isinstance(output, JudgeAssigned):
                self.judge.assign(output.assignment)
            elif isinstance(output, JudgeReleased):
                self.judge.release(output.rollout)
            elif isinstance(output, Announce):
                self.announced(output)
            elif isinstance(output, Declare):
                self.at(0, lambda v=output.verdict: self._give(VerdictGiven(v)))  # type: ignore[misc]

    def _actuate(self, command: Command) -> None:
        self._send(self.world.apply(command, self.now_ms))

    def _second(self) -> None:
        self._at(self.now_ms + 1000, self._second)
        for name in sorted(self.world.targets):
            if self.world.becomes_ready(name, self._looked_at_ms, self.now_ms):
                self.tell_world(name, WorldCause.READINESS, "instances became ready")
        for name in self.world.run_jobs(self.now_ms):
            self.tell_world(name, WorldCause.READINESS, "a run began or ended")
        for name in self.world.exchange(self.now_ms):
            self.tell_world(name, WorldCause.READINESS, "an instance was exchanged")
        for name in self.world.raise_weights(self.now_ms):
            self.tell_world(name, WorldCause.READINESS, "weights followed the instances")
        for name in self.world.expire_leases(self.now_ms):
            self.tell_world(name, WorldCause.LEASE_EXPIRED, "nobody renewed")
        if left := self.world.unleased:
            raise InvariantBroken(f"invariant 11: the weights of {', '.join(left)} are partial, and no lease ends them")
        self._looked_at_ms = self.now_ms
        wake = self.driver.wake_at_ms
        if wake is not None and wake <= self.now_ms + self.skew_ms and not self.engine_down:
            self.give(TimePassed())

    def tell_world(self, name: str, cause: WorldCause, detail: str = "") -> None:
        """Report what a target looks like."""
        target = Target(self.driver.environment, name)
        self._send(WorldChanged(target, cause, self.world.observe(name, self.now_ms), detail))

    def _window(self) -> None:
        self._at(self.now_ms + WINDOW_SECONDS * 1000, self._window)
        window = self.now_ms // 1000 - WINDOW_SECONDS
        if not self.judge.telemetry.cut and not self.judge.telemetry.late:
            self._send(ArrivalsObserved(window, WINDOW_SECONDS, self._arrivals()))
        for verdict in self.judge.window_closed(window, WINDOW_SECONDS):
            self._send(VerdictGiven(verdict))

    def _arrivals(self) -> dict[str, dict[str, int]]:
        ours = {
            name: self.world.arriving(name) if name not in self.judge.silent else {}
            for name, target in sorted(self.world.targets.items())
            if target.kind is not ServiceKind.JOB
        }
        return ours | {name: dict(requests) for name, requests in sorted(self.elsewhere.items()) if name not in self.judge.silent}
