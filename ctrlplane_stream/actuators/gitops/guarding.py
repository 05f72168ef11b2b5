"""Whether Argo CD and Flux leave alone what is ours in the cluster, by what their objects and ours say. Pure.

Ours are the ``backendRefs`` of a named rule of a route, and the replicas of a Deployment that was adopted. An agent that
syncs the same object from a repository puts them back unless it is told not to: Argo CD by ``ignoreDifferences`` together
with ``RespectIgnoreDifferences=true`` (the first alone hides the difference and overwrites it at the next sync), Flux by
an annotation on the object or by rules in the Kustomization's ``ignore``. Flux's ``ssa: Merge`` is not enough for a route,
since its rules are one list to server-side apply. Rules that choose by labels are not evaluated, and count as none.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

import msgspec

MANAGER = "ctrlplane-stream"
_FLUX = "kustomize-controller"
_SSA, _RECONCILE = "kustomize.toolkit.fluxcd.io/ssa", "kustomize.toolkit.fluxcd.io/reconcile"
_TRACKING = "argocd.argoproj.io/tracking-id"
_KUSTOMIZATION, _HELM = "kustomize.toolkit.fluxcd.io/Kustomization", "helm.toolkit.fluxcd.io/HelmRelease"
Manifest = dict[str, Any]


class Safety(StrEnum):
    """Whether what is ours stays: yes, nobody knows from here, no."""

    SAFE = "safe"
    UNKNOWN = "unknown"
    UNSAFE = "unsafe"


class Guarded(msgspec.Struct, frozen=True):
    """What is to be said of one object and one agent; ``remedy`` is empty where nothing is to be done."""

    safety: Safety
    what: str
    remedy: str = ""


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


def guard(owned: Owned, documents: Sequence[Document], *, live: bool = False) -> tuple[Guarded, ...]:
    """What each agent would do to what is ours, by the documents of a repository, or (``live``) of the cluster."""
    copies = [each for each in documents if _is(each.manifest, owned)]
    agents = _syncing(documents, owned, copies, live)
    if agents:
        return tuple(_JUDGES[_kind(each.manifest)](each, owned, copies) for each in agents)
    place = "the cluster" if live else "the repository"
    if not copies:
        return (Guarded(Safety.UNKNOWN, f"{owned.kind} {owned.namespace}/{owned.name} is not in {place} as a plain manifest"),)
    if live:
        return (Guarded(Safety.SAFE, f"nothing in the cluster syncs {owned.kind} {owned.namespace}/{owned.name}"),)
    remedy = "where these are kept elsewhere, doctor finds them in the cluster"
    return (Guarded(Safety.UNKNOWN, f"no Argo CD Application and no Flux Kustomization in {place} syncs {owned}", remedy),)


def _argo(agent: Document, owned: Owned, copies: Sequence[Document]) -> Guarded:
    spec = _application(agent.manifest)
    name = f"Argo CD {agent.manifest['kind']} {_name(agent.manifest)}"
    index = next((found for copy in copies if (found := _rule_index(copy.manifest, owned)) is not None), None)
    entries = [each for each in spec.get("ignoreDifferences") or [] if _entry_is_for(each, owned)]
    if not any(_entry_covers(each, owned, index) for each in entries):
        return Guarded(Safety.UNSAFE, f"{name} would put back {owned}", f"add to its spec: {_argo_remedy(owned)}")
    options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
    if "RespectIgnoreDifferences=true" not in options:
        what = f"{name} ignores the difference but overwrites {owned} at every sync"
        return Guarded(Safety.UNSAFE, what, "add RespectIgnoreDifferences=true to its syncPolicy.syncOptions")
    return Guarded(Safety.SAFE, f"{name} leaves {owned} alone")


def _flux(agent: Document, owned: Owned, copies: Sequence[Document]) -> Guarded:
    spec = agent.manifest.get("spec") or {}
    name = f"Flux Kustomization {_name(agent.manifest)}"
    modes = {mode for copy in copies for mode in _modes(copy.manifest)}
    rules = spec.get("ignore") or []
    if modes & {"ifnotpresent", "ignore", "disabled"} or any(_rule_covers(each, owned) for each in rules):
        return Guarded(Safety.SAFE, f"{name} leaves {owned} alone")
    if owned.rule is None and copies and not any(_sets_replicas(copy.manifest) for copy in copies):
        return Guarded(Safety.SAFE, f"{name} sets no replicas of {owned.kind} {owned.name}")
    if spec.get("suspend"):
        return Guarded(Safety.UNKNOWN, f"{name} is suspended; resumed, it would put back {owned}", _flux_remedy(owned))
    why = "; ssa: Merge does not help, since a route's rules are one list" if "merge" in modes and owned.rule is not None else ""
    return Guarded(Safety.UNSAFE, f"{name} would put back {owned}{why}", _flux_remedy(owned))


def _sets_replicas(manifest: Manifest) -> bool:
    """Whether a manifest of the repository does; of an object in the cluster, which always has some, whether Flux set them."""
    managed = (manifest.get("metadata") or {}).get("managedFields")
    if managed is None:
        return "replicas" in (manifest.get("spec") or {})
    fields = [each.get("fieldsV1") or {} for each in managed if each.get("manager") == _FLUX]
    return any("f:replicas" in (each.get("f:spec") or {}) for each in fields)


def _helm(agent: Document, owned: Owned, copies: Sequence[Document]) -> Guarded:
    detection = (agent.manifest.get("spec") or {}).get("driftDetection") or {}
    name = f"Flux HelmRelease {_name(agent.manifest)}"
    if detection.get("mode") != "enabled" or any(_rule_covers(each, owned) for each in detection.get("ignore") or []):
        return Guarded(Safety.SAFE, f"{name} corrects no drift of {owned}")
    remedy = f"add to its spec.driftDetection.ignore: {{paths: [{_pointer(owned)}], target: {{kind: {owned.kind}, name: {owned.name}}}}}"
    return Guarded(Safety.UNSAFE, f"{name} would put back {owned}", remedy)


_JUDGES = {
    "argoproj.io/Application": _argo,
    "argoproj.io/ApplicationSet": _argo,
    _KUSTOMIZATION: _flux,
    _HELM: _helm,
}


def _syncing(documents: Sequence[Document], owned: Owned, copies: Sequence[Document], live: bool) -> list[Document]:
    """The agents that sync the object: in a cluster by the marks on it; in a repository by path, and where none has it
    below its path (an overlay on a base), by namespace. A chart may render what is nowhere a plain manifest."""
    agents = [each for each in documents if _kind(each.manifest) in _JUDGES]
    if live:
        return [each for each in agents if any(_is_marked(copy.manifest, each.manifest) for copy in copies)]
    charts = [each for each in agents if _kind(each.manifest) == _HELM]
    others = [each for each in agents if _kind(each.manifest) != _HELM]
    by_path = [each for each in others if any(_below(copy.file, path) for copy in copies for path in _paths(each.manifest))]
    if by_path:
        return by_path
    found = [each for each in others if _destination(each.manifest) == owned.namespace]
    return found if copies else [*found, *(each for each in charts if _destination(each.manifest) == owned.namespace)]


def _is_marked(copy: Manifest, agent: Manifest) -> bool:
    marks, kind = _marks(copy), _kind(agent)
    if kind in (_KUSTOMIZATION, _HELM):
        prefix = kind.partition("/")[0]
        return (marks.get(f"{prefix}/name"), marks.get(f"{prefix}/namespace")) == (_name(agent), _namespace(agent))
    tracked = str(marks.get(_TRACKING) or "").partition(":")[0].rpartition("_")[2]
    return agent.get("kind") == "Application" and _name(agent) in (tracked, marks.get("app.kubernetes.io/instance"))


def _paths(agent: Manifest) -> list[str]:
    if _kind(agent) == _KUSTOMIZATION:
        return [str((agent.get("spec") or {}).get("path") or ".")]
    spec = _application(agent)
    sources = [*(spec.get("sources") or []), *([spec["source"]] if spec.get("source") else [])]
    return [str(source["path"]) for source in sources if source.get("path")]


def _destination(agent: Manifest) -> str | None:
    spec = agent.get("spec") or {}
    if _kind(agent) in (_KUSTOMIZATION, _HELM):
        return spec.get("targetNamespace") or (_namespace(agent) if _kind(agent) == _HELM else None)
    return (_application(agent).get("destination") or {}).get("namespace")


def _application(agent: Manifest) -> Manifest:
    spec = agent.get("spec") or {}
    found: Manifest = ((spec.get("template") or {}).get("spec") or {}) if agent.get("kind") == "ApplicationSet" else spec
    return found


def _below(file: str, path: str) -> bool:
    root = PurePosixPath(path.removeprefix("./") or ".")
    return root == PurePosixPath(".") or root in PurePosixPath(file).parents


def _is(manifest: Manifest, owned: Owned) -> bool:
    if manifest.get("kind") != owned.kind or _kind(manifest) != f"{owned.group}/{owned.kind}":
        return False
    return _name(manifest) == owned.name and _namespace(manifest) in (owned.namespace, None)


def _entry_is_for(entry: Manifest, owned: Owned) -> bool:
    return (
        entry.get("group", "") in (owned.group, "*")
        and entry.get("kind") in (owned.kind, "*")
        and entry.get("name") in (None, "", owned.name)
        and entry.get("namespace") in (None, "", owned.namespace)
    )


def _entry_covers(entry: Manifest, owned: Owned, index: int | None) -> bool:
    if MANAGER in (entry.get("managedFieldsManagers") or []):
        return True
    pointers = _pointers(owned, index)
    return any(pointer in pointers for pointer in entry.get("jsonPointers") or []) or any(
        _jq_covers(str(expression), owned, index) for expression in entry.get("jqPathExpressions") or []
    )


def _pointers(owned: Owned, index: int | None) -> list[str]:
    if owned.rule is None:
        return ["/spec", "/spec/replicas"]
    own = [] if index is None else [f"/spec/rules/{index}", f"/spec/rules/{index}/backendRefs"]
    return ["/spec", "/spec/rules", *own]


def _jq_covers(expression: str, owned: Owned, index: int | None) -> bool:
    plain = re.sub(r"\s+", "", expression).replace("?", "")
    if owned.rule is None:
        return plain in (".spec", ".spec.replicas")
    chosen = rf'(?:\[\]|\[{index}\]|\[\]\|select\(\.name=="{re.escape(owned.rule)}"\)\|?)'
    return re.fullmatch(rf"\.spec(?:\.rules(?:{chosen}(?:\.backendRefs)?)?)?", plain) is not None


def _rule_covers(rule: Manifest, owned: Owned) -> bool:
    """Whether a drift rule of Flux is for the object and hides the whole part that is ours. Its target is written in patterns."""
    target = rule.get("target") or {}
    parts = (("group", owned.group), ("kind", owned.kind), ("name", owned.name), ("namespace", owned.namespace))
    fits = all(_matches(str(target.get(key) or ""), value) for key, value in parts)
    return (
        fits
        and not {"labelSelector", "annotationSelector"} & set(target)
        and any(path in _pointers(owned, None) for path in rule.get("paths") or [])
    )


def _matches(pattern: str, value: str) -> bool:
    try:
        return not pattern or re.fullmatch(pattern, value) is not None
    except re.error:
        return False


def _rule_index(manifest: Manifest, owned: Owned) -> int | None:
    rules = (manifest.get("spec") or {}).get("rules") or []
    return next((number for number, rule in enumerate(rules) if owned.rule is not None and rule.get("name") == owned.rule), None)


def _argo_remedy(owned: Owned) -> str:
    ways = "[.spec.replicas]" if owned.rule is None else f"""['.spec.rules[] | select(.name == "{owned.rule}") | .backendRefs']"""
    entry = f"{{group: {owned.group}, kind: {owned.kind}, name: {owned.name}, jqPathExpressions: {ways}}}"
    return f"ignoreDifferences: [{entry}], and to syncPolicy.syncOptions: RespectIgnoreDifferences=true"


def _flux_remedy(owned: Owned) -> str:
    rule = f"spec.ignore: [{{paths: [{_pointer(owned)}], target: {{kind: {owned.kind}, name: {owned.name}}}}}]"
    return f"annotate {owned.kind} {owned.name} with {_SSA}: IfNotPresent, or give the Kustomization {rule}"


def _pointer(owned: Owned) -> str:
    return "/spec/replicas" if owned.rule is None else "/spec/rules"


def _modes(manifest: Manifest) -> Iterable[str]:
    marks = _marks(manifest)
    return [str(marks[key]).lower() for key in (_SSA, _RECONCILE) if key in marks]


def _marks(manifest: Manifest) -> Manifest:
    metadata = manifest.get("metadata") or {}
    return {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}


def _kind(manifest: Manifest) -> str:
    return f"{str(manifest.get('apiVersion') or '').rpartition('/')[0]}/{manifest.get('kind')}"


def _name(manifest: Manifest) -> str:
    return str((manifest.get("metadata") or {}).get("name"))


def _namespace(manifest: Manifest) -> str | None:
    return (manifest.get("metadata") or {}).get("namespace")
