"""What the cluster says of a version that fails becomes the engine's verdict, without telemetry, in words that a person can use."""

import asyncio
from contextlib import asynccontextmanager

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, template, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from tests.kubernetes.engine_on_cluster import ENVIRONMENT, POLICY, EngineOnCluster

READY_SECONDS = 10_000.0
REFUSED = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
"""From when it is applied, the API server's admission lets no Pod in that is as careless as ours."""


@asynccontextmanager
async def serving(lab, *services: str, policy=POLICY):
    """The engine with a first version of each service that has baked, the namespace, and an administrator's eyes."""
    namespace = await asyncio.to_thread(lab.namespace)
    await asyncio.to_thread(lab.apply, [route(name, ["main"]) for name in services], namespace)
    async with lab.product() as cluster, lab.admin() as admin:
        places = [(Target(ENVIRONMENT, name), routed_place(namespace, name)) for name in services]
        engine = EngineOnCluster(services, lambda: kubernetes(cluster, *places), policy)
        try:
            for name in services:
                engine.push(name, 1, "well")
            await engine.until(lambda: engine.ended(len(services)), "first versions bake")
            yield engine, namespace, admin
        finally:
            await engine.close()


def phase(engine, rollout: str) -> Phase | None:
    """Where a rollout is, None where there is none."""
    found = engine.driver.rollout(rollout)
    return found.phase if found is not None else None


def pods(engine, label: str) -> tuple[int, int]:
    """How many Pods of a version of the cart the engine last saw ready, and how many there are to be."""
    seen = engine.driver.target("cart").seen(label)
    return (seen.ready, seen.instances) if seen is not None else (0, 0)


def weighed(engine, label: str) -> int:
    """The weight that the engine last saw of a version of the cart."""
    seen = engine.driver.target("cart").seen(label)
    return seen.weight if seen is not None else 0


async def reverted(engine, admin, namespace: str, name: str) -> str:
    """Why the second version of a service was taken back; stable has everything again."""
    rollout = f"{ENVIRONMENT}/{name}/2"
    await engine.until(
        lambda: (found := engine.driver.rollout(rollout)) is not None and found.phase is Phase.REVERTED, f"{name} is reverted"
    )
    weights = backends(await admin.get(Kind.HTTP_ROUTE, namespace, name), "main")
    assert {backend: weight for backend, weight in weights.items() if weight} == {f"{name}-v1": 100}
    return next(text for text in engine.said(rollout) if "→ aborting" in text)


def test_an_image_that_cannot_be_pulled_is_reverted_with_the_image_named(lab):
    async def run() -> str:
        async with serving(lab, "cart") as (engine, namespace, admin):
            engine.push("cart", 2, "missing")
            return await reverted(engine, admin, namespace, "cart")

    said = asyncio.run(run())
    assert "cart #2" in said, said
    assert "ImagePullBackOff" in said, said


def test_pods_that_the_cluster_will_not_have_are_reverted_with_its_reason(lab):
    async def run() -> str:
        async with serving(lab, "cart") as (engine, namespace, admin):
            await asyncio.to_thread(lab.apply, [REFUSED | {"metadata": {**REFUSED["metadata"], "name": namespace}}])
            engine.push("cart", 2, "well")
            return await reverted(engine, admin, namespace, "cart")

    said = asyncio.run(run())
    assert "FailedCreate" in said, said
    assert "violates PodSecurity" in said, said


