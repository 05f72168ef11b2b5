"""What a version is made of besides its Pods: tried out before anything is made, missed when it is gone, never taken over from others."""

import asyncio
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.local.control_plane.scene import (
    adopting,
    command,
    job_template,
    route,
    routed_place,
    running,
    settled,
    template,
    version,
)
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind
from tests.kubernetes.playing import TARGET, play
from tests.kubernetes.test_watching import Counting, heard_all

SERVICE = "shop/cart"
FILES = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "b"}}
BUDGET = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "cart"}, "spec": {"maxUnavailable": 1}}
SCALED = {"kind": "Deployment", "name": "cart"}


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], made)
    return made


def placed(namespace: str, *more) -> Place:
    """A place by a route whose template brings ``more`` beside its Deployment."""
    place = routed_place(namespace, SERVICE)
    return msgspec.structs.replace(place, template=(*template(2), *more))


async def deleted(admin, kind, namespace, name) -> None:
    """What ``kubectl delete`` does, whatever else writes at the moment."""
    while (there := await admin.get(kind, namespace, name)) is not None:
        with suppress(Conflict):
            await admin.delete(kind, namespace, name, there["metadata"]["uid"], there["metadata"]["resourceVersion"])


async def told(actuator, target=TARGET) -> str:
    """Look until an edit is told."""
    async with asyncio.timeout(30.0):
        while (seen := await actuator.observe(target)).edited is None:
            await asyncio.sleep(0.02)
    return seen.edited


@asynccontextmanager
async def watched(lab, place):
    """The actuator over watches, its transport and its copy."""
    transport = Counting(lab.product_access)
    async with lab.product(transport) as cluster:
        copy = NamespaceCopy(cluster, place.namespace, frozenset({Kind.HTTP_ROUTE, Kind.DISRUPTION_BUDGET}))
        copy.start()
        try:
            yield Kubernetes(lambda _: place, lambda _: cluster, views=lambda _: copy if copy.current else None), transport, copy
        finally:
            await copy.stop()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.CONFIG_MAP, "shop-cart-v1-files"),
        (Kind.CONFIG_MAP, "shop-cart-v1-configuration"),
        (Kind.DISRUPTION_BUDGET, "shop-cart-v1-cart"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_somebody_deleted_of_a_version_is_heard_of_and_made_again_by_whoever_goes_over_that(lab, namespace, kind, name):
    """Pods that run go on without it, and the next one does not start, or is evicted with all others. Its watch alone tells of it."""

    async def run() -> None:
        async with watched(lab, placed(namespace, FILES, BUDGET)) as (actuator, transport, copy), lab.admin() as admin:
            await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            await settled(actuator, TARGET, {"#1": 100})
            async with asyncio.timeout(30.0):
                while not heard_all(copy):
                    await asyncio.sleep(0.02)
            before = transport.count
            for _ in range(100):
                assert (await actuator.observe(TARGET)).edited is None
            assert transport.count == before
            await deleted(admin, kind, namespace, name)
            edited = await told(actuator)
            assert f"{kind.manifest_kind} {name} is gone" in edited
            assert (await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100)))).status is OutcomeStatus.REFUSED
            assert await admin.get(kind, namespace, name) is None
            await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), over_edit=edited))
            assert (await settled(actuator, TARGET, {"#1": 100})).edited is None
            assert await admin.get(kind, namespace, name) is not None

    asyncio.run(run())


def test_a_config_map_of_a_job_is_missed_as_well(lab):
    namespace = lab.namespace()
    first = version(SERVICE, 1, 100)

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, first, kind=ServiceKind.JOB))
        assert (await actuator.observe(TARGET)).edited is None
        await deleted(admin, Kind.CONFIG_MAP, namespace, "shop-cart-v1-files")
        edited = await told(actuator)
        assert "ConfigMap shop-cart-v1-files is gone" in edited
        await actuator.apply(*command(TARGET, 2, first, kind=ServiceKind.JOB, over_edit=edited))
        assert await admin.get(Kind.CONFIG_MAP, namespace, "shop-cart-v1-files") is not None

    play(lab, Place(namespace, "shop-cart", (*job_template(), FILES)), doing)


