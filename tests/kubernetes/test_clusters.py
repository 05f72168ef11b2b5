"""Several clusters and namespaces behind one placement file, each by its kubeconfig context."""

import asyncio

import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.composition import connect, placed_kubernetes
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.lab import USER
from ctrlplane_stream.local.control_plane.scene import command, route, settled, template, version
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

SERVICE = "shop/cart"
STAGING, PRODUCTION = Target("staging", SERVICE), Target("production", SERVICE)


def kubeconfig(lab, folder):
    """Two contexts: ``near`` with the product's rights, ``far`` for somebody whom the cluster does not know."""
    cluster = {"server": lab.plane.server, "certificate-authority": str(lab.plane.certificate_authority)}
    tokens = {"near": lab.plane.tokens[USER], "far": "nobody"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "far",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
        "contexts": [{"name": name, "context": {"cluster": "lab", "user": name}} for name in tokens],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def placement(folder, **environments):
    """A placement file for the cart in these environments, each with its context and namespace."""
    (folder / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    cart = {"template": "cart.yaml", "replicas": 2, "port": 80, "route": {"name": "shop-cart", "rule": "main"}}
    path = folder / "placement.yaml"
    path.write_text(yaml.safe_dump({"environments": environments, "services": {SERVICE: cart}}))
    return path


def test_each_environment_is_acted_on_in_its_own_namespace_by_its_own_context(lab, tmp_path, monkeypatch):
    """Where the context's user may act the rollout goes on; where not, that environment alone is unreachable, and says so."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(lab, tmp_path)))
    near, far = lab.namespace(), lab.namespace()
    for namespace in (near, far):
        lab.apply([route("shop-cart", ["main"])], namespace)
    where = placement(tmp_path, staging={"namespace": near, "context": "near"}, production={"namespace": far, "context": "far"})

    async def run() -> None:
        actuator = placed_kubernetes(Settings(kubernetes_placement=str(where)))
        try:
            await actuator.apply(*command(STAGING, 1, version(SERVICE, 1, 100)))
            await settled(actuator, STAGING, {"#1": 100})
            with pytest.raises(WorldUnreachable, match="401"):
                await actuator.apply(*command(PRODUCTION, 1, version(SERVICE, 1, 100)))
        finally:
            await actuator.close()
        async with lab.admin() as admin:
            assert await admin.get(Kind.DEPLOYMENT, near, "shop-cart-v1") is not None
            assert (await admin.select(Kind.DEPLOYMENT, far))[0] == ()

    asyncio.run(run())


def test_two_environments_in_two_namespaces_of_one_cluster_know_nothing_of_each_other(lab, tmp_path, monkeypatch):
    """The same service and version in both: each has its own Deployment, weights and cursor."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(lab, tmp_path)))
    one, other = lab.namespace(), lab.namespace()
    for namespace in (one, other):
        lab.apply([route("shop-cart", ["main"])], namespace)
    where = placement(tmp_path, staging={"namespace": one, "context": "near"}, production={"namespace": other, "context": "near"})

    async def run() -> None:
        actuator = placed_kubernetes(Settings(kubernetes_placement=str(where)))
        try:
            for target in (STAGING, PRODUCTION):
                await actuator.apply(*command(target, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
                await settled(actuator, target, {"#1": 100, "#2": 0})
            await actuator.apply(*command(STAGING, 2, version(SERVICE, 1, 50), version(SERVICE, 2, 50)))
            await settled(actuator, STAGING, {"#1": 50, "#2": 50})
            seen = await settled(actuator, PRODUCTION, {"#1": 100, "#2": 0})
            assert seen.cursor.sequence == 1
        finally:
            await actuator.close()

    asyncio.run(run())


def test_a_context_that_is_not_in_the_kubeconfig_is_told_by_name(lab, tmp_path, monkeypatch):
    """No guessing of another cluster."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(lab, tmp_path)))
    with pytest.raises(WorldUnreachable, match="context elsewhere"):
        connect("elsewhere")
