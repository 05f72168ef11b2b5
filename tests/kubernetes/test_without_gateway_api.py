"""A cluster that has no Gateway API, and what is missing besides: said at once and in words; shares of Pods need none of it."""

import asyncio
import logging

import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.access import AccessError
from ctrlplane_stream.actuators.kubernetes.composition import PlacedKubernetes
from ctrlplane_stream.actuators.kubernetes.health import is_serving
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.placement import read_placements
from ctrlplane_stream.actuators.kubernetes.rights import Right
from ctrlplane_stream.commands.checkup_kubernetes import check_kubernetes
from ctrlplane_stream.local.control_plane.lab import open_api_server
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, running, settled, template, version
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

ROUTED, SHARED = Target("staging", "shop/cart"), Target("staging", "shop/orders")
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders"}}
SERVICE["spec"] = {"selector": {"app": "cart"}, "ports": [{"port": 80}]}


@pytest.fixture
def placement(tmp_path):
    """A file that places a service by a route and one behind a Service, in a namespace."""

    def made(namespace: str):
        (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all(template()))
        services = {
            "shop/cart": {"template": "cart.yaml", "port": 80, "route": {"name": "shop", "rule": "main"}},
            "shop/orders": {"template": "cart.yaml", "service": "orders"},
        }
        path = tmp_path / "placement.yaml"
        path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": namespace}}, "services": services}))
        return path

    return made


def doctor(lab, path) -> list[str]:
    """What doctor says of the clusters of a placement file."""
    found = asyncio.run(check_kubernetes(Settings(kubernetes_placement=str(path)), lambda _: lab.product()))
    return [finding.line() for finding in found]


def test_a_route_is_refused_with_the_remedy_a_service_is_not_and_doctor_says_so(placement, caplog):
    """Nothing is half begun for the route. Its watch says once what the cluster lacks, and tries on: it may be installed later."""
    caplog.set_level(logging.WARNING, "ctrlplane_stream.actuators.kubernetes.watching")
    with open_api_server(gateway_api=False) as bare:
        namespace = bare.namespace()
        bare.apply([SERVICE], namespace)
        path = placement(namespace)

        async def run() -> None:
            actuator = PlacedKubernetes(read_placements(path), lambda _: bare.product())
            try:
                await actuator.observe(ROUTED)
                outcome = await actuator.apply(*command(ROUTED, 1, version("shop/cart", 1, 100)))
                assert (outcome.status, "no HTTPRoute" in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
                assert "install the Gateway API" in outcome.reason
                outcome = await actuator.apply(*command(SHARED, 1, version("shop/orders", 1, 100)))
                assert outcome.status is OutcomeStatus.APPLIED, outcome
                while not any("HTTPRoute" in record.getMessage() for record in caplog.records):
                    await asyncio.sleep(0.05)
            finally:
                await actuator.close()
            async with bare.admin() as admin:
                assert [each["metadata"]["name"] for each in (await admin.select(Kind.DEPLOYMENT, namespace))[0]] == ["shop-orders-v1"]

        asyncio.run(run())
        said = [record.getMessage() for record in caplog.records if "HTTPRoute" in record.getMessage()]
        assert len(said) == 1, said
        assert "(404)" in said[0]
        found = doctor(bare, path)
    assert found[0].startswith(f"ok     kubernetes current context/{namespace}")
    assert found[1].startswith(f"wrong  kubernetes current context/{namespace}: this cluster has no HTTPRoute")
    assert found[2] == "ok     kubernetes staging:shop/orders: weights by shares of Pods behind Service orders"
    assert len(found) == 3, found


def test_doctor_names_the_rights_that_are_missing_and_where_there_is_no_way_for_weights(lab, placement):
    """Before a command is refused for them."""
    path = placement(namespace := lab.namespace(without=Right("apps", "deployments", "patch")))
    found = doctor(lab, path)
    assert found[0].startswith(f"wrong  kubernetes current context/{namespace}: we may not patch deployments.apps; apply deploy/namespaced")
    assert found[1].startswith(f"note   kubernetes staging:shop/cart: there is no rule named main in HTTPRoute {namespace}/shop; make it")
    assert found[2].startswith(f"note   kubernetes staging:shop/orders: there is no Service orders in {namespace}; make it")
    path = placement(namespace := lab.namespace())
    lab.apply([route("shop", ["main"]), SERVICE], namespace)
    *found, last, synced = doctor(lab, path)
    assert [line.split(" ", 1)[0] for line in found] == ["ok", "ok", "ok"]
    assert last.startswith(f"note   kubernetes HTTPRoute {namespace}/shop: no gateway says whether it accepts it"), last
    assert synced == f"ok     kubernetes staging:shop/cart: nothing syncs HTTPRoute {namespace}/shop"


def test_weight_is_no_share_of_pods_that_others_behind_the_service_answer_too(lab, placement):
    """Pods of no version: nothing that gives weight is taken, with what they are; what brings all back is. Doctor says it too."""
    namespace = lab.namespace()
    lab.apply([SERVICE, running(2)], namespace)
    path = placement(namespace)
    said = "Service orders chooses ready Pods of no version too (2 of Deployment cart), whose share of the requests nobody counts"

    def pair(stable: int):
        return version("shop/orders", 1, stable), version("shop/orders", 2, 100 - stable)

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            actuator = kubernetes(cluster, (SHARED, read_placements(path).place(SHARED)))
            await have(admin, 2)
            assert (await actuator.apply(*command(SHARED, 1, version("shop/orders", 1, 0), stable=None))).status is OutcomeStatus.APPLIED
            outcome = await actuator.apply(*command(SHARED, 2, version("shop/orders", 1, 100), stable=None))
            assert (outcome.status, said in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
            await have(admin, 0)
            await actuator.apply(*command(SHARED, 3, version("shop/orders", 1, 100), stable=None))
            await settled(actuator, SHARED, {"#1": 100})
            await actuator.apply(*command(SHARED, 4, *pair(50)))
            await settled(actuator, SHARED, {"#1": 50, "#2": 50})
            await have(admin, 2)
            outcome = await actuator.apply(*command(SHARED, 5, *pair(0)))
            assert (outcome.status, said in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
            assert (await actuator.apply(*command(SHARED, 6, *pair(100)))).status is OutcomeStatus.APPLIED
            await settled(actuator, SHARED, {"#1": 100, "#2": 0})

    async def have(admin, replicas: int) -> None:
        """Have the Deployment that was there before us run so many Pods."""
        await admin.patch(Kind.DEPLOYMENT, namespace, "cart", [{"op": "add", "path": "/spec/replicas", "value": replicas}])
        async with asyncio.timeout(30.0):
            while (
                len([pod for pod in (await admin.select(Kind.POD, namespace, "!ctrlplane-stream.dev/service"))[0] if is_serving(pod)])
                != replicas
            ):
                await asyncio.sleep(0.05)

    asyncio.run(run())
    assert any(line.startswith(f"wrong  kubernetes {SHARED}: {said}") for line in doctor(lab, path)), doctor(lab, path)


def test_doctor_says_where_it_is_let_in_nowhere(placement):
    """A kubeconfig that is not there is a finding, and no traceback."""

    def nowhere(_):
        raise AccessError("no access to a cluster by the kubeconfig")

    (found,) = asyncio.run(check_kubernetes(Settings(kubernetes_placement=str(placement("shop"))), nowhere))
    assert found.line().startswith("wrong  kubernetes current context/shop: no access to a cluster")
