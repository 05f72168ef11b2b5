"""What a version is on a cluster: immutable, its own, owned by its Deployment; and nothing of anybody else's touched."""

import asyncio
import base64
import os

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.objects import Kind, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, running, settled, template, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity
from tests.kubernetes.playing import TARGET, play

SERVICE = "shop/cart"
PORT = {"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["other", "main"])], made)
    return made


def test_a_version_is_made_from_the_template_with_its_own_image_configuration_and_label(lab, namespace):
    """Image by digest, our version as a resource attribute, configuration as an immutable ConfigMap, names by service and number."""

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        deployment = await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        assert container["image"] == f"registry.example/well@sha256:{1:064x}"
        assert environment["COLOUR"] == "red"
        assert "ctrlplane.version=%231" in environment["OTEL_RESOURCE_ATTRIBUTES"].split(",")
        assert container["envFrom"] == [{"configMapRef": {"name": "shop-cart-v1-configuration"}}]
        configuration = await admin.get(Kind.CONFIG_MAP, namespace, "shop-cart-v1-configuration")
        assert (configuration["immutable"], configuration["data"]) == (True, {"CONFIG_COLOUR": "c1"})
        assert configuration["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"]
        assert {entry["manager"] for entry in deployment["metadata"]["managedFields"]} >= {"ctrlplane-stream"}

    play(lab, routed_place(namespace, SERVICE), doing)


def test_only_our_rule_of_a_route_changes(lab, namespace):
    """Filters, the other rule and the parents are as their owner left them."""

    async def doing(actuator, admin):
        before = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        after = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]
        assert [(each["name"], each["weight"]) for each in after["rules"][1].pop("backendRefs")] == [("shop-cart-v1", 100)]
        before["rules"][1].pop("backendRefs")
        assert after == before

    play(lab, routed_place(namespace, SERVICE), doing)


def test_a_grpc_route_is_steered_like_any_other(lab, namespace):
    """The kind is the placement's choice; the other route of that name is not touched."""
    lab.apply([{**route("shop-cart", ["main"]), "kind": "GRPCRoute"}], namespace)

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 70), version(SERVICE, 2, 30)))
        await settled(actuator, TARGET, {"#1": 70, "#2": 30})
        (rule,) = (await admin.get(Kind.GRPC_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
        assert [(each["name"], each["weight"]) for each in rule["backendRefs"]] == [("shop-cart-v1", 70), ("shop-cart-v2", 30)]
        assert rule["filters"][0]["type"] == "RequestHeaderModifier"
        untouched = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
        assert [each["backendRefs"][0]["name"] for each in untouched] == ["before", "before"]

    place = routed_place(namespace, SERVICE)
    play(lab, Place(namespace, place.slug, template(), full=2, route=Route("shop-cart", "main", "GRPCRoute"), port=80), doing)


def test_what_is_there_by_our_name_but_not_ours_is_left_alone(lab, namespace):
    """A Deployment of somebody else's by the name of a version is refused, in words, and stays as it is."""
    (other,) = template()
    lab.apply([{**other, "metadata": {"name": "shop-cart-v1"}}], namespace)

    async def doing(actuator, admin):
        before = (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"]
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        assert outcome.status is OutcomeStatus.REFUSED
        assert "not ours" in outcome.reason
        assert (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"] == before

    play(lab, routed_place(namespace, SERVICE), doing)


def test_what_the_api_server_would_refuse_is_refused_before_anything_is_taken(lab, namespace):
    """A template that is invalid is the outcome's reason; no cursor is kept."""
    (bad,) = template()
    bad["spec"]["template"]["spec"]["restartPolicy"] = "Sometimes"

    async def doing(actuator, _):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        assert outcome.status is OutcomeStatus.REFUSED
        assert "restartPolicy" in outcome.reason
        assert (await actuator.observe(TARGET)).cursor is None

    place = routed_place(namespace, SERVICE)
    play(lab, Place(namespace, place.slug, (bad,), full=2, route=place.route, port=80), doing)


def test_a_missing_route_or_rule_is_refused_with_the_remedy(lab, namespace):
    """The command is refused and says what to add."""
    lab.apply([route("other", ["another"])], namespace)

    def refused(name: str, said: str) -> None:
        async def doing(actuator, _):
            outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            assert (outcome.status, said in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome.reason

        play(lab, routed_place(namespace, SERVICE, route_name=name), doing)

    refused("nowhere", f"there is no HTTPRoute {namespace}/nowhere: make it, with a rule named main")
    refused("other", "there is no rule named main in HTTPRoute")


def test_a_deleted_version_takes_all_that_it_owns_along(lab, namespace):
    """Deleting the Deployment of a version deletes its Service and ConfigMaps, and nothing else."""

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), version(SERVICE, 2, 0, Capacity.PARKED), verb=Verb.PARK))
        await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), verb=Verb.DELETE))
        await settled(actuator, TARGET, {"#1": 100})
        for _ in range(200):
            left = [
                each["metadata"]["name"]
                for kind in (Kind.DEPLOYMENT, Kind.SERVICE, Kind.CONFIG_MAP)
                for each in (await admin.select(kind, namespace, selector(routed_place(namespace, SERVICE))))[0]
            ]
            if sorted(left) == ["ctrlplane-shop-cart", "shop-cart-v1", "shop-cart-v1", "shop-cart-v1-configuration"]:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(left)

    play(lab, routed_place(namespace, SERVICE), doing)


