"""Argo CD syncs the very objects of which a part is ours: what it leaves alone and what it puts back is what ``doctor`` says of each."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml

from ctrlplane_stream.actuators.gitops.guarding import Safety
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.local.control_plane.scene import kubernetes, route, running
from tests.kubernetes.argo_cd.application_controller import PROGRAM, Repository, controller, installed
from tests.kubernetes.synced_objects import all_ours, move, place_of, said, target_of

EXAMPLE = Path("examples/gitops/argo-cd")
BACKENDS = '.spec.rules[] | select(.name == "main") | .backendRefs'
RESPECT = "RespectIgnoreDifferences=true"
ROUTES = {
    "untold": ({}, []),
    "hidden": ({"jqPathExpressions": [BACKENDS]}, []),
    "told": ({"jqPathExpressions": [BACKENDS]}, [RESPECT]),
    "pointed": ({"jsonPointers": ["/spec/rules"]}, [RESPECT]),
    "managed": ({"managedFieldsManagers": ["ctrlplane-stream"]}, [RESPECT]),
    "applied": ({"jqPathExpressions": [BACKENDS]}, [RESPECT, "ServerSideApply=true"]),
}
"""By name, what the Application that syncs the route ignores of it, and its options. ``shop`` besides is that of the example."""
OWNED = {"running": ({}, []), "sized": ({}, []), "spared": ({"jsonPointers": ["/spec/replicas"]}, [RESPECT])}
"""The same of Deployments that ran before us and are adopted; of all but ``running`` the repository sets the replicas."""
NOT_SYNCED = {"told", "pointed", "managed", "applied"}
"""Routes of which other parts of the rules are not synced either: their rules are one list."""
TRACKED = {"app.kubernetes.io/instance": "shop"}
"""The label by which Argo CD knows what is of the Application ``shop``, where it tracks by label."""
PUT_BACK = {"HTTPRoute untold", "HTTPRoute hidden", "Deployment sized"}
SECONDS = 90.0


@pytest.fixture(autouse=True)
def built(require):
    """Argo CD's controller, which takes minutes to build, once."""
    require([] if PROGRAM.is_built() else ["Argo CD's controller was not built yet, which takes minutes: make argo-cd"])


def test_argo_cd_puts_back_what_doctor_says_it_would_and_leaves_alone_what_doctor_says_is_safe(lab, tmp_path):
    """Weights move and a version that was adopted is parked, then somebody else's commit is synced: what of ours is as we left it?"""
    home, namespace = lab.namespace(), lab.namespace()
    repository = Repository(tmp_path / "repository")
    lab.apply(installed(home))
    lab.apply([route(name, ["main"]) for name in OWNED], namespace)  # which nobody syncs
    places = {name: place_of(namespace, name, adopted=name in OWNED) for name in (*ROUTES, *OWNED)}
    places["shop"] = msgspec.structs.replace(place_of(namespace, "shop", adopted=False), route=Route("shop", "cart"))
    applications = [*(_application(namespace, name) for name in (*ROUTES, *OWNED)), _example(namespace)]

    async def run() -> None:
        async with lab.admin() as admin, lab.product() as cluster:
            actuator = kubernetes(cluster, *((target_of(name), place) for name, place in places.items()))
            await _synced(lab, home, applications, repository.commit("one", _files("one")))
            await asyncio.gather(*(move(actuator, admin, place, name) for name, place in places.items()))
            before = await all_ours(admin, places)
            await _synced(lab, home, applications, repository.commit("two", _files("two")))
            after = await all_ours(admin, places)
            put_back = {f"{part.kind} {part.name}" for part in after if after[part] != before[part]}
            assert put_back == PUT_BACK
            assert {name for name in ROUTES if await _filter(admin, namespace, name) == "one"} == NOT_SYNCED
            assert put_back == {f"{part.kind} {part.name}" for part in after if await said(lab, part) is Safety.UNSAFE}

    with controller(lab, home, repository, tmp_path):
        asyncio.run(run())


def test_versions_with_the_label_by_which_argo_cd_tracks_outlive_a_sync_that_prunes_and_their_application(lab, tmp_path):
    """The template is labelled as the Application's. A Deployment that is labelled so too, and says nothing more, is pruned."""
    home, namespace = lab.namespace(), lab.namespace()
    repository = Repository(tmp_path / "repository")
    lab.apply(installed(home, {"application.resourceTrackingMethod": "label"}))
    lab.apply([route("cart", ["main"])], namespace)
    place = _tracked(place_of(namespace, "cart", adopted=False))
    leftover = running(0, "leftover")
    leftover["metadata"]["labels"] = TRACKED

    async def run() -> None:
        async with lab.admin() as admin, lab.product() as cluster:
            await move(kubernetes(cluster, (target_of("cart"), place)), admin, place, "cart")
            ours = await _made(admin, place)
            assert {kind for kind, _, _ in ours} == {Kind.DEPLOYMENT, Kind.SERVICE, Kind.CONFIG_MAP, Kind.DISRUPTION_BUDGET}
            await admin.create(Kind.DEPLOYMENT, namespace, leftover)
            revision = repository.commit("one", {"shop/mark.yaml": yaml.safe_dump(_mark("shop", "one"))})
            await _synced(lab, home, [_pruning(namespace)], revision)
            await _until(lab, Kind.DEPLOYMENT.path(namespace, "leftover"), lambda found: found is None)
            await _until(lab, _path(home, "shop"), lambda found: found is not None and found["status"]["sync"]["status"] == "Synced")
            assert await _made(admin, place) == ours
            await _deleted(lab, _path(home, "shop"))
            assert await admin.get(Kind.CONFIG_MAP, namespace, "mark-shop") is None
            assert await _made(admin, place) == ours

    with controller(lab, home, repository, tmp_path):
        asyncio.run(run())


