"""The whole loop on a real API server: artifact, version set, Deployments, weights, spans, verdict, revert, drain, deletion.

Everything but Kafka and the Pods is the product's own: spans go through both stages of pairing, the dependency table
and the judge; facts through the engine; commands through the reconcile loop to Kubernetes. The generator labels spans by
the weights that the HTTPRoute has at that moment. The engine's time runs up to 25 times as fast as the clock.
"""

import asyncio
import random
from collections import deque
from contextlib import asynccontextmanager

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.actuators.reconcile import Pace, Reconciler
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.local.control_plane.scene import kubernetes, route, routed_place
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied, OverrideRequested, OverrideVerb, TimePassed, VerdictGiven
from ctrlplane_stream.model.identity import Artifact, Target
from ctrlplane_stream.model.world import Cursor
from ctrlplane_stream.simulation.loop import QUICK, catalog, service
from ctrlplane_stream.stream.judging import Bench, Timing
from ctrlplane_stream.stream.roles.actuate import watch_of
from ctrlplane_stream.telemetry.half import Kind as SpanKind
from ctrlplane_stream.telemetry.in_memory import InMemoryChain
from ctrlplane_stream.telemetry.sample_traces import SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.telemetry.table import DependencyTable, TableSettings
from ctrlplane_stream.testing import Driver

ENVIRONMENT = "production"
CART, FRONT = Target(ENVIRONMENT, "cart"), Target(ENVIRONMENT, "front")
ROLLOUT = f"{ENVIRONMENT}/cart/2"
REQUESTS_A_SECOND = 60
FASTER = 25
SETTINGS = SpanSettings(partitions=1, lateness_ms=2_000, default_environment=ENVIRONMENT)


class Traffic:
    """Requests that enter at ``front`` and call ``cart``, in the version that the live weights draw; ``faulty`` ones fail."""

    def __init__(self) -> None:
        self._traces = SampleTraces()
        self._chance = random.Random(1)
        self.faulty: set[str] = set()

    def second(self, weights: dict[str, dict[str, int]], now_ms: int) -> list[bytes]:
        """The spans of one second, as an OTLP request; none where there was no traffic."""
        spans = []
        for number in range(REQUESTS_A_SECOND if all(sum(w.values()) for w in weights.values()) else 0):
            front, cart = (self._chance.choices(list(w), list(w.values()))[0] for w in (weights["front"], weights["cart"]))
            failed = cart in self.faulty and self._chance.random() < 0.5
            common = {"environment": ENVIRONMENT, "end_ms": now_ms - 1 - number, "error": failed}
            entry = self._traces.span("front", SpanKind.SERVER, version=front, milliseconds=20, **common)
            call = self._traces.span("front", SpanKind.CLIENT, entry, version=front, milliseconds=10, **common)
            spans += [entry, call, self._traces.span("cart", SpanKind.SERVER, call, version=cart, milliseconds=8, **common)]
        return [request(spans)] if spans else []


