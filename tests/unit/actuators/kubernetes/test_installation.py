"""What an installation consists of, and that its manifests say what the program understands."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ctrlplane_stream.actuators.kubernetes.handing_over import hand_over
from ctrlplane_stream.actuators.kubernetes.installation import NAMESPACE, Installation, manifests
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, read_placements
from ctrlplane_stream.cli import main
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import SETTINGS, LogFormat, Protocol, SaslMechanism, Settings
from ctrlplane_stream.shipped import shipped

PLACEMENT = """\
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop, context: eu}
  elsewhere: {namespace: shop, context: us}
services:
  shop/cart:
    template: cart.yaml
    route: {name: shop, rule: cart}
"""
TARGET = Target("staging", "shop/cart")
WORKLOADS = ("Deployment", "StatefulSet")
TEMPLATE = "{kind: Deployment, metadata: {name: cart}, spec: {template: {spec: {containers: [{name: cart, image: x}]}}}}"


@pytest.fixture
def placement(tmp_path):
    (tmp_path / "cart.yaml").write_text(TEMPLATE)
    path = tmp_path / "placement.yaml"
    path.write_text(PLACEMENT)
    return path


def found(made, kind, name):
    """The one manifest of that kind and name."""
    (manifest,) = [each for each in made if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return manifest


def invoke(*arguments, told=None):
    """``install --dry-run``, told just these variables."""
    environ = {setting.variable: "" for setting in SETTINGS}
    return CliRunner().invoke(main, ["install", "--dry-run", *arguments], env=environ | (told or {}))


def dry_run(*arguments, told=None):
    """What it prints, parsed."""
    result = invoke(*arguments, told=told)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def worker_of(made):
    """The Pod of the worker, its container, and its settings."""
    pod = found(made, "StatefulSet", "ctrlplane-stream")["spec"]["template"]
    return pod, pod["spec"]["containers"][0], found(made, "ConfigMap", "ctrlplane-stream-settings")["data"]


SECURED = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9093",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "ctrlplane",
    "KAFKA_SASL_PASSWORD": "a-password",
    "KAFKA_SSL_CAFILE": "/home/ada/our ca.pem",
    "CTRLPLANE_REDIS_URL": "redis://:not-for-manifests@redis:6379/0",
    "CTRLPLANE_TOPIC_PREFIX": "blue-",
    "CTRLPLANE_INSTANCE": "ada",
}


def test_the_worker_is_told_every_setting_and_no_secret():
    """What is not at its default goes along as it is; a secret as a key of the Secret; a file as one that lies in it."""
    made = dry_run(told=SECURED)
    pod, container, settings = worker_of(made)
    assert settings == {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9093",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": "ctrlplane",
        "KAFKA_SSL_CAFILE": "/etc/ctrlplane-stream-secret/ca.pem",
        "CTRLPLANE_TOPIC_PREFIX": "blue-",
    }
    of_secret = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container["env"] if "secretKeyRef" in e.get("valueFrom", {})}
    assert of_secret == {name: {"name": "ctrlplane-stream", "key": name} for name in ("KAFKA_SASL_PASSWORD", "CTRLPLANE_REDIS_URL")}
    (volume,) = [each for each in pod["spec"]["volumes"] if "secret" in each]
    assert volume["secret"] == {"secretName": "ctrlplane-stream", "items": [{"key": "ca.pem", "path": "ca.pem"}]}
    assert [m["mountPath"] for m in container["volumeMounts"] if m["name"] == volume["name"]] == ["/etc/ctrlplane-stream-secret"]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_secret_is_said_how_to_make_and_its_values_stand_nowhere(form):
    """The line for kubectl is on standard error, so that what is printed stays manifests."""
    result = invoke(*form, told=SECURED)
    assert "a-password" not in result.output
    assert "not-for-manifests" not in result.output
    (line,) = [each.strip() for each in result.stderr.splitlines() if "kubectl" in each]
    assert line == (
        "kubectl -n ctrlplane-stream create secret generic ctrlplane-stream "
        '--from-file=KAFKA_SASL_PASSWORD=<(printf %s "$KAFKA_SASL_PASSWORD") '
        '--from-file=CTRLPLANE_REDIS_URL=<(printf %s "$CTRLPLANE_REDIS_URL") '
        "--from-file=ca.pem='/home/ada/our ca.pem'"
    )
    assert invoke("--kafka-bootstrap-servers", "kafka:9092").stderr == ""


def test_no_setting_is_left_behind():
    """Each of them changed: it goes along as a variable, a key or a file, but for those of the Pod itself."""
    kept = {"CTRLPLANE_INSTANCE", "CTRLPLANE_KUBERNETES_PLACEMENT", "CTRLPLANE_GITOPS_PLACEMENT", "CTRLPLANE_GITOPS_FOLDER"}
    other = {bool: False, int: 7, float: 7.0}
    values = {s.name: other.get(type(s.default), "other") for s in SETTINGS if s.variable not in kept}
    values |= {"kafka_security_protocol": Protocol.SSL, "kafka_sasl_mechanism": SaslMechanism.PLAIN, "log_format": LogFormat.TEXT}
    _, container, told = worker_of(manifests(Installation(handed=hand_over(Settings(**values)))))
    assert kept | set(told) | {each["name"] for each in container["env"]} == {s.variable for s in SETTINGS}


def test_each_worker_has_the_name_of_its_pod_and_is_replaced_when_it_is_told_something_else():
    pod, container, _ = worker_of(dry_run(told=SECURED))
    (instance,) = [each for each in container["env"] if each["name"] == "CTRLPLANE_INSTANCE"]
    assert instance["valueFrom"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    again, other = (worker_of(dry_run(told=SECURED | more))[0] for more in ({}, {"CTRLPLANE_WINDOW_SECONDS": "30"}))
    assert again == pod
    assert other["metadata"]["annotations"] != pod["metadata"]["annotations"]


def test_a_template_arrives_with_the_digest_that_it_has_here_and_another_one_replaces_the_worker(placement, tmp_path):
    """Byte by byte, with the ends of lines that it has."""
    options = ("--kafka-bootstrap-servers", "kafka:9092", "--kubernetes-placement", str(placement))
    before, _, _ = worker_of(dry_run(*options))
    (tmp_path / "cart.yaml").write_bytes(TEMPLATE.replace(" spec", "\r\n spec").encode())
    made = dry_run(*options)
    there = tmp_path / "there"
    there.mkdir()
    for name, text in found(made, "ConfigMap", "ctrlplane-stream-placement")["data"].items():
        (there / name).write_bytes(text.encode())
    here, shipped_there = (read_placements(path / "placement.yaml").place(TARGET).named for path in (tmp_path, there))
    assert here == shipped_there
    assert worker_of(made)[0]["metadata"]["annotations"] != before["metadata"]["annotations"]


def test_the_placement_of_gitops_travels_too(tmp_path):
    """Its clones lie where the Pod can write."""
    (tmp_path / "git.yaml").write_text("repositories: {}\n")
    made = dry_run("--kafka-bootstrap-servers", "kafka:9092", "--gitops-placement", str(tmp_path / "git.yaml"))
    assert found(made, "ConfigMap", "ctrlplane-stream-placement")["data"]["gitops.yaml"] == "repositories: {}\n"
    _, container, told = worker_of(made)
    folders = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert told["CTRLPLANE_GITOPS_PLACEMENT"] == "/etc/ctrlplane-stream/gitops.yaml"
    assert str(Path(told["CTRLPLANE_GITOPS_FOLDER"]).parent) in folders


def test_without_a_broker_there_is_no_worker():
    """As with every other command: none is invented."""
    refused = invoke()
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "no broker is named" in refused.stderr


def test_a_dry_run_prints_what_would_be_applied(placement):
    """Brokers, image, placement with its templates, and rights in each namespace that the placement file has in this cluster, once."""
    options = "--kafka-bootstrap-servers", "kafka:9092", "--image", "registry.example/worker@sha256:1"
    made = dry_run(*options, "--kubernetes-placement", str(placement))
    assert found(made, "ConfigMap", "ctrlplane-stream-settings")["data"]["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"
    assert found(made, "ConfigMap", "ctrlplane-stream-placement")["data"] == {"placement.yaml": PLACEMENT, "cart.yaml": TEMPLATE}
    images = {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in made if each["kind"] in WORKLOADS}
    assert images == {"registry.example/worker@sha256:1"}
    assert sorted(each["metadata"]["namespace"] for each in made if each["kind"] == "Role") == ["shop-staging"]
    leases = found(made, "Deployment", "ctrlplane-stream-leases")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert sorted(leases) == ["--namespace=shop-staging", "leases"]
    named = dry_run(*options, "--kubernetes-placement", str(placement), "--context", "eu")
    assert sorted(each["metadata"]["namespace"] for each in named if each["kind"] == "Role") == ["shop", "shop-staging"]


def test_a_further_cluster_gets_the_rights_and_the_leases_of_its_own_namespaces(placement):
    """Of another context nothing is said, and the worker stays where it is."""
    made = dry_run("--kubernetes-placement", str(placement), "--context", "us", "--without-worker")
    kinds = sorted((each["kind"], each["metadata"].get("namespace")) for each in made if each["kind"] in ("Role", *WORKLOADS))
    assert kinds == [("Deployment", NAMESPACE), ("Role", "shop")]


def test_no_target_lives_where_uninstalling_removes_it(placement):
    """The worker's own namespace is refused in words."""
    result = CliRunner().invoke(main, ["install", "--dry-run", "--kafka-bootstrap-servers", "kafka:9092", "--namespace", NAMESPACE])
    assert result.exit_code == 1
    assert "no target may live in the namespace" in result.output


