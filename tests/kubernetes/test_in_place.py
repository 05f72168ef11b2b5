"""Changing in place on a real API server: never a Pod more than there is room for, one exchanged at a time."""

import asyncio
import contextlib
import time

import pytest

from ctrlplane_stream.actuators.kubernetes.health import ready
from ctrlplane_stream.actuators.kubernetes.leases import watch_leases
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, settled, template, version
from ctrlplane_stream.local.control_plane.sweep.history import History
from ctrlplane_stream.local.control_plane.sweep.trial import prepare
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)
PODS = 3


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}}
    lab.apply([{**service, "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": 8080}]}}], made)
    return made


def ordered(sequence, kind=ServiceKind.ROUTED, **weights):
    """An order in place for these weights, as ``v1=100, v2=0``."""
    versions = [version(SERVICE, int(label[1:]), weight) for label, weight in weights.items()]
    return command(TARGET, sequence, *versions, kind=kind, in_place=True)


async def counts(admin, namespace):
    """Pods that are there, also those on their way out, and those that are ready, by version."""
    there, ready = {}, {}
    for pod in (await admin.select(Kind.POD, namespace, "app=cart"))[0]:
        of = pod["metadata"]["labels"]["ctrlplane-stream.dev/version"]
        there[of] = there.get(of, 0) + 1
        conditions = {each["type"]: each["status"] for each in (pod.get("status") or {}).get("conditions") or []}
        if conditions.get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp"):
            ready[of] = ready.get(of, 0) + 1
    return there, ready


@pytest.mark.parametrize("kind", [ServiceKind.ROUTED, ServiceKind.CONSUMER])
def test_one_pod_at_a_time_is_exchanged_there_and_back(lab, namespace, kind):
    """From #1 to #2 by thirds, and back at once: at every look at most 3 Pods, and while one is exchanged 2 serve."""

    async def until(actuator, admin, **ready) -> None:
        seen = None
        for _ in range(1500):
            seen = await actuator.observe(TARGET)
            there, able = await counts(admin, namespace)
            assert sum(there.values()) <= PODS, there
            assert sum(able.values()) >= PODS - 1 or seen.cursor.sequence == 1, able
            weights = {f"v{each.label[1:]}": each.weight for each in seen.versions if each.weight}
            if able == ready and weights.keys() == ready.keys():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never saw {ready}; last seen {seen}")

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            place = Place(namespace, "shop-cart", template(PODS), full=PODS, service="cart")
            actuator = kubernetes(cluster, (TARGET, place))
            for sequence, (order, ready) in enumerate(
                [
                    ({"v1": 100}, {"v1": 3}),
                    ({"v1": 100, "v2": 0}, {"v1": 3}),
                    ({"v1": 67, "v2": 33}, {"v1": 2, "v2": 1}),
                    ({"v1": 0, "v2": 100}, {"v2": 3}),
                    ({"v1": 100, "v2": 0}, {"v1": 3}),
                ],
                1,
            ):
                outcome = await actuator.apply(*ordered(sequence, kind, **order))
                assert outcome.status is OutcomeStatus.APPLIED, outcome
                await until(actuator, admin, **ready)

    asyncio.run(run())


def test_an_instance_that_does_not_become_ready_is_the_last_to_be_exchanged(lab, namespace):
    """The second Pod waits for the first: a candidate that never is ready costs one Pod and no more, and is the first to go."""

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            place = Place(namespace, "shop-cart", template(PODS), full=PODS, service="cart")
            actuator = kubernetes(cluster, (TARGET, place))
            never = version(SERVICE, 2, 0, behaviour="never-ready")
            await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), never, in_place=True))
            await _see(actuator, admin, namespace, {"v1": 3}, {"v1": 3})
            never = version(SERVICE, 2, 100, behaviour="never-ready")
            await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 0), never, in_place=True))
            await _see(actuator, admin, namespace, {"v1": 2, "v2": 1}, {"v1": 2})
            for _ in range(20):
                assert {each.label: each.weight for each in (await actuator.observe(TARGET)).versions} == {"#1": 100, "#2": 0}
            assert await counts(admin, namespace) == ({"v1": 2, "v2": 1}, {"v1": 2})
            never = version(SERVICE, 2, 0, behaviour="never-ready")
            await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), never, in_place=True))
            await _see(actuator, admin, namespace, {"v1": 3}, {"v1": 3})

    asyncio.run(run())


class Dying(HttpTransport):
    """A worker that lives until it is to change the Deployment ``shop-cart-v2``."""

    async def send(self, request):
        if request.method != "GET" and "/deployments/shop-cart-v2" in request.path:
            raise ConnectionResetError("the worker is gone")
        return await super().send(request)


