"""People with kubectl, leases that run out, and writers that meet: what the cluster remembers and what is left alone."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from ctrlplane_stream.actuators.by_hand import HandRefused
from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.leases import expire_leases, watch_leases
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, HttpTransport, Request
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity
from tests.kubernetes.playing import merge_spec

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], made)
    return made


def pair(stable: int):
    """#1 and #2 with the traffic split so."""
    return version(SERVICE, 1, stable), version(SERVICE, 2, 100 - stable)


@asynccontextmanager
async def at_weights(lab, namespace, stable: int, lease: float = 60.0, replicas: int = 2, **how):
    """The actuator at these weights, its client, and the administrator's; ``how`` instances are exchanged is the commands'."""
    async with lab.product() as cluster, lab.admin() as admin:
        actuator = kubernetes(cluster, (TARGET, routed_place(namespace, SERVICE, replicas=replicas)))
        await actuator.apply(*command(TARGET, 1, *pair(100), **how))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        if stable != 100:
            await actuator.apply(*command(TARGET, 2, *pair(stable), lease=lease, **how))
            await settled(actuator, TARGET, {"#1": stable, "#2": 100 - stable})
        yield actuator, cluster, admin


async def weights(admin, namespace, name="shop-cart"):
    """What the route gives to #1 and #2."""
    (rule,) = (await admin.get(Kind.HTTP_ROUTE, namespace, name))["spec"]["rules"]
    return [each["weight"] for each in rule["backendRefs"]]


async def kubectl(admin, kind, namespace, name, path, value, *more):
    """What a person's patch does, whatever else writes at the moment."""
    while True:
        try:
            return await admin.patch(kind, namespace, name, [{"op": "replace", "path": path, "value": value}, *more])
        except Conflict:
            await asyncio.sleep(0.01)


async def settled_edit(actuator, after=None):
    """Look until an edit is told, another than ``after``: the API server's cache may not have it at once."""
    async with asyncio.timeout(30.0):
        while (seen := await actuator.observe(TARGET)).edited == after:
            await asyncio.sleep(0.02)
    return seen


def test_a_weight_edited_with_kubectl_is_reported_and_stands(lab, namespace):
    """The edit is seen in percent and in words; commands are refused until one names it, and no lease undoes it."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90, lease=2.0) as (actuator, _, admin):
            backends = [{"name": "shop-cart-v1", "port": 80, "weight": 1}, {"name": "shop-cart-v2", "port": 80, "weight": 3}]
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs", backends)
            seen = await settled_edit(actuator)
            assert {v.label: v.weight for v in seen.versions} == {"#1": 25, "#2": 75}
            assert "HTTPRoute shop-cart rule main has weights shop-cart-v1=1 shop-cart-v2=3" in seen.edited
            await asyncio.sleep(2.5)
            refused = await actuator.apply(*command(TARGET, 3, *pair(100)))
            assert refused.status is OutcomeStatus.REFUSED
            assert await weights(admin, namespace) == [1, 3]
            assert (await actuator.observe(TARGET)).edited == seen.edited
            await actuator.apply(*command(TARGET, 4, *pair(100), over_edit=seen.edited))
            assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None

    asyncio.run(run())


def test_a_second_edit_is_another_edit(lab, namespace):
    """An edit over an edit has words of its own: naming the first does not go over the second."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, admin):
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs/0/weight", 40)
            first = (await settled_edit(actuator)).edited
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs/0/weight", 41)
            second = (await settled_edit(actuator, first)).edited
            assert second.startswith(f"{first}; then ")
            refused = await actuator.apply(*command(TARGET, 3, *pair(100), over_edit=first))
            assert refused.status is OutcomeStatus.REFUSED

    asyncio.run(run())