def test_nothing_is_applied_without_saying_which_image():
    """The one that the manifests name is published nowhere: Pods that can never be pulled are refused before anything is applied."""
    environ = {setting.variable: "" for setting in SETTINGS} | {"KUBECONFIG": "/no/such/file"}
    for arguments in (["--kafka-bootstrap-servers", "kafka:9092"], ["--without-worker"]):
        result = CliRunner().invoke(main, ["install", *arguments, "--namespace", "shop"], env=environ)
        assert result.exit_code == 2
        assert "--image YOUR_REGISTRY/ctrlplane-stream" in result.output


def test_a_template_in_another_folder_cannot_travel(placement):
    """One ConfigMap holds names, no paths."""
    placement.write_text(PLACEMENT.replace("cart.yaml", "templates/cart.yaml"))
    with pytest.raises(PlacementError, match="must lie beside it"):
        manifests(Installation(placement=placement))


def test_what_the_containers_run_and_are_told_is_what_the_program_takes():
    """Every command and option exists, and every variable is a setting's."""
    known = {setting.variable for setting in SETTINGS}
    for manifest in manifests(Installation(namespaces=("shop",))):
        if manifest["kind"] in WORKLOADS:
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            name, *arguments = container["args"]
            command = main.get_command(None, name)
            command.make_context(name, arguments, resilient_parsing=False)
            assert {each["name"] for each in container.get("env", [])} <= known
    assert set(found(manifests(Installation()), "ConfigMap", "ctrlplane-stream-settings")["data"]) <= known


def test_the_kustomize_base_is_the_same_files():
    """Whoever overlays the base gets what ``install`` applies, but for the rights in each namespace, which have a base of their own."""
    base, namespaced = shipped("deploy") / "base", shipped("deploy") / "namespaced"
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in base.glob("*.yaml") if path.name != "kustomization.yaml")
    of_base = [each for name in listed for each in yaml.safe_load_all((base / name).read_text())]
    made = manifests(Installation())
    assert sorted((each["kind"], each["metadata"]["name"]) for each in of_base) == sorted((m["kind"], m["metadata"]["name"]) for m in made)
    assert yaml.safe_load((namespaced / "kustomization.yaml").read_text())["resources"] == ["rights.yaml"]
