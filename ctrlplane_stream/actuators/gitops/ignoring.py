"""What an agent's own rules hide of what is ours, and the rule that would. Pure.

Argo CD's ``ignoreDifferences`` names JSON pointers, jq paths or field managers; Flux's drift rules name JSON pointers, for targets in
patterns. Rules that choose by labels are not evaluated, and count as none.
"""

import re

from ctrlplane_stream.actuators.gitops.owned import Owned
from ctrlplane_stream.actuators.kubernetes.objects import MANAGER, Manifest

SSA = "kustomize.toolkit.fluxcd.io/ssa"
"""Flux's annotation of an object, which says how it is applied."""


def argo_ignores(entry: Manifest, owned: Owned, index: int | None) -> bool:
    """Whether an entry of ``ignoreDifferences`` hides what is ours; ``index``: where our rule stands in the route."""
    return _is_for(entry, owned) and _covers(entry, owned, index)


def flux_ignores(rule: Manifest, owned: Owned) -> bool:
    """Whether a drift rule of Flux is for the object and hides the whole part that is ours. Its target is written in patterns."""
    target = rule.get("target") or {}
    parts = (("group", owned.group), ("kind", owned.kind), ("name", owned.name), ("namespace", owned.namespace))
    fits = all(_matches(str(target.get(key) or ""), value) for key, value in parts)
    return (
        fits
        and not {"labelSelector", "annotationSelector"} & set(target)
        and any(path in _pointers(owned, None) for path in rule.get("paths") or [])
    )


def argo_remedy(owned: Owned) -> str:
    """What to add to an Application."""
    ways = "[.spec.replicas]" if owned.rule is None else f"""['.spec.rules[] | select(.name == "{owned.rule}") | .backendRefs']"""
    entry = f"{{group: {owned.group}, kind: {owned.kind}, name: {owned.name}, jqPathExpressions: {ways}}}"
    return f"ignoreDifferences: [{entry}], and to syncPolicy.syncOptions: RespectIgnoreDifferences=true"


def flux_remedy(owned: Owned) -> str:
    """What to add to the object, or to the Kustomization."""
    rule = f"spec.ignore: [{{paths: [{pointer(owned)}], target: {{kind: {owned.kind}, name: {owned.name}}}}}]"
    return f"annotate {owned.kind} {owned.name} with {SSA}: IfNotPresent, or give the Kustomization {rule}"


def pointer(owned: Owned) -> str:
    """Where what is ours stands in its object, as far as a rule that knows no index can say."""
    return "/spec/replicas" if owned.rule is None else "/spec/rules"


def _is_for(entry: Manifest, owned: Owned) -> bool:
    return (
        entry.get("group", "") in (owned.group, "*")
        and entry.get("kind") in (owned.kind, "*")
        and entry.get("name") in (None, "", owned.name)
        and entry.get("namespace") in (None, "", owned.namespace)
    )


def _covers(entry: Manifest, owned: Owned, index: int | None) -> bool:
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


def _matches(pattern: str, value: str) -> bool:
    try:
        return not pattern or re.fullmatch(pattern, value) is not None
    except re.error:
        return False