class Loop:
    """Engine, telemetry and judge in memory, and a reconcile loop per target on the cluster."""

    def __init__(self, actuator, weights, standing) -> None:
        self.driver = Driver(ENVIRONMENT)
        self.traffic = Traffic()
        self.actuator = actuator
        self.where_requests_go = weights
        """Service → label → share of the requests, asked every second."""
        self._live_standing = standing
        self.stands: list[tuple[bool, bool, bool]] = []
        """What became of the losing version: whether it is there, has Pods, and takes traffic; each once in a row."""
        self._chain = InMemoryChain(SETTINGS)
        self._read = 0
        self._bench = Bench(Timing(1, SETTINGS.window_seconds, SETTINGS.lateness_ms / 1000))
        self._table = DependencyTable(ENVIRONMENT, TableSettings(partitions=1))
        self._inbox: deque = deque()
        self._reconcilers: dict[Target, Reconciler] = {}
        self.tasks: list[asyncio.Task] = []
        self._heard = 0

    def give(self, fact) -> None:
        """A fact now, and what the engine makes of it to whom it concerns."""
        self._bench.note(self.driver.pipe(fact).delta, self.driver.now_ms)
        for output in self.driver.outputs[self._heard :]:
            self._bench.hear(output)
            if isinstance(output, Command):
                self._chain.watch(watch_of(output.wanted))
                self._reconciler(output.target).submit(output, Cursor(1, output.sequence))
        self._heard = len(self.driver.outputs)

    async def second(self) -> None:
        """One second of the engine's time."""
        self.driver.now_ms += 1000
        await asyncio.sleep(1 / FASTER)
        while self._inbox:
            self.give(self._inbox.popleft())
        now, weights, stand = self.driver.now_ms, await self.where_requests_go(), await self._live_standing()
        self.stands += [stand] if [stand] != self.stands[-1:] else []
        assert self._chain.receive(self.traffic.second(weights, now), now) == []
        self._chain.advance(now)
        self._table.in_motion = self._bench.in_motion
        self._read_windows()
        if (self.driver.wake_at_ms or now) <= now:
            self.give(TimePassed())

    def rollout(self):
        """The rollout of the cart's second version."""
        rollout = self.driver.rollout(ROLLOUT)
        assert rollout is not None
        return rollout

    async def until(self, holds, what: str, seconds: int = 4000) -> None:
        """Let time pass until it holds."""
        for _ in range(seconds):
            if holds():
                return
            await self.second()
        raise AssertionError(f"never: {what}\n{self.driver.transcript()}")

    def _read_windows(self) -> None:
        output = self._chain.output[0]
        for offset, record in enumerate(output[self._read :], self._read):
            for fact in self._table.feed(offset, record):
                self.give(fact)
            for closed in self._bench.line.feed(offset, record):
                for verdict in self._bench.judge(closed):
                    self.give(VerdictGiven(verdict))
        self._read = len(output)

    def _reconciler(self, target: Target) -> Reconciler:
        async def report(fact) -> None:
            self._inbox.append(fact)

        if target not in self._reconcilers:
            pace = Pace(moving_seconds=0.1, rest_seconds=1.0)
            self._reconcilers[target] = Reconciler(target, self.actuator, report, pace=pace)
            self.tasks.append(asyncio.create_task(self._reconcilers[target].run()))
        return self._reconcilers[target]


def pushed(name: str, number: int) -> ArtifactPushed:
    """The n-th image of a service."""
    return ArtifactPushed(f"{name}-{number}", Artifact(name, "registry.example/well", f"sha256:{number:064x}"))


_PATIENT_SECONDS = 2_500.0
POLICY = msgspec.structs.replace(
    QUICK,
    retention_seconds=20.0,
    ready_timeout_seconds=_PATIENT_SECONDS,
    lost_actuator_seconds=_PATIENT_SECONDS,
    lease_seconds=_PATIENT_SECONDS,
)
"""Patient with the cluster, which lives by the clock on a busy machine, while the engine's time runs ahead of it."""


class Eyes:
    """What stands in a namespace, read with an administrator's token."""

    def __init__(self, admin, namespace: str) -> None:
        self._admin = admin
        self._namespace = namespace

    async def weights(self) -> dict[str, dict[str, int]]:
        """Service → label → weight, as the routes have it."""
        found = {}
        for name in ("front", "cart"):
            there = backends(await self._admin.get(Kind.HTTP_ROUTE, self._namespace, name), "main")
            found[name] = {f"#{each.rpartition('-v')[2]}": weight for each, weight in there.items() if "-v" in each}
        return found

    async def ready(self) -> dict[str, int]:
        """Label → ready Pods of the cart."""
        there = [(number, await self._admin.get(Kind.DEPLOYMENT, self._namespace, f"cart-v{number}")) for number in (1, 2)]
        return {f"#{number}": each["status"].get("readyReplicas", 0) for number, each in there if each is not None}

    async def standing(self, number: int) -> tuple[bool, bool, bool]:
        """Whether that version of the cart is there, has Pods, and takes traffic."""
        there = await self._admin.get(Kind.DEPLOYMENT, self._namespace, f"cart-v{number}")
        takes = (await self.weights())["cart"].get(f"#{number}", 0) > 0
        return there is not None, there is not None and there["spec"]["replicas"] > 0, takes