def test_replicas_scaled_by_hand_and_a_deleted_deployment_are_edits(lab, namespace):
    """Objects count like weights: reported, left alone, and made good only over the edit."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, admin):
            await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v2", "/spec/replicas", 5)
            seen = await settled_edit(actuator)
            assert "Deployment shop-cart-v2 has 5 replicas instead of 2" in seen.edited
            await actuator.apply(*command(TARGET, 3, *pair(80), over_edit=seen.edited))
            await settled(actuator, TARGET, {"#1": 80, "#2": 20})
            gone = await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2")
            metadata = gone["metadata"]
            while True:
                try:
                    await admin.delete(Kind.DEPLOYMENT, namespace, "shop-cart-v2", metadata["uid"], metadata["resourceVersion"])
                    break
                except Conflict:
                    metadata = (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2"))["metadata"]
            seen = await settled_edit(actuator)
            assert "Deployment shop-cart-v2 is gone" in seen.edited
            assert await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2") is None
            await actuator.apply(*command(TARGET, 4, *pair(100), over_edit=seen.edited))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (
            "/api/v1/namespaces/{}/services/shop-cart-v2",
            {"selector": {"app": "other"}},
            "Service shop-cart-v2 leads elsewhere, by kubectl-edit",
        ),
        (
            "/api/v1/namespaces/{}/services/shop-cart-v1",
            {"ports": [{"port": 80, "targetPort": 9}]},
            "Service shop-cart-v1 leads elsewhere, by",
        ),
        (
            "/apis/apps/v1/namespaces/{}/deployments/shop-cart-v2",
            {"template": {"metadata": {"annotations": {"restarted": "now"}}}},
            "Deployment shop-cart-v2 has another template, by kubectl-edit at ",
        ),
    ],
    ids=["selector", "ports", "template"],
)
def test_where_a_service_leads_and_what_a_version_is_are_edited_by_hand_too(lab, namespace, path, change, said):
    """Traffic would go elsewhere and every weight be as it was; and a version would no longer be what was judged."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, _):
            await merge_spec(lab, path.format(namespace), change, "kubectl-edit")
            assert said in (await settled_edit(actuator)).edited
            assert (await actuator.apply(*command(TARGET, 3, *pair(80)))).status is OutcomeStatus.REFUSED

    asyncio.run(run())


def test_replicas_that_a_command_takes_as_somebody_set_them_are_ours_from_then_on(lab, namespace):
    """What was parked was scaled up by hand, ahead of a revert that wants as many: scaled down by hand after that it is another edit."""

    async def run() -> None:
        async with at_weights(lab, namespace, 100) as (actuator, _, admin):
            back = pair(100)
            forth = version(SERVICE, 1, 0), version(SERVICE, 2, 100)
            await actuator.apply(*command(TARGET, 2, *forth))
            await settled(actuator, TARGET, {"#1": 0, "#2": 100})
            parked = version(SERVICE, 1, 0, Capacity.PARKED), version(SERVICE, 2, 100)
            await actuator.apply(*command(TARGET, 3, *parked, verb=Verb.PARK, stable="#2"))
            await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v1", "/spec/replicas", 2)
            edited = (await settled_edit(actuator)).edited
            await actuator.apply(*command(TARGET, 4, *forth, verb=Verb.PREPARE, over_edit=edited))
            await settled(actuator, TARGET, {"#1": 0, "#2": 100})
            await actuator.apply(*command(TARGET, 5, *back))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v1", "/spec/replicas", 0)
            assert "Deployment shop-cart-v1 has 0 replicas instead of 2" in (await settled_edit(actuator)).edited
            assert (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"]["replicas"] == 0

    asyncio.run(run())


def test_of_several_edits_each_is_named_with_who_made_it(lab, namespace):
    """Of several objects, of one in two ways or by two hands, and of one after another that nobody answered: whoever is told of the last
    alone resumes over the others unknowingly. What is taken back is not told as another."""
    where = {kind: kind.path(namespace, name) for kind, name in ((Kind.DEPLOYMENT, "shop-cart-v2"), (Kind.SERVICE, "shop-cart-v2"))}
    template = {"template": {"metadata": {"annotations": {"restarted": "now"}}}}
    backends = [{"name": "shop-cart-v1", "port": 81, "weight": 40}, {"name": "shop-cart-v2", "port": 80, "weight": 10}]

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, admin):
            await merge_spec(lab, where[Kind.DEPLOYMENT], {"replicas": 5, **template}, "alice")
            await merge_spec(lab, where[Kind.SERVICE], {"selector": {"app": "other"}}, "alice")
            await merge_spec(lab, where[Kind.SERVICE], {"ports": [{"port": 80, "targetPort": 9}]}, "bob")
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs", backends)
            first = (await settled_edit(actuator)).edited
            for said in (
                ": Deployment shop-cart-v2 has 5 replicas instead of 2 and has another template, by alice at ",
                ": HTTPRoute shop-cart rule main has weights shop-cart-v1=40 shop-cart-v2=10 and backend shop-cart-v1 of",
                "shop-cart-v1 of rule main has port 81 instead of 80",
                ": Service shop-cart-v2 leads elsewhere, by alice at ",
                " and leads elsewhere, by bob at ",
            ):
                assert said in first
            assert first.count("alice at ") == 3
            await merge_spec(lab, Kind.SERVICE.path(namespace, "shop-cart-v1"), {"selector": {"app": "other"}}, "carol")
            async with asyncio.timeout(30.0):
                while (both := (await actuator.observe(TARGET)).edited) == first:
                    await asyncio.sleep(0.02)
            assert both.startswith(f"{first}; then carol at ")
            await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v2", "/spec/replicas", 2)
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs/0/port", 80)
            assert (await actuator.apply(*command(TARGET, 3, *pair(100), over_edit=first))).status is OutcomeStatus.REFUSED
            assert (await actuator.apply(*command(TARGET, 4, *pair(100), over_edit=both))).status is OutcomeStatus.APPLIED
            assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None

    asyncio.run(run())