def test_an_abort_of_what_was_not_ready_is_on_a_lease_until_it_is_gone(lab, namespace):
    """Its share was nothing when the abort was taken, and is something again once its Pods are ready: nobody but the lease ends that."""

    def ordered(sequence, one, two):
        return command(TARGET, sequence, version(SERVICE, 1, one), version(SERVICE, 2, two), in_place=True, lease=1_000.0)

    async def run() -> None:
        async with lab.product() as cluster, lab.product(Dying(lab.product_access)) as dying, lab.admin() as admin:
            place = Place(namespace, "shop-cart", template(PODS), full=PODS, service="cart")
            actuator = kubernetes(cluster, (TARGET, place))
            await actuator.apply(*ordered(1, 100, 0))
            await _see(actuator, admin, namespace, {"v1": 3}, {"v1": 3})
            await actuator.apply(*ordered(2, 33, 67))
            await _see(actuator, admin, namespace, {"v1": 1, "v2": 2}, {"v1": 1, "v2": 2})
            lab.kubelet.set_ready("shop-cart-v2", ready=False)
            try:
                async with asyncio.timeout(30.0):
                    while (await actuator.observe(TARGET)).version("#1").weight < 100:
                        await asyncio.sleep(0.02)
                with contextlib.suppress(WorldUnreachable):
                    await kubernetes(dying, (TARGET, place)).apply(*ordered(3, 100, 0))
            finally:
                lab.kubelet.set_ready("shop-cart-v2", ready=True)
            assert "v2" in (await counts(admin, namespace))[0]
            watching = asyncio.create_task(watch_leases(cluster, namespace, lambda: time.time() + 2_000.0))
            try:
                async with asyncio.timeout(60.0):
                    while await counts(admin, namespace) != ({"v1": 3}, {"v1": 3}):
                        await asyncio.sleep(0.05)
            finally:
                watching.cancel()

    asyncio.run(run())


async def _see(actuator, admin, namespace, there, ready) -> None:
    for _ in range(1500):
        await actuator.observe(TARGET)
        if await counts(admin, namespace) == (there, ready):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never saw {there}, {ready}: {await counts(admin, namespace)}")


@pytest.mark.parametrize("way", [Way.SERVICE, Way.EXCHANGED])
def test_with_room_for_half_of_it_a_portion_is_ready_before_as_many_leave(lab, way):
    """There and back behind one Service and by a route, whose weights an independent observer holds against the Pods at every moment."""
    namespace = prepare(lab, way)
    place = way.place(namespace, SERVICE)

    async def until(actuator, admin, **ready) -> None:
        seen = None
        for _ in range(1500):
            seen = await actuator.observe(TARGET)
            there, able = await counts(admin, namespace)
            assert sum(able.values()) >= 4 or seen.cursor.sequence == 1, able
            assert sum(there.values()) <= 6, there
            if able == ready and {f"v{each.label[1:]}": each.weight * 4 // 100 for each in seen.versions if each.weight} == ready:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never saw {ready}; last seen {seen}")

    async def run() -> list[str]:
        async with lab.product() as cluster, lab.admin() as admin, History(admin, place) as history:
            actuator = kubernetes(cluster, (TARGET, place))
            for sequence, (one, two) in enumerate([(4, 0), (2, 2), (0, 4), (4, 0)], 1):
                versions = version(SERVICE, 1, 25 * one), version(SERVICE, 2, 25 * two)
                outcome = await actuator.apply(*command(TARGET, sequence, *versions, in_place=True, surplus_percent=50, lease=3600.0))
                assert outcome.status is OutcomeStatus.APPLIED, outcome
                await until(actuator, admin, **{name: count for name, count in (("v1", one), ("v2", two)) if count})
            await history.caught_up()
            return history.violations() if place.route is not None else []

    assert asyncio.run(run()) == []


def test_by_a_route_what_loses_readiness_keeps_its_weight_until_that_was_judged(lab):
    """Half way stable is not ready: nothing moves to the candidate, nor back when the engine wants that, until stable is there again."""
    namespace = prepare(lab, Way.EXCHANGED)
    place = Way.EXCHANGED.place(namespace, SERVICE)

    def exchange(sequence, one, two):
        versions = version(SERVICE, 1, one), version(SERVICE, 2, two)
        return command(TARGET, sequence, *versions, in_place=True, surplus_percent=50, lease=3600.0)

    async def run() -> list[str]:
        async with lab.product() as cluster, lab.admin() as admin, History(admin, place) as history:
            actuator = kubernetes(cluster, (TARGET, place))
            for sequence, (one, two) in enumerate([(100, 0), (50, 50)], 1):
                await actuator.apply(*exchange(sequence, one, two))
                await settled(actuator, TARGET, {"#1": one, "#2": two})
            lab.kubelet.set_ready("shop-cart-v1", ready=False)
            try:
                while ready(await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1")) > 0:
                    await asyncio.sleep(0.02)
                for _ in range(5):
                    seen = await actuator.observe(TARGET)
                    assert [each.weight for each in seen.versions] == [50, 50], seen
                await actuator.apply(*exchange(3, 100, 0))
                for _ in range(5):
                    seen = await actuator.observe(TARGET)
                    assert seen.version("#2").weight == 50, seen
            finally:
                lab.kubelet.set_ready("shop-cart-v1", ready=True)
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await history.caught_up()
            return history.violations()

    assert asyncio.run(run()) == []
