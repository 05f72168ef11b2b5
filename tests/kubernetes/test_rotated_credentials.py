"""A worker runs for months: certificates, keys, tokens and kubeconfigs are replaced on disk meanwhile, and nobody restarts it for that."""

import asyncio
import base64
import json
import os
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes import access
from ctrlplane_stream.actuators.kubernetes.composition import connect, connect_later
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.lab import USER, open_api_server
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, version
from ctrlplane_stream.model.facts import OutcomeStatus
from tests.kubernetes.certificates import certificate
from tests.kubernetes.playing import TARGET

SERVICE = "shop/cart"


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], made)
    return made


class Credentials:
    """What a worker finds on disk: a kubeconfig, and what it names."""

    def __init__(self, lab, folder, monkeypatch):
        self.folder, self._lab = folder, lab
        self.kubeconfig = folder / "kubeconfig"
        monkeypatch.setenv("KUBECONFIG", str(self.kubeconfig))

    def user(self, **user):
        """Write the kubeconfig, whose one user is this."""
        cluster = {"server": self._lab.plane.server, "certificate-authority": str(self._lab.plane.certificate_authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        self.written("kubeconfig", yaml.safe_dump(config).encode())

    def written(self, name, content):
        """Replace a file as those do who rotate it: whole from one moment to the next."""
        (self.folder / "new").write_bytes(content)
        return str((self.folder / "new").replace(self.folder / name))

    def certified(self, seconds):
        """A certificate of the product with its key that ends so soon, and when it does."""
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
        return certificate(self._lab.plane.client_authority, USER, until, self.folder / "ca"), until.timestamp()

    def plugin(self):
        """A user whose credentials a program prints: what stands in a file."""
        said = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(self.folder / "said")]}
        self.user(exec={**said, "interactiveMode": "Never"})

    def says(self, **status):
        """From now on the program prints this."""
        told = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
        self.written("said", json.dumps(told).encode())


@pytest.fixture
def credentials(lab, tmp_path, monkeypatch):
    return Credentials(lab, tmp_path, monkeypatch)


def in_files(credentials, pem):
    path = credentials.written("user.pem", pem)
    credentials.user(**{"client-certificate": path, "client-key": path})


def in_the_kubeconfig(credentials, pem):
    data = base64.b64encode(pem).decode()
    credentials.user(**{"client-certificate-data": data, "client-key-data": data})


def by_a_plugin(credentials, pem):
    credentials.plugin()
    credentials.says(clientCertificateData=pem.decode(), clientKeyData=pem.decode())


@asynccontextmanager
async def at_work(namespace):
    """An actuator with a client of its own and a copy of its namespace, as a worker has them."""
    async with connect(None) as cluster:
        copy = NamespaceCopy(cluster, namespace, frozenset({Kind.HTTP_ROUTE}))
        copy.start()
        try:
            yield kubernetes(cluster, (TARGET, routed_place(namespace, SERVICE))), copy
        finally:
            await copy.stop()


async def stands(copy):
    async with asyncio.timeout(60.0):
        while not copy.current:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("given", [in_files, in_the_kubeconfig, by_a_plugin])
def test_a_client_certificate_that_ends_is_followed_by_the_one_that_replaced_it(lab, namespace, credentials, given):
    """Open connections are of the old one, and the server knows that no more: not one command, look or watch is lost by it."""

    async def run(seconds):
        """Whether it could be replaced before it ended: on a machine that is busy a short one cannot."""
        short, ends = credentials.certified(seconds)
        given(credentials, short)
        async with at_work(namespace) as (actuator, copy):
            try:
                await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
                await settled(actuator, TARGET, {"#1": 100})
                given(credentials, credentials.certified(3600)[0])
            except WorldUnreachable:
                if time.time() < ends:
                    raise
            if time.time() > ends:
                return False
            await asyncio.sleep(ends + 1.0 - time.time())
            both = version(SERVICE, 1, 50), version(SERVICE, 2, 50)
            assert (await actuator.apply(*command(TARGET, 2, *both))).status is OutcomeStatus.APPLIED
            await settled(actuator, TARGET, {"#1": 50, "#2": 50})
            await stands(copy)
            return True

    assert any(asyncio.run(run(seconds)) for seconds in (4, 12, 36, 108))


