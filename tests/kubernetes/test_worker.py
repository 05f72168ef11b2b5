"""The whole loop with nothing left out but the Pods: a real broker, a real worker, `actuator: kubernetes`, a real API server.

The worker's roles are processes with the product's least rights and a placement file. Artifacts are pushed by the command; a
generator asks the routes for their weights and labels its spans by them. It takes longer than a unit test by the windows that
have to close; that engine, log, actuator and cluster fit together shows nowhere else.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.lab import USER
from ctrlplane_stream.local.control_plane.scene import artifact, route, template
from ctrlplane_stream.local.demo.setting import demo_policy
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import LookedAt, look
from ctrlplane_stream.telemetry.half import Kind as SpanKind
from ctrlplane_stream.telemetry.sample_traces import SampleSpan, SampleTraces, request
from ctrlplane_stream.wire.topic_admin import ensure_topics
from tests.background import Background

ENVIRONMENT = "production"
SERVICES = ("front", "cart", "stock", "blog")
"""``front`` calls ``cart``, which calls ``stock``; nobody calls ``blog``, which calls nobody."""
ROLLOUT = f"{ENVIRONMENT}/cart/2"
ROUNDS_A_SECOND, REQUESTS_A_ROUND = 4, 30
PATIENCE_SECONDS = 240.0
POLICY = msgspec.structs.replace(
    demo_policy(),
    ready_timeout_seconds=180.0,
    lost_actuator_seconds=180.0,
    lease_seconds=120.0,
    blind_limit_seconds=60.0,
    retention_seconds=3.0,
)
"""The demo's, patient with a busy machine."""

Weights = dict[str, dict[str, int]]
"""Service → version label → percent."""


class Traffic(Background):
    """Requests by the live weights of the routes, from ``with`` to its end; ``cart`` #2 fails every second one.

    ``seen`` has every state of the cart's route, each once in a row.
    """

    def __init__(self, lab, namespace: str, settings: Settings) -> None:
        super().__init__()
        self.seen: list[dict[str, int]] = []
        self._lab, self._namespace, self._settings = lab, namespace, settings
        self._traces, self._chance = SampleTraces(), random.Random(6)

    async def _go_on(self) -> None:
        topic, rounds = self._settings.topic("otlp_spans"), 0
        async with AIOKafkaProducer(bootstrap_servers=self._settings.kafka_bootstrap_servers) as producer, self._lab.admin() as admin:
            while not self._ended.is_set():
                with suppress(KafkaError, WorldUnreachable):  # a round that a busy broker did not take is a round less
                    weights = await self._weights(admin)
                    spans = [span for _ in range(REQUESTS_A_ROUND) for span in self._request(weights)]
                    if spans:
                        await producer.send_and_wait(topic, request(spans), partition=rounds % self._settings.partitions)
                rounds += 1
                await asyncio.sleep(1 / ROUNDS_A_SECOND)

    async def _weights(self, admin) -> Weights:
        found = {name: backends(await admin.get(Kind.HTTP_ROUTE, self._namespace, name), "main") or {} for name in SERVICES}
        weights = {name: {f"#{each.rpartition('-v')[2]}": w for each, w in there.items() if "-v" in each} for name, there in found.items()}
        self.seen += [weights["cart"]] if [weights["cart"]] != self.seen[-1:] else []
        return weights

    def _request(self, weights: Weights) -> list[SampleSpan]:
        """A visit to the blog and one to the front, in the versions that the weights draw; none before everybody serves."""
        if not all(sum(of.values()) for of in weights.values()):
            return []
        version = {name: self._chance.choices(list(of), list(of.values()))[0] for name, of in weights.items()}
        bad, now = version["cart"] == "#2" and self._chance.random() < 0.5, time.time() * 1000

        def span(name: str, kind: SpanKind, parent: SampleSpan | None, milliseconds: float, error: bool) -> SampleSpan:
            told: Mapping[str, object] = {"version": version[name], "environment": ENVIRONMENT, "end_ms": now, "error": error}
            return self._traces.span(name, kind, parent, milliseconds=milliseconds, **told)  # type: ignore[arg-type]

        visit = span("blog", SpanKind.SERVER, None, 10, False)
        entry = span("front", SpanKind.SERVER, None, 30, bad)
        to_cart = span("front", SpanKind.CLIENT, entry, 20, bad)
        cart = span("cart", SpanKind.SERVER, to_cart, 15, bad)
        to_stock = span("cart", SpanKind.CLIENT, cart, 8, False)
        return [visit, entry, to_cart, cart, to_stock, span("stock", SpanKind.SERVER, to_stock, 5, False)]


