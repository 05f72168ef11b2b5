"""By shares of Pods what loses its weight loses its Pods, whatever the API server will not have made; until then it is told as there.

What stands by is in nobody's way, and behind no Service.
"""

import asyncio
import contextlib
import socket

import msgspec
import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.leases import watch_leases
from ctrlplane_stream.actuators.kubernetes.objects import Kind, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, HttpTransport, Request
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.actuators.reconcile import Pace
from ctrlplane_stream.commands.checkup_kubernetes import check_kubernetes
from ctrlplane_stream.local.control_plane.scene import artifact, command, kubernetes, running, settled, template, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.settings import Settings

TARGET = Target("staging", "shop/cart")
SHARED = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}}
SHARED["spec"] = {"selector": {"app": "cart"}, "ports": [{"port": 80}]}
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@contextlib.asynccontextmanager
async def full(lab, namespace, admin):
    """A quota that has no room for one more Deployment."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"count/deployments.apps": "2"}}}
    await asyncio.to_thread(lab.apply, [quota], namespace)
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/full"
    async with asyncio.timeout(30.0):
        while ((await admin.read(path)).get("status") or {}).get("used") != {"count/deployments.apps": "2"}:
            await asyncio.sleep(0.05)
    yield
    await asked(lab, "DELETE", path)


@contextlib.asynccontextmanager
async def down(lab, namespace, admin):
    """An admission webhook without which no Deployment is made, and that takes calls and never answers."""
    deployments = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = {"clientConfig": {"url": f"https://127.0.0.1:{deaf.getsockname()[1]}/x"}, "timeoutSeconds": 10}
        how = {"failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"]}
        webhook = {"name": "deaf.example.com", "rules": [deployments], "namespaceSelector": here, **client, **how}
        made = {"metadata": {"name": f"deaf-{namespace}"}, "webhooks": [webhook]}
        await asked(lab, "POST", WEBHOOKS, made)
        await _in_force(lab, namespace)
        yield
        await asked(lab, "DELETE", f"{WEBHOOKS}/deaf-{namespace}")


async def _in_force(lab, namespace) -> None:
    """Wait until the server has heard of it: no Deployment is tried out in a moment any more."""
    (tried,) = template()
    async with lab.product() as product:
        with contextlib.suppress(TimeoutError, ApiRefused, WorldUnreachable):
            while True:
                async with asyncio.timeout(2.0):
                    await product.apply(Kind.DEPLOYMENT, namespace, tried, dry_run=True)


async def asked(lab, method, path, body=None) -> None:
    """Have the administrator do something."""
    admin = HttpTransport(lab.admin_access)
    try:
        reply = await admin.send(Request(method, path, {}, body))
    finally:
        await admin.close()
    assert reply.status < 300, reply.body


def pair(stable: int):
    return version("shop/cart", 1, stable), version("shop/cart", 2, 100 - stable)


CASES = [
    ("abort", full, "cart"),
    ("abort", down, "cart"),
    ("abort", full, None),
    ("promote", full, "cart"),
    ("promote", down, None),
    ("glass", down, "cart"),
    ("lease", full, "cart"),
]


@pytest.mark.parametrize(("what", "without", "service"), CASES, ids=[f"{a}, {b.__name__}, {c or 'consumer'}" for a, b, c in CASES])
def test_what_loses_its_weight_loses_its_pods_where_nothing_can_be_made(lab, what, without, service):
    """What stands by in its place proves something, and is made once it can be: it keeps nobody in traffic until then."""
    namespace = lab.namespace()
    lab.apply([SHARED], namespace)
    place = Place(namespace, "shop-cart", template(4), full=4, service=service)
    kind = ServiceKind.ROUTED if service else ServiceKind.CONSUMER

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            actuator = kubernetes(cluster, (TARGET, place))
            await actuator.apply(*command(TARGET, 1, *pair(100), kind=kind))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await actuator.apply(*command(TARGET, 2, *pair(50), kind=kind, lease=10.0 if what == "lease" else 60.0))
            await settled(actuator, TARGET, {"#1": 50, "#2": 50})
            left, kept = ("shop-cart-v1", "shop-cart-v2") if what == "promote" else ("shop-cart-v2", "shop-cart-v1")
            async with without(lab, namespace, admin):
                await moved(actuator, cluster)
                pods = await sizes(admin)
                while pods != {left: 0, kept: 4}:
                    seen = {each.label: each.weight for each in (await actuator.observe(TARGET)).versions}
                    pods = await sizes(admin)
                    assert pods[left] == 0 or seen[f"#{left[-1]}"] > 0, (seen, pods)
                await settled(actuator, TARGET, {f"#{left[-1]}": 0, f"#{kept[-1]}": 100})
            await settled(actuator, TARGET, {f"#{left[-1]}": 0, f"#{kept[-1]}": 100})
            async with asyncio.timeout(30.0):
                while await sizes(admin) != {left: 0, kept: 4, f"{left}-standby": 1}:
                    await actuator.observe(TARGET)

    async def moved(actuator, cluster) -> None:
        """As the loop has the actuator act, which gives a call so long and no longer."""
        if what == "lease":
            watching = asyncio.create_task(watch_leases(cluster, namespace))
            async with asyncio.timeout(30.0), lab.admin() as admin:
                while await sizes(admin) != {"shop-cart-v1": 4, "shop-cart-v2": 0}:
                    await asyncio.sleep(0.05)
            watching.cancel()
            return
        async with asyncio.timeout(Pace().call_seconds):
            if what == "glass":
                await actuator.break_glass(TARGET, "bob", "pages are down")
                return
            outcome = await actuator.apply(*command(TARGET, 3, *pair(0 if what == "promote" else 100), kind=kind))
            assert outcome.status is OutcomeStatus.APPLIED, outcome

    async def sizes(admin) -> dict[str, int]:
        found, _ = await admin.select(Kind.DEPLOYMENT, namespace)
        return {name_of(each): each["spec"]["replicas"] for each in found}

    asyncio.run(run())


WAYS = pytest.mark.parametrize("service", ["cart", None], ids=["behind a Service", "consumer"])


@WAYS
@pytest.mark.parametrize("stable", [100, 0], ids=["back", "on"])
def test_a_weight_is_told_until_its_last_pod_is_gone(lab, service, stable):
    """Pods of a node that is cut off are told to end, and work on: their Deployment is to have none long before."""
    left, kept = ("#2", "#1") if stable else ("#1", "#2")
    name = f"shop-cart-v{left[1]}"

    async def doing(actuator, admin, namespace, kind) -> None:
        await actuator.apply(*command(TARGET, 1, *pair(100), kind=kind))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await actuator.apply(*command(TARGET, 2, *pair(50), kind=kind))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        await _held(admin, namespace, left, ["test.example/cut-off"])
        await actuator.apply(*command(TARGET, 3, *pair(stable), kind=kind))
        async with asyncio.timeout(30.0):
            while (await _status(admin, namespace, name)) != (0, 0) or (await _status(admin, namespace, f"shop-cart-v{kept[1]}"))[1] != 4:
                assert _weight(await actuator.observe(TARGET), left) > 0
        seen = await actuator.observe(TARGET)
        assert _weight(seen, left) > 0, seen
        assert seen.version(left).instances == 2, seen
        await _held(admin, namespace, left, [])
        await settled(actuator, TARGET, {left: 0, kept: 100})

    _play(lab, service, doing)


@WAYS
def test_an_abort_gets_through_where_a_quota_has_room_for_nothing_but_what_stands_by(lab, service):
    """Others grew into the room that stable had: its first Pod takes the place of the one that proved that it would start."""

    async def doing(actuator, admin, namespace, kind) -> None:
        await actuator.apply(*command(TARGET, 1, *pair(100), kind=kind))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await actuator.apply(*command(TARGET, 2, *pair(0), kind=kind))
        await settled(actuator, TARGET, {"#1": 0, "#2": 100})
        async with asyncio.timeout(30.0):
            while len((await admin.select(Kind.POD, namespace))[0]) != 5:
                await actuator.observe(TARGET)
        await _room_for(lab, namespace, admin, 5)
        await actuator.apply(*command(TARGET, 3, *pair(100), kind=kind))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0}, seconds=90.0)

    _play(lab, service, doing)


@WAYS
def test_an_abort_to_what_was_adopted_waits_for_room_names_the_quota_and_ends_by_itself_once_there_is_some(lab, service):
    """Nothing of it stands by that could give room up, and what serves gives none up before another does."""

    async def doing(actuator, admin, namespace, kind) -> None:
        await asyncio.to_thread(lab.apply, [running(4)], namespace)
        one, two = adopted(100), version("shop/cart", 2, 0)
        async with asyncio.timeout(30.0):
            while (await _status(admin, namespace, "cart"))[1] != 4:
                await asyncio.sleep(0.05)
        outcome = await actuator.apply(*command(TARGET, 1, one, verb=Verb.ADOPT, kind=kind))
        assert outcome.status is OutcomeStatus.APPLIED, outcome
        await settled(actuator, TARGET, {"#1": 100})
        await actuator.apply(*command(TARGET, 2, adopted(0), version("shop/cart", 2, 100), kind=kind))
        await settled(actuator, TARGET, {"#1": 0, "#2": 100})
        async with asyncio.timeout(30.0):
            while len((await admin.select(Kind.POD, namespace))[0]) != 4:
                await actuator.observe(TARGET)
        await _room_for(lab, namespace, admin, 4)
        outcome = await actuator.apply(*command(TARGET, 3, one, two, kind=kind))
        assert outcome.status is OutcomeStatus.APPLIED, outcome
        async with asyncio.timeout(30.0):
            while (failure := (seen := await actuator.observe(TARGET)).version("#1").failure) is None:
                await asyncio.sleep(0.05)
        assert "exceeded quota: full, requested: pods=1, used: pods=4, limited: pods=4" in failure, failure
        assert "raise the quota of the namespace" in failure, failure
        assert (_weight(seen, "#1"), _weight(seen, "#2"), seen.version("#2").ready) == (0, 100, 4), seen
        await asyncio.to_thread(lab.apply, [_quota(5)], namespace)
        await settled(actuator, TARGET, {"#1": 100, "#2": 0}, seconds=90.0)

    _play(lab, service, doing, adopt="cart")


def test_what_stands_by_is_made_anew_where_its_service_would_choose_it(lab, tmp_path):
    """The owner of the Service has it choose by another label: doctor says what that chooses, and with the next command nobody but what has
    weight is behind it."""
    by_tier = {**SHARED, "spec": {**SHARED["spec"], "selector": {"tier": "front"}}}

    async def doing(actuator, admin, namespace, kind) -> None:
        await actuator.apply(*command(TARGET, 1, *pair(100), kind=kind))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        assert await _roles(admin, namespace, "app=cart") == ["serving"] * 4
        async with asyncio.timeout(30.0):
            while sorted(await _roles(admin, namespace, "")) != ["serving"] * 4 + ["standby"]:
                await actuator.observe(TARGET)
        assert (await _doctor(lab, tmp_path, namespace)).startswith("ok ")
        await asyncio.to_thread(lab.apply, [by_tier], namespace)
        line = await _doctor(lab, tmp_path, namespace)
        assert line.startswith("wrong "), line
        assert "Service cart chooses Pods that only stand by (1 of Deployment shop-cart-v2-standby)" in line, line
        assert "made anew with the next command" in line, line
        await actuator.apply(*command(TARGET, 2, *pair(100), kind=kind))
        async with asyncio.timeout(30.0):
            while await _roles(admin, namespace, "tier=front") != ["serving"] * 4:
                await actuator.observe(TARGET)
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        async with asyncio.timeout(30.0):
            while sorted(await _roles(admin, namespace, "")) != ["serving"] * 4 + ["standby"]:
                await actuator.observe(TARGET)
        assert (await _doctor(lab, tmp_path, namespace)).startswith("ok ")

    _play(lab, "cart", doing, {"tier": "front"})


def _play(lab, service, doing, labels=None, adopt=None) -> None:
    """Let ``doing`` act on a target of four Pods whose weights are their shares; ``labels``: more of the template's Pods."""
    namespace = lab.namespace()
    lab.apply([SHARED], namespace)
    made = template(4)
    made[0]["spec"]["template"]["metadata"]["labels"] |= labels or {}
    place = Place(namespace, "shop-cart", made, full=4, service=service, adopt=adopt)

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            await doing(kubernetes(cluster, (TARGET, place)), admin, namespace, ServiceKind.ROUTED if service else ServiceKind.CONSUMER)

    asyncio.run(run())


