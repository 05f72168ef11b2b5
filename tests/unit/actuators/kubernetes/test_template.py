"""From a template to a version's Pods: what is filled in, what is kept, what is turned to the version's own copies."""

import copy

from ctrlplane_stream.actuators.kubernetes.template import configuration_data, pod_spec
from ctrlplane_stream.model.identity import Artifact, Target
from ctrlplane_stream.model.world import Capacity, WantedVersion

TARGET = Target("production", "shop/cart")
VERSION = WantedVersion("#3", Artifact("shop/cart", "registry.example/cart", "sha256:" + "a" * 64), {"colour": "red"}, Capacity.FULL, 0)


def made(spec, **options):
    """The Pod spec of version #3."""
    given = {"container": None, "copies": {}, "configuration": None, "standby": False} | options
    return pod_spec(spec, TARGET, VERSION, **given)


def attributes(container):
    """OTEL_RESOURCE_ATTRIBUTES as a dictionary."""
    text = next(each["value"] for each in container["env"] if each["name"] == "OTEL_RESOURCE_ATTRIBUTES")
    return dict(pair.split("=", 1) for pair in text.split(","))


def test_the_container_named_like_the_service_gets_the_image_and_the_others_keep_theirs():
    """Else the first one; a placement may name another."""
    spec = {"containers": [{"name": "proxy", "image": "p"}, {"name": "cart", "image": "c"}]}
    assert [each["image"] for each in made(spec)["containers"]] == ["p", str(VERSION.artifact)]
    assert [each["image"] for each in made(spec, container="proxy")["containers"]] == [str(VERSION.artifact), "c"]


def test_whatever_runs_the_same_image_gets_the_versions_too():
    """Migrations before the start, a worker beside it: an older image there would be another version of the same program."""
    same, other = {"image": "registry.example/cart:1"}, {"image": "registry.example/proxy:1"}
    spec = {
        "containers": [{"name": "cart", **same}, {"name": "worker", **same}, {"name": "proxy", **other}],
        "initContainers": [{"name": "migrations", **same}, {"name": "agent", "restartPolicy": "Always", **other}],
    }
    after = made(spec, configuration="mine")
    assert [each["image"] for each in after["containers"]] == [str(VERSION.artifact), str(VERSION.artifact), other["image"]]
    assert [each["image"] for each in after["initContainers"]] == [str(VERSION.artifact), other["image"]]
    for each in after["initContainers"]:
        assert attributes(each)["ctrlplane.version"] == "%233"
        assert each["envFrom"] == [{"configMapRef": {"name": "mine"}}]


def test_a_container_of_another_image_keeps_its_own_name_and_is_told_its_pods_version():
    """Given the service's name, the spans of a proxy or an agent beside it would count as the service's."""
    same, other = {"image": "registry.example/cart:1"}, {"image": "registry.example/proxy:1"}
    theirs = {"env": [{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "service.name=edge"}]}
    spec = {
        "containers": [{"name": "cart", **same}, {"name": "worker", **same}, {"name": "proxy", **other, **theirs}],
        "initContainers": [{"name": "migrations", **same}, {"name": "agent", "restartPolicy": "Always", **other}],
    }
    after = made(spec)
    named = {
        each["name"]: [variable["value"] for variable in each["env"] if variable["name"] == "OTEL_SERVICE_NAME"]
        for each in [*after["containers"], *after["initContainers"]]
    }
    assert named == {"cart": ["cart"], "worker": ["cart"], "proxy": [], "migrations": ["cart"], "agent": []}
    assert {attributes(each)["ctrlplane.version"] for each in [*after["containers"], *after["initContainers"]]} == {"%233"}
    assert attributes(after["containers"][2])["service.name"] == "edge"


def test_our_version_outranks_what_the_template_says_and_the_rest_of_it_stays():
    """The template's own attributes stay, but for the version."""
    env = [{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "team=shop, ctrlplane.version=%239,service.namespace=other"}]
    (container,) = made({"containers": [{"name": "cart", "env": env}]})["containers"]
    found = attributes(container)
    assert found == {
        "team": "shop",
        "service.namespace": "other",
        "deployment.environment.name": "production",
        "service.instance.id": "$(CTRLPLANE_POD)",
        "ctrlplane.version": "%233",
    }
    names = [each["name"] for each in container["env"]]
    assert names.index("CTRLPLANE_POD") < names.index("OTEL_RESOURCE_ATTRIBUTES"), "a variable is expanded only after its own"


def test_every_reference_to_a_copied_config_map_is_turned_to_the_copy():
    """envFrom, env, volumes and projected volumes, of init containers too; others are left alone."""
    spec = {
        "containers": [
            {"name": "cart", "envFrom": [{"configMapRef": {"name": "a"}}, {"configMapRef": {"name": "b"}}], "env": []},
        ],
        "initContainers": [{"name": "i", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}}]}],
        "volumes": [{"name": "v", "configMap": {"name": "a"}}, {"name": "w", "projected": {"sources": [{"configMap": {"name": "a"}}]}}],
    }
    before = copy.deepcopy(spec)
    after = made(spec, copies={"a": "mine"})
    assert spec == before, "a template is not changed by use"
    assert [each["configMapRef"]["name"] for each in after["containers"][0]["envFrom"]] == ["mine", "b"]
    assert after["initContainers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == "mine"
    assert after["volumes"][0]["configMap"]["name"] == "mine"
    assert after["volumes"][1]["projected"]["sources"][0]["configMap"]["name"] == "mine"


def test_configuration_has_the_names_that_every_actuator_gives_it():
    """``CONFIG_`` and the key in upper case, as for local processes."""
    assert configuration_data({"colour": "red", "max-items": "3"}) == {"CONFIG_COLOUR": "red", "CONFIG_MAX_ITEMS": "3"}