def test_a_backend_that_somebody_sends_elsewhere_is_an_edit_though_every_weight_is_as_it_was(lab, namespace):
    """Another port, a filter of its own, a backend twice: told, left alone, and made good by whoever goes over it."""
    ours = [{"name": "shop-cart-v1", "port": 80, "weight": 90}, {"name": "shop-cart-v2", "port": 80, "weight": 10}]
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}]
    edits = (
        ([ours[0], ours[1] | {"port": 81}], "backend shop-cart-v2 of rule main has port 81 instead of 80"),
        ([ours[0] | {"filters": filters}, ours[1]], "backend shop-cart-v1 of rule main has filters"),
        ([ours[0], ours[1] | {"namespace": "legacy"}], "backend shop-cart-v2 of rule main is of namespace legacy"),
        ([ours[0], ours[0], ours[1]], "rule main has a backend twice"),
    )

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, admin):
            for number, (backends, said) in enumerate(edits):
                await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs", backends)
                seen = await settled_edit(actuator)
                assert f"HTTPRoute shop-cart {said}" in seen.edited
                assert (await actuator.apply(*command(TARGET, 3 + 2 * number, *pair(100)))).status is OutcomeStatus.REFUSED
                await actuator.apply(*command(TARGET, 4 + 2 * number, *pair(90), over_edit=seen.edited))
                assert (await settled(actuator, TARGET, {"#1": 90, "#2": 10})).edited is None
                rules = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
                assert [each["port"] for each in rules[0]["backendRefs"]] == [80, 80]

    asyncio.run(run())


def test_a_rule_that_somebody_renamed_is_an_edit_and_moves_no_pods_until_it_is_back(lab, namespace):
    """Requests go by it as before, for all that we know: what it leads to stays, with the lease over, and nothing is confirmed."""

    async def run() -> None:
        async with at_weights(lab, namespace, 75, lease=1.0) as (actuator, cluster, admin):
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/name", "cart")
            edited = (await settled_edit(actuator)).edited
            assert "HTTPRoute shop-cart has lost its rule main" in edited
            for sequence, over in ((3, None), (4, edited)):
                refused = await actuator.apply(*command(TARGET, sequence, *pair(100), over_edit=over))
                assert refused.status is OutcomeStatus.REFUSED
            assert "no rule named main" in refused.reason
            await expire_leases(cluster, namespace, lambda: time.time() + 1_000)
            for number in (1, 2):
                assert (await admin.get(Kind.DEPLOYMENT, namespace, f"shop-cart-v{number}"))["spec"]["replicas"] == 2
            (rule,) = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
            assert [each["weight"] for each in rule["backendRefs"]] == [75, 25]
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/name", "main")
            assert (await actuator.apply(*command(TARGET, 4, *pair(100), over_edit=edited))).status is OutcomeStatus.APPLIED
            assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None

    asyncio.run(run())


