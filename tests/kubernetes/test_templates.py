"""A version is made from the template that its catalog names, for ever, whatever file the placement has by then."""

import asyncio
import copy

import msgspec
import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.memory import read_memory
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.placement import read_placements
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.scene import (
    adopting,
    command,
    kubernetes,
    route,
    routed_place,
    running,
    settled,
    template,
    version,
)
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import catalog
from ctrlplane_stream.wire.catalog_file import catalog_hash, read_catalog_file
from ctrlplane_stream.wire.templates import template_name
from tests.kubernetes.engine_on_cluster import POLICY, EngineOnCluster
from tests.kubernetes.playing import TARGET, play_workers

SERVICE = "shop/cart"
SCALER = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "cart"}}


@pytest.fixture
def namespace(lab):
    made = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], made)
    return made


def coloured(colour, *more, replicas=2, port=8080):
    """A template whose Pods are told a colour."""
    (made,) = copy.deepcopy(template(replicas))
    container = made["spec"]["template"]["spec"]["containers"][0]
    container |= {"env": [{"name": "COLOUR", "value": colour}], "ports": [{"containerPort": port}]}
    return made, *more


RED, BLUE = coloured("red"), coloured("blue")
UNSAID = {"full": None, "port": None}
"""A place whose file says neither replicas nor a port: both are the template's."""


def named(made):
    """The template by name and digest."""
    return template_name("cart.yaml", msgspec.json.encode(made))


def at(namespace, made, **said):
    """The place where the worker's file has this template."""
    return msgspec.structs.replace(routed_place(namespace, SERVICE), template=made, named=named(made), **said)


def of(number, made, weight, capacity=Capacity.FULL):
    """The version that the catalog numbered when it named this template."""
    return msgspec.structs.replace(version(SERVICE, number, weight, capacity), template=named(made))


async def colour_of(admin, namespace, number):
    deployment = await admin.get(Kind.DEPLOYMENT, namespace, f"shop-cart-v{number}")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return next(each["value"] for each in container["env"] if each["name"] == "COLOUR")


async def taken_away(admin, kind, namespace, name):
    """Delete an object as a person does, whatever else writes at the moment."""
    while True:
        metadata = (await admin.get(kind, namespace, name))["metadata"]
        try:
            return await admin.delete(kind, namespace, name, metadata["uid"], metadata["resourceVersion"])
        except Conflict:
            await asyncio.sleep(0.01)


async def edit_seen(actuator):
    async with asyncio.timeout(30.0):
        while (seen := await actuator.observe(TARGET)).edited is None:
            await asyncio.sleep(0.02)
    return seen.edited


