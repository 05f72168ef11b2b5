"""Versions beside real autoscalers and disruption budgets: nobody's Pods go when they are needed, and nobody's evictions are blocked."""

import asyncio
from contextlib import suppress

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, running, settled, template, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity
from tests.kubernetes.playing import merge_spec

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)
SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "cart"},
    "spec": {"minReplicas": 1, "maxReplicas": 8, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"}},
}


def budget(name, **spec):
    """A disruption budget."""
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], made)
    return made


def play(lab, namespace, more, doing, adopt=None):
    """Run ``doing(actuator, admin)`` on a target whose template has ``more`` beside its Deployment."""
    place = routed_place(namespace, SERVICE)
    place = msgspec.structs.replace(place, template=(*template(2), *more), adopt=adopt)

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            await doing(kubernetes(cluster, (TARGET, place)), admin)

    asyncio.run(run())


async def until(holds, what):
    """Look until the awaitable that ``holds`` makes is true."""
    for _ in range(600):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


async def scaled(admin, namespace, name, replicas):
    """What an autoscaler does: other replicas."""
    while True:
        try:
            return await admin.patch(Kind.DEPLOYMENT, namespace, name, [{"op": "replace", "path": "/spec/replicas", "value": replicas}])
        except Conflict:
            await asyncio.sleep(0.01)


def test_while_weights_move_an_autoscaler_keeps_what_its_version_needs(lab, namespace):
    """Stable grew to 6: the candidate gets as many before it gets all weight, stable keeps its 6 without load, both are free afterwards."""

    async def minimum(admin, number):
        return (await admin.get(Kind.AUTOSCALER, namespace, f"shop-cart-v{number}"))["spec"]["minReplicas"]

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        await scaled(admin, namespace, "shop-cart-v1", 6)
        assert (await actuator.observe(TARGET)).edited is None
        two = version(SERVICE, 2, 0, Capacity.WEIGHTED)
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), two))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        assert (await minimum(admin, 1), await minimum(admin, 2)) == (6, 1)
        await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 50), version(SERVICE, 2, 50, Capacity.WEIGHTED)))
        seen = await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        assert [each.instances for each in seen.versions] == [6, 3]
        await scaled(admin, namespace, "shop-cart-v1", 2)

        async def whole():
            return (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"]["replicas"] == 6

        await until(whole, "stable has its 6 Pods again")
        await actuator.apply(*command(TARGET, 4, version(SERVICE, 1, 0), version(SERVICE, 2, 100)))
        seen = await settled(actuator, TARGET, {"#1": 0, "#2": 100})
        assert [each.instances for each in seen.versions] == [6, 6]
        parked = command(TARGET, 5, version(SERVICE, 1, 0, Capacity.PARKED), version(SERVICE, 2, 100), verb=Verb.PARK, stable="#2")
        await actuator.apply(*parked)
        await settled(actuator, TARGET, {"#1": 0, "#2": 100})
        assert (await minimum(admin, 1), await minimum(admin, 2)) == (1, 1)

    play(lab, namespace, [SCALER], doing)


def test_an_autoscaler_that_somebody_deleted_is_told_and_made_again_over_that(lab, namespace):
    """Without it nothing would follow the load, and nobody would know."""

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        metadata = (await admin.get(Kind.AUTOSCALER, namespace, "shop-cart-v1"))["metadata"]
        await admin.delete(Kind.AUTOSCALER, namespace, metadata["name"], metadata["uid"], metadata["resourceVersion"])
        edited = await told(actuator)
        assert "HorizontalPodAutoscaler shop-cart-v1 is gone" in edited
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100), over_edit=edited))
        assert (await settled(actuator, TARGET, {"#1": 100})).edited is None
        assert await admin.get(Kind.AUTOSCALER, namespace, "shop-cart-v1") is not None

    play(lab, namespace, [SCALER], doing)


async def told(actuator, before=None):
    """The edit by hand, once there is another than ``before``."""
    async with asyncio.timeout(30.0):
        while (edited := (await actuator.observe(TARGET)).edited) in (before, None):
            await asyncio.sleep(0.02)
    return edited


