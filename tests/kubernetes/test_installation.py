"""Installing on a real API server: what is applied is taken, is enough to work with, and can go without taking traffic along."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.access import token_access
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.applying import apply_manifests
from ctrlplane_stream.actuators.kubernetes.handing_over import hand_over
from ctrlplane_stream.actuators.kubernetes.installation import NAMESPACE, Installation, manifests
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, template, version
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import SETTINGS, Protocol, Settings
from ctrlplane_stream.shipped import shipped

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)
PLACEMENT = """\
environments:
  staging: {{namespace: {namespace}}}
services:
  shop/cart:
    template: cart.yaml
    replicas: 2
    port: 80
    route: {{name: shop-cart, rule: main}}
"""


IMAGE = "registry.example/ctrlplane-stream:0.1.0"


@pytest.fixture
def bare_namespace(lab):
    """A namespace with a route, where the product has no rights yet, and the worker's own."""
    (name,) = ["shop"]
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in (name, NAMESPACE)]
    lab.apply(namespaces)
    lab.apply([route("shop-cart", ["main"])], name)
    return name


def install(lab, *arguments):
    """The command, as the cluster's administrator."""
    kubeconfig = str(lab.plane.kubeconfig(lab.plane.admin_token, "admin"))
    environ = {**os.environ, **{setting.variable: "" for setting in SETTINGS}, "KUBECONFIG": kubeconfig}
    ran = [sys.executable, "-m", "ctrlplane_stream", "install", *arguments]
    return subprocess.run(ran, env=environ, capture_output=True, text=True, timeout=60, check=False)


def installed(lab, *arguments):
    """What the command printed, which went well."""
    done = install(lab, "--image", IMAGE, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def account_token(lab):
    """A token of the worker's own ServiceAccount, as its Pod gets one."""
    transport = HttpTransport(lab.admin_access)
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/ctrlplane-stream/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    reply = await transport.send(Request("POST", path, {}, body))
    await transport.close()
    assert reply.status == 201, reply
    return msgspec.json.decode(reply.body)["status"]["token"]


def test_the_kustomize_bases_pass_the_servers_own_dry_run(lab, bare_namespace):
    """Every object of both, and with our field manager a second time: nothing is refused and nothing made."""
    folders = [shipped("deploy") / name for name in ("base", "namespaced")]
    files = [folder / name for folder in folders for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]]
    documents = [each for path in files for each in yaml.safe_load_all(path.read_text())]
    made = asyncio.run(apply_manifests(lab.admin_access, documents, bare_namespace, dry_run=True))
    assert [each["kind"] for each in made] == [each["kind"] for each in documents]


def test_a_worker_with_secrets_and_files_is_one_that_the_server_takes(lab, bare_namespace):
    """A secured broker: the StatefulSet with keys of a Secret and files of it passes the server's own dry run."""
    settings = Settings(
        kafka_bootstrap_servers="kafka:9093", kafka_security_protocol=Protocol.SASL_SSL, kafka_sasl_password="x", kafka_ssl_cafile="ca.pem"
    )
    documents = manifests(Installation(namespaces=(bare_namespace,), handed=hand_over(settings)))
    made = asyncio.run(apply_manifests(lab.admin_access, documents, bare_namespace, dry_run=True))
    (worker,) = [each for each in made if each["kind"] == "StatefulSet"]
    container = worker["spec"]["template"]["spec"]["containers"][0]
    assert {"secretKeyRef": {"name": "ctrlplane-stream", "key": "KAFKA_SASL_PASSWORD"}} in [
        each.get("valueFrom") for each in container["env"]
    ]


def test_what_is_installed_is_enough_to_roll_out_and_goes_without_the_traffic(lab, bare_namespace, tmp_path):
    """The worker's account does a rollout with the rights that ``install`` gave it; uninstalling leaves weights and Pods as they are."""
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    (tmp_path / "placement.yaml").write_text(PLACEMENT.format(namespace=bare_namespace))
    options = ("--kafka-bootstrap-servers", "kafka:9092", "--kubernetes-placement", str(tmp_path / "placement.yaml"))
    first = installed(lab, *options)
    assert f"Role {bare_namespace}/ctrlplane-stream" in first.splitlines()
    assert installed(lab, *options) == first
    manifests = list(yaml.safe_load_all(installed(lab, *options, "--dry-run")))

    async def run() -> None:
        access = token_access(lab.plane.server, await account_token(lab), str(lab.plane.certificate_authority))
        async with Cluster(HttpTransport(access)) as cluster, lab.admin() as admin:
            actuator = kubernetes(cluster, (TARGET, routed_place(bare_namespace, SERVICE)))
            await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 75), version(SERVICE, 2, 25)))
            await settled(actuator, TARGET, {"#1": 75, "#2": 25})
            before = await _traffic(admin, bare_namespace)
            await _delete(lab, manifests)
            assert await _traffic(admin, bare_namespace) == before
            assert await admin.get(Kind.DEPLOYMENT, NAMESPACE, "ctrlplane-stream-leases") is None

    asyncio.run(run())


