"""Lists and watches: what is shown is current, and a target at rest costs no request."""

import asyncio
import logging
from contextlib import asynccontextmanager

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.sight import NotHeld
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Reply
from ctrlplane_stream.actuators.kubernetes.watching import Copy, NamespaceCopy
from ctrlplane_stream.local.control_plane.scene import command, route, routed_place, version
from ctrlplane_stream.model.identity import Target

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)


class Counting(HttpTransport):
    """A transport that counts requests."""

    def __init__(self, access) -> None:
        super().__init__(access)
        self.count = 0

    async def send(self, request):
        self.count += 1
        return await super().send(request)


@asynccontextmanager
async def watched(lab, namespace):
    """The actuator over watches, its transport and its copy."""
    transport = Counting(lab.product_access)
    async with lab.product(transport) as cluster:
        copy = NamespaceCopy(cluster, namespace, frozenset({Kind.HTTP_ROUTE}))
        copy.start()
        try:
            place = routed_place(namespace, SERVICE)
            yield Kubernetes(lambda _: place, lambda _: cluster, views=lambda _: copy if copy.current else None), transport, copy
        finally:
            await copy.stop()


async def until(holds, what: str) -> None:
    """Wait until it holds."""
    for _ in range(600):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


def heard_all(copy: NamespaceCopy) -> bool:
    """Whether the copy has heard of everything that was written."""
    return all(each.current for each in copy.copies.values())


async def rolled_out(actuator) -> None:
    """#1 stable with everything, #2 beside it without weight, both ready."""
    await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
    await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
    for _ in range(600):
        seen = await actuator.observe(TARGET)
        if [v.ready for v in seen.versions] == [2, 2] and seen.versions[0].weight == 100:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(seen)


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], made)
    return made


def test_a_target_at_rest_is_observed_without_a_request(lab, namespace):
    """Once copies are current, looking a hundred times asks the API nothing."""

    async def run() -> None:
        async with watched(lab, namespace) as (actuator, transport, copy):
            await rolled_out(actuator)
            await until(lambda: heard_all(copy), "copies become current")
            before = transport.count
            seen = [await actuator.observe(TARGET) for _ in range(100)]
            assert transport.count == before
            assert {v.weight for v in seen[-1].versions} == {100, 0}

    asyncio.run(run())


def test_what_one_target_writes_costs_another_no_request(lab, namespace):
    """A copy that has not heard yet of what was written for one target shows the others all the same, but not that one."""

    async def run() -> None:
        async with watched(lab, namespace) as (actuator, transport, copy):
            await rolled_out(actuator)
            await until(lambda: heard_all(copy), "copies become current")
            for kind in (Kind.DEPLOYMENT, Kind.CONFIG_MAP):
                of_another = {"resourceVersion": "999999999", "name": "other", "labels": {"ctrlplane-stream.dev/service": "other"}}
                copy._cluster._wrote(kind, namespace, Reply(200, msgspec.json.encode({"metadata": of_another})))
            before = transport.count
            await actuator.observe(TARGET)
            assert transport.count == before
            with pytest.raises(NotHeld):
                await copy.select(Kind.DEPLOYMENT, namespace, "ctrlplane-stream.dev/service=other")
            with pytest.raises(NotHeld):
                await copy.get(Kind.CONFIG_MAP, namespace, "other")

    asyncio.run(run())


def test_what_was_written_is_never_unseen_by_the_next_look(lab, namespace):
    """A look right after a command shows that command's cursor, however far the watch lags behind."""

    async def run() -> None:
        async with watched(lab, namespace) as (actuator, _, copy):
            await rolled_out(actuator)
            for sequence in range(3, 20):
                await until(lambda: copy.current, "copies become current")
                weight = sequence
                await actuator.apply(*command(TARGET, sequence, version(SERVICE, 1, 100 - weight), version(SERVICE, 2, weight)))
                seen = await actuator.observe(TARGET)
                assert (seen.cursor.sequence, seen.version("#2").weight) == (sequence, weight)

    asyncio.run(run())


def test_a_copy_goes_on_after_the_api_server_was_killed(lab, namespace):
    """While the watch is lost nothing is shown; afterwards the copy has what happened meanwhile."""

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            copy = Copy(cluster, Kind.CONFIG_MAP, namespace)
            keeping = asyncio.create_task(copy.run())
            await until(lambda: copy.current, "the copy becomes current")
            lab.plane.kill_api_server()
            await until(lambda: not copy.current, "the loss is noticed")
            lab.plane.start_api_server()
            await admin.create(Kind.CONFIG_MAP, namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}})
            await until(lambda: copy.current and copy.get("new") is not None, "the copy catches up")
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())


def test_a_watch_whose_beginning_the_store_forgot_begins_with_a_list(lab, namespace, caplog):
    """etcd is compacted while the API server is down: the server that comes back says 410 Gone, and the copy lists again and goes on."""
    caplog.set_level(logging.INFO, "ctrlplane_stream.actuators.kubernetes.watching")

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            copy = Copy(cluster, Kind.CONFIG_MAP, namespace)
            keeping = asyncio.create_task(copy.run())
            await until(lambda: copy.current, "the copy becomes current")
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
            for _ in range(3):  # elsewhere: the copy's own kind and namespace stay where they are, and the store goes on
                await asyncio.to_thread(lab.namespace)
            lab.plane.kill_api_server()
            await until(lambda: not copy.current, "the loss is noticed")
            lab.plane.compact()
            lab.plane.start_api_server()
            await admin.create(Kind.CONFIG_MAP, namespace, made)
            await until(lambda: copy.current and copy.get("new") is not None, "the copy catches up")
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())
    again = [record.getMessage() for record in caplog.records if "listing again" in record.getMessage()]
    assert again, "the server never said that the watch was too old"
    assert f"ConfigMap in {namespace}: listing again: " in again[0]
