"""What an installation consists of, and that its manifests say what the program understands."""

import pytest
import yaml
from click.testing import CliRunner

from ctrlplane_stream.actuators.kubernetes.installation import NAMESPACE, Installation, manifests
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError
from ctrlplane_stream.cli import main
from ctrlplane_stream.settings import SETTINGS
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


def dry_run(*arguments):
    """What ``install --dry-run`` prints, parsed."""
    environ = {setting.variable: "" for setting in SETTINGS}
    result = CliRunner().invoke(main, ["install", "--dry-run", *arguments], env=environ)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def test_a_dry_run_prints_what_would_be_applied(placement):
    """Brokers, image, placement with its templates, and rights in each namespace of the placement file, once."""
    options = "--kafka-bootstrap-servers", "kafka:9092", "--image", "registry.example/worker@sha256:1"
    made = dry_run(*options, "--kubernetes-placement", str(placement))
    assert found(made, "ConfigMap", "ctrlplane-stream-settings")["data"]["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"
    assert found(made, "ConfigMap", "ctrlplane-stream-placement")["data"] == {"placement.yaml": PLACEMENT, "cart.yaml": TEMPLATE}
    images = {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in made if each["kind"] == "Deployment"}
    assert images == {"registry.example/worker@sha256:1"}
    assert sorted(each["metadata"]["namespace"] for each in made if each["kind"] == "Role") == ["shop", "shop-staging"]
    leases = found(made, "Deployment", "ctrlplane-stream-leases")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert sorted(leases) == ["--namespace=shop", "--namespace=shop-staging", "leases"]


def test_a_further_cluster_gets_the_rights_and_the_leases_of_its_own_namespaces(placement):
    """Of another context nothing is said, and the worker stays where it is."""
    made = dry_run("--kubernetes-placement", str(placement), "--context", "us", "--without-worker")
    kinds = sorted((each["kind"], each["metadata"].get("namespace")) for each in made if each["kind"] in ("Role", "Deployment"))
    assert kinds == [("Deployment", NAMESPACE), ("Role", "shop"), ("Role", "shop-staging")]


def test_no_target_lives_where_uninstalling_removes_it(placement):
    """The worker's own namespace is refused in words."""
    result = CliRunner().invoke(main, ["install", "--dry-run", "--namespace", NAMESPACE])
    assert result.exit_code == 1
    assert "no target may live in the namespace" in result.output


def test_a_template_in_another_folder_cannot_travel(placement):
    """One ConfigMap holds names, no paths."""
    placement.write_text(PLACEMENT.replace("cart.yaml", "templates/cart.yaml"))
    with pytest.raises(PlacementError, match="must lie beside it"):
        manifests(Installation(placement=placement))


def test_what_the_containers_run_and_are_told_is_what_the_program_takes():
    """Every command and option exists, and every variable is a setting's."""
    known = {setting.variable for setting in SETTINGS}
    for manifest in manifests(Installation(namespaces=("shop",))):
        if manifest["kind"] == "Deployment":
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