def test_a_version_that_something_holds_back_from_being_deleted_holds_up_nothing_else(lab, namespace):
    """Another controller's finalizer, whose controller may be gone for good: commands and looks go on, and the deletion after it."""

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await finalized(admin, ["example.org/audit"])
        assert (await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), verb=Verb.DELETE))).status is OutcomeStatus.APPLIED
        await settled(actuator, TARGET, {"#1": 100})
        assert (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2"))["metadata"]["deletionTimestamp"]
        await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), version(SERVICE, 3, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#3": 0})
        await finalized(admin, [])
        for _ in range(200):
            if await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2") is None:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it is still there")

    async def finalized(admin, finalizers):
        operations = [{"op": "add", "path": "/metadata/finalizers", "value": finalizers}]
        while True:
            try:
                return await admin.patch(Kind.DEPLOYMENT, namespace, "shop-cart-v2", operations)
            except Conflict:
                await asyncio.sleep(0.01)

    play(lab, routed_place(namespace, SERVICE), doing)


LONG = "shop/" + "a-service-whose-name-is-as-long-as-names-get-where-they-grow-by-committee-" * 2


def test_everything_that_a_template_may_have_is_taken_for_a_service_with_a_long_name(lab, namespace):
    """Secrets and pull secrets are named and not read; what is projected, imported and mounted of ConfigMaps is the version's own."""
    target, files = Target("staging", LONG), "cart-files-with-a-name-that-is-long-in-itself-too"
    (base,) = template()
    pods = base["spec"]["template"]["spec"]
    pods |= {"imagePullSecrets": [{"name": "registry"}], "serviceAccountName": "cart"}
    source, own = {"configMap": {"name": files}}, {"configMapRef": {"name": files}}
    pods["volumes"] = [{"name": "all", "projected": {"sources": [source, {"secret": {"name": "cart", "optional": True}}]}}]
    pods["containers"][0] |= {"envFrom": [own, {"secretRef": {"name": "cart", "optional": True}}]}
    pods["containers"].append({"name": "proxy", "image": "registry.example/proxy:1", "env": [{"name": "A", "value": "b"}]})
    pods["initContainers"] = [
        {"name": "migrations", "image": "replaced", "envFrom": [own]},
        {"name": "agent", "image": "registry.example/agent:1", "restartPolicy": "Always"},
    ]
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "cart"}}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    scaler["spec"] = {"minReplicas": 2, "maxReplicas": 5, "behavior": behavior, "scaleTargetRef": {"kind": "Deployment", "name": "cart"}}
    more = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": files}, "data": {"a": "b"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"type": "NodePort", "ports": [PORT]}},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "cart-budget"}, "spec": {"maxUnavailable": 1}},
        scaler,
    ]
    place = routed_place(namespace, LONG, route_name="shop-cart")
    place = Place(namespace, place.slug, (base, *more), full=2, route=place.route, container="cart")

    async def run():
        async with lab.product() as cluster, lab.admin() as admin:
            actuator = kubernetes(cluster, (target, place))
            first, second = (version(LONG, number, 100 * (number == 1)) for number in (1, 2))
            await actuator.apply(*command(target, 1, first))
            await settled(actuator, target, {"#1": 100})
            outcome = await actuator.apply(*command(target, 2, first, second))
            assert outcome.reason == "taken"
            assert [each.failure for each in (await settled(actuator, target, {"#1": 100, "#2": 0})).versions] == [None, None]
            for kind, count in ((Kind.SERVICE, 2), (Kind.CONFIG_MAP, 5), (Kind.AUTOSCALER, 2), (Kind.DISRUPTION_BUDGET, 2)):
                made, _ = await admin.select(kind, namespace, selector(place))
                assert len(made) == count, (kind, [each["metadata"]["name"] for each in made])
            made = (await admin.get(Kind.DEPLOYMENT, namespace, f"{place.slug}-v2"))["spec"]["template"]["spec"]
            copied = next(each for each in (await admin.select(Kind.CONFIG_MAP, namespace))[0] if "v2-cart-files" in str(each["metadata"]))
            name = copied["metadata"]["name"]
            assert made["volumes"][0]["projected"]["sources"][0]["configMap"]["name"] == name
            assert {each["envFrom"][0]["configMapRef"]["name"] for each in (made["containers"][0], made["initContainers"][0])} == {name}
            assert [each["image"].partition("@")[0] for each in made["initContainers"]] == [
                "registry.example/well",
                "registry.example/agent:1",
            ]
            named = [
                each["name"]
                for each in (*made["initContainers"], *made["containers"])
                if any(variable["name"] == "OTEL_SERVICE_NAME" for variable in each["env"])
            ]
            assert named == ["migrations", "cart"]
            assert (await admin.select(Kind.AUTOSCALER, namespace))[0][1]["spec"]["behavior"]["scaleDown"][
                "stabilizationWindowSeconds"
            ] == 60

    asyncio.run(run())


