"""What is ours of objects that others may sync, and the manifests in which that is looked for. Pure."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Manifest

APPLICATION = "argoproj.io/Application"
KUSTOMIZATION = "kustomize.toolkit.fluxcd.io/Kustomization"
HELM_RELEASE = "helm.toolkit.fluxcd.io/HelmRelease"
TRACKING = "argocd.argoproj.io/tracking-id"
INSTANCE = "app.kubernetes.io/instance"
_ARGO = "argocd-controller"


class Owned(msgspec.Struct, frozen=True):
    """An object in the cluster of which a part is ours: ``rule`` of a route, or (None) the replicas of a Deployment."""

    group: str
    kind: str
    namespace: str
    name: str
    rule: str | None = None

    def __str__(self) -> str:
        part = f"the backendRefs of rule {self.rule} of" if self.rule is not None else "the replicas of"
        return f"{part} {self.kind} {self.namespace}/{self.name}"


class Document(msgspec.Struct, frozen=True):
    """A manifest and where it was found: a file of the repository, or empty for the cluster."""

    file: str
    manifest: Manifest


def marks_on(manifest: Manifest) -> Manifest:
    """Labels and annotations, in one."""
    metadata = manifest.get("metadata") or {}
    return {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}


def group_kind(manifest: Manifest) -> str:
    """Group and kind, as ``apps/Deployment``."""
    return f"{str(manifest.get('apiVersion') or '').rpartition('/')[0]}/{manifest.get('kind')}"


def name_in(manifest: Manifest) -> str:
    """``metadata.name``, of what may be no whole object."""
    return str((manifest.get("metadata") or {}).get("name"))


def namespace_in(manifest: Manifest) -> str | None:
    """``metadata.namespace``, or None where it is left to whoever applies it."""
    return (manifest.get("metadata") or {}).get("namespace")


def marked_agents(manifest: Manifest) -> list[Manifest]:
    """The agents that sync an object by the marks on it, each as far as these tell of it, wherever it lives.

    Argo CD's label is everybody's, so that alone is no mark: it is one where Argo CD's field manager wrote the object too.
    """
    marks = marks_on(manifest)
    found = []
    by_argo = any(each.get("manager") == _ARGO for each in (manifest.get("metadata") or {}).get("managedFields") or [])
    tracked = str(marks.get(TRACKING) or (marks.get(INSTANCE) if by_argo else None) or "").partition(":")[0]
    if tracked:
        found.append(_agent(APPLICATION, tracked, None))
    for kind in (KUSTOMIZATION, HELM_RELEASE):
        prefix = kind.partition("/")[0]
        if f"{prefix}/name" in marks:
            found.append(_agent(kind, str(marks[f"{prefix}/name"]), str(marks.get(f"{prefix}/namespace"))))
    return found


def _agent(kind: str, name: str, namespace: str | None) -> Manifest:
    group, _, plain = kind.partition("/")
    return {"apiVersion": f"{group}/v1", "kind": plain, "metadata": {"name": name, "namespace": namespace}}