@pytest.mark.parametrize("whole", [True, False], ids=["the route as it was before us", "our record alone"])
def test_a_route_that_somebody_put_back_without_our_record_is_an_edit_and_not_taken_over_again(lab, namespace, whole):
    """As ``kubectl replace`` does, or deleting and applying it: nobody looks in between, and it looks like one that was never ours."""

    async def run() -> None:
        async with at_weights(lab, namespace, 75) as (actuator, _, admin):
            there = await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart")
            rules = route("shop-cart", ["main"])["spec"]["rules"] if whole else there["spec"]["rules"]
            await kubectl(
                admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules", rules, {"op": "remove", "path": "/metadata/annotations"}
            )
            seen = await settled_edit(actuator)
            assert "HTTPRoute shop-cart has lost our record of rule main" in seen.edited
            assert {each.label: each.weight for each in seen.versions} == ({"#1": 0, "#2": 0} if whole else {"#1": 75, "#2": 25})
            assert (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"][0]["backendRefs"][0]["name"] == (
                "before" if whole else "shop-cart-v1"
            )
            assert (await actuator.apply(*command(TARGET, 3, *pair(50)))).status is OutcomeStatus.REFUSED
            await actuator.apply(*command(TARGET, 4, *pair(100), over_edit=seen.edited))
            assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None

    asyncio.run(run())