def adopted(weight):
    """What ``running`` runs, as #1."""
    return msgspec.structs.replace(version("shop/cart", 1, weight), artifact=artifact("cart", 1))


def _quota(pods):
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": str(pods)}}}


async def _room_for(lab, namespace, admin, pods) -> None:
    """A quota of so many Pods, which are there."""
    await asyncio.to_thread(lab.apply, [_quota(pods)], namespace)
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/full"
    async with asyncio.timeout(30.0):
        while ((await admin.read(path)).get("status") or {}).get("used") != {"pods": str(pods)}:
            await asyncio.sleep(0.05)


async def _doctor(lab, folder, namespace) -> str:
    """What doctor says of the target behind its Service, whose Pods have the label ``tier`` too."""
    made = template(4)
    made[0]["spec"]["template"]["metadata"]["labels"] |= {"tier": "front"}
    (folder / "cart.yaml").write_text(yaml.safe_dump_all(made))
    services = {"shop/cart": {"template": "cart.yaml", "service": "cart"}}
    path = folder / "placement.yaml"
    path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": namespace}}, "services": services}))
    found = await check_kubernetes(Settings(kubernetes_placement=str(path)), lambda _: lab.product())
    return next(finding.line() for finding in found if finding.check == f"kubernetes {TARGET}")


async def _held(admin, namespace, label, finalizers) -> None:
    """Have the Pods of a version stay when they are told to end, or (none) end."""
    found, _ = await admin.select(Kind.POD, namespace, f"ctrlplane-stream.dev/version=v{label[1]},ctrlplane-stream.dev/role=serving")
    for each in found:
        await admin.patch(Kind.POD, namespace, name_of(each), [{"op": "add", "path": "/metadata/finalizers", "value": finalizers}])


async def _status(admin, namespace, name) -> tuple[int, int]:
    """The replicas that a Deployment is to have, and has by its status."""
    found = await admin.get(Kind.DEPLOYMENT, namespace, name)
    return found["spec"]["replicas"], (found.get("status") or {}).get("replicas") or 0


async def _roles(admin, namespace, selector) -> list[str]:
    """The roles of the Pods that a selector chooses."""
    found, _ = await admin.select(Kind.POD, namespace, selector)
    return [each["metadata"]["labels"]["ctrlplane-stream.dev/role"] for each in found]


def _weight(seen, label) -> int:
    return next(each.weight for each in seen.versions if each.label == label)