def test_each_version_is_made_from_its_own_template_and_made_again_from_it(lab, namespace):
    """The worker has the new file by then; the Deployment of the old version, deleted by hand, comes back as it was."""

    async def doing(worker, admin):
        await worker(at(namespace, RED)).apply(*command(TARGET, 1, of(1, RED, 100)))
        await settled(worker(at(namespace, RED)), TARGET, {"#1": 100})
        before = (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"]
        actuator = worker(at(namespace, BLUE, container="cart"))
        await actuator.apply(*command(TARGET, 2, of(1, RED, 100), of(2, BLUE, 0), verb=Verb.PREPARE))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        assert [await colour_of(admin, namespace, number) for number in (1, 2)] == ["red", "blue"]
        await taken_away(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v1")
        edit = await edit_seen(actuator)
        await actuator.apply(*command(TARGET, 3, of(1, RED, 100), of(2, BLUE, 0), over_edit=edit))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        assert (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1"))["spec"] == before

    play_workers(lab, doing)


def test_a_digest_that_nobody_has_is_refused_before_anything_is_taken(lab, namespace):
    """The reason names both digests and what to do; the traffic stays, and an abort goes through."""

    async def doing(worker, admin):
        actuator = worker(at(namespace, RED))
        await actuator.apply(*command(TARGET, 1, of(1, RED, 100)))
        before = await settled(actuator, TARGET, {"#1": 100})
        refused = await actuator.apply(*command(TARGET, 2, of(1, RED, 100), of(2, BLUE, 0), verb=Verb.PREPARE))
        assert refused.status is OutcomeStatus.REFUSED
        for said in (named(RED), named(BLUE), "#2", "`ctrlplane-stream install` ships it"):
            assert said in refused.reason
        assert (await actuator.observe(TARGET)).cursor == before.cursor
        assert await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2") is None
        assert (await actuator.apply(*command(TARGET, 3, of(1, RED, 100)))).status is OutcomeStatus.APPLIED
        assert (
            await worker(at(namespace, BLUE)).apply(*command(TARGET, 4, of(1, RED, 100), of(2, BLUE, 0), verb=Verb.PREPARE))
        ).reason == "taken"

    play_workers(lab, doing)


def test_what_was_deleted_after_its_retention_is_made_again_from_what_it_was_made_from(lab, namespace):
    """A revert to it: the memory keeps the sources of the last versions, and no more."""

    async def doing(worker, admin):
        await worker(at(namespace, RED)).apply(*command(TARGET, 1, of(1, RED, 100)))
        actuator = worker(at(namespace, BLUE))
        await actuator.apply(*command(TARGET, 2, of(1, RED, 100), of(2, BLUE, 0), verb=Verb.PREPARE))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await actuator.apply(*command(TARGET, 3, of(1, RED, 0, Capacity.PARKED), of(2, BLUE, 100), stable="#2"))
        await settled(actuator, TARGET, {"#1": 0, "#2": 100})
        await actuator.apply(*command(TARGET, 4, of(2, BLUE, 100), verb=Verb.DELETE, stable="#2"))
        await settled(actuator, TARGET, {"#2": 100})
        async with asyncio.timeout(30.0):
            while await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1") is not None:
                await asyncio.sleep(0.05)
        await actuator.apply(*command(TARGET, 5, of(1, RED, 0), of(2, BLUE, 100), stable="#2"))
        await settled(actuator, TARGET, {"#1": 0, "#2": 100})
        assert await colour_of(admin, namespace, 1) == "red"
        last = [of(number, BLUE, 100 * (number == 20)) for number in range(11, 21)]
        await actuator.apply(*command(TARGET, 6, of(1, RED, 0), of(2, BLUE, 100), *last[:-1], stable="#2"))
        await actuator.apply(*command(TARGET, 7, of(1, RED, 0, Capacity.PARKED), of(2, BLUE, 0), *last, stable="#20"))
        await settled(actuator, TARGET, {"#1": 0, "#2": 0, **{each.label: each.weight for each in last}})
        await actuator.apply(*command(TARGET, 8, *last, verb=Verb.DELETE, stable="#20"))
        await actuator.observe(TARGET)
        memory = read_memory(await admin.get(Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart"))
        assert (len(memory.sources), len(memory.templates)) == (10, 1)

    play_workers(lab, doing)


def test_replicas_ports_and_autoscaler_are_those_of_each_versions_own_template(lab, namespace):
    """The route reaches each by its own port, and the worker's file has no autoscaler any more."""
    scaler = {**SCALER, "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "cart"}}}
    red, blue = coloured("red", scaler, replicas=1), coloured("blue", replicas=3, port=9090)

    async def doing(worker, admin):
        first, second = worker(at(namespace, red, **UNSAID)), worker(at(namespace, blue, **UNSAID))
        await first.apply(*command(TARGET, 1, of(1, red, 100)))
        await settled(first, TARGET, {"#1": 100})
        await second.apply(*command(TARGET, 2, of(1, red, 50), of(2, blue, 50)))
        seen = await settled(second, TARGET, {"#1": 50, "#2": 50})
        assert seen.version("#2").instances == 3
        (rule,) = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
        assert [each["port"] for each in rule["backendRefs"]] == [8080, 9090]
        assert (await admin.get(Kind.AUTOSCALER, namespace, "shop-cart-v1"))["spec"]["minReplicas"] == 3
        assert await admin.get(Kind.AUTOSCALER, namespace, "shop-cart-v2") is None
        await taken_away(admin, Kind.AUTOSCALER, namespace, "shop-cart-v1")
        assert "HorizontalPodAutoscaler shop-cart-v1 is gone" in await edit_seen(second)

    play_workers(lab, doing)


def test_who_deletes_the_memory_of_what_versions_are_made_from_stops_nothing_that_runs(lab, namespace):
    """What is there goes on and takes weight; what would have to be made again from a template that nobody has is refused alone."""

    async def doing(worker, admin):
        await worker(at(namespace, RED)).apply(*command(TARGET, 1, of(1, RED, 100)))
        actuator = worker(at(namespace, BLUE))
        await actuator.apply(*command(TARGET, 2, of(1, RED, 100), of(2, BLUE, 0), verb=Verb.PREPARE))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await taken_away(admin, Kind.CONFIG_MAP, namespace, "ctrlplane-shop-cart")
        await actuator.apply(*command(TARGET, 3, of(1, RED, 70), of(2, BLUE, 30)))
        assert (await settled(actuator, TARGET, {"#1": 70, "#2": 30})).edited is None
        await taken_away(admin, Kind.DEPLOYMENT, namespace, "shop-cart-v1")
        edit = await edit_seen(actuator)
        outcome = await actuator.apply(*command(TARGET, 4, of(1, RED, 70), of(2, BLUE, 30), over_edit=edit))
        assert named(RED) in outcome.reason
        assert await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v1") is None

    play_workers(lab, doing)


def test_what_is_adopted_has_the_template_that_the_catalog_named_then(lab, namespace):
    """It is replaced by one of our own where somebody takes it away."""
    lab.apply([running()], namespace)

    async def doing(worker, admin):
        async with asyncio.timeout(30.0):
            while not ((await admin.get(Kind.DEPLOYMENT, namespace, "cart")).get("status") or {}).get("readyReplicas"):
                await asyncio.sleep(0.05)
        refused = await worker(adopting(at(namespace, BLUE))).apply(*command(TARGET, 1, of(1, RED, 100), verb=Verb.ADOPT))
        assert named(RED) in refused.reason
        await worker(adopting(at(namespace, RED))).apply(*command(TARGET, 1, of(1, RED, 100), verb=Verb.ADOPT))
        actuator = worker(adopting(at(namespace, BLUE)))
        await settled(actuator, TARGET, {"#1": 100})
        await taken_away(admin, Kind.DEPLOYMENT, namespace, "cart")
        edit = await edit_seen(actuator)
        await actuator.apply(*command(TARGET, 2, of(1, RED, 100), over_edit=edit))
        await settled(actuator, TARGET, {"#1": 100})
        assert await colour_of(admin, namespace, 1) == "red"

    play_workers(lab, doing)


@pytest.mark.parametrize("of_kubectl", [{}, {"kubectl.kubernetes.io/last-applied-configuration": "{}"}], ids=["", "applied"])
def test_a_template_that_was_read_from_what_was_adopted_makes_versions_that_are_not(lab, namespace, of_kubectl):
    """It is what one has at hand: with our annotations of the adopted Deployment, and those of the cluster."""
    before = running()
    before["metadata"]["annotations"] = {"kept": "yes", **of_kubectl}
    lab.apply([before], namespace)
    one, two = version(SERVICE, 1, 50), version(SERVICE, 2, 50)

    async def doing(worker, admin):
        async with asyncio.timeout(30.0):
            while not ((await admin.get(Kind.DEPLOYMENT, namespace, "cart")).get("status") or {}).get("readyReplicas"):
                await asyncio.sleep(0.05)
        whole = msgspec.structs.replace(one, weight=100)
        await worker(adopting(at(namespace, RED))).apply(*command(TARGET, 1, whole, verb=Verb.ADOPT))
        await settled(worker(adopting(at(namespace, RED))), TARGET, {"#1": 100})
        dumped = await admin.get(Kind.DEPLOYMENT, namespace, "cart")
        assert "ctrlplane-stream.dev/adopted-at" in dumped["metadata"]["annotations"]
        actuator = worker(adopting(at(namespace, (dumped,))))
        await actuator.apply(*command(TARGET, 2, one, two))
        assert (await settled(actuator, TARGET, {"#1": 50, "#2": 50})).edited is None
        annotations = (await admin.get(Kind.DEPLOYMENT, namespace, "shop-cart-v2"))["metadata"]["annotations"]
        assert annotations["kept"] == "yes"
        assert not {"ctrlplane-stream.dev/adopted-at", *of_kubectl} & annotations.keys()

    play_workers(lab, doing)


PLACEMENT = """\
environments: {{production: {{namespace: {namespace}}}}}
services: {{cart: {{template: cart.yaml, route: {{name: cart, rule: main}}, port: 80}}}}
"""
CATALOG = """\
environments: {production: {actuator: kubernetes}}
services: {cart: {images: [registry.example/well], template: cart.yaml, environments: {production: {}}}}
"""


@pytest.mark.parametrize("worker_first", [True, False], ids=["the worker has it first", "the catalog is applied first"])
def test_a_changed_template_that_is_applied_is_a_new_version_made_from_it_and_the_old_one_keeps_its_own(lab, tmp_path, worker_first):
    """As people do it: the file beside catalog and placement changes, the worker gets it, the catalog is applied; nothing is pushed. In the
    other order the rollout is refused until the worker has the file, and then goes on by itself."""
    namespace, target = lab.namespace(), Target("production", "cart")
    lab.apply([route("cart", ["main"])], namespace)
    workers, authors = tmp_path / "worker", tmp_path / "author"
    for folder in (workers, authors):
        folder.mkdir()
    (workers / "placement.yaml").write_text(PLACEMENT.format(namespace=namespace))

    def written(made, *folders):
        for folder in folders:
            (folder / "cart.yaml").write_text(yaml.safe_dump_all(made))

    def applied():
        found = read_catalog_file(CATALOG, lambda name: (authors / name).read_bytes())
        (cart,) = found.view("production").services
        return CatalogApplied(catalog(msgspec.structs.replace(cart, policy=POLICY)), catalog_hash(found), "ada")

    async def run():
        async with lab.product() as cluster, lab.admin() as admin:

            def worker():
                return kubernetes(cluster, (target, read_placements(workers / "placement.yaml").place(target)))

            written(RED, workers, authors)
            engine = EngineOnCluster(("cart",), worker)
            try:
                engine.give(applied())
                engine.push("cart", 1)
                await engine.until(lambda: engine.ended(1), "the first version bakes")
                written(BLUE, authors)
                if not worker_first:
                    engine.give(applied())
                    await engine.until(lambda: "the catalog names the template" in "".join(engine.driver.rollouts[-1].stuck), "refused")
                written(BLUE, workers)
                await engine.close()  # Another worker goes on.
                if worker_first:
                    engine.give(applied())
                await engine.until(lambda: engine.ended(2), "the version of the new template bakes")
            finally:
                await engine.close()
            assert [rollout.phase for rollout in engine.driver.rollouts] == [Phase.COMPLETED] * 2, engine.driver.transcript()
            made = {name: await admin.get(Kind.DEPLOYMENT, namespace, name) for name in ("cart-v1", "cart-v2")}
            containers = [each["spec"]["template"]["spec"]["containers"][0] for each in made.values()]
            assert len({each["image"] for each in containers}) == 1
            colours = [next(e["value"] for e in each["env"] if e["name"] == "COLOUR") for each in containers]
            assert colours == ["red", "blue"]

    asyncio.run(run())
