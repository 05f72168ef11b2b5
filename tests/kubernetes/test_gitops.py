"""Commits beside a real API server: a repository declares, the Kubernetes actuator moves weight, and doctor asks the cluster."""

import asyncio
from pathlib import Path

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.documents import documents_live, owned_at
from ctrlplane_stream.actuators.gitops.guarding import Safety, guard
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.with_cluster import WithCluster
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.kubernetes.api import HttpTransport
from ctrlplane_stream.local.control_plane.scene import artifact, command, kubernetes, route, routed_place, settled, version
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
            await both.settled(TARGET)
            assert bare.text(FILE) == f"cart: {artifact(SERVICE, 2).digest} # yet\n"
            await both.close()

    asyncio.run(run())


def test_doctor_asks_the_cluster_what_syncs_the_route(lab) -> None:
    """A cluster without Argo CD and Flux has nothing that would put the route back."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)

    async def run() -> None:
        transport = HttpTransport(lab.product_access)
        owned = owned_at(routed_place(namespace, SERVICE))
        documents = await documents_live(transport, owned)
        await transport.close()
        assert [each.manifest["metadata"]["name"] for each in documents] == ["shop-cart"]
        assert [said.safety for each in owned for said in guard(each, documents, live=True)] == [Safety.SAFE]

    asyncio.run(run())