async def _traffic(admin, namespace):
    """What serves: the rule, and the Pods of every version."""
    rules = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
    pods, _ = await admin.select(Kind.POD, namespace)
    return rules, sorted(each["metadata"]["uid"] for each in pods if not each["metadata"].get("deletionTimestamp"))


async def _delete(lab, manifests) -> None:
    """`kubectl delete -f -`, but for the namespace, whose end takes a while and anything in it along."""
    transport = HttpTransport(lab.admin_access)
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            assert (await transport.send(Request("DELETE", _path(manifest), {}, {}))).status < 300, manifest
    await transport.close()


def _path(manifest) -> str:
    """Where the object is."""
    places = {"ServiceAccount": "/api/v1", "ConfigMap": "/api/v1", "Deployment": "/apis/apps/v1", "StatefulSet": "/apis/apps/v1"}
    root, metadata = places.get(manifest["kind"], "/apis/rbac.authorization.k8s.io/v1"), manifest["metadata"]
    return f"{root}/namespaces/{metadata['namespace']}/{manifest['kind'].lower()}s/{metadata['name']}"


def test_a_field_of_somebody_elses_is_not_taken_over_unasked(lab, bare_namespace):
    """Another number of replicas by hand: refused in words, until --force."""
    installed(lab, "--kafka-bootstrap-servers", "kafka:9092")

    async def scale() -> None:
        async with lab.admin() as admin:
            await admin.patch(
                Kind.DEPLOYMENT, NAMESPACE, "ctrlplane-stream-leases", [{"op": "replace", "path": "/spec/replicas", "value": 5}]
            )

    asyncio.run(scale())
    refused = install(lab, "--image", IMAGE, "--kafka-bootstrap-servers", "kafka:9092")
    assert refused.returncode == 1
    assert ".spec.replicas" in refused.stderr
    assert "{" not in refused.stderr, "the server's sentence, and not its whole answer"
    installed(lab, "--kafka-bootstrap-servers", "kafka:9092", "--force")


def test_what_was_applied_with_kubectl_before_is_taken_over_by_force_and_that_is_said(lab, bare_namespace):
    """As who tries ``--dry-run | kubectl apply -f -`` first, without an image: the fields that differ are kubectl's."""
    options = ("--kafka-bootstrap-servers", "kafka:9092")
    asyncio.run(_applied_by_kubectl(lab, list(yaml.safe_load_all(install(lab, "--dry-run", *options).stdout))))
    refused = install(lab, "--image", IMAGE, *options)
    assert refused.returncode == 1
    assert 'conflict with "kubectl-client-side-apply"' in refused.stderr
    assert "--force takes these fields over" in refused.stderr
    installed(lab, *options, "--force")


async def _applied_by_kubectl(lab, manifests) -> None:
    """What ``kubectl apply`` does where nothing is there yet: objects are created, by its field manager."""
    transport = HttpTransport(lab.admin_access)
    for manifest in manifests:
        if manifest["kind"] == "Namespace":
            continue
        path = _path(manifest)
        await transport.send(Request("DELETE", path, {}, {}))
        while (reply := await transport.send(Request("GET", path))).status != 404:
            assert reply.status == 200
            await asyncio.sleep(0.05)
        query = {"fieldManager": "kubectl-client-side-apply"}
        reply = await transport.send(Request("POST", path.rpartition("/")[0], query, manifest))
        assert reply.status == 201, reply
    await transport.close()


@contextmanager
def leases_process(lab, namespace) -> Iterator[subprocess.Popen]:
    """``ctrlplane-stream leases`` with the product's own token, ended by SIGTERM."""
    environ = {**os.environ, "KUBECONFIG": str(lab.plane.kubeconfig(lab.plane.tokens["ctrlplane"], "product"))}
    arguments = [sys.executable, "-m", "ctrlplane_stream", "leases", "--namespace", namespace, "--context", "product"]
    process = subprocess.Popen(arguments, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def test_the_watcher_of_leases_brings_a_target_to_stable_by_itself(lab):
    """A process with a kubeconfig and nothing else: no Kafka, no placement file, no worker."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)

    async def weights(admin):
        rules = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
        return [each["weight"] for each in rules[0]["backendRefs"]]

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            actuator = kubernetes(cluster, (TARGET, routed_place(namespace, SERVICE)))
            await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 90), version(SERVICE, 2, 10), lease=3.0))
            assert await weights(admin) == [90, 10]
            with leases_process(lab, namespace) as process:
                for _ in range(600):
                    if await weights(admin) == [100, 0]:
                        break
                    assert process.poll() is None, process.communicate()
                    await asyncio.sleep(0.1)
                assert await weights(admin) == [100, 0]
            assert (await actuator.observe(TARGET)).lease_expired

    asyncio.run(run())
