"""Each right of the Role is needed: without it something fails on the real API server, and what is said names the right."""

import asyncio
import logging
from contextlib import asynccontextmanager

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.manifests import owner_labels
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.kubernetes.rights import Right, lacking, rights_of, shipped_role
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.local.control_plane.scene import artifact, command, job_template, kubernetes, route, template, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)
RIGHTS = rights_of(shipped_role())
_READ_BY_NAME = ("configmaps", "httproutes", "grpcroutes")
"""Whoever writes reads these by name; only the copies of a namespace begin with a list of them."""
_AT_ONCE = 6
_PATIENCE_SECONDS = 30.0

FILES = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "b"}}
SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "cart"},
    "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "cart"}},
}
BUDGET = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "cart"}, "spec": {"maxUnavailable": 1}}
WHOLE = (*template(1), FILES, SCALER, BUDGET)


def running():
    """The Deployment that is there before us."""
    (made,) = template(1)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/well@sha256:{1:064x}"
    return made


def under_way():
    """A run of the second version, which goes on."""
    labels = owner_labels(Place("", "shop-cart"), "#2")
    (made,) = job_template()
    job = made["spec"]["jobTemplate"]["spec"]
    job["template"]["spec"]["containers"][0]["image"] = str(artifact(SERVICE, 2, "never-ready"))
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "shop-cart-v2-1", "labels": labels}, "spec": job}


def place(namespace: str, kind: str = "HTTPRoute", adopt: str | None = None) -> Place:
    made = template(1) if adopt else WHOLE
    return Place(namespace, "shop-cart", made, full=None if adopt else 1, route=Route("shop-cart", "main", kind), port=80, adopt=adopt)


def two(weight: int, capacity: Capacity = Capacity.FULL):
    return version(SERVICE, 2, weight, capacity)


ROLLOUT = (
    command(TARGET, 1, version(SERVICE, 1, 100)),
    command(TARGET, 2, version(SERVICE, 1, 100), two(0)),
    command(TARGET, 3, version(SERVICE, 1, 100), two(0, Capacity.PARKED), verb=Verb.PARK),
    command(TARGET, 4, version(SERVICE, 1, 100), verb=Verb.DELETE),
)
JOB_ROLLOUT = tuple(
    (msgspec.structs.replace(given, wanted=msgspec.structs.replace(given.wanted, kind=ServiceKind.JOB)), at) for given, at in ROLLOUT
)
ADOPTION = (command(TARGET, 1, version(SERVICE, 1, 100), verb=Verb.ADOPT),)


async def rolled_out(cluster, place: Place, commands, names_it) -> str:
    """What is said on the way through the commands, until something names the right or all is done and seen."""
    actuator, said = kubernetes(cluster, (TARGET, place)), ""
    for each in commands:
        for _ in range(int(_PATIENCE_SECONDS / 0.05)):
            said, done = await tried(actuator, *each)
            if done or names_it(said):
                break
            await asyncio.sleep(0.05)
        if names_it(said):
            break
    return said


async def tried(actuator, given, cursor) -> tuple[str, bool]:
    """What comes of a command: what is said, and whether it is done and seen."""
    try:
        outcome = await actuator.apply(given, cursor)
    except WorldUnreachable as error:
        return str(error), False
    seen = outcome.observed.versions if outcome.observed is not None else ()
    there = {v.label: v.weight for v in seen if v.instances == v.ready}
    return outcome.reason, there == {v.label: v.weight for v in given.wanted.versions}


@asynccontextmanager
async def watched(cluster, namespace: str):
    """A copy of everything in the namespace, being kept."""
    more = (Kind.HTTP_ROUTE, Kind.GRPC_ROUTE, Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET, Kind.CRON_JOB, Kind.JOB)
    copy = NamespaceCopy(cluster, namespace, frozenset(more))
    copy.start()
    try:
        yield copy
    finally:
        await copy.stop()


async def looked(cluster, namespace: str, names_it, logged) -> str:
    """What the log has of the watches of a namespace, until it names the right or all of them stand."""
    async with watched(cluster, namespace) as copy:
        for _ in range(int(_PATIENCE_SECONDS / 0.05)):
            for text in logged(namespace):
                if names_it(text):
                    return text
            if copy.current:
                return "every watch stands"
            await asyncio.sleep(0.05)
    return "nothing was said"


async def unsaid_without(lab, right: Right, namespace: str, logged) -> str | None:
    """What was said last where nothing names the right, None where something does."""

    def names_it(text: str) -> bool:
        return f'cannot {right.verb} resource "{right.resource}" in API group "{right.group}"' in text

    async with lab.product() as cluster:
        while lacking((await cluster.own_rules(namespace))[0], [each for each in RIGHTS if each != right]):
            await asyncio.sleep(0.02)
        said = await _tour(cluster, right, namespace, names_it, logged)
        return None if names_it(said) else said


async def _tour(cluster, right: Right, namespace: str, names_it, logged) -> str:
    """The part of the product that uses the right, and what it said last."""
    if right.verb == "watch" or (right.verb == "list" and right.resource in _READ_BY_NAME):
        return await looked(cluster, namespace, names_it, logged)
    if right.group == "batch":
        return await rolled_out(cluster, Place(namespace, "shop-cart", job_template()), JOB_ROLLOUT, names_it)
    if right.resource == "replicasets":
        return await rolled_out(cluster, place(namespace, adopt="cart"), ADOPTION, names_it)
    if right.resource == "grpcroutes":
        return await rolled_out(cluster, place(namespace, "GRPCRoute"), ROLLOUT[:1], names_it)
    return await rolled_out(cluster, place(namespace), ROLLOUT, names_it)


@pytest.fixture
def logged(caplog):
    """The lines of the log about a namespace's watches."""
    caplog.set_level(logging.WARNING, "ctrlplane_stream.actuators.kubernetes.watching")
    return lambda namespace: [each.getMessage() for each in caplog.records if f" in {namespace}:" in each.getMessage()]


def test_without_any_one_of_the_rights_something_fails_and_says_which(lab, logged):
    """Every right of the Role is taken away once, in a namespace of its own."""
    namespaces = {}
    for right in RIGHTS:
        namespaces[right] = lab.namespace(without=right)
        routes = [route("shop-cart", ["main"]), {**route("shop-cart", ["main"]), "kind": "GRPCRoute"}]
        before = {"replicasets": [running()], "jobs": [under_way()]}.get(right.resource, [])
        lab.apply([*routes, *before], namespaces[right])

    async def run() -> dict[str, str | None]:
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(right: Right) -> str | None:
            async with places:
                return await unsaid_without(lab, right, namespaces[right], logged)

        return dict(zip(map(str, RIGHTS), await asyncio.gather(*map(one, RIGHTS)), strict=True))

    unsaid = {right: said for right, said in asyncio.run(run()).items() if said is not None}
    assert unsaid == {}
