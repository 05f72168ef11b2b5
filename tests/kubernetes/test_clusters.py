"""Several clusters and namespaces behind one placement file, each by its kubeconfig context."""

import asyncio
import contextlib
from contextlib import asynccontextmanager

import msgspec
import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.composition import connect, placed_kubernetes
from ctrlplane_stream.actuators.kubernetes.objects import Kind, name_of
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.lab import USER, open_api_server
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, template, version
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

SERVICE = "shop/cart"
STAGING, PRODUCTION = Target("staging", SERVICE), Target("production", SERVICE)


def kubeconfig(folder, **contexts):
    """A kubeconfig file; of each context the cluster, and the token of its user."""
    planes = {name: (lab.plane, token) for name, (lab, token) in contexts.items()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(contexts)),
        "clusters": [
            {"name": name, "cluster": {"server": plane.server, "certificate-authority": str(plane.certificate_authority)}}
            for name, (plane, _) in planes.items()
        ],
        "users": [{"name": name, "user": {"token": token}} for name, (_, token) in planes.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in planes],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def near_and_far(lab, folder):
    """Two contexts of one cluster: ``near`` with the product's rights, ``far`` for somebody whom the cluster does not know."""
    return kubeconfig(folder, far=(lab, "nobody"), near=(lab, lab.plane.tokens[USER]))


def placement(folder, **environments):
    """A placement file for the cart in these environments, each with its context and namespace."""
    (folder / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    cart = {"template": "cart.yaml", "replicas": 2, "port": 80, "route": {"name": "shop-cart", "rule": "main"}}
    path = folder / "placement.yaml"
    path.write_text(yaml.safe_dump({"environments": environments, "services": {SERVICE: cart}}))
    return path


def test_each_environment_is_acted_on_in_its_own_namespace_by_its_own_context(lab, tmp_path, monkeypatch):
    """Where the context's user may act the rollout goes on; where not, that environment alone is unreachable, and says so."""
    monkeypatch.setenv("KUBECONFIG", str(near_and_far(lab, tmp_path)))
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


def test_two_clusters_are_acted_on_side_by_side_and_one_that_is_away_stops_itself_alone(lab, tmp_path, monkeypatch):
    """Two API servers with certificates, tokens and revisions of their own, in one kubeconfig; a dead one stops its environment only."""
    with open_api_server() as other:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, eu=(lab, lab.plane.tokens[USER]), us=(other, other.plane.tokens[USER]))))
        here, there = lab.namespace(), other.namespace()
        for cluster, namespace in ((lab, here), (other, there)):
            cluster.apply([route("shop-cart", ["main"])], namespace)
        where = placement(tmp_path, staging={"namespace": here, "context": "eu"}, production={"namespace": there, "context": "us"})

        async def run() -> None:
            actuator = placed_kubernetes(Settings(kubernetes_placement=str(where)))
            try:
                for sequence, target in ((1, STAGING), (7, PRODUCTION)):
                    await actuator.apply(*command(target, sequence, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
                await settled(actuator, STAGING, {"#1": 100, "#2": 0})
                assert [(await actuator.observe(target)).cursor.sequence for target in (STAGING, PRODUCTION)] == [1, 7]
                await stands_in(lab, here, other, there)
                other.plane.kill_api_server()
                with pytest.raises(WorldUnreachable, match="the API server of us"):
                    await actuator.apply(*command(PRODUCTION, 8, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
                await actuator.apply(*command(STAGING, 2, version(SERVICE, 1, 50), version(SERVICE, 2, 50)))
                await settled(actuator, STAGING, {"#1": 50, "#2": 50})
                other.plane.start_api_server()
                await actuator.apply(*command(PRODUCTION, 8, version(SERVICE, 1, 100)))
                assert (await actuator.observe(PRODUCTION)).cursor.sequence == 8
            finally:
                await actuator.close()

        asyncio.run(run())


async def stands_in(lab, here, other, there):
    """Each cluster has its own versions, and nothing in the namespace of the other."""
    async with lab.admin() as one, other.admin() as two:
        for cluster, namespace, empty in ((one, here, there), (two, there, here)):
            assert [name_of(each) for each in (await cluster.select(Kind.DEPLOYMENT, namespace))[0]] == ["shop-cart-v1", "shop-cart-v2"]
            assert (await cluster.select(Kind.DEPLOYMENT, empty))[0] == ()


def test_two_environments_in_two_namespaces_of_one_cluster_know_nothing_of_each_other(lab, tmp_path, monkeypatch):
    """The same service and version in both: each has its own Deployment, weights and cursor."""
    monkeypatch.setenv("KUBECONFIG", str(near_and_far(lab, tmp_path)))
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
    monkeypatch.setenv("KUBECONFIG", str(near_and_far(lab, tmp_path)))
    with pytest.raises(WorldUnreachable, match="context elsewhere"):
        connect("elsewhere")


def test_a_token_that_expired_is_told_and_its_successor_is_used_at_once(lab):
    """By writers and watches; whoever renews it need restart nothing."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)
    tokens = ["Bearer expired"]

    async def run() -> None:
        access = msgspec.structs.replace(lab.product_access, authorization=lambda: tokens[0])
        async with lab.product(HttpTransport(access)) as cluster:
            copy = NamespaceCopy(cluster, namespace, frozenset({Kind.HTTP_ROUTE}))
            copy.start()
            actuator = kubernetes(cluster, (STAGING, routed_place(namespace, SERVICE)))
            with pytest.raises(WorldUnreachable, match=r"does not know our credentials.*renew the token"):
                await actuator.apply(*command(STAGING, 1, version(SERVICE, 1, 100)))
            tokens[0] = str(lab.product_access.authorization())
            assert (await actuator.apply(*command(STAGING, 1, version(SERVICE, 1, 100)))).status is OutcomeStatus.APPLIED
            await settled(actuator, STAGING, {"#1": 100})
            async with asyncio.timeout(30.0):
                while not copy.current:
                    await asyncio.sleep(0.02)
            await copy.stop()

    asyncio.run(run())


@asynccontextmanager
async def proxy(asked):
    """A proxy that notes where it was asked to connect, and does so."""

    async def piped(reader, writer):
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def served(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        onward = await asyncio.open_connection(*asked[-1].rsplit(":", 1))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(piped(reader, onward[1]), piped(onward[0], writer))

    async with await asyncio.start_server(served, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()


def test_a_server_behind_a_proxy_whose_certificate_is_for_another_name_is_reached_as_the_kubeconfig_says(lab, tmp_path, monkeypatch):
    """kubectl heeds ``proxy-url`` and ``tls-server-name``, so whoever has them there expects it of us."""
    path = kubeconfig(tmp_path, here=(lab, lab.plane.tokens[USER]))
    monkeypatch.setenv("KUBECONFIG", str(path))
    config, namespace, asked = yaml.safe_load(path.read_text()), lab.namespace(), []
    cluster = config["clusters"][0]["cluster"]
    cluster["server"] = lab.plane.server.replace("127.0.0.1", "localhost")

    async def read():
        path.write_text(yaml.safe_dump(config))
        async with connect("here") as product:
            return await product.select(Kind.DEPLOYMENT, namespace)

    async def run() -> None:
        async with proxy(asked) as cluster["proxy-url"]:
            with pytest.raises(WorldUnreachable, match="localhost"):
                await read()
            cluster["tls-server-name"] = "kubernetes.default.svc"
            assert (await read())[0] == ()
        assert set(asked) == {cluster["server"].removeprefix("https://")}

    asyncio.run(run())
