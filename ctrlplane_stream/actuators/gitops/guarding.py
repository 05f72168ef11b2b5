"""Whether Argo CD and Flux leave alone what is ours in the cluster, by what their objects and ours say. Pure.

Ours are the ``backendRefs`` of a named rule of a route, and the replicas of a Deployment that was adopted. An agent that
syncs the same object from a repository puts them back unless it is told not to: Argo CD by ``ignoreDifferences`` together
with ``RespectIgnoreDifferences=true`` (the first alone hides the difference and overwrites it at the next sync), Flux by
an annotation on the object or by rules in the Kustomization's ``ignore``. Flux's ``ssa: Merge`` is not enough for a route,
since its rules are one list to server-side apply.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import PurePosixPath

import msgspec

from ctrlplane_stream.actuators.gitops.ignoring import SSA, argo_ignores, argo_remedy, flux_ignores, flux_remedy, pointer
from ctrlplane_stream.actuators.gitops.owned import (
    APPLICATION,
    HELM_RELEASE,
    INSTANCE,
    KUSTOMIZATION,
    TRACKING,
    Document,
    Owned,
    group_kind,
    marked_agents,
    marks_on,
    name_in,
    namespace_in,
)
from ctrlplane_stream.actuators.kubernetes.objects import LAST_APPLIED, Manifest
from ctrlplane_stream.actuators.kubernetes.weights import rule_index
from ctrlplane_stream.wire.json_words import WrongJson, read_json

_FLUX, _ARGO = "kustomize-controller", "argocd-controller"
_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"


class Safety(StrEnum):
    """Whether what is ours stays: yes, nobody knows from here, no."""

    SAFE = "safe"
    UNKNOWN = "unknown"
    UNSAFE = "unsafe"


class _Applied(msgspec.Struct, frozen=True):
    """What Argo CD keeps of what it applied, as far as it is asked for."""

    spec: dict[str, msgspec.Raw] | None = None


class Guarded(msgspec.Struct, frozen=True):
    """What is to be said of one object and one agent; ``remedy`` is empty where nothing is to be done."""

    safety: Safety
    what: str
    remedy: str = ""


def guard(owned: Owned, documents: Sequence[Document], *, live: bool = False) -> tuple[Guarded, ...]:
    """What each agent would do to what is ours, by the documents of a repository, or (``live``) of the cluster.

    In a cluster nothing is said of an object that is not there.
    """
    copies = [each for each in documents if _is(each.manifest, owned)]
    agents = _syncing(documents, owned, copies, live)
    found = tuple(_JUDGES[group_kind(each.manifest)](each, owned, copies) for each in agents)
    if live:
        found += tuple(_from_afar(each, owned, copies) for each in _elsewhere(agents, copies))
    if found:
        return found
    what = f"{owned.kind} {owned.namespace}/{owned.name}"
    if live:
        return (Guarded(Safety.SAFE, f"nothing syncs {what}"),) if copies else ()
    if not copies:
        return (Guarded(Safety.UNKNOWN, f"{what} is not in the repository as a plain manifest"),)
    remedy = "where these are kept elsewhere, doctor finds them in the cluster"
    return (Guarded(Safety.UNKNOWN, f"no Argo CD Application and no Flux Kustomization in the repository syncs {owned}", remedy),)


def _elsewhere(agents: Sequence[Document], copies: Sequence[Document]) -> list[Manifest]:
    """The agents by whose marks a copy in the cluster is synced, and that do not live there: as where one syncs several clusters."""
    here = {group_kind(each.manifest) for each in agents}
    return [each for copy in copies for each in marked_agents(copy.manifest) if group_kind(each) not in here]


def _from_afar(agent: Manifest, owned: Owned, copies: Sequence[Document]) -> Guarded:
    """What an agent would do that says nothing here of what it leaves alone."""
    strictest = Document("", {**agent, "spec": {"driftDetection": {"mode": "enabled"}}})
    judged = _JUDGES[group_kind(agent)](strictest, owned, copies)
    if judged.safety is Safety.SAFE:
        return judged
    what = (
        f"{judged.what}, unless it is told not to where it lives: {owned.kind} {owned.name} bears its mark, and it is not in this cluster"
    )
    return Guarded(Safety.UNKNOWN, what, judged.remedy)


def _argo(agent: Document, owned: Owned, copies: Sequence[Document]) -> Guarded:
    spec = _application(agent.manifest)
    name = f"Argo CD {agent.manifest['kind']} {name_in(agent.manifest)}"
    rule = owned.rule or ""
    if owned.rule is None and copies and not any(_applies_replicas(copy.manifest) for copy in copies):
        return Guarded(Safety.SAFE, f"{name} sets no replicas of {owned.kind} {owned.name}")
    index = next((found for copy in copies if (found := rule_index(copy.manifest, rule)) is not None), None)
    if not any(argo_ignores(each, owned, index) for each in spec.get("ignoreDifferences") or []):
        return Guarded(Safety.UNSAFE, f"{name} would put back {owned}", f"add to its spec: {argo_remedy(owned)}")
    options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
    if "RespectIgnoreDifferences=true" not in options:
        what = f"{name} ignores the difference but overwrites {owned} at every sync"
        return Guarded(Safety.UNSAFE, what, "add RespectIgnoreDifferences=true to its syncPolicy.syncOptions")
    return Guarded(Safety.SAFE, f"{name} leaves {owned} alone")


def _flux(agent: Document, owned: Owned, copies: Sequence[Document]) -> Guarded:
    spec = agent.manifest.get("spec") or {}
    name = f"Flux Kustomization {name_in(agent.manifest)}"
    modes = {mode for copy in copies for mode in _modes(copy.manifest)}
    rules = spec.get("ignore") or []
    if modes & {"ifnotpresent", "ignore", "disabled"} or any(flux_ignores(each, owned) for each in rules):
        return Guarded(Safety.SAFE, f"{name} leaves {owned} alone")
    if owned.rule is None and copies and not any(_sets_replicas(copy.manifest) for copy in copies):
        return Guarded(Safety.SAFE, f"{name} sets no replicas of {owned.kind} {owned.name}")
    if spec.get("suspend"):
        return Guarded(Safety.UNKNOWN, f"{name} is suspended; resumed, it would put back {owned}", flux_remedy(owned))
    why = "; ssa: Merge does not help, since a route's rules are one list" if "merge" in modes and owned.rule is not None else ""
    return Guarded(Safety.UNSAFE, f"{name} would put back {owned}{why}", flux_remedy(owned))


def _sets_replicas(manifest: Manifest) -> bool:
    """Whether a manifest of the repository does; of an object in the cluster, which always has some, whether Flux set them."""
    managed = (manifest.get("metadata") or {}).get("managedFields")
    if managed is None:
        return "replicas" in (manifest.get("spec") or {})
    fields = [each.get("fieldsV1") or {} for each in managed if each.get("manager") == _FLUX]
    return any("f:replicas" in (each.get("f:spec") or {}) for each in fields)


def _applies_replicas(manifest: Manifest) -> bool:
    """The same of Argo CD, which applies either by itself, and then keeps what it applied in an annotation, or lets the server do so; of
    an object in the cluster that shows neither it is believed to."""
    managed = (manifest.get("metadata") or {}).get("managedFields")
    if managed is None:
        return "replicas" in (manifest.get("spec") or {})
    by_server = [each for each in managed if each.get("manager") == _ARGO and each.get("operation") == "Apply"]
    if by_server:
        return any("f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {}) for each in by_server)
    try:
        applied = read_json(marks_on(manifest)[LAST_APPLIED], _Applied)
    except (KeyError, TypeError, WrongJson):
        return True
    return "replicas" in (applied.spec or {})


def _helm(agent: Document, owned: Owned, copies: Sequence[Document]) -> Guarded:
    detection = (agent.manifest.get("spec") or {}).get("driftDetection") or {}
    name = f"Flux HelmRelease {name_in(agent.manifest)}"
    if detection.get("mode") != "enabled" or any(flux_ignores(each, owned) for each in detection.get("ignore") or []):
        return Guarded(Safety.SAFE, f"{name} corrects no drift of {owned}")
    remedy = f"add to its spec.driftDetection.ignore: {{paths: [{pointer(owned)}], target: {{kind: {owned.kind}, name: {owned.name}}}}}"
    return Guarded(Safety.UNSAFE, f"{name} would put back {owned}", remedy)


_JUDGES = {
    APPLICATION: _argo,
    "argoproj.io/ApplicationSet": _argo,
    KUSTOMIZATION: _flux,
    HELM_RELEASE: _helm,
}


def _syncing(documents: Sequence[Document], owned: Owned, copies: Sequence[Document], live: bool) -> list[Document]:
    """The agents that sync the object: in a cluster by the marks on it; in a repository by path, and where none has it
    below its path (an overlay on a base), by namespace. A chart may render what is nowhere a plain manifest."""
    agents = [each for each in documents if group_kind(each.manifest) in _JUDGES]
    if live:
        return [each for each in agents if any(_is_marked(copy.manifest, each.manifest) for copy in copies)]
    charts = [each for each in agents if group_kind(each.manifest) == HELM_RELEASE]
    others = [each for each in agents if group_kind(each.manifest) != HELM_RELEASE]
    by_path = [each for each in others if any(_below(copy.file, path) for copy in copies for path in _paths(each.manifest))]
    if by_path:
        return by_path
    found = [each for each in others if _destination(each.manifest) == owned.namespace]
    return found if copies else [*found, *(each for each in charts if _destination(each.manifest) == owned.namespace)]


def _is_marked(copy: Manifest, agent: Manifest) -> bool:
    marks, kind = marks_on(copy), group_kind(agent)
    if kind in (KUSTOMIZATION, HELM_RELEASE):
        prefix = kind.partition("/")[0]
        return (marks.get(f"{prefix}/name"), marks.get(f"{prefix}/namespace")) == (name_in(agent), namespace_in(agent))
    tracked = str(marks.get(TRACKING) or "").partition(":")[0].rpartition("_")[2]
    return agent.get("kind") == "Application" and name_in(agent) in (tracked, marks.get(INSTANCE))


def _paths(agent: Manifest) -> list[str]:
    if group_kind(agent) == KUSTOMIZATION:
        return [str((agent.get("spec") or {}).get("path") or ".")]
    spec = _application(agent)
    sources = [*(spec.get("sources") or []), *([spec["source"]] if spec.get("source") else [])]
    return [str(source["path"]) for source in sources if source.get("path")]


def _destination(agent: Manifest) -> str | None:
    spec = agent.get("spec") or {}
    if group_kind(agent) in (KUSTOMIZATION, HELM_RELEASE):
        return spec.get("targetNamespace") or (namespace_in(agent) if group_kind(agent) == HELM_RELEASE else None)
    return (_application(agent).get("destination") or {}).get("namespace")


def _application(agent: Manifest) -> Manifest:
    spec = agent.get("spec") or {}
    found: Manifest = ((spec.get("template") or {}).get("spec") or {}) if agent.get("kind") == "ApplicationSet" else spec
    return found


def _below(file: str, path: str) -> bool:
    root = PurePosixPath(path.removeprefix("./") or ".")
    return root == PurePosixPath(".") or root in PurePosixPath(file).parents


def _is(manifest: Manifest, owned: Owned) -> bool:
    if manifest.get("kind") != owned.kind or group_kind(manifest) != f"{owned.group}/{owned.kind}":
        return False
    return name_in(manifest) == owned.name and namespace_in(manifest) in (owned.namespace, None)


def _modes(manifest: Manifest) -> Iterable[str]:
    marks = marks_on(manifest)
    return [str(marks[key]).lower() for key in (SSA, _RECONCILE) if key in marks]