@asynccontextmanager
async def playing(lab, lost: int, policy=POLICY):
    """The loop over a fresh namespace with its catalog applied, and eyes on it; requests go as the routes say. ``lost``: see ``stands``."""
    namespace = await asyncio.to_thread(lab.namespace)
    await asyncio.to_thread(lab.apply, [route("cart", ["main"]), route("front", ["main"])], namespace)
    async with lab.product() as cluster, lab.admin() as admin:
        eyes = Eyes(admin, namespace)
        places = [(target, routed_place(namespace, target.service)) for target in (CART, FRONT)]
        actuator = kubernetes(cluster, *places, clock=lambda: loop.driver.now_ms / 1000)
        loop = Loop(actuator, eyes.weights, lambda: eyes.standing(lost))
        entries = [service(name, policy, actuator="kubernetes", images=("registry.example/well",)) for name in ("cart", "front")]
        loop.give(CatalogApplied(catalog(*entries), "h1", "tests"))
        try:
            for name in ("cart", "front"):
                loop.give(pushed(name, 1))
            await loop.until(lambda: all(r.phase is Phase.COMPLETED for r in loop.driver.rollouts), "first versions bake")
            yield loop, eyes
        finally:
            for task in loop.tasks:
                task.cancel()
            await asyncio.gather(*loop.tasks, return_exceptions=True)


@pytest.mark.parametrize("faulty", [True, False])
def test_an_artifact_becomes_a_verdict_and_ends_where_the_verdict_says(lab, faulty):
    """A candidate whose requests fail is found by its spans and reverted; a healthy one is promoted. Nothing else moves.

    What lost takes no traffic first, then has no Pods, and is gone after its retention.
    """
    kept, lost = "#1" if faulty else "#2", 2 if faulty else 1

    async def run() -> None:
        async with playing(lab, lost) as (loop, eyes):
            loop.traffic.faulty = {"#2"} if faulty else set()
            loop.give(pushed("cart", 2))
            rollouts = loop.driver
            await loop.until(lambda: len(rollouts.rollouts) == 3 and all(r.phase in ENDED for r in rollouts.rollouts), "the rollout ends")
            rollout = loop.driver.rollout(ROLLOUT)
            assert rollout is not None
            assert rollout.phase is (Phase.REVERTED if faulty else Phase.COMPLETED), loop.driver.transcript()
            weights = await eyes.weights()
            assert {label: weight for label, weight in weights["cart"].items() if weight} == {kept: 100}
            assert weights["front"] == {"#1": 100}
            await loop.until(lambda: not loop.stands[-1][0], "what lost is deleted")
            assert loop.stands[-4:] == [(True, True, True), (True, True, False), (True, False, False), (False, False, False)]

    asyncio.run(run())


def test_calls_past_the_route_hold_the_step_and_keep_what_they_reach(lab):
    """Without a mesh, calls to a Service's own address reach its Pods whatever the route says, here every second one the candidate.

    The route confirms the weight, the arrivals contradict it, and the step is held with both numbers. Aborted, the candidate has
    weight 0 and still its Pods: requests arrive there. It loses them when those go by the route.
    """

    async def run() -> None:
        async with playing(lab, 2) as (loop, eyes):

            async def past_the_route() -> dict[str, dict[str, int]]:
                return {**await eyes.weights(), "cart": await eyes.ready()}

            loop.where_requests_go = past_the_route
            loop.give(pushed("cart", 2))
            await loop.until(lambda: [hold.code for hold in loop.rollout().holds] == ["contradicted"], "the step is held")
            assert "of the requests arrive at the candidate, whose weight is 10%" in loop.rollout().holds[0].text
            assert (await eyes.weights())["cart"] == {"#1": 90, "#2": 10}
            loop.give(OverrideRequested("o1", OverrideVerb.ABORT, "alice", "calls go past the route", rollout=ROLLOUT))
            await loop.until(lambda: loop.rollout().phase is Phase.DRAINING and not loop.stands[-1][2], "the weight is back")
            for _ in range(int(3 * POLICY.drain_seconds)):
                await loop.second()
            assert (loop.rollout().phase, loop.stands[-1]) == (Phase.DRAINING, (True, True, False)), loop.driver.transcript()
            loop.where_requests_go = eyes.weights
            await loop.until(lambda: loop.rollout().phase is Phase.REVERTED and not loop.stands[-1][1], "it is drained")

    asyncio.run(run())
