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


def test_the_services_of_two_versions_have_nothing_that_only_one_service_may_have():
    """As a Service reads that was exported from a cluster: its addresses and ports of nodes are its own."""
    exported = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "healthCheckNodePort": 30001, "externalTrafficPolicy": "Local"}
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30002}]
    base = {"kind": "Service", "metadata": {"name": "cart"}, "spec": {**exported, "type": "NodePort", "ports": ports}}
    made = service(Place("shop", "shop-cart", (*template(), base)), "#1", {"a": "b"})["spec"]
    assert made == {
        "externalTrafficPolicy": "Local",
        "type": "NodePort",
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        "selector": {"a": "b"},
    }
    assert base["spec"]["ports"][0]["nodePort"] == 30002, "a template is not changed by use"


def test_no_version_has_a_load_balancer_or_an_outer_address_of_its_own():
    """It would be reached past the weights, a candidate without any too, and cost as much as the one of the service."""
    outer = {"externalTrafficPolicy": "Local", "loadBalancerIP": "192.0.2.1", "loadBalancerSourceRanges": ["0.0.0.0/0"]}
    spec = {**outer, "type": "LoadBalancer", "externalIPs": ["192.0.2.2"], "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}
    base = {"kind": "Service", "metadata": {"name": "cart"}, "spec": spec}
    made = service(Place("shop", "shop-cart", (*template(), base)), "#1", {"a": "b"})["spec"]
    assert made == {"sessionAffinity": "ClientIP", "ports": [{"port": 80}], "selector": {"a": "b"}}


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
