"""Flux syncs the very objects of which a part is ours: what it leaves alone and what it puts back is what ``doctor`` says of each."""

import asyncio
import json

import pytest
import yaml

from ctrlplane_stream.actuators.gitops.guarding import Safety
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.local.control_plane.scene import kubernetes, route, running
from tests.kubernetes.flux.kustomize_controller import PROGRAM, Source, controller, definitions
from tests.kubernetes.synced_objects import all_ours, move, place_of, said, target_of

SSA = "kustomize.toolkit.fluxcd.io/ssa"
ROUTES = {"plain": None, "merged": "Merge", "kept": "IfNotPresent", "ignored": None}
"""By name, how the route is annotated for Flux; a rule of the Kustomization is about ``ignored``."""
OWNED = {"running": "Merge", "loose": None, "sized": None}
"""Deployments that ran before us and are adopted, and how each is annotated; of ``sized`` the repository sets the replicas."""
PUT_BACK = {"HTTPRoute plain", "HTTPRoute merged", "Deployment sized"}
IGNORE = [{"paths": ["/spec/rules"], "target": {"kind": "HTTPRoute", "name": "ignored"}}]
SECONDS = 60.0


@pytest.fixture(autouse=True)
def built(require):
    """Flux's controller, which takes minutes to build, once."""
    require([] if PROGRAM.is_built() else ["Flux's controller was not built yet, which takes minutes: make flux"])


def test_flux_puts_back_what_doctor_says_it_would_and_leaves_alone_what_doctor_says_is_safe(lab, tmp_path):
    """Weights move and a version that was adopted is parked, then somebody else's commit is synced: what of ours is as we left it?"""
    namespace = lab.namespace()
    lab.apply(definitions())
    places = {name: place_of(namespace, name, adopted=name in OWNED) for name in (*ROUTES, *OWNED)}

    async def run(source: Source) -> None:
        async with lab.admin() as admin, lab.product() as cluster:
            actuator = kubernetes(cluster, *((target_of(name), place) for name, place in places.items()))
            await _synced(lab, namespace, source.commit(_files("one")))
            await asyncio.gather(*(move(actuator, admin, place, name) for name, place in places.items()))
            before = await all_ours(admin, places)
            await _synced(lab, namespace, source.commit(_files("two")))
            after = await all_ours(admin, places)
            put_back = {f"{part.kind} {part.name}" for part in after if after[part] != before[part]}
            assert put_back == PUT_BACK
            assert put_back == {f"{part.kind} {part.name}" for part in after if await said(lab, part) is Safety.UNSAFE}
            for name, is_told in (("plain", True), ("kept", False), ("ignored", False)):
                edited = (await actuator.observe(target_of(name))).edited
                assert (edited is not None and edited.startswith("kustomize-controller at")) is is_told, edited

    with Source(tmp_path / "source") as source, controller(lab, tmp_path):
        asyncio.run(run(source))


def _files(round_: str) -> dict[str, str]:
    """What the repository has; the round is in a ConfigMap that nobody of us touches."""
    routes = [_annotated(route(name, ["main"]), ROUTES.get(name, "IfNotPresent")) for name in (*ROUTES, *OWNED)]
    owned = [_annotated(running(1, name), mode) for name, mode in OWNED.items()]
    for deployment in owned[:-1]:
        del deployment["spec"]["replicas"]
    mark = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mark"}, "data": {"round": round_}}
    return {"shop.yaml": yaml.safe_dump_all([*routes, *owned, mark])}


def _annotated(manifest: Manifest, mode: str | None) -> Manifest:
    if mode is not None:
        manifest["metadata"]["annotations"] = {SSA: mode}
    return manifest


async def _synced(lab, namespace: str, artifact: Manifest) -> None:
    """Tell the commit as source-controller would, and wait until Flux says that it is applied."""
    about = {"metadata": {"name": "shop"}}
    source = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", **about}
    told = source | {"spec": {"interval": "1h"}, "status": {"artifact": artifact}}
    of = {"kind": "GitRepository", "name": "shop"}
    spec = {"interval": "1h", "retryInterval": "2s", "path": "./", "prune": False, "sourceRef": of, "targetNamespace": namespace}
    sync = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", **about, "spec": spec | {"ignore": IGNORE}}
    path = "/apis/{}/namespaces/{}/{}/shop"
    sources, syncs = (
        path.format(each["apiVersion"], namespace, plural) for each, plural in ((told, "gitrepositories"), (sync, "kustomizations"))
    )
    transport, status = HttpTransport(lab.admin_access), {}
    try:
        for at, manifest in ((sources, told), (syncs, sync)):
            query = {"fieldManager": "source", "force": "true"}
            reply = await transport.send(Request("PATCH", at, query, manifest, "application/apply-patch+yaml"))
            assert reply.status < 300, reply.body
        async with asyncio.timeout(SECONDS):
            while status.get("lastAppliedRevision") != artifact["revision"]:
                await asyncio.sleep(0.1)
                status = json.loads((await transport.send(Request("GET", syncs))).body).get("status") or {}
    except TimeoutError:
        raise AssertionError(f"Flux never applied {artifact['revision']}: {status}") from None
    finally:
        await transport.close()