def test_a_template_that_brings_less_than_before_takes_nothing_from_a_version(lab, namespace):
    """What a version has is what it was made with: nothing is missed that the template does not bring any more, nor what it brings now."""

    async def doing(actuator, _):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})

    play(lab, placed(namespace, FILES, BUDGET), doing)

    async def later(actuator, _):
        for _ in range(3):
            assert (await actuator.observe(TARGET)).edited is None
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None

    play(lab, placed(namespace, FILES | {"metadata": {"name": "others"}}), later)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"name": "UPPER", "port": 80}]}}, "UPPER"),
        (
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "x"},
                "spec": {"minReplicas": 5, "maxReplicas": 2, "scaleTargetRef": SCALED},
            },
            "maxReplicas",
        ),
        (FILES | {"data": {"bad key/": "1"}}, "bad key/"),
        (BUDGET | {"spec": {"minAvailable": 1, "maxUnavailable": 1}}, "cannot be both set"),
    ],
    ids=["Service", "HorizontalPodAutoscaler", "ConfigMap", "PodDisruptionBudget"],
)
def test_whatever_of_a_version_the_api_server_would_refuse_is_refused_before_anything_is_taken(lab, namespace, bad, why):
    """Half of a version would be left otherwise, and the cursor of a command that nobody can carry out."""

    async def doing(actuator, admin):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        assert (outcome.status, why in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
        assert (await actuator.observe(TARGET)).cursor is None
        for kind in (Kind.DEPLOYMENT, Kind.CONFIG_MAP, Kind.SERVICE):
            assert (await admin.select(kind, namespace, selector(routed_place(namespace, SERVICE))))[0] == ()

    play(lab, placed(namespace, bad), doing)


def test_a_job_whose_config_map_the_api_server_would_refuse_is_refused_as_a_whole(lab):
    namespace = lab.namespace()

    async def doing(actuator, admin):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), kind=ServiceKind.JOB))
        assert (outcome.status, "bad key/" in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
        assert await admin.get(Kind.CRON_JOB, namespace, "shop-cart-v1") is None

    play(lab, Place(namespace, "shop-cart", (*job_template(), FILES | {"data": {"bad key/": "1"}})), doing)


def test_a_name_that_is_taken_keeps_a_deployment_from_being_adopted_by_half(lab, namespace):
    """The Service that it would get is somebody else's: nothing of ours is on it."""
    ports = {"spec": {"ports": [{"port": 80}]}}
    lab.apply([running(), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop-cart-v1"}, **ports}], namespace)

    async def doing(actuator, admin):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), verb=Verb.ADOPT))
        assert (outcome.status, "not ours" in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
        assert "ctrlplane" not in str((await admin.get(Kind.DEPLOYMENT, namespace, "cart"))["metadata"]["labels"])

    play(lab, adopting(routed_place(namespace, SERVICE)), doing)


async def ported(lab, namespace, name, port) -> None:
    """Another port for a Service, as ``kubectl edit`` sets it."""
    transport = HttpTransport(lab.admin_access)
    change = {"spec": {"ports": [{"port": 80, "targetPort": port}]}}
    path, query = Kind.SERVICE.path(namespace, name), {"fieldManager": "kubectl-edit"}
    reply = await transport.send(Request("PATCH", path, query, change, "application/strategic-merge-patch+json"))
    await transport.close()
    assert reply.status == 200, reply


async def target_port(admin, namespace, name):
    return (await admin.get(Kind.SERVICE, namespace, name))["spec"]["ports"][0]["targetPort"]


def test_an_edit_that_was_let_stand_still_stands_when_something_else_of_the_version_is_made_again(lab, namespace):
    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        await ported(lab, namespace, "shop-cart-v1", 9)
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), over_edit=await told(actuator)))
        await deleted(admin, Kind.CONFIG_MAP, namespace, "shop-cart-v1-files")
        await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), over_edit=await told(actuator)))
        assert (await settled(actuator, TARGET, {"#1": 100})).edited is None
        assert await admin.get(Kind.CONFIG_MAP, namespace, "shop-cart-v1-files") is not None
        assert await target_port(admin, namespace, "shop-cart-v1") == 9

    play(lab, placed(namespace, FILES), doing)


def test_what_somebody_else_set_is_never_taken_over_and_whose_it_is_is_said(lab, namespace):
    """A Service that lost its owner and was edited: the version cannot be whole until that is taken back, and is then."""

    async def doing(actuator, admin):
        both = version(SERVICE, 1, 100), version(SERVICE, 2, 0)
        await actuator.apply(*command(TARGET, 1, *both))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await ported(lab, namespace, "shop-cart-v2", 9)
        edited = await told(actuator)
        assert "Service shop-cart-v2 leads elsewhere, by kubectl-edit" in edited
        transport = HttpTransport(lab.admin_access)
        path = Kind.DEPLOYMENT.path(namespace, "shop-cart-v2")
        assert (await transport.send(Request("DELETE", path, {}, {"propagationPolicy": "Orphan"}))).status == 200
        await transport.close()
        while "Deployment shop-cart-v2 is gone" not in edited:
            edited = await told(actuator)
            await asyncio.sleep(0.05)
        outcome = await actuator.apply(*command(TARGET, 2, *both, over_edit=edited))
        assert 'conflict with "kubectl-edit"' in outcome.reason
        assert await target_port(admin, namespace, "shop-cart-v2") == 9
        assert 'conflict with "kubectl-edit"' in (await actuator.observe(TARGET)).version("#2").failure
        await deleted(admin, Kind.SERVICE, namespace, "shop-cart-v2")
        assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None
        assert await target_port(admin, namespace, "shop-cart-v2") == 8080

    play(lab, placed(namespace), doing)