def test_a_template_brings_its_own_config_maps_autoscaler_and_budget_for_each_version(lab, namespace):
    """Copies are immutable and referred to; the autoscaler aims at the version's Deployment and owns its replicas from then on."""
    (base,) = template()
    base["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "cart-files"}}]
    files = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cart-files"}, "data": {"a": "b"}}
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "cart"}}
    scaler["spec"] = {"minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "cart"}}
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "cart"}, "spec": {"maxUnavailable": 1}}

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        copied = await admin.get(Kind.CONFIG_MAP, namespace, "shop-cart-v1-cart-files")
        assert (copied["immutable"], copied["data"]) == (True, {"a": "b"})
        deployment = await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1")
        assert deployment["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == "shop-cart-v1-cart-files"
        assert (await admin.get(Kind.AUTOSCALER, namespace, "shop-cart-v1"))["spec"]["scaleTargetRef"]["name"] == "shop-cart-v1"
        assert await admin.get(Kind.DISRUPTION_BUDGET, namespace, "shop-cart-v1-cart") is not None
        await admin.patch(Kind.DEPLOYMENT, namespace, "shop-cart-v1", [{"op": "add", "path": "/spec/replicas", "value": 4}])
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        seen = await actuator.observe(TARGET)
        assert (seen.edited, seen.version("#1").instances) == (None, 4)

    place = routed_place(namespace, SERVICE)
    play(lab, Place(namespace, place.slug, (base, files, scaler, budget), full=2, route=place.route, port=80), doing)


def test_a_running_deployment_is_adopted_without_a_restart(lab, namespace):
    """ADOPT puts it behind the route as #1: same Pods, same template; then it can be rolled away from and back."""
    (running,) = template(2)
    running["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/well@sha256:{1:064x}"
    running["metadata"] = {"name": "cart", "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    lab.apply([running], namespace)
    place = routed_place(namespace, SERVICE)
    adopting = Place(namespace, place.slug, place.template, route=place.route, port=80, adopt="cart")

    async def pods(admin):
        return sorted(each["metadata"]["uid"] for each in (await admin.select(Kind.POD, namespace, "app=cart"))[0])

    async def doing(actuator, admin):
        while len(await pods(admin)) < 2:
            await asyncio.sleep(0.05)
        before = await pods(admin)
        spec = (await admin.get(Kind.DEPLOYMENT, namespace, "cart"))["spec"]
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), verb=Verb.ADOPT))
        assert outcome.status is OutcomeStatus.APPLIED, outcome
        seen = await settled(actuator, TARGET, {"#1": 100})
        assert seen.version("#1").instances == 2
        after = await admin.get(Kind.DEPLOYMENT, namespace, "cart")
        assert (await pods(admin), after["spec"]) == (before, spec)
        assert after["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        service = await admin.get(Kind.SERVICE, namespace, "shop-cart-v1")
        assert set(service["spec"]["selector"]) == {"app", "pod-template-hash"}
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 50), version(SERVICE, 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})

    play(lab, adopting, doing)


def test_what_is_not_the_version_is_not_adopted(lab, namespace):
    """Another digest than the command's is refused."""
    (running,) = template(1)
    running["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/well@sha256:{7:064x}"
    lab.apply([running], namespace)
    place = routed_place(namespace, SERVICE)

    async def doing(actuator, _):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), verb=Verb.ADOPT))
        assert outcome.status is OutcomeStatus.REFUSED
        assert "runs registry.example/well@" in outcome.reason

    play(lab, Place(namespace, place.slug, place.template, route=place.route, port=80, adopt="cart"), doing)