class Site:
    """A namespace with routes, topics of its own, and a worker that is told of both."""

    def __init__(self, lab, settings: Settings, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.namespace = lab.namespace()
        lab.apply([route(name, ["main"]) for name in SERVICES], self.namespace)
        self.settings = msgspec.structs.replace(settings, kubernetes_placement=str(self._placement()))
        kubeconfig = str(lab.plane.kubeconfig(lab.plane.tokens[USER], "product"))
        self._environ = {**os.environ, **self.settings.variables(), "KUBECONFIG": kubeconfig}

    def worker(self) -> ChildProcess:
        """All roles, as a user starts them."""
        command = [sys.executable, "-m", "ctrlplane_stream", "worker"]
        return ChildProcess("worker", command, log=self.folder / "worker.log", environ=self._environ)

    def run(self, *words: str) -> None:
        """A command as a user types it, which must go well."""
        whole = [sys.executable, "-m", "ctrlplane_stream", *words]
        done = subprocess.run(whole, env=self._environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def push(self, name: str, number: int) -> None:
        """The n-th image of a service."""
        self.run("artifact", "push", str(artifact(name, number)), "--service", name)

    def until(self, holds: Callable[[LookedAt], bool], what: str, worker: ChildProcess) -> LookedAt:
        """Look into the log until it holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(looked := asyncio.run(look(self.settings, ENVIRONMENT))):
            assert worker.running, worker.log_tail(20)
            reasons = "\n".join(reason.text for _, decision in looked.decisions[-30:] for reason in decision.reasons)
            assert time.monotonic() < deadline, f"never: {what}\n{reasons}\n{worker.log_tail(20)}"
            time.sleep(0.5)
        return looked

    def _placement(self) -> Path:
        (self.folder / "service.yaml").write_text(yaml.safe_dump_all(template()))
        services = {n: {"template": "service.yaml", "replicas": 2, "port": 80, "route": {"name": n, "rule": "main"}} for n in SERVICES}
        path = self.folder / "placement.yaml"
        path.write_text(yaml.safe_dump({"environments": {ENVIRONMENT: {"namespace": self.namespace}}, "services": services}))
        return path

    def catalog(self) -> Path:
        """Every service in the environment, on Kubernetes."""
        entry = ServiceEntry(images=(artifact("any", 1).image,), environments={ENVIRONMENT: ServiceOverride()})
        environments = {ENVIRONMENT: EnvironmentEntry(actuator="kubernetes", policy="brisk")}
        catalog = Catalog(environments=environments, policies={"brisk": POLICY}, services=dict.fromkeys(SERVICES, entry))
        path = self.folder / "catalog.yaml"
        path.write_text(yaml.safe_dump(msgspec.to_builtins(catalog)))
        return path


@pytest.fixture
def site(lab, kafka, tmp_path: Path) -> Site:
    """Topics of this test's own on the session's broker, with windows of a second."""
    settings = Settings(
        kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=f"k{os.getpid()}-", partitions=2, window_seconds=1, lateness_seconds=1
    )
    asyncio.run(ensure_topics(settings))
    return Site(lab, settings, tmp_path)


def phases(looked: LookedAt) -> dict[str, Phase]:
    """Rollout → phase."""
    index = looked.state.find("index", e.Index) or e.Index()
    found = (looked.state.find(f"rollout/{name}", e.Rollout) for name in (*index.ended, *index.rollouts))
    return {each.id: each.phase for each in found if each is not None}


def test_a_worker_makes_of_an_artifact_a_set_deployments_weights_a_verdict_and_the_way_back(site: Site) -> None:
    """A candidate whose requests fail: the set holds whom it may hurt, and what it is made of, weighed and told by is real.

    In the set are the cart, who calls it, whom it calls and the entry points; the blog, which nothing connects, is not. Nobody's
    Deployment but the cart's changes. The verdict names the cart's new version, weights go back, and it is drained and deleted.
    """
    site.run("catalog", "apply", str(site.catalog()))
    with site.worker() as worker, Traffic(site.lab, site.namespace, site.settings) as traffic:
        with ThreadPoolExecutor() as hands:
            list(hands.map(lambda name: site.push(name, 1), SERVICES))
        first = {f"{ENVIRONMENT}/{name}/1": Phase.COMPLETED for name in SERVICES}
        site.until(lambda looked: phases(looked) == first and knows_calls(looked), "first versions serve, and the calls are known", worker)
        before = asyncio.run(deployments(site))
        assert set(before) == {f"{name}-v1" for name in SERVICES}
        site.push("cart", 2)
        site.until(lambda looked: (looked.state.find(f"rollout/{ROLLOUT}", e.Rollout)) is not None, "the rollout begins", worker)
        ended = site.until(lambda looked: phases(looked).get(ROLLOUT) is Phase.REVERTED, "the rollout is reverted", worker)
        site.until(lambda _: set(asyncio.run(deployments(site))) == set(before), "the candidate is deleted", worker)
    _holds_whom_it_concerns(ended)
    assert asyncio.run(deployments(site)) == before
    _went_up_and_back(traffic.seen)
    words = [reason.text for _, decision in ended.decisions for reason in decision.reasons if reason.rollout == ROLLOUT]
    assert any("→ aborting" in said and "cart #2" in said and "failed requests" in said for said in words), "\n".join(words)


def _holds_whom_it_concerns(looked: LookedAt) -> None:
    chosen = looked.state.find(f"set/{ROLLOUT}", e.VersionSet)
    assert chosen is not None
    assert [unit.service for unit in chosen.changed] == ["cart"]
    assert {why.guard.service for why in chosen.guards} == {"cart", "front", "stock", ""}, chosen
    assert "blog" not in str(msgspec.to_builtins(chosen.guards))


def _went_up_and_back(seen: list[dict[str, int]]) -> None:
    """The route as the generator met it: stable alone, then the candidate beside it, then nothing for it any more."""
    shares = [weights.get("#2", 0) for weights in seen if weights]
    assert all(sum(weights.values()) == 100 for weights in seen if weights), seen
    assert shares[0] == shares[-1] == 0
    assert 0 < max(shares) < 100, f"the candidate had some of the traffic and never all of it: {seen}"
    peak = shares.index(max(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1]), f"it rose by steps: {seen}"
    assert set(shares[peak + 1 :]) == {0}, f"and went back at once: {seen}"


def knows_calls(looked: LookedAt) -> bool:
    """Whether the engine has seen who calls whom."""
    edges = [key for key, _ in looked.state.entries() if key.startswith("edge/")]
    return all(any(caller in key and callee in key for key in edges) for caller, callee in (("front", "cart"), ("cart", "stock")))


async def deployments(site: Site) -> dict[str, tuple[int, str]]:
    """Name → Pods and image of each Deployment in the namespace."""
    async with site.lab.admin() as admin:
        found, _ = await admin.select(Kind.DEPLOYMENT, site.namespace)
    return {
        each["metadata"]["name"]: (each["spec"]["replicas"], each["spec"]["template"]["spec"]["containers"][0]["image"]) for each in found
    }