@pytest.mark.parametrize("adopted", [False, True], ids=["an autoscaler's", "its owner's"])
def test_what_may_be_scaled_by_others_and_was_scaled_to_0_is_told_and_stays_there(lab, namespace, adopted):
    """No autoscaler goes there, so it was a person, who wants it so."""
    lab.apply([running()] if adopted else [], namespace)
    name = "cart" if adopted else "shop-cart-v1"

    async def doing(actuator, admin):
        one = version("cart", 1, 100) if adopted else version(SERVICE, 1, 100)
        await actuator.apply(*command(TARGET, 1, one, verb=Verb.ADOPT if adopted else Verb.SHIFT))
        await settled(actuator, TARGET, {"#1": 100})
        await scaled(admin, namespace, name, 0)
        edited = await told(actuator)
        assert f"Deployment {name} has 0 replicas instead of 2" in edited
        assert (await actuator.apply(*command(TARGET, 2, one, version(SERVICE, 2, 0)))).status is OutcomeStatus.REFUSED
        assert (await admin.get(Kind.DEPLOYMENT, namespace, name))["spec"]["replicas"] == 0
        await actuator.apply(*command(TARGET, 3, one, over_edit=edited))
        assert (await settled(actuator, TARGET, {"#1": 100})).edited is None

    play(lab, namespace, [] if adopted else [SCALER], doing, adopt="cart" if adopted else None)


def test_an_edit_is_told_of_whoever_made_it_after_others_had_scaled(lab, namespace):
    """Of what goes by an object's scale, as autoscalers and ``kubectl scale`` do, the API server keeps no time: that is not the latest."""
    path = Kind.DEPLOYMENT.path(namespace, "shop-cart-v1")

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await merge_spec(lab, f"{path}/scale", {"replicas": 4}, "their-autoscaler")
        await merge_spec(lab, path, {"template": {"metadata": {"annotations": {"restarted": "now"}}}}, "alice")
        first = await told(actuator)
        assert first.startswith("alice at 2")
        assert "their-autoscaler" not in first
        await merge_spec(lab, f"{path}/scale", {"replicas": 0}, "bob")
        second = await told(actuator, first)
        assert second.removeprefix(first).startswith("; then somebody: Deployment shop-cart-v1 has 0 replicas")
        assert "None" not in second

    play(lab, namespace, [SCALER], doing)


@pytest.mark.parametrize(
    ("kind", "name", "change", "said"),
    [
        (Kind.AUTOSCALER, "shop-cart-v1", {"maxReplicas": 3}, "has another maxReplicas"),
        (Kind.AUTOSCALER, "shop-cart-v2", {"scaleTargetRef": {"name": "other"}}, "has another scaleTargetRef"),
        (Kind.DISRUPTION_BUDGET, "shop-cart-v1-cart", {"maxUnavailable": 2}, "has another maxUnavailable"),
        (Kind.DEPLOYMENT, "shop-cart-v2", {"paused": True}, "has another paused"),
        (Kind.SERVICE, "shop-cart-v2", {"sessionAffinity": "ClientIP"}, "has another sessionAffinity, sessionAffinityConfig"),
    ],
    ids=["maximum", "scaled", "budget", "paused", "service"],
)
def test_whatever_somebody_sets_of_what_a_version_is_made_of_is_told(lab, namespace, kind, name, change, said):
    """And stays as it was set, over which the next command goes knowingly."""

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await merge_spec(lab, kind.path(namespace, name), change, "alice")
        edited = await told(actuator)
        assert edited.startswith("alice at 2")
        assert f"{kind.manifest_kind} {name} {said}, by alice at 2" in edited
        assert (await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 100)))).status is OutcomeStatus.REFUSED
        assert (await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 100), over_edit=edited))).status is OutcomeStatus.APPLIED
        assert (await actuator.observe(TARGET)).edited is None

    play(lab, namespace, [SCALER, budget("cart", maxUnavailable=1)], doing)