def _tracked(place: Place) -> Place:
    """The place, with a template of which every object has the label."""
    more = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "b"}},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "cart"}, "spec": {"maxUnavailable": 1}},
    ]
    labelled = [each | {"metadata": each["metadata"] | {"labels": TRACKED}} for each in (*place.template, *more)]
    return msgspec.structs.replace(place, template=tuple(labelled))


async def _made(admin: Cluster, place: Place) -> set[tuple[Kind, str, str]]:
    """Kind, name and uid of what is there of the place's versions, and is not about to go."""
    kinds = (Kind.DEPLOYMENT, Kind.SERVICE, Kind.CONFIG_MAP, Kind.DISRUPTION_BUDGET)
    found = {kind: (await admin.select(kind, place.namespace, selector(place)))[0] for kind in kinds}
    there = [(kind, each["metadata"]) for kind, objects in found.items() for each in objects]
    return {(kind, metadata["name"], metadata["uid"]) for kind, metadata in there if "deletionTimestamp" not in metadata}


def _pruning(namespace: str) -> Manifest:
    """An Application that heals itself and prunes, and takes all that is its own along when it goes."""
    application = _example(namespace)
    application["metadata"] = {"name": "shop", "finalizers": ["resources-finalizer.argocd.argoproj.io"]}
    application["spec"]["source"]["path"] = "shop"
    return application


def _files(round_: str) -> dict[str, str]:
    """What the repository has, a folder an Application; the round is in a ConfigMap that nobody of us touches."""
    made = {name: [_route(name, round_)] for name in ROUTES}
    for name in OWNED:
        deployment = running(1, name)
        if name == "running":
            del deployment["spec"]["replicas"]
        made[name] = [deployment]
    files = {f"{name}/all.yaml": yaml.safe_dump_all([*of, _mark(name, round_)]) for name, of in made.items()}
    return files | {
        "production/route.yaml": (EXAMPLE / "production" / "route.yaml").read_text(),
        "production/mark.yaml": yaml.safe_dump(_mark("shop", round_)),
    }


async def _filter(admin, namespace: str, name: str) -> str:
    """What the filter of the rule, which is the repository's, sets in the cluster."""
    (rule,) = (await admin.get(Kind.HTTP_ROUTE, namespace, name))["spec"]["rules"]
    return rule["filters"][0]["requestHeaderModifier"]["set"][0]["value"]


def _route(name: str, round_: str) -> Manifest:
    made = route(name, ["main"])
    made["spec"]["rules"][0]["filters"][0]["requestHeaderModifier"]["set"][0]["value"] = round_
    return made


def _mark(name: str, round_: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"mark-{name}"}, "data": {"round": round_}}


def _application(namespace: str, name: str) -> Manifest:
    (ignored, options), owned = (OWNED | ROUTES)[name], name in OWNED
    of = {"group": "apps", "kind": "Deployment"} if owned else {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}
    spec = {
        "project": "default",
        "source": {"repoURL": "https://git.example/shop.git", "path": name, "targetRevision": "main"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
        "ignoreDifferences": [of | ignored] if ignored else [],
        "syncPolicy": {"automated": {}, "syncOptions": options},
    }
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name}, "spec": spec}


def _example(namespace: str) -> Manifest:
    """The Application of the example, for another namespace; it heals itself and prunes."""
    application: Manifest = yaml.safe_load((EXAMPLE / "apps" / "production.yaml").read_text())
    application["spec"]["destination"]["namespace"] = namespace
    application["metadata"] = {"name": application["metadata"]["name"]}
    return application


async def _synced(lab, home: str, applications: list[Manifest], revision: str) -> None:
    """Have the Applications refreshed, and wait until Argo CD says of each that it is synced to the revision."""
    transport = HttpTransport(lab.admin_access)
    paths = {name_of(each): _path(home, name_of(each)) for each in applications}
    left, states = dict(paths), {}
    try:
        for each in applications:
            metadata = each["metadata"] | {"annotations": {"argocd.argoproj.io/refresh": "normal"}}
            query = {"fieldManager": "people", "force": "true"}
            reply = await transport.send(
                Request("PATCH", paths[name_of(each)], query, each | {"metadata": metadata}, "application/apply-patch+yaml")
            )
            assert reply.status < 300, reply.body
        async with asyncio.timeout(SECONDS):
            while left:
                await asyncio.sleep(0.2)
                for name, path in tuple(left.items()):
                    states[name] = json.loads((await transport.send(Request("GET", path))).body).get("status") or {}
                    done = states[name].get("operationState") or {}
                    if done.get("phase") == "Succeeded" and (done.get("syncResult") or {}).get("revision") == revision:
                        del left[name]
    except TimeoutError:
        raise AssertionError(f"Argo CD never synced {revision}: { {name: states.get(name) for name in left} }") from None
    finally:
        await transport.close()


def _path(home: str, name: str) -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{home}/applications/{name}"


async def _until(lab, path: str, enough: Callable[[Manifest | None], bool]) -> None:
    """Look at an object until it, or None where it is gone, is as it should be."""
    transport, found = HttpTransport(lab.admin_access), None
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                reply = await transport.send(Request("GET", path))
                found = None if reply.status == 404 else json.loads(reply.body)
                if enough(found):
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{path} is still {found}") from None
    finally:
        await transport.close()


async def _deleted(lab, path: str) -> None:
    """Delete an object, and wait until it is gone."""
    transport = HttpTransport(lab.admin_access)
    reply = await transport.send(Request("DELETE", path))
    await transport.close()
    assert reply.status < 300, reply.body
    await _until(lab, path, lambda found: found is None)
