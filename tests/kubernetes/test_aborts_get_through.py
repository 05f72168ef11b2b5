"""An abort makes nothing, so nothing that a release is refused for stops it: neither its template nor its way."""

import asyncio
import base64
import os
from collections.abc import Callable

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.scene import (
    command,
    job_template,
    kubernetes,
    route,
    routed_place,
    settled,
    template,
    version,
)
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, OutcomeStatus, OverrideRequested, OverrideVerb
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.simulation.loop import catalog, service
from tests.kubernetes.engine_on_cluster import POLICY, EngineOnCluster
from tests.kubernetes.playing import TARGET, play_workers

SERVICE = "shop/cart"
ABORT = OverrideRequested("o1", OverrideVerb.ABORT, "ada", "enough", service="cart")
SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "cart"},
    "spec": {"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "cart"}},
}
SHARED = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "cart"},
    "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80}]},
}


def large():
    """A template with more in ConfigMaps than a target's memory holds, however it is packed."""
    files = [base64.b64encode(os.urandom(750_000)).decode() for _ in range(2)]
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"f{n}"}, "data": {"x": x}} for n, x in enumerate(files)]
    return (*template(), *maps)


def refused_by_the_server():
    (made,) = template()
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 99999}]
    return (made,)


WITH_ANOTHER_TEMPLATE = {
    "too large": (large, False),
    "none": (tuple, False),
    "a job's": (job_template, False),
    "too large, and the memory deleted": (large, True),
    "none, and the memory deleted": (tuple, True),
}


@pytest.mark.parametrize(("after", "forgotten"), WITH_ANOTHER_TEMPLATE.values(), ids=WITH_ANOTHER_TEMPLATE)
def test_an_abort_goes_by_what_is_there_whatever_template_the_placement_has_by_then(lab, after, forgotten):
    """The worker was started with one of which no version could be made."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)
    before = routed_place(namespace, SERVICE)

    async def doing(worker, admin):
        await worker(before).apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await worker(before).apply(*command(TARGET, 2, version(SERVICE, 1, 90), version(SERVICE, 2, 10)))
        await settled(worker(before), TARGET, {"#1": 90, "#2": 10})
        if forgotten:
            metadata = (await admin.get(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart"))["metadata"]
            await admin.delete(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart", metadata["uid"], metadata["resourceVersion"])
        actuator = worker(msgspec.structs.replace(before, template=after()))
        both = version(SERVICE, 1, 100), version(SERVICE, 2, 0)
        assert (await actuator.apply(*command(TARGET, 3, *both, version(SERVICE, 3, 0), verb=Verb.PREPARE))).status is OutcomeStatus.REFUSED
        assert (await actuator.apply(*command(TARGET, 4, *both))).status is OutcomeStatus.APPLIED
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})

    play_workers(lab, doing)


@pytest.mark.parametrize("what", ["gone", "choosing others"])
def test_where_their_service_is_lost_pods_are_taken_back_and_given_no_more(lab, what):
    """It is its owner's, and was deleted or sent elsewhere in the middle of a rollout: an abort moves Pods alone."""
    namespace = lab.namespace()
    lab.apply([SHARED], namespace)

    async def doing(worker, admin):
        actuator = worker(by_shares(routed_place(namespace, SERVICE, replicas=4)))
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await actuator.apply(*command(TARGET, 2, version(SERVICE, 1, 75), version(SERVICE, 2, 25)))
        await settled(actuator, TARGET, {"#1": 75, "#2": 25})
        if what == "gone":
            metadata = (await admin.get(Kind.SERVICE, namespace, "cart"))["metadata"]
            await admin.delete(Kind.SERVICE, namespace, "cart", metadata["uid"], metadata["resourceVersion"])
        else:
            await admin.patch(Kind.SERVICE, namespace, "cart", [{"op": "add", "path": "/spec/selector/tier", "value": "front"}])
        more = await actuator.apply(*command(TARGET, 3, version(SERVICE, 1, 50), version(SERVICE, 2, 50)))
        assert more.status is OutcomeStatus.REFUSED
        said = "there is no Service cart" if what == "gone" else "chooses Pods by tier=front, which the Pods of #1 do not have"
        assert said in more.reason
        assert (await actuator.apply(*command(TARGET, 4, version(SERVICE, 1, 100), version(SERVICE, 2, 0)))).status is OutcomeStatus.APPLIED
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})

    play_workers(lab, doing)


class Case(msgspec.Struct):
    """A place where the version that is pushed is refused; ``before``: where another was made first. ``kind``: of the service."""

    refused: Callable[[Place], Place]
    before: bool = False
    kind: ServiceKind = ServiceKind.ROUTED
    in_place: bool = False


