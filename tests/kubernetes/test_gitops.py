"""Commits beside a real API server: a repository declares, the Kubernetes actuator moves weight, and doctor asks the cluster."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.guarding import Safety, guard
from ctrlplane_stream.actuators.gitops.live import documents_live, owned_at
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused, HttpTransport
from ctrlplane_stream.local.control_plane.scene import artifact, command, kubernetes, route, routed_place, settled, template, version
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from tests.contract.actuators.git_repositories import Bare

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)
FILE = "versions.yaml"


def _pair(stable: int):
    return version(SERVICE, 1, stable), version(SERVICE, 2, 100 - stable)


def test_a_release_is_declared_by_commits_and_moved_by_the_api(lab, tmp_path: Path) -> None:
    """With the repository away for the abort, the weight moves all the same, and the declaration follows when it is back."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)
    bare = Bare(tmp_path, {FILE: "cart: none # yet\n"})
    place = GitPlace(Repository(f"file://{bare.path}"), (Field(FILE, Locator("cart"), Writes.DIGEST),), Weights.CLUSTER)

    async def run() -> None:
        async with lab.product() as cluster:
            both = WithCluster(
                GitOps(lambda target: place, tmp_path / "clones"), kubernetes(cluster, (TARGET, routed_place(namespace, SERVICE)))
            )
            for sequence, stable in ((1, 100), (2, 75)):
                assert (await both.apply(*command(TARGET, sequence, *_pair(stable)))).status is OutcomeStatus.APPLIED
                await settled(both, TARGET, {"#1": stable, "#2": 100 - stable})
            away = bare.path.rename(tmp_path / "away.git")
            assert (await both.apply(*command(TARGET, 3, *_pair(100)))).status is OutcomeStatus.APPLIED
            await settled(both, TARGET, {"#1": 100, "#2": 0})
            away.rename(bare.path)
            await both.apply(*command(TARGET, 4, *_pair(0), stable="#2"))
            await settled(both, TARGET, {"#1": 0, "#2": 100})
            await both.settled(TARGET)  # It may be the try that began while the repository was away; the next one is not.
            await both.settled(TARGET)
            assert bare.text(FILE) == f"cart: {artifact(SERVICE, 2).digest} # yet\n"
            await both.close()

    asyncio.run(run())


def test_what_runs_is_adopted_on_the_cluster_first_and_declared_after_that(lab, tmp_path: Path) -> None:
    """What the cluster refuses is never written to the repository; what it took over is declared with the digest that runs."""
    namespace = lab.namespace()
    (running,) = template(2)
    running["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/well@{artifact(SERVICE, 1).digest}"
    lab.apply([route("shop-cart", ["main"]), running], namespace)
    bare = Bare(tmp_path, {FILE: "cart: none # yet\n"})
    place = GitPlace(Repository(f"file://{bare.path}"), (Field(FILE, Locator("cart"), Writes.DIGEST),), Weights.CLUSTER)
    adopting = msgspec.structs.replace(routed_place(namespace, SERVICE), adopt="cart")

    async def run() -> None:
        async with lab.product() as cluster:
            both = WithCluster(GitOps(lambda target: place, tmp_path / "clones"), kubernetes(cluster, (TARGET, adopting)))
            wrong = await both.apply(*command(TARGET, 1, version(SERVICE, 2, 100), verb=Verb.ADOPT, stable="#2"))
            assert (wrong.status, "runs registry.example/well@" in wrong.reason) == (OutcomeStatus.REFUSED, True)
            await both.settled(TARGET)
            assert bare.text(FILE) == "cart: none # yet\n"
            assert (await both.apply(*command(TARGET, 2, version(SERVICE, 1, 100), verb=Verb.ADOPT))).status is OutcomeStatus.APPLIED
            await settled(both, TARGET, {"#1": 100})
            await both.settled(TARGET)
            assert bare.text(FILE) == f"cart: {artifact(SERVICE, 1).digest} # yet\n"
            assert bare.log()[0].startswith("shop/cart in staging: #1")
            for sequence, stable in ((3, 75), (4, 100)):
                assert (await both.apply(*command(TARGET, sequence, *_pair(stable)))).status is OutcomeStatus.APPLIED
                await settled(both, TARGET, {"#1": stable, "#2": 100 - stable})
            await both.close()

    asyncio.run(run())


def test_doctor_asks_the_cluster_what_syncs_the_route(lab) -> None:
    """Nothing at first; then an Application that tracks the route, told to leave it alone or not; and who may not ask says so."""
    namespace = lab.namespace()
    owned = owned_at(routed_place(namespace, SERVICE))
    told = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "jsonPointers": ["/spec/rules"]}

    def said() -> list[Safety]:
        documents = asyncio.run(_live(lab.admin_access, owned))
        return [each.safety for part in owned for each in guard(part, documents, live=True)]

    made = route("shop-cart", ["main"])
    lab.apply([made], namespace)
    assert said() == [Safety.SAFE]
    tracking = f"shop:gateway.networking.k8s.io/HTTPRoute:{namespace}/shop-cart"
    lab.apply([made | {"metadata": made["metadata"] | {"annotations": {"argocd.argoproj.io/tracking-id": tracking}}}], namespace)
    lab.apply([APPLICATIONS, _application("other", told), _application("shop", {})], namespace)
    assert said() == [Safety.UNSAFE]
    lab.apply([_application("shop", told)], namespace)
    assert said() == [Safety.SAFE]
    with pytest.raises(ApiRefused, match=r"applications \(403\)"):
        asyncio.run(_live(lab.product_access, owned))


async def _live(access, owned):
    async with Cluster(HttpTransport(access)) as cluster:
        return await documents_live(cluster, owned)


def _application(name: str, told: dict) -> dict:
    spec = {"ignoreDifferences": [told] if told else [], "syncPolicy": {"syncOptions": ["RespectIgnoreDifferences=true"]}}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name}, "spec": spec}


APPLICATIONS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "applications.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "names": {"kind": "Application", "plural": "applications"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
