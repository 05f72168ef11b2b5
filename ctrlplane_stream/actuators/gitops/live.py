"""What is ours of objects that others may sync, as a cluster has it, and the agents there that sync it."""

from collections.abc import Sequence

from ctrlplane_stream.actuators.gitops.owned import Document, Owned, marked_agents
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.place import Place

_AGENTS = (
    "apis/argoproj.io/v1alpha1/applications",
    "apis/kustomize.toolkit.fluxcd.io/v1/kustomizations",
    "apis/helm.toolkit.fluxcd.io/v2/helmreleases",
)
_GATEWAY = "gateway.networking.k8s.io"


def owned_at(place: Place) -> tuple[Owned, ...]:
    """What is ours of objects that others may sync, at a place in a cluster."""
    found = []
    if place.route is not None:
        found.append(Owned(_GATEWAY, place.route.kind, place.namespace, place.route.name, place.route.rule))
    if place.adopt is not None:
        found.append(Owned("apps", "Deployment", place.namespace, place.adopt))
    return tuple(found)


async def documents_live(cluster: Cluster, owned: Sequence[Owned]) -> tuple[Document, ...]:
    """What is ours as the cluster has it, and where some of it bears the mark of an agent, every Argo CD Application, Flux Kustomization
    and HelmRelease: rights to these are asked of nobody else. Raises as Cluster does."""
    found: list[Document] = []
    for each in owned:
        plural = f"{each.kind.lower()}s"
        manifest = await cluster.read(f"/apis/{each.group}/v1/namespaces/{each.namespace}/{plural}/{each.name}")
        found += [Document("", manifest)] if manifest is not None else []
    for path in _AGENTS if any(marked_agents(each.manifest) for each in found) else ():
        listed = await cluster.read(f"/{path}")
        kind, version = (str((listed or {}).get(key)) for key in ("kind", "apiVersion"))
        found += [
            Document("", {**item, "kind": kind.removesuffix("List"), "apiVersion": version}) for item in (listed or {}).get("items") or []
        ]
    return tuple(found)