def test_a_token_is_read_from_its_file_again_when_the_server_does_not_know_it(lab, namespace, credentials):
    """Also one that ends its line, as files do. The official client reads it once."""
    token = credentials.written("token", b"expired\n")
    credentials.user(tokenFile=token)

    async def run():
        async with at_work(namespace) as (actuator, copy):
            with pytest.raises(WorldUnreachable, match="does not know our credentials"):
                await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            credentials.written("token", f"{lab.plane.tokens[USER]}\n".encode())
            await asyncio.sleep(1.0)
            await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            await settled(actuator, TARGET, {"#1": 100})
            await stands(copy)

    asyncio.run(run())


def test_a_plugin_is_asked_again_and_one_that_fails_makes_nobody_of_us(lab, namespace, credentials):
    """The official client goes on without credentials then; as nobody we would be forbidden everything, and an abort refused for good."""
    credentials.plugin()

    async def run():
        with pytest.raises(WorldUnreachable, match="its credential plugin cat gave none"):
            connect(None)
        credentials.says(token="expired")
        async with at_work(namespace) as (actuator, copy):
            with pytest.raises(WorldUnreachable, match="does not know our credentials"):
                await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            (credentials.folder / "said").unlink()
            await asyncio.sleep(1.0)
            with pytest.raises(WorldUnreachable, match="credential"):
                await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            credentials.says(token=lab.plane.tokens[USER])
            await asyncio.sleep(1.0)
            assert (await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))).status is OutcomeStatus.APPLIED
            await settled(actuator, TARGET, {"#1": 100})
            await stands(copy)

    asyncio.run(run())


def test_a_plugin_that_hangs_is_ended_with_all_that_it_started_and_that_is_told(credentials, monkeypatch):
    """The official client would wait for it for ever, and with it the thread that asked."""
    monkeypatch.setattr(access, "_PLUGIN_SECONDS", 1)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", "sleep 600; true"]}
    credentials.user(exec={**plugin, "interactiveMode": "Never"})
    with pytest.raises(WorldUnreachable, match="its credential plugin sh gave none, for which it has 1 s"):
        connect(None)


def test_nobody_waits_while_a_plugin_makes_up_its_mind_but_who_needs_it(lab, namespace, credentials):
    """It answers only once something else was done in the same worker."""
    credentials.plugin()
    credentials.says(token=lab.plane.tokens[USER])
    told = (credentials.folder / "said").read_bytes()
    (credentials.folder / "said").unlink()
    os.mkfifo(credentials.folder / "said")

    async def run():
        async with connect_later(None) as cluster:
            asking = asyncio.create_task(cluster.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))
            await asyncio.sleep(0)
            await asyncio.to_thread((credentials.folder / "said").write_bytes, told)
            assert (await asking)["metadata"]["name"] == "shop-cart"

    asyncio.run(run())


def test_a_server_whose_certificate_is_of_another_authority_by_now_is_trusted_by_the_file_that_replaced_it(tmp_path, monkeypatch):
    """As when a cluster's own authority is rotated, of which the file in a Pod's account, or in the kubeconfig, tells."""
    with open_api_server() as lab:
        credentials = Credentials(lab, tmp_path, monkeypatch)
        credentials.user(token=lab.plane.tokens[USER])
        namespace = lab.namespace()
        lab.apply([route("shop-cart", ["main"])], namespace)

        async def run():
            async with at_work(namespace) as (actuator, copy):
                await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
                await stands(copy)
                lab.plane.kill_api_server()
                for each in lab.plane.certificate_authority.parent.iterdir():
                    each.unlink()
                await asyncio.to_thread(lab.plane.start_api_server)
                async with asyncio.timeout(60.0):
                    while (await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100)))).status is not OutcomeStatus.APPLIED:
                        await asyncio.sleep(0.1)
                await stands(copy)

        asyncio.run(run())


def test_a_user_who_is_to_act_as_another_is_refused_and_acts_not_as_himself(lab, credentials):
    """The official client reads past it: with the rights of an administrator, where somebody asked for fewer."""
    credentials.user(token=lab.plane.admin_token, **{"as": USER})
    with pytest.raises(WorldUnreachable, match=r"\(`as`\) is not supported"):
        connect(None)