def test_without_a_gateway_weight_is_a_share_of_pods_behind_one_service(lab, namespace):
    """Whole Pods, rounded down and said so; a candidate without weight stands by where the Service does not find it."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}}
    lab.apply([{**service, "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": 8080}]}}], namespace)

    async def found(admin, versions):
        for _ in range(200):
            pods, _ = await admin.select(Kind.POD, namespace, "app=cart")
            there = sorted(
                p["metadata"]["labels"]["ctrlplane-stream.dev/version"] for p in pods if not p["metadata"].get("deletionTimestamp")
            )
            if there == versions:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(there)

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await found(admin, ["v1"] * 4)
        outcome = await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 70), version(SERVICE, 2, 30)))
        assert "#2 gets 25% instead of 30%" in outcome.reason
        await settled(actuator, TARGET, {"#1": 75, "#2": 25})
        assert outcome.observed.granularity == 25
        await found(admin, ["v1"] * 3 + ["v2"])
        await actuator.apply(*command(TARGET, 4, version(SERVICE, 1, 100), version(SERVICE, 2, 0, Capacity.PARKED)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await found(admin, ["v1"] * 4)

    play(lab, Place(namespace, "shop-cart", template(4), full=4, service="cart"), doing)


@pytest.mark.parametrize(("chosen_by", "said"), [({"app": "cart", "tier": "web"}, "by tier=web"), (None, "has no selector")])
def test_a_service_that_would_not_find_the_versions_pods_is_refused(lab, namespace, chosen_by, said):
    """They would be ready, be given weight, and answer nobody; what is adopted must stand behind it as well."""
    spec = {"ports": [{"port": 80}]} | ({"selector": chosen_by} if chosen_by else {})
    lab.apply([{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": spec}, running()], namespace)

    async def doing(actuator, admin):
        for number, verb in ((1, Verb.SHIFT), (2, Verb.ADOPT)):
            outcome = await actuator.apply(*command(TARGET, number, version(SERVICE, 1, 100), verb=verb))
            assert outcome.status is OutcomeStatus.REFUSED, outcome
            assert said in outcome.reason
        assert (await admin.select(Kind.DEPLOYMENT, namespace, ours))[0] == ()

    ours = selector(Place(namespace, "shop-cart"))
    play(lab, Place(namespace, "shop-cart", template(2), full=2, service="cart", adopt="cart"), doing)


def test_a_consumer_takes_work_by_its_share_of_pods(lab, namespace):
    """A consumer needs neither route nor Service; one that stands by is told so and has no weight."""

    def ordered(sequence, *versions):
        return command(TARGET, sequence, *versions, kind=ServiceKind.CONSUMER)

    async def doing(actuator, admin):
        await actuator.apply(*ordered(1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        standby = await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2-standby")
        names = [each["name"] for each in standby["spec"]["template"]["spec"]["containers"][0]["env"]]
        assert "CTRLPLANE_STANDBY" in names
        await actuator.apply(*ordered(2, version(SERVICE, 1, 50), version(SERVICE, 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        refused = await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        assert refused.status is OutcomeStatus.REFUSED

    play(lab, Place(namespace, "shop-cart", template(4), full=4), doing)


FILES = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}}


def test_a_config_map_of_any_size_that_the_api_server_takes_may_be_in_a_template(lab, namespace):
    """It counts bytes of values, however many of them JSON would escape."""
    big = {**FILES, "data": {"x": '"q"\n' * (1_000_000 // 4)}}

    place = routed_place(namespace, SERVICE)

    async def doing(actuator, admin):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        assert outcome.reason == "taken", outcome
        await settled(actuator, TARGET, {"#1": 100})
        assert (await admin.get(Kind.CONFIG_MAP, namespace, "shop-cart-v1-files"))["data"] == big["data"]

    play(lab, msgspec.structs.replace(place, template=(*place.template, big)), doing)


def test_config_maps_that_are_too_large_together_are_refused_with_what_to_do(lab, namespace):
    """Each fits, and the template with both is more than can be remembered."""
    large = [{**FILES, "metadata": {"name": f"f{n}"}, "data": {"x": base64.b64encode(os.urandom(750_000)).decode()}} for n in range(2)]

    place = routed_place(namespace, SERVICE)

    async def doing(actuator, admin):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        assert (outcome.status, "bytes when packed" in outcome.reason) == (OutcomeStatus.REFUSED, True), outcome
        made = (await admin.select(Kind.CONFIG_MAP, namespace))[0]
        assert [name_of(each) for each in made if name_of(each).startswith(("shop-cart", "ctrlplane"))] == []

    play(lab, msgspec.structs.replace(place, template=(*place.template, *large)), doing)
