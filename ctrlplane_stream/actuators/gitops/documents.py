"""Manifests to be judged: those in a repository, and those that a cluster has."""

from collections.abc import Sequence

from dulwich.objects import ObjectID

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.owned import Document, Owned
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.wire.yaml_documents import NotReadable, yaml_documents

_LONGEST = 1_000_000
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


def documents_in(clone: Clone, head: ObjectID) -> tuple[Document, ...]:
    """Every manifest in the YAML files of a commit; what is no plain YAML (a chart's template, an encrypted file) is passed over."""
    found: list[Document] = []
    for file in clone.files(head):
        if not file.endswith((".yaml", ".yml")):
            continue
        try:
            text = clone.text(head, file)
            documents = yaml_documents(text) if len(text) <= _LONGEST else []
        except (FieldTrouble, NotReadable):
            continue
        found += [Document(file, each) for each in documents if _is_manifest(each)]
    return tuple(found)


async def documents_live(cluster: Cluster, owned: Sequence[Owned]) -> tuple[Document, ...]:
    """What is ours as the cluster has it, and every Argo CD Application, Flux Kustomization and HelmRelease. Raises as Cluster does."""
    found: list[Document] = []
    for each in owned:
        plural = f"{each.kind.lower()}s"
        manifest = await cluster.read(f"/apis/{each.group}/v1/namespaces/{each.namespace}/{plural}/{each.name}")
        found += [Document("", manifest)] if manifest is not None else []
    for path in _AGENTS:
        listed = await cluster.read(f"/{path}")
        kind, version = (str((listed or {}).get(key)) for key in ("kind", "apiVersion"))
        found += [
            Document("", {**item, "kind": kind.removesuffix("List"), "apiVersion": version}) for item in (listed or {}).get("items") or []
        ]
    return tuple(found)


def _is_manifest(document: object) -> bool:
    return isinstance(document, dict) and isinstance(document.get("kind"), str) and isinstance(document.get("metadata"), dict)
