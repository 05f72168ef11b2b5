"""The objects of a version: what is set where the template says nothing, and names that never meet."""

import copy

import pytest

from ctrlplane_stream.actuators.kubernetes.manifests import companions, owned_by, service, workload
from ctrlplane_stream.actuators.kubernetes.objects import Kind, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.local.control_plane.scene import job_template, template, version
from ctrlplane_stream.model.identity import Target

TARGET = Target("staging", "shop/cart")
ONE = version("shop/cart", 1, 0)


def config_map(name: str):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def test_copies_of_config_maps_with_long_names_that_begin_alike_are_two_and_each_is_referred_to():
    names = [f"a-rather-long-name-of-a-configuration-that-goes-on-and-on-{end}" for end in ("one", "two")]
    (deployment,) = template()
    spec = deployment["spec"]["template"]["spec"]
    spec["containers"][0]["envFrom"] = [{"configMapRef": {"name": name}} for name in (*names, "short")]
    place = Place("shop", "shop-cart", (deployment, *map(config_map, (*names, "short"))))
    made = workload(place, TARGET, ONE)
    copies = [name_of(each) for kind, each in companions(place, TARGET, ONE) if kind is Kind.CONFIG_MAP][:3]
    assert len(set(copies)) == 3
    assert max(map(len, copies)) <= 63
    assert copies[2] == "shop-cart-v1-short"
    referred = made["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert [each["configMapRef"]["name"] for each in referred][:3] == copies


OUTER = {"externalTrafficPolicy": "Local", "externalIPs": ["192.0.2.2"]}
EXPORTED = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "healthCheckNodePort": 30001}
WAYS_IN = {
    "a port of nodes": EXPORTED | OUTER | {"type": "NodePort"},
    "a load balancer": OUTER | {"type": "LoadBalancer", "loadBalancerIP": "192.0.2.1", "loadBalancerSourceRanges": ["0.0.0.0/0"]},
    "a name elsewhere": {"type": "ExternalName", "externalName": "cart.example"},
}


@pytest.mark.parametrize("way", WAYS_IN.values(), ids=WAYS_IN)
def test_the_service_of_a_version_leads_to_its_pods_and_has_nothing_that_only_one_may_have_nor_a_way_from_outside(way):
    """Its addresses are its own, as one reads that was exported; by a way from outside a candidate would be reached past the weights."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30002}]
    base = {"kind": "Service", "metadata": {"name": "cart"}, "spec": {**way, "sessionAffinity": "ClientIP", "ports": ports}}
    made = service(Place("shop", "shop-cart", (*template(), base)), "#1", {"a": "b"})["spec"]
    kept = [{"name": "http", "port": 80, "targetPort": 8080}]
    assert made == {"sessionAffinity": "ClientIP", "ports": kept, "selector": {"a": "b"}}
    assert base["spec"]["ports"][0]["nodePort"] == 30002, "a template is not changed by use"


def test_a_version_of_a_paused_deployment_is_not_paused():
    """As one reads that was exported while somebody held it: it would never have a Pod."""
    (deployment,) = template()
    deployment["spec"]["paused"] = True
    assert "paused" not in workload(Place("shop", "shop-cart", (deployment,)), TARGET, ONE)["spec"]


def test_a_job_is_made_suspended_without_overlap_or_making_up_and_the_templates_own_word_stands():
    (silent,) = job_template()
    place = Place("shop", "shop-cart", (silent,))
    made = workload(place, TARGET, ONE)["spec"]
    assert (made["suspend"], made["concurrencyPolicy"], made["startingDeadlineSeconds"]) == (True, "Forbid", 60)
    said = copy.deepcopy(silent)
    said["spec"] |= {"concurrencyPolicy": "Replace", "startingDeadlineSeconds": 900, "suspend": False}
    made = workload(Place("shop", "shop-cart", (said,)), TARGET, ONE)["spec"]
    assert (made["suspend"], made["concurrencyPolicy"], made["startingDeadlineSeconds"]) == (True, "Replace", 900)
    assert silent == job_template()[0], "a template is not changed by use"


def test_what_a_job_owns_is_owned_by_its_cron_job_and_its_jobs_and_pods_are_found_by_our_labels():
    place = Place("shop", "shop-cart", (*job_template(), config_map("files")))
    made = workload(place, TARGET, ONE)
    made["metadata"]["uid"] = "u"
    owned = [(kind, owned_by(made, Kind.CRON_JOB, each)) for kind, each in companions(place, TARGET, ONE)]
    assert {kind for kind, _ in owned} == {Kind.CONFIG_MAP}
    assert {each["metadata"]["ownerReferences"][0]["kind"] for _, each in owned} == {"CronJob"}
    ours = {key: value for key, value in made["metadata"]["labels"].items() if key.startswith("ctrlplane-stream.dev/")}
    job = made["spec"]["jobTemplate"]
    assert ours.items() <= job["metadata"]["labels"].items()
    assert ours.items() <= job["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("base", "standby"), [(template, False), (template, True), (job_template, False)])
def test_a_version_tells_argo_cd_that_it_is_no_leftover_whatever_the_template_tells_it(base, standby):
    """A template may be what Argo CD syncs: with the label by which it knows an Application's objects, and with options of its own."""
    (labelled,) = base()
    labelled["metadata"]["labels"]["app.kubernetes.io/instance"] = "shop"
    labelled["metadata"]["annotations"] = {"argocd.argoproj.io/sync-options": "Prune=confirm", "kept": "yes"}
    metadata = workload(Place("shop", "shop-cart", (labelled,)), TARGET, ONE, standby=standby)["metadata"]
    assert metadata["labels"]["app.kubernetes.io/instance"] == "shop"
    assert metadata["annotations"]["kept"] == "yes"
    assert metadata["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert metadata["annotations"]["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