def test_a_copy_of_our_rule_by_the_same_name_is_an_edit_that_an_abort_goes_over_and_no_release(lab, namespace):
    """The API server takes it. Left alone it would send its requests to what it was copied with, also once that is parked."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, admin):
            rules = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
            copied = rules[0] | {"matches": [{"path": {"type": "PathPrefix", "value": "/new"}}]}
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules", [*rules, copied])
            edited = (await settled_edit(actuator)).edited
            assert "HTTPRoute shop-cart has a second rule named main" in edited
            refused = await actuator.apply(*command(TARGET, 3, *pair(50), over_edit=edited))
            assert refused.status is OutcomeStatus.REFUSED
            assert "more than one rule named main" in refused.reason
            await actuator.apply(*command(TARGET, 4, *pair(100), over_edit=edited))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            named = [*rules, copied | {"name": "new"}]
            await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/1/name", named[1]["name"])
            assert (await actuator.apply(*command(TARGET, 5, *pair(50)))).status is OutcomeStatus.APPLIED
            await settled(actuator, TARGET, {"#1": 50, "#2": 50})

    asyncio.run(run())


def test_a_stamp_that_another_cluster_left_keeps_no_abort_away(lab, namespace):
    """A namespace restored from a backup has the annotations of before, and revisions that begin anew."""

    async def run() -> None:
        async with at_weights(lab, namespace, 75) as (actuator, _, admin):
            stamp = "/metadata/annotations/ctrlplane-stream.dev~1stamp"
            await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v1", stamp, "99999999")
            await settled(actuator, TARGET, {"#1": 75, "#2": 25})
            outcome = await actuator.apply(*command(TARGET, 3, *pair(100)))
            assert outcome.status is OutcomeStatus.APPLIED
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})

    asyncio.run(run())


def test_a_version_whose_annotations_somebody_took_away_is_told_of_and_deleted_like_any_other(lab, namespace):
    """As ``kubectl replace`` does. It is known by its labels, and leaves nothing behind."""

    async def run() -> None:
        async with at_weights(lab, namespace, 100) as (actuator, _, admin):
            await admin.patch(Kind.DEPLOYMENT, namespace, "shop-cart-v2", [{"op": "remove", "path": "/metadata/annotations"}])
            edited = (await settled_edit(actuator)).edited
            assert "Deployment shop-cart-v2 has lost our annotations" in edited
            parked = version(SERVICE, 1, 100), version(SERVICE, 2, 0, Capacity.PARKED)
            await actuator.apply(*command(TARGET, 3, *parked, verb=Verb.PARK, over_edit=edited))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await actuator.apply(*command(TARGET, 4, version(SERVICE, 1, 100), verb=Verb.DELETE))
            await settled(actuator, TARGET, {"#1": 100})
            async with asyncio.timeout(30.0):
                while await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2") is not None:
                    await actuator.observe(TARGET)
                    await asyncio.sleep(0.02)

    asyncio.run(run())


@pytest.mark.parametrize("edited", ["replicas", "weights"])
def test_broken_glass_goes_over_an_edit_that_nobody_noted_yet(lab, namespace, edited):
    """Glass is broken where no worker looks. The edit was found after it and stopped it: it was called done, and nothing moved."""

    async def run() -> None:
        async with at_weights(lab, namespace, 50) as (actuator, _, admin):
            if edited == "replicas":
                await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v2", "/spec/replicas", 0)
            else:
                await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/backendRefs/0/weight", 60)
            await actuator.break_glass(TARGET, "bob", "pages are down")
            seen = await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            assert seen.break_glass is not None

    asyncio.run(run())


def test_an_abort_goes_over_labels_that_somebody_took_off_what_serves(lab, namespace):
    """As ``kubectl replace`` does. It was told as somebody else's of our name, and the candidate kept its weight for good."""

    async def run() -> None:
        async with at_weights(lab, namespace, 75) as (actuator, _, admin):
            await kubectl(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v1", "/metadata/labels", {})
            edited = (await settled_edit(actuator)).edited
            uid = (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["metadata"]["uid"]
            await actuator.apply(*command(TARGET, 3, *pair(100), over_edit=edited))
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            assert (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["metadata"]["uid"] == uid

    asyncio.run(run())


@pytest.mark.parametrize("change", ["deleted", "renamed"])
def test_glass_is_not_broken_where_nothing_steers_the_traffic(lab, namespace, change):
    """It is refused in words and changes nothing: whoever sees it done would take the target for served, and the edit is still told."""

    async def run() -> None:
        async with at_weights(lab, namespace, 75) as (actuator, _, admin):
            if change == "renamed":
                await kubectl(admin, Kind.HTTP_ROUTE, namespace, "shop-cart", "/spec/rules/0/name", "other")
            else:
                metadata = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["metadata"]
                await admin.delete(Kind.HTTP_ROUTE, namespace, "shop-cart", metadata["uid"], metadata["resourceVersion"])
            edited = (await settled_edit(actuator)).edited
            missing = "rule named main in HTTPRoute" if change == "renamed" else f"HTTPRoute {namespace}/shop-cart: make it"
            with pytest.raises(HandRefused, match=f"there is no {missing}"):
                await actuator.break_glass(TARGET, "bob", "pages are down")
            seen = await actuator.observe(TARGET)
            assert (seen.edited, seen.break_glass) == (edited, None)

    asyncio.run(run())


def test_a_memory_that_somebody_deleted_is_begun_anew_by_the_next_command_and_moves_nothing_until_then(lab, namespace):
    """It is what is said to do with one that cannot be read. What is there stays as it is, and goes on from there."""

    async def run() -> None:
        async with at_weights(lab, namespace, 75) as (actuator, _, admin):
            metadata = (await admin.get(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart"))["metadata"]
            await admin.delete(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart", metadata["uid"], metadata["resourceVersion"])
            uids = [each["metadata"]["uid"] for each in (await admin.select(Kind.DEPLOYMENT, namespace))[0]]
            async with asyncio.timeout(30.0):
                while (await actuator.observe(TARGET)).versions:
                    await asyncio.sleep(0.02)
            with pytest.raises(HandRefused, match="the memory of staging:shop/cart is gone, and with it what is stable there"):
                await actuator.break_glass(TARGET, "bob", "pages are down")
            await actuator.apply(*command(TARGET, 3, *pair(50)))
            await settled(actuator, TARGET, {"#1": 50, "#2": 50})
            assert [each["metadata"]["uid"] for each in (await admin.select(Kind.DEPLOYMENT, namespace))[0]] == uids

    asyncio.run(run())


def test_a_lease_is_honoured_with_nothing_but_the_api(lab, namespace):
    """The watcher knows neither engine nor placement file, and brings the target to stable by the memory in the namespace."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90, lease=3.0) as (actuator, cluster, admin):
            assert await expire_leases(cluster, namespace) == ()
            watching = asyncio.create_task(watch_leases(cluster, namespace))
            for _ in range(200):
                if await weights(admin, namespace) == [100, 0]:
                    break
                await asyncio.sleep(0.1)
            watching.cancel()
            seen = await actuator.observe(TARGET)
            assert (seen.lease_expired, {v.label: v.weight for v in seen.versions}) == (True, {"#1": 100, "#2": 0})

    asyncio.run(run())


@pytest.mark.parametrize("way", ["by a route", "in place", "exchanged in portions"])
def test_a_lease_brings_a_target_to_stable_with_nobody_else_at_work_however_long_its_pods_take(lab, namespace, way):
    """Stable is not ready when the lease ends, and is a while after; in place its Pods are made one after the other."""
    more = {"in place": {"in_place": True}, "exchanged in portions": {"in_place": True, "surplus_percent": 25}}.get(way, {})

    async def run() -> None:
        async with at_weights(lab, namespace, 50, lease=1_000.0, replicas=4, **more) as (_, cluster, admin):
            lab.kubelet.set_ready("shop-cart-v1", ready=bool(more))
            async with asyncio.timeout(30.0):
                while (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["status"].get("readyReplicas", 0) and not more:
                    await asyncio.sleep(0.05)
            watching = asyncio.create_task(watch_leases(cluster, namespace, lambda: time.time() + 2_000.0))
            try:
                async with asyncio.timeout(60.0):
                    while 'lease_expired":true' not in str((await admin.get(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart"))["data"]):
                        await asyncio.sleep(0.05)
                    lab.kubelet.set_ready("shop-cart-v1", ready=True)
                    while await weights(admin, namespace) != [100, 0]:
                        await asyncio.sleep(0.1)
                    while more and (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"]["replicas"] < 4:
                        await asyncio.sleep(0.1)
            finally:
                watching.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("goal", [100, 0])
def test_a_command_that_is_not_in_force_leaves_no_partial_weight_for_ever_where_its_worker_is_gone(lab, namespace, goal, in_place):
    """An abort and a promotion that were taken and wait for Pods: no wish ends the lease of what is in force until then."""
    more = {"in_place": True} if in_place else {}
    waits_for = "shop-cart-v1" if goal else "shop-cart-v2"

    async def run() -> None:
        async with at_weights(lab, namespace, 50, lease=1_000.0, replicas=4, **more) as (actuator, cluster, admin):
            lab.kubelet.set_ready(waits_for, ready=in_place)
            async with asyncio.timeout(30.0):
                while (await admin.get(Kind.DEPLOYMENT, namespace, waits_for))["status"].get("readyReplicas", 0) and not in_place:
                    await asyncio.sleep(0.05)
            await actuator.apply(*command(TARGET, 3, *pair(goal), **more))
            assert await weights(admin, namespace) not in ([100, 0], [0, 100])
            watching = asyncio.create_task(watch_leases(cluster, namespace, lambda: time.time() + 2_000.0))
            try:
                await asyncio.sleep(0.5)
                lab.kubelet.set_ready("shop-cart-v1", ready=True)
                async with asyncio.timeout(60.0):
                    while await weights(admin, namespace) != [100, 0]:
                        await asyncio.sleep(0.1)
                    while (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"]["replicas"] < 4:
                        await asyncio.sleep(0.1)
            finally:
                watching.cancel()
                lab.kubelet.set_ready(waits_for, ready=True)

    asyncio.run(run())


class Broken(HttpTransport):
    """Changes of the route ``shop-bag`` end in that error before they are made."""

    def __init__(self, access, error):
        super().__init__(access)
        self._error = error

    async def send(self, request):
        if request.method == "PATCH" and request.path.endswith("/shop-bag"):
            raise self._error
        return await super().send(request)


@pytest.mark.parametrize("error", [ConnectionResetError("the connection broke"), KeyError("spec")], ids=["connection lost", "a fault"])
def test_a_lease_that_could_not_be_honoured_keeps_no_other_from_it_and_is_honoured_by_the_next(lab, namespace, error):
    """Noted as run out, and then the watcher lost the API, or met what nobody thought of: the other target is at stable, and a new
    watcher finishes the first."""
    lab.apply([route("shop-bag", ["main"])], namespace)
    bag = Target("staging", "shop/bag")
    places = [(target, routed_place(namespace, target.service)) for target in (bag, TARGET)]

    async def run() -> None:
        async with lab.product() as cluster, lab.product(Broken(lab.product_access, error)) as broken, lab.admin() as admin:
            actuator = kubernetes(cluster, *places)
            for target, _ in places:
                versions = [version(target.service, number, 100 if number == 1 else 0) for number in (1, 2)]
                await actuator.apply(*command(target, 1, *versions))
                await settled(actuator, target, {"#1": 100, "#2": 0})
                await actuator.apply(*command(target, 2, version(target.service, 1, 90), version(target.service, 2, 10), lease=60.0))
            with pytest.raises(ExceptionGroup) as failed:
                await expire_leases(broken, namespace, lambda: time.time() + 100)
            assert [str(each).split(":")[1] for each in failed.value.exceptions] == ["shop/bag"]
            assert (await weights(admin, namespace, "shop-bag"), await weights(admin, namespace)) == ([90, 10], [100, 0])
            await expire_leases(cluster, namespace, lambda: time.time() + 100)
            assert await weights(admin, namespace, "shop-bag") == [100, 0]

    asyncio.run(run())


def test_two_workers_that_write_at_once_end_where_the_later_command_wants_it(lab, namespace):
    """Every command from two clients at once, each many times: the greatest cursor rules, and no conflict escapes."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, _admin), lab.product() as other:
            second = kubernetes(other, (TARGET, routed_place(namespace, SERVICE)))
            commands = [command(TARGET, 10 + step, *pair(100 - step)) for step in range(1, 13)]
            both = [each.apply(*one) for one in commands for each in (actuator, second)]
            outcomes = await asyncio.gather(*both)
            assert {outcome.status for outcome in outcomes} <= {OutcomeStatus.APPLIED, OutcomeStatus.REFUSED}
            seen = await settled(actuator, TARGET, {"#1": 88, "#2": 12})
            assert (seen.cursor.sequence, seen.edited) == (22, None)

    asyncio.run(run())


def test_a_server_that_does_not_answer_is_unreachable_and_back_again(lab, namespace):
    """While the API server is down every verb says so; afterwards the target is as it was."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, _admin):
            lab.plane.kill_api_server()
            try:
                with pytest.raises(WorldUnreachable, match="does not answer"):
                    await actuator.observe(TARGET)
                with pytest.raises(WorldUnreachable):
                    await actuator.apply(*command(TARGET, 3, *pair(80)))
            finally:
                lab.plane.start_api_server()
            await settled(actuator, TARGET, {"#1": 90, "#2": 10})
            await actuator.apply(*command(TARGET, 3, *pair(80)))
            await settled(actuator, TARGET, {"#1": 80, "#2": 20})

    asyncio.run(run())


def test_the_product_can_do_no_more_than_it_needs(lab, namespace):
    """Its own token reads no Secret-like thing, deletes no Pod, no Service and no ConfigMap, and makes no route."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (_, cluster, _admin):
            for doing in (
                cluster.select(Kind.CONFIG_MAP, "kube-system"),
                cluster.delete(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart", "x", "1"),
                cluster.delete(Kind.SERVICE, namespace, "shop-cart-v1", "x", "1"),
                cluster.delete(Kind.POD, namespace, "any", "x", "1"),
                cluster.create(Kind.HTTP_ROUTE, namespace, route("another", ["main"])),
            ):
                with pytest.raises(ApiRefused, match="forbidden"):
                    await doing

    asyncio.run(run())


def test_what_lost_its_owner_is_owned_again_once_a_command_goes_over_it(lab, namespace):
    """A Deployment deleted with its dependents left behind: reported, and then made whole without a second Service or Pod too many."""

    async def run() -> None:
        async with at_weights(lab, namespace, 90) as (actuator, _, admin):
            transport = HttpTransport(lab.admin_access)
            path = Kind.DEPLOYMENT.path(namespace, "shop-cart-v2")
            assert (await transport.send(Request("DELETE", path, {}, {"propagationPolicy": "Orphan"}))).status == 200
            await transport.close()
            while not (seen := await actuator.observe(TARGET)).edited:
                await asyncio.sleep(0.05)
            assert "Deployment shop-cart-v2 is gone" in seen.edited
            await actuator.apply(*command(TARGET, 3, *pair(80), over_edit=seen.edited))
            await settled(actuator, TARGET, {"#1": 80, "#2": 20})
            owner = (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2"))["metadata"]["uid"]
            for kind, name in ((Kind.SERVICE, "shop-cart-v2"), (Kind.CONFIG_MAP, "shop-cart-v2-configuration")):
                owners = (await admin.get(kind, namespace, name))["metadata"]["ownerReferences"]
                assert [each["uid"] for each in owners] == [owner]

    asyncio.run(run())