def by_route(place):
    """As the places of these tests are: the first of a rule that is there."""
    return place


def by_shares(place):
    return msgspec.structs.replace(place, route=None, service="cart")


def alone(place):
    """A consumer's, or a job's."""
    return msgspec.structs.replace(place, route=None)


def made_from(made, way=by_route):
    """A place with that template."""
    return lambda place: msgspec.structs.replace(way(place), template=made)


REFUSED = {
    "no rule of that name": Case(lambda place: msgspec.structs.replace(place, route=Route("later", "main"))),
    "no Service of that name": Case(lambda place: msgspec.structs.replace(by_shares(place), service="later")),
    "no way at all": Case(alone),
    "no CronJob for a job": Case(alone, kind=ServiceKind.JOB),
    "a template that is too large": Case(made_from(large()), before=True),
    "no template": Case(made_from(()), before=True),
    "a template that the server refuses": Case(made_from(refused_by_the_server()), before=True),
    "the same, behind a Service": Case(made_from(refused_by_the_server(), by_shares), before=True),
    "the same, of a consumer": Case(made_from(refused_by_the_server(), alone), before=True, kind=ServiceKind.CONSUMER),
    "the same, in place": Case(made_from(refused_by_the_server()), before=True, in_place=True),
    "an autoscaler behind a Service": Case(made_from((*template(), SCALER), by_shares), before=True),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_release_that_is_refused_is_aborted_and_the_next_one_goes_on(lab, case):
    """What was never made is not made to be parked: the abort would be refused for what the release was, and keep all that come after it
    waiting."""
    namespace, target = lab.namespace(), Target("production", "cart")
    lab.apply([route("cart", ["main"]), SHARED], namespace)
    whole = routed_place(namespace, "cart")
    bad = case.refused(whole)
    good = msgspec.structs.replace(whole, route=whole.route if bad.route or not bad.service else None, service=bad.service and "cart")
    good = alone(good) if case.kind is not ServiceKind.ROUTED else good
    here = [good]
    policy = msgspec.structs.replace(POLICY, in_place=case.in_place)
    entry = service("cart", policy, case.kind, actuator="kubernetes", images=("registry.example/well",))

    async def run():
        async with lab.product() as cluster:
            engine = EngineOnCluster(("cart",), lambda: kubernetes(cluster, (target, here[0])))
            try:
                engine.give(CatalogApplied(catalog(entry), "h2", "tests"))
                if case.before:
                    engine.push("cart", 1)
                    await engine.until(lambda: engine.ended(1), "the first version bakes")
                here[0] = bad
                await engine.close()  # Another worker goes on.
                engine.push("cart", 2)
                await engine.until(lambda: "refused" in "".join(engine.driver.rollouts[-1].stuck), "the second is refused")
                engine.give(ABORT)
                await engine.until(lambda: engine.driver.rollouts[-1].phase is Phase.REVERTED, "the abort ends")
                if case.kind is ServiceKind.JOB:
                    return
                here[0] = good
                await engine.close()
                engine.push("cart", 3)
                await engine.until(lambda: engine.driver.rollouts[-1].phase is Phase.COMPLETED, "the third bakes")
            finally:
                await engine.close()

    asyncio.run(run())


def test_a_release_that_is_refused_goes_on_by_itself_once_what_it_lacked_is_there(lab):
    """Nobody says anything to the engine: the worker is given the template, or the cluster the rule."""
    namespace, target = lab.namespace(), Target("production", "cart")
    lab.apply([route("cart", ["other"])], namespace)
    here = [routed_place(namespace, "cart")]

    async def run():
        async with lab.product() as cluster:
            engine = EngineOnCluster(("cart",), lambda: kubernetes(cluster, (target, here[0])))
            try:
                engine.push("cart", 1)
                await engine.until(lambda: "no rule named main" in "".join(engine.driver.rollouts[-1].stuck), "the first is refused")
                await asyncio.to_thread(lab.apply, [route("cart", ["main"])], namespace)
                await engine.until(lambda: engine.ended(1), "the first version bakes")
                here[0] = made_from(refused_by_the_server())(here[0])
                await engine.close()
                engine.push("cart", 2)
                await engine.until(lambda: "refused" in "".join(engine.driver.rollouts[-1].stuck), "the second is refused")
                here[0] = made_from(template())(here[0])
                await engine.close()
                await engine.until(lambda: engine.ended(2), "the second version bakes")
                assert [each.phase for each in engine.driver.rollouts] == [Phase.COMPLETED] * 2
            finally:
                await engine.close()

    asyncio.run(run())