def test_a_quota_without_room_for_the_candidate_is_told_and_more_room_mends_it(lab):
    """Two Pods of four that are wanted would be the third and fourth of three: enforced by the API server's own admission."""
    namespace = lab.namespace()
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    lab.apply([route("cart", ["main"]), quota | {"spec": {"hard": {"pods": "3"}}}], namespace)
    target = Target(ENVIRONMENT, "cart")

    async def run() -> str:
        async with lab.product() as cluster:
            actuator = kubernetes(cluster, (target, routed_place(namespace, "cart")))
            await actuator.apply(*command(target, 1, version("cart", 1, 100)))
            await settled(actuator, target, {"#1": 100})
            await actuator.apply(*command(target, 2, version("cart", 1, 100), version("cart", 2, 0)))
            for _ in range(600):
                seen = (await actuator.observe(target)).version("#2")
                if seen is not None and seen.failure is not None:
                    break
                await asyncio.sleep(0.05)
            assert (seen.ready, seen.instances) in ((0, 2), (1, 2))
            await asyncio.to_thread(lab.apply, [quota | {"spec": {"hard": {"pods": "4"}}}], namespace)
            assert (await settled(actuator, target, {"#1": 100, "#2": 0})).version("#2").failure is None
            return str(seen.failure)

    said = asyncio.run(run())
    assert "exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3" in said, said
    assert "raise the quota of the namespace, or have the candidate take less room" in said, said


def test_a_version_that_loses_its_readiness_under_traffic_is_reverted(lab):
    """Nobody sends a span: the cluster's word is enough."""

    async def run() -> str:
        async with serving(lab, "cart") as (engine, namespace, admin):
            engine.judge.unsure.add("cart")
            engine.push("cart", 2, "well")
            await engine.until(lambda: weighed(engine, "#2") > 0, "the candidate takes traffic")
            lab.kubelet.set_ready("cart-v2", ready=False)
            try:
                return await reverted(engine, admin, namespace, "cart")
            finally:
                lab.kubelet.set_ready("cart-v2", ready=True)

    said = asyncio.run(run())
    assert "lost readiness" in said, said


def test_a_version_that_never_becomes_ready_is_reverted_when_the_policys_time_is_over(lab):
    """The cluster's own deadline for progress does not run: it is for what a Deployment makes when it is made, and ours begin empty."""

    async def run() -> str:
        policy = msgspec.structs.replace(POLICY, ready_timeout_seconds=READY_SECONDS)
        async with serving(lab, "cart", policy=policy) as (engine, namespace, admin):
            engine.push("cart", 2, "never-ready")
            await engine.until(lambda: pods(engine, "#2") == (0, 2), "the candidate has Pods, none of them ready")
            engine.jump(READY_SECONDS)
            return await reverted(engine, admin, namespace, "cart")

    said = asyncio.run(run())
    assert "not ready after 1" in said, said
    assert "cart #2: 0 of 2 instances ready" in said, said


def test_a_deployment_that_is_stuck_when_it_is_adopted_says_so(lab):
    """Its rollout began before us, so its deadline for progress does run."""
    namespace = lab.namespace()
    (stuck,) = template()
    stuck["spec"]["progressDeadlineSeconds"] = 1
    stuck["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/never-ready@sha256:{1:064x}"
    lab.apply([stuck, route("cart", ["main"])], namespace)
    target = Target(ENVIRONMENT, "cart")
    place = msgspec.structs.replace(routed_place(namespace, "cart"), adopt="cart", full=None)

    async def run() -> str:
        async with lab.product() as cluster:
            actuator = kubernetes(cluster, (target, place))
            while "ProgressDeadlineExceeded" not in str((await cluster.get(Kind.DEPLOYMENT, namespace, "cart") or {}).get("status")):
                await asyncio.sleep(0.1)
            told = command(target, 1, version("cart", 1, 100, behaviour="never-ready"), verb=Verb.ADOPT)
            assert (await actuator.apply(*told)).status is OutcomeStatus.APPLIED
            for _ in range(600):
                seen = (await actuator.observe(target)).version("#1")
                if seen is not None and seen.failure is not None:
                    return seen.failure
                await asyncio.sleep(0.05)
            raise AssertionError(f"no failure is told: {seen}")

    said = asyncio.run(run())
    assert said.startswith("ProgressDeadlineExceeded: ReplicaSet"), said