def test_an_autoscaler_of_somebody_elses_that_counts_the_versions_pods_too_is_refused(lab, namespace):
    """The cluster would scale neither of them. Without it the version's own looks for its load."""
    lab.apply([running(), SCALER], namespace)

    async def conditions(admin, name):
        found = ((await admin.get(Kind.AUTOSCALER, namespace, name)).get("status") or {}).get("conditions") or []
        return {each["type"]: each["reason"] for each in found}

    async def doing(actuator, admin):
        first = version("cart", 1, 100)
        for number, verb in ((1, Verb.SHIFT), (2, Verb.ADOPT)):
            outcome = await actuator.apply(*command(TARGET, number, first, verb=verb))
            assert outcome.status is OutcomeStatus.REFUSED, outcome
            assert "HorizontalPodAutoscaler cart counts the Pods of every version too" in outcome.reason
        while await admin.get(Kind.AUTOSCALER, namespace, "cart") is not None:
            with suppress(Conflict):
                metadata = (await admin.get(Kind.AUTOSCALER, namespace, "cart"))["metadata"]
                await admin.delete(Kind.AUTOSCALER, namespace, "cart", metadata["uid"], metadata["resourceVersion"])
        assert (await actuator.apply(*command(TARGET, 3, first, verb=Verb.ADOPT))).status is OutcomeStatus.APPLIED
        await actuator.apply(*command(TARGET, 4, first, version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})

        async def looked():
            return "ScalingActive" in await conditions(admin, "shop-cart-v2")

        await until(looked, "the version's autoscaler looks for its load")
        assert (await conditions(admin, "shop-cart-v2"))["ScalingActive"] != "AmbiguousSelector"
        await asyncio.to_thread(lab.apply, [SCALER | {"metadata": {"name": "back"}}], namespace)

        async def ambiguous():
            return (await conditions(admin, "shop-cart-v2"))["ScalingActive"] == "AmbiguousSelector"

        await until(ambiguous, "why it is refused")

    play(lab, namespace, [SCALER], doing, adopt="cart")


def test_an_autoscaler_does_not_go_with_weights_by_shares_of_pods(lab, namespace):
    """Refused in words, before anything is made."""

    async def doing(actuator, _):
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), kind=ServiceKind.CONSUMER))
        assert outcome.status is OutcomeStatus.REFUSED
        assert "autoscaler" in outcome.reason

    play(lab, namespace, [SCALER], doing)


async def evicted(lab, namespace, pod):
    """The status of the API's answer to an eviction, as a node that is drained asks for it."""
    transport = HttpTransport(lab.admin_access)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    reply = await transport.send(Request("POST", Kind.POD.path(namespace, pod) + "/eviction", {}, body))
    await transport.close()
    return reply.status


async def allowed(admin, namespace, name):
    """How many Pods the budget lets go now."""
    there = await admin.get(Kind.DISRUPTION_BUDGET, namespace, name)
    return (there.get("status") or {}).get("disruptionsAllowed")


def test_every_version_has_its_own_disruption_budget(lab, namespace):
    """A budget that spares no Pod holds for each version's own, by the API server's word."""

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        for number in (1, 2):
            pods, _ = await admin.select(Kind.POD, namespace, f"ctrlplane-stream.dev/version=v{number}")
            assert await evicted(lab, namespace, pods[0]["metadata"]["name"]) == 429

    play(lab, namespace, [budget("cart", maxUnavailable=0)], doing)


def test_a_budget_that_is_there_already_is_not_doubled(lab, namespace):
    """Two budgets for one Pod would forbid every eviction: ours is left out, and a node can be drained."""
    lab.apply([budget("theirs", maxUnavailable=1, selector={"matchLabels": {"app": "cart"}})], namespace)

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        assert await admin.get(Kind.DISRUPTION_BUDGET, namespace, "shop-cart-v1-cart") is None
        assert (await actuator.observe(TARGET)).edited is None

        async def one():
            return await allowed(admin, namespace, "theirs") == 1

        await until(one, "the budget allows one")
        pods, _ = await admin.select(Kind.POD, namespace, "app=cart")
        assert await evicted(lab, namespace, pods[0]["metadata"]["name"]) == 201

    play(lab, namespace, [budget("cart", maxUnavailable=1)], doing)
